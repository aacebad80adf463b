"""The data of ``bench query`` and ``bench mixed``: what customers did on a shop's pages, and a table of the customers.

    clicks     customer BIGINT, event_time TIMESTAMP: the primary key
               session BIGINT        some eight events each, many sessions at a time
               action TEXT           8 different values, channel TEXT 6 (2 % NULL), country TEXT 50
               page TEXT             up to 100,000 different ones (1 % NULL), 20 to 45 bytes
               product INTEGER       up to 20,000 (30 % NULL, as is price NUMERIC(12,2))
               quantity SMALLINT     1 to 5 (two thirds NULL)
               duration INTEGER      milliseconds (15 % NULL), score DOUBLE PRECISION, random in all its bits (5 % NULL)
    customers  customer BIGINT, segment TEXT, birth_year INTEGER

One event every 1.296 seconds (or every ``step`` microseconds), in the order of event time, no two at the same
microsecond. Customers (up to 500,000, 40 rows each on average), pages and products are skewed: the most frequent
hundredth of them has a tenth of the rows and more. One row in twenty is *corrected* after all have come: its price and
score change.

Rows are made in chunks of a million with a seed of their own, so that 100,000,000 need no memory, and are always the
same for the same number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from weftdb.bench.data import ORIGIN, STEP_MICROSECONDS

COLUMNS: Final = (
    "customer BIGINT, event_time TIMESTAMP, session BIGINT NOT NULL, action TEXT NOT NULL, channel TEXT,"
    " country TEXT NOT NULL, page TEXT, product INTEGER, quantity SMALLINT, duration INTEGER,"
    " score DOUBLE PRECISION, price NUMERIC(12,2)"
)
CUSTOMER_COLUMNS: Final = "customer BIGINT, segment TEXT, birth_year INTEGER"
ACTIONS: Final = ("view", "search", "cart", "purchase", "login", "share", "review", "refund")
CHANNELS: Final = ("web", "app", "mail", "partner", "shop", "kiosk")
SEGMENTS: Final = ("new", "casual", "regular", "loyal", "business")
COUNTRIES: Final = tuple(f"{first}{second}" for first in "DEFGI" for second in "ABEKLMNRSU")
CHUNK_ROWS: Final = 1_000_000
CORRECTED_EVERY: Final = 20

_SEED: Final = 20261123
_ACTION_SHARES: Final = (0.52, 0.18, 0.1, 0.08, 0.06, 0.03, 0.02, 0.01)
_CHANNEL_SHARES: Final = (0.45, 0.33, 0.12, 0.06, 0.03, 0.01)
_BOUGHT: Final = (2, 3, 7)
"""Actions that have a quantity."""
_AREAS: Final = ("shoes", "shirts", "garden", "kitchen", "books", "toys", "sport", "outlet", "account", "help")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows as they come, as they are in the end, and those that differ."""

    first: pa.Table
    final: pa.Table
    corrected: pa.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Windows of time that questions ask for, whole seconds: in the middle of the data, but ``month`` at its end."""

    day: tuple[datetime, datetime]
    week: tuple[datetime, datetime]
    month: tuple[datetime, datetime]
    span: timedelta

    def share(self, window: tuple[datetime, datetime]) -> float:
        """How much of all event time."""
        return (window[1] - window[0]) / self.span


def bounds(rows: int, *, step: int = STEP_MICROSECONDS) -> Bounds:
    """For a table of ``rows`` rows; shorter windows where those do not fill so much time."""
    span = timedelta(microseconds=step * rows)
    middle, end = (ORIGIN + span / 2).replace(microsecond=0), (ORIGIN + span).replace(microsecond=0)

    def length(wanted: timedelta) -> timedelta:
        return timedelta(seconds=min(wanted, span / 4) // timedelta(seconds=1))

    return Bounds(
        day=(middle, middle + length(timedelta(days=1))),
        week=(middle, middle + length(timedelta(days=7))),
        month=(end - length(timedelta(days=30)), end),
        span=span,
    )


def customers_count(rows: int) -> int:
    """How many customers have ``rows`` rows."""
    return max(1, min(500_000, rows // 40))


def chunks(rows: int, *, step: int = STEP_MICROSECONDS) -> Iterator[Chunk]:
    """All rows of a table of ``rows``, in the order of event time."""
    pages = pa.array(_pages(max(20, min(100_000, rows // 50))))
    for number in range((rows + CHUNK_ROWS - 1) // CHUNK_ROWS):
        yield _chunk(number, min(CHUNK_ROWS, rows - number * CHUNK_ROWS), rows=rows, step=step, pages=pages)


def customers(rows: int) -> pa.Table:
    """The table of customers to ``rows`` rows."""
    random = np.random.default_rng(_SEED)
    count = customers_count(rows)
    return pa.table(
        {
            "customer": pa.array(np.arange(1, count + 1)),
            "segment": _texts(random.integers(0, len(SEGMENTS), count), SEGMENTS),
            "birth_year": pa.array(random.integers(1940, 2010, count).astype(np.int32)),
        }
    )


def _chunk(number: int, count: int, *, rows: int, step: int, pages: pa.Array) -> Chunk:
    random = np.random.default_rng([_SEED, number])
    at = np.arange(count, dtype=np.int64) + number * CHUNK_ROWS
    times = at * step + random.integers(0, step, count)
    actions = random.choice(len(ACTIONS), count, p=_ACTION_SHARES)
    priced = random.random(count) < 0.7
    products = _skewed(random, count, max(10, min(20_000, rows // 100)), power=3)
    cents = np.round(np.exp(random.normal(3.2, 1.0, count)) * 100).astype(np.int64)
    scores = random.random(count)
    scored = random.random(count) < 0.95
    columns = {
        "customer": pa.array(_skewed(random, count, customers_count(rows), power=2) + 1),
        "event_time": pa.array(times + int((ORIGIN - datetime(1970, 1, 1)).total_seconds()) * 1_000_000).cast(
            pa.timestamp("us")
        ),
        "session": pa.array((at + random.integers(0, 5_000, count)) // 8),
        "action": _texts(actions, ACTIONS),
        "channel": _texts(
            random.choice(len(CHANNELS), count, p=_CHANNEL_SHARES), CHANNELS, null=random.random(count) < 0.02
        ),
        "country": _texts(_skewed(random, count, len(COUNTRIES), power=2), COUNTRIES),
        "page": _texts(_skewed(random, count, len(pages), power=3), pages, null=random.random(count) < 0.01),
        "product": pa.array(products.astype(np.int32), mask=~priced),
        "quantity": pa.array(
            random.integers(1, 6, count).astype(np.int16), mask=~(np.isin(actions, _BOUGHT) | (products % 7 == 0))
        ),
        "duration": pa.array(random.exponential(4_000, count).astype(np.int32), mask=random.random(count) < 0.15),
        "score": pa.array(scores, mask=~scored),
        "price": _money(cents, priced),
    }
    changed = at % CORRECTED_EVERY == 7
    final = {
        **columns,
        "score": pa.array(np.where(changed, scores / 2, scores), mask=~scored),
        "price": _money(np.where(changed, cents + 100, cents), priced),
    }
    return Chunk(first=pa.table(columns), final=pa.table(final), corrected=pa.table(final).filter(pa.array(changed)))


def _skewed(random: np.random.Generator, count: int, values: int, *, power: int) -> np.ndarray:
    """Numbers below ``values``; the density of u ** power falls from 0 on. Scattered, so that neighbours differ."""
    ranks = (random.random(count) ** power * values).astype(np.int64)
    return ranks * 7_919 % values if values % 7_919 else ranks


def _texts(codes: np.ndarray, values: tuple[str, ...] | pa.Array, *, null: np.ndarray | None = None) -> pa.Array:
    indices = pa.array(codes.astype(np.int32), mask=null)
    return pa.array(values, pa.string()).take(indices) if isinstance(values, tuple) else values.take(indices)


def _pages(count: int) -> list[str]:
    """Paths; the number makes each different."""
    tails = ("", "?ref=mail", "?ref=ad&campaign=winter", "?sort=price")
    return [f"/{_AREAS[n * 31 % 10]}/{n % 97:02d}/item-{n:06d}.html{tails[n * 17 % 4]}" for n in range(count)]


def _money(cents: np.ndarray, there: np.ndarray) -> pa.Array:
    """NUMERIC(12,2): 128 bits a value, the upper half 0, for nothing here is negative."""
    halves = np.zeros((len(cents), 2), np.int64)
    halves[:, 0] = cents
    valid = pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(cents), [valid, pa.py_buffer(halves)])
