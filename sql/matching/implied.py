"""Whether a condition follows from others: what a view left out, its query must have left out, too.

    x > 7  follows from  x > 9, x = 8, x IN (8, 9), x >= 8 of integers, NOT (x <= 7), x > 7 AND y < 3
    x IN (8, 9)    from  x BETWEEN 8 AND 9 of integers, x IN (8, 9, 10) AND x <> 10
    x IS NOT NULL  from  any comparison of x
    f              from  f = true, f IS TRUE

Conditions are compared by what they say of the same expression. They have no parameters any more when this is asked.
"No" may be wrong, "yes" never is: a condition that follows is true of every row of which all the others are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from ...base.types import BOOLEAN, Kind, Type
from ...engine.expression.functions.plain import compare_key
from ...engine.expression.node import Call, Column, Expression, Literal, Parameter
from ...engine.expression.tree import children, conjuncts, nameless, walk
from ..pushdown import MIRRORED

_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
}
_MIRRORED: Final = {**MIRRORED, "not_equal": "not_equal"}
_NEGATED: Final = {
    "equal": "not_equal", "not_equal": "equal", "less": "greater_equal", "greater_equal": "less",
    "greater": "less_equal", "less_equal": "greater",
}  # fmt: skip
_NEXT: Final = {"greater": ("greater_equal", 1), "less": ("less_equal", -1)}
_TRUE: Final = Literal(value=True, type=BOOLEAN)

_DAY: Final = dt.timedelta(days=1)
_STEPS: Final[dict[Kind, Any]] = {
    Kind.SMALLINT: 1, Kind.INTEGER: 1, Kind.BIGINT: 1, Kind.DATE: _DAY, Kind.TIMESTAMP: dt.timedelta(microseconds=1),
}  # fmt: skip
"""From one value of a type to the next."""

POINTS_MAX: Final = 1000
"""So many values of a range are looked at one by one."""


def follows(wanted: Expression, given: Sequence[Expression]) -> bool:
    """Whether ``wanted`` is true of every row for which all of ``given`` are true."""
    if not given or wanted in given:
        return bool(given)
    return _follows(_plain(nameless(wanted)), [said for part in given for said in conjuncts(_plain(nameless(part)))])


def may_follow(wanted: Expression, given: Sequence[Expression]) -> bool:
    """Whether it could, for some values of the parameters: they speak of the same things."""
    if not given:
        return False
    if not any(_varies(node) for part in (wanted, *given) for node in walk(part)):
        return follows(wanted, given)
    plain = [_plain(nameless(part)) for part in given]
    subjects = {repr(subject) for part in plain for subject in _subjects(part)}
    wanted = _plain(nameless(wanted))
    return wanted in plain or any(repr(subject) in subjects for subject in _subjects(wanted))


def _plain(node: Expression) -> Expression:
    """A condition that is true of the same rows, in fewer words: comparisons, IN, AND and OR."""
    if node.type.kind is Kind.BOOLEAN and isinstance(node, Column | Parameter):
        return Call(function="equal", arguments=(node, _TRUE), type=BOOLEAN)
    if not isinstance(node, Call):
        return node
    match node.function, node.arguments:
        case "and" | "or", parts:
            return replace(node, arguments=tuple(map(_plain, parts)))
        case "is_true", (part,):
            return _plain(part)
        case "equal", (Call() as part, Literal(value=True)) | (Literal(value=True), Call() as part):
            return _plain(part)
        case "is_false", (part,):
            return _plain(Call(function="not", arguments=(part,), type=BOOLEAN))
        case "not", (Column() as part,):
            return Call(function="equal", arguments=(part, replace(_TRUE, value=False)), type=BOOLEAN)
        case "not", (Call() as part,):
            return _negated(part) or node
        case _:
            return node


def _negated(part: Call) -> Expression | None:
    """What NOT of a condition says, without NOT."""
    if part.function == "not":
        return _plain(part.arguments[0])
    if part.function in _NEGATED:
        return replace(part, function=_NEGATED[part.function])
    if part.function == "in_list":
        subject, *values = part.arguments
        parts = tuple(replace(part, function="not_equal", arguments=(subject, value)) for value in values)
        return parts[0] if len(parts) == 1 else replace(part, function="and", arguments=parts)
    if part.function in ("and", "or"):
        parts = tuple(_plain(Call(function="not", arguments=(each,), type=BOOLEAN)) for each in part.arguments)
        return replace(part, function="or" if part.function == "and" else "and", arguments=parts)
    return None


def _follows(wanted: Expression, given: Sequence[Expression]) -> bool:
    return wanted in given or _says([*given, *_points(given)], wanted)


def _says(given: Sequence[Expression], wanted: Expression) -> bool:
    if wanted in given:
        return True
    if isinstance(wanted, Call) and wanted.function == "and":
        return all(_says(given, part) for part in wanted.arguments)
    if isinstance(wanted, Call) and wanted.function == "or" and any(_says(given, part) for part in wanted.arguments):
        return True
    if isinstance(wanted, Call) and wanted.function == "or" and any(_listed(wanted, part) for part in given):
        return True
    others = [part for part in given if not (isinstance(part, Call) and part.function == "or")]
    for part in given:  # of an OR each branch has to say it
        if part not in others and all(_follows(wanted, [*others, branch]) for branch in children(part)):
            return True
        if isinstance(part, Call) and part.function == "and" and _follows(wanted, part.arguments):
            return True
    if _not_null(wanted) is not None:
        return any(_rejects_null(part, _not_null(wanted)) for part in given)
    said = _comparison(wanted)
    return said is not None and any(_implies(known, said) for part in given if (known := _comparison(part)) is not None)


def _listed(wanted: Call, part: Expression) -> bool:
    """Whether each value of a list is one of a branch of an OR: x < 2 OR x > 9 follows from x IN (0, 11)."""
    if not isinstance(part, Call) or part.function != "in_list":
        return False
    subject, *values = part.arguments
    points = [Call(function="equal", arguments=(subject, value), type=part.type) for value in values]
    return all(any(_follows(branch, [point]) for branch in wanted.arguments) for point in points)


_Said = tuple[Expression, str, tuple[Any, ...]]
"""An expression, a comparison, and constants: of "equal" several, one of which it is."""


def _comparison(part: Expression) -> _Said | None:
    if not isinstance(part, Call):
        return None
    subject, *constants = part.arguments
    function = part.function
    if function in _ORDERS and isinstance(subject, Literal):
        subject, constants, function = constants[0], [subject], _MIRRORED[function]
    if function == "in_list":
        function = "equal"
    if function not in _ORDERS or not all(isinstance(each, Literal) for each in constants):
        return None
    values = [each.value for each in constants if isinstance(each, Literal)]
    if any(value is None for value in values) or any(each.type != subject.type for each in constants):
        return None
    if function in _NEXT and subject.type.kind in _STEPS:
        function, values = _with_bound(function, values, _STEPS[subject.type.kind])
    return subject, function, tuple(map(compare_key, values))


def _with_bound(function: str, values: list[Any], step: Any) -> tuple[str, list[Any]]:
    """x > 5 of whole numbers as x >= 6."""
    other, sign = _NEXT[function]
    try:
        return other, [values[0] + sign * step]
    except OverflowError:
        return function, values


def _points(given: Sequence[Expression]) -> Iterator[Expression]:
    """Lists of the values that are left where several comparisons speak of one expression."""
    said: dict[str, list[_Said]] = {}
    for known in filter(None, map(_comparison, given)):
        said.setdefault(repr(known[0]), []).append(known)
    for of in said.values():
        subject = of[0][0]
        lists = [values for _, how, values in of if how == "equal"]
        values = min(lists, key=len) if lists else _range(of, subject.type)
        if len(of) > 1 and values is not None:
            left = [value for value in values if all(_holds(known, value) for known in of)]
            literals = [Literal(value=value, type=subject.type) for value in left]
            yield Call(function="in_list", arguments=(subject, *literals), type=BOOLEAN)


def _range(of: Sequence[_Said], type: Type) -> Sequence[Any] | None:
    """The values between bounds, if they are few."""
    least = max((values[0] for _, how, values in of if how == "greater_equal"), default=None)
    most = min((values[0] for _, how, values in of if how == "less_equal"), default=None)
    if least is None or most is None:
        return None
    if least >= most:
        return [least]
    step = _STEPS.get(type.kind)
    if step is None or type.kind is Kind.TIMESTAMP or (most - least) / step >= POINTS_MAX:
        return None
    return [least + number * step for number in range(int((most - least) / step) + 1)]


def _holds(known: _Said, value: Any) -> bool:
    return any(_ORDERS[known[1]](value, bound) for bound in known[2])


def _implies(known: _Said, wanted: _Said) -> bool:
    """Whether one comparison of an expression says another one of the same."""
    if known[0] != wanted[0]:
        return False
    _, how, values = known
    _, wanted_how, bounds = wanted
    if how == "equal":
        return all(any(_ORDERS[wanted_how](value, bound) for bound in bounds) for value in values)
    value, bound = values[0], bounds[0]  # of several bounds one has to be met, which a range never says
    if how in ("less", "less_equal"):
        if wanted_how in ("less", "not_equal"):
            return value < bound or (value == bound and how == "less")
        return wanted_how == "less_equal" and value <= bound
    if how in ("greater", "greater_equal"):
        if wanted_how in ("greater", "not_equal"):
            return value > bound or (value == bound and how == "greater")
        return wanted_how == "greater_equal" and value >= bound
    return how == wanted_how and value == bound


def _not_null(part: Expression) -> Expression | None:
    """What "is not NULL" is said of."""
    if not isinstance(part, Call):
        return None
    if part.function == "is_not_null":
        return part.arguments[0]
    inner = part.arguments[0] if part.function == "not" else None
    return inner.arguments[0] if isinstance(inner, Call) and inner.function == "is_null" else None


def _rejects_null(part: Expression, subject: Expression | None) -> bool:
    said = _comparison(part)
    if _not_null(part) is not None:  # written the one way or the other
        return _not_null(part) == subject
    if said is None and isinstance(part, Call) and part.function == "like":
        return part.arguments[0] == subject
    return said is not None and said[0] == subject


def _varies(node: Expression) -> bool:
    return isinstance(node, Parameter) or (isinstance(node, Call) and not node.arguments)


def _subjects(part: Expression) -> list[Expression]:
    if isinstance(part, Call) and part.function in ("and", "or"):
        return [subject for argument in part.arguments for subject in _subjects(argument)]
    if _not_null(part) is not None:
        return [subject for subject in (_not_null(part),) if subject is not None]
    return list(part.arguments) if isinstance(part, Call) else []


__all__ = ["follows", "may_follow"]
