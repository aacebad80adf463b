"""Retention: what ``keep`` says, what it drops and refuses, and that readers of older versions see what they saw."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import weftdb
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.interface import Database
from weftdb.base.types import BIGINT, DATE, TIMESTAMP, TIMESTAMPTZ, Type
from weftdb.engine import retention
from weftdb.engine.catalog import decode_relation, encode_relation
from weftdb.engine.delta import Delta
from weftdb.engine.layout import Layout
from weftdb.engine.schema import Column, Table
from weftdb.engine.sequencer import TableChanges

DAY = 86_400_000_000

READINGS = """
    CREATE TABLE readings (device BIGINT, at TIMESTAMP, celsius DOUBLE PRECISION, PRIMARY KEY (device, at))
    WITH (time = 'at', every = '1 day'{})
"""


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
    deltas = tuple(Delta(key=(1, time), key_batch=rows, amounts={}, default_row={}) for time in times)
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
