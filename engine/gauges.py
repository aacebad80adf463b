"""The engine's gauges: who holds its memory, and the numbers that say how it is doing.

Registered once, when the engine is opened. They read what is there anyway, without a lock, from any thread. What SQL
knows, it registers itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ..storage.files import FileSystem, MemoryFiles
from .aggregates.sample import Sampled
from .apply import State
from .clock import monotonic
from .idle import IdleTransactions
from .inventory import table_facts
from .maintenance import Maintenance, Work
from .memory import Budget, Part
from .metrics import Meters, Metric
from .sequencer import Sequencer
from .snapshot import Pins
from .transaction import Transaction

ID_BYTES: Final = 260
WRITER_BYTES: Final = 4_100
"""What the outcome of a transaction takes, and all that are kept of one writer; measured with tracemalloc."""

_WORK: Final = (
    ("logged_bytes", "bytes", "Bytes of rows that were committed, as of the last checkpoint; only grows."),
    ("flushes", "flushes", "Checkpoints made; only grows."),
    ("flushed_rows", "rows", "Rows that flushes wrote; only grows."),
    ("flushed_bytes", "bytes", "Bytes that flushes wrote; only grows."),
    ("merges", "merges", "Compactions of segments; only grows."),
    ("merged_rows", "rows", "Rows that compactions wrote; only grows."),
    ("merged_bytes", "bytes", "Bytes that compactions wrote; only grows."),
    ("moved_bytes", "bytes", "Bytes that were moved out of files that held little else; only grows."),
    ("dropped_rows", "rows", "Dead row versions that were dropped; only grows."),
)
"""Counters of maintenance; they go on after a restart."""


def register_memory(
    budget: Budget,
    *,
    state: State,
    sequencer: Sequencer,
    maintenance: Maintenance,
    files: FileSystem,
    transactions: Callable[[], Sequence[Transaction]],
) -> None:
    """Who holds the memory."""

    def memtables() -> int:
        return sum(store.memtables_bytes for store in list(state.stores.values()))

    def tables() -> int:
        return sum(store.bytes_used for store in list(state.stores.values()))

    budget.register(
        "memtables",
        lambda: max(memtables() - maintenance.frozen_bytes, 0),
        "The newest rows, not in segments yet, and their indexes.",
        part=Part.MEMTABLES,
    )
    budget.register(
        "orders",
        lambda: sum(store.orders_bytes for store in list(state.stores.values())),
        "What reads of one key's rows keep beside the newest rows, until these are in segments.",
        part=Part.MEMTABLES,
    )
    budget.register(
        "frozen",
        lambda: maintenance.frozen_bytes,
        "Memtables that are being written into segments.",
        part=Part.FROZEN,
    )
    budget.register("overlays", lambda: tables() - memtables(), "Which rows of segments have ended, and when.")
    if isinstance(files, MemoryFiles):
        budget.register("segments", lambda: files.bytes_used, "Segments of a database in memory.")
    budget.register(
        "write_sets",
        lambda: sum(transaction.bytes_used for transaction in transactions()),
        "What open transactions have written and not committed.",
    )
    budget.register(
        "outcomes",
        lambda: ID_BYTES * len(state.transaction_ids) + WRITER_BYTES * len(state.writers),
        "Outcomes of recent transactions and writers, for those that ask again: at most so much.",
    )
    budget.register(
        "conflict_index",
        lambda: sequencer.index.bytes_used,
        "When single rows were changed last: at most so much.",
    )


def register_meters(
    meters: Meters,
    *,
    state: State,
    sequencer: Sequencer,
    maintenance: Maintenance,
    pins: Pins,
    transactions: Callable[[], Sequence[Transaction]],
    idle: IdleTransactions,
) -> None:
    """How the engine is doing."""
    opened = monotonic()
    for name, unit, description, read in (
        ("version", "versions", "The visible version: that of the last commit.", lambda: state.version),
        ("open_seconds", "seconds", "Since the database was opened.", lambda: monotonic() - opened),
        ("snapshots_open", "snapshots", "Snapshots that are open.", lambda: len(pins)),
        ("feeds_named", "feeds", "Change feeds with a name.", lambda: len(state.positions)),
        (
            "transactions_open",
            "transactions",
            "Transactions that are open.",
            lambda: sum(not transaction.ended for transaction in transactions()),
        ),
        (
            "transactions_timed_out",
            "transactions",
            "Transactions that were rolled back because nobody used them any more; only grows.",
            lambda: idle.ended_count,
        ),
        (
            "oldest_pin_lag_versions",
            "versions",
            "How far the oldest open snapshot is behind the visible version.",
            lambda: state.version - pins.oldest(state.version),
        ),
        (
            "late_rows_ignored",
            "rows",
            "Rows that came too late and were left out (late = 'ignore'); only grows.",
            lambda: sequencer.late_rows_ignored,
        ),
        (
            "views_reads",
            "reads",
            "Reads that the materialized views that there are have answered since the database was opened.",
            lambda: sum(served.reads for served in list(state.served.values())),
        ),
        (
            "views_rows_saved",
            "rows",
            "Rows of their tables that these reads did not have to look at.",
            lambda: sum(served.rows_saved for served in list(state.served.values())),
        ),
        (
            "views_not_early",
            "views",
            "Views whose groups a large transaction had too many of to make them before its commit; only grows.",
            lambda: sequencer.views_not_early.value,
        ),
        (
            "windows_scanned",
            "reads",
            "Reads of ends of windows of time, beside buckets of views, that were scans: many rows, or no order yet.",
            lambda: sum(store.windows_scanned for store in list(state.stores.values())),
        ),
        (
            "conflict_index_rows",
            "rows",
            "Rows whose last change commits find without asking the cells; at the limit it begins anew.",
            lambda: sequencer.index.rows_count,
        ),
        (
            "checkpoint_lag_bytes",
            "bytes",
            "Rows in the log since the last checkpoint: what a restart replays.",
            lambda: sequencer.logged_bytes,
        ),
        (
            "checkpoint_version",
            "versions",
            "The version of the last checkpoint.",
            lambda: maintenance.checkpoint_version,
        ),
        (
            "archive_lag_commits",
            "commits",
            "Commits that the log keeps because they could not be archived yet; 0 without an archive.",
            lambda: maintenance.archive_lag,
        ),
    ):
        meters.gauge(name, unit, description, read)
    meters.include(lambda: _sizes(state))
    meters.include(lambda: _work(maintenance.work))
    meters.include(lambda: _sampled(maintenance.sampler.sampled))


def _sizes(state: State) -> list[Metric]:
    facts = list(table_facts(state.catalog, state.stores))
    return [
        _metric("tables_count", len(facts), "tables", "Tables."),
        _metric("rows_count", sum(item.rows_count for item in facts), "rows", "Rows that live now."),
        _metric("cells_count", sum(item.cells_count for item in facts), "cells", "Cells: shard x slice."),
        _metric("segments_count", sum(item.segments_count for item in facts), "segments", "Segments."),
        _metric("segments_bytes", sum(item.disk_bytes for item in facts), "bytes", "What segments take on disk."),
    ]


def _work(work: Work) -> list[Metric]:
    last = f" The last: {work.last_failure.rstrip('.')}." if work.last_failure else ""
    failures = f"Flushes and compactions that failed and are tried again; only grows.{last}"
    return [
        *(_metric(name, getattr(work, name), unit, description) for name, unit, description in _WORK),
        _metric("maintenance_failures", work.failures, "failures", failures),
    ]


def _sampled(sampled: Sampled) -> list[Metric]:
    last = f" The last: {sampled.last}." if sampled.last else ""
    wrong = f"Groups of materialized views that were not what their rows say, of those verified: must stay 0.{last}"
    verified = "Groups of materialized views that were recomputed in the background; only grows."
    passed = "Groups that were not, since too many rows would have to be read; only grows."
    return [
        _metric("view_mismatches", sampled.mismatches, "groups", wrong),
        _metric("view_groups_verified", sampled.groups, "groups", verified),
        _metric("view_groups_passed_over", sampled.passed_over, "groups", passed),
        _metric("view_rows_verified", sampled.rows, "rows", "Rows that were read for it; only grows."),
    ]


def _metric(name: str, value: float, unit: str, description: str) -> Metric:
    return Metric(name=f"weft_{name}", value=value, unit=unit, description=description)
