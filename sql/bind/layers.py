"""Expressions that need a SELECT below the one they stand in.

Some expressions are computed in two steps: a window over a window (``session_number``), a row made into several.
``below`` puts what comes first into a SELECT of its own, around which the rest goes on:

    SELECT id, unnest(tags) || '!' FROM t ORDER BY id
    →  SELECT c8, c9 || '!' FROM (SELECT id AS c8, unnest(tags) AS c9 FROM t) ORDER BY c8

Order, as PostgreSQL has it: windows are computed first, then set-returning functions of one select list advance side by
side, the shorter ones padded with NULL, and only then come DISTINCT, ORDER BY and LIMIT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ...engine.expression.node import Case, Column, Literal
from .. import bound
from ..walk import Node, rewrite, walk
from .context import Context
from .errors import unsupported
from .tables import relation_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A SELECT without its outputs, and the expressions that are computed over it."""

    source: bound.Relation | None
    where: bound.Bound | None
    grouping: bound.Grouping | None
    having: bound.Bound | None
    expressions: tuple[bound.Bound, ...]

    def owned(self) -> dict[int, bound.OutputColumn]:
        """The columns that its rows have, by identifier."""
        if self.grouping is not None:
            columns = [output.column for output in (*self.grouping.keys, *self.grouping.aggregates)]
        else:
            columns = list(relation_columns(self.source)) if self.source is not None else []
        return {column.id: column for column in columns}


def needs_layers(stage: Stage) -> bool:
    """Whether ``layered`` or ``gapfill`` has anything to do: most queries are asked this alone."""
    nodes = (*stage.expressions, stage.where, stage.having, stage.grouping)
    return any(isinstance(part, _LAYERED) or (isinstance(part, bound.Window) and _nested(part)) for part in walk(nodes))


_LAYERED = (bound.SetReturning, bound.GapBucket, bound.Filled)


def layered(context: Context, stage: Stage) -> Stage:
    """``stage`` with everything in SELECTs below it that cannot be computed in one."""
    stage = below(context, stage, [inner for window in _parts(stage, bound.Window) for inner in _nested(window)])
    if any(_parts(stage, bound.SetReturning)):
        stage = below(context, stage, _parts(stage, bound.Window))
        sets = _parts(stage, bound.SetReturning)
        if any(isinstance(part, bound.SetReturning) for case in _parts(stage, Case) for part in walk(case)):
            raise unsupported("a set-returning function in CASE", None, hint="Use it in FROM.")
        if any(isinstance(part, bound.SetReturning) for one in sets for item in one.arguments for part in walk(item)):
            raise unsupported("a set-returning function of another one", None, hint="Use one of them in FROM.")
        stage = below(context, stage, sets)
    return stage


def below(context: Context, stage: Stage, hoisted: Sequence[bound.Bound]) -> Stage:
    """The stage over a SELECT that computes ``hoisted``; the stage itself if there is nothing to compute."""
    if not hoisted:
        return stage
    owned = stage.owned()
    computed = [(node, context.new_column("part", node.type)) for node in hoisted]
    needed = {
        part.id: owned[part.id]
        for expression in _without(stage.expressions, hoisted)
        for part in walk(expression)
        if isinstance(part, Column) and part.id in owned
    }
    passed = {id: context.new_column(column.name, column.type) for id, column in needed.items()}
    inner = bound.Select(
        source=stage.source,
        where=stage.where,
        grouping=stage.grouping,
        having=stage.having,
        outputs=(
            *(bound.Output(column=new, expression=owned[id].reference()) for id, new in passed.items()),
            *(bound.Output(column=column, expression=node) for node, column in computed),
        ),
    )
    outer = [context.new_column(column.name, column.type) for column in inner.columns]
    source = bound.Derived(reference=context.new_reference(), query=inner, columns=tuple(outer))
    columns = dict(zip(passed, outer[: len(passed)], strict=True))
    results = outer[len(passed) :]

    def replacement(node: Node) -> Node | None:
        for (old, _), column in zip(computed, results, strict=True):
            if node.__class__ is old.__class__ and node == old:
                return column.reference()
        return columns[node.id].reference() if isinstance(node, Column) and node.id in columns else None

    return Stage(
        source=source,
        where=None,
        grouping=None,
        having=None,
        expressions=tuple(rewrite(expression, replacement) for expression in stage.expressions),
    )


def _nested(window: bound.Window) -> list[bound.Window]:
    """The windows in a window's arguments: those that ``session_number`` counts."""
    return [part for argument in window.arguments for part in walk(argument) if isinstance(part, bound.Window)]


def _without(expressions: Sequence[bound.Bound], hoisted: Sequence[bound.Bound]) -> list[bound.Bound]:
    """The expressions with NULL for what is hoisted: the columns that remain are needed above."""

    def replacement(node: Node) -> Node | None:
        found = any(node.__class__ is old.__class__ and node == old for old in hoisted)
        return Literal(value=None, type=node.type) if found else None

    return [rewrite(expression, replacement) for expression in expressions]


_Part = TypeVar("_Part")


def _parts(stage: Stage, kind: type[_Part]) -> list[_Part]:
    """The different nodes of a kind in the stage's own expressions; those of subqueries are not its own."""
    found: list[_Part] = []

    def look(node: Node) -> Node | None:
        if isinstance(node, kind):
            if node not in found:
                found.append(node)
            return node
        return node if isinstance(node, bound.Select | bound.SetOperation | bound.Values | bound.With) else None

    for expression in stage.expressions:
        rewrite(expression, look)
    return found
