"""What one statement runs in: the reader, the settings, the parameters, and the way to the binder and executor.

The session makes an ``Execution`` per statement and hands it to ddl, mutate and explain, so that these are plain
functions from a syntax tree to a ``Result``. ``query`` is their only way to run SQL of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NoReturn

import pyarrow as pa
from sqlglot import exp

from ..base.errors import Internal, Invalid
from ..base.result import Result
from ..base.types import Type
from ..engine.catalog import Catalog
from ..engine.database import Engine
from ..engine.reader import Reader
from ..engine.schema import Relation
from ..engine.snapshot import SOMEONE, Holder
from ..engine.transaction import Transaction
from .as_of import NO_PAST, Past
from .bind import Settings as BinderSettings
from .bind import bind_query
from .bound import BoundQuery
from .cancel import Cancel
from .interrupt import interruptible
from .matching.select import NO_VIEWS, Views
from .parts import VIEWS, Grouped
from .plan import Plan
from .plan import plan as planned
from .resources import Resources
from .run import run_plan, skips_executor
from .virtual import VIRTUAL, VIRTUAL_SCHEMAS

EMPTY_SCHEMA: Final = pa.schema([])


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """``reader`` is what the statement reads, and where it writes if it is a transaction. ``now`` in microseconds.

    ``key``, the statement's text and more, stands for everything that binding it depends on; None where bound queries
    may not be kept. ``past`` is what the statement's AS OF clauses read (sql/as_of.py).
    ``alone``: the statement is a transaction of its own. ``holder``: who runs it. ``match_views``: whether views answer
    for their tables.
    ``relations``: rows that stand in for WITH queries; ``written``: the tables that those wrote (sql/with_changes.py).
    """

    engine: Engine
    reader: Reader
    new_id: Callable[[], int]
    resources: Resources
    cancel: Cancel
    now: int
    binder: BinderSettings
    parameters: Sequence[object] = ()
    parameter_types: Mapping[int, Type] = field(default_factory=dict)
    notice: Callable[[str], None]
    key: tuple[str, Hashable] | None = None
    past: Past = NO_PAST
    alone: bool = False
    tier: str = "relational"
    match_views: bool = False
    holder: Holder = SOMEONE
    relations: Mapping[str, pa.Table] = field(default_factory=dict)
    written: frozenset[int] = frozenset()

    @property
    def catalog(self) -> Catalog:
        return self.reader.catalog

    @property
    def transaction(self) -> Transaction:
        """The reader as the transaction that it is. Raises Invalid (25006) for a snapshot."""
        if not isinstance(self.reader, Transaction):
            raise read_only_error("write")
        return self.reader

    def kept(self, part: str, make: Callable[[], Plan]) -> Plan:
        """The plan of one query of the statement, called ``part``: from the cache, or made."""
        return (
            make()
            if self.key is None
            else self.resources.plans.get((self.key, part), make, characters=len(self.key[0]))
        )

    def on(self, reader: Reader) -> Execution:
        """The same on another reader of the same version."""
        return replace(self, reader=reader)

    def beside(self, past: Past) -> Execution:
        """The same with the snapshots of AS OF clauses."""
        return replace(self, past=past, key=None if self.key is None else (self.key[0], (self.key[1], past.key)))

    def bind(
        self,
        tree: exp.Expr,
        *,
        targets: Sequence[Type] | None = None,
        relations: Mapping[str, pa.Schema] | None = None,
    ) -> BoundQuery:
        bound = bind_query(
            tree,
            self.catalog,
            parameter_types=self.parameter_types,
            settings=self.binder,
            targets=targets,
            relations={
                **VIRTUAL_SCHEMAS,
                **{name: rows.schema for name, rows in self.relations.items()},
                **(relations or {}),
            },
            pasts=self.past.catalogs,
        )
        for table in bound.tables if self.written else ():
            if table.id in self.written:
                self.refuse_reading(table.name)
        return bound

    def refuse_reading(self, table: str) -> NoReturn:
        """Raise Invalid (0A000) for a part of a statement that reads what another part has written."""
        raise Invalid(
            f'reading "{table}" in a statement whose WITH writes it is not supported',
            hint="Use what RETURNING gives, or two statements in a transaction.",
            sqlstate="0A000",
        )

    def plan(
        self,
        tree: exp.Expr,
        *,
        targets: Sequence[Type] | None = None,
        relations: Mapping[str, pa.Schema] | None = None,
    ) -> Plan:
        """Bind a query, and plan it."""
        return planned(self.bind(tree, targets=targets, relations=relations), tier=self.tier, views=self.views)

    @property
    def views(self) -> Views:
        """The views that may answer a query in the place of their tables."""
        known = self.catalog.kept_views if self.match_views else NO_VIEWS
        if not known or not self.binder.computed:
            return known
        computed = self.binder.computed
        return {
            base: tuple(view for view in views if view.maintained is not None and view.maintained.id not in computed)
            for base, views in known.items()
        }

    def run(
        self,
        plan: Plan,
        *,
        relations: Mapping[str, Any] | None = None,
        on_close: Callable[[], None] | None = None,
        past: Sequence[Reader] | None = None,
        note: Callable[[Grouped], None] | None = None,
    ) -> Result:
        """Run a plan: completely, or as a stream that calls ``on_close`` (once) when it ends or fails.

        ``past`` stands in for the snapshots of the AS OF clauses, as EXPLAIN observes them; ``note``: see run_plan.
        """

        def work() -> Result:
            known = {**self.relations, **(relations or {})}
            given = {**self.virtual(plan.asked or plan.bound, known), **known}
            return run_plan(
                plan,
                self.reader,
                self.parameters[: max(plan.bound.parameters, default=0)],  # RETURNING may have more than the query
                executor=self.resources.executor,
                kernels=self.resources.kernels,
                now=self.now,
                cancel=self.cancel,
                relations=given,
                past=self.past.snapshots if past is None else past,
                on_close=on_close,
                read_all=on_close is None,
                note=note if plan.asked is None else partial(self._note, note),
            )

        return work() if skips_executor(plan) else interruptible(work, cancel=self.cancel.cancel)

    def _note(self, note: Callable[[Grouped], None] | None, grouped: Grouped) -> None:
        """Count the reads that views have answered for their tables."""
        if grouped.sink == VIEWS and grouped.kernel is not None:
            self.engine.note_served(grouped.kernel, groups=grouped.rows or 0)
        if note is not None:
            note(grouped)

    def query(
        self,
        tree: exp.Expr,
        *,
        targets: Sequence[Type] | None = None,
        relations: Mapping[str, pa.RecordBatch] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> Result:
        """Plan and run a query, with in-memory relations beside the catalog's."""
        schemas = {name: batch.schema for name, batch in (relations or {}).items()}
        plan = self.plan(tree, targets=targets, relations=schemas)
        return self.run(plan, relations=relations, on_close=on_close)

    def virtual(self, bound: BoundQuery, given: Mapping[str, Any] = MappingProxyType({})) -> dict[str, pa.RecordBatch]:
        """The rows of the virtual relations that a query reads, each once."""
        names = {scan.name for scan in bound.arrow_scans} - given.keys()
        return {name: VIRTUAL[name].rows(self.engine, self.catalog) for name in sorted(names)}

    def done(self, tag: str, *, rows: int | None = None) -> Result:
        """The result of a statement that returns no rows."""
        return Result(schema=EMPTY_SCHEMA, batches=(), version=self.reader.version, tag=tag, rows_affected=rows)


def read_only_error(what: str) -> Invalid:
    """The error for a write in a snapshot or a READ ONLY transaction."""
    return Invalid(
        f"cannot execute {what} in a read-only transaction",
        hint="Write in a transaction that is not READ ONLY, outside of snapshots.",
        sqlstate="25006",
    )


def found(catalog: Catalog, id: int) -> Relation:
    """A relation known to exist, by its identifier."""
    relation = catalog.by_id.get(id)
    if relation is None:
        raise Internal(f"the catalog lost relation {id}")
    return relation
