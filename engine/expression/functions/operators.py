"""Operators: comparison, logic, arithmetic. The operator ``+`` is the function ``add``, and so on.

NUMERIC arithmetic in 38 digits, where PostgreSQL's has no bound:

    + - %    scale max(s1, s2), one digit more before the point: exact
    *        scale s1 + s2, exact; above 22 it is max(22, s1, s2), rounded, so that 16 digits stay before the point
    /        scale max(16, s1, s2), rounded half away from zero

What does not fit in 38 digits raises ``numeric field overflow``. DuckDB's integer operators raise on overflow and on
division by zero by themselves; its floats do not, and its NUMERIC division gives a double, so these are repaired here.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....base.errors import Invalid
from ....base.types import Kind, Type, numeric
from ....storage.column_values import EMPTY_BYTES, fixed_array, fixed_of, frozen
from . import vector
from .arrays import append, cat, prepend
from .coercion import digits, limited
from .json_values import JSONB_CONCAT, JSONB_MINUS
from .model import Function, Overload, Rendering, function, overload
from .plain import compare_key, division_by_zero, like_regex

MULTIPLY_SCALE_MAX: Final = 22
DIVIDE_SCALE_MIN: Final = 16
_GUESSED_DIGITS_MAX: Final = 31

PRELUDE: Final[tuple[str, ...]] = (
    "CREATE OR REPLACE MACRO weft_finite(x, a, b) AS CASE WHEN isinf(x) AND NOT isinf(a) AND NOT isinf(b) "
    "THEN error('value out of range: overflow') ELSE x END",
    # The least integer has no quotient with -1, but its remainder is 0.
    "CREATE OR REPLACE MACRO weft_modulo(a, b) AS CASE WHEN b = -1 THEN a - a ELSE a % b END",
    "CREATE OR REPLACE MACRO weft_divide(a, b) AS CASE WHEN b = 0 AND NOT isnan(a) "
    "THEN error('division by zero') ELSE a / b END",
    # A quotient of two whole numbers (HUGEINT), rounded half away from zero. DuckDB's HUGEINT division takes 400 ns,
    # its multiplication 10: so the quotient is guessed in floating point and the guess corrected by its exact
    # remainder. Below 10^31 that errs by less than one (10^31 * 2^-106), and the last remainder decides the rounding.
    "CREATE OR REPLACE MACRO weft_guess(n, d) AS CAST(CAST(n AS DOUBLE) / nullif(CAST(d AS DOUBLE), 0) AS HUGEINT)",
    "CREATE OR REPLACE MACRO weft_better(n, d, guess) AS guess + weft_guess(n - guess * d, d)",
    "CREATE OR REPLACE MACRO weft_rounded(n, d, q, rest) AS q + CASE WHEN 2 * abs(rest) > abs(d) "
    "OR (2 * abs(rest) = abs(d) AND (rest < 0) = (n < 0)) THEN CASE WHEN (rest < 0) = (d < 0) THEN 1 ELSE -1 END "
    "ELSE 0 END",
    "CREATE OR REPLACE MACRO weft_round_quotient(n, d) AS CASE WHEN d = 0 THEN error('division by zero') ELSE "
    "weft_rounded(n, d, weft_better(n, d, weft_guess(n, d)), n - weft_better(n, d, weft_guess(n, d)) * d) END",
    "CREATE OR REPLACE MACRO weft_long_quotient(n, d, factor) AS "
    "(n // d) * factor + weft_slow_quotient((n % d) * factor, d)",
    # The same without the guess, for long division, where the macros above would be repeated too often.
    "CREATE OR REPLACE MACRO weft_slow_quotient(n, d) AS (n // d) + CASE "
    "WHEN abs(n % d) >= abs(d) - abs(n % d) THEN CASE WHEN (n < 0) = (d < 0) THEN 1 ELSE -1 END ELSE 0 END",
    "CREATE OR REPLACE MACRO weft_unscaled_small(x, factor) AS CAST(CAST(trunc(x) AS BIGINT) * CAST(factor AS BIGINT) "
    "+ CAST((x - trunc(x)) * factor AS BIGINT) AS HUGEINT)",
    "CREATE OR REPLACE MACRO weft_unscaled(x, factor) AS CAST(trunc(x) AS HUGEINT) * CAST(factor AS HUGEINT) "
    "+ CAST((x - trunc(x)) * factor AS HUGEINT)",
)


# -- NUMERIC ---------------------------------------------------------------------------------------------------------


def _scales(types: Sequence[Type]) -> tuple[int, int]:
    return types[0].scale or 0, types[1].scale or 0


def add_type(types: Sequence[Type]) -> Type:
    return limited(max(digits(types[0]), digits(types[1])) + 1, max(_scales(types)))


def multiply_type(types: Sequence[Type]) -> Type:
    first, second = _scales(types)
    scale = min(first + second, max(MULTIPLY_SCALE_MAX, first, second))
    return limited(digits(types[0]) + digits(types[1]), scale)


def divide_type(types: Sequence[Type]) -> Type:
    first, second = _scales(types)
    return limited(digits(types[0]) + second, max(DIVIDE_SCALE_MIN, first, second))


def modulo_type(types: Sequence[Type]) -> Type:
    return limited(max(digits(types[0]), digits(types[1])), max(_scales(types)))


def _numeric_add(sign: str) -> Callable[[Rendering], str]:
    def render(r: Rendering) -> str:
        return f"CAST(CAST({r[0]} AS {r.t}) {sign} CAST({r[1]} AS {r.t}) AS {r.t})"

    return render


def _numeric_multiply(r: Rendering) -> str:
    first, second = _scales(r.types)
    exact = f"CAST(CAST({r[0]} AS DECIMAL(38,{first})) * {r[1]} AS {r.t})"
    scale = r.result.scale or 0
    if first + second <= scale:
        return exact
    cut = min(first, scale // 2 if second > scale // 2 else scale - second)
    rounded = f"CAST(CAST({r[0]} AS DECIMAL(38,{cut})) * CAST({r[1]} AS DECIMAL(38,{scale - cut})) AS {r.t})"
    return f"CASE WHEN {r[0]} IS NULL OR {r[1]} IS NULL THEN NULL ELSE coalesce(TRY({exact}), {rounded}) END"


def unscaled(sql: str, type: Type) -> str:
    """A NUMERIC's digits as a whole number (HUGEINT). From DECIMAL(38) the cast is slow, so it is avoided."""
    precision, scale = type.precision or 0, type.scale or 0
    if not scale:
        return f"CAST({sql} AS HUGEINT)"
    factor = f"CAST(1{'0' * scale} AS DECIMAL({scale + 1},0))"
    if precision + scale + 1 <= 18:
        return f"CAST({sql} * {factor} AS HUGEINT)"
    if precision <= 18 and scale <= 9:
        return f"weft_unscaled_small({sql}, {factor})"
    if precision + scale <= 37:
        return f"CAST(CAST({sql} AS DECIMAL(38,{scale})) * {factor} AS HUGEINT)"
    return f"weft_unscaled({sql}, CAST(1{'0' * scale} AS DECIMAL(38,0)))"


def scaled(sql: str, scale: int, target: str) -> str:
    """The inverse: a whole number of units of 10^-scale as a NUMERIC."""
    unit = f"CAST('{Decimal(1).scaleb(-scale):f}' AS DECIMAL({scale + 1},{scale}))"
    return f"CAST(CAST({sql} AS DECIMAL(38,0)) * {unit} AS {target})"


def quotient(dividend: str, divisor: str, types: Sequence[Type], result: Type) -> str:
    """SQL of a NUMERIC quotient, exact up to the rounding at the result's scale."""
    first, second = _scales(types)
    scale = result.scale or 0
    shift = scale - first + second
    n, d, factor = unscaled(dividend, types[0]), unscaled(divisor, types[1]), f"CAST(1{'0' * shift} AS HUGEINT)"
    if (types[0].precision or 0) + shift <= 37 and (types[1].precision or 0) <= 37:
        macro = "weft_round_quotient" if (result.precision or 38) <= _GUESSED_DIGITS_MAX else "weft_slow_quotient"
        whole = f"{macro}({n} * {factor}, {d})"
    else:
        whole = f"weft_long_quotient({n}, {d}, {factor})"
    return scaled(whole, scale, f"DECIMAL({result.precision},{scale})")


def _numeric_divide(r: Rendering) -> str:
    return quotient(r[0], r[1], r.types, r.result)


def numeric_modulo(r: Rendering) -> str:
    return f"CAST(CAST({r[0]} AS {r.t}) % CAST({r[1]} AS {r.t}) AS {r.t})"


def _divide_decimal(a: Decimal, b: Decimal) -> Decimal:
    if not b:
        raise division_by_zero()
    return a / b


def _divide_decimals(a: vector.Datum, b: vector.Datum) -> vector.Datum:
    """``_divide_decimal`` of arrays; NotVectorized where a divisor is 0 or has many digits, or the quotient has."""
    from ...kernels.quotients import divide  # with the compiler, which who only reads names does without

    count = len(a) if isinstance(a, pa.Array) else len(b)
    types = [numeric(each.type.precision, each.type.scale) for each in (a, b)]
    arrays = [each if isinstance(each, pa.Array) else pa.repeat(each, count) for each in (a, b)]
    dividend, divisor = (fixed_of(array, type) for array, type in zip(arrays, types, strict=True))
    found = [each.valid for each in (dividend, divisor) if each.valid is not None]
    valid = None if not found else frozen(functools.reduce(np.bitwise_and, found))
    result, values = divide_type(types), np.empty((count, 2), np.uint64)
    shift = (result.scale or 0) - (types[0].scale or 0) + (types[1].scale or 0)
    flags = EMPTY_BYTES if valid is None else valid
    if not divide(dividend.values, divisor.values, flags, shift, result.precision or 0, values):
        raise vector.NotVectorized
    return fixed_array(values, valid, result)


def modulo_decimal(a: Decimal, b: Decimal) -> Decimal:
    if not b:
        raise division_by_zero()
    return a % b


# -- whole numbers and floats ----------------------------------------------------------------------------------------


def _divide_whole(a: int, b: int) -> int:
    if b == 0:
        raise division_by_zero()
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def modulo_whole(a: int, b: int) -> int:
    if b == 0:
        raise division_by_zero()
    return int(math.copysign(abs(a) % abs(b), a)) if abs(a) < 2**53 else a - b * _divide_whole(a, b)


def _divide_float(a: float, b: float) -> float:
    if b == 0 and not math.isnan(a):
        raise division_by_zero()
    return a / b if b else math.nan


def power(a: float, b: float) -> float:
    """a ^ b with PostgreSQL's errors."""
    if a == 0 and b < 0:
        raise Invalid("zero raised to a negative power is undefined", sqlstate="2201F")
    if a < 0 and math.isfinite(a) and math.isfinite(b) and b != math.floor(b):
        raise Invalid("a negative number raised to a non-integer power yields a complex result", sqlstate="2201F")
    try:
        return math.pow(a, b)
    except OverflowError:
        raise Invalid("value out of range: overflow", sqlstate="22003") from None


POWER: Final = (
    "(CASE WHEN {0} = 0 AND {1} < 0 THEN error('zero raised to a negative power is undefined') "
    "WHEN {0} < 0 AND isfinite({0}) AND isfinite({1}) AND {1} <> floor({1}) "
    "THEN error('a negative number raised to a non-integer power yields a complex result') "
    "ELSE weft_finite(pow({0}, {1}), {0}, {1}) END)"
)

_WHOLE: Final = ("smallint", "integer", "bigint")
_FLOAT_PAIRS: Final = (
    ("real", "real", "real"),
    ("double", "double", "double"),
    ("real", "double", "double"),
    ("double", "real", "double"),
)


def _floats(template: str, naive: Callable[[Any, Any], Any], arrow: Callable[..., Any]) -> list[Overload]:
    """The four float overloads; PostgreSQL has real ∘ double too, which is why real + integer is double."""
    return [
        overload(f"{a}, {b} -> {result}", template, naive=naive, arrow=arrow, can_fail=True)
        for a, b, result in _FLOAT_PAIRS
    ]


def arithmetic(
    name: str,
    sign: str,
    *,
    whole: str,
    floats: str | None,
    naive: Callable[[Any, Any], Any],
    naive_float: Callable[[Any, Any], Any] | None = None,
    naive_decimal: Callable[[Any, Any], Any] | None = None,
    arrow: Callable[..., Any] | None,
    numeric_type: Callable[[Sequence[Type]], Type],
    numeric_template: Callable[[Rendering], str],
    numeric_arrow: Callable[..., Any] | None,
    more: Sequence[Overload] = (),
) -> Function:
    overloads = [overload(f"{k}, {k} -> {k}", whole, naive=naive, arrow=arrow, can_fail=True) for k in _WHOLE]
    overloads.append(
        overload(
            "numeric, numeric -> numeric",
            numeric_template,
            result=numeric_type,
            naive=naive_decimal or naive,
            arrow=numeric_arrow,
            can_fail=True,
        )
    )
    if floats is not None and arrow is not None:
        float_arrow = vector.divide_float if name == "divide" else arrow
        overloads += _floats(floats, naive_float or naive, float_arrow)
    return function(name, *overloads, *more, operator=sign)


def _arithmetic() -> tuple[Function, ...]:
    from . import temporal  # the temporal overloads of the same operators

    finite = "weft_finite({{0}} {} {{1}}, {{0}}, {{1}})"
    return (
        arithmetic(
            "add",
            "+",
            whole="({0} + {1})",
            floats=finite.format("+"),
            naive=operator.add,
            arrow=pc.add_checked,
            numeric_type=add_type,
            numeric_template=_numeric_add("+"),
            numeric_arrow=vector.decimal_add,
            more=temporal.ADD,
        ),
        arithmetic(
            "subtract",
            "-",
            whole="({0} - {1})",
            floats=finite.format("-"),
            naive=operator.sub,
            arrow=pc.subtract_checked,
            numeric_type=add_type,
            numeric_template=_numeric_add("-"),
            numeric_arrow=vector.decimal_subtract,
            more=(*temporal.SUBTRACT, *JSONB_MINUS),
        ),
        arithmetic(
            "multiply",
            "*",
            whole="({0} * {1})",
            floats=finite.format("*"),
            naive=operator.mul,
            arrow=pc.multiply_checked,
            numeric_type=multiply_type,
            numeric_template=_numeric_multiply,
            numeric_arrow=vector.decimal_multiply,
            more=temporal.MULTIPLY,
        ),
        arithmetic(
            "divide",
            "/",
            whole="({0} // {1})",
            floats="weft_finite(weft_divide({0}, {1}), {0}, {1})",
            naive=_divide_whole,
            naive_float=_divide_float,
            naive_decimal=_divide_decimal,
            arrow=pc.divide_checked,
            numeric_type=divide_type,
            numeric_template=_numeric_divide,
            numeric_arrow=_divide_decimals,
            more=temporal.DIVIDE,
        ),
        arithmetic(
            "modulo",
            "%",
            whole="weft_modulo({0}, {1})",
            floats=None,
            naive=modulo_whole,
            naive_decimal=modulo_decimal,
            arrow=vector.modulo_whole,
            numeric_type=modulo_type,
            numeric_template=numeric_modulo,
            numeric_arrow=None,
        ),
        function(
            "negate",
            *(
                overload(
                    f"{k} -> {k}", "(CAST(0 AS {t}) - {0})", naive=operator.neg, arrow=pc.negate_checked, can_fail=True
                )
                for k in _WHOLE
            ),
            overload("numeric -> numeric", "(-{0})", result=lambda t: t[0], naive=operator.neg),
            overload("real -> real", "(-{0})", naive=operator.neg, arrow=pc.negate),
            overload("double -> double", "(-{0})", naive=operator.neg, arrow=pc.negate),
            *temporal.NEGATE,
            operator="-",
        ),
        function("power", overload("double, double -> double", POWER, naive=power, can_fail=True), operator="^"),
    )


# -- bits ------------------------------------------------------------------------------------------------------------


def _bits(name: str, sign: str, template: str, naive: Callable[[Any, Any], Any], arrow: Callable[..., Any]) -> Function:
    return function(
        name,
        *(overload(f"{k}, {k} -> {k}", template, naive=naive, arrow=arrow) for k in _WHOLE),
        operator=sign,
    )


_BITS: Final = (
    _bits("bit_and_op", "&", "({0} & {1})", operator.and_, pc.bit_wise_and),
    _bits("bit_or_op", "|", "({0} | {1})", operator.or_, pc.bit_wise_or),
    _bits("bit_xor_op", "#", "xor({0}, {1})", operator.xor, pc.bit_wise_xor),
    function(
        "bit_not_op",
        *(overload(f"{k} -> {k}", "(~{0})", naive=operator.invert, arrow=pc.bit_wise_not) for k in _WHOLE),
        operator="~",
    ),
)


# -- comparison ------------------------------------------------------------------------------------------------------


def _comparable(types: Sequence[Type]) -> None:
    """PostgreSQL has no equality for json."""
    for type in types:
        if type.kind is Kind.JSON:
            raise Invalid(
                "could not identify an equality operator for type json", hint="Compare ->> texts.", sqlstate="42883"
            )


def _compare(name: str, sign: str) -> Function:
    test: Callable[[Any, Any], bool] = getattr(operator, _PYTHON[name])
    return function(
        name,
        overload(
            "same, same -> boolean",
            lambda r: _compared(r, sign),
            naive=lambda a, b: test(compare_key(a), compare_key(b)),
            arrow=vector.comparison(name),
            check=_comparable,
        ),
        operator=sign,
    )


def _compared(r: Rendering, sign: str) -> str:
    text = f"({r[0]} {sign} {r[1]})"
    if r.types[0].element is not None and sign in (">", ">="):
        return f"coalesce({text}, NULL)"  # DuckDB makes BETWEEN of it and a <, which it cannot evaluate for lists
    return text


_PYTHON: Final = {
    "equal": "eq",
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
}


def _distinct(a: Any, b: Any) -> bool:
    return (a is None) != (b is None) or (a is not None and compare_key(a) != compare_key(b))


def _in_list(value: Any, *items: Any) -> bool | None:
    if value is None:
        return None
    if any(item is not None and compare_key(item) == compare_key(value) for item in items):
        return True
    return None if any(item is None for item in items) else False


def _in_template(r: Rendering) -> str:
    return f"({r[0]} IN ({', '.join(r.arguments[1:])}))"


_COMPARISON: Final = (
    _compare("equal", "="),
    _compare("not_equal", "<>"),
    _compare("less", "<"),
    _compare("less_equal", "<="),
    _compare("greater", ">"),
    _compare("greater_equal", ">="),
    function(
        "is_distinct",
        overload(
            "same, same -> boolean",
            "({0} IS DISTINCT FROM {1})",
            naive=_distinct,
            arrow=vector.is_distinct,
            strict=False,
            check=_comparable,
        ),
        operator="IS DISTINCT FROM",
    ),
    function(
        "is_not_distinct",
        overload(
            "same, same -> boolean",
            "({0} IS NOT DISTINCT FROM {1})",
            naive=lambda a, b: not _distinct(a, b),
            arrow=lambda a, b: pc.invert(vector.is_distinct(a, b)),
            strict=False,
            check=_comparable,
        ),
        operator="IS NOT DISTINCT FROM",
    ),
    function(
        "in_list",
        overload(
            "same, same... -> boolean",
            _in_template,
            naive=_in_list,
            arrow=vector.in_list,
            strict=False,
            check=_comparable,
        ),
        operator="IN",
    ),
)


# -- logic -----------------------------------------------------------------------------------------------------------


def _and(*values: bool | None) -> bool | None:
    return False if False in values else None if None in values else True


def _or(*values: bool | None) -> bool | None:
    return True if True in values else None if None in values else False


def _truth(name: str, template: str, naive: Callable[[Any], bool], arrow: Callable[..., Any]) -> Function:
    return function(
        name, overload("boolean -> boolean", template, naive=naive, arrow=arrow, strict=False), operator=name
    )


_LOGIC: Final = (
    function(
        "and",
        overload(
            "boolean... -> boolean",
            lambda r: "(" + " AND ".join(r.arguments) + ")",
            naive=_and,
            arrow=vector.chained(pc.and_kleene),
            strict=False,
        ),
        operator="AND",
    ),
    function(
        "or",
        overload(
            "boolean... -> boolean",
            lambda r: "(" + " OR ".join(r.arguments) + ")",
            naive=_or,
            arrow=vector.chained(pc.or_kleene),
            strict=False,
        ),
        operator="OR",
    ),
    function("not", overload("boolean -> boolean", "(NOT {0})", naive=operator.not_, arrow=pc.invert), operator="NOT"),
    function(
        "is_null",
        overload("any -> boolean", "({0} IS NULL)", naive=lambda a: a is None, arrow=pc.is_null, strict=False),
        operator="IS NULL",
    ),
    function(
        "is_not_null",
        overload("any -> boolean", "({0} IS NOT NULL)", naive=lambda a: a is not None, arrow=pc.is_valid, strict=False),
        operator="IS NOT NULL",
    ),
    _truth("is_true", "({0} IS TRUE)", lambda a: a is True, lambda a: pc.fill_null(a, False)),
    _truth("is_not_true", "({0} IS NOT TRUE)", lambda a: a is not True, lambda a: pc.invert(pc.fill_null(a, False))),
    _truth("is_false", "({0} IS FALSE)", lambda a: a is False, lambda a: pc.invert(pc.fill_null(a, True))),
    _truth("is_not_false", "({0} IS NOT FALSE)", lambda a: a is not False, lambda a: pc.fill_null(a, True)),
)


# -- patterns and concatenation --------------------------------------------------------------------------------------


def _like(keyword: str) -> Callable[[Rendering], str]:
    """LIKE with PostgreSQL's default escape, the backslash; plain where the pattern is known to hold none."""

    def render(r: Rendering) -> str:
        pattern = r.literals.get(1)
        plain = isinstance(pattern, str) and "\\" not in pattern
        return f"({r[0]} {keyword} {r[1]})" if plain else f"({r[0]} {keyword} {r[1]} ESCAPE '\\')"

    return render


def _like_naive(*, fold: bool) -> Callable[..., bool]:
    def like(value: str, pattern: str, escape: str = "\\") -> bool:
        return like_regex(pattern, escape=escape, fold=fold).fullmatch(value) is not None

    return like


def _likes(name: str, keyword: str, *, fold: bool) -> tuple[Function, ...]:
    naive = _like_naive(fold=fold)
    return (
        function(
            name,
            overload("text, text -> boolean", _like(keyword), naive=naive, arrow=vector.like(fold=fold), can_fail=True),
            operator=keyword,
        ),
        function(
            f"{name}_escape",
            overload(
                "text, text, text -> boolean",
                lambda r: f"({r[0]} {keyword} {r[1]} ESCAPE {r[2]})",
                naive=naive,
                can_fail=True,
            ),
        ),
    )


_CONCAT: Final = function(
    "concat_op",
    overload("text, text -> text", "({0} || {1})", naive=operator.add, arrow=vector.concat),
    overload("text, textual -> text", "({0} || {1})", naive=operator.add, arrow=vector.concat),
    overload("textual, text -> text", "({0} || {1})", naive=operator.add, arrow=vector.concat),
    overload("bytea, bytea -> bytea", "({0} || {1})", naive=operator.add),
    overload("array, array -> array", "coalesce({0} || {1}, {0}, {1})", naive=cat, strict=False),
    overload("array, element -> array", "list_append({0}, {1})", naive=append, strict=False),
    overload("element, array -> array", "list_prepend({0}, {1})", naive=prepend, strict=False),
    *JSONB_CONCAT,
    operator="||",
)


def functions() -> tuple[Function, ...]:
    """All operators."""
    return (
        *_COMPARISON,
        *_LOGIC,
        *_arithmetic(),
        *_BITS,
        *_likes("like", "LIKE", fold=False),
        *_likes("ilike", "ILIKE", fold=True),
        _CONCAT,
    )
