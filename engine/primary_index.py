"""The index of a memtable: from primary key to newest row, in partitions that grow one at a time.

    directory    per partition, the address of its slots and their number - 1 (kernels/index.py)
    partitions   1 while there are few slots, then 256, by the upper bits of a key's hash

Growing copies slots and touches new memory, which for millions of rows would take longer than a commit may pause. So
each partition doubles when it has reached a limit of its own: limits lie between 35 and 70 %, evenly spread, and a
commit that adds a hundredth to the index finds some three partitions due, not all or none.

One thread writes. Readers take ``slots`` once; it is replaced as a whole when a partition grows, and who goes on with
an older one misses only rows that came later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from ..storage.column_values import address_of
from .kernels import index as kernels

SLOTS_MIN: Final = 512
SLOTS_WHOLE_MAX: Final = 1 << 15
"""More slots are divided into partitions."""

SHIFT: Final = 24
PARTITIONS: Final = 1 << (32 - SHIFT)
_WHOLE: Final = 32
_FULL: Final = 0.7
_SHARES: Final = [_FULL * 2.0 ** -(partition / PARTITIONS) for partition in range(PARTITIONS)]
"""How full each partition gets before it doubles."""


class Slots(NamedTuple):
    """What readers need. ``tables`` keeps alive what ``directory`` points to; ``header`` has its address, and shift."""

    directory: np.ndarray
    shift: int
    tables: tuple[np.ndarray, ...]
    header: np.ndarray


class PrimaryIndex:
    """Only the slots: keys and rows are in the chunks of the memtable.

    ``door[0]`` is where the header of the newest slots is (kernels/rows.py).
    """

    __slots__ = ("_door", "_limits", "bytes_used", "entries", "slots")

    def __init__(self, door: np.ndarray | None = None) -> None:
        self._door = np.zeros(1, np.uint64) if door is None else door
        self._become([SLOTS_MIN], [_FULL], _WHOLE, old=np.empty(0, np.uint64))

    @property
    def entries_count(self) -> int:
        """How many keys there are."""
        return int(self.entries.sum())

    def reserve(self, hashes: np.ndarray) -> None:
        """Make room for these keys, should all of them be new."""
        if self.slots.shift == _WHOLE:
            needed = int(self.entries[0]) + len(hashes)
            if needed <= self._limits[0]:
                return
            size = _size_for(needed, _FULL)
            if size <= SLOTS_WHOLE_MAX:
                self._become([size], [_FULL], _WHOLE, old=self.slots.tables[0])
                return
            slots = self.slots.tables[0]
            counts = np.bincount((slots[slots != 0] >> np.uint64(32 + SHIFT)).astype(np.int64), minlength=PARTITIONS)
            sizes = [_size_for(count, share) for count, share in zip(counts.tolist(), _SHARES, strict=True)]
            self._become(sizes, _SHARES, SHIFT, old=slots)
        coming, found = np.zeros(PARTITIONS, np.int64), np.empty(PARTITIONS, np.int64)
        count = kernels.crowded(hashes, SHIFT, self.entries, self._limits, coming, found)
        if count:
            self._grow(found[:count].tolist(), self.entries + coming)

    def _become(self, sizes: Sequence[int], shares: Sequence[float], shift: int, *, old: np.ndarray) -> None:
        """Move the only partition there was to partitions of these sizes."""
        tables = [np.zeros(size, np.uint64) for size in sizes]
        directory = np.empty(2 * len(tables), np.uint64)
        for partition, table in enumerate(tables):
            _enter(directory, partition, table)
        self.entries = np.zeros(len(tables), np.int64)
        self._limits = np.array([int(size * share) for size, share in zip(sizes, shares, strict=True)])
        self.bytes_used = 8 * sum(sizes)
        kernels.move(old, directory, shift, self.entries)
        self._publish(directory, shift, tables)

    def _grow(self, partitions: list[int], needed: np.ndarray) -> None:
        directory, tables = self.slots.directory.copy(), list(self.slots.tables)
        moved = np.zeros(PARTITIONS, np.int64)
        for partition in partitions:
            old, share = tables[partition], _SHARES[partition]
            table = np.zeros(_size_for(int(needed[partition]), share), np.uint64)
            _enter(directory, partition, table)
            kernels.move(old, directory, SHIFT, moved)
            tables[partition] = table
            self._limits[partition] = int(len(table) * share)
            self.bytes_used += table.nbytes - old.nbytes
        self._publish(directory, SHIFT, tables)

    def _publish(self, directory: np.ndarray, shift: int, tables: Sequence[np.ndarray]) -> None:
        header = np.array([address_of(directory), shift], np.uint64)
        slots = Slots(directory, shift, tuple(tables), header)
        self._door[0] = address_of(header)  # first: the slots before are let go of by the next line
        self.slots = slots


def _size_for(entries: int, share: float) -> int:
    """The least power of two of slots of which so many entries are at most that share."""
    return max(1 << (int(entries / share) + 1).bit_length(), 64)


def _enter(directory: np.ndarray, partition: int, table: np.ndarray) -> None:
    directory[2 * partition] = address_of(table)
    directory[2 * partition + 1] = len(table) - 1
