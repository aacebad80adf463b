"""The thirty charts of ``bench dashboard``, and the views that a user would make for them: one SQL text each.

A dashboard of a shop, opened at a moment that is no full hour (``now``): series by hour, day, week and month, tables of
the first ten, totals, shares, rates, running sums and a comparison with the week before. Windows are the last 7, 30 and
90 days before that moment. WeftDB and DuckDB get the same texts; those whose order matters leave no ties.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from weftdb.bench.clicks import ACTIONS, Bounds
from weftdb.bench.data import ORIGIN

_KEPT: Final = (
    "count(*) AS n, sum(price) AS revenue, count(price) AS priced, avg(duration) AS duration, sum(quantity) AS quantity"
)
VIEWS: Final = {
    "per_minute": "SELECT time_bucket('1 minute', event_time) AS minute, action, channel,"
    f" {_KEPT} FROM clicks GROUP BY 1, 2, 3",
    "per_hour": "SELECT time_bucket('1 hour', event_time) AS hour, action, channel,"
    f" {_KEPT} FROM clicks GROUP BY 1, 2, 3",
    "per_hour_action": f"SELECT time_bucket('1 hour', event_time) AS hour, action, {_KEPT} FROM clicks GROUP BY 1, 2",
    "per_day": f"SELECT time_bucket('1 day', event_time) AS day, action, channel, {_KEPT} FROM clicks GROUP BY 1, 2, 3",
    "per_hour_country": "SELECT time_bucket('1 hour', event_time) AS hour, country, action,"
    f" {_KEPT} FROM clicks GROUP BY 1, 2, 3",
    "per_day_country": "SELECT time_bucket('1 day', event_time) AS day, country, action,"
    f" {_KEPT} FROM clicks GROUP BY 1, 2, 3",
}
"""Their definitions, by name."""

_UNROUND: Final = timedelta(minutes=42, seconds=26, microseconds=123_457)
"""How long before the last event the dashboard is opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """``name`` says what it shows."""

    name: str
    sql: str


def charts(bounds: Bounds) -> tuple[Chart, ...]:
    """The thirty; windows are shorter where the data does not fill 90 days."""
    now = ORIGIN + bounds.span - min(_UNROUND, bounds.span / 10)

    def last(days: int, *, before: int = 0) -> str:
        day = min(timedelta(days=1), bounds.span / 100)
        return f"{_later(now - (days + before) * day)} AND event_time < TIMESTAMP '{now - before * day}'"

    week, month, quarter = last(7), last(30), last(90)
    hour, day = "time_bucket('1 hour', event_time)", "time_bucket('1 day', event_time)"
    bought = "action = 'purchase'"
    funnel = ", ".join(f"sum(CASE WHEN action = '{name}' THEN 1 ELSE 0 END) AS {name}s" for name in ACTIONS[:4])
    found = {
        "events by hour, 90 days": f"SELECT {hour} AS hour, count(*) AS n FROM clicks WHERE {quarter} GROUP BY 1"
        " ORDER BY 1",
        "revenue by hour, 90 days": f"SELECT {hour} AS hour, sum(price) AS revenue FROM clicks WHERE {quarter}"
        f" AND {bought} GROUP BY 1 ORDER BY 1",
        "mean duration by hour, 90 days": f"SELECT {hour} AS hour, avg(duration) AS duration FROM clicks"
        f" WHERE {quarter} GROUP BY 1 ORDER BY 1",
        "one channel by hour, 90 days": f"SELECT {hour} AS hour, count(*) AS n FROM clicks WHERE {quarter}"
        " AND channel = 'app' GROUP BY 1 ORDER BY 1",
        "events by hour and channel, 7 days": f"SELECT {hour} AS hour, channel, count(*) AS n FROM clicks"
        f" WHERE {week} GROUP BY 1, 2 ORDER BY 1, 2",
        "events by hour and action, 7 days": f"SELECT {hour} AS hour, action, count(*) AS n FROM clicks"
        f" WHERE {week} GROUP BY 1, 2 ORDER BY 1, 2",
        "events by 6 hours, 30 days": "SELECT time_bucket('6 hours', event_time) AS start, count(*) AS n FROM clicks"
        f" WHERE {month} GROUP BY 1 ORDER BY 1",
        "events by day and channel, 90 days": f"SELECT {day} AS day, channel, count(*) AS n FROM clicks"
        f" WHERE {quarter} GROUP BY 1, 2 ORDER BY 1, 2",
        "revenue and basket by day, 90 days": f"SELECT {day} AS day, sum(price) AS revenue, count(price) AS n,"
        f" avg(price) AS basket FROM clicks WHERE {quarter} AND {bought} GROUP BY 1 ORDER BY 1",
        "two channels without views by day, 90 days": f"SELECT {day} AS day, count(*) AS n, sum(quantity) AS pieces"
        f" FROM clicks WHERE {quarter} AND channel IN ('web', 'app') AND action <> 'view' GROUP BY 1 ORDER BY 1",
        "conversion by day, 90 days": f"SELECT {day} AS day, count(*) FILTER (WHERE {bought})::DOUBLE PRECISION"
        f" / count(*) AS rate FROM clicks WHERE {quarter} GROUP BY 1 ORDER BY 1",
        "days with many carts, 90 days": f"SELECT {day} AS day, count(*) AS n FROM clicks WHERE {quarter}"
        " AND action = 'cart' GROUP BY 1 HAVING count(*) > 20 ORDER BY 2 DESC, 1",
        "refund rate by week, 90 days": "SELECT date_trunc('week', event_time) AS week,"
        " 100.0 * count(*) FILTER (WHERE action = 'refund') / count(*) AS percent"
        f" FROM clicks WHERE {quarter} GROUP BY 1 ORDER BY 1",
        "events by week and action, 90 days": "SELECT date_trunc('week', event_time) AS week, action, count(*) AS n"
        f" FROM clicks WHERE {quarter} GROUP BY 1, 2 ORDER BY 1, 2",
        "revenue by month, all": "SELECT date_trunc('month', event_time) AS month, sum(price) AS revenue,"
        f" count(*) AS n FROM clicks WHERE {bought} GROUP BY 1 ORDER BY 1",
        "hours of the week, 90 days": "SELECT extract(isodow FROM event_time) AS day,"
        f" extract(hour FROM event_time) AS hour, count(*) AS n FROM clicks WHERE {quarter} GROUP BY 1, 2"
        " ORDER BY 1, 2",
        "weekend or not, 30 days": "SELECT CASE WHEN extract(isodow FROM event_time) > 5 THEN 'weekend'"
        f" ELSE 'week' END AS part, count(*) AS n, avg(duration) AS duration FROM clicks WHERE {month}"
        " GROUP BY 1 ORDER BY 1",
        "peak hours, 90 days": f"SELECT {hour} AS hour, count(*) AS n FROM clicks WHERE {quarter} GROUP BY 1"
        " ORDER BY 2 DESC, 1 LIMIT 10",
        "events, 7 days": f"SELECT count(*) AS n FROM clicks WHERE {week}",
        "revenue, 30 days": f"SELECT sum(price) AS revenue, count(*) AS n FROM clicks WHERE {month} AND {bought}",
        "mean basket, 90 days": "SELECT sum(price) / count(price) AS basket, sum(quantity) AS pieces FROM clicks"
        f" WHERE {quarter} AND {bought}",
        "funnel, 30 days": f"SELECT {funnel} FROM clicks WHERE {month}",
        "week beside week": f"SELECT 'this' AS week, count(*) AS n, sum(price) AS revenue FROM clicks WHERE {week}"
        f" UNION ALL SELECT 'last', count(*), sum(price) FROM clicks WHERE {last(7, before=7)} ORDER BY 1",
        "share of channels, 30 days": "SELECT coalesce(channel, 'none') AS channel, count(*) AS n,"
        f" 100.0 * count(*) / sum(count(*)) OVER () AS percent FROM clicks WHERE {month} GROUP BY 1 ORDER BY 1",
        "running revenue by day, 90 days": f"SELECT {day} AS day, sum(sum(price)) OVER (ORDER BY {day}) AS revenue"
        f" FROM clicks WHERE {quarter} GROUP BY 1 ORDER BY 1",
        "mean of 7 days, 90 days": f"WITH days AS (SELECT {day} AS day, count(*) AS n FROM clicks WHERE {quarter}"
        " GROUP BY 1) SELECT day, avg(n) OVER (ORDER BY day ROWS 6 PRECEDING) AS mean FROM days ORDER BY 1",
        "first countries, 30 days": f"SELECT country, count(*) AS n FROM clicks WHERE {month} GROUP BY 1"
        " ORDER BY 2 DESC, 1 LIMIT 10",
        "revenue by country, 90 days": "SELECT country, sum(price) AS revenue, avg(duration) AS duration FROM clicks"
        f" WHERE {quarter} AND {bought} GROUP BY 1 HAVING sum(price) > 1000 ORDER BY 2 DESC, 1 LIMIT 20",
        "three countries by day, 90 days": f"SELECT {day} AS day, country, count(*) AS n FROM clicks WHERE {quarter}"
        " AND country IN ('DA', 'EB', 'FE') GROUP BY 1, 2 ORDER BY 1, 2",
        "channels that were used by day, 90 days": f"SELECT {day} AS day, count(DISTINCT channel) AS n FROM clicks"
        f" WHERE {quarter} GROUP BY 1 ORDER BY 1",
    }
    return tuple(Chart(name=name, sql=sql) for name, sql in found.items())


def _later(start: datetime) -> str:
    return f"event_time >= TIMESTAMP '{start}'"
