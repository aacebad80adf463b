"""The data of all workloads: events of devices, in the order of their event time, and a dimension table.

    events   device BIGINT, event_time TIMESTAMP, kind SMALLINT, amount DOUBLE PRECISION [, channel TEXT]
    devices  device BIGINT, region TEXT, birth_year INTEGER

One event every 1.296 seconds, so that 2,000,000 of them fill 30 days and more rows mean more days, not denser ones;
within its interval each event lies at a random microsecond, so no two share an event time. Devices are drawn
uniformly: every commit of 50,000 rows touches tens of thousands of them, which is the hard case for any index on
(device, event_time). Amounts are whole cents and never negative, so a sum is also its sum of absolutes.

Always the same for the same number of rows: one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SEED: Final = 20260105
ORIGIN: Final = datetime(2026, 1, 5)
STEP_MICROSECONDS: Final = 1_296_000
DEVICES_MAX: Final = 100_000
KINDS: Final = 10
CHANNELS: Final = ("app", "web", "shop", "phone", "partner", "kiosk")
REGIONS: Final = ("north", "south", "east", "west", "centre", "islands", "abroad", "unknown")
ROWS_PER_COMMIT: Final = 50_000

_ORIGIN_MICROSECONDS: Final = int(ORIGIN.replace(tzinfo=UTC).timestamp()) * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of ``events`` as Python values; ``event_time`` is naive."""

    device: int
    event_time: datetime
    kind: int
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What ``check`` compares over a whole table; sums of integers are exact, ``amounts`` to 1e-9 of itself."""

    rows: int
    devices: int
    kinds: int
    amounts: float

    def differs_from(self, other: Totals) -> bool:
        exact = (self.rows, self.devices, self.kinds) == (other.rows, other.devices, other.kinds)
        return not exact or not close(self.amounts, other.amounts)


def close(left: float, right: float) -> bool:
    """Equal to 1e-9 of their size; the sums compared here are of values that are never negative."""
    return abs(left - right) <= 1e-9 * max(abs(left), abs(right))


def devices_count(rows: int) -> int:
    """How many devices send ``rows`` events: at least 20 events each, at most 100,000 devices."""
    return max(1, min(DEVICES_MAX, rows // 20))


def events(rows: int, *, channel: bool = False) -> pa.Table:
    """``rows`` events, in one chunk; with the low-cardinality text column where ``channel`` is set."""
    random = np.random.default_rng(SEED)
    times = np.arange(rows, dtype=np.int64) * STEP_MICROSECONDS + _ORIGIN_MICROSECONDS
    times += random.integers(0, STEP_MICROSECONDS, rows)
    columns = {
        "device": pa.array(random.integers(1, devices_count(rows) + 1, rows)),
        "event_time": pa.array(times).cast(pa.timestamp("us")),
        "kind": pa.array(random.integers(0, KINDS, rows).astype(np.int16)),
        "amount": pa.array(np.round(random.exponential(20.0, rows), 2)),
    }
    if channel:
        picks = random.choice(len(CHANNELS), rows, p=(0.4, 0.3, 0.15, 0.1, 0.04, 0.01)).astype(np.int8)
        columns["channel"] = pa.DictionaryArray.from_arrays(picks, list(CHANNELS)).cast(pa.string())
    return pa.table(columns)


def devices(rows: int) -> pa.Table:
    """The dimension table to ``rows`` events."""
    random = np.random.default_rng(SEED + 1)
    count = devices_count(rows)
    regions = random.integers(0, len(REGIONS), count).astype(np.int8)
    return pa.table(
        {
            "device": pa.array(np.arange(1, count + 1)),
            "region": pa.DictionaryArray.from_arrays(regions, list(REGIONS)).cast(pa.string()),
            "birth_year": pa.array(random.integers(1940, 2010, count).astype(np.int32)),
        }
    )


def commits(table: pa.Table, *, rows: int = ROWS_PER_COMMIT) -> list[pa.RecordBatch]:
    """The table cut into batches of one commit each."""
    return table.combine_chunks().to_batches(max_chunksize=rows)


def totals_of(table: pa.Table) -> Totals:
    return Totals(
        rows=table.num_rows,
        devices=pc.sum(table["device"]).as_py() or 0,
        kinds=pc.sum(table["kind"]).as_py() or 0,
        amounts=pc.sum(table["amount"]).as_py() or 0.0,
    )


def sample(table: pa.Table, count: int, *, seed: int) -> list[Event]:
    """``count`` events (or all, if there are fewer) drawn without repetition, in random order."""
    random = np.random.default_rng(seed)
    picks = random.permutation(table.num_rows)[:count]
    names = ["device", "event_time", "kind", "amount"]
    return [Event(**row) for row in table.select(names).take(pa.array(picks)).to_pylist()]
