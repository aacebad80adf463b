"""Two years of events, made commit by commit: the data of ``growth``, ``series`` and ``restart``.

The table of ``data`` (device BIGINT, event_time TIMESTAMP, kind SMALLINT, amount DOUBLE PRECISION), made for sizes that
no process should hold at once:

- Any commit can be made on its own: its rows are a function of ``rows`` and its number. So a run that was interrupted
  goes on where it stopped, and a second process can tell what the first one must have written.
- 100 rows per device (1,000,000 devices at 100 M rows), drawn uniformly, so that no order of the keys helps.
- Event times are whole milliseconds over two years (730 days from Monday 2024-01-01) in ascending order, but 1 % of the
  rows come late: by 3 days on average (exponentially distributed), at most 30 days.
- Primary keys (device, event_time) are unique: on time means an even number of milliseconds that no other row on time
  has, late an odd one. Two late rows of one device could meet in theory; for the seed and the sizes in use none do, and
  an INSERT would say so.
- Amounts are random in all 53 bits, the case in which no encoding helps.

A smaller history has the same two years and the same rows per device, only fewer of both rows and devices: it is the
same table, thinner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from weftdb.bench.data import KINDS, ROWS_PER_COMMIT, SEED, Event, Totals
from weftdb.bench.systems import Window, WrongAnswer

ORIGIN: Final = datetime(2024, 1, 1)
DAYS: Final = 730
ROWS_PER_DEVICE: Final = 100
LATE_SHARE: Final = 0.01
LATE_MEAN_DAYS: Final = 3
LATE_MAX_DAYS: Final = 30
RAW_BYTES_PER_ROW: Final = 8 + 8 + 2 + 8
"""Of the four columns as Arrow arrays without NULLs: what sizes on disk are compared with."""

# Event times count pairs of milliseconds, so that late rows can have the odd ones.
_PAIRS_PER_DAY: Final = 86_400_000 // 2
_PAIRS: Final = DAYS * _PAIRS_PER_DAY
_ORIGIN_MILLISECONDS: Final = int(ORIGIN.replace(tzinfo=UTC).timestamp()) * 1_000
SCHEMA: Final = pa.schema(
    [("device", pa.int64()), ("event_time", pa.timestamp("us")), ("kind", pa.int16()), ("amount", pa.float64())]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """``rows`` events in commits of ``rows_per_commit`` (the last one may hold fewer).

    Commits beyond the last one exist as well: time goes on, full commit by full commit. ``restart`` kills a system in
    the middle of them.
    """

    rows: int
    rows_per_commit: int = ROWS_PER_COMMIT

    @property
    def devices(self) -> int:
        return max(1, self.rows // ROWS_PER_DEVICE)

    @property
    def commits_count(self) -> int:
        return -(-self.rows // self.rows_per_commit)

    def rows_of(self, commit: int) -> int:
        """How many rows the commit with this number (from 0) has."""
        left = self.rows - commit * self.rows_per_commit
        return min(self.rows_per_commit, left) if left > 0 else self.rows_per_commit

    def commits_of(self, rows: int) -> int:
        """How many commits have been made where there are ``rows`` rows. Raises WrongAnswer for a part of one."""
        beyond = max(0, rows - self.rows)
        within = rows - beyond
        if beyond % self.rows_per_commit or (within % self.rows_per_commit and within != self.rows):
            raise WrongAnswer(f"{rows:,} rows are no whole number of commits of {self.rows_per_commit:,}")
        return -(-within // self.rows_per_commit) + beyond // self.rows_per_commit

    def commit(self, number: int) -> pa.RecordBatch:
        """The rows of one commit; about 1 ms per 50,000."""
        columns = self._columns(number)
        times = pa.array(columns[1]).cast(pa.timestamp("us"))
        return pa.RecordBatch.from_arrays(
            [pa.array(columns[0]), times, pa.array(columns[2]), pa.array(columns[3])], schema=SCHEMA
        )

    def commits(self, first: int = 0, last: int | None = None) -> Iterator[pa.RecordBatch]:
        """Commits ``first`` up to but not ``last``, or to the end."""
        for number in range(first, self.commits_count if last is None else last):
            yield self.commit(number)

    def _columns(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Device, event time in microseconds, kind, amount."""
        random = np.random.Generator(np.random.SFC64([SEED, self.rows, number]))
        count = self.rows_of(number)
        place = number * self.rows_per_commit + np.arange(count, dtype=np.int64)
        step = max(1, _PAIRS // self.rows)
        pairs = place * _PAIRS // self.rows + random.integers(0, step, count)
        late = np.flatnonzero(random.random(count, np.float32) < LATE_SHARE)
        delay = np.minimum(random.exponential(LATE_MEAN_DAYS, len(late)), LATE_MAX_DAYS) * _PAIRS_PER_DAY
        delay = delay.astype(np.int64) % (pairs[late] + 1)  # nothing is older than the history
        milliseconds = pairs * 2
        milliseconds[late] = (pairs[late] - delay) * 2 + 1
        return (
            random.integers(1, self.devices + 1, count),
            (milliseconds + _ORIGIN_MILLISECONDS) * 1_000,
            random.integers(0, KINDS, count, dtype=np.int16),
            random.random(count),
        )

    def totals(self, commits: int | None = None) -> Totals:
        """Of the first ``commits`` commits, or of all."""
        devices = kinds = rows = 0
        amounts = 0.0
        for number in range(self.commits_count if commits is None else commits):
            device, _, kind, amount = self._columns(number)
            rows += len(device)
            devices += int(device.sum())
            kinds += int(kind.sum(dtype=np.int64))
            amounts += float(amount.sum())
        return Totals(rows=rows, devices=devices, kinds=kinds, amounts=amounts)

    def events_of(self, devices: Sequence[int]) -> dict[int, list[Event]]:
        """All events of some devices, in the order of their time: the right answers of ``bench series``."""
        wanted = np.zeros(self.devices + 1, bool)
        wanted[list(devices)] = True
        found: dict[int, list[Event]] = {device: [] for device in devices}
        for number in range(self.commits_count):
            columns = self._columns(number)
            rows = np.flatnonzero(wanted[columns[0]])
            for device, time, kind, amount in zip(*(column[rows].tolist() for column in columns), strict=True):
                moment = datetime(1970, 1, 1) + timedelta(microseconds=time)
                found[device].append(Event(device=device, event_time=moment, kind=kind, amount=amount))
        return {device: sorted(events, key=lambda event: event.event_time) for device, events in found.items()}

    def sample(self, count: int, *, seed: int, commits: int | None = None) -> list[Event]:
        """Some events out of the first ``commits`` commits (or of all), from few commits, so that it is cheap."""
        random = np.random.default_rng(seed)
        last = self.commits_count if commits is None else commits
        numbers = random.permutation(last)[: max(1, min(20, count))]
        each = -(-count // len(numbers))
        events: list[Event] = []
        for number in numbers.tolist():
            batch = self.commit(number)
            picks = pa.array(random.permutation(batch.num_rows)[:each])
            events += [Event(**row) for row in batch.take(picks).to_pylist()]
        return events[:count]

    def windows(self, count: int, *, days: int, seed: int) -> list[Window]:
        """``count`` windows of ``days`` days, device and begin drawn at random."""
        random = np.random.default_rng(seed)
        devices = random.integers(1, self.devices + 1, count).tolist()
        begins = random.integers(0, (DAYS - days) * 86_400 + 1, count).tolist()
        windows: list[Window] = []
        for device, begin in zip(devices, begins, strict=True):
            lower = ORIGIN + timedelta(seconds=begin)
            windows.append(Window(device=device, lower=lower, upper=lower + timedelta(days=days)))
        return windows
