"""Retention: what ``keep`` says, what it drops and refuses, and that readers of older versions see what they saw."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pyarrow as pa
import pytest
import weftdb
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.errors import Conflict, Invalid
from weftdb.base.interface import Database
from weftdb.base.types import BIGINT, DATE, TIMESTAMP, TIMESTAMPTZ, Type
from weftdb.engine import retention
from weftdb.engine.catalog import decode_relation, encode_relation
from weftdb.engine.changes import Change
from weftdb.engine.database import Engine
from weftdb.engine.delta import Delta
from weftdb.engine.layout import Layout
from weftdb.engine.options import Options
from weftdb.engine.request import Request, TableChanges
from weftdb.engine.schema import Column, Table
from weftdb.engine.segment import Description

DAY = 86_400_000_000

READINGS = """
    CREATE TABLE readings (device BIGINT, at TIMESTAMP, celsius DOUBLE PRECISION, PRIMARY KEY (device, at))
    WITH (time = 'at', every = '1 day'{})
"""


@pytest.fixture(autouse=True)
def the_background_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty times a second instead of once: what it drops is waited for, in many tests."""
    monkeypatch.setattr("weftdb.engine.maintenance.IDLE_SECONDS", 0.02)


def definition(db: Database, name: str = "readings") -> str:
    return str(db.execute(f"SHOW CREATE {name}").scalar())


def table(db: Database, name: str = "readings") -> Table:
    return db.engine.snapshot().catalog.table(name)  # type: ignore[attr-defined]


def refused(db: Database, sql: str) -> weftdb.WeftError:
    with pytest.raises(weftdb.WeftError) as caught:
        db.execute(sql)
    return caught.value


# What the options say


def test_alter_table_changes_what_is_kept_and_resets_it(db: Database) -> None:
    db.execute(READINGS.format(", keep = '30 days'"))
    before = table(db)
    db.execute("ALTER TABLE readings SET (keep = '2 years', keep_by = wall, late = 'ignore')")
    after = table(db)
    assert (after.keep, after.keep_by, after.late) == (2 * DAY * 1461 // 4, "wall", "ignore")
    assert after.schema_version == before.schema_version, "rows that are being written stay valid"
    assert definition(db).endswith(
        "WITH (time = 'at', every = '1 day', keep = '2 years', keep_by = 'wall', late = 'ignore');"
    )
    db.execute("ALTER TABLE readings RESET (keep, late), SET (keep_by = 'event')")
    assert (table(db).keep, table(db).keep_by, table(db).late) == (None, "event", "refuse")
    assert definition(db).endswith("WITH (time = 'at', every = '1 day');")


def test_several_actions_apply_in_order(db: Database) -> None:
    db.execute(READINGS.format(""))
    db.execute("ALTER TABLE readings ADD COLUMN a INT, SET (keep = '9 days'), ADD COLUMN b INT, RESET (keep)")
    assert [column.name for column in table(db).columns][-2:] == ["a", "b"]
    assert table(db).keep is None
    db.execute("ALTER TABLE readings SET (\"keep\" = '1 day'), SET (KEEP = '2 days')")
    assert table(db).keep == 2 * DAY


def test_altering_what_is_kept_is_transactional(db: Database) -> None:
    db.execute(READINGS.format(""))
    db.execute("BEGIN; ALTER TABLE readings SET (keep = '1 day'); ROLLBACK")
    assert table(db).keep is None
    db.execute("BEGIN; ALTER TABLE readings SET (keep = '1 day'); ALTER TABLE readings RESET (keep); COMMIT")
    assert table(db).keep is None


@pytest.mark.parametrize(
    ("action", "sqlstate", "words"),
    [
        ("SET (kep = '1 year')", "22023", ['"kep"', '"keep"']),
        ("SET (keep = 30 days)", "42601", ['at or near "days"', "Write keep = '30 days'."]),
        ("SET (keep = 1.5 years)", "42601", ["Write keep = '1.5 years'."]),
        ("SET (keep = '30')", "22023", ["unit", "keep = '30 days'"]),
        ("SET (keep = 30)", "22023", ["keep = '30 days'"]),
        ("SET (keep)", "42601", ['"keep" has no value']),
        ("SET (keep = '1 fortnight')", "22023", ["keep = '7 days'"]),
        ("SET (keep = NULL)", "22023", ["without keep keeps everything"]),
        ("SET (keep = '-1 day')", "22023", ["longer than nothing"]),
        ("SET keep = '1 day'", "42601", ["SET (keep = …)"]),
        ("RESET (keep = '1 day')", "42601", ['at or near "="']),
        ("RESET (nope)", "22023", ["The options are", "keep"]),
        ("SET (keep = '1 day', keep = '2 days')", "22023", ["twice"]),
        ("SET (late = drop)", "22023", ["'refuse'", "'ignore'"]),
        ("SET (keep_by = clock)", "22023", ["'event'", "'wall'"]),
        ("SET (shards = 4)", "0A000", ["where rows lie", "INSERT … SELECT", "keep, keep_by, late"]),
        ("RESET (every)", "0A000", ["where rows lie"]),
        ("SET ()", "42601", ['at or near ")"']),
        ("SET (0)", "42601", ['at or near "0"']),
    ],
)
def test_options_that_cannot_be_are_refused_with_what_they_should_be(
    db: Database, action: str, sqlstate: str, words: list[str]
) -> None:
    db.execute(READINGS.format(", keep = '9 days'"))
    error = refused(db, f"ALTER TABLE readings {action}")
    assert error.sqlstate == sqlstate
    for word in words:
        assert word in str(error)
    assert table(db).keep == 9 * DAY


@pytest.mark.parametrize("option", ["keep = '1 day'", "keep_by = 'wall'", "late = 'ignore'"])
def test_a_table_without_event_time_keeps_everything(db: Database, option: str) -> None:
    assert "time = " in str(refused(db, f"CREATE TABLE t (a BIGINT PRIMARY KEY) WITH ({option})"))
    db.execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
    assert "time = " in str(refused(db, f"ALTER TABLE t SET ({option})"))
    db.execute("CREATE VIEW v AS SELECT a FROM t")
    assert "ALTER VIEW" in str(refused(db, f"ALTER TABLE v SET ({option})"))


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("WITH (time = 'at', every = 7 days)", "every = '7 days'"),
        ("WITH (time = 'at', every = 7)", "every = '7 days'"),
        ("WITH time = 'at'", "WITH (time = …)"),
        ("WITH (time = 'at') WITH (keep = '1 day')", "one WITH"),
        ("WITH (time = 'at', late = 'sometimes')", "'refuse'"),
    ],
)
def test_create_table_says_how_options_are_written(db: Database, statement: str, hint: str) -> None:
    assert hint in str(refused(db, f"CREATE TABLE t (at TIMESTAMP) {statement}"))


def test_definitions_of_older_folders_refuse_late_rows(db: Database) -> None:
    db.execute(READINGS.format(", keep = '9 days', late = 'ignore'"))
    text = encode_relation(table(db))
    assert decode_relation(text) == table(db)
    old = decode_relation(text.replace(',"late":"ignore"', ""))
    assert isinstance(old, Table)
    assert old.late == "refuse"


# What is kept, and what is late


def kept(*, type: Type = TIMESTAMP, keep: int | None = 10 * DAY, every: int = DAY, **options: Any) -> Table:
    columns = (Column(id=1, name="k", type=BIGINT, nullable=False), Column(id=2, name="t", type=type, nullable=False))
    return Table(
        id=100, name="kept", columns=columns, primary_key=(1, 2), key=(1,), time=2, every=every, keep=keep, **options
    )


def microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1)) // timedelta(microseconds=1)


TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1))
LENGTHS = st.integers(1, 40).map(lambda days: timedelta(days=days)) | st.timedeltas(
    timedelta(seconds=1), timedelta(days=3)
)


def naive_boundary(newest: datetime, keep: timedelta, every: timedelta) -> datetime:
    """The begin of the slice with ``newest - keep``, by walking there from Monday 2000-01-03 in whole slices."""
    oldest, origin = newest - keep, datetime(2000, 1, 3)
    slices = abs(oldest - origin) // every
    begin = origin + (slices if oldest >= origin else -slices - 1) * every
    return begin + every if begin + every <= oldest else begin


@given(newest=TIMES, wall=TIMES, keep=LENGTHS, every=LENGTHS, times=st.lists(TIMES, min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_the_boundary_is_the_begin_of_the_slice_where_keep_ends(
    newest: datetime, wall: datetime, keep: timedelta, every: timedelta, times: list[datetime]
) -> None:
    microsecond = timedelta(microseconds=1)
    for keep_by, last in (("event", newest), ("wall", wall)):
        table = kept(keep=keep // microsecond, every=every // microsecond, keep_by=keep_by)
        boundary = retention.boundary_of(table, newest=microseconds(newest), wall=microseconds(wall))
        assert boundary is not None
        begin = naive_boundary(last, keep, every)
        assert retention.begin_of(table, boundary) == microseconds(begin)
        rows = pa.RecordBatch.from_arrays([pa.array([1] * len(times)), pa.array(times, pa.timestamp("us"))], ["k", "t"])
        late = retention.late_rows(Layout(table), rows, boundary)
        assert late.tolist() == [row for row, time in enumerate(times) if time < begin]
        assert begin <= last - keep < begin + every, "at least keep is kept, and less than one slice more"


def test_without_keep_or_without_rows_nothing_is_late() -> None:
    assert retention.boundary_of(kept(keep=None), newest=0, wall=0) is None
    assert retention.boundary_of(kept(keep=None, keep_by="wall"), newest=0, wall=0) is None
    assert retention.boundary_of(kept(), newest=None, wall=0) is None
    assert retention.boundary_of(kept(keep_by="wall"), newest=None, wall=0) is not None


def test_event_times_far_ahead_of_the_clock_do_not_count() -> None:
    times = np.array([3, 9, 5, 7], np.int64)
    assert retention.newest_counted(times, limit=9) == 9
    assert retention.newest_counted(times, limit=8) == 7
    assert retention.newest_counted(times, limit=2) is None
    assert retention.newest_counted(times[:0], limit=9) is None


@pytest.mark.parametrize(
    ("type", "times"),
    [
        (TIMESTAMP, [datetime(2000, 1, 2, 23, 59, 59, 999999), datetime(2000, 1, 3)]),
        (TIMESTAMPTZ, [datetime(2000, 1, 2, 23, 59, 59, tzinfo=UTC), datetime(2000, 1, 3, tzinfo=UTC)]),
        (DATE, [date(2000, 1, 2), date(2000, 1, 3)]),
    ],
)
def test_late_rows_are_refused_or_left_out(type: Type, times: list[Any]) -> None:
    rows = pa.RecordBatch.from_arrays([pa.array([1, 1]), pa.array(times[::-1], type.arrow)], names=["k", "t"])
    deltas = tuple(
        Delta(table=kept(type=type), key=(1, time), encoded=b"", amounts={}, default=dict[str, Any]) for time in times
    )
    for strict, words in ((False, 'row 2 of "kept" comes too late'), (True, 'a row of "kept" comes too late')):
        table = kept(type=type)
        changes = TableChanges(table=table, puts=(rows,), deletes=(rows,), strict=strict)
        with pytest.raises(weftdb.Invalid) as caught:
            retention.only_on_time(changes, Layout(table), 0)
        assert words in str(caught.value)
        assert "2000-01-02" in str(caught.value)
        assert "lies below 2000-01-03 00:00:00" in str(caught.value)
        assert "keep = '10 days'" in str(caught.value)
        with pytest.raises(weftdb.Invalid, match="comes too late"):
            retention.only_on_time(TableChanges(table=table, deltas=deltas), Layout(table), 0)
        table = kept(type=type, late="ignore")
        changes = TableChanges(table=table, puts=(rows, rows.slice(1)), deletes=(rows,), deltas=deltas, strict=strict)
        on_time, count = retention.only_on_time(changes, Layout(table), 0)
        assert count == 3
        assert [batch.to_pydict()["t"] for batch in on_time.puts] == [times[1:]]
        assert on_time.deletes == (rows,), "what is gone may be deleted again"
        assert [delta.key for delta in on_time.deltas] == [(1, times[1])]
        assert retention.only_on_time(changes, Layout(table), -1) == (changes, 0)


def test_a_late_row_beyond_the_years_of_python_is_shown() -> None:
    assert "-144169" in str(retention.too_late(kept(), -(2**62), 0, which="row 1"))


@given(boundary=st.integers(-(2**63), 2**63 - 1))
def test_a_boundary_goes_through_the_log(boundary: int) -> None:
    assert retention.boundary_in(retention.boundary_batch(boundary)) == boundary


# What SQL users see

GOLDEN = Path(__file__).parent / "golden" / "retention.sql"


def answers(db: Database, sql: str) -> list[str]:
    """What a statement gives: rows, or its tag, or the whole error."""
    try:
        result = db.execute(sql)
    except weftdb.WeftError as error:
        return [f"ERROR {error.sqlstate}", *str(error).splitlines()]
    rows = [golden.row_text(row, result.types) for row in result.rows()]
    return [*([golden.header(result.names, result.types), *rows] if result.names else []), str(result.tag)]


def test_the_golden_script_gives_the_answers_that_were_read() -> None:
    with weftdb.open(maintenance=False) as db:
        given: dict[int, list[str]] = {}
        for case in golden.read(GOLDEN):
            given[case.line] = answers(db, case.sql)
            retain(db)
    if os.environ.get("WEFT_GOLDEN") == "write":
        GOLDEN.write_text(written(GOLDEN.read_text(), given))
        return
    for case in golden.read(GOLDEN):
        assert given[case.line] == case.expected, f"{GOLDEN.name}:{case.line}\n{case.sql}"


def written(text: str, given: dict[int, list[str]]) -> str:
    """The script with new answers; line numbers are those of the old one."""
    out: list[str] = []
    number = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not (line == "--" or line.startswith("-- ")):
            out.append(line)
        if number in given:
            out += [f"-- {answer}".rstrip() for answer in given[number]]
    return "\n".join(out)


def retain(db: Any) -> None:
    db.engine.retain()


# Every door

DAYS = [datetime(2026, 1, day) for day in range(1, 15)]


def filled(database: Database, options: str = "") -> Any:
    """A table of ten days, of which the last four are kept."""
    database.execute(READINGS.format(f", keep = '3 days'{options}"))
    readings = database.table("readings")
    readings.insert([(1, day, day.day) for day in DAYS[:10]])
    return readings


def refused_as_late(call: Any) -> None:
    with pytest.raises(weftdb.Invalid, match="comes too late") as caught:
        call()
    assert caught.value.sqlstate == "23514"
    assert "2026-01-07 00:00:00" in str(caught.value)


def gone(database: Database) -> bool:
    """Whether the background has dropped what it has to."""
    deadline = time.monotonic() + 30
    while database.execute("SELECT count(*) FROM readings").scalar() != 4:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_background_drops_old_slices_by_itself(database: Database) -> None:
    readings = filled(database)
    with database.snapshot() as snapshot:
        before = snapshot.execute("SELECT count(*) FROM readings").scalar()
        assert gone(database)
        assert snapshot.execute("SELECT count(*) FROM readings").scalar() == before
    assert readings.get((1, DAYS[5])) is None
    assert readings.get((1, DAYS[6])) is not None
    assert readings.scan(time=(None, DAYS[6])).read_all().num_rows == 0


def test_every_way_to_write_refuses_late_rows(database: Database) -> None:
    readings = filled(database)
    late, old = (1, DAYS[5] + timedelta(hours=1), 0), (1, DAYS[5])
    refused_as_late(lambda: readings.insert([(1, DAYS[9] + timedelta(hours=1), 0), late]))
    refused_as_late(lambda: readings.put([late]))
    refused_as_late(lambda: readings.add(late[:2], celsius=1))
    refused_as_late(lambda: database.execute("INSERT INTO readings VALUES ($1, $2, $3)", list(late)))
    refused_as_late(lambda: database.execute("INSERT INTO readings SELECT 2, at - INTERVAL '9 days' FROM readings"))
    assert gone(database)
    refused_as_late(lambda: readings.insert([(*old, 0)]))
    refused_as_late(lambda: database.execute("UPDATE readings SET at = at - INTERVAL '4 days'"))
    with pytest.raises(weftdb.Invalid, match="comes too late"), readings.writer() as writer:
        writer.put(late)
    for write in (
        lambda table: table.insert([late]),
        lambda table: table.put([late]),
        lambda table: table.add(late[:2], celsius=1),
    ):
        with database.transaction() as transaction:
            refused_as_late(lambda write=write, on=transaction: write(on.table("readings")))  # at once, not at the end
            transaction.rollback()
    assert database.execute("SELECT count(*) FROM readings").scalar() == 4, "what fails changes nothing"
    readings.delete([old])


def test_who_changed_a_row_that_went_with_its_slice_is_told_to_retry(database: Database) -> None:
    """A row that is still there was only changed by somebody, and that is said."""
    readings = filled(database)
    changes = (
        lambda table, key: table.add(key, celsius=1),
        lambda table, key: table.update(key, celsius=1),
        lambda table, key: table.delete([key]),
    )
    for number, change in enumerate(changes):
        old = (1, DAYS[9] + timedelta(days=9 * number, hours=2))
        readings.put([(*old, 0)])
        with database.transaction() as dropped, database.transaction() as changed:
            change(dropped.table("readings"), old)
            change(changed.table("readings"), old)
            readings.put([(*old, 1)])
            with pytest.raises(weftdb.Conflict, match="was changed by another transaction"):
                changed.commit()
            readings.put([(1, old[1] + timedelta(days=9), 0)])
            deadline = time.monotonic() + 20
            while readings.get(old) is not None and time.monotonic() < deadline:
                time.sleep(0.02)
            with pytest.raises(
                weftdb.Conflict, match=r"is gone with its slice: the table keeps .* from 2026"
            ) as caught:
                dropped.commit()
        assert (caught.value.sqlstate, caught.value.key) == ("40001", old)


def test_every_way_to_write_leaves_late_rows_out_where_told(database: Database) -> None:
    readings = filled(database, ", late = 'ignore'")
    late, new = (1, DAYS[5] + timedelta(hours=1), 0), [DAYS[9] + timedelta(hours=hour) for hour in range(1, 9)]
    assert gone(database)
    assert readings.insert([(1, new[0], 0), late]).rows == 1
    assert readings.put([late, (1, new[1], 0)]).rows == 1
    assert readings.add(late[:2], celsius=1).rows == 0
    result = database.execute("INSERT INTO readings VALUES ($1, $2, $3), (1, $4, 0)", [*late, new[2]])
    assert (result.tag, result.rows_affected) == ("INSERT 0 1", 1)
    with readings.writer() as writer:
        for row in (late, (1, new[3], 0)):
            writer.put(row)
    with database.transaction() as transaction:
        assert transaction.table("readings").insert([late, (1, new[4], 0)]) is not None
        assert transaction.execute("INSERT INTO readings VALUES ($1, $2, $3)", list(late)).rows_affected == 0
        transaction.table("readings").add(late[:2], celsius=1)
        assert transaction.table("readings").get(late[:2]) is None
    rows = database.execute("SELECT at FROM readings WHERE at > $1 ORDER BY at", [DAYS[9]]).rows()
    assert [at for (at,) in rows] == new[:5]
    assert readings.get(late[:2]) is None
    ignored = database.execute("SELECT value FROM weft_metrics WHERE name = 'weft_late_rows_ignored'").scalar()
    assert ignored == 8


# What is exact


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.open(None, options=Options(maintenance=False)) as opened:
        yield opened


def made(engine: Engine, **options: Any) -> Table:
    options = {"keep": 3 * DAY, "id": engine.new_id(), **options}
    transaction = engine.begin()
    transaction.create(replace(kept(), **options))
    transaction.commit()
    with engine.snapshot() as snapshot:
        return snapshot.catalog.table("kept")


def rows_of(*days: int, k: int = 1) -> pa.RecordBatch:
    times = pa.array([DAYS[day] for day in days], pa.timestamp("us"))
    return pa.RecordBatch.from_arrays([pa.array([k] * len(days), pa.int64()), times], schema=kept().arrow_schema)


def days(engine: Engine, version: int | None = None) -> list[int]:
    with engine.snapshot(version) as snapshot:
        table = snapshot.catalog.table("kept")
        batches = list(snapshot.scan(table).batches())
    return sorted(DAYS.index(row["t"]) for batch in batches for row in batch.to_pylist())


def test_dropped_rows_are_too_late_not_duplicates(engine: Engine) -> None:
    made(engine)
    engine.write("kept", Change.INSERT, rows_of(0, 9))
    for dropped in (False, True):
        with pytest.raises(Invalid, match=r"row 1 .* comes too late"):
            engine.write("kept", Change.INSERT, rows_of(0))
        assert engine.retain() is not dropped


def test_a_transaction_that_changed_dropped_rows_is_a_conflict(engine: Engine) -> None:
    table = made(engine)
    engine.write("kept", Change.INSERT, rows_of(0, 1))
    transactions = [engine.begin() for _ in range(4)]
    transactions[0].delete(table, rows_of(0))
    transactions[1].update(table, rows_of(1), rows_of(8))
    transactions[2].put(table, rows_of(1))
    transactions[3].delete(table, rows_of(1))
    engine.write("kept", Change.PUT, rows_of(1))
    engine.write("kept", Change.INSERT, rows_of(9))
    with pytest.raises(Conflict, match="was changed by another transaction"):
        transactions.pop().commit()  # it is still there
    engine.retain()
    for transaction in transactions:
        with pytest.raises(Conflict, match="is gone with its slice"):
            transaction.commit()
    assert days(engine) == [9]


@pytest.mark.parametrize("primary_key", [(1, 2), ()])
def test_changing_rows_that_are_due_to_be_dropped_is_not_late(engine: Engine, primary_key: tuple[int, ...]) -> None:
    table = made(engine, primary_key=primary_key)
    engine.write("kept", Change.INSERT, rows_of(0, 9))
    transaction = engine.begin()
    found = pa.Table.from_batches(transaction.scan(table, row_ids=not primary_key).batches()).combine_chunks()
    (old,) = found.to_batches()
    transaction.update(table, old, old.select(["k", "t"]))
    transaction.commit()
    assert days(engine) == [0, 9]
    engine.retain()
    assert days(engine) == [9]


def test_moving_a_row_below_the_boundary_is_late(engine: Engine) -> None:
    table = made(engine)
    engine.write("kept", Change.INSERT, rows_of(7, 9))
    transaction = engine.begin()
    transaction.update(table, rows_of(7), rows_of(0))
    with pytest.raises(Invalid, match=r"a row .* comes too late"):
        transaction.commit()
    assert days(engine) == [7, 9]


def test_rows_of_one_batch_are_judged_by_the_boundary_before_it(engine: Engine) -> None:
    made(engine)
    engine.write("kept", Change.PUT, rows_of(*range(10)))
    assert days(engine) == list(range(10))
    engine.retain()
    assert days(engine) == [6, 7, 8, 9]


def test_a_boundary_is_decided_where_no_definition_comes_between(engine: Engine) -> None:
    """Maintenance has seen that slices are due; before it commits, somebody keeps more."""
    table = made(engine)
    engine.write("kept", Change.PUT, rows_of(*range(10)))
    commit = engine.maintenance._sequencer.commit
    request = Request(changes=(), retains=(table.id,))
    transaction = engine.begin()
    transaction.replace(replace(table, keep=30 * DAY))
    transaction.commit()
    version = engine.version
    assert commit(request).version == version, "there is nothing to drop any more, and nothing is logged"
    assert days(engine) == list(range(10))


class Clock:
    """The wall clock of commits and maintenance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = DAYS[5]
        for module in ("sequencer", "validation", "maintenance"):
            monkeypatch.setattr(f"weftdb.engine.{module}.wall_clock", lambda: microseconds(self.now))


def test_by_the_wall_clock_slices_go_without_new_rows(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    made(engine, keep_by="wall")
    with pytest.raises(Invalid, match="comes too late"):
        engine.write("kept", Change.PUT, rows_of(1))
    engine.write("kept", Change.PUT, rows_of(2, 5, 13))
    assert not engine.retain(), "rows of the future do not count"
    clock.now += timedelta(hours=23)
    assert not engine.retain()
    clock.now += timedelta(hours=1)
    assert engine.retain()
    assert days(engine) == [5, 13]
    clock.now -= timedelta(days=1)
    engine.write("kept", Change.PUT, rows_of(2))  # a clock that goes back brings nothing back, and lets rows in again
    assert days(engine) == [2, 5, 13]


def test_rows_ahead_of_the_clock_count_when_they_are_at_most_a_slice_ahead(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    made(engine)
    engine.write("kept", Change.PUT, rows_of(2, 13))
    assert not engine.retain(), "one device with a bad clock drops nothing"
    engine.write("kept", Change.PUT, rows_of(6))
    assert engine.retain()
    assert days(engine) == [6, 13]


def many_of(day: int, count: int) -> pa.RecordBatch:
    times = pa.array(np.full(count, np.datetime64(DAYS[day], "us")))
    return pa.RecordBatch.from_arrays([pa.array(np.arange(count)), times], schema=kept().arrow_schema)


def test_a_large_transaction_is_refused_for_slices_that_became_late(engine: Engine) -> None:
    """Its rows lie in files already, and are not looked at one by one."""
    table = made(engine)
    engine.write("kept", Change.INSERT, rows_of(9))
    transactions = [engine.begin() for _ in range(2)]
    with pytest.raises(Invalid, match=r"row 1 .* comes too late"):
        transactions[0].put(table, many_of(0, 150_000))
    for transaction, day in zip(transactions, (8, 10), strict=True):
        transaction.put(table, many_of(day, 150_000))
    engine.write("kept", Change.INSERT, rows_of(12))
    with pytest.raises(Invalid, match=r"a slice of rows .* comes too late"):
        transactions[0].commit()
    transactions[1].commit()
    assert days(engine) == [9, *[10] * 150_000, 12]


def test_a_large_transaction_may_change_rows_that_are_due_to_be_dropped(engine: Engine) -> None:
    table = made(engine)
    engine.write("kept", Change.PUT, rows_of(9))
    for newest in (9, 12):
        transaction = engine.begin()
        transaction.put(table, many_of(8, 150_000))
        engine.write("kept", Change.PUT, rows_of(newest))
        transaction.commit()
    assert days(engine) == [*[8] * 150_000, 9, 12]
    engine.retain()
    assert days(engine) == [9, 12]


def test_a_large_transaction_that_changed_dropped_rows_is_a_conflict(engine: Engine) -> None:
    table = made(engine)
    engine.write("kept", Change.PUT, many_of(8, 100))
    transaction = engine.begin()
    transaction.put(table, many_of(8, 150_000))
    engine.write("kept", Change.PUT, rows_of(12))
    engine.retain()
    with pytest.raises(Conflict):
        transaction.commit()
    assert days(engine) == [12]


def test_the_newest_row_of_a_large_transaction_counts(engine: Engine) -> None:
    table = made(engine)
    transaction = engine.begin()
    transaction.put(table, many_of(12, 150_000))
    transaction.commit()
    with pytest.raises(Invalid, match="comes too late"):
        engine.write("kept", Change.INSERT, rows_of(8))


# Time and room


def test_dropped_slices_leave_memory_and_disk(tmp_path: Path) -> None:
    """Once no snapshot and no history needs them: the cells, what the manifest says of them, and the files."""
    options = Options(maintenance=False, history_seconds=0)
    with Engine.open(tmp_path / "data", options=options) as engine:
        table = made(engine, shards=2)
        store = engine._state.stores[table.id]
        engine.flush()
        others = engine.files.used()  # the catalog's
        for day in range(6):
            engine.write("kept", Change.PUT, many_of(day, 100))
        engine.flush()
        old = set(engine.files.used()) - set(others)
        engine.write("kept", Change.PUT, many_of(9, 100))
        with engine.snapshot() as snapshot:
            assert engine.retain()
            engine.flush()
            engine.maintenance.release()
            assert sum(batch.num_rows for batch in snapshot.scan(table).batches()) == 700
            assert old <= set(engine.files.used())
        engine.flush()
        assert engine.maintenance.release()
        assert {cell.slice for cell in store.cells} == {store.layout.slice_of(DAYS[9])}
        assert old.isdisjoint(engine.files.used())
        described = map(Description.decode, engine.storage.manifest.load()[1].values())
        assert {item.slice for item in described if item.table == table.id} == {store.layout.slice_of(DAYS[9])}
        assert days(engine) == [9] * 100


def test_what_counts_as_newest_survives_a_checkpoint(tmp_path: Path) -> None:
    for step in range(3):
        with Engine.open(tmp_path / "data", options=Options(maintenance=False)) as engine:
            if step == 0:
                made(engine)
                engine.write("kept", Change.PUT, rows_of(9))
                engine.flush()
            with pytest.raises(Invalid, match="comes too late"):
                engine.write("kept", Change.PUT, rows_of(0))


def test_dropping_a_slice_of_a_segment_takes_no_time_per_row() -> None:
    """A million rows end by one number in the segment's overlay: no bitmap, no table of ends."""
    with Engine.open(None, options=Options(maintenance=False)) as engine:
        table = made(engine)
        engine.write("kept", Change.PUT, many_of(0, 100_000))
        engine.flush()
        engine.write("kept", Change.PUT, rows_of(9))
        engine.retain()
        (segment,) = engine._state.stores[table.id].segments
        assert segment.living_count == 0
        assert segment.overlay.bytes_used == 0
        assert days(engine) == [9]
