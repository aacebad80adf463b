"""The helper process: ``python -m weftdb.engine.pipeline.compiler FILE`` compiles one generated kernel.

Importing the file compiles it, since its signature is written in it, and numba's cache keeps that beside it; FILE with
the suffix ``.ready`` says that it is there. Whoever waits for it goes on without: so it has a low priority.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .kernels import load


def main() -> int:
    """Compile the file that the command line names."""
    path = Path(sys.argv[1])
    os.nice(5)
    load(path)
    path.with_suffix(".ready").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
