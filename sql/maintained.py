"""Which materialized views the engine keeps: from the bound query to what is kept per group, or the reason why not.

    SELECT k, avg(x) + 1 AS y FROM t WHERE x > 0 GROUP BY k

    keys, where      expressions over the table's own columns
    states           each thing that an aggregate is made of, once: rows, count(x), sum(x) (of_states.py)
    values           of min(x), max(x), count(DISTINCT x), once for each x and FILTER
    outputs          the SELECT list over the columns of the group table (engine/aggregates/definition.py)

Sums are kept wider than any type, and what may overflow overflows where it is read. What ``apply`` computes of a row
must not fail there: expressions that can become *guards* of the table, so that a row they cannot take is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ..base.errors import Invalid, WeftError
from ..base.types import BIGINT, DOUBLE, INTEGER, Kind, Type, numeric
from ..engine.aggregates.accumulators import SQUARES, Sort, state_types
from ..engine.aggregates.definition import ROWS, Kept, Maintained, State, Values
from ..engine.expression.evaluate import check_supported
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call, Cast, Column, Expression, Literal, Parameter
from ..engine.expression.tree import all_of, conjuncts
from ..engine.expression.tree import walk as walk_expression
from ..engine.key_encoding import VARIABLE, WIDTHS
from ..engine.pipeline.shape import NotCovered
from ..engine.schema import Table
from . import bound
from .guarded import both, may_fail, only_where
from .of_states import AGGREGATES, DISTINCT, OF_TERMS, SPREADS, call_of, sum_of, times
from .pushdown import Moment, constant
from .star import SideQuery, Star, star_of
from .terms import Term, missing_in, terms_of, under
from .walk import is_scalar, rewrite, walk

_WHOLE: Final = (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT)
_FLOATS: Final = (Kind.REAL, Kind.DOUBLE)
_NUMBERS: Final = (*_WHOLE, Kind.NUMERIC, *_FLOATS)
_NEW_ID: Final = 1 << 40

_BY_VALUE: Final = "Group by its argument, too, and count: it is computed from the values where the view is read."
_AS_NUMBER: Final = "Keep numbers of it: extract(epoch FROM …) of an interval."
_OF_QUERIES: Final = "Leave subqueries, windows and elements of arrays to the query that reads the view."
OF_PRODUCTS: Final = (
    "corr", "covar_pop", "covar_samp", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2",
    "regr_slope", "regr_sxx", "regr_sxy", "regr_syy",
)  # fmt: skip
_INSTEAD: Final = {
    "approx_count_distinct": "Use count(DISTINCT …), which is kept, and exact.",
    **dict.fromkeys(
        OF_PRODUCTS,
        "Keep count(*) and the sums of x, y, x * x, y * y and x * y, each FILTER (WHERE x IS NOT NULL AND y IS NOT "
        "NULL): it is computed from these where the view is read.",
    ),
}
"""What can be kept, of aggregates that cannot."""


class NotMaintained(Exception):
    """Why a view's query cannot be kept. ``instead``: what can, for people."""

    def __init__(self, why: str, *, instead: str = "") -> None:
        super().__init__(why)
        self.instead = instead


def changing(call: Call) -> NotMaintained:
    """Why nothing is kept of what a function says at one time only."""
    if FUNCTIONS[call.function].volatility is Volatility.VOLATILE:
        why = f"{call.function}() gives another value for each row"
        return NotMaintained(why, instead="Store its value in a column, or leave it to the query that reads the view.")
    return NotMaintained(
        f"{call.function}() changes with time",
        instead="Group by what it is compared with, or by buckets of that time, and compare where the view is read.",
    )


def maintained_of(query: bound.Query, *, new_id: Callable[[], int]) -> tuple[Maintained, Table]:
    """What is kept of a view's query, and the table whose rows it groups. ``new_id`` gives internal tables theirs.

    Raises NotMaintained.
    """
    if not isinstance(query, bound.Select) or query.grouping is None or query.source is None:
        raise NotMaintained(
            "it does not group rows", instead="Make it one SELECT with GROUP BY, and do the rest where it is read."
        )
    grouping = query.grouping
    if grouping.sets is not None:
        raise NotMaintained(
            "it has grouping sets",
            instead="Group by all of their columns: the query that reads the view may have the sets.",
        )
    if more := _more_than_groups(query):
        raise NotMaintained(
            f"it has more than groups: {', '.join(more)}", instead="Leave that to the query that reads the view."
        )
    if not any(isinstance(part, bound.Scan) for part in walk(query.source)):
        raise NotMaintained("it reads no table", instead="Only rows of tables can be followed as they change.")
    try:
        star = star_of(query, first_id=_NEW_ID)
    except NotCovered as why:
        raise NotMaintained(str(why), instead="Leave that to the query that reads the view.") from None
    if star.sides:
        raise NotMaintained(
            "it joins tables", instead="Group by what they are joined by, and join where the view is read."
        )
    if star.fact.table.stored is not None:
        raise NotMaintained("it reads a view")
    if not star.keys:
        raise NotMaintained(
            "it has no GROUP BY columns",
            instead="Group by a column or a time_bucket: totals are added up from groups when they are asked for.",
        )
    asked = asked_of(star, id=new_id())
    given = (*grouping.keys, *grouping.aggregates)
    values = {output.column.id: value for output, value in zip(given, asked.outputs, strict=True)}
    outputs = tuple(_output(output.expression, values) for output in query.outputs)
    values_kept = tuple(replace(kept, id=new_id()) for kept in asked.values)
    view = replace(asked, values=values_kept, outputs=outputs)
    if not view.reads:
        raise NotMaintained("it groups by constants alone", instead="Group by a column of the table.")
    return replace(view, fallible=tuple(_fallible(view))), star.fact.table


def _more_than_groups(query: bound.Select) -> list[str]:
    parts = {
        "HAVING": query.having, "DISTINCT": query.distinct or query.distinct_on, "ORDER BY": query.order,
        "LIMIT": query.limit, "OFFSET": query.offset,
    }  # fmt: skip
    return [name for name, part in parts.items() if part]


def asked_of(star: Star, *, id: int, constants: bool = False, apart: bool = False) -> Maintained:
    """What would be kept of the groups of one table; its outputs are the keys, then the aggregates.

    ``constants``: its conditions may have parameters and functions of the statement's time. ``apart``: all branches of
    CASE are summed apart (terms.py). Columns of the star's sides stay what they are. Raises NotMaintained.
    """
    builder = _builder(star)
    builder.apart = apart
    keys = tuple(builder.key(key) for key in star.keys)
    where = [part for node in star.filter if not _always(part := builder.own(node, "WHERE", constants=constants))]
    builder.first = len(keys) + 1
    columns = [Column(id=number, type=key.type) for number, key in enumerate(keys, 1)]
    builder.where = all_of(where)
    for call in star.aggregates:  # columns are numbered when all states and values are known
        builder.value(call)
    return Maintained(
        id=id,
        base=star.fact.table.id,
        keys=keys,
        states=tuple(builder.states),
        where=builder.where,
        values=tuple(builder.values),
        outputs=(*columns, *map(builder.value, star.aggregates)),
    )


def keys_of(star: Star, side: SideQuery) -> tuple[Expression, ...]:
    """What a side is joined by, over the table's columns. Raises NotMaintained."""
    return tuple(_builder(star).own(key, "a join") for key in side.keys)


def _builder(star: Star) -> Builder:
    sources = {column.id: source for column, source in zip(star.fact.columns, star.fact.sources, strict=True)}
    return Builder(table=star.fact.table, sources=sources)


def _fallible(view: Maintained) -> Iterator[Expression]:
    """What can fail of what ``apply`` computes of each row."""
    if view.where is not None and may_fail(view.where):
        yield view.where
    for part in dict.fromkeys((*view.keys, *(part for state in view.states for part in state.reads))):
        if may_fail(part):
            yield only_where(view.where, part)
    for values in view.values:
        if values.where is not None and may_fail(values.where):
            yield values.where
        for part in filter(may_fail, values.arguments):
            yield only_where(values.where, part)


def _output(node: bound.Bound, values: dict[int, Expression]) -> Expression:
    """An expression of the SELECT list over the group table's columns."""
    expression = rewrite(node, lambda part: values.get(part.id) if isinstance(part, Column) else None)
    if not is_scalar(expression):
        raise NotMaintained("a part of its SELECT list is for queries alone", instead=_OF_QUERIES)
    for part in walk_expression(bound.expression(expression)):
        if isinstance(part, Call) and FUNCTIONS[part.function].volatility is not Volatility.IMMUTABLE:
            raise changing(part)
    return bound.expression(expression)


@dataclass(slots=True)
class Builder:
    """Collects states. ``first``: the identifier of the first column behind the keys. ``apart``: see ``asked_of``.
    ``known``: what ``own`` has made, by the object that it was given: each aggregate is gone through twice.
    """

    table: Table
    sources: dict[int, int]
    first: int = 1
    where: Expression | None = None
    apart: bool = False
    states: list[State] = field(default_factory=lambda: [ROWS])
    values: list[Values] = field(default_factory=list[Values])
    known: dict[tuple[int, bool], tuple[bound.Bound, Expression]] = field(
        default_factory=dict[tuple[int, bool], tuple[bound.Bound, Expression]]
    )

    def own(self, node: bound.Bound, what: str, *, constants: bool = False) -> Expression:
        """An expression over the table's columns that the engine can compute of a row; see ``asked_of``."""
        made = self.known.get((id(node), constants))
        if made is not None:
            return made[1]

        def named(part: Any) -> Any:
            if not isinstance(part, Column) or part.id < 0:
                return None
            source = self.table.by_id.get(self.sources.get(part.id, 0))
            if source is None:
                raise NotMaintained(f"{what} reads what is no column of the table")
            return source.node

        expression = rewrite(node, named)
        if not is_scalar(expression):
            raise NotMaintained(f"{what} has a part that is for queries alone", instead=_OF_QUERIES)
        found = bound.expression(expression)
        try:
            check_supported(found)
        except Invalid as error:
            raise NotMaintained(error.message) from None
        for part in walk_expression(found):
            if isinstance(part, Parameter) and not constants:
                raise NotMaintained(f"{what} has a parameter")
            if isinstance(part, Call) and FUNCTIONS[part.function].volatility is not Volatility.IMMUTABLE:
                if constants and FUNCTIONS[part.function].volatility is Volatility.STABLE and not part.arguments:
                    continue
                raise changing(part)
        self.known[id(node), constants] = node, found
        return found

    def key(self, node: bound.Bound) -> Expression:
        key = self.own(node, "GROUP BY")
        if key.type.kind not in WIDTHS and key.type.kind not in VARIABLE:
            raise NotMaintained(
                f"groups of {key.type} have no order that bytes can follow",
                instead="Group by what it is as text: …::text.",
            )
        return key

    def value(self, call: bound.Bound) -> Expression:
        """What an aggregate is, of the states."""
        if not isinstance(call, bound.Aggregate):
            raise NotMaintained("it has GROUPING()")
        make = AGGREGATES.get(call.function)
        if make is None:
            raise NotMaintained(
                f"{call.function} is not kept per group", instead=_INSTEAD.get(call.function, _BY_VALUE)
            )
        if call.distinct:
            make = DISTINCT.get(call.function)
        if make is None or call.order or call.within:
            raise NotMaintained(f"{call.function} with DISTINCT or ORDER BY is not kept per group", instead=_BY_VALUE)
        filter = None if call.filter is None else self.own(call.filter, "FILTER")
        filter = all_of([part for part in conjuncts(filter) if not _always(part)]) if filter is not None else None
        arguments = [self.own(argument, call.function) for argument in call.arguments]
        if call.function in SPREADS:
            arguments = [_number(part) for part in arguments]
        if len(arguments) == 1:
            arguments[0], filter = under(arguments[0], filter)
        if make not in OF_TERMS:
            arguments = [only_where(filter, part) for part in arguments]
        return make(self, *(arguments or [None]), filter, call.type)

    def terms(self, argument: Expression, filter: Expression | None) -> list[Term]:
        """What counts and sums of an argument are made of; see terms.py."""
        found = terms_of(argument, filter, apart=self.apart)
        return [replace(term, argument=only_where(term.filter, term.argument)) for term in found]

    def present(self, terms: Sequence[Term]) -> Expression:
        """How many rows have a value."""
        factors: dict[tuple[Expression | None, Expression | None], int] = {}
        for term in terms:
            if term.counts:
                of = (self._counted(term.argument), term.filter)
                factors[of] = factors.get(of, 0) + term.factor
        return sum_of([(factor, self.count(*of)) for of, factor in factors.items()], BIGINT)

    def total(self, terms: Sequence[Term], argument: Type) -> Expression:
        """The sum of values of a type as NUMERIC or DOUBLE, whatever of no rows."""
        type = DOUBLE if argument.kind in _FLOATS else numeric(38, argument.scale or 0)
        constants: dict[Expression | None, Any] = {}
        parts: list[tuple[int, Expression]] = []
        for term in terms:
            if term.totals and isinstance(term.argument, Literal):
                value: Any = term.argument.value
                constants[term.filter] = constants.get(term.filter, 0) + term.factor * value
            elif term.totals:
                parts.append((term.factor, self.sum(term.argument, term.filter)))
        parts += [(1, times(self.count(None, of), value, type)) for of, value in constants.items() if value]
        return sum_of(parts, type)

    def count(self, argument: Expression | None, filter: Expression | None) -> Expression:
        """How many rows that pass ``filter`` have a value."""
        counted = self._counted(argument)
        missing, others = missing_in(filter) if self.apart and counted is None else (None, filter)
        if missing is not None:
            return call_of("subtract", self.count(None, others), self.count(missing, others))
        return self.state(State(sort=Sort.COUNT, argument=counted, filter=filter))[0]

    def _counted(self, argument: Expression | None) -> Expression | None:
        """None where all rows have a value: constants, and the primary key's columns. NOT NULL may be dropped."""
        if isinstance(argument, Literal) and argument.value is not None:
            return None
        return None if isinstance(argument, Column) and argument.id in self.table.primary_key else argument

    def sum(self, argument: Expression, filter: Expression | None) -> Expression:
        """The sum as NUMERIC or DOUBLE, whatever of no rows."""
        sort = _sort_of(argument)
        columns = self.state(State(sort=sort, argument=argument, filter=filter))
        return call_of(f"weft_sum_{sort.value}", *columns, *_scale(argument))

    def variance(self, argument: Expression, filter: Expression | None, *, freedom: int) -> Expression:
        """The sum of squared distances from the average by the number of values less ``freedom``; NULL of too few."""
        sort = _sort_of(argument)
        sums = [State(sort=each, argument=argument, filter=filter) for each in (sort, SQUARES[sort])]
        columns = [self.count(argument, filter), *(column for state in sums for column in self.state(state))]
        literal = Literal(value=freedom, type=INTEGER)
        return call_of(f"weft_variance_{sort.value}", *columns, literal, *_scale(argument))

    def kept(self, kept: Kept, arguments: Sequence[Expression], filter: Expression | None) -> list[Expression]:
        """What is kept of the values of some arguments, compared one after the other; of rows that have the first."""
        for argument in arguments:
            if argument.type.kind not in WIDTHS and argument.type.kind not in VARIABLE:
                raise NotMaintained(
                    f"values of {argument.type} have no order that bytes can follow", instead=_AS_NUMBER
                )
        where = both(self.where, filter)
        first = arguments[0]
        if not isinstance(first, Column) or first.id not in self.table.primary_key:  # NOT NULL may be dropped
            where = both(where, call_of("is_not_null", first))
        values = Values(id=0, arguments=tuple(arguments), where=where, kept=())
        same = [replace(other, kept=()) == values for other in self.values]
        place = same.index(True) if True in same else len(same)
        values = self.values[place] if True in same else values
        if kept not in values.kept:
            values = replace(values, kept=(*values.kept, kept))
            self.values[place:] = [values, *self.values[place + 1 :]]
        id = self.first + sum(len(state_types(state.sort)) for state in self.states)
        for other in self.values[:place]:
            id += sum(len(other.columns(each)) for each in other.kept)
        id += sum(len(values.columns(each)) for each in values.kept[: values.kept.index(kept)])
        return [Column(id=id + at, type=type) for at, (type, _) in enumerate(values.columns(kept))]

    def state(self, state: State) -> list[Expression]:
        """The columns of a state."""
        if state not in self.states:
            self.states.append(state)
        before = self.states[: self.states.index(state)]
        first = self.first + sum(len(state_types(other.sort)) for other in before)
        return [Column(id=first + place, type=type) for place, type in enumerate(state_types(state.sort))]


def _always(part: Expression) -> bool:
    """Whether a condition is of constants, and true: it asks nothing."""
    for node in walk_expression(part):
        if isinstance(node, Column | Parameter):
            return False
        if isinstance(node, Call) and FUNCTIONS[node.function].volatility is not Volatility.IMMUTABLE:
            return False
    try:
        return constant(part, Moment(parameters={}, now=0)).value is True
    except WeftError:
        return False  # it fails where it is asked


def _number(argument: Expression) -> Expression:
    """What is cast to DOUBLE: it has exact sums."""
    if isinstance(argument, Cast) and argument.type.kind is Kind.DOUBLE and argument.argument.type.kind in _NUMBERS:
        return argument.argument
    return argument


def _sort_of(argument: Expression) -> Sort:
    """How its values are summed."""
    kind = argument.type.kind
    if kind not in _NUMBERS:
        raise NotMaintained(f"sums of {argument.type} are not kept per group", instead=_AS_NUMBER)
    return Sort.INTEGER if kind in _WHOLE else Sort.NUMERIC if kind is Kind.NUMERIC else Sort.FLOAT


def _scale(argument: Expression) -> tuple[Expression, ...]:
    """What sums of NUMERIC have to be told."""
    return (Literal(value=argument.type.scale or 0, type=INTEGER),) if argument.type.kind is Kind.NUMERIC else ()
