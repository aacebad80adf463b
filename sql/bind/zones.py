"""The session's time zone inside expressions.

The function table computes TIMESTAMPTZ in UTC. In another zone the binder spells out what PostgreSQL does silently:

    moment::date                     (moment AT TIME ZONE zone)::date
    '2024-07-01'::date::timestamptz  '2024-07-01'::timestamp AT TIME ZONE zone
    date_trunc('day', moment)        date_trunc('day', moment AT TIME ZONE zone) AT TIME ZONE zone
    date_trunc('hour', moment)       moment - (local - date_trunc('hour', local)), local being moment AT TIME ZONE zone
    extract(hour FROM moment)        extract(hour FROM moment AT TIME ZONE zone)
    moment + interval '1 day'        (moment AT TIME ZONE zone + interval '1 day') AT TIME ZONE zone
    moment + interval '1 hour'       as it is: hours are the same everywhere
    moment + any other interval      add_in_zone(zone, moment, interval)
    moment::text                     text_in_zone(zone, moment)

What cannot be spelled so is refused by name, never computed in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlglot import exp

from ...base.types import INTERVAL, TEXT, TIMESTAMP, TIMESTAMPTZ, Kind, Type
from ...engine.expression.node import Literal
from .. import bound
from .errors import unsupported

Call = Callable[..., bound.Bound]

_UTC: Final = frozenset(
    ("utc", "etc/utc", "gmt", "etc/gmt", "zulu", "etc/zulu", "universal", "etc/universal", "etc/uct", "uct")
)
_LOCAL: Final = frozenset(("extract", "date_part", "to_char", "age"))
_CLOCK_UNITS: Final = frozenset(("microsecond", "millisecond", "second", "minute", "hour"))
_TEXT: Final = frozenset(("to_timestamp", "make_timestamptz"))
_ABSOLUTE_FIELDS: Final = frozenset(("epoch", "julian"))


def is_utc(zone: str) -> bool:
    return zone.lower() in _UTC


def cast_in_zone(node: bound.Bound, type: Type, zone: str) -> bound.Bound | None:
    """The cast of ``node`` to ``type`` in ``zone``; None where the zone does not matter."""
    source = node.type.kind
    if source is Kind.TIMESTAMPTZ:
        if type.kind is Kind.TIMESTAMP:
            return _local(node, zone)
        if type.kind in (Kind.DATE, Kind.TIME):
            return bound.cast_to(_local(node, zone), type)
        if type.is_text:
            return bound.cast_to(bound.call("text_in_zone", _zone(zone), node, type=TEXT), type)
    if type.kind is Kind.TIMESTAMPTZ and source in (Kind.TIMESTAMP, Kind.DATE):
        return bound.call("timezone", _zone(zone), bound.cast_to(node, TIMESTAMP), type=TIMESTAMPTZ)
    return None


def call_in_zone(
    function: str, arguments: Sequence[bound.Bound], zone: str, call: Call, tree: exp.Expr
) -> bound.Bound | None:
    """The call in ``zone``, made by ``call``; None where the zone does not matter."""
    if all(argument.type != TIMESTAMPTZ for argument in arguments):
        if function in ("to_timestamp", "make_timestamptz") and len(arguments) > 1:
            raise unsupported(f"{function} in the time zone {zone}", tree)
        return None
    if function in ("add", "subtract") and any(argument.type.kind is Kind.INTERVAL for argument in arguments):
        return _moved(function, arguments, zone, call, tree)
    if function in _TEXT:
        raise unsupported(f"{function} of TIMESTAMPTZ in the time zone {zone}", tree)
    if function == "date_trunc":
        return truncated(arguments[0], arguments[1], _zone(zone), call, tree)
    if function not in _LOCAL:
        return None
    field = arguments[0]
    if isinstance(field, Literal) and str(field.value).lower() in _ABSOLUTE_FIELDS:
        return None
    local = [_local(argument, zone) if argument.type == TIMESTAMPTZ else argument for argument in arguments]
    return call(function, *local, tree=tree)


def truncated(field: bound.Bound, moment: bound.Bound, zone: bound.Bound, call: Call, tree: exp.Expr) -> bound.Bound:
    """``date_trunc`` in a zone; of an hour and less on the moment itself, since an hour may come twice (not in UTC)."""
    local = bound.call("timezone", zone, moment, type=TIMESTAMP)
    begin = call("date_trunc", field, local, tree=tree)
    is_utc = isinstance(zone, Literal) and zone.value == "UTC"
    if not is_utc and isinstance(field, Literal) and str(field.value).lower().removesuffix("s") in _CLOCK_UNITS:
        inside = bound.call("subtract", local, begin, type=INTERVAL)
        return bound.call("subtract", moment, inside, type=TIMESTAMPTZ)
    return bound.call("timezone", zone, begin, type=TIMESTAMPTZ)


def _moved(
    function: str, arguments: Sequence[bound.Bound], zone: str, call: Call, tree: exp.Expr
) -> bound.Bound | None:
    interval = next(argument for argument in arguments if argument.type.kind is Kind.INTERVAL)
    value = interval.value if isinstance(interval, Literal) else None
    months, days = getattr(value, "months", 1), getattr(value, "days", 1)
    if value is not None and not months and not days:
        return None
    if value is None or getattr(value, "nanoseconds", 0) or (months and days):
        moment = next(argument for argument in arguments if argument.type == TIMESTAMPTZ)
        span = interval if function == "add" else call("negate", interval, tree=tree)
        return bound.call("add_in_zone", _zone(zone), moment, span, type=TIMESTAMPTZ)
    local = [_local(argument, zone) if argument.type == TIMESTAMPTZ else argument for argument in arguments]
    return _there(call(function, *local, tree=tree), zone)


def _zone(zone: str) -> Literal:
    return Literal(value=zone, type=TEXT)


def _local(node: bound.Bound, zone: str) -> bound.Bound:
    return bound.call("timezone", _zone(zone), node, type=TIMESTAMP)


def _there(node: bound.Bound, zone: str) -> bound.Bound:
    return bound.call("timezone", _zone(zone), node, type=TIMESTAMPTZ)
