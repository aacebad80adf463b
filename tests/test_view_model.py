"""Materialized views against their recomputation: random tables, views, changes of every kind, snapshots, restarts.

The model is support/view_world.py; what it says a view shows is computed in plain Python (support/view_oracle.py). Here
it is run, a little in `make test`, 50,000 steps and more in `make soak`; and it is shown that it notices what breaks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soak
import view_world
from weftdb.base.errors import Internal
from weftdb.engine.aggregates import groups, maintain, values
from weftdb.engine.aggregates.build import BuildingView
from weftdb.engine.aggregates.groups import Grouper
from weftdb.engine.cells import TableStore
from weftdb.engine.expression.functions import temporal_vector
from weftdb.engine.snapshot import Snapshot
from weftdb.sql.matching import match, ways

STEPS = 40 if soak.FACTOR == 1 else 300
WORLDS = range(1000 * soak.SEED, 1000 * soak.SEED + 4 * soak.FACTOR)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", list(WORLDS))
def test_views_show_what_their_queries_give(seed: int, tmp_path: Path) -> None:
    counts = view_world.soak(seed, STEPS, tmp_path / "data")
    assert counts["views read"] > STEPS / 4, counts
    assert counts["groups read"] > STEPS / 2, counts


# -- it notices -----------------------------------------------------------------------------------------------------

Patch = pytest.MonkeyPatch


def updates_forget_the_row_before(patch: Patch) -> None:
    plain = maintain._signed

    def signed(change: Any, names: list[str]) -> Any:
        rows, signs = plain(change, names)
        return (rows, signs) if isinstance(signs, int) else (change.new.select(names), 1)

    patch.setattr(maintain, "_signed", signed)


def buckets_end_late(patch: Patch) -> None:
    plain = temporal_vector._floored

    def floored(moments: Any, step: int) -> Any:
        return plain(pc.subtract(moments.cast(pa.int64()), 1).cast(moments.type), step)

    patch.setattr(temporal_vector, "_floored", floored)


def _kept_of(patch: Patch, other: Callable[..., Any]) -> None:
    """``other`` in place of Grouper.kept, which rows count; it has that as its first argument."""
    plain = Grouper.kept
    patch.setattr(Grouper, "kept", lambda self, rows, signs: other(plain, self, rows, signs))


def deletes_skip_where(patch: Patch) -> None:
    def other(plain: Any, grouper: Grouper, rows: Any, signs: Any) -> Any:
        return (rows, signs) if isinstance(signs, int) and signs == -1 else plain(grouper, rows, signs)

    _kept_of(patch, other)


def late_rows_are_lost(patch: Patch) -> None:
    def other(plain: Any, grouper: Grouper, rows: Any, signs: Any) -> Any:
        times = [column for column in rows.columns if pa.types.is_timestamp(column.type)]
        if times and isinstance(signs, int) and signs == 1:
            rows = rows.filter(pc.greater(times[0], pa.scalar(dt.datetime(2026, 1, 10, 5), times[0].type)))
        return plain(grouper, rows, signs)

    _kept_of(patch, other)


def filters_are_skipped_when_rows_go(patch: Patch) -> None:
    plain = groups.partial

    def partial(sort: Any, *, kept: Any, signs: Any, **more: Any) -> Any:
        goes = isinstance(signs, int) and signs == -1
        return plain(sort, kept=None if goes else kept, signs=signs, **more)

    patch.setattr(groups, "partial", partial)


def snapshots_see_the_newest_groups(patch: Patch) -> None:
    plain = Snapshot.scan

    def scan(self: Snapshot, table: Any, **more: Any) -> Any:
        if table.stored is None and table.derived_from is not None:
            return self.store(table).scan(version=self._state.version, **more)
        return plain(self, table, **more)

    patch.setattr(Snapshot, "scan", scan)


def different_values_are_never_fewer(patch: Patch) -> None:
    plain = values._distinct

    def distinct(change: Any, *more: Any) -> Any:
        return plain(replace(change, after=np.maximum(change.after, change.before)), *more)

    patch.setattr(values, "_distinct", distinct)


def the_next_extreme_is_the_farthest(patch: Patch) -> None:
    plain = TableStore.extreme
    patch.setattr(TableStore, "extreme", lambda self, low, high, *, last: plain(self, low, high, last=not last))


def what_is_written_beside_a_build_is_lost(patch: Patch) -> None:
    def catch_up(self: BuildingView, _transaction: Any, now: Any) -> int:
        self.version = now.version
        return 0

    patch.setattr(BuildingView, "catch_up", catch_up)


def nan_counts_for_nothing(patch: Patch) -> None:
    plain = groups.partial

    def partial(sort: Any, *, values: Any, **more: Any) -> Any:
        if values is not None and pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        return plain(sort, values=values, **more)

    patch.setattr(groups, "partial", partial)


def the_ends_of_windows_are_always_added(patch: Patch) -> None:
    plain = ways.End
    patch.setattr(ways, "End", lambda **more: plain(**(more | {"sign": 1})))


def every_condition_follows_from_any(patch: Patch) -> None:
    patch.setattr(match, "follows", lambda wanted, given: True)


BREAKS: tuple[Callable[[Patch], None], ...] = (
    updates_forget_the_row_before, deletes_skip_where, snapshots_see_the_newest_groups,
    different_values_are_never_fewer, buckets_end_late, what_is_written_beside_a_build_is_lost,
    filters_are_skipped_when_rows_go, late_rows_are_lost, nan_counts_for_nothing, the_next_extreme_is_the_farthest,
    every_condition_follows_from_any, the_ends_of_windows_are_always_added,
)  # fmt: skip


def several(folder: Path) -> None:
    for seed in (30, 31, 32, 1, 2, 3):
        view_world.soak(seed, 200, folder / str(seed))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("broken", BREAKS[: soak.many(3, len(BREAKS))], ids=lambda broken: broken.__name__)
def test_it_notices(broken: Callable[[Patch], None], tmp_path: Path, monkeypatch: Patch) -> None:
    broken(monkeypatch)
    with pytest.raises((AssertionError, Internal)):
        several(tmp_path)
