"""Rows that are made of the newest ones with their keys, as groups of views are: one look-up to read and to replace.

    keys ─ locate ─► newest rows, by part ─ add ─► sums of what they hold and what comes ─ write ─► rows in their place

A general PUT of such rows would look for each key three times (to read, in the memtable that takes the row, in the
parts behind it) and carry the values through Arrow in between. For tables of one cell (no slices, one shard) whose
other columns are 64-bit integers that are never NULL, or *heaps*, bytes that mostly are.

Only ``apply`` does this, in the order of the log. It holds for one change: ``write`` comes next after ``add``, and
nobody else writes to the table between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ..storage.column_values import DTYPES, PAIRS, Values, fixed_array, fixed_of, frozen
from .cell import Cells
from .kernels.accumulate import fold_limbs
from .key_encoding import Keys
from .layout import Layout, Probe
from .memtable import OPEN, Located, Memtable
from .part import Part, visible_rows
from .projection import Projection
from .schema import Column

_NEWEST = OPEN - 1
_ALL = frozen(np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Sums:
    """The columns of a table that are added up: ``limbs`` of integers, the lowest first, and ``heaps``.

    ``integers``: of each integer its limbs, as places in ``limbs``.
    """

    limbs: Sequence[Column]
    integers: Sequence[slice]
    heaps: Sequence[Column]
    ids: np.ndarray = field(init=False)
    last: np.ndarray = field(init=False)
    heap_ids: np.ndarray = field(init=False)
    projection: Projection = field(init=False)

    def __post_init__(self) -> None:
        last = np.zeros(len(self.limbs), np.bool_)
        last[[limbs.stop - 1 for limbs in self.integers]] = True
        object.__setattr__(self, "ids", np.array([column.id for column in self.limbs], np.int64))
        object.__setattr__(self, "last", last)
        object.__setattr__(self, "heap_ids", np.array([column.id for column in self.heaps], np.int64))
        object.__setattr__(self, "projection", Projection((*self.limbs, *self.heaps)))


class Upsert:
    """n keys, all different, and where their newest rows are."""

    def __init__(self, cells: Cells, layout: Layout, keys: Keys) -> None:
        one_cell = not layout.sharded and not layout.sliced
        assert one_cell, f'"{layout.table.name}" has one cell'
        self._cells = cells
        self._layout = layout
        self._keys = keys
        cell = cells.get(0, 0)
        parts = () if cell is None else cell.parts
        memtable = None if cell is None else cell.memtable
        self._located: tuple[Memtable, Located] | None = None
        self._older: list[tuple[Part, np.ndarray, np.ndarray]] = []  # part, places of keys, rows that have not ended
        left = np.arange(len(keys))
        if memtable is not None:
            left = np.flatnonzero(self._locate(memtable, keys).rows < 0)
            parts = parts[1:]
        if len(left) and parts:
            probe = Probe(layout, values={}, keys=keys.take(left), row_ids=None, times=None, count=len(left))
            for part, places, rows in visible_rows(parts, probe, version=_NEWEST):
                self._older.append((part, left[places], rows))

    def add(self, sums: np.ndarray, columns: Sums) -> tuple[np.ndarray, list[list[tuple[np.ndarray, pa.Array]]]]:
        """Add to ``sums`` (uint64[limbs, n]) what the rows hold that have not ended.

        Returns which keys have one (bool[n]); and of each heap its values: places of keys, and the bytes there.
        """
        alive = np.zeros(len(self._keys), np.bool_)
        heaps: list[list[tuple[np.ndarray, pa.Array]]] = [[] for _ in columns.heaps]
        if self._located is not None:
            memtable, located = self._located
            self._add_memtable(memtable, located.rows, sums, alive, columns, heaps)
        for part, places, rows in self._older:
            if isinstance(part, Memtable):
                whole = np.full(len(self._keys), -1, np.int64)
                whole[places] = rows
                self._add_memtable(part, whole, sums, alive, columns, heaps)
                continue
            alive[places] = True
            for batch, which in part.rows_at(columns.projection, rows):
                at = frozen(places[which])
                limbs = np.stack([column.to_numpy() for column in batch.columns[: len(columns.limbs)]]).view(np.uint64)
                for integer in columns.integers:
                    fold_limbs(at.view(np.uint64), frozen(limbs[integer]), sums[integer])
                for values, heap in zip(heaps, batch.columns[len(columns.limbs) :], strict=True):
                    values.append((at, heap))
        return alive, heaps

    def column(self, column: Column) -> pa.Array:
        """What the rows hold that have not ended, by place of their key; NULL where there is none."""
        if column.type.is_variable:
            return self._read(column)
        dtype, pair = DTYPES[column.type.kind], column.type.kind in PAIRS
        size = 16 if pair else dtype.itemsize
        words, valid = np.zeros((len(self._keys), 2 if pair else 1), np.uint64), np.zeros(len(self._keys), np.uint8)
        for part, places, rows in self._newest():
            if isinstance(part, Memtable):
                part.read_living(rows, places, words, valid, column=column.id, size=size)
                continue
            for batch, which in part.rows_at(Projection([column]), rows):
                found, at = fixed_of(batch.column(0), column.type), places[which]
                words[at] = _words_of(found.values)
                valid[at] = 1 if found.valid is None else found.valid
        values = words if pair else words[:, 0].astype(f"u{dtype.itemsize}").view(dtype)
        return fixed_array(values, None if valid.all() else valid, column.type)

    def _read(self, column: Column) -> pa.Array:
        """The same of a column of variable width."""
        found = [pa.nulls(0, column.type.arrow)]
        at, count = np.full(len(self._keys), -1, np.int64), 0
        for part, places, rows in self._newest():
            if isinstance(part, Memtable):
                lives = np.flatnonzero(rows >= 0)
                lives = lives[part.describe(rows[lives])[1] == OPEN]
                places, rows = lives if not len(places) else places[lives], rows[lives]
            for batch, which in part.rows_at(Projection([column]), rows) if len(rows) else ():
                found.append(batch.column(0))
                at[places[which]] = count + np.arange(len(which))
                count += len(which)
        return pa.concat_arrays(found).take(pa.array(at, mask=at < 0))

    def _newest(self) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """The parts that may have rows, places of keys (none: all), and rows there; in a memtable some have ended."""
        if self._located is not None:
            memtable, located = self._located
            yield memtable, _ALL, located.rows
        yield from self._older

    def write(self, values: Mapping[int, Values], *, put: np.ndarray, gone: np.ndarray, version: int) -> None:
        """Rows with ``values`` take the place of those whose keys are in ``put`` (bool[n]); those in ``gone`` end."""
        replaced = 0
        if self._located is not None:
            memtable, located = self._located
            ending = located.rows[gone & (located.rows >= 0)]
            if len(ending):
                before = memtable.bytes_used
                replaced += memtable.end(ending, version=version)
                self._cells.count_bytes(memtable, before=before)
        places = np.flatnonzero(put)
        if len(places):
            replaced += self._append(values, places, version=version)
        for part, at, rows in self._older:
            before = part.bytes_used
            replaced += part.end(rows[put[at] | gone[at]], version=version)
            self._cells.count_bytes(part, before=before)
        self._cells.rows_count += len(places) - replaced

    def _append(self, values: Mapping[int, Values], places: np.ndarray, *, version: int) -> int:
        """Write the rows of the keys at ``places``; returns how many of the memtable they replaced."""
        keys, cells = self._keys, self._cells
        if len(places) < len(keys):
            keys = keys.take(places)
            values = {id: column.take(places) for id, column in values.items()}
        if self._located is None:  # a memtable has a row from its beginning on
            memtable = cells.writable(cells.open(0, 0))
            located = self._locate(memtable, keys)
        else:
            memtable, located = self._located
            located = located if len(places) == len(self._keys) else located.take(places)
        before = memtable.bytes_used
        replaced = memtable.append(
            self._layout, values, keys, 0, len(keys), version=version, delta=False, located=located
        )
        cells.count_bytes(memtable, before=before)
        return replaced

    def _locate(self, memtable: Memtable, keys: Keys) -> Located:
        before = memtable.bytes_used
        located = memtable.locate(keys)
        self._cells.count_bytes(memtable, before=before)
        self._located = memtable, located
        return located

    @staticmethod
    def _add_memtable(
        part: Memtable, rows: np.ndarray, sums: np.ndarray, alive: np.ndarray, columns: Sums,
        heaps: list[list[tuple[np.ndarray, pa.Array]]],
    ) -> None:  # fmt: skip
        varied = part.add_living(rows, sums, alive, columns=columns.ids, last=columns.last, heaps=columns.heap_ids)
        if len(varied):
            for values, column in zip(heaps, columns.heaps, strict=True):
                found = [part.value_of(column, row) for row in rows[varied].tolist()]
                values.append((varied, pa.array(found, column.type.arrow)))


def _words_of(values: np.ndarray) -> np.ndarray:
    """Values of fixed width as words (uint64[n, 1], or two each), as kernels read them."""
    if values.ndim == 2:
        return values
    return values.view(f"u{values.itemsize}").astype(np.uint64)[:, np.newaxis]
