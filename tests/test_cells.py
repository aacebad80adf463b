"""TableStore against a dictionary of versions, and beside a concurrent writer."""

from __future__ import annotations

import dataclasses
import datetime
import threading
import time
from typing import Any

import naive_cells
import numpy as np
import pyarrow as pa
import pytest
import sealing
import soak
from drawn_tables import HOUR, batch, keys_batch, keys_of, rest_of, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_cells import NaiveCells, comparable
from weftdb.base import limits, types
from weftdb.base.errors import Invalid, LimitExceeded
from weftdb.base.types import Type
from weftdb.engine.cells import TableStore
from weftdb.engine.expression.node import Call, Literal
from weftdb.engine.expression.node import Column as ColumnNode
from weftdb.engine.prune import prune
from weftdb.engine.schema import ROW_ID_NAME, Column, Table

EVENTS = Table(
    id=1,
    name="events",
    columns=(
        Column(id=1, name="key", type=types.BIGINT, nullable=False),
        Column(id=2, name="time", type=types.TIMESTAMP, nullable=False),
        Column(id=3, name="amount", type=types.DOUBLE),
    ),
    primary_key=(1, 2),
    key=(1,),
    time=2,
    shards=3,
    every=HOUR,
    next_column_id=4,
)
TAIL = Table(
    id=2,
    name="tail",
    columns=(
        Column(id=1, name="key", type=types.TEXT),
        Column(id=2, name="time", type=types.DATE),
        Column(id=3, name="text", type=types.TEXT),
    ),
    key=(1,),
    time=2,
    shards=2,
    every=24 * HOUR,
    next_column_id=4,
)


def event(key: int, hour: float, amount: float | None = None) -> dict[str, Any]:
    return {"key": key, "time": datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=hour), "amount": amount}


def scanned(store: TableStore, **arguments: Any) -> list[dict[str, Any]]:
    scan = store.scan(**arguments)
    rows = [row for batch in scan.batches() for row in batch.to_pylist()]
    assert pa.RecordBatchReader.from_stream(scan).read_all().num_rows == len(rows)
    return rows


def agree(store: TableStore, naive: NaiveCells, keys: list[tuple[Any, ...]], *, versions: range) -> None:
    table = store.table
    for version in versions:
        expected = sorted(comparable(row) for row in naive.scan(version=version))
        assert sorted(comparable(row) for row in scanned(store, version=version)) == expected
        gets = [naive.get(key, version=version) for key in keys]
        for key, row in zip(keys, gets, strict=True):
            assert comparable(store.get(key, version=version)) == comparable(row)
        rows, indices = store.get_many(keys_batch(table, keys), version=version)
        assert indices.tolist() == [index for index, row in enumerate(gets) if row is not None]
        assert [comparable(row) for row in rows.to_pylist()] == [comparable(row) for row in gets if row is not None]
        for ignore_deltas in (False, True):
            changed = store.changed_since(keys_batch(table, keys), version, ignore_deltas=ignore_deltas)
            assert changed.tolist() == [naive.changed_since(key, version, ignore_deltas=ignore_deltas) for key in keys]
        for high in versions[version:]:
            agree_on_changes(store, naive, version, high)
    newest = store.newest(keys_batch(table, keys))
    for index, key in enumerate(keys):
        row = naive.newest(key)
        assert newest.found[index] == (row is not None)
        if row is not None:
            assert (newest.begin[index], newest.end[index]) == (row.begin, row.end)
            assert newest.delta[index] == row.delta
            assert newest.alive[index] == (row.end == naive_cells.OPEN)
    assert store.rows_count == len(naive.scan(version=versions[-1]))


def agree_on_changes(store: TableStore, naive: NaiveCells, low: int, high: int, **filtered: Any) -> None:
    """``filtered``: a filter, and as ``wanted`` a function that says the same of a row."""
    filter, wanted = filtered.get("filter"), filtered.get("wanted", lambda row: True)
    begun: list[tuple[object, int, bool]] = []
    ended: list[tuple[object, int]] = []
    for piece in store.changes(low, high, pruning=None if filter is None else prune(filter, store.layout)):
        assert piece.begun.num_rows == len(piece.begun_at) == len(piece.deltas)
        assert piece.ended.num_rows == len(piece.ended_at)
        assert piece.begun.num_rows + piece.ended.num_rows, "a piece has rows"
        rows = zip(piece.begun.to_pylist(), piece.begun_at.tolist(), piece.deltas.tolist(), strict=True)
        begun += [(comparable(row), at, delta) for row, at, delta in rows if wanted(row)]
        rows = zip(piece.ended.to_pylist(), piece.ended_at.tolist(), strict=True)
        ended += [(comparable(row), at) for row, at in rows if wanted(row)]
    expected, gone = naive.changes(low, high)
    assert sorted(begun) == sorted((comparable(row.row), at, row.delta) for row, at in expected if wanted(row.row))
    assert sorted(ended) == sorted((comparable(row.row), at) for row, at in gone if wanted(row.row))


@given(st.data())
@settings(max_examples=soak.many(60, 120), deadline=None)
def test_every_version_reads_as_in_a_dictionary_of_versions(data: st.DataObject) -> None:
    table = data.draw(tables())
    names = table.key_schema.names
    keys = data.draw(st.lists(keys_of(table), min_size=1, max_size=6))
    rest = rest_of(table)
    store, naive = TableStore(table), NaiveCells(table)
    version = 0
    for _ in range(data.draw(st.integers(1, 6))):
        version += 1
        for _ in range(data.draw(st.integers(1, 2))):
            picked = data.draw(st.lists(st.sampled_from(keys), max_size=8))
            match data.draw(
                st.sampled_from(("put", "put", "put", "delta", "delta", "delete", "truncate", "seal", "seal"))
            ):
                case "seal":
                    sealing.seal_memtables(store)
                case "truncate":
                    store.apply_truncate(version=version)
                    naive.truncate(version=version)
                case "delete":
                    store.apply_delete(keys_batch(table, picked), version=version)
                    naive.delete(picked, version=version)
                case action:
                    rows = [
                        dict(zip(names, key, strict=True)) | data.draw(st.fixed_dictionaries(rest)) for key in picked
                    ]
                    ids = [str(table.by_name[name].id) for name in table.arrow_schema.names]
                    store.apply_put(
                        batch(table, rows).rename_columns(ids), version=version, delta=action == "delta", by_id=True
                    )
                    naive.put(rows, version=version, delta=action == "delta")
    agree(store, naive, keys, versions=range(version + 1))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=40), st.data())
@settings(max_examples=soak.many(40, 60), deadline=None)
def test_rows_without_primary_key_are_addressed_by_row_id(
    steps: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    store = TableStore(TAIL)
    expected: dict[int, dict[str, Any]] = {}
    version = 0
    for key, day, delete in steps:
        version += 1
        if delete and expected:
            doomed = data.draw(st.lists(st.sampled_from(sorted(expected)), max_size=3))
            rows = [expected.pop(id, None) or {"key": None, "time": None} for id in doomed]
            keys = batch(TAIL, rows, ["key", "time"]).append_column(ROW_ID_NAME, pa.array(doomed, pa.int64()))
            store.apply_delete(keys, version=version)
            continue
        time = None if day == 0 else datetime.date(2024, 1, day)
        rows = [{"key": None if key == 0 else "x" * key, "time": time, "text": f"{version}.{n}"} for n in range(key)]
        first = store.next_row_id
        store.apply_put(batch(TAIL, rows), version=version)
        expected.update(enumerate(rows, first))
    rows = scanned(store, version=version, row_ids=True)
    assert {row.pop(ROW_ID_NAME): row for row in rows} == expected
    assert store.rows_count == len(expected)


def test_row_ids_that_come_with_the_rows_are_not_taken() -> None:
    store = TableStore(TAIL)
    row = {"key": "a", "time": datetime.date(2024, 1, 1), "text": "t"}
    rows = batch(TAIL, [row, row]).append_column(ROW_ID_NAME, pa.array([7, 7], pa.int64()))
    store.apply_put(rows, version=1)
    assert sorted(row[ROW_ID_NAME] for row in scanned(store, version=1, row_ids=True)) == [1, 2]
    assert store.next_row_id == 3


@pytest.mark.parametrize("text", [False, True])
def test_a_row_of_thousands_of_versions_in_a_segment_is_judged_and_read_as_in_a_dictionary(text: bool) -> None:
    key = Column(id=1, name="key", type=types.TEXT if text else types.BIGINT, nullable=False)
    table = Table(
        id=1, name="t", columns=(key, Column(id=2, name="n", type=types.BIGINT)), primary_key=(1,), key=(1,), shards=1
    )
    names: list[Any] = ["a", "hot", "hotter"] if text else [1, 2, 3]
    store, naive = TableStore(table), NaiveCells(table)
    for version in range(1, 3_001):
        # One row gets deltas only, its neighbours a put or a delete now and then.
        rows = [{"key": names[1], "n": version}]
        store.apply_put(batch(table, rows), version=version, delta=version > 1)
        naive.put(rows, version=version, delta=version > 1)
        if version % 500 in (1, 100):
            rows = [{"key": name, "n": version} for name in (names[0], names[2])]
            store.apply_put(batch(table, rows), version=version)
            naive.put(rows, version=version)
        elif version % 500 == 50:
            store.apply_delete(keys_batch(table, [(names[0],)]), version=version)
            naive.delete([(names[0],)], version=version)
        if version in (1_000, 2_000, 2_990):
            sealing.seal_memtables(store, block_rows=512)
    some = (0, 1, 49, 50, 99, 100, 999, 1_000, 1_001, 1_500, 1_999, 2_000, 2_549, 2_550, 2_989, 2_990, 2_991, 3_000)
    keys = keys_batch(table, [(name,) for name in names])
    for version in some:
        for ignore_deltas in (False, True):
            assert store.changed_since(keys, version, ignore_deltas=ignore_deltas).tolist() == [
                naive.changed_since((name,), version, ignore_deltas=ignore_deltas) for name in names
            ]
        assert [store.get((name,), version=version) for name in names] == [
            naive.get((name,), version=version) for name in names
        ]


def test_a_conflict_on_a_row_id_is_seen() -> None:
    store = TableStore(TAIL)
    row = {"key": "a", "time": datetime.date(2024, 1, 1), "text": "t"}
    store.apply_put(batch(TAIL, [row, row]), version=1)
    keys = batch(TAIL, [row, row], ["key", "time"]).append_column(ROW_ID_NAME, pa.array([1, 2], pa.int64()))
    store.apply_delete(keys.slice(1, 1), version=2)
    assert store.changed_since(keys, 1, ignore_deltas=False).tolist() == [False, True]
    assert store.newest(keys).alive.tolist() == [True, False]


def _compared(function: str, id: int, *values: Any) -> Call:
    column = EVENTS.by_id[id]
    arguments = (ColumnNode(id=id, type=column.type), *(Literal(value=value, type=column.type) for value in values))
    return Call(function=function, arguments=arguments, type=types.BOOLEAN)


def _both(*parts: Call) -> Call:
    return Call(function="and", arguments=parts, type=types.BOOLEAN)


def test_changes_of_a_range_of_versions_are_those_of_a_dictionary_whatever_the_filter() -> None:
    store, naive = TableStore(EVENTS), NaiveCells(EVENTS)
    rng = np.random.default_rng(7)
    for version in range(1, 25):
        # The third and the tenth commit end rows by the thousand: a layer of an overlay each, the others table entries.
        many = version in (1, 3, 10)
        count = 6_000 if many else int(rng.integers(1, 40))
        numbers = np.arange(count) if many else rng.integers(0, 6_000, count)
        if version % 4 == 2:
            keys = [(int(n % 50), event(0, int(n // 50) * 0.05)["time"]) for n in numbers]
            store.apply_delete(keys_batch(EVENTS, keys), version=version)
            naive.delete(keys, version=version)
        elif version == 20:
            store.apply_truncate(version=version)
            naive.truncate(version=version)
        else:
            rows = [event(int(n % 50), int(n // 50) * 0.05, float(version)) for n in numbers]
            store.apply_put(batch(EVENTS, rows), version=version, delta=version % 5 == 0)
            naive.put(rows, version=version, delta=version % 5 == 0)
        if version in (2, 8, 9, 17, 21):
            sealing.seal_memtables(store, block_rows=256)
    noon, evening = event(0, 3)["time"], event(0, 4.5)["time"]
    for low, high in ((0, 24), (0, 0), (1, 3), (2, 9), (9, 10), (10, 19), (19, 20), (20, 24), (23, 24), (24, 24)):
        agree_on_changes(store, naive, low, high)
        agree_on_changes(store, naive, low, high, filter=_compared("equal", 1, 7), wanted=lambda row: row["key"] == 7)
        agree_on_changes(
            store,
            naive,
            low,
            high,
            filter=_both(_compared("greater_equal", 2, noon), _compared("less", 2, evening)),
            wanted=lambda row: noon <= row["time"] < evening,
        )
        agree_on_changes(
            store,
            naive,
            low,
            high,
            filter=_both(_compared("in_list", 1, 3, 48, 4_711), _compared("equal", 2, noon)),
            wanted=lambda row: row["key"] in (3, 48) and row["time"] == noon,
        )
    # One key has few changes, and little else is looked at for them.
    pruned = store.changes(0, 24, pruning=prune(_compared("equal", 1, 7), store.layout), columns=[1])
    looked_at = sum(piece.begun.num_rows + piece.ended.num_rows for piece in pruned)
    assert looked_at < sum(piece.begun.num_rows + piece.ended.num_rows for piece in store.changes(0, 24)) / 2


def test_changes_of_rows_without_primary_key_come_with_their_row_ids() -> None:
    store = TableStore(TAIL)
    rows = [{"key": "a", "time": datetime.date(2024, 1, day), "text": str(day)} for day in (1, 2, 3)]
    store.apply_put(batch(TAIL, rows), version=1)
    sealing.seal_memtables(store)
    keys = batch(TAIL, rows[1:2], ["key", "time"]).append_column(ROW_ID_NAME, pa.array([2], pa.int64()))
    store.apply_delete(keys, version=2)
    begun = [row for piece in store.changes(0, 2) for row in piece.begun.to_pylist()]
    assert sorted(begun, key=lambda row: row[ROW_ID_NAME]) == [row | {ROW_ID_NAME: n} for n, row in enumerate(rows, 1)]
    (piece,) = store.changes(1, 2)
    assert piece.ended.to_pylist() == [rows[1] | {ROW_ID_NAME: 2}]
    assert (piece.ended_at.tolist(), piece.begun.num_rows) == ([2], 0)


@pytest.mark.parametrize("rows_count", [255, 256, 257, 70_000, 200_000])
def test_chunks_and_index_grow_without_losing_a_row(rows_count: int) -> None:
    store = TableStore(dataclasses.replace(EVENTS, every=None, shards=2))
    rng = np.random.default_rng(rows_count)
    keys = rng.permutation(rows_count)
    whole = pa.RecordBatch.from_arrays(
        [pa.array(keys), pa.array(keys).cast(pa.timestamp("us")), pa.array(keys / 2)], schema=EVENTS.arrow_schema
    )
    for version, start in enumerate(range(0, rows_count, 33_333), 1):
        store.apply_put(whole.slice(start, 33_333), version=version)
    assert store.rows_count == rows_count
    found, indices = store.get_many(whole.select(["key", "time"]), version=version)
    assert indices.tolist() == list(range(rows_count))
    assert found.equals(whole)
    store.apply_put(whole.slice(0, 1_000), version=version + 1)
    store.apply_delete(whole.slice(rows_count - 100, 100).select(["key", "time"]), version=version + 2)
    counts = [
        sum(batch.num_rows for batch in store.scan(version=at).batches()) for at in (version, version + 1, version + 2)
    ]
    assert counts == [rows_count, rows_count, rows_count - 100]


def test_texts_of_any_size_fill_chunks_and_come_back() -> None:
    table = Table(
        id=1,
        name="texts",
        columns=(
            Column(id=1, name="name", type=types.TEXT, nullable=False),
            Column(id=2, name="text", type=types.TEXT),
        ),
        primary_key=(1,),
        key=(1,),
        shards=2,
    )
    store, naive = TableStore(table), NaiveCells(table)
    rng = np.random.default_rng(5)
    names = ["x" * int(size) + str(n) for n, size in enumerate(rng.integers(0, 300, 600) ** 2 % 5_000)]
    for version in range(1, 7):
        rows = [
            {"name": names[n], "text": None if n % 7 == 0 else names[n - 1] * 2}
            for n in rng.integers(0, 100 * version, 150).tolist()
        ]
        store.apply_put(batch(table, rows), version=version)
        naive.put(rows, version=version)
    agree(store, naive, [(name,) for name in names], versions=range(7))


def test_an_added_column_reads_as_its_default_and_a_dropped_one_is_gone() -> None:
    store = TableStore(EVENTS)
    store.apply_put(batch(EVENTS, [event(1, 0, 1.0)]), version=1)
    added = dataclasses.replace(
        EVENTS,
        columns=(
            EVENTS.columns[0],
            dataclasses.replace(EVENTS.columns[1], name="at"),
            Column(id=4, name="note", type=types.TEXT, missing=Literal(value="new", type=types.TEXT)),
            Column(id=5, name="empty", type=types.UUID),
        ),
        next_column_id=6,
    )
    newer = store.with_definition(added)
    row = {"key": 2, "at": datetime.datetime(2024, 1, 1), "note": None, "empty": None}
    newer.apply_put(batch(added, [row]), version=2)
    old_row = {"key": 1, "at": datetime.datetime(2024, 1, 1), "note": "new", "empty": None}
    assert sorted(scanned(newer, version=2), key=lambda row: row["key"]) == [old_row, row]
    assert newer.get((1, row["at"]), version=2) == old_row
    assert newer.get_many(keys_batch(added, [(1, row["at"])]), version=2)[0].to_pylist() == [old_row]
    assert scanned(store, version=1) == [event(1, 0, 1.0)]


def test_too_many_slices_are_refused_before_the_commit_and_change_nothing() -> None:
    store = TableStore(EVENTS)
    rows = [event(n, n) for n in range(limits.SLICES_OPEN_MAX + 1)]
    store.check_bounds(batch(EVENTS, rows[1:]))
    with pytest.raises(LimitExceeded, match="10,001 slices"):
        store.check_bounds(batch(EVENTS, rows))
    store.apply_put(batch(EVENTS, rows[:20]), version=1)
    assert store.cells_count >= 20
    with pytest.raises(LimitExceeded, match="every"):
        store.check_bounds(batch(EVENTS, rows[15:]))


def test_a_key_value_of_the_wrong_type_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match='"key" of type bigint'):
        TableStore(EVENTS).get(("seven", datetime.datetime(2024, 1, 1)), version=1)


def test_a_timestamp_beyond_python_is_refused_by_get_and_read_as_arrow() -> None:
    columns = (
        Column(id=1, name="id", type=types.BIGINT, nullable=False),
        Column(id=2, name="at", type=types.TIMESTAMP),
    )
    store = TableStore(Table(id=1, name="t", columns=columns, primary_key=(1,), key=(1,)))
    far = pa.array([2**62], pa.int64()).cast(pa.timestamp("us"))
    rows = pa.RecordBatch.from_arrays([pa.array([1]), far], schema=store.table.arrow_schema)
    store.apply_put(rows, version=1)
    with pytest.raises(Invalid, match='column "at"'):
        store.get((1,), version=1)
    assert store.get_many(rows.select(["id"]), version=1)[0].equals(rows)


@pytest.mark.parametrize("type", [types.BIGINT, types.TEXT], ids=str)
def test_readers_see_whole_versions_beside_a_concurrent_writer(type: Type) -> None:
    """Each version rewrites some keys with note = version and adds others; readers check that nothing is torn."""
    table = Table(
        id=1,
        name="t",
        columns=(Column(id=1, name="key", type=type, nullable=False), Column(id=2, name="note", type=types.TEXT)),
        primary_key=(1,),
        key=(1,),
        shards=2,
    )
    store = TableStore(table)
    published = [0]
    failures: list[str] = []
    done = threading.Event()
    versions, added, rewritten = 60, 500, 200

    def key_of(n: int) -> Any:
        return n if type is types.BIGINT else "k" * (n % 40) + str(n)

    def rows_at(version: int) -> pa.RecordBatch:
        keys = [key_of(n) for n in (*range(rewritten), *range(version * added, (version + 1) * added))]
        notes = pa.array([f"{version}"] * len(keys))
        return pa.RecordBatch.from_arrays([pa.array(keys, type.arrow), notes], schema=table.arrow_schema)

    prepared = [rows_at(version) for version in range(versions + 1)]
    probes = prepared[0].slice(0, rewritten).select(["key"])
    old_keys = set(probes.column(0).to_pylist())

    def check(version: int) -> str | None:
        rows = pa.RecordBatchReader.from_stream(store.scan(version=version)).read_all()
        keys = rows["key"].to_pylist()
        if len(keys) != rewritten + version * added or len(set(keys)) != len(keys):
            return f"{len(keys)} rows, {len(set(keys))} keys"
        notes = {note for key, note in zip(keys, rows["note"].to_pylist(), strict=True) if key in old_keys}
        if notes != {str(version)}:
            return f"rewritten rows read {notes}"
        found, indices = store.get_many(probes, version=version)
        if len(indices) != rewritten or set(found["note"].to_pylist()) != {str(version)}:
            return f"get_many found {len(indices)} rows with {set(found['note'].to_pylist())}"
        for n in range(0, rewritten, 7):
            one = store.get((key_of(n),), version=version)
            if one is None or one["note"] != str(version):
                return f"get of {key_of(n)} read {one}"
        return None

    def read() -> None:
        try:
            while not done.is_set() and not failures:
                version = published[0]
                if version and (failure := check(version)) is not None:
                    failures.append(f"version {version}: {failure}")
        except Exception as error:
            failures.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(1, versions + 1):
        store.apply_put(prepared[version], version=version)
        published[0] = version
        time.sleep(0.002)
    done.set()
    for reader in readers:
        reader.join()
    assert not failures, failures[:3]
    assert check(versions) is None
    assert check(versions // 2) is None
