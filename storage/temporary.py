"""The folder for what need not survive: spills of the relational executor. Made at first use, gone at the end.

In a data folder it is ``DIR/tmp``; what a killed process left in it is removed when the database is opened. A database
in memory, and one that is opened to read, has a folder of its own, with a name that nobody can know before, in the
system's folder for temporary files.

Nothing here is synced, and nothing that is read back after a restart may lie here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from contextlib import suppress
from pathlib import Path

from ..base.errors import Unavailable


class TemporaryFolder:
    """``path`` is a folder of this database alone; None: one is made inside ``inside`` (None: where the system says).

    Thread-safe. Closed at the latest when the process ends in order.
    """

    def __init__(self, path: Path | None = None, *, inside: str | os.PathLike[str] | None = None) -> None:
        self._given = path
        self._inside = inside
        self._made: Path | None = None
        self._lock = threading.Lock()
        self._finalizer: weakref.finalize[[Path, int], TemporaryFolder] | None = None
        if path is not None:
            _remove(path, os.getpid())

    @property
    def path(self) -> Path:
        """The folder, made if it is not there yet. Raises Unavailable when the system refuses."""
        with self._lock:
            if self._made is None:
                try:
                    if self._given is not None:
                        self._given.mkdir(mode=0o700, exist_ok=True)
                        self._made = self._given
                    else:
                        self._made = Path(tempfile.mkdtemp(prefix="weftdb-", dir=self._inside))
                except OSError as error:
                    raise Unavailable(
                        f"a folder for temporary files cannot be made: {error.strerror}: {error.filename}",
                        hint="Name one that can be written with the option temp_directory.",
                    ) from error
                self._finalizer = weakref.finalize(self, _remove, self._made, os.getpid())
            return self._made

    def close(self) -> None:
        """Remove the folder and what is in it. A second close does nothing; ``path`` makes it anew."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._made = None


def _remove(path: Path, process: int) -> None:
    """Remove what is in the folder, and the folder itself unless it is a link (to a larger disk, say).

    Not in a forked child: the folder is the parent's. What cannot be removed stays.
    """
    if os.getpid() != process or not path.is_dir():
        return
    with suppress(OSError):
        for entry in list(path.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if not path.is_symlink():
            path.rmdir()
