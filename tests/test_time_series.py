"""Time series in SQL: buckets in zones, filled gaps, first and last, ASOF joins, sessions. Oracles are plain Python."""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
import random
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import weftdb
from weftdb.base.errors import Invalid, WeftError

T0 = dt.datetime(2024, 3, 30, 20)  # Berlin puts its clock forward the next night
HOUR = dt.timedelta(hours=1)
Row = tuple[int, dt.datetime, float | None, int]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Two days of three devices with holes, repeated values, a NULL now and then, and a device of one row."""
    chooser = random.Random(5)
    made: list[Row] = []
    for device in (1, 2, 3):
        minutes = sorted(chooser.sample(range(48 * 60), 60))
        made.extend(
            (device, T0 + minute * HOUR / 60, None if number % 11 == 5 else float(chooser.randrange(100)), number)
            for number, minute in enumerate(minutes)
            if not 10 * 60 < minute < 15 * 60
        )
    return [*made, (4, T0 + 7 * HOUR, 5.0, 0)]


@pytest.fixture(scope="module")
def db(rows: list[Row]) -> Iterator[weftdb.Database]:
    with weftdb.open() as database:
        database.execute(
            "CREATE TABLE r (device BIGINT, at TIMESTAMP, v DOUBLE PRECISION, n INT, PRIMARY KEY (device, at)) "
            "WITH (time = 'at', every = '1 day')"
        )
        database.table("r").put(rows)
        yield database


def ask(db: weftdb.Database, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    return db.execute(sql, list(parameters)).rows()


def floor(moment: dt.datetime, width: dt.timedelta, origin: dt.datetime = dt.datetime(2000, 1, 3)) -> dt.datetime:
    return origin + (moment - origin) // width * width


# -- buckets ---------------------------------------------------------------------------------------------------------


def test_a_bucket_moves_by_its_offset_and_counts_from_its_origin(db: weftdb.Database, rows: list[Row]) -> None:
    offset, origin = dt.timedelta(minutes=25), dt.datetime(2024, 1, 1, 0, 7)
    for text, wanted in (
        ("""time_bucket('1 hour', at, "offset" => '25 minutes')""", lambda at: floor(at - offset, HOUR) + offset),
        ("time_bucket('1 hour', at, INTERVAL '25 minutes')", lambda at: floor(at - offset, HOUR) + offset),
        ("time_bucket('1 hour', at, '25 minutes')", lambda at: floor(at - offset, HOUR) + offset),
        ("time_bucket('1 hour', at, '2024-01-01 00:07')", lambda at: floor(at, HOUR, origin)),
        ("time_bucket('1 hour', at, origin => '2024-01-01 00:07')", lambda at: floor(at, HOUR, origin)),
        ("date_bin('1 hour', at, TIMESTAMP '2024-01-01 00:07')", lambda at: floor(at, HOUR, origin)),
    ):
        assert ask(db, f"SELECT {text} FROM r ORDER BY device, at") == [(wanted(row[1]),) for row in sorted(rows)], text
    assert ask(db, "SELECT time_bucket(5, n), time_bucket(5, -n, 2) FROM r ORDER BY device, at") == [
        (n // 5 * 5, (-n - 2) // 5 * 5 + 2) for *_, n in sorted(rows)
    ]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("width", ["10 minutes", "1 hour", "6 hours", "1 day", "1 week", "1 month"])
def test_a_bucket_in_a_zone_begins_by_the_zone_s_clock(db: weftdb.Database, zone: str, width: str) -> None:
    """Around both changes of the clock: the begin is on the width's grid of local times."""
    number, unit = width.split()
    step = {"minutes": HOUR / 60, "hour": HOUR, "hours": HOUR, "day": 24 * HOUR, "week": 168 * HOUR}.get(unit)
    there = ZoneInfo(zone)
    sql = (
        "SELECT at, time_bucket($1::interval, at, $2) FROM (SELECT generate_series(timestamptz '2024-03-09', "
        "'2024-04-01', '35 minutes') UNION ALL SELECT generate_series(timestamptz '2024-10-26', '2024-11-05', "
        "'35 minutes')) AS s(at)"
    )
    for moment, begin in ask(db, sql, width, zone):
        local, local_begin = (x.astimezone(there).replace(tzinfo=None) for x in (moment, begin))
        wanted = floor(local, int(number) * step) if step else local.replace(day=1, hour=0, minute=0)
        if step is not None and step * int(number) <= HOUR:
            assert begin <= moment < begin + step * int(number), (moment, begin)
            assert local_begin == wanted, (moment, begin)
        else:
            assert begin == wanted.replace(tzinfo=there).astimezone(dt.UTC), (moment, begin)
    literals = sql.replace("$1::interval", f"INTERVAL '{width}'").replace("$2", f"'{zone}'")
    assert ask(db, literals) == ask(db, sql, width, zone)


def test_date_trunc_in_a_zone_tells_the_hour_that_comes_twice_apart(db: weftdb.Database) -> None:
    moment = "timestamptz '2024-10-27 00:40:00+00' + n * interval '1 hour'"
    sql = f"SELECT date_trunc($2, {moment}, $1) FROM generate_series(0, 1) n"
    first = dt.datetime(2024, 10, 27, tzinfo=dt.UTC)
    assert ask(db, sql.replace("$2", "'hour'"), "Europe/Berlin") == [(first,), (first + HOUR,)]
    assert ask(db, sql.replace("$2", "'day'"), "Europe/Berlin") == [(first - 2 * HOUR,)] * 2


def test_a_width_that_is_no_width_is_refused(db: weftdb.Database) -> None:
    for call in ("time_bucket({}, at)", "time_bucket({}, at, origin => at)"):
        for width, message in (
            ("0 hours", "greater than zero"),
            ("-1 day", "zero"),
            ("1 month 1 day", "cannot have days"),
        ):
            for sql in (
                f"SELECT {call.format('$1::interval')} FROM r",
                f"SELECT {call.format('i')} FROM r, (SELECT $1::interval) s(i)",
            ):
                with pytest.raises(Invalid, match=message):
                    ask(db, sql, width)
    with pytest.raises(Invalid, match="greater than zero"):
        ask(db, "SELECT time_bucket(n - n, n) FROM r")


# zone, moment, interval → the moment later, and both as text; PostgreSQL's answers
IN_ZONES = [
    ("Europe/Berlin", "2024-03-30 01:30:00+00", "1 day 01:00:00", "2024-03-31 04:30:00+02"),
    ("Europe/Berlin", "2024-10-26 00:30:00+00", "1 day 00:30:00", "2024-10-27 03:00:00+01"),
    ("America/New_York", "2024-01-31 12:00:00.5+00", "1 mon 2 days -03:00:00", "2024-03-02 04:00:00.5-05"),
    ("Asia/Kolkata", "2024-01-01 00:00:00+00", "-1 days +00:10:00", "2023-12-31 05:40:00+05:30"),
    ("UTC", "2024-01-01 00:00:00+00", "1 day 02:00:00", "2024-01-02 02:00:00+00"),
]


@pytest.mark.parametrize(("zone", "moment", "span", "shown"), IN_ZONES)
def test_a_session_s_zone_adds_by_its_clock_and_shows_its_times(
    db: weftdb.Database, zone: str, moment: str, span: str, shown: str
) -> None:
    sql = f"SET timezone = '{zone}'; SELECT m + i, (m + i)::text, concat(m + i), 'at ' || (m - (-i)) FROM (SELECT "
    sql += f"timestamptz '{moment}' AS m, interval '{span}' AS i) AS x"
    later, text, joined, added = ask(db, sql)[0]
    assert (text, joined, added) == (shown, shown, f"at {shown}")
    assert later == dt.datetime.fromisoformat(shown if ":" in shown[-3:] else f"{shown}:00")
    literal = f"SET timezone = '{zone}'; SELECT (timestamptz '{moment}' + interval '{span}')::text"
    assert ask(db, literal) == [(shown,)]


# -- gaps ------------------------------------------------------------------------------------------------------------


def filled(
    rows: list[Row], start: dt.datetime, stop: dt.datetime, width: dt.timedelta, *, by_device: bool
) -> list[Any]:
    """(bucket, device, count, sum, locf(sum), interpolate(sum)) as TimescaleDB defines them, one row at a time."""
    chosen = [row for row in rows if start <= row[1] < stop]
    groups: dict[Any, dict[dt.datetime, list[Row]]] = {}
    for row in chosen:
        groups.setdefault(row[0] if by_device else None, {}).setdefault(floor(row[1], width), []).append(row)
    if not by_device and not groups:
        groups[None] = {}
    out = []
    for key, buckets in sorted(groups.items()):
        grid = []
        at = floor(start, width)
        while at < stop:
            grid.append(at)
            at += width
        found: dict[dt.datetime, tuple[int, float | None]] = {}
        for at, members in buckets.items():
            values = [v for _, _, v, _ in members if v is not None]
            found[at] = (len(members), sum(values) if values else None)
        for at in grid:
            before = max((other for other in found if other <= at), default=None)
            after = min((other for other in found if other >= at), default=None)
            count, total = found.get(at, (None, None))
            line = total
            if at not in found and before is not None and after is not None:
                a, b = found[before][1], found[after][1]
                line = None if a is None or b is None else a + (b - a) * ((at - before) / (after - before))
            out.append((at, key, count, total, found[before][1] if before else None, line))
    return out


@pytest.mark.parametrize("by_device", [True, False])
@pytest.mark.parametrize("minutes", [30, 60, 250])
def test_gaps_are_filled_for_every_device_and_bucket(
    db: weftdb.Database, rows: list[Row], *, minutes: int, by_device: bool
) -> None:
    start, stop = T0 - 3 * HOUR, T0 + 51 * HOUR
    width = dt.timedelta(minutes=minutes)
    key = "device" if by_device else "NULL"
    got = ask(
        db,
        f"SELECT time_bucket_gapfill('{minutes} minutes', at) AS b, {key}, count(*), sum(v), locf(sum(v)), "
        "interpolate(sum(v)) FROM r WHERE at >= $1::timestamp AND at < $2::timestamp "
        f"GROUP BY b{', device' if by_device else ''} ORDER BY 2, 1",
        start,
        stop,
    )
    wanted = filled(rows, start, stop, width, by_device=by_device)
    assert [row[:5] for row in got] == [row[:5] for row in wanted]
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours[5] == (None if theirs[5] is None else pytest.approx(theirs[5], rel=1e-12))


def test_the_range_of_a_gap_fill_is_said_by_where_or_by_its_arguments(db: weftdb.Database) -> None:
    def buckets(arguments: str, where: str) -> list[tuple[Any, ...]]:
        return ask(db, f"SELECT time_bucket_gapfill('1 hour', at{arguments}) AS b FROM r {where} GROUP BY b ORDER BY b")

    low, high = "TIMESTAMP '2024-03-30 12:30'", "TIMESTAMP '2024-03-31 02:00'"
    expected = [(dt.datetime(2024, 3, 30, 12) + number * HOUR,) for number in range(14)]
    for arguments, where in (
        ("", f"WHERE at >= {low} AND at < {high}"),
        ("", f"WHERE {low} <= at AND {high} > at AND device > 0"),
        ("", f"WHERE at BETWEEN {low} AND {high} - interval '1 second'"),
        (f", {low}, {high}", f"WHERE at < {high}"),
        (f", finish => {high}, start => {low}", f"WHERE at < {high}"),
        (f", finish => {high}", f"WHERE at > {low} AND at < {high}"),
    ):
        assert buckets(arguments, where) == expected, (arguments, where)
    assert len(buckets("", f"WHERE at >= {high} AND at < {low}")) == 0
    assert buckets("", "WHERE at >= '1999-01-01' AND at < '1999-01-01 02:00'") == [
        (dt.datetime(1999, 1, 1),),
        (dt.datetime(1999, 1, 1, 1),),
    ]
    for arguments, where in (("", ""), ("", f"WHERE at > {low}"), ("", f"WHERE at < {high}"), ("", "WHERE n < 5")):
        with pytest.raises(Invalid, match="does not know where its range"):
            buckets(arguments, where)


def test_a_range_of_too_many_buckets_is_refused_at_once(db: weftdb.Database) -> None:
    for arguments in ("'1 second', at, '1950-01-01', '2050-01-01'", "1, n, 0, 2000000000"):
        with pytest.raises(WeftError, match="more than 1000000 buckets"):
            ask(db, f"SELECT time_bucket_gapfill({arguments}) AS b, count(*) FROM r GROUP BY b")
    with pytest.raises(WeftError, match="buckets"):
        ask(
            db,
            "SELECT time_bucket_gapfill('1 ms', at) AS b FROM r WHERE at > $1 AND at < $2 GROUP BY b",
            T0,
            T0 + 99 * HOUR,
        )


def test_gaps_of_months_days_and_zones_are_filled(db: weftdb.Database) -> None:
    months = (
        "SELECT time_bucket_gapfill('1 month', at, '2023-11-15', '2024-05-01'), count(*) FROM r GROUP BY 1 ORDER BY 1"
    )
    assert [row[0].month for row in ask(db, months)] == [11, 12, 1, 2, 3, 4]
    days = (
        "SELECT time_bucket_gapfill('1 day', at AT TIME ZONE 'UTC', 'Europe/Berlin', '2024-03-29 12:00+00', "
        "'2024-04-02 00:00+02') AS b, sum(n) FROM r GROUP BY b ORDER BY b"
    )
    zone = ZoneInfo("Europe/Berlin")
    begins = [row[0].astimezone(zone) for row in ask(db, days)]
    assert [(x.day, x.hour) for x in begins] == [(29, 0), (30, 0), (31, 0), (1, 0)]
    dates = (
        "SELECT time_bucket_gapfill('2 days', at::date) AS b, sum(n) FROM r "
        "WHERE at::date >= '2024-03-29' AND at::date < '2024-04-03' GROUP BY b ORDER BY b"
    )
    first = floor(dt.datetime(2024, 3, 29), dt.timedelta(days=2)).date()
    assert [row[0] for row in ask(db, dates)] == [first + number * dt.timedelta(days=2) for number in range(3)]
    whole = "SELECT time_bucket_gapfill(10, n, 0, 100) AS b, count(*) FROM r GROUP BY b ORDER BY b"
    assert [row[0] for row in ask(db, whole)] == list(range(0, 100, 10))


def test_what_is_made_of_filled_rows_is_an_expression_like_any_other(db: weftdb.Database) -> None:
    inner = (
        "SELECT time_bucket_gapfill('1 hour', at) AS b, device, coalesce(count(*), 0) AS n, "
        "locf(max(n), prev => -1) AS l, locf(sum(v), treat_null_as_missing => true) AS s, "
        "row_number() OVER (PARTITION BY device ORDER BY b) AS k FROM r "
        "WHERE at >= '2024-03-30 18:00' AND at < '2024-04-01 22:00' GROUP BY b, device HAVING count(*) > 0"
    ).replace("ORDER BY b)", "ORDER BY time_bucket_gapfill('1 hour', at))")
    answers = ask(
        db, f"SELECT device, count(*), sum(n), min(l), count(s), max(k) FROM ({inner}) x GROUP BY 1 ORDER BY 1"
    )
    plain = dict(ask(db, "SELECT device, count(*) FROM r GROUP BY device"))
    for device, count, n, low, _, last in answers:
        assert (count, last, n) == (52, 52, plain[device])
        assert low == -1
    assert ask(db, f"{inner} ORDER BY n DESC, device LIMIT 1")[0][2] == max(
        row[0] for row in ask(db, "SELECT count(*) FROM r GROUP BY time_bucket('1 hour', at), device")
    )


def test_gaps_are_filled_around_null_and_rows_outside_of_the_range() -> None:
    with weftdb.open() as db:
        db.execute("CREATE TABLE g (at TIMESTAMPTZ, d TEXT, v INT)")
        db.execute(
            "INSERT INTO g VALUES ('2026-11-01 00:30Z', 'a', 1), ('2026-11-01 02:30Z', 'a', NULL), "
            "('2026-11-01 03:10Z', NULL, 4), ('2026-11-01 09:00Z', 'a', 9)"
        )
        hour = "time_bucket_gapfill('1 hour', at"
        hours = "extract(hour FROM b)::int"

        def filled(columns: str, where: str, arguments: str = "") -> list[tuple[Any, ...]]:
            query = f"SELECT {hour}{arguments}) AS b, {columns} AS c FROM g {where} GROUP BY 1"
            return db.execute(f"SELECT {hours}, c FROM ({query}) q ORDER BY b").rows()

        within = "WHERE at >= '2026-11-01' AND at < '2026-11-01 05:00Z'"
        # NULL is a key as any other, and its buckets are filled once.
        query = f"SELECT {hour}) AS b, d, sum(v) AS c FROM g {within} GROUP BY 1, 2"
        by_key = db.execute(f"SELECT {hours}, d, c FROM ({query}) q ORDER BY d NULLS FIRST, b").rows()
        assert by_key == [
            *((number, None, 4 if number == 3 else None) for number in range(5)),
            *((number, "a", 1 if number == 0 else None) for number in range(5)),
        ]
        # A NULL that was read is a value, unless it counts as missing.
        assert [c for _, c in filled("locf(sum(v))", within)] == [1, 1, None, 4, 4]
        assert [c for _, c in filled("locf(sum(v), treat_null_as_missing => true)", within)] == [1, 1, 1, 4, 4]
        late = "WHERE at >= '2026-11-01 02:00Z' AND at < '2026-11-01 05:00Z'"
        assert [c for _, c in filled("locf(sum(v), -1)", late)] == [None, 4, 4]
        assert [c for _, c in filled("locf(sum(v), -1, true)", late)] == [-1, 4, 4]
        assert [c for _, c in filled("interpolate(sum(v))", within)] == [1, None, None, 4, None]  # next to NULL no line
        # Of two conditions on one side the narrower one counts.
        narrow = f"{within} AND at >= '2026-11-01 03:00Z' AND '2026-11-02' > at"
        assert filled("count(*)", narrow) == [(3, 1), (4, None)]
        # Rows outside of the range stay.
        around = filled("count(*)", "", ", '2026-11-01 08:00Z', '2026-11-01 10:00Z'")
        assert around == [(0, 1), (2, 1), (3, 1), (8, None), (9, 1)]


@pytest.mark.parametrize(
    ("width", "zone", "start", "finish", "expected"),
    [
        (
            "1 month",
            "Europe/Berlin",
            "2026-09-15 00:00",
            "2026-12-20 00:00",
            ["09-01 00", "10-01 00", "11-01 00", "12-01 00"],
        ),
        ("1 day", "America/New_York", "2026-10-31 12:00", "2026-11-03 00:00", ["10-31 00", "11-01 00", "11-02 00"]),
        (
            "6 hours",
            "Europe/Berlin",
            "2026-10-24 22:00",
            "2026-10-26 00:00",
            ["25 00", "25 06", "25 12", "25 18", "26 00"],
        ),
        ("6 hours", "Europe/Berlin", "2026-03-28 23:00", "2026-03-29 22:00", ["29 00", "29 06", "29 12", "29 18"]),
        ("30 minutes", "Europe/Berlin", "2026-10-25 00:00", "2026-10-25 02:00", ["25 02", "25 02", "25 02", "25 02"]),
    ],
)
def test_no_bucket_is_missed_where_the_clock_is_changed(
    width: str, zone: str, start: str, finish: str, expected: list[str]
) -> None:
    with weftdb.open() as db:
        db.execute("CREATE TABLE g (at TIMESTAMPTZ)")
        bucket = f"time_bucket_gapfill('{width}', at, '{zone}', '{start}+00', '{finish}+00')"
        shown = f"to_char(b AT TIME ZONE '{zone}', '{'MM-DD HH24' if '-' in expected[0] else 'DD HH24'}')"
        query = f"SELECT {shown} FROM (SELECT {bucket} AS b, count(*) FROM g GROUP BY 1) q ORDER BY b"
        assert [text for (text,) in db.execute(query).rows()] == expected


def test_gap_functions_outside_of_a_grouped_query_are_refused(db: weftdb.Database) -> None:
    for sql, message in (
        ("SELECT time_bucket_gapfill('1 hour', at) FROM r", "must be a column of GROUP BY"),
        ("SELECT locf(v) FROM r", "must be a column of GROUP BY"),
        (
            "SELECT time_bucket_gapfill('1 hour', at, '2024-01-01', '2024-01-02'), "
            "time_bucket_gapfill('1 day', at, '2024-01-01', '2024-01-02') FROM r GROUP BY 1, 2",
            "more than one time_bucket_gapfill",
        ),
        ("SELECT interpolate(v) OVER (ORDER BY at DESC) FROM r", "one ascending ORDER BY"),
        ("SELECT 1 FROM r WHERE time_bucket_gapfill('1 hour', at) > at", "not allowed in WHERE"),
        ("SELECT interpolate('x'::text) FROM r", "does not exist"),
        ("SELECT time_bucket('1 day', at, zone => 'UTC') FROM r", "not one of its arguments"),
        ("SELECT time_bucket('1 day', at, timezone => 'UTC') FROM r", "needs a timestamp with time zone"),
        ("SELECT time_bucket('1 day', at, origin => '2000-01-01', origin => '2001-01-01') FROM r", "given twice"),
        (
            "SELECT time_bucket_gapfill('1 hour', at, '2024-01-01', '2024-01-02') AS b FROM r GROUP BY CUBE (1, n)",
            "0A000",
        ),
        ("SELECT session_number(at, interval '1 hour') OVER () FROM r", "ORDER BY"),
        ("SELECT date_bin('1 month', at, at) FROM r", "months or years"),
    ):
        with pytest.raises(WeftError) as caught:
            ask(db, sql)
        assert message in f"{caught.value} {caught.value.sqlstate}", sql


# -- windows ---------------------------------------------------------------------------------------------------------


def test_values_are_carried_and_interpolated_in_any_window(db: weftdb.Database, rows: list[Row]) -> None:
    got = ask(
        db,
        "SELECT device, at, locf(v) OVER w, nocb(v) OVER w, interpolate(v) OVER w FROM r "
        "WINDOW w AS (PARTITION BY device ORDER BY at) ORDER BY device, at",
    )
    expected = []
    for _, group in itertools.groupby(sorted(rows), key=lambda row: row[0]):
        series = list(group)
        known = [(at, v) for _, at, v, _ in series if v is not None]
        times = [at for at, _ in known]
        for device, at, v, _ in series:
            place = bisect.bisect_right(times, at)
            before = known[place - 1] if place else None
            place = bisect.bisect_left(times, at)
            after = known[place] if place < len(known) else None
            line = v
            if v is None and before and after:
                line = before[1] + (after[1] - before[1]) * ((at - before[0]) / (after[0] - before[0]))
            expected.append((device, at, before[1] if before else None, after[1] if after else None, line))
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    assert [row[4] for row in got] == [None if row[4] is None else pytest.approx(row[4], rel=1e-12) for row in expected]


@pytest.mark.parametrize("minutes", [1, 45, 600])
def test_a_session_ends_where_nothing_comes_for_longer_than_the_gap(
    db: weftdb.Database, rows: list[Row], minutes: int
) -> None:
    sql = (
        f"SELECT device, at, session_number(at, INTERVAL '{minutes} minutes') OVER (PARTITION BY device ORDER BY at), "
        "count(*) OVER (PARTITION BY device) FROM r ORDER BY device, at"
    )
    expected = []
    for _, group in itertools.groupby(sorted(rows), key=lambda row: row[0]):
        series = list(group)
        number, last = 0, None
        for device, at, *_ in series:
            number += last is None or at - last > dt.timedelta(minutes=minutes)
            last = at
            expected.append((device, at, number, len(series)))
    assert ask(db, sql) == expected
    sessions = "SELECT device, s, min(at), max(at), count(*) FROM (SELECT device, at, session_number(at, INTERVAL "
    sessions += f"'{minutes} minutes') OVER (PARTITION BY device ORDER BY at) AS s FROM r) AS x GROUP BY 1, 2"
    assert len(ask(db, sessions)) == sum(1 for _ in itertools.groupby(expected, key=lambda row: (row[0], row[2])))


def test_rows_of_one_time_are_in_one_session() -> None:
    """World 11000005, query 3: the row that began a session was not the first of its peers."""
    with weftdb.open() as db:
        db.execute("CREATE TABLE r (at TIMESTAMP, v INT)")
        days = ", ".join(f"('2024-01-{day:02}', {v})" for day in range(1, 29, 3) for v in range(7))
        db.execute(f"INSERT INTO r VALUES {days}")
        sql = "SELECT DISTINCT at, session_number(at, '1 day') OVER (ORDER BY at) FROM r ORDER BY at"
        assert [row[1] for row in db.execute(sql).rows()] == list(range(1, 11))


def test_first_and_last_are_the_values_at_the_least_and_greatest_time(db: weftdb.Database, rows: list[Row]) -> None:
    got = ask(
        db,
        "SELECT device, first(v, at), last(v, at), last(n, CASE WHEN n < 3 THEN at END) FROM r GROUP BY 1 ORDER BY 1",
    )
    expected = []
    for device, group in itertools.groupby(sorted(rows), key=lambda row: row[0]):
        series = list(group)
        early = [n for *_, n in series if n < 3]
        expected.append((device, series[0][2], series[-1][2], early[-1] if early else None))
    assert got == expected
    assert ask(db, "SELECT first(v, at), last(v, at) FROM r WHERE false") == [(None, None)]
    slow = "SELECT (array_agg(v ORDER BY at))[1], (array_agg(v ORDER BY at DESC))[1] FROM r WHERE device = 2"
    assert ask(db, slow) == ask(db, "SELECT first(v, at), last(v, at) FROM r WHERE device = 2")


def test_the_last_row_of_each_key_is_the_same_however_it_is_asked(db: weftdb.Database, rows: list[Row]) -> None:
    expected = [list(group)[-1] for _, group in itertools.groupby(sorted(rows), key=lambda row: row[0])]
    assert ask(db, "SELECT DISTINCT ON (device) * FROM r ORDER BY device, at DESC") == expected
    lateral = (
        "SELECT l.* FROM (SELECT DISTINCT device FROM r) d, "
        "LATERAL (SELECT * FROM r WHERE r.device = d.device ORDER BY at DESC LIMIT 1) l ORDER BY 1"
    )
    assert ask(db, lateral) == expected
    assert ask(db, "SELECT device, max(at), last(v, at), last(n, at) FROM r GROUP BY device ORDER BY 1") == expected


# -- ASOF joins ------------------------------------------------------------------------------------------------------

COMPARISONS = {
    ">=": lambda at, times: bisect.bisect_right(times, at) - 1,
    ">": lambda at, times: bisect.bisect_left(times, at) - 1,
    "<=": lambda at, times: bisect.bisect_left(times, at),
    "<": lambda at, times: bisect.bisect_right(times, at),
}


@pytest.mark.parametrize("operator", COMPARISONS)
@pytest.mark.parametrize("kind", ["ASOF JOIN", "ASOF LEFT JOIN"])
def test_an_asof_join_takes_the_one_nearest_row(db: weftdb.Database, rows: list[Row], kind: str, operator: str) -> None:
    got = ask(
        db,
        f"SELECT a.device, a.at, b.at, b.n FROM r a {kind} r b ON b.device = a.device + 1 AND a.at {operator} b.at "
        "ORDER BY 1, 2",
    )
    assert got == nearest(rows, operator, left="LEFT" in kind)
    above = f"SELECT a.device, a.at, b.at, b.n FROM r a {kind} r b ON b.device = a.device + 1 AND a.at {operator} b.at "
    for condition, keep in (
        ("b.n > 20", lambda row: row[3] is not None and row[3] > 20),
        ("a.n > -1 AND a.device = 2", lambda row: row[0] == 2),
    ):
        assert ask(db, f"{above} WHERE {condition} ORDER BY 1, 2") == [
            row for row in nearest(rows, operator, left="LEFT" in kind) if keep(row)
        ]


def nearest(rows: list[Row], operator: str, *, left: bool) -> list[tuple[Any, ...]]:
    by_device = {device: list(group) for device, group in itertools.groupby(sorted(rows), key=lambda row: row[0])}
    out: list[tuple[Any, ...]] = []
    for device, at, *_ in sorted(rows):
        others = by_device.get(device + 1, [])
        place = COMPARISONS[operator](at, [row[1] for row in others])
        if 0 <= place < len(others):
            out.append((device, at, others[place][1], others[place][3]))
        elif left:
            out.append((device, at, None, None))
    return out


def test_an_asof_join_by_using_compares_the_last_column(db: weftdb.Database) -> None:
    shifted = "(SELECT device, at + interval '10 minutes' AS at, n FROM r) b"
    on = "SELECT a.device, a.at, b.n FROM r a ASOF LEFT JOIN "
    on += f"{shifted} ON a.device = b.device AND a.at >= b.at ORDER BY 1, 2"
    assert ask(db, f"SELECT device, at, b.n FROM r a ASOF LEFT JOIN {shifted} USING (device, at) ORDER BY 1, 2") == ask(
        db, on
    )
    for sql, message in (
        ("SELECT 1 FROM r a ASOF JOIN r b ON a.n = b.n", "one comparison of times"),
        ("SELECT 1 FROM r a ASOF JOIN r b ON a.at >= b.at AND b.n > 3", "one comparison of times"),
        ("SELECT 1 FROM r a ASOF JOIN r b ON a.at >= b.at AND a.n > b.n", "one comparison of times"),
        ("SELECT 1 FROM r a ASOF FULL JOIN r b ON a.at >= b.at", "ASOF FULL JOIN is not supported"),
    ):
        with pytest.raises(Invalid, match=message):
            ask(db, sql)


# -- estimates -------------------------------------------------------------------------------------------------------


def test_percentiles_come_one_or_several_at_a_time(db: weftdb.Database, rows: list[Row]) -> None:
    (several,) = ask(
        db,
        "SELECT percentile_cont(ARRAY[0.1, 0.5, 1]) WITHIN GROUP (ORDER BY v), "
        "percentile_disc(ARRAY[0.1, 0.5]) WITHIN GROUP (ORDER BY n DESC), median(v) FROM r",
    )
    singles = [ask(db, f"SELECT percentile_cont({f}) WITHIN GROUP (ORDER BY v) FROM r")[0][0] for f in (0.1, 0.5, 1)]
    descending = sorted((n for *_, n in rows), reverse=True)
    assert several[0] == singles
    assert several[1] == [descending[-(-len(rows) // 10) - 1], descending[-(-len(rows) // 2) - 1]]
    assert several[2] == singles[1]
    assert ask(db, "SELECT percentile_cont(0.25) WITHIN GROUP (ORDER BY v DESC) FROM r") == ask(
        db, "SELECT percentile_cont(0.75) WITHIN GROUP (ORDER BY v) FROM r"
    )


def test_estimates_are_near(db: weftdb.Database) -> None:
    distinct, p90 = ask(
        db, "SELECT approx_count_distinct(x), approx_percentile(x, 0.9) FROM generate_series(1, 50000) AS s(x)"
    )[0]
    assert 0.85 < distinct / 50000 < 1.15
    assert 0.88 < p90 / 50000 < 0.92
    assert ask(db, "SELECT approx_count_distinct(v), approx_percentile(v, 0.5) FROM r WHERE false") == [(0, None)]


def test_a_sample_has_its_share_of_the_rows_each_as_it_is(db: weftdb.Database, rows: list[Row]) -> None:
    for method in ("BERNOULLI", "SYSTEM"):
        assert ask(db, f"SELECT * FROM r TABLESAMPLE {method} (100) ORDER BY 1, 2") == sorted(rows)
        assert ask(db, f"SELECT * FROM r AS x TABLESAMPLE {method} (0)") == []
        share = ask(db, f"SELECT count(*) FROM r x TABLESAMPLE {method} ($1), generate_series(1, 100)", 30)[0][0]
        sampled = ask(db, f"SELECT x.* FROM r AS x TABLESAMPLE {method} (50) WHERE x.device = 2")
        assert set(sampled) <= set(rows)
        assert 0 < share < 100 * len(rows)
    for sql, state in (
        ("SELECT * FROM r TABLESAMPLE BERNOULLI (101)", "2202H"),
        ("SELECT * FROM r TABLESAMPLE BERNOULLI (10) REPEATABLE (1)", "0A000"),
        ("SELECT * FROM weft_tables TABLESAMPLE BERNOULLI (10)", "42809"),
        ("SELECT * FROM r TABLESAMPLE BERNOULLI (n)", "42601"),
    ):
        with pytest.raises(WeftError) as caught:
            ask(db, sql)
        assert caught.value.sqlstate == state, sql
