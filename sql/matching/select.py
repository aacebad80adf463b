"""The grouped SELECTs of a query that views answer, and what is left of the query.

    Select(Scan t, WHERE, GROUP BY, HAVING, outputs, ORDER BY)
      ─► Matched: the views that could answer it, and how (match.py)
      ─► Select(ArrowScan groups, WHERE having, outputs, ORDER BY), as behind a pipeline (sql/pipeline.py)

Any SELECT may be one: of a WITH query, of a subquery, of a side of a join. What it is joined with below GROUP BY is
looked up by the groups (sides.py). Which view is taken, and whether one is worth it, is decided when the query runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Final

from ...engine.aggregates.definition import Maintained
from ...engine.expression.node import Call, Case
from ...engine.pipeline.shape import NotCovered
from ...engine.schema import View
from .. import bound
from ..maintained import NotMaintained, asked_of
from ..pipeline import IDS_MAX, first_id_of, groups_of, query_of
from ..regroup import as_groups
from ..star import Star, star_of
from ..walk import rewrite, walk
from .match import NearMiss, RollUp, match
from .sides import Side, sides_of

_ASKED: Final = -1
"""The identifier of the table of groups that a query asks for: there is none."""

Views = Mapping[int, Sequence[View]]
"""The views that are kept, by the table whose rows they group."""

NO_VIEWS: Final[Views] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A view of the table that does not answer a SELECT."""

    view: View
    miss: NearMiss


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """A grouped SELECT, and how views answer it. ``name``: of the relation that stands for its groups.

    ``use``: of the table that would be read else; ``sides``: what it is joined with. ``memo``: what was chosen last
    (ways.py).
    """

    use: bound.TableUse
    asked: Maintained
    sides: tuple[Side, ...]
    name: str
    ways: tuple[RollUp, ...]
    missed: tuple[Missed, ...]
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """A grouped SELECT of a table with views, none of which answers it; ``why`` it is none that a view could."""

    use: bound.TableUse
    asked: Maintained | None
    why: str | None
    missed: tuple[Missed, ...]
    sides: tuple[Side, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """``rest``: the query over what views answer; None where they answer nothing."""

    rest: bound.BoundQuery | None
    matched: tuple[Matched, ...]
    unmatched: tuple[Unmatched, ...]


def matching(query: bound.BoundQuery, views: Views) -> Matching | None:
    """Which parts of a query views answer; None where they could answer none."""
    if not any(use.table.id in views for use in query.uses):
        return None
    uses = {use.reference: use for use in query.uses}
    matched: list[Matched] = []
    unmatched: list[Unmatched] = []
    first_id = first_id_of(query.query)

    def replace(node: Any) -> Any:
        if not isinstance(node, bound.Select) or node.source is None or not (node.grouping or node.distinct):
            return None
        new_id = first_id + IDS_MAX * (len(matched) + len(unmatched))
        use: bound.TableUse | None = None
        try:
            select = as_groups(node, first_id=new_id) if node.grouping is None else node
            star = star_of(select, first_id=new_id + IDS_MAX // 2)
            use = uses[star.fact.reference]
            if not views.get(use.table.id):
                return None
            if use.past is not None:
                raise NotMaintained("it reads the past")
            assert select.grouping is not None, "the SELECT groups"
            if select.grouping.sets is not None:
                raise NotMaintained("it has grouping sets")
            star, sides = sides_of(star, query)
            asked = asked_of(star, id=_ASKED, constants=True)
        except (NotCovered, NotMaintained) as why:
            use = use or next(
                (of for scan in _scans(node.source) if views.get((of := uses[scan.reference]).table.id)), None
            )
            if use is not None and views.get(use.table.id):
                unmatched.append(Unmatched(use=use, asked=None, why=str(why), missed=()))
            return None
        ways: list[RollUp] = []
        missed: list[Missed] = []
        apart = cache(partial(_apart, star, asked))
        for view in views[use.table.id]:
            try:
                ways.append(_match(asked, apart, view, sides))
            except NearMiss as miss:
                missed.append(Missed(view=view, miss=miss))
        if not ways:
            unmatched.append(Unmatched(use=use, asked=asked, why=None, missed=tuple(missed), sides=sides))
            return None
        rest, scan = groups_of(select, star.fact)
        matched.append(
            Matched(use=use, asked=asked, sides=sides, name=scan.name, ways=tuple(ways), missed=tuple(missed))
        )
        return rest

    rest = rewrite(query.query, replace)
    if not matched and not unmatched:
        return None
    return Matching(
        rest=query_of(rest, query, query.columns) if matched else None,
        matched=tuple(matched),
        unmatched=tuple(unmatched),
    )


def _scans(relation: bound.Relation) -> Iterator[bound.Scan]:
    """The tables that are joined."""
    if isinstance(relation, bound.Scan):
        yield relation
    elif isinstance(relation, bound.Join):
        yield from _scans(relation.left)
        yield from _scans(relation.right)


def _apart(star: Star, asked: Maintained) -> Maintained | None:
    """The query with branches of CASE summed apart, for views that keep none whole; None where that is no other."""
    parts = walk(star.aggregates)
    if not any(isinstance(part, Case) or (isinstance(part, Call) and part.function == "is_null") for part in parts):
        return None  # nothing else is taken apart, see terms.py
    with suppress(NotMaintained):
        apart = asked_of(star, id=_ASKED, constants=True, apart=True)
        return None if apart == asked else apart


def _match(asked: Maintained, apart: Callable[[], Maintained | None], view: View, sides: Sequence[Side]) -> RollUp:
    """Raises NearMiss."""
    try:
        return match(asked, view, sides)
    except NearMiss:
        other = apart()
        if other is None:
            raise
        try:
            return match(other, view, sides)
        except NearMiss:
            pass
        raise


__all__ = ["NO_VIEWS", "Matched", "Matching", "Missed", "Unmatched", "Views", "matching"]
