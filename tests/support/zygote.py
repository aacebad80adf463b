"""A process that has loaded the package and forks one process per line on its standard input.

Starting ``weft serve`` takes two to three seconds of processor, imports and kernels; tests that start a hundred
processes would do little else. A fork is a process all the same: its own memory, its own locks, its own death. Run as a
script by ``server_child.Zygote``.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main() -> None:
    from weftdb.engine.kernels.warm import warm_up
    from weftdb.server.commands import serve  # noqa: F401
    from weftdb.server.main import main as weft  # noqa: F401

    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are reaped by the kernel
    print("loaded", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            become(**json.loads(line))
        print(pid, flush=True)


def become(*, arguments: list[str], files: Sequence[str], ended: str, environment: dict[str, str]) -> None:
    """What ``python`` with these arguments is, with standard input, output and errors that are these files.

    Its exit code goes to the file ``ended``; who is killed leaves none.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, path in enumerate(files):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND if target else os.O_RDONLY), target)
    os.environ.clear()
    os.environ.update(environment)
    code: Any = 1
    try:
        code = run(arguments)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(ended).write_text(str(code))
        os._exit(code)


def run(arguments: list[str]) -> int:
    match arguments:
        case ["-m", "weftdb", *rest]:
            from weftdb.server.main import main as weft

            return weft(rest)
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case [script, *_]:
            sys.argv = arguments
            sys.path.insert(0, str(Path(script).parent))
            runpy.run_path(script, run_name="__main__")
        case []:
            raise AssertionError("nothing to run")
    return 0


if __name__ == "__main__":
    main()
