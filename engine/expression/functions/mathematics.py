"""Mathematical functions, and the ones of any type: coalesce, nullif, greatest, least.

Of NUMERICs: abs, sign, ceil, floor, round, trunc, mod, div are exact. Roots, powers, logarithms and the like compute in
double precision for every argument, where PostgreSQL has slow NUMERIC versions too.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any, Final

import pyarrow.compute as pc

from ....base.errors import Invalid
from ....base.types import Type, numeric
from .coercion import digits, limited
from .model import Function, Overload, Rendering, Template, Volatility, function, in_python, overload
from .operators import POWER, modulo_decimal, modulo_type, modulo_whole, numeric_modulo, power
from .plain import compare_key, division_by_zero, out_of_range
from .vector import coalesce
from .vector import modulo_whole as modulo_vector

PRELUDE: Final[tuple[str, ...]] = (
    "CREATE OR REPLACE MACRO weft_width_bucket(x, low, high, buckets) AS CASE "
    "WHEN x IS NULL OR low IS NULL OR high IS NULL OR buckets IS NULL THEN NULL "
    "WHEN buckets <= 0 THEN error('[WEFT 2201G] count must be greater than zero') "
    "WHEN isnan(x) OR isnan(low) OR isnan(high) "
    "THEN error('[WEFT 2201G] operand, lower bound, and upper bound cannot be NaN') "
    "WHEN isinf(low) OR isinf(high) THEN error('[WEFT 2201G] lower and upper bounds must be finite') "
    "WHEN low = high THEN error('[WEFT 2201G] lower bound cannot equal upper bound') "
    "WHEN CASE WHEN low < high THEN x < low ELSE x > low END THEN 0 "
    "WHEN CASE WHEN low < high THEN x >= high ELSE x <= high END THEN buckets + 1 "
    "ELSE CAST(trunc((x - low) * buckets / (high - low)) AS INTEGER) + 1 END",
    "CREATE OR REPLACE MACRO weft_sqrt(x) AS CASE WHEN x < 0 "
    "THEN error('cannot take square root of a negative number') ELSE sqrt(x) END",
    "CREATE OR REPLACE MACRO weft_log_domain(x) AS CASE WHEN x = 0 THEN error('cannot take logarithm of zero') "
    "WHEN x < 0 THEN error('cannot take logarithm of a negative number') ELSE x END",
    "CREATE OR REPLACE MACRO weft_unit_domain(x) AS CASE WHEN abs(x) > 1 AND NOT isnan(x) "
    "THEN error('input is out of range') ELSE x END",
    "CREATE OR REPLACE MACRO weft_finite_domain(x) AS CASE WHEN isinf(x) "
    "THEN error('input is out of range') ELSE x END",
    "CREATE OR REPLACE MACRO weft_exp(x) AS CASE WHEN isinf(exp(x)) AND NOT isinf(x) "
    "THEN error('value out of range: overflow') ELSE exp(x) END",
)

_WHOLE: Final = ("smallint", "integer", "bigint")


def _one(name: str, template: Template, naive: Callable[[float], float], *, can_fail: bool = False) -> Function:
    return function(name, overload("double -> double", template, naive=_guarded(naive), can_fail=can_fail))


def _guarded(compute: Callable[[float], float]) -> Callable[[float], float]:
    """Python's ValueError and OverflowError as PostgreSQL's errors; NaN passes through."""

    def guarded(x: float) -> float:
        if math.isnan(x):
            return x
        try:
            return compute(x)
        except OverflowError:
            raise Invalid("value out of range: overflow", sqlstate="22003") from None
        except ValueError:
            raise Invalid("input is out of range", sqlstate="22003") from None

    return guarded


def _sqrt(x: float) -> float:
    if x < 0:
        raise Invalid("cannot take square root of a negative number", sqlstate="2201F")
    return math.sqrt(x)


def _logarithm(compute: Callable[[float], float]) -> Callable[[float], float]:
    def checked(x: float) -> float:
        if x <= 0:
            what = "zero" if x == 0 else "a negative number"
            raise Invalid(f"cannot take logarithm of {what}", sqlstate="2201E")
        return compute(x)

    return checked


def _log_base(base: float, x: float) -> float:
    first, second = _logarithm(math.log)(base), _logarithm(math.log)(x)
    if first == 0:
        raise division_by_zero()
    return second / first


def _cot(x: float) -> float:
    if x == 0:
        return math.inf
    return 1 / math.tan(x)


def _cbrt(x: float) -> float:
    return math.copysign(abs(x) ** (1 / 3), x) if math.isfinite(x) else x


# -- rounding --------------------------------------------------------------------------------------------------------


def _whole_digits(types: Sequence[Type]) -> Type:
    """A NUMERIC without digits after the point, one more before it for 9.9 → 10."""
    return limited(digits(types[0]) + 1, 0)


def _rounding(name: str, kernel: str, mode: str, float_naive: Callable[[float], float]) -> Function:
    arrow = getattr(pc, kernel)
    return function(
        name,
        overload(
            "numeric -> numeric",
            f"CAST({kernel}({{0}}) AS {{t}})",
            result=_whole_digits,
            naive=lambda x: x.quantize(Decimal(1), rounding=mode),
        ),
        overload("double -> double", f"{kernel}({{0}})", naive=_keeping(float_naive), arrow=arrow),
    )


def _keeping(compute: Callable[[float], float]) -> Callable[[float], float]:
    """NaN and infinities pass, and the sign of zero stays."""
    return lambda x: math.copysign(float(compute(x)), x) if math.isfinite(x) else x


def _scale_type(types: Sequence[Type], literals: Mapping[int, object]) -> Type:
    """round(numeric, n) has n digits after the point, if n is known when the query is bound; else the argument's."""
    places = literals.get(1)
    scale = max(int(places), 0) if isinstance(places, int) else types[0].scale or 0
    return limited(digits(types[0]) + 1, scale)


def _round_scale(call: str) -> Callable[[Rendering], str]:
    """DuckDB wants the number of digits as a constant, and so do we."""

    def render(r: Rendering) -> str:
        places = r.constant(1)
        if places is None:
            return f"CAST(NULL AS {r.t})"
        source = r.types[0].scale or 0
        return f"CAST({r[0]} AS {r.t})" if places >= source else f"CAST({call}({r[0]}, {places}) AS {r.t})"

    return render


def _round_decimal(mode: str) -> Callable[[Decimal, int], Decimal]:
    def rounded(x: Decimal, places: int) -> Decimal:
        return x if -x.as_tuple().exponent <= places else x.quantize(Decimal(1).scaleb(-places), rounding=mode)  # type: ignore[operator]

    return rounded


def _absolute(kind: str) -> Overload:
    options: dict[str, Any] = {"result": (lambda t: t[0])} if kind == "numeric" else {}
    arrow = None if kind == "numeric" else pc.abs_checked
    return overload(f"{kind} -> {kind}", "abs({0})", naive=abs, arrow=arrow, can_fail=kind in _WHOLE, **options)


def _width_bucket(value: Any, low: Any, high: Any, count: int) -> int:
    """The number of the bucket of a histogram of equal widths; 0 and count + 1 are those outside."""
    if count <= 0:
        raise Invalid("count must be greater than zero", sqlstate="2201G")
    if any(isinstance(x, float) and math.isnan(x) for x in (value, low, high)):
        raise Invalid("operand, lower bound, and upper bound cannot be NaN", sqlstate="2201G")
    if any(isinstance(x, float) and math.isinf(x) for x in (low, high)):
        raise Invalid("lower and upper bounds must be finite", sqlstate="2201G")
    if low == high:
        raise Invalid("lower bound cannot equal upper bound", sqlstate="2201G")
    if (value < low) if low < high else (value > low):
        return 0
    if (value >= high) if low < high else (value <= high):
        return count + 1
    return int((value - low) * count / (high - low)) + 1


def _place_among(value: Any, bounds: Sequence[Any]) -> int:
    """How many of the lower bounds, which ascend, are not above the value."""
    return bisect_right([compare_key(bound) for bound in bounds], compare_key(value))


def _acosh(x: float) -> float:
    if x < 1:
        raise Invalid("input is out of range", sqlstate="22003")
    return math.acosh(x)


def _atanh(x: float) -> float:
    if abs(x) > 1:
        raise Invalid("input is out of range", sqlstate="22003")
    return math.copysign(math.inf, x) if abs(x) == 1 else math.atanh(x)


def _digits_after(x: Decimal) -> int:
    return max(0, -int(x.as_tuple().exponent))


def _fewest_digits_after(x: Decimal) -> int:
    return _digits_after(x.normalize())


def _gcd(name: str, naive: Callable[[int, int], int]) -> Function:
    return function(
        name,
        *(
            overload(f"{k}, {k} -> {k}", f"CAST({name}({{0}}, {{1}}) AS {{t}})", naive=naive)
            for k in ("integer", "bigint")
        ),
    )


def _factorial(n: int) -> Decimal:
    if n < 0:
        raise Invalid("factorial of a negative number is undefined", sqlstate="22003")
    if n > 33:
        raise out_of_range("value")
    return Decimal(math.factorial(n))


# -- of any type -----------------------------------------------------------------------------------------------------


def _extreme(name: str, pick: Callable[..., Any]) -> Function:
    def naive(*values: Any) -> Any:
        given = [value for value in values if value is not None]
        return pick(given, key=compare_key) if given else None

    def template(r: Rendering) -> str:
        return in_pairs(list(r.arguments))

    def in_pairs(arguments: list[str]) -> str:
        # DuckDB cannot copy a plan in which one call has a column twice among the third and later arguments.
        if len(arguments) <= 2:
            return f"{name}({', '.join(arguments)})"
        half = len(arguments) // 2
        return f"{name}({in_pairs(arguments[:half])}, {in_pairs(arguments[half:])})"

    return function(name, overload("same... -> same", template, naive=naive, strict=False))


def _nullif(a: Any, b: Any) -> Any:
    return None if a is not None and b is not None and compare_key(a) == compare_key(b) else a


_MOD: Final = (
    *(
        overload(
            f"{k}, {k} -> {k}",
            "weft_modulo({0}, {1})",
            naive=modulo_whole,
            arrow=modulo_vector,
            can_fail=True,
        )
        for k in _WHOLE
    ),
    overload("numeric, numeric -> numeric", numeric_modulo, result=modulo_type, naive=modulo_decimal, can_fail=True),
)


def _div_type(types: Sequence[Type]) -> Type:
    return limited(digits(types[0]) + (types[1].scale or 0), 0)


def _div(r: Rendering) -> str:
    """The whole quotient, truncated: exact digits first, so that no rounding comes between."""
    from .operators import unscaled

    scale = max(r.types[0].scale or 0, r.types[1].scale or 0)
    wide = numeric(38, scale)
    sides = [f"CAST({sql} AS DECIMAL(38,{scale}))" for sql in r.arguments]
    return f"CAST({unscaled(sides[0], wide)} // {unscaled(sides[1], wide)} AS {r.t})"


def _div_naive(a: Decimal, b: Decimal) -> Decimal:
    if not b:
        raise division_by_zero()
    return (a / b).to_integral_value(ROUND_DOWN) if abs(a) >= abs(b) else Decimal(0)


def functions() -> tuple[Function, ...]:
    """All of this family."""
    kinds = (*_WHOLE, "numeric", "real", "double")
    return (
        function("abs", *map(_absolute, kinds), operator="@"),
        function(
            "sign",
            overload(
                "numeric -> numeric",
                "CAST(sign({0}) AS {t})",
                result=lambda t: numeric(1, 0),
                naive=lambda x: Decimal((x > 0) - (x < 0)),
            ),
            overload("double -> double", "CAST(sign({0}) AS DOUBLE)", naive=lambda x: float((x > 0) - (x < 0))),
        ),
        _rounding("ceil", "ceil", ROUND_CEILING, math.ceil),
        _rounding("ceiling", "ceil", ROUND_CEILING, math.ceil),
        _rounding("floor", "floor", ROUND_FLOOR, math.floor),
        function(
            "round",
            overload(
                "numeric -> numeric",
                "CAST({0} AS {t})",
                result=_whole_digits,
                naive=lambda x: x.quantize(Decimal(1), rounding=ROUND_HALF_UP),
            ),
            overload("double -> double", "round_even({0}, 0)", naive=_keeping(round)),
            overload(
                "numeric, integer -> numeric",
                _round_scale("round"),
                literal_result=_scale_type,
                naive=_round_decimal(ROUND_HALF_UP),
                constants=(1,),
            ),
        ),
        function(
            "trunc",
            overload(
                "numeric -> numeric",
                "CAST(trunc({0}) AS {t})",
                result=_whole_digits,
                naive=lambda x: x.quantize(Decimal(1), rounding=ROUND_DOWN),
            ),
            overload("double -> double", "trunc({0})", naive=_keeping(math.trunc)),
            overload(
                "numeric, integer -> numeric",
                _round_scale("trunc"),
                literal_result=_scale_type,
                naive=_round_decimal(ROUND_DOWN),
                constants=(1,),
            ),
        ),
        function("mod", *_MOD),
        function(
            "div",
            overload("numeric, numeric -> numeric", _div, result=_div_type, naive=_div_naive, can_fail=True),
        ),
        function("pow", overload("double, double -> double", POWER, naive=power, can_fail=True)),
        function(
            "sqrt",
            overload("double -> double", "weft_sqrt({0})", arrow=pc.sqrt_checked, naive=_guarded(_sqrt), can_fail=True),
        ),
        _one("cbrt", "cbrt({0})", _cbrt),
        _one("exp", "weft_exp({0})", math.exp, can_fail=True),
        _one("ln", "ln(weft_log_domain({0}))", _logarithm(math.log), can_fail=True),
        function(
            "log",
            overload(
                "double -> double", "log10(weft_log_domain({0}))", naive=_guarded(_logarithm(math.log10)), can_fail=True
            ),
            overload(
                "double, double -> double",
                "weft_divide(ln(weft_log_domain({1})), ln(weft_log_domain({0})))",
                naive=_log_base,
                can_fail=True,
            ),
        ),
        _one("log10", "log10(weft_log_domain({0}))", _logarithm(math.log10), can_fail=True),
        *(
            _one(name, f"{name}({{0}})", getattr(math, name))
            for name in ("atan", "sinh", "tanh", "degrees", "radians", "asinh")
        ),
        *(
            _one(name, f"{name}(weft_finite_domain({{0}}))", getattr(math, name), can_fail=True)
            for name in ("sin", "cos", "tan")
        ),
        *(
            _one(name, f"{name}(weft_unit_domain({{0}}))", getattr(math, name), can_fail=True)
            for name in ("asin", "acos")
        ),
        _one("cot", "(CAST(1 AS DOUBLE) / tan(weft_finite_domain({0})))", _cot),
        _one("cosh", "cosh({0})", math.cosh),
        function("atan2", overload("double, double -> double", "atan2({0}, {1})", naive=math.atan2)),
        function("pi", overload("-> double", "pi()", naive=lambda: math.pi)),
        function(
            "factorial",
            overload(
                "bigint -> numeric",
                "CAST(factorial(CAST({0} AS INTEGER)) AS {t})",
                result=lambda t: numeric(38, 0),
                naive=_factorial,
                can_fail=True,
            ),
        ),
        function(
            "width_bucket",
            *(
                overload(f"{kind}, {kind}, {kind}, integer -> integer", native, naive=_width_bucket, can_fail=True)
                for kind, native in (("double", "weft_width_bucket({args})"), ("numeric", in_python))
            ),
            *(
                overload(f"{kind}, array -> integer", in_python, naive=_place_among)
                for kind in ("integer", "bigint", "double", "date", "timestamp", "timestamptz", "text")
            ),
        ),
        _one("acosh", in_python, _acosh, can_fail=True),
        _one("atanh", in_python, _atanh, can_fail=True),
        function("scale", overload("numeric -> integer", in_python, naive=_digits_after)),
        function("min_scale", overload("numeric -> integer", in_python, naive=_fewest_digits_after)),
        _gcd("gcd", math.gcd),
        _gcd("lcm", math.lcm),
        function("random", overload("-> double", "random()", naive=random.random), volatility=Volatility.VOLATILE),
        function(
            "coalesce",
            overload(
                "same... -> same",
                "coalesce({args})",
                naive=lambda *v: next((x for x in v if x is not None), None),
                arrow=coalesce,
                strict=False,
            ),
        ),
        function("nullif", overload("same, same -> same", "nullif({0}, {1})", naive=_nullif, strict=False)),
        _extreme("greatest", max),
        _extreme("least", min),
    )
