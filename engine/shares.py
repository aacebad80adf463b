"""What part of a table's rows its conditions kept when they were last asked: of those asked latest.

Pipelines ask conditions in an order by it (pipeline/order.py); no answer depends on it. It lives with the table's
cells, and goes with them. Of a condition it keeps the hash, however long its constants are; what has none is not
remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Final

SHARES_MAX: Final = 256
"""Conditions of a table of which it is remembered."""


class Shares:
    """By conditions with their constants; the latest ``SHARES_MAX``. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, conditions: object) -> float | None:
        with suppress(TypeError):
            return self._known.get(hash(conditions))
        return None

    def put(self, conditions: object, share: float) -> None:
        with suppress(TypeError), self._lock:
            place = hash(conditions)
            self._known[place] = share
            self._known.move_to_end(place)
            while len(self._known) > SHARES_MAX:
                self._known.popitem(last=False)
