"""What a feed reads of cells, against the differences of a dictionary's versions: windows, and versions in pieces."""

from __future__ import annotations

from unittest import mock

import pyarrow as pa
import sealing
import soak
from drawn_tables import batch, keys_batch, keys_of, rest_of, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_cells import NaiveCells, comparable
from weftdb.base import types
from weftdb.engine import feed_window
from weftdb.engine.cells import TableStore
from weftdb.engine.feed_window import OPERATION, VERSION, Window, pieces
from weftdb.engine.schema import ROW_ID_NAME, Column, Table

Line = tuple[int, str, object]


def lines(read: pa.RecordBatch) -> list[Line]:
    """Of each row version, operation, and values. Rows from before stand in front of their updates."""
    found: list[Line] = []
    for row in read.to_pylist():
        operation, version = row.pop(OPERATION), row.pop(VERSION)
        assert not found or found[-1][0] <= version
        if operation == "before":
            operation = ""
        elif operation == "update":
            assert found
            assert found[-1][:2] == (version, ""), "an update stands behind the row from before"
        found.append((version, operation, comparable(row)))
    return found


def differences(naive: NaiveCells, low: int, high: int) -> list[Line]:
    found: list[Line] = []
    for version in range(low + 1, high + 1):
        for key in naive.versions:
            before, after = naive.get(key, version=version - 1), naive.get(key, version=version)
            began = any(row.begin == version < row.end for row in naive.versions[key])
            if before is not None and after is None:
                found.append((version, "delete", comparable(before)))
            elif before is None and after is not None:
                found.append((version, "insert", comparable(after)))
            elif before is not None and began:
                found += [(version, "", comparable(before)), (version, "update", comparable(after))]
    return found


@given(st.data())
@settings(max_examples=80 * soak.FACTOR, deadline=None)
def test_changes_are_the_differences_between_versions(data: st.DataObject) -> None:
    table = data.draw(tables())
    names = table.key_schema.names
    keys = data.draw(st.lists(keys_of(table), min_size=1, max_size=6))
    rest = rest_of(table)
    store, naive = TableStore(table), NaiveCells(table)
    last = data.draw(st.integers(1, 5))
    for version in range(1, last + 1):
        for _ in range(data.draw(st.integers(0, 3))):  # transactions of one record, each blind
            picked = data.draw(st.lists(st.sampled_from(keys), max_size=6))
            match data.draw(st.sampled_from(("put", "put", "delete", "truncate", "seal"))):
                case "seal":
                    sealing.seal_memtables(store)
                case "truncate":
                    store.apply_truncate(version=version)
                    naive.truncate(version=version)
                case "delete":
                    store.apply_delete(keys_batch(table, picked), version=version)
                    naive.delete(picked, version=version)
                case _:
                    rows = [
                        dict(zip(names, key, strict=True)) | data.draw(st.fixed_dictionaries(rest)) for key in picked
                    ]
                    store.apply_put(batch(table, rows), version=version)
                    naive.put(rows, version=version)
    for low in range(last):
        window = Window(store, low, last)
        assert window.high == last
        found = [line for read in all_of(window, store, before=True) for line in lines(read)]
        assert sorted(found) == sorted(differences(naive, low, last))
        without = [line for read in all_of(window, store, before=False) for line in lines_without_before(read)]
        assert sorted(without) == sorted(line for line in differences(naive, low, last) if line[1])
    for version in range(1, last + 1):
        some = list(pieces(store, version, before=True, rows_max=data.draw(st.integers(1, 3))))
        assert all(0 < piece.num_rows <= 6 for piece in some)
        found = [line for piece in some for line in lines(piece)]
        assert sorted(found) == sorted(differences(naive, version - 1, version))
        without = [
            line for piece in pieces(store, version, before=False, rows_max=64) for line in lines_without_before(piece)
        ]
        assert sorted(without) == sorted(line for line in differences(naive, version - 1, version) if line[1])


def all_of(window: Window, store: TableStore, *, before: bool) -> list[pa.RecordBatch]:
    read = window.changes(store, before=before)
    return [] if read is None else [read]


def lines_without_before(read: pa.RecordBatch) -> list[Line]:
    return [(row.pop(VERSION), row.pop(OPERATION), comparable(row)) for row in read.to_pylist()]


def test_a_window_ends_before_the_version_that_is_too_much() -> None:
    table = Table(
        id=1, name="t", columns=(Column(id=1, name="k", type=types.BIGINT, nullable=False),), primary_key=(1,), key=(1,)
    )
    store = TableStore(table)
    counts = {1: 3, 2: 4, 3: 50, 4: 5, 5: 2, 6: 30}
    for version, count in counts.items():
        store.apply_put(
            batch(table, [{"k": n} for n in range(1_000 * version, 1_000 * version + count)]), version=version
        )
        sealing.seal_memtables(store)
    with mock.patch.object(feed_window, "FEED_ROWS_MAX", 10), mock.patch.object(feed_window, "FEED_ROWS_MIN", 10):
        seen: list[tuple[int, int, int]] = []
        low = 0
        while low < 6:
            window = Window(store, low, 6)
            assert window.count <= 20
            seen.append((low, window.high, window.count))
            low = max(window.high, low + 1)
    assert seen == [(0, 2, 7), (2, 2, 0), (3, 5, 7), (5, 5, 0)]


def test_rows_without_primary_key_come_and_go_by_their_row_ids() -> None:
    table = Table(id=1, name="t", columns=(Column(id=1, name="text", type=types.TEXT),), next_column_id=2)
    store = TableStore(table)
    rows = [{"text": text} for text in ("a", "b", "a")]
    store.apply_put(batch(table, rows), version=1)
    store.apply_delete(pa.record_batch({ROW_ID_NAME: pa.array([1], pa.int64())}), version=2)
    expected = [(1, "insert", "a", 1), (1, "insert", "b", 2), (1, "insert", "a", 3), (2, "delete", "a", 1)]
    for read in (
        all_of(Window(store, 0, 2), store, before=True),
        [piece for version in (1, 2) for piece in pieces(store, version, before=True, rows_max=2)],
    ):
        found = [row for piece in read for row in piece.to_pylist()]
        assert [(row[VERSION], row[OPERATION], row["text"], row[ROW_ID_NAME]) for row in found] == expected
