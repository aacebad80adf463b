"""Scans over memtables and segments against rows that are judged one by one, at every version."""

from __future__ import annotations

import dataclasses
import datetime
import operator
from collections import Counter
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sealing
import soak
import typed_values
import weftdb
from filtering import call, filters, is_true, literal, node, rows_of, tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_cells import NaiveCells, canonical, comparable
from weftdb.base import types
from weftdb.base.errors import Corrupt
from weftdb.base.types import Kind
from weftdb.engine.cells import TableStore
from weftdb.engine.changes import Change
from weftdb.engine.column_store import CODES
from weftdb.engine.database import Engine
from weftdb.engine.gather import GATHER_ROWS_MAX
from weftdb.engine.options import Options
from weftdb.engine.prune import stored_time
from weftdb.engine.schema import ROW_ID_NAME, Column, Table
from weftdb.engine.segment import Segment

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
def histories(draw: st.DrawFn, some: st.SearchStrategy[Table]) -> Both:
    """One of some tables with a history of puts, deletes and seals."""
    both = Both(draw(some))
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
@settings(max_examples=soak.many(60, 120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_scan_gives_the_rows_for_which_the_filter_is_true_whatever_was_sealed(data: st.DataObject) -> None:
    both = data.draw(histories(tables()))
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


@given(st.data())
@settings(max_examples=soak.many(60, 120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_handed_over_says_the_same_and_loses_no_row_of_the_filter(data: st.DataObject) -> None:
    both = data.draw(histories(tables()))
    table = both.table
    filter = data.draw(st.none() | filters(table))
    names = data.draw(st.permutations([column.name for column in table.columns]))
    version = data.draw(st.integers(0, both.version))
    rows = both.naive.scan(version=version)
    true = is_true(filter, table, rows) if filter is not None and rows else [True] * len(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weftdb.engine.scan.HANDED_ROWS_MIN", 0)
        scan = both.store.scan(version=version, columns=[table.by_name[name].id for name in names], filter=filter)
        for count in (len(names), data.draw(st.integers(1, len(names)))):
            places = data.draw(st.permutations(range(len(names))))[:count]
            wanted = [names[place] for place in places]
            schema, batches = scan.handed(places)
            assert schema.names == wanted
            found = Counter(comparable(row) for batch in batches for row in batch.to_pylist())
            there = Counter(comparable({name: row[name] for name in wanted}) for row in rows)
            passing = (row for row, passes in zip(rows, true, strict=True) if passes)
            assert found <= there, "every row is visible, and there once"
            assert Counter(comparable({name: row[name] for name in wanted}) for row in passing) <= found


def test_numerics_are_handed_over_as_narrow_as_they_are_and_little_is_read_for_few_rows() -> None:
    table = Table(
        id=7,
        name="prices",
        columns=(
            Column(id=1, name="id", type=types.BIGINT, nullable=False),
            Column(id=2, name="small", type=types.numeric(15, 2)),
            Column(id=3, name="large", type=types.numeric(38, 4)),
            Column(id=4, name="huge", type=types.numeric(38, 0)),
            Column(id=5, name="day", type=types.DATE),
            Column(id=6, name="kind", type=types.TEXT),
        ),
        primary_key=(1,),
        key=(1,),
    )
    both = Both(table)
    day = datetime.date(2026, 1, 1)
    rows = [
        {
            "id": n,
            "small": Decimal(n % 9_000) / 100 if n % 7 else None,
            "large": Decimal(10**9 + n),
            "huge": Decimal(10**30 + n),
            "day": day + datetime.timedelta(days=n % 20),
            "kind": ("a", "b", None)[n % 3],
        }
        for n in range(40_000)
    ]
    both.put(rows)
    chunk = both.store.scan(version=1, filter=None).handed()[0]
    assert chunk.field("small").type == pa.decimal64(15, 2), "memtables have no zones"
    both.seal(4_096)
    column = node(table.by_name["day"])
    first = call("equal", column, literal(day, types.DATE))
    last = call("greater", column, literal(day + datetime.timedelta(days=2), types.DATE))
    for condition in (None, first, last):
        scan = both.store.scan(version=1, filter=condition)
        schema, batches = scan.handed()
        assert [field.type for field in schema][1:4] == [pa.decimal32(5, 2), pa.decimal64(14, 4), pa.decimal128(38, 0)]
        found = [row for batch in batches for row in batch.to_pylist()]
        plain = [row for batch in scan.batches() for row in batch.to_pylist()]
        wanted = {row["id"] for row in plain}
        assert [row for row in found if row["id"] in wanted] == plain
        assert all(row in rows for row in found[::501])


@st.composite
def steps(draw: st.DrawFn, table: Table) -> list[tuple[str, Any]]:
    """What to do with an engine: puts, deletes, flushes and compactions, and snapshots to be kept."""
    drawn: list[tuple[str, Any]] = []
    for _ in range(draw(st.integers(2, 10))):
        match draw(st.sampled_from(("put", "put", "put", "delete", "flush", "flush", "compact", "snapshot"))):
            case "put":
                drawn.append(("put", draw(st.lists(rows_of(table), min_size=1, max_size=20))))
            case "delete":
                drawn.append(("delete", draw(st.lists(st.integers(0, 99), min_size=1, max_size=5))))
            case what:
                drawn.append((what, None))
    return drawn


@given(st.data())
@pytest.mark.timeout(600)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_snapshots_read_the_same_rows_through_flushes_and_compactions(data: st.DataObject) -> None:
    drawn = data.draw(tables())
    with Engine.open(options=Options(maintenance=False, history_seconds=0)) as engine:
        table = dataclasses.replace(drawn, id=engine.new_id())
        transaction = engine.begin()
        transaction.create(table)
        transaction.commit()
        naive = NaiveCells(table)
        types_by_name = {column.name: column.type for column in table.columns}
        kept = [(engine.snapshot(), list[dict[str, Any]]())]
        for what, argument in data.draw(steps(table)):
            match what:
                case "put":
                    batch = typed_values.batch_of(argument, table.arrow_schema, types_by_name)
                    change = Change.PUT if table.primary_key else Change.INSERT
                    naive.put(argument, version=engine.write("t", change, batch).version)
                case "delete":
                    live = naive.scan(version=engine.version)
                    if table.primary_key and live:
                        names = [column.name for column in table.primary_key_columns]
                        rows = [{name: live[pick % len(live)][name] for name in names} for pick in argument]
                        schema = pa.schema([table.by_name[name].field for name in names])
                        batch = typed_values.batch_of(rows, schema, types_by_name)
                        version = engine.write("t", Change.DELETE, batch).version
                        naive.delete([tuple(row.values()) for row in rows], version=version)
                case "flush":
                    engine.flush()
                case "compact":
                    engine.compact()
                case _:
                    kept.append((engine.snapshot(), naive.scan(version=engine.version)))
        kept.append((engine.snapshot(), naive.scan(version=engine.version)))
        filter = data.draw(st.none() | filters(table))
        for snapshot, rows in kept:
            if filter is not None and rows:
                rows = [row for row, true in zip(rows, is_true(filter, table, rows), strict=True) if true]
            found = [row for batch in snapshot.scan(table, filter=filter).batches() for row in batch.to_pylist()]
            assert sorted(map(comparable, found)) == sorted(map(comparable, rows))
            snapshot.close()


@st.composite
def series_tables(draw: st.DrawFn) -> Table:
    """Tables of which one key's rows in a window of event time are read without a scan."""
    key = draw(st.lists(st.sampled_from(typed_values.KEY_TYPES), min_size=1, max_size=2))
    behind = draw(st.lists(st.sampled_from(typed_values.KEY_TYPES), max_size=1))
    time = draw(st.sampled_from((types.TIMESTAMP, types.TIMESTAMPTZ, types.DATE)))
    values = draw(st.lists(st.sampled_from(typed_values.EVERY_TYPE), max_size=3))
    kinds = [*key, time, *behind, *values]
    pk = len(kinds) - len(values)
    columns = [Column(id=n, name=f"c{n}", type=type, nullable=n > pk) for n, type in enumerate(kinds, 1)]
    return Table(
        id=1,
        name="t",
        columns=tuple(draw(st.permutations(columns))),
        primary_key=tuple(range(1, pk + 1)),
        key=tuple(range(1, len(key) + 1)),
        time=len(key) + 1,
        every=draw(st.sampled_from((None, 24 * 3_600_000_000, 10_000_000 * 3_600_000_000))),
        shards=draw(st.sampled_from((1, 2, 8))),
        next_column_id=len(columns) + 1,
    )


@given(st.data())
@pytest.mark.timeout(600)
@settings(max_examples=soak.many(80, 200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_series_is_the_rows_of_one_key_whose_times_lie_in_the_window(data: st.DataObject) -> None:
    both = data.draw(histories(series_tables()))
    table, store = both.table, both.store
    if data.draw(st.booleans()):
        younger = Column(id=20, name="y", type=types.INTEGER, missing=literal(7, types.INTEGER))
        table = dataclasses.replace(table, columns=(*table.columns, younger), schema_version=2, next_column_id=21)
        store = store.with_definition(table)
    names = data.draw(st.permutations([column.name for column in table.columns]))
    names = names[: data.draw(st.integers(0, len(names)))]
    ids = [table.by_name[name].id for name in names]
    assert table.time is not None
    time = table.by_id[table.time]
    key_columns = [table.by_id[id] for id in table.key]
    stored = st.sampled_from([stored_time(x, time.type.kind) for x in typed_values.samples_of(time.type)])
    bound = st.none() | st.builds(operator.add, stored, st.integers(-1, 1))
    for _ in range(4):
        key = tuple(data.draw(typed_values.values_of(column.type)) for column in key_columns)
        low, high = data.draw(bound), data.draw(bound)
        version = data.draw(st.integers(0, both.version))
        batch = store.series(key, low, high, version=version, columns=ids)
        assert batch is not None
        expected = [
            {"y": 7, **row}
            for row in both.naive.scan(version=version)
            if canonical(tuple(row[column.name] for column in key_columns)) == canonical(key)
            and (low is None or stored_time(row[time.name], time.type.kind) >= low)
            and (high is None or stored_time(row[time.name], time.type.kind) < high)
        ]
        assert batch.num_rows == len(expected)
        if names:
            batch.validate(full=True)
            assert batch.schema.equals(pa.schema([table.by_name[name].field for name in names]))
            wanted = sorted(comparable({name: row[name] for name in names}) for row in expected)
            assert sorted(comparable(row) for row in batch.to_pylist()) == wanted


def test_a_series_is_a_scan_where_it_is_not_simple(both: Both) -> None:
    key, low, high = (7,), START, START + 3 * DAY
    bounds = [stored_time(at, Kind.TIMESTAMP) for at in (low, high)]
    assert both.store.series(key, *bounds, version=3) is not None
    assert both.store.series(("seven",), *bounds, version=3) is None, "no value of the column"
    assert both.store.series(key, None, 2**70, version=3) is None, "no time that the column can hold"
    for changes in ({"primary_key": (2, 1)}, {"primary_key": (1, 4, 2)}, {"primary_key": ()}, {"key": (1, 2)}):
        other = Both(dataclasses.replace(EVENTS, shards=1, every=None, **changes))
        assert other.store.series((7, low)[: len(other.table.key)], *bounds, version=0) is None
    behind = Both(dataclasses.replace(EVENTS, primary_key=(1, 4, 2), columns=(*EVENTS.columns[:3], AMOUNT_NOT_NULL)))
    behind.put(events(range(100)))
    found = behind.store.series(key, None, None, version=1)
    assert found is not None, "without a window it does not matter where the time stands"
    assert found.num_rows == 2
    many = Both(dataclasses.replace(EVENTS, every=None))
    many.put([{"key": 7, "time": START + n * datetime.timedelta(seconds=1), "text": None, "amount": 0.0}
              for n in range(GATHER_ROWS_MAX + 1)])  # fmt: skip
    upper = stored_time(START + datetime.timedelta(seconds=GATHER_ROWS_MAX), Kind.TIMESTAMP)
    for _ in range(2):  # in memory, then in a segment
        assert many.store.series(key, None, None, version=1) is None, "many rows stream"
        last = many.store.series(key, None, upper, version=1)
        assert last is not None
        assert last.num_rows == GATHER_ROWS_MAX
        many.seal(4_096)


def test_a_series_needs_no_more_blocks_than_a_scan_and_says_when_one_is_damaged(both: Both) -> None:
    cell = min(both.store.cells, key=lambda cell: cell.slice)
    segment = cell.parts[-1]
    assert isinstance(segment, Segment)
    segment.reader._data[int(segment.reader.directory(4)["offset"][0])] ^= 1
    low, high, end = (stored_time(START + n * DAY, Kind.TIMESTAMP) for n in (0, 1, 5))
    with pytest.raises(Corrupt, match="segment"):
        _ = [both.store.series((key,), low, high, version=3) for key in range(50)]
    for key in range(50):
        assert both.store.series((key,), low, end, version=3, columns=[1, 2]) is not None, "other columns are whole"
        assert both.store.series((key,), high, end, version=3) is not None, "and so are other cells"
    segment.give_up("a test")
    with pytest.raises(Corrupt, match="cannot be read any more"):
        both.store.series((7,), low, high, version=3, columns=[1])


def test_long_runs_of_one_key_are_the_rows_that_were_written() -> None:
    """Texts in several segments, of which one is older than a column and one has rows that were written over."""
    rows: dict[datetime.datetime, tuple[str | None, str]] = {}
    with weftdb.open(maintenance=False) as db:
        db.execute("CREATE TABLE e (k INT, at TIMESTAMP, t TEXT, PRIMARY KEY (k, at)) WITH (key = 'k', time = 'at')")
        table = db.table("e")

        def put(numbers: range, *names: str) -> None:
            written: list[tuple[object, ...]] = []
            for n in numbers:
                at, text = START + n * DAY / 1000, None if n % 7 == 0 else "x" * (n % 13) + str(n // 50)
                written += [(k, at, *[text if k == 1 else None, str(n % 5)][: len(names)]) for k in range(3)]
                rows[at] = text, str(n % 5) if "u" in names else "old"
            table.put(written)
            db.engine.flush()

        put(range(900), "t")
        db.execute("ALTER TABLE e ADD COLUMN u TEXT NOT NULL DEFAULT 'old'")
        put(range(900, 1800), "t", "u")
        put(range(0, 1500, 4), "t", "u")
        db.execute("DELETE FROM e WHERE at = $1", [START])
        del rows[START]
        found = db.execute("SELECT at, t, u FROM e WHERE k = 1").rows()
        assert sorted(found) == sorted((at, *texts) for at, texts in rows.items())
        part = db.execute("SELECT u, t FROM e WHERE k = 1 AND at < $1 AND u = '3'", [START + DAY]).rows()
        wanted = [(u, t) for at, (t, u) in rows.items() if at < START + DAY and u == "3"]
        assert sorted(part, key=repr) == sorted(wanted, key=repr)


def test_the_public_scan_of_one_key_sees_what_a_scan_sees() -> None:
    with weftdb.open(maintenance=False) as db:
        db.execute("""
            CREATE TABLE e (k BIGINT, at TIMESTAMP, v INT, PRIMARY KEY (k, at))
            WITH (key = 'k', time = 'at', every = '1 day')
        """)
        table = db.table("e")
        table.put([(n % 5, START + n * DAY / 10, n) for n in range(200)])
        db.engine.flush()
        window = (START + DAY, START + 15 * DAY)
        compared = 0

        def check(table: Any) -> None:
            nonlocal compared
            for key in (3, 4, 77):
                for time in (None, window, (None, window[1]), (window[1], window[0])):
                    for columns in (None, ["v"], ["at", "k"]):
                        found = table.scan(key=key, time=time, columns=columns).read_all()
                        wanted = table.scan(key=[key], time=time, columns=columns).read_all()  # a list is a scan
                        assert found.schema == wanted.schema
                        assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, wanted.to_pylist()))
                        compared += found.num_rows

        with db.snapshot() as before:
            table.put([(n % 5, START + n * DAY / 10, -n) for n in range(0, 200, 3)])
            table.delete([(3, START + 13 * DAY / 10)])
            check(before.table("e"))
        check(table)
        with db.transaction() as transaction:
            own = transaction.table("e")
            check(own)
            own.put([(3, START + 2 * DAY, 1_000), (4, START + 20 * DAY, 1_001)])
            own.delete([(3, START + 23 * DAY / 10)])
            check(own)
            assert 1_000 in own.scan(key=3, time=window).read_all().column("v").to_pylist()
            transaction.execute("CREATE TABLE f (k BIGINT, at TIMESTAMP, PRIMARY KEY (k, at)) WITH (time = 'at')")
            assert transaction.table("f").scan(key=1, time=window).read_all().num_rows == 0
        check(table)
        assert compared > 1_000
        for wrong in ({"key": "x"}, {"key": (1, 2, 3), "columns": ["w"]}, {"key": 1, "time": (1, 2, 3)}):
            with pytest.raises(weftdb.Invalid):
                table.scan(**wrong)


EVENTS = Table(
    id=1,
    name="t",
    columns=(
        Column(id=1, name="key", type=types.BIGINT, nullable=False),
        Column(id=2, name="time", type=types.TIMESTAMP, nullable=False),
        Column(id=3, name="text", type=types.TEXT),
        Column(id=4, name="amount", type=types.DOUBLE),
    ),
    primary_key=(1, 2),
    key=(1,),
    time=2,
    every=24 * 3_600_000_000,
    shards=2,
    next_column_id=5,
)
CONDITIONS = (
    "k = $1 AND at >= $2 AND at < $3",
    "$1 = k AND $2 < at AND at <= $3",
    "k IN ($1) AND at BETWEEN $2 AND $3",
    "k = $1 AND at >= $2 AND at > $2 AND at < $3 AND at <= $3",
    "k = $1 AND at = $2 AND at < $3",
    "k = $1 AND at > $3 AND at < $2",
    "k = $1 AND k = 3 AND at IN ($2, $3)",
    "k = $1 AND v > 10 AND at >= $2 AND at < $3",
    "k = $1 AND $2::timestamp < $3::timestamp",
)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_query_of_one_key_and_a_window_gives_what_any_query_gives(condition: str) -> None:
    with weftdb.open(maintenance=False) as db:
        db.execute("""
            CREATE TABLE e (k INT, at TIMESTAMP, v INT, PRIMARY KEY (k, at))
            WITH (key = 'k', time = 'at', every = '1 day')
        """)
        db.table("e").put([(n % 5, START + n * DAY / 10, n) for n in range(200)])
        db.engine.flush()
        db.table("e").put([(n % 5, START + n * DAY / 10, -n) for n in range(0, 200, 3)])
        for key in (3, 4, 77, None):
            for low, high in ((START + DAY / 2, START + 9 * DAY), (START + 9 * DAY, START), (None, START)):
                quick, slow = (
                    db.execute(f"SELECT v, at FROM e WHERE {where}", [key, low, high]).rows()
                    for where in (condition, f"{condition} AND v % 1 = 0")
                )
                assert sorted(quick) == sorted(slow)


AMOUNT_NOT_NULL = dataclasses.replace(EVENTS.columns[3], nullable=False)
KEY, TIME, TEXT, AMOUNT = (node(column) for column in EVENTS.columns)


def events(numbers: range, *, text: str | None = "x", amount: float = 1.0) -> list[dict[str, Any]]:
    """Rows of 50 keys, one each ten minutes."""
    return [
        {"key": n % 50, "time": START + datetime.timedelta(minutes=10 * n), "text": text, "amount": amount + n}
        for n in numbers
    ]


def series(key: int, lower: datetime.datetime, upper: datetime.datetime) -> Any:
    return call(
        "and",
        call("equal", KEY, literal(key, types.BIGINT)),
        call("greater_equal", TIME, literal(lower, types.TIMESTAMP)),
        call("less", TIME, literal(upper, types.TIMESTAMP)),
    )


@pytest.fixture
def both() -> Both:
    """Ten slices, of which some have two segments and all but the last a memtable."""
    both = Both(EVENTS)
    both.put(events(range(1440)))
    both.seal(64)
    both.put(events(range(0, 1440, 7), text=None))
    both.seal(64)
    both.put(events(range(0, 1200, 11), text="yyyyyyyyyy", amount=-5.0))
    return both


@pytest.mark.parametrize("columns", [[1, 2, 3, 4], [4], [3, 1], []])
def test_a_series_reads_its_runs_and_nothing_else(both: Both, columns: list[int]) -> None:
    lower, upper = START + 2 * DAY, START + 5 * DAY
    for version in (1, 2, 3):
        for key in (0, 7, 49, 50):
            scan = both.store.scan(version=version, columns=columns, filter=series(key, lower, upper))
            names = [EVENTS.by_id[id].name for id in columns]
            wanted = [
                {name: row[name] for name in names}
                for row in both.naive.scan(version=version)
                if row["key"] == key and lower <= row["time"] < upper
            ]
            batches = list(scan.batches())
            assert sum(batch.num_rows for batch in batches) == len(wanted)
            if columns:
                found = [row for batch in batches for row in batch.to_pylist()]
                assert sorted(map(comparable, found)) == sorted(map(comparable, wanted))
            statistics = scan.statistics
            assert statistics.rows_read == len(wanted), "no row is looked at that is not wanted"
            assert statistics.cells_total - statistics.cells_pruned <= 3
            assert len(batches) <= 1


def test_blocks_that_cannot_hold_the_filter_are_not_read() -> None:
    both = Both(dataclasses.replace(EVENTS, time=None, every=None, shards=1, primary_key=(2, 1), key=(2, 1)))
    both.put(events(range(1000)))
    both.seal(64)
    filter = call("greater", AMOUNT, literal(990.0, types.DOUBLE))
    scan = both.store.scan(version=1, filter=filter)
    rows = [row for batch in scan.batches() for row in batch.to_pylist()]
    assert len(rows) == 10
    assert scan.statistics.blocks_read == 1
    assert scan.rows_estimate == 1000 % 64
    assert list(both.store.scan(version=1, filter=call("is_null", AMOUNT)).batches()) == []


def test_a_column_that_is_younger_than_a_segment_reads_as_its_missing_value(both: Both) -> None:
    more = (
        Column(id=5, name="plain", type=types.INTEGER),
        Column(id=6, name="filled", type=types.TEXT, missing=literal("old", types.TEXT)),
        Column(id=7, name="number", type=types.numeric(9, 2), missing=literal(Decimal("1.50"), types.numeric(9, 2))),
    )
    table = dataclasses.replace(EVENTS, columns=(*EVENTS.columns, *more), schema_version=2, next_column_id=8)
    store = both.store.with_definition(table)
    expected = {"plain": None, "filled": "old", "number": Decimal("1.50")}
    old = call("equal", node(more[1]), literal("old", types.TEXT))
    new = call("equal", node(more[1]), literal("new", types.TEXT))
    for filter in (None, series(7, START, START + 10 * DAY), old, call("is_null", node(more[0]))):
        rows = [row for batch in store.scan(version=3, filter=filter).batches() for row in batch.to_pylist()]
        assert rows
        assert all(row[name] == value for row in rows for name, value in expected.items())
    scan = store.scan(version=3, filter=new)
    assert list(scan.batches()) == []
    assert scan.statistics.blocks_read == 0


def test_codes_come_from_segments_too_and_say_the_same_as_plain_text() -> None:
    both = Both(EVENTS)
    rows = events(range(30_000))
    for number, row in enumerate(rows):
        row["text"] = (None, "app", "web", "", "Straße")[number % 5]
    both.put(rows)
    both.seal(4_096)
    both.delete(list(range(0, 30_000, 17)))
    for version in (1, 2):
        for filter in (None, call("equal", TEXT, literal("web", types.TEXT))):
            scan = both.store.scan(version=version, filter=filter)
            schema, batches = scan.handed()
            assert schema.field("text").type == CODES
            coded = pa.Table.from_batches(batches, schema=schema).to_pylist()
            plain = [row for batch in scan.batches() for row in batch.to_pylist()]
            if filter is not None:
                coded = [row for row in coded if row["text"] == "web"]
            assert sorted(map(comparable, coded)) == sorted(map(comparable, plain))
            assert len(plain) == sum(
                1 for row in both.naive.scan(version=version) if filter is None or row["text"] == "web"
            )


def test_a_damaged_block_fails_the_scans_that_need_it_and_no_others(both: Both) -> None:
    cell = min(both.store.cells, key=lambda cell: cell.slice)
    segment = cell.parts[-1]
    assert isinstance(segment, Segment)
    segment.reader._data[int(segment.reader.directory(4)["offset"][0])] ^= 1
    for filter in (None, call("less", AMOUNT, literal(10.0, types.DOUBLE))):
        with pytest.raises(Corrupt, match="segment"):
            list(both.store.scan(version=3, filter=filter).batches())
    scans = [both.store.scan(version=3, filter=series(key, START, START + DAY)) for key in range(50)]
    with pytest.raises(Corrupt, match="segment"):
        _ = [list(scan.batches()) for scan in scans]
    keys = both.store.scan(version=3, columns=[1, 2])
    assert sum(batch.num_rows for batch in keys.batches()) == len(both.naive.scan(version=3)), "other columns are whole"
    later = series(7, START + 4 * DAY, START + 5 * DAY)
    assert list(both.store.scan(version=3, filter=later).batches()), "and so are other cells"


def test_explain_analyze_says_what_was_pruned_and_read() -> None:
    with weftdb.open() as db:
        db.execute("""
            CREATE TABLE e (k BIGINT, at TIMESTAMP, v INT, PRIMARY KEY (k, at))
            WITH (key = 'k', time = 'at', every = '1 day')
        """)
        for _ in range(2):
            db.execute(
                "INSERT INTO e SELECT x % 100, TIMESTAMP '2024-01-01' + x * INTERVAL '1 minute', x "
                "FROM generate_series(1, 10000) AS g(x) ON CONFLICT DO NOTHING"
            )
            db.engine.flush()
        sql = "SELECT v FROM e WHERE k = 7 AND at >= TIMESTAMP '2024-01-02' AND at < TIMESTAMP '2024-01-04'"
        text = "\n".join(row[0] for row in db.execute(f"EXPLAIN ANALYZE {sql}").rows())
        assert (
            "Key and Time Read on e  (2 of 7 cells, 2 of 2 segments, 2 of 2 blocks, about 29, at most 29 rows)" in text
        )
        assert "Read e: gave 29 of 29 rows looked at, 9,971 pruned, passes 1" in text
        assert "Cells: 2 read, 5 of 7 pruned" in text
        assert "Segments: 2 read, 0 of 2 pruned" in text
        assert db.execute(sql).arrow().num_rows == 29
        text = "\n".join(row[0] for row in db.execute("EXPLAIN ANALYZE SELECT sum(k) FROM e WHERE v > 9990").rows())
        assert "Blocks: 1 read, 6 of 7 pruned" in text
