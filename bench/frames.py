"""Polars as a peer of ``bench query``: a data frame, asked by lazy expressions, its own best way.

The rows are written to Parquet files outside every clock. Up to ``IN_MEMORY_ROWS`` they are read into memory in the
order of event time and marked as sorted by it, text of few values as categories; beyond, they are scanned where they
lie, by the streaming engine. There are no transactions and no updates: the frame is made of the rows as they are in
the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from weftdb.bench.clicks import ACTIONS, Bounds
from weftdb.bench.systems import Missing

IN_MEMORY_ROWS: Final = 30_000_000
_CATEGORIES: Final = ("action", "channel", "country")


class PolarsFrame:
    """``clicks`` as a lazy frame."""

    name = "Polars"

    def __init__(self, bounds: Bounds, *, rows: int, threads: int) -> None:
        os.environ.setdefault("POLARS_MAX_THREADS", str(threads))  # read when it is imported
        try:
            import polars
        except ImportError as error:
            raise Missing("package polars is not installed (pip install polars)") from error
        self._in_memory = rows <= IN_MEMORY_ROWS
        self._polars: Any = polars
        self._frame: Any = None
        self._ask: Mapping[str, Callable[[Any], Any]] = _questions(polars, bounds)

    def open(self, folder: Path) -> None:
        """The files that ``store`` wrote."""
        column, rows = self._polars.col, self._polars.scan_parquet(str(folder / "*.parquet"))
        rows = rows.with_columns(column(_CATEGORIES).cast(self._polars.Categorical))
        if self._in_memory:
            rows = rows.collect().lazy()
        self._frame = rows.with_columns(column("event_time").set_sorted())

    def answers(self, question: str) -> bool:
        """Whether it is asked this."""
        return question in self._ask

    def execute(self, question: str) -> pa.Table:
        """The answer to the question of this name."""
        return self.collected(question).to_arrow()

    def collected(self, question: str) -> Any:
        """The same, as Polars has it."""
        engine = "auto" if self._in_memory else "streaming"
        return self._ask[question](self._frame).collect(engine=engine)

    def close(self) -> None:
        self._frame = None


def store(folder: Path, number: int, rows: pa.Table) -> None:
    """Keep a chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / f"{number:05d}.parquet")


def _questions(pl: Any, bounds: Bounds) -> dict[str, Callable[[Any], Any]]:
    """By the names in ``questions``: frame -> lazy frame."""
    col, count = pl.col, pl.len().cast(pl.Int64).alias("n")

    def during(window: tuple[Any, Any]) -> Any:
        return (col("event_time") >= window[0]) & (col("event_time") < window[1])

    def buckets(every: str, name: str) -> Any:
        return col("event_time").dt.truncate(every).alias(name)

    def text(name: str) -> Any:
        return col(name).cast(pl.String)

    bought = col("action") == "purchase"
    funnel = [(col("action") == name).sum().cast(pl.Int64).alias(f"{name}s") for name in ACTIONS[:4]]
    return {
        "how many, from when to when": lambda frame: frame.select(
            count, col("event_time").min().alias("oldest"), col("event_time").max().alias("newest")
        ),
        "all purchases": lambda frame: frame.filter(bought).select(
            count, col("price").sum().alias("total"), col("price").mean().alias("mean")
        ),
        "filter on three numbers": lambda frame: frame.filter(
            col("duration").is_between(2000, 9000) & (col("score") < 0.5) & (col("quantity") >= 3)
        ).select(count, col("score").sum().alias("total")),
        "one week of one channel": lambda frame: frame.filter(during(bounds.week) & (col("channel") == "app")).select(
            count, col("price").sum().alias("total"), col("duration").mean().alias("mean")
        ),
        "one day by minute": lambda frame: (
            frame.filter(during(bounds.day))
            .group_by(buckets("1m", "minute"))
            .agg(count, col("duration").mean().alias("mean"))
            .sort("minute")
        ),
        "by action": lambda frame: (
            frame.group_by("action")
            .agg(count, col("duration").mean().alias("mean"), col("score").max().alias("best"))
            .with_columns(text("action"))
            .sort("action")
        ),
        "by country and channel": lambda frame: (
            frame.group_by("country", "channel")
            .agg(count, col("price").mean().alias("mean"))
            .with_columns(text("country"), text("channel"))
            .sort("country", "channel", nulls_last=True)
        ),
        "by day": lambda frame: (
            frame.group_by(buckets("1d", "day"))
            .agg(count, col("price").sum().alias("total"), col("score").mean().alias("mean"))
            .sort("day")
        ),
        "purchases of one country by hour": lambda frame: (
            frame.filter(bought & (col("country") == "DE"))
            .group_by(buckets("1h", "hour"))
            .agg(count, col("quantity").cast(pl.Int64).sum().alias("pieces"))
            .sort("hour")
        ),
        "10 best customers": lambda frame: (
            frame.filter(col("price").is_not_null())
            .group_by("customer")
            .agg(col("price").sum().alias("total"), count)
            .sort("total", "customer", descending=[True, False])
            .head(10)
        ),
        "10 most read pages": lambda frame: (
            frame.filter(col("page").is_not_null())
            .group_by("page")
            .agg(count, col("duration").cast(pl.Int64).sum().alias("spent"))
            .sort("n", "page", descending=[True, False])
            .head(10)
        ),
        "10 products by value sold": lambda frame: (
            frame.filter(bought & col("product").is_not_null())
            .group_by("product")
            .agg((col("price") * col("quantity")).sum().alias("value"), count)
            .filter(col("n") >= 2)
            .sort("value", "product", descending=[True, False])
            .head(10)
        ),
        "customers per month": lambda frame: (
            frame.group_by(buckets("1mo", "month"))
            .agg(col("customer").n_unique().cast(pl.Int64).alias("customers"))
            .sort("month")
        ),
        "how many sessions": lambda frame: frame.select(col("session").n_unique().cast(pl.Int64).alias("sessions")),
        "pages LIKE": lambda frame: frame.filter(col("page").str.contains("/shoes/.*campaign=winter")).select(
            count, col("duration").cast(pl.Int64).sum().alias("spent")
        ),
        "funnel by country": lambda frame: (
            frame.group_by("country").agg(funnel).with_columns(text("country")).sort("country")
        ),
        "customers by number of purchases": lambda frame: (
            frame.filter(bought)
            .group_by("customer")
            .agg(count)
            .group_by("n")
            .agg(pl.len().cast(pl.Int64).alias("customers"))
            .sort("n")
        ),
        "one customer's month": lambda frame: (
            frame.filter((col("customer") == 1) & during(bounds.month))
            .select("event_time", text("action"), "page", "price")
            .sort("event_time")
        ),
        "20 largest purchases": lambda frame: (
            frame.filter(bought & col("price").is_not_null())
            .select("customer", "event_time", "product", "price")
            .sort("price", "event_time", descending=[True, False])
            .head(20)
        ),
        "newest action of each customer": lambda frame: (
            frame.filter(during(bounds.week))
            .sort("event_time")
            .unique("customer", keep="last")
            .group_by("action")
            .agg(count)
            .with_columns(text("action"))
            .sort("action")
        ),
    }
