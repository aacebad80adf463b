"""What the integers of a shape can become, and which of its parts can be NULL.

Nothing in a kernel can overflow, since ``bounds`` computes from the zones of the blocks to be read what every part can
become: where that does not fit, NotCovered, and the relational executor finds out whether a row is really that large.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

from .shape import Node, NotCovered

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
_EPOCH: Final = 719_163  # the ordinal of 1970-01-01
_YEAR_1: Final = 1 - _EPOCH
_YEAR_9999: Final = datetime.date.max.toordinal() - _EPOCH
_FAR: Final = 1 << 62  # beyond: infinite moments


def can_be_null(node: Node, nullable: Sequence[bool]) -> bool:
    """Whether a value or truth can be NULL."""
    match node[0]:
        case "column" | "double" | "single" | "flag" | "present" | "code":
            return nullable[node[1]]
        case "text":
            return True
        case "int" | "real" | "known" | "is_null" | "is_true":
            return False
        case "case" | "fcase":
            parts = [*(then for _, then in node[1]), node[2]]
            return any(part is None or can_be_null(part, nullable) for part in parts)
        case "coalesce" | "fcoalesce":
            return all(can_be_null(part, nullable) for part in node[1])
        case "and" | "or":
            return any(can_be_null(part, nullable) for part in node[1])
        case _:
            return any(can_be_null(part, nullable) for part in node[1:] if isinstance(part, tuple) and part)


def columns_read(node: Any) -> set[int]:
    """The slots that a node reads."""
    if not isinstance(node, tuple):
        return set()
    if node and node[0] in ("column", "double", "single", "flag", "present", "text", "code"):
        return {node[1]}
    return set().union(*(columns_read(part) for part in node))


Bounds: TypeAlias = tuple[int, int]


def bounds(node: Node | None, columns: Sequence[Bounds], arguments: Sequence[int]) -> Bounds:
    """What an integer can be, the values of slots and arguments given. Raises NotCovered where it may not fit."""
    if node is None:
        return (0, 0)
    match node[0]:
        case "column":
            found = columns[node[1]]
        case "int":
            found = (arguments[node[1]],) * 2
        case "add" | "sub" | "mul":
            a, b = bounds(node[1], columns, arguments), bounds(node[2], columns, arguments)
            if node[0] == "add":
                found = (a[0] + b[0], a[1] + b[1])
            elif node[0] == "sub":
                found = (a[0] - b[1], a[1] - b[0])
            else:
                products = [x * y for x in a for y in b]
                found = (min(products), max(products))
            _check(found, (1 << (node[3] - 1)) - 1)
        case "neg":
            a = bounds(node[1], columns, arguments)
            found = (-a[1], -a[0])
            _check(found, (1 << (node[2] - 1)) - 1)
        case "times":
            a = bounds(node[1], columns, arguments)
            found = (a[0] * node[2], a[1] * node[2])
        case "fit":
            found = bounds(node[1], columns, arguments)
            _check(found, node[2])
        case "bucket":
            a = bounds(node[1], columns, arguments)
            _check(a, _FAR)
            width, origin = arguments[node[2]], arguments[node[3]]
            if width <= 0:
                raise NotCovered("a divisor is not positive")
            found = ((a[0] - origin) // width, (a[1] - origin) // width)
        case "floor":
            a = bounds(node[1], columns, arguments)
            _check(a, _FAR)
            found = (a[0] // node[2], a[1] // node[2])
        case "modulo":
            _check(bounds(node[1], columns, arguments), _FAR)
            found = (0, node[2] - 1)
        case "plus":
            a = bounds(node[1], columns, arguments)
            found = (a[0] + node[2], a[1] + node[2])
        case "months" | "month_day":
            a = bounds(node[1], columns, arguments)
            if a[0] < _YEAR_1 or a[1] > _YEAR_9999:
                raise NotCovered("a date is far away")
            low, high = (datetime.date.fromordinal(day + _EPOCH) for day in a)
            months = tuple(12 * (day.year - 1970) + day.month - 1 for day in (low, high))
            found = (1, 31) if node[0] == "month_day" else (months[0], months[1])
        case "abs":
            a = bounds(node[1], columns, arguments)
            found = (0 if a[0] <= 0 <= a[1] else min(abs(a[0]), abs(a[1])), max(abs(a[0]), abs(a[1])))
            _check(found, (1 << (node[2] - 1)) - 1)
        case "quotient" | "remainder":
            a = bounds(node[1], columns, arguments)
            divisor = arguments[node[2]]
            if divisor <= 0:
                raise NotCovered("a divisor is not positive")
            if node[0] == "quotient":
                found = (-(-a[0] // divisor) if a[0] < 0 else a[0] // divisor,) * 2
                found = (found[0], -(-a[1] // divisor) if a[1] < 0 else a[1] // divisor)
            else:
                found = (max(a[0], 1 - divisor) if a[0] < 0 else 0, min(a[1], divisor - 1) if a[1] > 0 else 0)
        case "case":
            parts = [*(then for _, then in node[1]), node[2]]
            every = [bounds(part, columns, arguments) for part in parts if part is not None]
            found = (min((low for low, _ in every), default=0), max((high for _, high in every), default=0))
        case "coalesce":
            every = [bounds(part, columns, arguments) for part in node[1]]
            found = (min(low for low, _ in every), max(high for _, high in every))
        case _:
            raise AssertionError(f"{node[0]} is no integer")
    _check(found, INT64_MAX)
    return found


def check_all(node: Any, columns: Sequence[Bounds], arguments: Sequence[int]) -> None:
    """Look at the bounds of every integer inside of a node. Raises NotCovered."""
    if not isinstance(node, tuple) or not node:
        return
    if node[0] in _WHOLES:
        bounds(node, columns, arguments)
    for part in node[1:] if isinstance(node[0], str) else node:
        check_all(part, columns, arguments)


_WHOLES: Final = frozenset(
    (
        "add",
        "sub",
        "mul",
        "neg",
        "times",
        "fit",
        "bucket",
        "floor",
        "modulo",
        "plus",
        "months",
        "month_day",
        "abs",
        "quotient",
        "remainder",
    )
)


def _check(found: Bounds, limit: int) -> None:
    if found[0] < -limit or found[1] > limit:
        raise NotCovered("a number may become too large")


def number_of(value: Any, scale: int) -> int:
    """A value as the engine stores it, NUMERIC with ``scale`` digits. Raises NotCovered for what is no such integer."""
    match value:
        case bool():
            number = int(value)
        case int():
            number = value * 10**scale
        case Decimal():
            if not value.is_finite():
                raise NotCovered("a constant is not finite")
            scaled = value.scaleb(scale) if abs(value) < 10**19 else Decimal(INT64_MAX) * 2
            number = int(scaled)
            if number != scaled:
                raise NotCovered("a constant has more digits")
        case datetime.datetime():
            epoch = datetime.datetime(1970, 1, 1, tzinfo=None if value.tzinfo is None else datetime.UTC)
            number = (value - epoch) // datetime.timedelta(microseconds=1)
        case datetime.date():
            number = value.toordinal() - 719_163
        case datetime.time():
            number = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
        case _:
            raise NotCovered("a constant is NULL" if value is None else f"a constant is {type(value).__name__}")
    if not INT64_MIN < number <= INT64_MAX:
        raise NotCovered("a constant is too large")
    return number
