"""The analytical questions of ``bench query``: one SQL text each that WeftDB and DuckDB both take.

They cover what analysts do with events: totals, filters by time and by entity, groups of few and of many values, a
join, a window, an anti-join, distinct counts, the newest row per entity. Each ends in an ORDER BY that leaves no ties,
so that answers can be compared row by row; sums of integers are cast, since PostgreSQL's sum(bigint) is NUMERIC and
DuckDB's is HUGEINT, which is a matter of types, not of answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from weftdb.bench.data import ORIGIN, STEP_MICROSECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query; ``name`` says in few words what it does."""

    name: str
    sql: str


def questions(rows: int) -> tuple[Question, ...]:
    """All questions, with their time bounds set for a table of ``rows`` events."""
    span = timedelta(microseconds=STEP_MICROSECONDS * rows)
    middle, end = ORIGIN + span / 2, ORIGIN + span
    week = (middle, middle + min(timedelta(days=7), span / 4))
    month_ago = end - min(timedelta(days=30), span / 2)
    during_week = f"event_time >= TIMESTAMP '{week[0]}' AND event_time < TIMESTAMP '{week[1]}'"
    last_month = f"event_time >= TIMESTAMP '{month_ago}'"
    return (
        Question(name="count", sql="SELECT count(*) AS n FROM events"),
        Question(
            name="totals of all rows",
            sql="SELECT count(*) AS n, sum(amount) AS total, min(amount) AS low, max(event_time) AS last FROM events",
        ),
        Question(
            name="one week",
            sql=f"SELECT count(*) AS n, sum(amount) AS total FROM events WHERE {during_week}",
        ),
        Question(
            name="one device",
            sql="SELECT event_time, kind, amount FROM events WHERE device = 17 ORDER BY event_time",
        ),
        Question(
            name="filter on text and number",
            sql="SELECT count(*) AS n, avg(amount) AS mean FROM events"
            " WHERE channel IN ('kiosk', 'partner') AND amount > 40",
        ),
        Question(
            name="group by small number",
            sql="SELECT kind, count(*) AS n, sum(amount) AS total, avg(amount) AS mean"
            " FROM events GROUP BY kind ORDER BY kind",
        ),
        Question(
            name="group by text",
            sql="SELECT channel, count(*) AS n, sum(amount) AS total FROM events GROUP BY channel ORDER BY channel",
        ),
        Question(
            name="group by day",
            sql="SELECT date_trunc('day', event_time) AS day, count(*) AS n, sum(amount) AS total"
            " FROM events GROUP BY 1 ORDER BY 1",
        ),
        Question(
            name="top 10 devices",
            sql="SELECT device, sum(amount) AS total, count(*) AS n FROM events"
            " GROUP BY device ORDER BY total DESC, device LIMIT 10",
        ),
        Question(
            name="join and group",
            sql="SELECT d.region, count(*) AS n, sum(e.amount) AS total"
            " FROM events e JOIN devices d ON d.device = e.device"
            " WHERE d.birth_year >= 1990 GROUP BY d.region ORDER BY d.region",
        ),
        Question(
            name="window: best channels per day",
            sql="WITH daily AS (SELECT date_trunc('day', event_time) AS day, channel, sum(amount) AS total"
            " FROM events GROUP BY 1, 2), ranked AS (SELECT day, channel, total,"
            " rank() OVER (PARTITION BY day ORDER BY total DESC) AS place FROM daily)"
            " SELECT day, channel, total, place FROM ranked WHERE place <= 2 ORDER BY day, place",
        ),
        Question(
            name="anti-join: kind 3 but not 5",
            sql=f"SELECT count(DISTINCT a.device) AS n FROM events a WHERE a.kind = 3 AND {last_month} AND NOT EXISTS"
            f" (SELECT 1 FROM events b WHERE b.device = a.device AND b.kind = 5 AND b.{last_month})",
        ),
        Question(
            name="distinct devices per channel",
            sql="SELECT channel, count(DISTINCT device) AS n FROM events GROUP BY channel ORDER BY channel",
        ),
        Question(
            name="newest event per device",
            sql=f"SELECT kind, count(*) AS n FROM (SELECT device, kind, row_number() OVER"
            f" (PARTITION BY device ORDER BY event_time DESC) AS place FROM events WHERE {during_week}) newest"
            " WHERE place = 1 GROUP BY kind ORDER BY kind",
        ),
    )
