"""What the scans of one statement tell each other: rows without a partner in a join need not be handed over.

    orders o JOIN lineitem l ON o.id = l.order WHERE o.day = '2026-11-22'

The relational executor reads one side of a hash join to its end before it asks for the other. So a scan that was read
to its end *offers* the values of a column in the rows that could pass its filter, and the scan of the other side, which
*expects* them, leaves out rows whose value is none of these. That one may pass on to a third what it learned from both.

    sql/rules/expect_keys.py says who may expect what of whom; relational.py connects the scans of a statement
    handover.py leaves rows out, and collects what is offered

Always true: nothing is offered before a pass was read to its end; an offer has the values of all rows of the scan that
can have a part in the result, perhaps of more. So it does not matter when or whether an offer comes: to leave out more
rows saves work and changes nothing.
"""

from __future__ import annotations

import threading
import weakref
from typing import Final

import numpy as np

from ..storage.column_values import FixedValues
from .held import Held
from .kernels.keys import keep_keys, put_keys

KEYS_MAX: Final = 1 << 22
"""A scan that finds more values offers nothing. They are 32 MiB until the pass ends."""
SPAN_MAX: Final = 1 << 27
"""The values of an offer lie within a range of so many: 16 MiB of bits."""


class KeySet:
    """Integers from ``first`` on, a bit each in ``words`` (uint64[n])."""

    __slots__ = ("_first", "_words")

    def __init__(self, first: int, words: np.ndarray) -> None:
        self._first = first
        self._words = words

    @classmethod
    def of(cls, values: list[np.ndarray], *, held: Held | None = None) -> KeySet | None:
        """The set of values in int64 arrays; None where they lie too far apart, or ``held`` has no room."""
        values = [some for some in values if len(some)]
        if not values:
            return cls(0, np.zeros(1, np.uint64))
        first, last = min(int(some.min()) for some in values), max(int(some.max()) for some in values)
        if last - first >= SPAN_MAX:
            return None
        count = (last - first) // 64 + 1
        if held is not None and not held.room(8 * count):
            return None
        words = np.zeros(count, np.uint64)
        if held is not None:
            held.keep(words)
        for some in values:
            put_keys(some.ctypes.data, len(some), first, words.ctypes.data)
        return cls(first, words)

    def keep(self, values: FixedValues, mask: np.ndarray) -> None:
        """Clear ``mask`` (bool[n]) where a value, an integer of any width, is not in the set, or is NULL."""
        numbers, words = values.values, self._words
        keep_keys(
            numbers.ctypes.data,
            numbers.itemsize,
            len(numbers),
            self._first,
            words.ctypes.data,
            len(words),
            mask.ctypes.data,
        )
        if values.valid is not None:
            mask &= values.valid.view(np.bool_)


class Offer:
    """The values of one integer column in what a scan hands over; ``keys`` once it was read to its end.

    ``held``: where their memory is counted.
    """

    __slots__ = ("_waiting", "held", "keys")

    def __init__(self, held: Held | None = None) -> None:
        self.held = held or Held()
        self.keys: KeySet | None = None
        self._waiting: list[weakref.ref[Expected]] = []  # else the keys would live until cycles are collected

    @property
    def is_awaited(self) -> bool:
        """Whether someone who expects it has not begun to be read."""
        waiting = (reference() for reference in self._waiting)
        return any(expected is not None and not expected.begun for expected in waiting)

    def to(self, expected: Expected) -> None:
        self._waiting.append(weakref.ref(expected))


class Expected:
    """What a scan expects, and of which of its columns; ``begun`` when it is first read."""

    __slots__ = ("__weakref__", "_offers", "begun")

    def __init__(self) -> None:
        self._offers: list[tuple[int, Offer]] = []
        self.begun = False

    def add(self, column: int, offer: Offer) -> None:
        """The values of ``column`` that are none of the offer's have no partner."""
        self._offers.append((column, offer))
        offer.to(self)

    @property
    def keys(self) -> list[tuple[int, KeySet]]:
        """What is there by now, by column."""
        return [(column, offer.keys) for column, offer in self._offers if offer.keys is not None]


class Collected:
    """The values for the offers of one pass, until it ends; they may come from several threads."""

    def __init__(self, offers: dict[int, Offer]) -> None:
        self._offers = {column: offer for column, offer in offers.items() if offer.keys is None and offer.is_awaited}
        self._values: dict[int, list[np.ndarray]] = {column: [] for column in self._offers}
        self._count = 0
        self._lock = threading.Lock()

    @property
    def columns(self) -> tuple[int, ...]:
        """Those whose values are wanted."""
        return tuple(self._offers) if self._count <= KEYS_MAX else ()

    def add(self, column: int, values: FixedValues, mask: np.ndarray | None) -> None:
        """Values of a column, of the rows of ``mask`` (bool[n]; None: of all)."""
        chosen = values.valid if mask is None else mask if values.valid is None else mask & values.valid.view(np.bool_)
        some = (values.values if chosen is None else values.values[chosen.view(np.bool_)]).astype(np.int64)
        held = self._offers[column].held
        with self._lock:
            self._count += len(some) if held.room(some.nbytes) else KEYS_MAX + 1
            if self._count <= KEYS_MAX:
                self._values[column].append(held.keep(some))
            else:
                for kept in self._values.values():
                    kept.clear()

    def publish(self) -> None:
        """The pass was read to its end."""
        if self._count <= KEYS_MAX:
            for column, values in self._values.items():
                offer = self._offers[column]
                offer.keys = KeySet.of(values, held=offer.held)
