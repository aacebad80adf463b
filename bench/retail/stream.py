"""Write the stream through one connection, a purchase at a time, while another one asks analytical questions about it.

What is checked on the way, on every answer: it contains every row that was acknowledged before the question was asked
(fresh, no batch window), it never contains fewer rows than the answer before, and never more than were sent.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import weftdb
from weftdb.bench.retail.statements import FRESH
from weftdb.server.progress import Progress

_CHUNK_ROWS = 2_000
_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of the second connection, ``at`` seconds after the stream began."""

    at: float
    seconds: float
    acknowledged_before: int
    rows: int
    households: int
    sales: float
    newest: datetime


@dataclass(slots=True, kw_only=True)
class Streamed:
    """What became of the stream."""

    rows: int = 0
    seconds: float = 0.0
    answers: list[Answer] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def stream(url: str, transactions: pa.Table, progress: Progress) -> Streamed:
    """Write all ``transactions`` in their order; answers are printed as they come. Raises what either side raises."""
    outcome = Streamed()
    with weftdb.connect(url) as database, _Watcher(url) as watcher:
        begin = time.perf_counter()
        watcher.begin = begin
        with database.table("transactions").writer() as writer:
            for purchases in _chunks(transactions):
                for purchase in purchases:
                    writer.put(purchase)
                watcher.acknowledged = writer.rows_acknowledged
                progress.update(writer.rows_acknowledged)
                _print_answers(watcher, outcome, progress)
            writer.flush()
            outcome.rows = watcher.acknowledged = writer.rows_acknowledged
            outcome.seconds = time.perf_counter() - begin
        progress.update(outcome.rows)
    _print_answers(watcher, outcome, progress)
    if watcher.error is not None:
        raise watcher.error
    _check(outcome.answers, sent=transactions.num_rows)
    return outcome


def _chunks(transactions: pa.Table) -> Iterator[Iterator[tuple[Any, ...]]]:
    """The purchases as tuples, in the order in which they happened."""
    for batch in transactions.to_batches(max_chunksize=_CHUNK_ROWS):
        columns = [
            column.cast(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column
            for column in batch.columns
        ]
        yield zip(*(column.to_pylist() for column in columns), strict=True)


class _Watcher:
    """A thread with a connection of its own that asks twice a second, until the block ends."""

    def __init__(self, url: str) -> None:
        self.acknowledged = 0
        self.begin = time.perf_counter()
        self.answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="second connection")

    def __enter__(self) -> _Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with weftdb.connect(self._url) as database:
                while not self._ended.wait(_EVERY_SECONDS):
                    self.answers.put(self._ask(database))
        except BaseException as error:
            self.error = error

    def _ask(self, database: Any) -> Answer:
        acknowledged = self.acknowledged
        begin = time.perf_counter()
        rows, households, sales, newest = database.execute(FRESH).rows()[0]
        return Answer(
            at=begin - self.begin,
            seconds=time.perf_counter() - begin,
            acknowledged_before=acknowledged,
            rows=rows,
            households=households,
            sales=sales or 0.0,
            newest=newest,
        )


def _print_answers(watcher: _Watcher, outcome: Streamed, progress: Progress) -> None:
    while not watcher.answers.empty():
        answer = watcher.answers.get()
        outcome.answers.append(answer)
        sales = f"${answer.sales:,.2f}"
        progress.note(
            f"      {answer.at:4.1f} s  SQL sees {answer.rows:>9,} rows, {answer.households:>5,} households, "
            f"{sales:>13} up to {answer.newest:%Y-%m-%d}   ({answer.seconds * 1000:4.0f} ms)"
        )


def _check(answers: list[Answer], *, sent: int) -> None:
    before = 0
    for answer in answers:
        assert answer.rows >= answer.acknowledged_before, f"an acknowledged row is missing: {answer}"
        assert before <= answer.rows <= sent, f"{before} rows before, {sent} sent: {answer}"
        before = answer.rows
