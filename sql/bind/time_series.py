"""Functions of time series that are more than one call: buckets with an offset or a zone, sessions, filled gaps.

    time_bucket(width, at [, origin | "offset" | timezone])         also by name: time_bucket('1 day', at, origin => …)
    time_bucket_gapfill(width, at [, timezone] [, start, finish])   with a row for each bucket, see ``gapfill``
    locf(value), interpolate(value)                                 beside it; or with OVER, on their own
    session_number(at, gap) OVER (PARTITION BY … ORDER BY at)       1, 2, …: more than gap without a row begins the next

Names and meaning are TimescaleDB's. A bucket with an offset is ``time_bucket(width, at - offset) + offset``. In a time
zone buckets begin by the zone's clock: the bucket of the local time, taken back to an instant. Where the clock is put
back the local time is ambiguous, so buckets of an hour or less are counted on the instants themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from sqlglot import exp

from ...base.errors import WeftError
from ...base.types import BIGINT, BOOLEAN, DATE, INTEGER, INTERVAL, TEXT, TIMESTAMP, TIMESTAMPTZ, UNKNOWN, Kind, Type
from ...base.values import literal_value
from ...engine.expression.functions.plain import interval_span
from ...engine.expression.node import Case, Literal
from .. import bound
from .binder import ExpressionBinder
from .errors import fail

_HOUR: Final = 3_600_000_000
_MOMENTS: Final = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)

Arguments = dict[str, exp.Expr]


def arguments_of(trees: Sequence[exp.Expr], names: Sequence[str], tree: exp.Expr, function: str) -> Arguments:
    """The arguments by name: the first ones by place, the others as ``name => value``. Raises Invalid."""
    given: Arguments = {}
    for place, item in enumerate(trees):
        if isinstance(item, exp.Kwarg | exp.PropertyEQ):
            name, value = item.this.name.lower(), item.expression
        elif place < len(names) and len(given) == place:
            name, value = names[place], item
        else:
            raise fail(f"function {function} takes {', '.join(names)}", tree, sqlstate="42883")
        if name not in names or name in given:
            problem = "is given twice" if name in given else "is not one of its arguments"
            raise fail(f"function {function}: {name} {problem}", item, sqlstate="42883",
                 hint=f"They are {', '.join(names)}.")  # fmt: skip
        given[name] = value
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucketing:
    """The arguments of a bucket, bound. ``zone`` only for TIMESTAMPTZ."""

    width: bound.Bound
    moment: bound.Bound
    origin: bound.Bound | None = None
    offset: bound.Bound | None = None
    zone: bound.Bound | None = None

    @property
    def short(self) -> bool:
        """Whether the width is known to be an hour or less."""
        value: Any = self.width.value if isinstance(self.width, Literal) else None
        return isinstance(value, pa.MonthDayNano) and not value.months and interval_span(value) <= _HOUR

    @property
    def even(self) -> bool:
        """Whether moments that are a width apart lie in neighbouring buckets."""
        if self.zone is not None:
            return self.short
        value: Any = self.width.value if isinstance(self.width, Literal) else None
        moved = self.origin is not None or self.offset is not None
        return not moved or (isinstance(value, pa.MonthDayNano) and not value.months) or self.width.type.is_integer


def time_bucket(binder: ExpressionBinder, trees: Sequence[exp.Expr], tree: exp.Expr) -> bound.Bound:
    """``time_bucket``: the third argument by place is an origin, an offset or a time zone, by its type."""
    names = ("bucket_width", "ts", "third", "fourth", "fifth", "origin", "offset", "timezone")
    given = arguments_of(trees, names, tree, "time_bucket")
    if "bucket_width" not in given or "ts" not in given:
        raise fail("function time_bucket takes a width and a time", tree, sqlstate="42883")
    width, moment = _width_and_moment(binder, given["bucket_width"], given["ts"], tree)
    if "third" in given:
        third = binder.bind(given["third"])
        name = _role(third, moment.type)
        given[name] = given.pop("third")
        for old, new in (("fourth", "origin"), ("fifth", "offset")):
            if old in given:
                if name != "timezone" or new in given:
                    raise fail("function time_bucket has too many arguments", tree, sqlstate="42883")
                given[new] = given.pop(old)
    offset_type = moment.type if moment.type.is_integer else INTERVAL
    return bucket(binder, _bucketing(binder, given, width, moment, offset_type), tree)


def _bucketing(
    binder: ExpressionBinder, given: Arguments, width: bound.Bound, moment: bound.Bound, offset_type: Type
) -> Bucketing:
    def optional(name: str, type: Type) -> bound.Bound | None:
        found = given.get(name)
        if found is None or isinstance(found, exp.Null):
            return None
        return binder.typed(found, type, what=f"argument {name} of time_bucket")

    zone = optional("timezone", TEXT)
    if zone is not None and moment.type != TIMESTAMPTZ:
        raise fail(f"time_bucket in a time zone needs a {TIMESTAMPTZ}, not {moment.type}", given["timezone"],
                   sqlstate="42883", hint="Cast the time, or leave the zone out.")  # fmt: skip
    return Bucketing(
        width=width,
        moment=moment,
        origin=optional("origin", moment.type),
        offset=optional("offset", offset_type),
        zone=zone,
    )


def _width_and_moment(
    binder: ExpressionBinder, width_tree: exp.Expr, moment_tree: exp.Expr, tree: exp.Expr
) -> tuple[bound.Bound, bound.Bound]:
    """Both as the overload of ``time_bucket`` takes them."""
    _, (width, moment) = binder.resolve("time_bucket", [binder.bind(width_tree), binder.bind(moment_tree)], tree)
    return width, moment


def _role(node: bound.Bound, moment: Type) -> str:
    """What the third argument is: by its type; a quoted literal by what it can be read as."""
    match node.type.kind:
        case Kind.TEXT | Kind.VARCHAR:
            return "timezone"
        case Kind.INTERVAL | Kind.SMALLINT | Kind.INTEGER | Kind.BIGINT:
            return "offset"
        case Kind.UNKNOWN if isinstance(node, Literal) and isinstance(node.value, str):
            return next((role for role, type in _READ_AS if _reads(node.value, type)), "timezone")
        case Kind.UNKNOWN if moment.is_integer:
            return "offset"
        case Kind.UNKNOWN if moment == TIMESTAMPTZ:
            return "timezone"
        case _:
            return "origin"


_READ_AS: Final = (("origin", TIMESTAMPTZ), ("offset", INTERVAL))


def _reads(text: str, type: Type) -> bool:
    try:
        literal_value(text, type)
    except WeftError:
        return False
    return True


def bucket(binder: ExpressionBinder, given: Bucketing, tree: exp.Expr) -> bound.Bound:
    """The expression for the begin of the bucket that holds ``given.moment``."""
    if given.zone is None:
        return _plain(binder, given, given.moment, given.origin, tree)
    zone = given.zone
    local = bound.call("timezone", zone, given.moment, type=TIMESTAMP)
    origin = None if given.origin is None else bound.call("timezone", zone, given.origin, type=TIMESTAMP)
    begin = _plain(binder, given, local, origin, tree)
    inside = bound.call("subtract", local, begin, type=INTERVAL)
    on_instants = bound.call("subtract", given.moment, inside, type=TIMESTAMPTZ)
    on_clock = bound.call("timezone", zone, begin, type=TIMESTAMPTZ)
    if isinstance(given.width, Literal):
        return on_instants if given.short else on_clock
    hour = Literal(value=pa.MonthDayNano([0, 0, _HOUR * 1000]), type=INTERVAL)
    short = bound.call("less_equal", given.width, hour, type=BOOLEAN)
    branch = (bound.expression(short), bound.expression(on_instants))
    return Case(branches=(branch,), default=bound.expression(on_clock), type=TIMESTAMPTZ)


def _plain(
    binder: ExpressionBinder, given: Bucketing, moment: bound.Bound, origin: bound.Bound | None, tree: exp.Expr
) -> bound.Bound:
    """Without a zone: the function of the table, moved by the offset."""
    type = moment.type
    if given.offset is None:
        return binder.call("time_bucket", given.width, moment, *(() if origin is None else (origin,)), tree=tree)
    wide = TIMESTAMP if type == DATE else type
    moved = bound.cast_to(bound.call("subtract", moment, given.offset, type=wide), type)
    begin = binder.call("time_bucket", given.width, moved, *(() if origin is None else (origin,)), tree=tree)
    return bound.cast_to(bound.call("add", begin, given.offset, type=wide), type)


def gap_bucket(binder: ExpressionBinder, trees: Sequence[exp.Expr], tree: exp.Expr) -> bound.Bound:
    """``time_bucket_gapfill``: a mark for ``gapfill``, which makes the rows."""
    names = ("bucket_width", "ts", "third", "fourth", "fifth", "timezone", "start", "finish", "origin", "offset")
    given = arguments_of(trees, names, tree, "time_bucket_gapfill")
    if "bucket_width" not in given or "ts" not in given:
        raise fail("function time_bucket_gapfill takes a width and a time", tree, sqlstate="42883")
    width, moment = _width_and_moment(binder, given["bucket_width"], given["ts"], tree)
    places = ["start", "finish"]
    if "third" in given and _role(binder.bind(given["third"]), moment.type) == "timezone":
        places.insert(0, "timezone")
    for old, new in zip(("third", "fourth", "fifth"), places, strict=False):
        if old in given:
            given[new] = given.pop(old)
    offset_type = moment.type if moment.type.is_integer else INTERVAL
    bucketing = _bucketing(binder, given, width, moment, offset_type)

    def end(name: str) -> bound.Bound | None:
        found = given.get(name)
        if found is None or isinstance(found, exp.Null):
            return None
        return binder.typed(found, moment.type, what=f"argument {name} of time_bucket_gapfill")

    begin = bucket(binder, bucketing, tree)
    return bound.GapBucket(
        bucket=begin,
        moment=moment,
        width=width,
        even=bucketing.even,
        zone=bucketing.zone,
        start=end("start"),
        stop=end("finish"),
        type=begin.type,
    )


def filled(binder: ExpressionBinder, function: str, trees: Sequence[exp.Expr], tree: exp.Expr) -> bound.Bound:
    """``locf(value [, prev] [, treat_null_as_missing])`` and ``interpolate(value)`` of a query with a gap bucket."""
    names = ("value", "prev", "treat_null_as_missing") if function == "locf" else ("value",)
    given = arguments_of(trees, names, tree, function)
    if "value" not in given:
        raise fail(f"function {function} takes a value", tree, sqlstate="42883")
    value = binder.known(given["value"])
    if function == "interpolate" and not value.type.is_numeric:
        raise fail(f"function interpolate({value.type}) does not exist", tree, sqlstate="42883",
                   hint="It is for numbers; locf is for anything.")  # fmt: skip
    before = binder.typed(given["prev"], value.type, what="argument prev of locf") if "prev" in given else None
    missing = given.get("treat_null_as_missing")
    if missing is not None and not isinstance(missing, exp.Boolean):
        raise fail("argument treat_null_as_missing of locf must be true or false", missing, sqlstate="0A000")
    return bound.Filled(
        function=function,
        value=value,
        before=before,
        null_is_missing=missing is not None and bool(missing.this),
        type=value.type,
    )


# -- windows ---------------------------------------------------------------------------------------------------------

Definition = tuple[tuple[bound.Bound, ...], tuple[bound.SortKey, ...]]


def carried(value: bound.Bound, real: bound.Bound | None, definition: Definition, *, forward: bool) -> bound.Window:
    """The last (``forward``) or next value that is not NULL; with ``real`` the value of the last or next such row."""
    arguments = (value,) if real is None else (value, real)
    current = bound.FrameEnd(side="CURRENT ROW")
    return bound.Window(
        function="locf" if forward else "nocb",
        arguments=arguments,
        type=value.type,
        partition=definition[0],
        order=definition[1],
        frame=bound.Frame(
            unit="ROWS",
            start=bound.FrameEnd(side="UNBOUNDED PRECEDING") if forward else current,
            end=current if forward else bound.FrameEnd(side="UNBOUNDED FOLLOWING"),
        ),
    )


def interpolated(value: bound.Bound, at: bound.Bound, real: bound.Bound | None, definition: Definition) -> bound.Bound:
    """``value`` where there is one, else what lies on the line between the ones before and after, by ``at``.

    With ``real`` there is one in each such row, also if it is NULL: next to a NULL is no line.
    """
    present = real if real is not None else bound.call("is_not_null", value, type=BOOLEAN)
    when = Case(
        branches=((bound.expression(present), bound.expression(at)),),
        default=Literal(value=None, type=at.type),
        type=at.type,
    )
    moments: list[bound.Bound] = [at]
    values: list[bound.Bound] = []
    for forward in (True, False):
        moments.append(carried(when, None, definition, forward=forward))
        values.append(bound.cast_to(carried(value, real, definition, forward=forward), _DOUBLE))
    moments = [bound.cast_to(moment, TIMESTAMP if at.type == DATE else at.type) for moment in moments]
    line = bound.call("interpolate_between", moments[0], moments[1], values[0], moments[2], values[1], type=_DOUBLE)
    branch = (bound.expression(present), bound.expression(value))
    return Case(branches=(branch,), default=bound.expression(bound.cast_to(line, value.type)), type=value.type)


_DOUBLE: Final = Type(kind=Kind.DOUBLE)


def interpolate_over(
    binder: ExpressionBinder, arguments: Sequence[bound.Bound], definition: Definition, tree: exp.Expr
) -> bound.Bound:
    """``interpolate(value) OVER (... ORDER BY at)``: along the one column that orders the rows."""
    if len(arguments) != 1 or not arguments[0].type.is_numeric:
        raise fail("interpolate takes one number", tree, sqlstate="42883")
    if len(definition[1]) != 1 or definition[1][0].descending:
        raise fail("interpolate needs a window with one ascending ORDER BY column", tree, sqlstate="42P20")
    at = definition[1][0].expression
    if at.type.is_integer:
        at = bound.cast_to(at, BIGINT)
    elif at.type.kind not in _MOMENTS:
        raise fail(f"interpolate goes along times or integers, not {at.type}", tree, sqlstate="42804")
    return interpolated(arguments[0], at, None, definition)


def session_number(
    binder: ExpressionBinder, arguments: Sequence[bound.Bound], definition: Definition, tree: exp.Expr
) -> bound.Bound:
    """The count of the rows so far that begin a session: windows in a window, which ``layers`` takes apart."""
    if len(arguments) != 2 or not definition[1]:
        raise fail("session_number takes a time and a gap, and a window with ORDER BY", tree, sqlstate="42883")
    at, gap = arguments
    if at.type == UNKNOWN or (at.type.kind not in _MOMENTS and not at.type.is_integer):
        raise fail(f"function session_number({at.type}, {gap.type}) does not exist", tree, sqlstate="42883")
    gap = binder.context.implicit(gap, at.type if at.type.is_integer else INTERVAL, tree, what="the gap")
    partition, order = definition
    earlier = bound.Window(function="lag", arguments=(at,), type=at.type, partition=partition, order=order)
    end = bound.call("add", earlier, gap, type=TIMESTAMP if at.type == DATE else at.type)
    begins = bound.call(
        "or",
        bound.call("is_null", earlier, type=BOOLEAN),
        bound.call("greater", bound.cast_to(at, end.type), end, type=BOOLEAN),
        type=BOOLEAN,
    )
    one, zero = Literal(value=1, type=INTEGER), Literal(value=0, type=INTEGER)
    flag: Any = Case(branches=((bound.expression(begins), one),), default=zero, type=INTEGER)
    # Without a frame: rows of one time are peers, of which any may be the one that begins a session.
    return bound.Window(function="sum", arguments=(flag,), type=BIGINT, partition=partition, order=order)
