"""A process that has loaded the server's code and forks one server per line on its standard input.

Starting ``weft serve`` takes a second and a half of imports and kernels; a test that kills twenty of them would do
little else. A fork is a server process all the same: its own memory, its own locks, its own death. Run as a script by
``server_child.Zygote``.
"""

from __future__ import annotations

import json
import os
import signal
import sys


def main() -> None:
    from weftdb.engine.kernels.warm import warm_up
    from weftdb.server.commands import serve  # noqa: F401
    from weftdb.server.main import main as weft

    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are reaped by the kernel
    print("loaded", flush=True)
    for line in sys.stdin:
        arguments, output = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for target in (1, 2):
                os.dup2(file, target)
            os.close(0)
            code = 1
            try:
                code = weft(arguments)
            finally:
                os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
