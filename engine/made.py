"""What a transaction makes of rows that exist, while others go on writing: entries of indexes, groups of views.

    made at a snapshot ──► caught up with, again and again, until few rows are left ──► the last under the commit lock

``index_build.py`` and ``aggregates/build.py`` say how. What is made is logged; from that record on ``apply`` keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from . import interrupts
from .aggregates.build import BuildingView
from .aggregates.definition import Maintained
from .index_build import Building
from .progress import Progress
from .schema import Index, Table

if TYPE_CHECKING:
    from .snapshot import Snapshot
    from .transaction import Transaction

LAST_ROWS_MAX: Final = 1_000
"""Changed rows that are left for the commit lock."""

ROUNDS_MAX: Final = 20
"""How often what came meanwhile is caught up with before the commit lock is taken all the same."""


class Follows(Protocol):
    """What a transaction makes of the rows that there are, right for one version of them. ``tables``: that it fills."""

    tables: frozenset[int]

    def catch_up(self, transaction: Transaction, now: Snapshot) -> int:
        """Make it right for the rows of ``now``; returns how many had changed. Raises Invalid."""
        ...


class Made:
    """The indexes and materialized views that one transaction makes. ``ids``: of internal tables whose rows are logged,
    ``apply`` does not make them.
    """

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.progress: list[Progress] = []  # replaced, never changed: others read it
        self._building: list[Follows] = []

    @property
    def catches_up(self) -> bool:
        """Whether others may write rows for them."""
        return bool(self._building)

    def make(
        self, transaction: Transaction, before: Table, after: Table, indexes: Sequence[Index], *, catches_up: bool
    ) -> None:
        """Write the entries of all rows of ``before`` into ``indexes`` of ``after``. Raises Invalid (23505)."""
        building = Building(before, after, indexes, version=transaction.version)
        self.ids |= {index.id for index in indexes}
        name = ", ".join(index.name for index in indexes)
        rows_total = transaction.scan(before, columns=[before.columns[0].id]).rows_estimate
        progress = Progress(kind="index", name=name, table=before.name, rows_total=rows_total)
        self.progress = [*self.progress, progress]
        building.write_all(transaction, progress)
        progress.enter("waiting for the commit")
        if catches_up:
            self._building.append(building)

    def make_view(
        self, transaction: Transaction, view: Maintained, groups: Table, base: Table, snapshot: Snapshot
    ) -> None:
        """Write the groups of all rows of ``base`` in the snapshot."""
        building = BuildingView(view, groups, base, version=snapshot.version)
        self.ids |= building.tables
        rows_total = snapshot.scan(base, columns=[base.columns[0].id]).rows_estimate
        progress = Progress(kind="materialized view", name=groups.name, table=base.name, rows_total=rows_total)
        self.progress = [*self.progress, progress]
        building.write_all(transaction, snapshot, progress)
        progress.enter("waiting for the commit")
        self._building.append(building)

    def come_near(
        self, transaction: Transaction, written: Collection[int], *, open_snapshot: Callable[[], Snapshot]
    ) -> None:
        """Catch up, until few rows are left for the commit lock."""
        for progress in self.progress:
            progress.enter("catching up")
        for _ in range(ROUNDS_MAX if self._building else 0):
            interrupts.check()
            count = self.catch_up(transaction, written, open_snapshot=open_snapshot)
            for progress in self.progress:
                progress.rows_after += count
            if count <= LAST_ROWS_MAX:
                return

    def catch_up(
        self, transaction: Transaction, written: Collection[int], *, open_snapshot: Callable[[], Snapshot]
    ) -> int:
        """Make them right for what others have committed since; returns how many rows that were.

        ``written``: tables that the transaction has still written to, so not those of indexes that it has dropped.
        """
        made = [item for item in self._building if item.tables <= set(written)]
        if not made:
            return 0
        with open_snapshot() as now:
            return sum(item.catch_up(transaction, now) for item in made)
