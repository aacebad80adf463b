"""Which overload a call means: PostgreSQL's type resolution (documentation, chapter 10).

In order: an exact match; for operators, an untyped literal taken as the other side's type; then among the overloads to
which all arguments convert implicitly, those with the most exact matches, then those with the most exact or preferred
types, then the guess for untyped literals (text if any candidate takes text, else the category they agree on).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from ....base.errors import Invalid, nearest
from ....base.types import TEXT, Kind, Type, array_of
from .coercion import PREFERRED, as_numeric, category, common_type, implicit_cast
from .model import Function, Overload, Pattern, Poly, Resolution

_Candidate = tuple[Overload, tuple[Pattern, ...]]


def resolve_in(
    table: Mapping[str, Function],
    name: str,
    argument_types: Sequence[Type],
    *,
    literals: Mapping[int, object] | None = None,
    position: int | None = None,
) -> Resolution:
    """The overload of ``name`` for these types. Raises Invalid: 42883 none fits, 42725 several fit equally."""
    found = table.get(name)
    if found is None:
        raise Invalid(
            f"function {name}({_types(argument_types)}) does not exist",
            hint=nearest(name, table),
            sqlstate="42883",
            position=position,
        )
    chosen, several = _chosen(found, tuple(argument_types))
    if chosen is None:
        raise _no_match(found, argument_types, several=several, position=position)
    overload, patterns, types = chosen
    if overload.check is not None:
        overload.check(types)
    result = (
        _result(overload, patterns, types)
        if overload.literal_result is None
        else overload.literal_result(types, literals or {})
    )
    return Resolution(function=found, overload=overload, argument_types=types, result=result)


@lru_cache(maxsize=4096)
def _chosen(
    function: Function, argument_types: tuple[Type, ...]
) -> tuple[tuple[Overload, tuple[Pattern, ...], tuple[Type, ...]] | None, bool]:
    """The overload with its patterns and what its arguments are cast to, or None; and whether several would do."""
    candidates = [
        (overload, patterns)
        for overload in function.overloads
        if (patterns := overload.patterns(len(argument_types))) is not None and _fits(patterns, argument_types)
    ]
    chosen = _best(function, candidates, argument_types)
    if chosen is None:
        return None, bool(candidates)
    return (*chosen, _targets(function, chosen[1], argument_types)), False


def _matches(pattern: Pattern, type: Type) -> bool:
    """An exact match; VARCHAR counts as text."""
    if isinstance(pattern, Poly):
        return pattern is not Poly.TEXTUAL and (pattern is not Poly.ARRAY or type.kind is Kind.ARRAY)
    return type.kind is pattern or (pattern is Kind.TEXT and type.kind is Kind.VARCHAR)


def _fits(patterns: Sequence[Pattern], types: Sequence[Type]) -> bool:
    for pattern, type in zip(patterns, types, strict=True):
        if isinstance(pattern, Poly):
            if (pattern is Poly.ARRAY) > (type.kind is Kind.ARRAY) or (
                (pattern is Poly.TEXTUAL) and type.kind is Kind.ARRAY
            ):
                return False
        elif not implicit_cast(type, Type(kind=pattern)):
            return False
    same = [type for pattern, type in zip(patterns, types, strict=True) if pattern is Poly.SAME]
    try:
        common_type(same)
        _element(patterns, types)
    except Invalid:
        return False
    return True


def _best(function: Function, candidates: list[_Candidate], types: Sequence[Type]) -> _Candidate | None:
    unknown = [type.kind is Kind.UNKNOWN for type in types]
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    exact = [
        c for c in candidates if all(not u and _matches(p, t) for p, t, u in zip(c[1], types, unknown, strict=True))
    ]
    if exact:
        return exact[0]
    if function.operator and len(types) == 2 and any(unknown) and not all(unknown):
        other = types[1] if unknown[0] else types[0]
        same = [c for c in candidates if all(_matches(pattern, other) for pattern in c[1])]
        if same:
            return same[0]
    candidates = _most(candidates, lambda p, i: not unknown[i] and _matches(p, types[i]))
    candidates = _most(candidates, lambda p, i: not unknown[i] and (_matches(p, types[i]) or p in PREFERRED))
    if len(candidates) > 1 and any(unknown):
        candidates = _guess_unknown(candidates, types, unknown)
    return candidates[0] if len(candidates) == 1 else None


def _most(candidates: list[_Candidate], counts: Callable[[Pattern, int], bool]) -> list[_Candidate]:
    scores = [sum(counts(pattern, index) for index, pattern in enumerate(c[1])) for c in candidates]
    return [c for c, score in zip(candidates, scores, strict=True) if score == max(scores)]


def _guess_unknown(candidates: list[_Candidate], types: Sequence[Type], unknown: list[bool]) -> list[_Candidate]:
    for index in (index for index, is_unknown in enumerate(unknown) if is_unknown):
        kinds = [c[1][index] for c in candidates]
        if Kind.TEXT in kinds:
            wanted: object = category(Kind.TEXT)
        elif len({category(kind) if isinstance(kind, Kind) else kind for kind in kinds}) == 1:
            wanted = category(kinds[0]) if isinstance(kinds[0], Kind) else kinds[0]
        else:
            continue
        kept = [c for c in candidates if (category(k) if isinstance(k := c[1][index], Kind) else k) == wanted]
        preferred = [c for c in kept if c[1][index] in PREFERRED]
        candidates = preferred or kept
    if len(candidates) > 1:
        known = {type.kind for type, is_unknown in zip(types, unknown, strict=True) if not is_unknown}
        if len(known) == 1:
            kind = known.pop()
            candidates = [c for c in candidates if all(p is kind for p in c[1])] or candidates
    return candidates


def _targets(function: Function, patterns: Sequence[Pattern], types: Sequence[Type]) -> tuple[Type, ...]:
    """What each argument is cast to."""
    same = [type for pattern, type in zip(patterns, types, strict=True) if pattern is Poly.SAME]
    common = common_type(same, context=function.name.upper()) if same else TEXT
    element = _element(patterns, types)
    return tuple(_target(pattern, type, common, element) for pattern, type in zip(patterns, types, strict=True))


def _element(patterns: Sequence[Pattern], types: Sequence[Type]) -> Type | None:
    """What elements and those of arrays have in common; None without elements. Raises Invalid."""
    if Poly.ELEMENT not in patterns:
        return None
    given = [
        type.element or type
        for pattern, type in zip(patterns, types, strict=True)
        if pattern in (Poly.ELEMENT, Poly.ARRAY)
    ]
    return common_type(given)


def _target(pattern: Pattern, type: Type, common: Type, element: Type | None) -> Type:
    match pattern:
        case Poly.ANY:
            return TEXT if type.kind is Kind.UNKNOWN else type
        case Poly.SAME:
            return common
        case Poly.ARRAY:
            return type if element is None else array_of(element)
        case Poly.ELEMENT:
            assert element is not None, "it was looked for"
            return element
        case Kind.NUMERIC:
            return as_numeric(type)
        case Kind.TEXT | Poly.TEXTUAL:
            return TEXT
        case _:
            return Type(kind=pattern)


def _result(overload: Overload, patterns: Sequence[Pattern], types: Sequence[Type]) -> Type:
    rule = overload.result
    match rule:
        case Type():
            return rule
        case Poly.ARRAY:
            arrays = [type for pattern, type in zip(patterns, types, strict=True) if pattern is Poly.ARRAY]
            return arrays[0] if arrays else array_of(types[0])
        case Poly.ELEMENT:
            array = next(type for pattern, type in zip(patterns, types, strict=True) if pattern is Poly.ARRAY)
            return array.element or TEXT
        case Poly.SAME | Poly.ANY:
            return next(type for pattern, type in zip(patterns, types, strict=True) if pattern is rule)
        case Poly.TEXTUAL:
            return TEXT
        case _:
            return rule(types)


def _types(types: Sequence[Type]) -> str:
    return ", ".join("numeric" if type.kind is Kind.NUMERIC else str(type) for type in types)


def _no_match(function: Function, types: Sequence[Type], *, several: bool, position: int | None) -> Invalid:
    if function.operator and len(types) in (1, 2):
        names = [_types([type]) for type in types]
        call = f"operator {'is not unique' if several else 'does not exist'}: "
        call += f"{function.operator} {names[0]}" if len(types) == 1 else f"{names[0]} {function.operator} {names[1]}"
    else:
        call = f"function {function.name}({_types(types)}) {'is not unique' if several else 'does not exist'}"
    hint = "Could not choose a best candidate" if several else "None matches the name and argument types"
    hint += ": add explicit type casts."
    return Invalid(call, hint=hint, sqlstate="42725" if several else "42883", position=position)
