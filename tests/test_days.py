"""``at::date = day``: the scan reads that day alone, and the answer is what asking each row gives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
import weftdb

DAY = dt.date(2024, 2, 3)
CONDITIONS = (
    "{} = DATE '2024-02-03'",
    "{} < DATE '2024-01-05'",
    "{} <= '2024-01-05'",
    "{} > DATE '2024-04-05'",
    "DATE '2024-04-05' <= {}",
    "DATE '2024-04-05' > {}",
    "{} BETWEEN DATE '2024-02-01' AND DATE '2024-02-03'",
    "NOT {} = DATE '2024-02-03'",
    "{} <> DATE '2024-02-03'",
    "{} = DATE '2024-02-03' OR k = 3",
    "{} = DATE '2024-02-03' AND k = 3",
    "{} IN (DATE '2024-02-03', DATE '2024-02-05')",
    "{} = CAST(TIMESTAMP '2024-02-03 12:00' AS DATE)",
    "{} = TIMESTAMP '2024-02-03 12:00'",
    "{} >= TIMESTAMP '2024-02-03 12:00'",
    "{} = DATE '9999-12-31'",
    "{} <= DATE '9999-12-31'",
    "{} < DATE '0001-01-01'",
    "{} = NULL",
)


@pytest.fixture(scope="module")
def database() -> Iterator[weftdb.Database]:
    """A series by event time, and a table whose timestamp may be NULL."""
    with weftdb.open() as database:
        options = "WITH (key = 'k', time = 'at', every = '7 days')"
        database.execute(f"CREATE TABLE series (k BIGINT, at TIMESTAMP, n BIGINT, PRIMARY KEY (k, at)) {options}")
        database.execute(
            "INSERT INTO series SELECT i % 50, TIMESTAMP '2024-01-01' + i * INTERVAL '30 minutes', i"
            " FROM generate_series(0, 4999) AS g(i)"
        )
        database.execute("CREATE TABLE plain (n BIGINT PRIMARY KEY, k BIGINT, at TIMESTAMP)")
        database.execute("INSERT INTO plain SELECT n, k, CASE WHEN n % 9 > 0 THEN at END FROM series")
        yield database


@pytest.mark.parametrize("table", ["series", "plain"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_comparing_the_day_is_comparing_the_moment(database: weftdb.Database, table: str, condition: str) -> None:
    rows = database.execute(f"SELECT n, at, k FROM {table}").rows()
    database.execute("CREATE TABLE IF NOT EXISTS days (n BIGINT PRIMARY KEY, day DATE, k BIGINT)")
    database.execute("TRUNCATE days")
    database.table("days").insert([(n, None if at is None else at.date(), k) for n, at, k in rows])
    wanted = database.execute(f"SELECT n FROM days WHERE {condition.format('day')} ORDER BY n").rows()
    for day in ("at::date", "CAST(at AS DATE)"):
        asked = condition.format(day)
        assert database.execute(f"SELECT n FROM {table} WHERE {asked} ORDER BY n").rows() == wanted
        assert database.execute(f"SELECT count(*) FROM {table} WHERE {asked}").scalar() == len(wanted)
        assert sorted(database.execute(f"SELECT n FROM {table} WHERE {asked}").rows()) == wanted


def test_other_slices_are_not_read(database: weftdb.Database) -> None:
    for condition, parameters in (("at::date = $1", [DAY]), ("$1 = CAST(at AS DATE)", [DAY])):
        sql = f"EXPLAIN ANALYZE SELECT count(*), sum(n) FROM series WHERE {condition}"
        text = "\n".join(line for (line,) in database.execute(sql, parameters).rows())
        assert "Filter: at >= '2024-02-03 00:00:00' AND at < '2024-02-04 00:00:00'" in text
        assert "14 of 15 pruned" in text


def test_a_day_without_a_next_one_is_asked_of_each_row(database: weftdb.Database) -> None:
    assert database.execute("SELECT count(*) FROM plain WHERE at::date > $1", [dt.date.max]).scalar() == 0
    assert database.execute("SELECT count(*) FROM plain WHERE at::date <= $1", [dt.date.max]).scalar() == 4_444
