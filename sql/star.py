"""A SELECT over joins as a star: one table, and small relations in which each of its rows is looked up.

    SELECT d.name, sum(x) FROM f JOIN d ON f.k = d.id JOIN e ON d.e = e.id WHERE e.city = 'Trier' AND y > 3 GROUP BY 1

    fact     f under y > 3, grouped by the first column of the side
    side     SELECT d.id, d.name FROM d, e WHERE d.e = e.id AND e.city = 'Trier'     looked up by f.k

Inner joins and subqueries that only compute are opened up: what remains are relations and conditions. The fact is the
table from which all others are reached along their unique keys; what is reached through one of its keys is one side,
with the joins among its relations, and a query of its own, which is answered first, like any other. Expressions over
one side alone are computed by that query, so texts, patterns and functions that kernels do not know may stand there
(but not of a LEFT JOIN's side, since they need not be NULL where there is no partner).
``IN`` and ``EXISTS`` under AND are sides that give no columns, and so are long lists of constants (lists.py).

A side's key must be there once; that it is so is seen when its rows are there (engine/pipeline/sides.py), so unique
keys only tell where to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..base.types import BOOLEAN
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call, Case, Cast, Column
from ..engine.pipeline.shape import NotCovered
from . import bound
from .lists import IDS_OF_LIST, is_long, listed
from .pushdown import conjuncts
from .walk import columns_read, is_scalar, rewrite, walk

RELATIONS_MAX: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SideQuery:
    """``query`` gives the values of ``keys`` (over the fact) first, then those of ``columns``; see ``shape.Side``."""

    kind: str
    keys: tuple[bound.Bound, ...]
    query: bound.Query
    columns: tuple[Column, ...] = ()
    null_matters: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Star:
    """Expressions read the columns of ``fact``, and those of sides by identifiers below 0."""

    fact: bound.Scan
    sides: tuple[SideQuery, ...]
    filter: tuple[bound.Bound, ...]
    keys: tuple[bound.Bound, ...]
    aggregates: tuple[bound.Bound, ...]


def star_of(select: bound.Select, *, first_id: int) -> Star:
    """The star of a SELECT; new columns get identifiers from ``first_id`` on. Raises NotCovered.

    Without groups its keys are what the SELECT gives.
    """
    assert select.source is not None, "it has FROM"
    grouping = select.grouping
    opened = _Opened()
    opened.open(select.source)
    opened.conditions += conjuncts(select.where)
    given = select.outputs if grouping is None else grouping.keys
    keys = tuple(opened.resolved(key.expression) for key in given)
    aggregates = () if grouping is None else tuple(opened.resolved(one.expression) for one in grouping.aggregates)
    opened.conditions = [part for node in opened.conditions for part in _factored(opened.resolved(node))]
    opened.optional = [
        (relation, [part for node in on for part in conjuncts(opened.resolved(node))])
        for relation, on in opened.optional
    ]
    if any(_is_volatile(node) for node in (opened.optional, *opened.conditions, *keys, *aggregates)):
        raise NotCovered("a function gives another value for each row")
    if len(opened.relations) + len(opened.optional) > RELATIONS_MAX:
        raise NotCovered("many relations are joined")
    return _Builder(opened, first_id).star(keys, aggregates)


@dataclass(slots=True)
class _Opened:
    """Relations under inner joins, and what must be true of their rows. ``values``: of opened subqueries' columns.

    ``optional``: right sides of LEFT JOINs, with what makes a row a partner.
    """

    relations: list[bound.Relation] = field(default_factory=list[bound.Relation])
    conditions: list[bound.Bound] = field(default_factory=list[bound.Bound])
    values: dict[int, bound.Bound] = field(default_factory=dict[int, bound.Bound])
    optional: list[tuple[bound.Relation, list[bound.Bound]]] = field(
        default_factory=list[tuple[bound.Relation, list[bound.Bound]]]
    )

    def open(self, relation: bound.Relation) -> None:
        match relation:
            case bound.Join(kind=bound.JoinKind.INNER | bound.JoinKind.CROSS, lateral=False):
                self.open(relation.left)
                self.open(relation.right)
                self.conditions += conjuncts(relation.condition)
            case bound.Join(kind=bound.JoinKind.LEFT, lateral=False):
                self.open(relation.left)
                self.optional.append((relation.right, conjuncts(relation.condition)))
            case bound.Derived(query=bound.Select(source=source, grouping=None) as query, lateral=False) if (
                source is not None and only_computes(query)
            ):
                self.open(source)
                self.conditions += conjuncts(query.where)
                for column, output in zip(relation.columns, query.outputs, strict=True):
                    self.values[column.id] = self.resolved(output.expression)
            case _:
                self.relations.append(relation)

    def resolved(self, node: bound.Bound) -> bound.Bound:
        """An expression over the relations' own columns."""
        values = self.values
        return rewrite(node, lambda part: values.get(part.id) if isinstance(part, Column) else None) if values else node


def only_computes(select: bound.Select) -> bool:
    """Whether a SELECT without groups gives a row for each of its source's that passes WHERE."""
    if select.distinct or select.distinct_on or select.limit is not None or select.offset is not None:
        return False
    return all(is_scalar(output.expression) for output in select.outputs)


def _factored(node: bound.Bound) -> list[bound.Bound]:
    """The parts of an AND; of an OR what all its branches say, and what is left of it."""
    found: list[bound.Bound] = []
    for part in conjuncts(node):
        branches = _branches(part)
        common = [one for one in branches[0] if all(one in branch for branch in branches[1:])]
        if len(branches) == 1 or not common:
            found.append(part)
            continue
        found += common
        rests = [[one for one in branch if one not in common] for branch in branches]
        if all(rests):
            found.append(bound.call("or", *map(_all_of, rests), type=BOOLEAN))
    return found


def _branches(node: bound.Bound) -> list[list[bound.Bound]]:
    """What each branch of an OR says; of anything else itself."""
    if isinstance(node, Call) and node.function == "or":
        branches = [branch for argument in node.arguments for branch in _flat_or(argument)]
        return [[_one_way(part) for part in conjuncts(branch)] for branch in branches]
    return [[node]]


def _one_way(node: bound.Bound) -> bound.Bound:
    """``a = b`` and ``b = a`` as one."""
    if isinstance(node, Call) and node.function == "equal":
        return bound.call("equal", *sorted(node.arguments, key=repr), type=node.type)
    return node


def _flat_or(node: bound.Bound) -> list[bound.Bound]:
    if isinstance(node, Call) and node.function == "or":
        return [part for argument in node.arguments for part in _flat_or(argument)]
    return [node]


def _all_of(nodes: Sequence[bound.Bound]) -> bound.Bound:
    return nodes[0] if len(nodes) == 1 else bound.call("and", *nodes, type=BOOLEAN)


def _is_volatile(node: Any) -> bool:
    calls = (part for part in walk(node) if isinstance(part, Call))
    return any(FUNCTIONS[call.function].volatility is Volatility.VOLATILE for call in calls)


@dataclass(slots=True)
class _Side:
    """Relations that are reached through ``keys`` of the fact: (the fact's expression, the side's)."""

    members: set[int]
    keys: list[tuple[bound.Bound, bound.Bound]]
    kind: str = "inner"
    presence: bound.Select | None = None
    """Its keys alone, where another side asks for them."""
    conditions: list[bound.Bound] = field(default_factory=list[bound.Bound])
    outputs: list[tuple[bound.Bound, Column]] = field(default_factory=list[tuple[bound.Bound, Column]])


class _Builder:
    def __init__(self, opened: _Opened, first_id: int) -> None:
        self._relations = [*opened.relations, *(relation for relation, _ in opened.optional)]
        self._optional = dict(enumerate((on for _, on in opened.optional), len(opened.relations)))
        self._conditions = opened.conditions
        self._home = {id: place for place, relation in enumerate(self._relations) for id in _brought(relation)}
        self._next_id = first_id
        self._columns_count = 0
        self._sides: list[_Side] = []
        self._used: set[int] = set()

    def star(self, keys: Sequence[bound.Bound], aggregates: Sequence[bound.Bound]) -> Star:
        fact = self._reach_all()
        scan = self._relations[fact]
        assert isinstance(scan, bound.Scan), "a fact is a table"
        filter: list[bound.Bound] = []
        presences: list[SideQuery] = []
        for place, condition in enumerate(self._conditions):
            if place in self._used:
                continue
            homes = self._homes(condition)
            side = self._side_of(homes)
            if side is not None and side.kind == "inner":
                side.conditions.append(condition)
            elif is_scalar(condition) and not is_long(condition):
                filter.append(condition)
                self._imply(condition, fact, filter)
            elif homes <= {fact}:
                presences.append(self._presence(condition, fact))
            else:
                raise NotCovered("a subquery reads several relations")
        placed = [self._placed(node) for node in (*filter, *keys, *aggregates)]
        self._restrict()
        cut, last = len(filter), len(filter) + len(keys)
        return Star(
            fact=scan,
            sides=(*(self._query_of(side) for side in self._sides), *presences),
            filter=tuple(placed[:cut]),
            keys=tuple(placed[cut:last]),
            aggregates=tuple(placed[last:]),
        )

    # The tree of joins.

    def _reach_all(self) -> int:
        """The place of the fact: all other relations are reached from it. Sets the sides. Raises NotCovered."""
        for place, relation in enumerate(self._relations):
            if isinstance(relation, bound.Scan) and self._reaches(place):
                return place
        raise NotCovered("no table is joined with all others by their unique keys")

    def _reaches(self, fact: int) -> bool:
        self._sides, self._used = [], set()
        left = set(range(len(self._relations))) - {fact} - self._optional.keys()
        if not all(self._reach_optional(place, on, fact) for place, on in self._optional.items()):
            return False
        while left:
            for place in sorted(left):
                if self._reach(place, fact):
                    left.remove(place)
                    break
            else:
                return False
        return True

    def _reach(self, place: int, fact: int) -> bool:
        """Make a relation part of a side, or a side of its own."""
        for key in _unique_keys(self._relations[place]):
            for anchor in (None, *(side for side in self._sides if side.kind == "inner")):
                members = {fact} if anchor is None else anchor.members
                found = dict(self._equalities(members, place))
                columns = {_column(mine): number for number, (_, mine) in found.items()}
                if key is not None and not all(id in columns for id in key):
                    continue
                chosen = [columns[id] for id in key] if key is not None else list(found)
                if not chosen or (anchor is not None and key is None):
                    continue
                if anchor is None:
                    self._used.update(chosen)
                    self._sides.append(_Side(members={place}, keys=[found[number] for number in chosen]))
                else:
                    anchor.members.add(place)
                return True
        return False

    def _reach_optional(self, place: int, on: Sequence[bound.Bound], fact: int) -> bool:
        """Make the right side of a LEFT JOIN a side, where the fact's columns alone have to equal its own."""
        side = _Side(members={place}, keys=[], kind="left")
        for node in on:
            pair = self._pair(node, {fact}, place)
            if pair is not None:
                side.keys.append(pair)
            elif self._homes(node) == {place}:
                side.conditions.append(node)
            else:
                return False
        known = {_column(mine) for _, mine in side.keys}
        if not side.keys or not any(
            key is None or known.issuperset(key) for key in _unique_keys(self._relations[place])
        ):
            return False
        self._sides.append(side)
        return True

    def _equalities(self, members: set[int], place: int) -> list[tuple[int, tuple[bound.Bound, bound.Bound]]]:
        """By number the conditions that say what of ``members`` equals what of the relation at ``place``."""
        found: list[tuple[int, tuple[bound.Bound, bound.Bound]]] = []
        for number, node in enumerate(self._conditions):
            pair = None if number in self._used else self._pair(node, members, place)
            if pair is not None:
                found.append((number, pair))
        return found

    def _pair(self, node: bound.Bound, members: set[int], place: int) -> tuple[bound.Bound, bound.Bound] | None:
        """What of ``members`` equals what of the relation at ``place``, if a condition says that."""
        if isinstance(node, Call) and node.function == "equal" and is_scalar(node):
            for other, mine in (node.arguments, node.arguments[::-1]):
                homes = self._homes(other)
                if self._homes(mine) == {place} and homes and homes <= members:
                    return other, mine
        return None

    def _homes(self, node: bound.Bound) -> set[int]:
        """The relations that an expression reads. Raises NotCovered where it reads others, of an outer query."""
        try:
            return {self._home[id] for id in columns_read(node)}
        except KeyError:
            raise NotCovered("a column of another query is read") from None

    def _side_of(self, homes: set[int]) -> _Side | None:
        return next((side for side in self._sides if homes and homes <= side.members), None)

    def _imply(self, condition: bound.Bound, fact: int, filter: list[bound.Bound]) -> None:
        """What an OR over several relations says of each alone: there it leaves rows out early."""
        branches = _branches(condition)
        if len(branches) == 1 or self._homes(condition) <= {fact}:
            return
        sides = [side for side in self._sides if side.kind == "inner"]
        for members, conditions in [({fact}, filter), *((side.members, side.conditions) for side in sides)]:
            own = [
                [part for part in branch if (homes := self._homes(part)) and homes <= members] for branch in branches
            ]
            if all(own):
                conditions.append(bound.call("or", *map(_all_of, own), type=BOOLEAN))

    # What is computed where.

    def _placed(self, node: bound.Bound) -> bound.Bound:
        """An expression over the fact's columns and those of sides."""

        def replace(part: object) -> bound.Bound | None:
            if not isinstance(part, Call | Cast | Column | Case):
                return None
            side = self._side_of(self._homes(part))
            if side is not None and (side.kind == "inner" or isinstance(part, Column)):
                return self._output(side, part) if is_scalar(part) else None
            if isinstance(part, Call) and part.function == "and":
                return _all_of(list(map(self._placed, self._by_side(part))))
            return None

        return rewrite(node, replace)

    def _by_side(self, node: Call) -> list[bound.Bound]:
        """The parts of an AND; all that is said of one side is one of them: a column less to look up."""
        of_sides: dict[int, list[bound.Bound]] = {}
        others: list[bound.Bound] = []
        for part in conjuncts(node):
            side = self._side_of(self._homes(part)) if is_scalar(part) else None
            side = None if side is None or side.kind != "inner" else side
            (others if side is None else of_sides.setdefault(id(side), [])).append(part)
        return [*others, *map(_all_of, of_sides.values())]

    def _restrict(self) -> None:
        """Where a side's keys begin with those of a smaller one, it needs only what has a partner there, too."""
        for side in self._sides:
            for other in self._sides:
                shared = [mine for fact, mine in side.keys if any(fact == known for known, _ in other.keys)]
                if other.kind == "inner" and other.conditions and len(other.keys) == len(shared) < len(side.keys):
                    ordered = [next(mine for fact, mine in side.keys if fact == known) for known, _ in other.keys]
                    query = other.presence or self._select(
                        self._source(other), other.conditions, [mine for _, mine in other.keys]
                    )
                    other.presence = query
                    side.conditions.append(
                        bound.Quantified(
                            operands=tuple(ordered), operator="equal", query=query, all=False, type=BOOLEAN
                        )
                    )

    def _source(self, side: _Side) -> bound.Relation | None:
        source: bound.Relation | None = None
        for place in sorted(side.members):
            relation = self._relations[place]
            source = relation if source is None else bound.Join(kind=bound.JoinKind.CROSS, left=source, right=relation)
        return source

    def _output(self, side: _Side, node: bound.Bound) -> Column:
        for known, column in side.outputs:
            if known == node:
                return column
        self._columns_count += 1
        column = Column(id=-self._columns_count, type=node.type)
        side.outputs.append((node, column))
        return column

    def _query_of(self, side: _Side) -> SideQuery:
        given = [mine for _, mine in side.keys] + [node for node, _ in side.outputs]
        query = None if side.outputs else side.presence
        return SideQuery(
            kind=side.kind,
            keys=tuple(other for other, _ in side.keys),
            query=query or self._select(self._source(side), side.conditions, given),
            columns=tuple(column for _, column in side.outputs),
        )

    def _select(
        self, source: bound.Relation | None, conditions: Sequence[bound.Bound], given: Sequence[bound.Bound]
    ) -> bound.Select:
        outputs: list[bound.Output] = []
        for number, node in enumerate(given):
            column = bound.OutputColumn(id=self._next_id, name=f"s{number}", type=node.type)
            outputs.append(bound.Output(column=column, expression=node))
            self._next_id += 1
        where = _all_of(conditions) if conditions else None
        return bound.Select(source=source, where=where, grouping=None, having=None, outputs=tuple(outputs))

    def _presence(self, node: bound.Bound, fact: int) -> SideQuery:
        """``IN`` or ``EXISTS``, perhaps under NOT. Raises NotCovered."""
        kind = "semi"
        while isinstance(node, Call) and node.function == "not":
            node, kind = node.arguments[0], "anti" if kind == "semi" else "semi"
        found = listed(node, first_id=self._next_id, or_none=kind == "anti")
        if found is not None:
            self._next_id += IDS_OF_LIST
            operand, values = found
            return SideQuery(kind=kind, keys=(operand,), query=values, null_matters=kind == "anti")
        match node:
            case bound.Quantified(operator="equal", all=False):
                pass
            case bound.Quantified(operator="not_equal", all=True):
                kind = "anti" if kind == "semi" else "semi"
            case bound.Exists(query=bound.Select(grouping=None, limit=None, offset=None, source=source) as query) if (
                source is not None and not query.distinct_on
            ):
                return self._exists(query, source, kind, fact)
            case _:
                raise NotCovered("there is a subquery or an array")
        if columns_read(node.query):
            raise NotCovered("a subquery reads a column outside")
        return SideQuery(kind=kind, keys=node.operands, query=node.query, null_matters=kind == "anti")

    def _exists(self, query: bound.Select, source: bound.Relation, kind: str, fact: int) -> SideQuery:
        """The equalities with the fact's columns are keys; all else has to be about the subquery's own."""
        keys: list[bound.Bound] = []
        given: list[bound.Bound] = []
        conditions: list[bound.Bound] = []
        own = _brought(source)
        if columns_read(source):
            raise NotCovered("a subquery reads a column outside")
        for part in conjuncts(query.where):
            read = columns_read(part)
            if read <= own:
                conditions.append(part)
                continue
            if not isinstance(part, Call) or part.function != "equal":
                raise NotCovered("a subquery compares with a column outside")
            for outer, inner in (part.arguments, part.arguments[::-1]):
                if columns_read(outer).isdisjoint(own) and self._homes(outer) == {fact} and columns_read(inner) <= own:
                    keys.append(outer)
                    given.append(inner)
                    break
            else:
                raise NotCovered("a subquery compares with a column outside")
        if not keys:
            raise NotCovered("EXISTS of a subquery without an equality")
        return SideQuery(kind=kind, keys=tuple(keys), query=self._select(source, conditions, given))


def _brought(relation: bound.Relation) -> set[int]:
    """The columns that a relation brings, all below it included."""
    named = bound.Scan | bound.ArrowScan | bound.Derived | bound.CteReference | bound.FunctionScan
    return {column.id for part in walk(relation) if isinstance(part, named) for column in part.columns}


def _unique_keys(relation: bound.Relation) -> list[tuple[int, ...] | None]:
    """The columns of each unique key; None: of what is not known, all that it is joined by may be one."""
    if isinstance(relation, bound.Scan):
        table = relation.table
        columns = {source: column.id for column, source in zip(relation.columns, relation.sources, strict=True)}
        known = [table.primary_key, *(index.columns for index in table.unique if index.where is None)]
        found: list[tuple[int, ...] | None] = [
            tuple(columns[id] for id in key) for key in known if key and all(id in columns for id in key)
        ]
        return found if table.primary_key else [*found, None]
    if isinstance(relation, bound.Derived) and not relation.lateral and isinstance(relation.query, bound.Select):
        return [None]
    return []


def _column(node: bound.Bound) -> int | None:
    """The column that an expression is, perhaps widened."""
    if isinstance(node, Cast) and node.type.is_integer and node.argument.type.is_integer:
        node = node.argument
    return node.id if isinstance(node, Column) else None


__all__ = ["SideQuery", "Star", "only_computes", "star_of"]
