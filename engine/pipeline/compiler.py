"""The helper process: compiles generated kernels, a file a line of its standard input (helper.py has the other end).

    ◄── {}                      it is there
    ──► /home/…/k1234.py
    ◄── {"error": null}         or what the compiler said; numba's cache has the code, and k1234.ready says so

Importing a file compiles it, since its signature is written in it, and numba's cache keeps that beside it. Whoever
waits for a kernel goes on without: so this process has a low priority. It ends with its standard input, or when the
process that started it is not there any more, also in the middle of a compile.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Final

from llvmlite import binding

from . import files

_STRAIGHT: Final = "-x86-cmov-converter=false"
"""Values of rows are chosen without a jump: whether one is NULL no processor can guess."""


def main() -> int:
    """Compile what is asked for until nobody asks any more."""
    if platform.machine() in ("x86_64", "AMD64"):
        binding.set_option("weftdb", _STRAIGHT)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a compiler prints is no answer
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(asked,), daemon=True).start()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    print(json.dumps({}), file=answers, flush=True)
    while True:
        error = _compile(Path(asked.get()))
        print(json.dumps({"error": error}), file=answers, flush=True)


def _read(asked: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        asked.put(line.rstrip("\n"))
    os._exit(0)


def _watch(parent: int) -> None:
    """The other end of the standard input may be open in a process that its parent forked."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _compile(path: Path) -> str | None:
    if files.is_ready(path):  # another process was faster
        return None
    try:
        files.load(path)
    except OSError as error:  # no room, no rights: it may be otherwise the next time
        return repr(error)
    except Exception as error:
        text = repr(error)
        files.set_failed(path, text)
        return text
    files.set_ready(path)
    files.trim(path.parent, but=path)
    return None


if __name__ == "__main__":
    sys.exit(main())
