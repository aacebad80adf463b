"""The questions of ``bench query`` about the clicks of a shop: one SQL text each for WeftDB, DuckDB and ClickHouse.

Twenty ask one table what analysts ask: totals, filters by numbers, text and time, groups of few and of many values,
time buckets, the largest and the newest, distinct counts, LIKE, CASE, the rows of one customer. Three more join or
rank, and are no part of the mean. Each ends in an ORDER BY that leaves no ties, so that answers can be compared row
by row.

Polars is asked by its own expressions, see ``frames``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from weftdb.bench.clicks import ACTIONS, Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query of ``clicks``; ``name`` says in few words what it does.

    ``columns`` are those that no system can do without, ``share`` is the part of the rows that its conditions on
    customer and event time leave: together the bytes that it has to touch.
    """

    name: str
    sql: str
    columns: tuple[str, ...] = ()
    share: float = 1.0


def questions(bounds: Bounds) -> tuple[Question, ...]:
    """The twenty."""
    day, week, month = (_during(window) for window in (bounds.day, bounds.week, bounds.month))
    funnel = ", ".join(f"sum(CASE WHEN action = '{name}' THEN 1 ELSE 0 END) AS {name}s" for name in ACTIONS[:4])
    return (
        Question(
            name="how many, from when to when",
            sql="SELECT count(*) AS n, min(event_time) AS oldest, max(event_time) AS newest FROM clicks",
            columns=("event_time",),
        ),
        Question(
            name="all purchases",
            sql="SELECT count(*) AS n, sum(price) AS total, avg(price) AS mean FROM clicks WHERE action = 'purchase'",
            columns=("action", "price"),
        ),
        Question(
            name="filter on three numbers",
            sql="SELECT count(*) AS n, sum(score) AS total FROM clicks"
            " WHERE duration BETWEEN 2000 AND 9000 AND score < 0.5 AND quantity >= 3",
            columns=("duration", "score", "quantity"),
        ),
        Question(
            name="one week of one channel",
            sql="SELECT count(*) AS n, sum(price) AS total, avg(duration) AS mean FROM clicks"
            f" WHERE {week} AND channel = 'app'",
            columns=("event_time", "channel", "price", "duration"),
            share=bounds.share(bounds.week),
        ),
        Question(
            name="one day by minute",
            sql="SELECT date_trunc('minute', event_time) AS minute, count(*) AS n, avg(duration) AS mean"
            f" FROM clicks WHERE {day} GROUP BY 1 ORDER BY 1",
            columns=("event_time", "duration"),
            share=bounds.share(bounds.day),
        ),
        Question(
            name="by action",
            sql="SELECT action, count(*) AS n, avg(duration) AS mean, max(score) AS best"
            " FROM clicks GROUP BY action ORDER BY action",
            columns=("action", "duration", "score"),
        ),
        Question(
            name="by country and channel",
            sql="SELECT country, channel, count(*) AS n, avg(price) AS mean"
            " FROM clicks GROUP BY country, channel ORDER BY country, channel NULLS LAST",
            columns=("country", "channel", "price"),
        ),
        Question(
            name="by day",
            sql="SELECT date_trunc('day', event_time) AS day, count(*) AS n, sum(price) AS total, avg(score) AS mean"
            " FROM clicks GROUP BY 1 ORDER BY 1",
            columns=("event_time", "price", "score"),
        ),
        Question(
            name="purchases of one country by hour",
            sql="SELECT date_trunc('hour', event_time) AS hour, count(*) AS n, sum(quantity) AS pieces"
            " FROM clicks WHERE action = 'purchase' AND country = 'DE' GROUP BY 1 ORDER BY 1",
            columns=("event_time", "action", "country", "quantity"),
        ),
        Question(
            name="10 best customers",
            sql="SELECT customer, sum(price) AS total, count(*) AS n FROM clicks WHERE price IS NOT NULL"
            " GROUP BY customer ORDER BY total DESC, customer LIMIT 10",
            columns=("customer", "price"),
        ),
        Question(
            name="10 most read pages",
            sql="SELECT page, count(*) AS n, sum(duration) AS spent FROM clicks WHERE page IS NOT NULL"
            " GROUP BY page ORDER BY n DESC, page LIMIT 10",
            columns=("page", "duration"),
        ),
        Question(
            name="10 products by value sold",
            sql="SELECT product, sum(price * quantity) AS value, count(*) AS n FROM clicks"
            " WHERE action = 'purchase' AND product IS NOT NULL"
            " GROUP BY product HAVING count(*) >= 2 ORDER BY value DESC, product LIMIT 10",
            columns=("action", "product", "price", "quantity"),
        ),
        Question(
            name="customers per month",
            sql="SELECT date_trunc('month', event_time) AS month, count(DISTINCT customer) AS customers"
            " FROM clicks GROUP BY 1 ORDER BY 1",
            columns=("event_time", "customer"),
        ),
        Question(
            name="how many sessions",
            sql="SELECT count(DISTINCT session) AS sessions FROM clicks",
            columns=("session",),
        ),
        Question(
            name="pages LIKE",
            sql="SELECT count(*) AS n, sum(duration) AS spent FROM clicks WHERE page LIKE '%/shoes/%campaign=winter%'",
            columns=("page", "duration"),
        ),
        Question(
            name="funnel by country",
            sql=f"SELECT country, {funnel} FROM clicks GROUP BY country ORDER BY country",
            columns=("country", "action"),
        ),
        Question(
            name="customers by number of purchases",
            sql="SELECT n, count(*) AS customers FROM (SELECT customer, count(*) AS n FROM clicks"
            " WHERE action = 'purchase' GROUP BY customer) AS buyers GROUP BY n ORDER BY n",
            columns=("customer", "action"),
        ),
        Question(
            name="one customer's month",
            sql="SELECT event_time, action, page, price FROM clicks"
            f" WHERE customer = 1 AND {month} ORDER BY event_time",
            columns=("customer", "event_time", "action", "page", "price"),
            share=0.0,
        ),
        Question(
            name="20 largest purchases",
            sql="SELECT customer, event_time, product, price FROM clicks"
            " WHERE action = 'purchase' AND price IS NOT NULL ORDER BY price DESC, event_time LIMIT 20",
            columns=("action", "price"),
        ),
        Question(
            name="newest action of each customer",
            sql=f"SELECT action, count(*) AS n FROM (SELECT customer, action, row_number() OVER"
            f" (PARTITION BY customer ORDER BY event_time DESC) AS place FROM clicks WHERE {week}) AS newest"
            " WHERE place = 1 GROUP BY action ORDER BY action",
            columns=("customer", "event_time", "action"),
            share=bounds.share(bounds.week),
        ),
    )


def further_questions(bounds: Bounds) -> tuple[Question, ...]:
    """Joins and ranks: the relational executor's, whoever groups."""
    return (
        Question(
            name="join: purchases by segment",
            sql="SELECT c.segment, count(*) AS n, sum(e.price) AS total"
            " FROM clicks AS e JOIN customers AS c ON c.customer = e.customer"
            " WHERE c.birth_year >= 1990 AND e.action = 'purchase' GROUP BY c.segment ORDER BY c.segment",
        ),
        Question(
            name="anti-join: carts without purchase",
            sql="SELECT count(DISTINCT a.customer) AS n FROM clicks AS a"
            f" WHERE a.action = 'cart' AND {_during(bounds.month, 'a.event_time')} AND a.customer NOT IN"
            " (SELECT b.customer FROM clicks AS b"
            f" WHERE b.action = 'purchase' AND {_during(bounds.month, 'b.event_time')})",
        ),
        Question(
            name="window: best channels per day",
            sql="WITH daily AS (SELECT date_trunc('day', event_time) AS day, channel, sum(price) AS total"
            " FROM clicks WHERE channel IS NOT NULL AND price IS NOT NULL GROUP BY 1, 2),"
            " ranked AS (SELECT day, channel, total,"
            " rank() OVER (PARTITION BY day ORDER BY total DESC) AS place FROM daily)"
            " SELECT day, channel, total, place FROM ranked WHERE place <= 2 ORDER BY day, place, channel",
        ),
    )


def _during(window: tuple[datetime, datetime], name: str = "event_time") -> str:
    return f"{name} >= TIMESTAMP '{window[0]}' AND {name} < TIMESTAMP '{window[1]}'"
