"""Function calls: scalar functions, aggregates with their modifiers, windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
from sqlglot import exp

from ...base.errors import Invalid, nearest
from ...base.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    INTERVAL,
    SMALLINT,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    Kind,
    Type,
    array_of,
    numeric,
)
from ...engine.expression.functions import FUNCTIONS
from ...engine.expression.functions.model import FunctionKind
from ...engine.expression.node import Call, Case, Cast, Literal, Parameter
from .. import bound
from ..parse import place
from ..walk import columns_read, walk
from . import documents, system, time_series
from .binder import Clause, ExpressionBinder, Handler
from .comparisons import row
from .errors import fail, only, unsupported
from .names import fold, lower
from .operators import array_query, now, several_dimensions
from .rows import range_of, row_of
from .set_returning import SET_RETURNING, set_returning
from .zones import is_utc, truncated

_INSIDE_AGGREGATE: Final = Clause(name="an aggregate's arguments")
_PLAIN: Final = (Literal, Parameter, Call, Cast, Case)
_INSIDE_WINDOW: Final = Clause(name="a window definition", aggregates=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSyntax:
    """A call taken apart: ``name(DISTINCT arguments ORDER BY order) WITHIN GROUP (ORDER BY within) FILTER (...)``."""

    name: str
    arguments: tuple[exp.Expr, ...]
    tree: exp.Expr
    star: bool = False
    distinct: bool = False
    order: exp.Order | None = None
    within: exp.Order | None = None
    filter: exp.Expr | None = None


def call(binder: ExpressionBinder, tree: exp.Expr) -> bound.Bound:
    """A call without OVER."""
    syntax = take_apart(tree)
    match syntax.name:
        case "row":
            return row(binder, exp.Tuple(expressions=list(syntax.arguments)))
        case "array" if len(syntax.arguments) == 1 and isinstance(syntax.arguments[0], exp.Query):
            return array_query(binder, syntax.arguments[0])
        case "grouping":
            return _grouping(binder, syntax)
        case "date_trunc" if len(syntax.arguments) == 3:
            field, moment, zone = syntax.arguments
            at = binder.typed(moment, TIMESTAMPTZ, what="argument 2 of date_trunc")
            name = binder.typed(zone, TEXT, what="argument 3 of date_trunc")
            return truncated(binder.typed(field, TEXT, what="argument 1 of date_trunc"), at, name, binder.call, tree)
        case "age" if len(syntax.arguments) == 1:
            today = bound.cast_to(now(binder, exp.CurrentDate()), TIMESTAMP)
            moment = binder.bind(syntax.arguments[0])
            since = today if moment.type == TIMESTAMP else binder.context.coerce(today, TIMESTAMPTZ)
            return binder.call("age", since, moment, tree=tree)
        case name if name in documents.TO_JSON or name in documents.BUILDERS:
            return documents.call(binder, name, syntax.arguments, tree)
        case name if name in documents.AGGREGATES:
            return aggregate(binder, syntax)
        case name if name in system.CALLS:
            return system.call(binder, name, syntax.arguments, tree)
        case "current_timestamp" | "localtimestamp" | "localtime" if len(syntax.arguments) == 1:
            nodes = {"current_timestamp": exp.CurrentTimestamp, "localtime": exp.Localtime}
            return now(binder, nodes.get(syntax.name, exp.Localtimestamp)(this=syntax.arguments[0]))
        case "make_timestamptz" if len(syntax.arguments) in (6, 7):
            *parts, zone = [binder.bind(argument) for argument in syntax.arguments]
            if len(parts) == 5:
                parts, zone = [*parts, zone], Literal(value=binder.context.settings.timezone, type=TEXT)
            return binder.call("timezone", zone, binder.call("make_timestamp", *parts, tree=tree), tree=tree)
        case "make_interval":
            return _make_interval(binder, syntax)
        case "time_bucket":
            return time_series.time_bucket(binder, syntax.arguments, tree)
        case "time_bucket_gapfill":
            _outermost(binder, syntax)
            return time_series.gap_bucket(binder, syntax.arguments, tree)
        case "locf" | "interpolate":
            _outermost(binder, syntax)
            return time_series.filled(binder, syntax.name, syntax.arguments, tree)
        case name if name in SET_RETURNING:
            _outermost(binder, syntax)
            function, arguments, columns = set_returning(binder, syntax.name, syntax.arguments, tree)
            if len(columns) != 1:
                raise unsupported(f"{syntax.name} of several columns outside of FROM", tree)
            return bound.SetReturning(function=function, arguments=arguments, type=columns[0][1])
        case _:
            pass
    match kind_of(syntax):
        case FunctionKind.SCALAR:
            return _scalar(binder, syntax)
        case FunctionKind.AGGREGATE:
            return aggregate(binder, syntax)
        case FunctionKind.WINDOW:
            raise fail(f"window function {syntax.name} requires an OVER clause", tree, sqlstate="42809")


def _make_interval(binder: ExpressionBinder, syntax: CallSyntax) -> bound.Bound:
    """By place or by name: ``make_interval(days => 3)``."""
    names = ("years", "months", "weeks", "days", "hours", "mins", "secs")
    given = time_series.arguments_of(syntax.arguments, names, syntax.tree, "make_interval")
    zero = Literal(value=0, type=INTEGER)
    arguments = [binder.bind(given[name]) if name in given else zero for name in names]
    arguments[-1] = binder.context.implicit(arguments[-1], DOUBLE, syntax.tree, what="secs")
    return binder.call("make_interval", *arguments, tree=syntax.tree)


def _outermost(binder: ExpressionBinder, syntax: CallSyntax) -> None:
    """Refuse what stands on its own in a select list, GROUP BY or ORDER BY alone: it changes which rows there are."""
    places = ("SELECT", "GROUP BY", "ORDER BY", "DISTINCT ON")
    rows = syntax.name in SET_RETURNING
    binder.context.layers = True
    if binder.clause.name in places or (binder.clause is _INSIDE_WINDOW and not rows):
        return
    what, hint = f"{syntax.name} is", None
    if rows:
        what, hint = "set-returning functions are", f"Write: FROM {syntax.name}(...) AS t(x)."
    raise fail(f"{what} not allowed in {binder.clause.name}", syntax.tree, sqlstate="0A000", hint=hint)


def take_apart(tree: exp.Expr) -> CallSyntax:
    """The parts of a call, whichever nodes the parser put around it."""
    match tree:
        case exp.Filter():
            return replace(take_apart(tree.this), filter=tree.expression.this)
        case exp.WithinGroup():
            return replace(take_apart(tree.this), within=tree.expression)
        case exp.Dot() if isinstance(tree.expression, exp.Anonymous):
            if tree.this.name.lower() != "pg_catalog":
                raise fail(f'schema "{tree.this.name}" does not exist', tree, sqlstate="3F000")
            return take_apart(tree.expression)
        case exp.Anonymous():
            pass
        case _:
            raise unsupported(tree.key.upper(), tree)
    name = lower(tree.this) if isinstance(tree.this, str) else fold(tree.this)
    arguments: list[exp.Expr] = list(tree.expressions)
    order = None
    if arguments and isinstance(arguments[-1], exp.Order):
        order = arguments[-1]
        arguments[-1] = order.this
    distinct = False
    if arguments and isinstance(arguments[0], exp.Distinct):
        distinct = True
        arguments[:1] = arguments[0].expressions
    star = len(arguments) == 1 and isinstance(arguments[0], exp.Star)
    if star:
        arguments = []
    return CallSyntax(name=name, arguments=tuple(arguments), tree=tree, star=star, distinct=distinct, order=order)


def kind_of(syntax: CallSyntax) -> FunctionKind:
    """Scalar, aggregate or window. Raises Invalid (42883) for a function that is not in the table."""
    if syntax.name in documents.AGGREGATES:
        return FunctionKind.AGGREGATE
    function = FUNCTIONS.get(syntax.name)
    if function is None:
        raise Invalid(
            f"function {syntax.name}() does not exist",
            sqlstate="42883",
            position=place(syntax.tree),
            hint=_INSTEAD.get(syntax.name) or nearest(syntax.name, FUNCTIONS) or "docs/sql.md lists the functions.",
        )
    return function.kind


_NO_SEQUENCES: Final = "There are no sequences: use GENERATED BY DEFAULT AS IDENTITY, and RETURNING."
_INSTEAD: Final = {
    **dict.fromkeys(("nextval", "currval", "lastval", "setval"), _NO_SEQUENCES),
    **dict.fromkeys(("to_tsvector", "to_tsquery", "plainto_tsquery"), "There is no text search: use ILIKE or ~*."),
    "set_config": "Use SET.",
    "setseed": "random() takes no seed.",
}
"""What to use in the place of functions that are not there."""


def _scalar(binder: ExpressionBinder, syntax: CallSyntax) -> bound.Bound:
    for value, what in ((syntax.distinct, "DISTINCT"), (syntax.order, "ORDER BY"), (syntax.within, "WITHIN GROUP")):
        if value:
            raise _not_aggregate(what, syntax)
    if syntax.filter is not None:
        raise _not_aggregate("FILTER", syntax)
    if syntax.star:
        raise fail(f"{syntax.name}(*) specified, but {syntax.name} takes no *", syntax.tree, sqlstate="42809")
    arguments = [binder.bind(argument) for argument in syntax.arguments]
    if syntax.name in documents.PATHS:
        arguments = documents.with_path(binder, syntax.name, arguments, syntax.tree)
    if syntax.name in ("concat", "concat_ws", "format"):
        arguments = [_letter(argument) for argument in arguments]
    return binder.call(syntax.name, *arguments, tree=syntax.tree)


def _letter(node: bound.Bound) -> bound.Bound:
    """A boolean as ``t`` or ``f``: concat and format take what psql prints, where a cast to text gives ``true``."""
    if node.type != BOOLEAN:
        return node
    true, false, null = (Literal(value=value, type=TEXT) for value in ("t", "f", None))
    negated = bound.call("not", node, type=BOOLEAN)
    return Case(branches=((bound.expression(node), true), (negated, false)), default=null, type=TEXT)


def _not_aggregate(what: str, syntax: CallSyntax) -> Invalid:
    return fail(f"{what} specified, but {syntax.name} is not an aggregate function", syntax.tree, sqlstate="42809")


def aggregate(binder: ExpressionBinder, syntax: CallSyntax) -> bound.Bound:
    """An aggregate of the SELECT around it; of one further out if it reads nothing but columns of that."""
    if binder.clause is _INSIDE_AGGREGATE:
        raise fail("aggregate function calls cannot be nested", syntax.tree, sqlstate="42803")
    inner = binder.within(_INSIDE_AGGREGATE)
    function, arguments = _aggregated(inner, syntax)
    order = sort_keys(inner, syntax.order)
    if syntax.within is not None:
        order = sort_keys(inner, syntax.within)
        if len(order) != 1:
            raise unsupported("WITHIN GROUP with more than one ORDER BY expression", syntax.tree)
        arguments = [*map(_fractions, arguments), order[0].expression]
    filter = inner.condition(syntax.filter, what="FILTER") if syntax.filter is not None else None
    resolution, converted = binder.resolve(function, arguments, syntax.tree)
    if syntax.within is not None:
        order = (replace(order[0], expression=converted[-1]),)
    if syntax.distinct and order:
        order = tuple(_as_argument(key, converted) for key in order)
    if syntax.distinct and order and any(key.expression not in converted for key in order):
        message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list"
        raise fail(message, syntax.tree, sqlstate="42P10")
    if function == "array_agg" and converted[0].type.kind is Kind.ARRAY:
        raise several_dimensions(syntax.tree)
    if syntax.within is None:  # a constant orders nothing, and DuckDB refuses some
        order = tuple(key for key in order if not all(isinstance(part, _PLAIN) for part in walk(key.expression)))
    node = bound.Aggregate(
        function=function,
        arguments=converted,
        type=resolution.result,
        distinct=syntax.distinct,
        order=order,
        filter=filter,
        within=syntax.within is not None,
    )
    owner = binder.scope.owner(columns_read(node)) or binder.scope
    if owner is not binder.scope:
        node = replace(node, outer=True)
    if not (owner.aggregates if node.outer else binder.clause.aggregates):
        place = "FROM clause of their own query level" if node.outer else binder.clause.name
        raise fail(f"aggregate functions are not allowed in {place}", syntax.tree, sqlstate="42803")
    return _documented(node, syntax)


def _documented(node: bound.Bound, syntax: CallSyntax) -> bound.Bound:
    """What the functions that make JSON give as text, as JSON."""
    return bound.cast_to(node, documents.result_type(syntax.name)) if syntax.name in documents.AGGREGATES else node


def _as_argument(key: bound.SortKey, converted: Sequence[bound.Bound]) -> bound.SortKey:
    """The key as the argument that it is: a VARCHAR that the aggregate takes as TEXT sorts as that."""
    for argument in converted:
        if isinstance(argument, Cast) and argument.argument == key.expression and argument.type.is_text:
            return replace(key, expression=argument)
    return key


def _aggregated(binder: ExpressionBinder, syntax: CallSyntax) -> tuple[str, list[bound.Bound]]:
    """The function of the table that an aggregate is, and its arguments."""
    if syntax.name in documents.AGGREGATES:
        return documents.aggregate_arguments(binder, syntax.name, syntax.arguments, syntax.tree)
    row = row_of(binder, syntax.arguments[0]) if syntax.name == "count" and len(syntax.arguments) == 1 else None
    if row is None:
        return syntax.name, _arguments(binder, syntax)
    if syntax.distinct:
        return syntax.name, [documents.row_key(binder, row, syntax.tree)]
    if row.missing is None:
        return syntax.name, []
    one, null = Literal(value=1, type=INTEGER), Literal(value=None, type=INTEGER)
    return syntax.name, [Case(branches=((bound.expression(row.missing), null),), default=one, type=INTEGER)]


def _fractions(node: bound.Bound) -> bound.Bound:
    """``ARRAY[0.5, 0.9]``, whose elements are constants, as one constant: percentiles are rendered by their value."""
    if not isinstance(node, bound.ArrayList) or not all(isinstance(element, Literal) for element in node.elements):
        return node
    values: list[Any] = [element.value for element in node.elements if isinstance(element, Literal)]
    return Literal(value=[None if value is None else float(value) for value in values], type=array_of(DOUBLE))


def _arguments(binder: ExpressionBinder, syntax: CallSyntax) -> list[bound.Bound]:
    if syntax.star and syntax.name != "count":
        message = f"function {syntax.name}() does not exist"
        raise fail(message, syntax.tree, sqlstate="42883", hint="Only count takes *.")
    if not syntax.star and not syntax.arguments and syntax.name == "count":
        raise fail("count(*) must be used to call a parameterless aggregate function", syntax.tree, sqlstate="42809")
    return [binder.bind(argument) for argument in syntax.arguments]


def _grouping(binder: ExpressionBinder, syntax: CallSyntax) -> bound.Bound:
    if not binder.clause.aggregates:
        raise fail(f"grouping operations are not allowed in {binder.clause.name}", syntax.tree, sqlstate="42803")
    keys = tuple(binder.within(_INSIDE_AGGREGATE).known(argument) for argument in syntax.arguments)
    return binder.context.remember(bound.GroupingCall(keys=keys, type=INTEGER), syntax.tree)


def window(binder: ExpressionBinder, tree: exp.Window) -> bound.Bound:
    """A call with OVER (...) or OVER name."""
    if not binder.clause.windows:
        raise fail(f"window functions are not allowed in {binder.clause.name}", tree, sqlstate="42P20")
    only(tree, "this", "partition_by", "order", "spec", "alias", "over")
    if isinstance(tree.this, exp.IgnoreNulls | exp.RespectNulls):
        raise unsupported("IGNORE NULLS / RESPECT NULLS", tree)
    syntax = take_apart(tree.this)
    kind = kind_of(syntax)
    if kind is FunctionKind.SCALAR:
        message = f"OVER specified, but {syntax.name} is not a window function nor an aggregate function"
        raise fail(message, tree, sqlstate="42809")
    if syntax.distinct:
        raise unsupported("DISTINCT in a window function", tree)
    if syntax.order is not None or syntax.within is not None:
        raise unsupported("ORDER BY inside a window function's arguments", tree)
    if syntax.filter is not None and kind is FunctionKind.WINDOW:
        raise fail("FILTER is not implemented for non-aggregate window functions", tree, sqlstate="0A000")
    inner = binder.within(_INSIDE_WINDOW)
    partition, order, frame = _definition(inner, tree)
    if syntax.name in _COMPOSED:
        if frame is not None:
            raise unsupported(f"a frame for {syntax.name}", tree)
        binder.context.layers = True
        return _COMPOSED[syntax.name](binder, _arguments(inner, syntax), (partition, order), tree)
    function, given = _aggregated(inner, syntax)
    resolution, arguments = binder.resolve(function, given, tree)
    if syntax.name == "nocb" and frame is None:
        frame = bound.Frame(unit="ROWS", start=_CURRENT_ROW, end=bound.FrameEnd(side="UNBOUNDED FOLLOWING"))
    node = bound.Window(
        function=function,
        arguments=arguments,
        type=resolution.result,
        partition=partition,
        order=order,
        frame=frame,
        filter=inner.condition(syntax.filter, what="FILTER") if syntax.filter is not None else None,
    )
    return _documented(node, syntax)


_COMPOSED: Final = {"interpolate": time_series.interpolate_over, "session_number": time_series.session_number}


def _definition(
    binder: ExpressionBinder, tree: exp.Window
) -> tuple[tuple[bound.Bound, ...], tuple[bound.SortKey, ...], bound.Frame | None]:
    """PARTITION BY, ORDER BY and frame, with those of the named window it builds on."""
    partition = tuple(binder.known(part) for part in tree.args.get("partition_by") or ())
    order = sort_keys(binder, tree.args.get("order"))
    spec = tree.args.get("spec")
    base_name = tree.args.get("alias")
    if base_name is not None:
        name = fold(base_name)
        base = binder.windows.get(name)
        if base is None:
            hint = nearest(name, binder.windows)
            raise fail(f'window "{name}" does not exist', base_name, sqlstate="42704", hint=hint)
        base_partition, base_order, base_frame = _definition(binder, base)
        if partition:
            raise fail(f'cannot override PARTITION BY clause of window "{name}"', tree, sqlstate="42P20")
        if order and base_order:
            raise fail(f'cannot override ORDER BY clause of window "{name}"', tree, sqlstate="42P20")
        partition, order = base_partition, order or base_order
        if spec is None:
            return partition, order, base_frame
        if base_frame is not None:
            raise fail(f'cannot copy window "{name}" because it has a frame clause', tree, sqlstate="42P20")
    if spec is None:
        return partition, order, None
    frame = _frame(binder, spec, order)
    return partition, _widened(order) if frame.unit == "RANGE" and _has_offsets(spec) else order, frame


def _widened(order: Sequence[bound.SortKey]) -> tuple[bound.SortKey, ...]:
    """The key of a RANGE with offsets, with room for what these add: bounds beyond its type are no error."""
    (key,) = order
    wider = {SMALLINT: BIGINT, INTEGER: BIGINT, BIGINT: numeric(20, 0)}.get(key.expression.type)
    return (key if wider is None else replace(key, expression=bound.cast_to(key.expression, wider)),)


def _frame(binder: ExpressionBinder, spec: exp.WindowSpec, order: Sequence[bound.SortKey]) -> bound.Frame:
    unit = str(spec.args["kind"]).upper()
    exclude = spec.args.get("exclude")
    if unit == "RANGE" and len(order) != 1 and _has_offsets(spec):
        message = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column"
        raise fail(message, spec, sqlstate="42P20")
    if unit == "GROUPS" and not order:
        raise fail("GROUPS mode requires an ORDER BY clause", spec, sqlstate="42P20")
    return bound.Frame(
        unit=unit,
        start=_frame_end(binder, spec, "start", unit, order),
        end=_frame_end(binder, spec, "end", unit, order) if spec.args.get("end") else _CURRENT_ROW,
        exclude=exclude.name.upper() if exclude is not None else None,
    )


_CURRENT_ROW: Final = bound.FrameEnd(side="CURRENT ROW")


def _has_offsets(spec: exp.WindowSpec) -> bool:
    return any(isinstance(spec.args.get(name), exp.Expr) for name in ("start", "end"))


def _frame_end(
    binder: ExpressionBinder, spec: exp.WindowSpec, name: str, unit: str, order: Sequence[bound.SortKey]
) -> bound.FrameEnd:
    value, side = spec.args[name], str(spec.args.get(f"{name}_side") or "").upper()
    if value == "CURRENT ROW":
        return _CURRENT_ROW
    if value == "UNBOUNDED":
        return bound.FrameEnd(side=f"UNBOUNDED {side}")
    if side not in ("PRECEDING", "FOLLOWING"):
        raise fail("syntax error: a frame bound needs PRECEDING or FOLLOWING", spec, sqlstate="42601")
    type: Type = BIGINT
    if unit == "RANGE":
        type = order[0].expression.type
        if type in (DATE, TIMESTAMP, TIMESTAMPTZ):
            type = INTERVAL
        elif type in (SMALLINT, INTEGER):
            type = BIGINT
    offset = binder.typed(value, type, what=f"argument of {unit}")
    if type is INTERVAL and order[0].expression.type == TIMESTAMPTZ and not is_utc(binder.context.settings.timezone):
        _check_hours(offset, value)
    return bound.FrameEnd(side=side, offset=offset)


def _check_hours(offset: bound.Bound, tree: exp.Expr) -> None:
    """A day is as long as the session's zone makes it, which frames do not know."""
    value: Any = offset.value if isinstance(offset, Literal) else None
    if isinstance(value, pa.MonthDayNano) and not value.months and not value.days:
        return
    raise fail(
        "a RANGE of days or months over TIMESTAMPTZ is not supported in a time zone",
        tree,
        sqlstate="0A000",
        hint="Order by the local time (at AT TIME ZONE '...'), or give the offset in hours.",
    )


def sort_keys(binder: ExpressionBinder, order: exp.Order | None) -> tuple[bound.SortKey, ...]:
    """ORDER BY of an aggregate or window: expressions only, no ordinals or output names."""
    if order is None:
        return ()
    return tuple(sort_key(binder.known(item.this), item) for item in order.expressions)


def sort_key(expression: bound.Bound, item: exp.Ordered) -> bound.SortKey:
    """NULLs sort as if larger than everything, unless told."""
    only(item, "this", "desc", "nulls_first")
    descending = bool(item.args.get("desc"))
    nulls_first = item.args.get("nulls_first")
    return bound.SortKey(
        expression=expression,
        descending=descending,
        nulls_first=descending if nulls_first is None else bool(nulls_first),
    )


def dot(binder: ExpressionBinder, tree: exp.Dot) -> bound.Bound:
    if isinstance(tree.expression, exp.Anonymous):
        return call(binder, tree)
    inner = tree.this.unnest()
    if isinstance(tree.expression, exp.Identifier) and (range := range_of(binder, inner)) is not None:
        return binder.scope.qualified(range.name, fold(tree.expression), position=place(tree))
    raise unsupported("a field of a composite value", tree)


HANDLERS: Final[dict[type[exp.Expr], Handler]] = {
    exp.Anonymous: call,
    exp.Filter: call,
    exp.WithinGroup: call,
    exp.Window: window,
    exp.Dot: dot,
}
