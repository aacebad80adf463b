"""A cache of what is made from texts: the most recently used ones, bounded in number and in bytes.

The bytes are an estimate, so many for each character of the text: objects of Python have no size of their own. It was
measured (tracemalloc) on short and long statements: 110 to 190 for a syntax tree, 35 to 85 for a bound query.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class TextCache(Generic[V]):
    """Values by key. Safe for threads; ``make`` runs outside of the lock, so two may make the same at once."""

    def __init__(self, *, count_max: int, bytes_max: int, character_bytes: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._character_bytes = character_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    @property
    def bytes_used(self) -> int:
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], V], *, characters: int) -> V:
        """The value under ``key``, made from a text of so many characters the first time. What raises is not kept,
        nor is what is too large for the cache.
        """
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
                return found[0]
        made = make()
        size = characters * self._character_bytes
        if size > self._bytes_max:
            return made
        with self._lock:
            before = self._values.pop(key, None)
            self._values[key] = made, size
            self._bytes += size - (0 if before is None else before[1])
            while len(self._values) > self._count_max or self._bytes > self._bytes_max:
                _, (_, dropped) = self._values.popitem(last=False)
                self._bytes -= dropped
        return made
