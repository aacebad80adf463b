"""Scans over memtables and segments against rows that are judged one by one, at every version."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest
import sealing
import typed_values
from filtering import filters, is_true, rows_of, tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_cells import NaiveCells, comparable
from weftdb.engine.cells import TableStore
from weftdb.engine.schema import ROW_ID_NAME, Table

START = datetime.datetime(2024, 1, 1)
DAY = datetime.timedelta(days=1)


class Both:
    """A store and its slow twin, written alike."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.store = TableStore(table)
        self.naive = NaiveCells(table)
        self.version = 0
        self.types = {column.name: column.type for column in table.columns}

    def put(self, rows: list[dict[str, Any]]) -> None:
        self.version += 1
        self.store.apply_put(typed_values.batch_of(rows, self.table.arrow_schema, self.types), version=self.version)
        self.naive.put(rows, version=self.version)

    def delete(self, picks: list[int]) -> None:
        """Delete some of the rows that live, named by number."""
        self.version += 1
        if self.table.primary_key:
            live = self.naive.scan(version=self.version)
            names = [column.name for column in self.table.primary_key_columns]
            rows = [{name: live[pick % len(live)][name] for name in names} for pick in picks] if live else []
            schema = pa.schema([self.table.by_name[name].field for name in names])
            self.store.apply_delete(typed_values.batch_of(rows, schema, self.types), version=self.version)
            self.naive.delete([tuple(row.values()) for row in rows], version=self.version)
            return
        batches = list(self.store.scan(version=self.version - 1, row_ids=True).batches())
        if not batches:
            return
        live = pa.Table.from_batches(batches)
        routing = [self.table.by_id[id].name for id in dict.fromkeys((*self.table.key, self.table.time)) if id]
        chosen = live.take(sorted({pick % live.num_rows for pick in picks})).select([ROW_ID_NAME, *routing])
        self.store.apply_delete(chosen.combine_chunks().to_batches()[0], version=self.version)
        self.naive.delete([(id,) for id in chosen.column(ROW_ID_NAME).to_pylist()], version=self.version)

    def truncate(self) -> None:
        self.version += 1
        self.store.apply_truncate(version=self.version)
        self.naive.truncate(version=self.version)

    def seal(self, block_rows: int) -> None:
        sealing.seal_memtables(self.store, block_rows=block_rows)


@st.composite
def histories(draw: st.DrawFn) -> Both:
    """A table with a history of puts, deletes and seals."""
    both = Both(draw(tables()))
    row = rows_of(both.table)
    for _ in range(draw(st.integers(1, 7))):
        match draw(st.sampled_from(("put", "put", "put", "delete", "seal", "truncate"))):
            case "put":
                both.put(draw(st.lists(row, min_size=1, max_size=20)))
            case "delete":
                both.delete(draw(st.lists(st.integers(0, 99), min_size=1, max_size=5)))
            case "seal":
                both.seal(64)
            case _:
                if draw(st.integers(0, 3)) == 0:
                    both.truncate()
    if draw(st.booleans()):
        both.seal(64)
    return both


@given(st.data())
@pytest.mark.timeout(600)  # compiling the kernels counts, where they were not before
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_scan_gives_the_rows_for_which_the_filter_is_true_whatever_was_sealed(data: st.DataObject) -> None:
    both = data.draw(histories())
    table = both.table
    filter = data.draw(st.none() | filters(table))
    names = data.draw(st.permutations([column.name for column in table.columns]))
    wanted = names[: data.draw(st.integers(0, len(names)))]
    version = data.draw(st.integers(0, both.version))
    scan = both.store.scan(version=version, columns=[table.by_name[name].id for name in wanted], filter=filter)
    rows = both.naive.scan(version=version)
    if filter is not None and rows:
        rows = [row for row, true in zip(rows, is_true(filter, table, rows), strict=True) if true]
    expected = sorted(comparable({name: row[name] for name in wanted}) for row in rows)
    for _ in range(2):
        batches = list(scan.batches())
        assert all(batch.schema.equals(scan.schema) for batch in batches) or not wanted
        found = [row for batch in batches for row in batch.to_pylist()]
        assert sum(batch.num_rows for batch in batches) == len(expected)
        assert sorted(comparable(row) for row in found) == expected
    statistics = scan.statistics
    assert statistics.rows_returned == 2 * len(expected)
    assert statistics.segments_pruned <= statistics.segments_total
    assert statistics.blocks_pruned + statistics.blocks_read // 2 == statistics.blocks_total
