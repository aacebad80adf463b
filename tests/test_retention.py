"""Retention: what ``keep`` says, what it drops and refuses, and that readers of older versions see what they saw."""

from __future__ import annotations

import pytest
import weftdb
from weftdb.base.interface import Database
from weftdb.engine.catalog import decode_relation, encode_relation
from weftdb.engine.schema import Table

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
