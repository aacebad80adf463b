"""The files that numba keeps compiled kernels in, for several processes at once.

Of each kernel there is an index, which names a file for each form (one combination of argument types). To add a form
numba reads the index, takes the next number, writes the index, writes the file: two processes that do so at once take
the same number, and from then on one form is run as the other, with other arguments. So each folder of
kernels has them added in turns, under a lock on the folder that the files are in.

Those who read take no lock: files are put in place by renaming, and a form whose file is not there yet is compiled once
more. Where a file system has no locks it is as numba has it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile


@cache
def take_turns() -> None:
    """From now on this process adds forms while no other does. Folders of kernels say so before they have any."""
    save = IndexDataCacheFile.save

    def save_alone(self: Any, key: Any, data: Any) -> None:
        folder = os.open(Path(self._index_path).parent, os.O_RDONLY)
        try:
            with suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_EX)
            save(self, key, data)
        finally:
            os.close(folder)  # and with it the lock

    IndexDataCacheFile.save = save_alone
