"""Exports: the same snapshot gives the same bytes, in the order of slice, shard and primary key."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import drawn_tables
import numpy as np
import pyarrow as pa
import pytest
import sealing
import typed_values
import weftdb
from drawn_tables import keys_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_cells import NaiveCells
from weftdb.base import batches as batches_module
from weftdb.base import types
from weftdb.base.batches import bytes_of_lists, exact, plain
from weftdb.base.interface import Database, Table
from weftdb.engine.cells import TableStore
from weftdb.engine.schema import Column
from weftdb.engine.schema import Table as Definition
from weftdb.server.main import main
from weftdb.server.service import serve
from weftdb.sql.embedded import EmbeddedDatabase


def written(reader: pa.RecordBatchReader) -> bytes:
    """An Arrow file of it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, reader.schema) as file:
        for batch in reader:
            file.write_batch(batch)
    return sink.getvalue().to_pybytes()


def bytes_of(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> bytes:
    return written(exact(pa.RecordBatchReader.from_batches(schema, iter(batches))))


# -- the order -------------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_rows_come_by_slice_shard_and_primary_key_wherever_they_stand(data: st.DataObject) -> None:
    table = data.draw(drawn_tables.tables())
    store, naive = TableStore(table), NaiveCells(table)
    rows_of_table = st.fixed_dictionaries(
        {column.name: typed_values.values_of(column.type, nullable=column.nullable) for column in table.columns}
    )
    version = 0
    for _ in range(data.draw(st.integers(1, 5))):
        version += 1
        rows = data.draw(st.lists(rows_of_table, max_size=40))
        store.apply_put(drawn_tables.batch(table, rows), version=version)
        naive.put(rows, version=version)
        if rows and data.draw(st.booleans()):
            version += 1
            gone = [tuple(row[column.name] for column in table.primary_key_columns) for row in rows[::3]]
            store.apply_delete(keys_batch(table, gone), version=version)
            naive.delete(gone, version=version)
        if data.draw(st.booleans()):
            sealing.seal_memtables(store)
    for at in range(version + 1):
        export = store.export(version=at)
        expected, _ = store.get_many(keys_batch(table, in_order(store, naive, version=at)), version=at)
        for _ in range(2):
            assert bytes_of(list(export.batches()), export.schema) == bytes_of([expected], export.schema)


def in_order(store: TableStore, naive: NaiveCells, *, version: int) -> list[tuple[Any, ...]]:
    """The primary keys of the visible rows: the slow way."""
    layout = store.layout
    assert layout.encoder is not None
    placed: list[tuple[tuple[int, int], bytes, tuple[Any, ...]]] = []
    for row in naive.scan(version=version):
        key = tuple(row[column.name] for column in store.table.primary_key_columns)
        encoded = layout.encoder.encode_one(key)
        placed.append((layout.route_one(key, encoded), encoded, key))
    return [key for _, _, key in sorted(placed, key=lambda each: each[:2])]


@pytest.mark.parametrize("type", [types.INTEGER, types.TEXT])
def test_rows_without_primary_key_come_by_key_time_and_arrival(type: types.Type) -> None:
    """Some parts of one cell hold the same keys; only the row ids tell them apart."""
    table = Definition(
        id=1,
        name="t",
        columns=(
            Column(id=1, name="key", type=type),
            Column(id=2, name="at", type=types.TIMESTAMP),
            Column(id=3, name="n", type=types.INTEGER),
        ),
        key=(1,),
        time=2,
        next_column_id=4,
    )
    store = TableStore(table)
    keys = (3, None, 1) if type is types.INTEGER else ("c", None, "a\0")
    rows = [{"key": keys[n % 3], "at": datetime.datetime(2024, 1, 1 + n % 2), "n": n} for n in range(600)]
    for start in range(0, 600, 150):
        store.apply_put(drawn_tables.batch(table, rows[start : start + 150]), version=start + 1)
        if start in (150, 300):
            sealing.seal_memtables(store)
    export = store.export(version=1_000, columns=[3])
    exported = [row["n"] for batch in export.batches() for row in batch.to_pylist()]
    order = {keys[2]: 0, keys[0]: 1, None: 2}
    assert exported == [row["n"] for row in sorted(rows, key=lambda row: (order[row["key"]], row["at"], row["n"]))]


# -- the bytes -------------------------------------------------------------------------------------------------------

DDL = ", ".join(f"v{n} {type}" for n, type in enumerate(typed_values.EVERY_TYPE))
TABLES = {
    "typed": f"CREATE TABLE typed (k bigint PRIMARY KEY, {DDL})",
    "events": "CREATE TABLE events (device text, at timestamp, n integer, PRIMARY KEY (device, at)) "
    "WITH (key = 'device', time = 'at', every = '1 day', shards = 2)",
    "log": "CREATE TABLE log (device text, at timestamp, v text) WITH (key = 'device', time = 'at', every = '1 day')",
}
START = datetime.datetime(2024, 1, 1)


def fill(database: Database, *, round: int) -> None:
    """Puts, deletes, NULLs, values that compare as equal and are not."""
    typed = database.table("typed")
    schema = pa.schema([field for field in typed.schema if field.name != "later"])
    samples = [[x for x in typed_values.samples_of(type) if "\0" not in str(x)] for type in typed_values.EVERY_TYPE]
    rows: list[dict[str, Any]] = []
    for k in range(round * 20, round * 20 + 40):
        values = [None if (k + n) % 5 == 0 else of[k % len(of)] for n, of in enumerate(samples)]
        rows.append(dict(zip(schema.names, [k * 7919 % 101, *values], strict=True)))
    typed.put(pa.Table.from_batches([typed_values.batch_of(rows, schema, types_of(typed))]))
    typed.delete([k * 7919 % 101 for k in range(round * 20, round * 20 + 40, 7)])
    events = [(f"d{n % 7}", START + datetime.timedelta(hours=n * 5 % 97), n + round) for n in range(60)]
    database.table("events").put(events)
    database.table("log").insert([(device, at, "x" * (n % 9)) for device, at, n in events])


def types_of(table: Table) -> dict[str, types.Type]:
    return {field.name: types.type_of_field(field) for field in table.schema}


def exported(database: Database, name: str) -> dict[str, bytes]:
    with database.snapshot(name) as snapshot:
        return {table: written(snapshot.table(table).export()) for table in TABLES}


def test_two_exports_of_a_named_snapshot_are_the_same_bytes(tmp_path: Path) -> None:
    """From memory, from segments, beside later writes, after a merge, a restart, and over the network."""
    seen: list[dict[str, bytes]] = []
    with weftdb.open(tmp_path / "data", maintenance=False, history_seconds=0) as database:
        assert isinstance(database, EmbeddedDatabase)
        for ddl in TABLES.values():
            database.execute(ddl)
        for round in range(3):
            fill(database, round=round)
            if round == 1:
                database.engine.flush()
        database.execute("CREATE SNAPSHOT s")
        seen.append(exported(database, "s"))
        fill(database, round=4)
        database.execute("ALTER TABLE typed ADD COLUMN later integer DEFAULT 5")
        seen.append(exported(database, "s"))
        database.engine.flush()
        seen.append(exported(database, "s"))
        fill(database, round=5)
        database.engine.flush()
        database.engine.compact()
        seen.append(exported(database, "s"))
    with weftdb.open(tmp_path / "data", maintenance=False, history_seconds=0) as database:
        assert isinstance(database, EmbeddedDatabase)
        seen.append(exported(database, "s"))
        with database.snapshot("s") as snapshot:
            for table in TABLES:
                rows = snapshot.execute(f"SELECT * FROM {table}").arrow()
                read = snapshot.table(table).export().read_all()
                assert sorted(map(str, read.to_pylist())) == sorted(map(str, rows.to_pylist()))
    from weftdb.engine.database import Engine

    with serve(Engine.open(tmp_path / "data"), port=0) as server, weftdb.connect(server.address) as remote:
        seen.append(exported(remote, "s"))
    for later in seen[1:]:
        assert later == seen[0]


def test_an_export_is_cut_after_so_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "EXPORT_ROWS", 100)
    with weftdb.open() as database:
        database.execute("CREATE TABLE t (k bigint PRIMARY KEY, v text)")
        database.table("t").put([(k, "x") for k in range(250)])
        export = database.table("t").export(columns=["v", "k"])
        assert export.schema.names == ["v", "k"]
        assert [batch.num_rows for batch in export] == [100, 100, 50]
        assert [batch.num_rows for batch in database.table("t").export()] == [100, 100, 50]
        with database.transaction() as transaction, pytest.raises(weftdb.Invalid) as caught:
            transaction.table("t").export()
        assert caught.value.sqlstate == "25001"
        with pytest.raises(weftdb.Invalid):
            database.table("t").export(columns=[])
        with pytest.raises(weftdb.Invalid):
            database.table("t").export(columns=["nothing"])
        version = database.table("t").put((1, "y")).version
        assert database.table("t").export(at_least=version).read_all().num_rows == 250


def pieces(table: pa.Table, chance: np.random.Generator) -> Iterator[pa.RecordBatch]:
    """The rows in batches of any size, each with something of its own in its memory."""
    start = 0
    while start < table.num_rows:
        stop = min(table.num_rows, start + int(chance.integers(1, 60)))
        batch = table.slice(start, stop - start).combine_chunks().to_batches()[0]
        yield (
            batch
            if chance.integers(2)
            else pa.RecordBatch.from_arrays([shifted(column) for column in batch.columns], schema=batch.schema)
        )
        start = stop


def shifted(array: pa.Array) -> pa.Array:
    """The same values somewhere in a larger array."""
    return pa.concat_arrays([array[-1:], array[:2], array, array[:1]])[1 + min(2, len(array)) :][: len(array)]


def test_batches_depend_on_the_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(5)
    columns = [Column(id=n, name=f"v{n}", type=type) for n, type in enumerate(typed_values.EVERY_TYPE, 1)]
    schema = pa.schema([column.field for column in columns])
    arrays = [
        typed_values.array_of(
            [None if chance.integers(4) == 0 else of[chance.integers(len(of))] for _ in range(130)], column.type
        )
        for column in columns
        for of in [typed_values.samples_of(column.type)]
    ]
    table = pa.Table.from_arrays(arrays, schema=schema)
    for rows, bytes_max in ((65_536, 2**26), (64, 2**26), (100, 700), (100, 1)):
        monkeypatch.setattr(batches_module, "EXPORT_ROWS", rows)
        monkeypatch.setattr(batches_module, "EXPORT_BYTES", bytes_max)
        whole = list(exact(table.to_reader()))
        assert str(pa.Table.from_batches(whole).to_pylist()) == str(table.to_pylist())
        sizes = [text_bytes(batch) for batch in whole]
        assert all(batch.num_rows == 1 or size <= bytes_max for batch, size in zip(whole, sizes, strict=True))
        for batch, after in itertools.pairwise(whole):
            assert batch.num_rows == rows or text_bytes(batch) + text_bytes(after.slice(0, 1)) > bytes_max
        for _ in range(3):
            again = pa.RecordBatchReader.from_batches(schema, pieces(table, chance))
            assert written(exact(again)) == bytes_of(whole, schema)


def text_bytes(batch: pa.RecordBatch) -> int:
    return sum(
        len(value.encode() if isinstance(value, str) else value)
        for column in batch.columns
        for value in (column.storage if isinstance(column, pa.ExtensionArray) else column).to_pylist()
        if isinstance(value, str | bytes) and not isinstance(column, pa.UuidArray)
    ) + sum(int(bytes_of_lists(column).sum()) for column in batch.columns if isinstance(column, pa.ListArray))


def test_what_stands_under_a_null_does_not_show() -> None:
    valid = pa.py_buffer(b"\x05")  # the second of three is NULL
    for type, one, other in (
        (pa.int32(), np.array([1, 2, 3], np.int32), np.array([1, 9, 3], np.int32)),
        (pa.bool_(), np.array([0b011], np.uint8), np.array([0b11111001], np.uint8)),
    ):
        arrays = [pa.Array.from_buffers(type, 3, [valid, pa.py_buffer(values)]) for values in (one, other)]
        first, second = ([None if b is None else b.to_pybytes() for b in plain(array).buffers()] for array in arrays)
        assert first == second
    offsets = pa.py_buffer(np.array([0, 1, 3, 4], np.int32))
    array = pa.Array.from_buffers(pa.utf8(), 3, [valid, offsets, pa.py_buffer(b"abbc")])
    assert plain(array).buffers()[2].to_pybytes() == b"ac"
    assert plain(array).to_pylist() == ["a", None, "c"]


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database with a snapshot, after which everything was changed."""
    with weftdb.open(tmp_path / "data") as database:
        for ddl in TABLES.values():
            database.execute(ddl)
        fill(database, round=0)
        database.execute("CREATE SNAPSHOT s")
        fill(database, round=1)
        database.execute("DELETE FROM events")
    return tmp_path / "data"


def weft(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", ["e.parquet", "e.arrow", "e.arrows", "e.csv"])
def test_what_was_exported_is_loaded_again(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"v{n}" for n, type in enumerate(typed_values.EVERY_TYPE) if type is not types.INTERVAL]
    point = ("--columns", ",".join(["k", *names]), "--snapshot", "s", "--url", folder)
    for target in (tmp_path / name, tmp_path / f"again.{name}"):
        code, out, err = weft(capsys, "export", "typed", target, *point)
        assert code == 0, err
        assert out.startswith("34 rows of typed at version ")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again.{name}").read_bytes()
    with weftdb.open(folder) as database:
        database.execute(TABLES["typed"].replace("typed", "copied", 1))
    code, _, err = weft(capsys, "load", "copied", tmp_path / name, "--url", folder)
    assert code == 0, err
    with weftdb.open(folder) as database, database.snapshot("s") as snapshot:
        wanted = snapshot.table("typed").export(columns=["k", *names]).read_all()
        assert str(database.table("copied").export(columns=["k", *names]).read_all()) == str(wanted)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", name, f"again.{name}"])


def test_an_export_that_fails_leaves_no_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (("typed", tmp_path / "t.parquet"), "cannot hold a column of typed"),
        (("typed", tmp_path / "t.xls"), "no extension that is known"),
        (("typed", tmp_path / "missing" / "t.csv"), "there is no folder"),
        (("events", tmp_path / "t.csv", "--snapshot", "other"), "other"),
        (("nothing", tmp_path / "t.csv"), "nothing"),
        (("events", tmp_path / "t.csv", "--columns", "k"), '"k"'),
        (("events", tmp_path / "t.csv", "--version", "99999"), "does not exist"),
    ):
        code, _, err = weft(capsys, "export", *arguments, "--url", folder)
        assert (code, message in err) == (1, True), err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    code, out, _ = weft(capsys, "export", "events", tmp_path / "t.csv", "--url", folder)
    assert (code, out.startswith("0 rows of events")) == (0, True)
    assert (tmp_path / "t.csv").read_text() == "device,at,n\n"
