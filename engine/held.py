"""Memory of arrays that live as long as somebody refers to them: counted in a gauge of the budget (memory.py).

What a statement makes for itself, keys of joins and groups of pipelines, is counted when it is made and until the array
is freed, whoever frees it and when. ``room`` is asked before: whoever gets no goes another way, without what it wanted
to make (join_keys.py) or by the executor, which spills (pipeline/). Nobody waits.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any, Final

import numpy as np

_TOKENS: Final = itertools.count()


class Held:
    """Thread-safe, and without a lock, since arrays are freed at any moment. ``limit``: of bytes together.

    ``beside``: takes of the same room; ``give_way`` lets go of what can be made again there.
    """

    __slots__ = ("_beside", "_give_way", "_sizes", "limit")

    def __init__(
        self, limit: int = 1 << 62, *, beside: Held | None = None, give_way: Callable[[], None] | None = None
    ) -> None:
        self.limit = limit
        self._beside = beside
        self._give_way = give_way
        self._sizes: dict[int, int] = {}

    @property
    def bytes(self) -> int:
        return sum(list(self._sizes.values()))

    def room(self, count: int) -> bool:
        """Whether so many bytes may be made now. Several that ask at one moment may together go beyond the limit."""
        left = self.limit - self.bytes - count
        if self._beside is None or left < 0 or self._beside.bytes <= left:
            return left >= 0
        if self._give_way is not None:
            self._give_way()
        return self._beside.bytes <= left

    def keep(self, array: np.ndarray, size: int | None = None) -> np.ndarray:
        """Count an array until it is freed, as ``size`` bytes where it stands for others; gives it."""
        token = next(_TOKENS)
        self._sizes[token] = array.nbytes if size is None else size
        weakref.finalize(array, self._sizes.pop, token).atexit = False
        return array

    @staticmethod
    def until_freed(kept: np.ndarray, by: Any) -> None:
        """Go on counting what was kept as long as something else lives."""
        weakref.finalize(by, _let_go, kept).atexit = False


def _let_go(_: np.ndarray) -> None:
    """The last reference to it was the caller's."""
