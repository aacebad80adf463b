"""Whether a condition follows from others: what a view left out, its query must have left out, too.

    x > 7  follows from  x > 9, x = 8, x IN (8, 9), x > 7 AND y < 3
    x IS NOT NULL  from  any comparison of x

Conditions are compared by what they say of the same expression. They have no parameters any more when this is asked.
"No" may be wrong, "yes" never is: a condition that follows is true of every row of which all the others are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ...engine.expression.functions.plain import compare_key
from ...engine.expression.node import Call, Expression, Literal, Parameter
from ...engine.expression.tree import children, nameless, walk
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


def follows(wanted: Expression, given: Sequence[Expression]) -> bool:
    """Whether ``wanted`` is true of every row for which all of ``given`` are true."""
    wanted = nameless(wanted)
    return _follows(wanted, [nameless(part) for part in given])


def may_follow(wanted: Expression, given: Sequence[Expression]) -> bool:
    """Whether it could, for some values of the parameters: they speak of the same things."""
    if not any(_varies(node) for part in (wanted, *given) for node in walk(part)):
        return follows(wanted, given)
    subjects = {repr(subject) for part in given for subject in _subjects(nameless(part))}
    wanted = nameless(wanted)
    return any(wanted == nameless(part) for part in given) or any(repr(s) in subjects for s in _subjects(wanted))


def _follows(wanted: Expression, given: Sequence[Expression]) -> bool:
    if any(wanted == part for part in given):
        return True
    if isinstance(wanted, Call) and wanted.function == "and":
        return all(_follows(part, given) for part in wanted.arguments)
    if isinstance(wanted, Call) and wanted.function == "or" and any(_follows(part, given) for part in wanted.arguments):
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
    return subject, function, tuple(map(compare_key, values))


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
