"""AS OF: the past that a statement reads, beside the present.

    FROM t AS OF VERSION 12               FROM t FOR VERSION AS OF 12                  a version
    FROM t AS OF TIMESTAMP '2026-01-31'   FROM t FOR SYSTEM_TIME AS OF now() - …       the last version at or before it
    FROM t AS OF 12, t AS OF '2026-…', t AS OF $1                                      by the value: a number, a time
    FROM t AS OF SNAPSHOT monday                                                       a named snapshot

The clause belongs to one table or view (then to all that it reads), before the alias, so that then and now can be
joined. Its value is computed before the statement is bound, since names and types are those of that version. The
snapshots are pinned until the statement's result is read; the present's own writes are not in them. A statement never
sees what is newer than it is itself: such a version is refused, and a time yet to come means its own snapshot.

Not here: AS OF in the definition of a view, which would stop working when history has gone by.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from ..base.types import BIGINT, TIMESTAMPTZ
from ..engine.catalog import Catalog
from ..engine.clock import AsOf
from ..engine.snapshot import Snapshot
from . import bound
from .bind.names import fold
from .parse import place
from .pushdown import Moment, constant
from .relational import parameter_literals
from .walk import is_scalar

if TYPE_CHECKING:
    from .execution import Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The snapshots of a statement's clauses; a bound table reference holds the place of its own among them."""

    snapshots: tuple[Snapshot, ...] = ()
    places: Mapping[exp.Expr, int]

    @property
    def catalogs(self) -> dict[exp.Expr, tuple[int, Catalog]]:
        """For the binder: the place of each clause's snapshot, and its catalog."""
        return {clause: (index, self.snapshots[index].catalog) for clause, index in self.places.items()}

    @property
    def key(self) -> tuple[int, ...]:
        """What binding depends on: the same text may be bound once for all versions with one catalog."""
        return tuple(snapshot.catalog.version for snapshot in self.snapshots)

    def close(self) -> None:
        for snapshot in self.snapshots:
            snapshot.close()


NO_PAST: Final = Past(places={})


@contextmanager
def looking_back(execution: Execution, clauses: Sequence[exp.Version]) -> Generator[Execution]:
    """``execution`` with the snapshots of ``clauses``, for what is read completely inside."""
    if not clauses:
        yield execution
        return
    past = pinned(clauses, execution)
    try:
        yield execution.beside(past)
    finally:
        past.close()


def run_looking_back(
    execution: Execution,
    clauses: Sequence[exp.Version],
    run: Callable[[Execution, Callable[[], None] | None], Result],
    on_close: Callable[[], None] | None,
) -> Result:
    """The result of ``run``, which may stream unless ``on_close`` is None; the snapshots live as long as it."""
    if not clauses:
        return run(execution, on_close)
    if on_close is None:
        with looking_back(execution, clauses) as beside:
            return run(beside, None)
    past = pinned(clauses, execution)

    def close() -> None:
        past.close()
        on_close()

    try:
        result = run(execution.beside(past), close)
    except BaseException:
        past.close()
        raise
    weakref.finalize(result, past.close)
    return result


def pinned(clauses: Sequence[exp.Version], execution: Execution) -> Past:
    """A snapshot for each clause. Raises Invalid: 72000 where history has gone by, 22023 for a version to come."""
    with ExitStack() as opened:
        snapshots = tuple(opened.enter_context(_snapshot(clause, execution)) for clause in clauses)
        opened.pop_all()
    return Past(snapshots=snapshots, places={clause: index for index, clause in enumerate(clauses)})


def _snapshot(clause: exp.Version, execution: Execution) -> Snapshot:
    newest = execution.reader.version
    try:
        point = _point(clause, execution)
        snapshot = execution.engine.snapshot(point, holder=execution.holder)
    except Invalid as error:
        error.position = place(clause.expression) if error.position is None else error.position
        raise
    if snapshot.version <= newest:
        return snapshot
    version = snapshot.version
    snapshot.close()
    if isinstance(point, datetime):
        return execution.engine.snapshot(newest, holder=execution.holder)
    raise Invalid(
        f"version {version} is newer than what the statement reads, version {newest}",
        hint="AS OF looks back; begin a new transaction to read what is newer.",
        sqlstate="22023",
    )


def _point(clause: exp.Version, execution: Execution) -> AsOf:
    """The version, the time or the snapshot that a clause names."""
    tree = clause.expression
    if clause.name == "SNAPSHOT":
        return fold(tree)
    is_version = clause.name == "VERSION" or (not clause.name and _is_number(tree, execution.parameters))
    value: exp.Expr = tree.copy()
    if not is_version:
        value = exp.Cast(this=value, to=exp.DataType(this=exp.DType.TIMESTAMPTZ))
    found = execution.bind(exp.Select(expressions=[value]), targets=[BIGINT if is_version else TIMESTAMPTZ])
    assert isinstance(found.query, bound.Select), "it was made as one"
    node = found.query.outputs[0].expression
    if is_version and not node.type.is_integer:
        raise Invalid(f"a version must be type bigint, not type {node.type}", sqlstate="42804")
    if not is_scalar(node):
        raise Invalid(
            "AS OF takes a value that needs no query", hint="Compute it first, give it as $1.", sqlstate="0A000"
        )
    if found.parameters and not execution.parameters:
        raise Invalid("AS OF needs the values of its parameters", hint="Execute it with them.", sqlstate="08P01")
    given = execution.parameters[: max(found.parameters, default=0)]
    moment = Moment(parameters=parameter_literals(found, given), now=execution.now)
    point = constant(bound.expression(node), moment).value
    if point is None:
        raise Invalid("AS OF NULL is no point in time", hint="Give a version or a time.", sqlstate="22004")
    assert isinstance(point, int | datetime), f"{point!r} is neither BIGINT nor TIMESTAMPTZ"
    return point


def _is_number(tree: exp.Expr, parameters: Sequence[object]) -> bool:
    """Whether the bare value of ``AS OF 12`` or ``AS OF $1`` is a number."""
    if isinstance(tree, exp.Parameter):
        index = int(tree.name) - 1 if tree.name.isdigit() else -1
        value = parameters[index] if 0 <= index < len(parameters) else None
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(tree, exp.Literal) and not tree.is_string
