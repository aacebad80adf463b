"""Aggregates and window functions.

Result types are PostgreSQL's, with NUMERIC in 38 digits: ``sum(int)`` is bigint, ``sum(bigint)`` numeric(38,0),
``sum(numeric(p,s))`` numeric(38,s); ``avg`` of whole numbers and NUMERICs is numeric with ``max(16, s)`` digits
after the point, rounded half away from zero (PostgreSQL shows at least 16 significant digits). Variances and standard
deviations of NUMERICs are double precision here, numeric there.

A template may call several native aggregates (``avg`` is sum ÷ count), each through ``Rendering.call``, which puts
DISTINCT, ORDER BY, FILTER and OVER on it. ``naive`` of an aggregate takes the list of argument tuples of its group,
those with NULL left out where the aggregate is strict; window functions have none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from ....base.errors import Invalid
from ....base.types import Type, array_of, numeric
from . import json_values
from .coercion import as_numeric
from .duck import quote
from .model import Function, FunctionKind, Overload, Rendering, function, overload
from .operators import DIVIDE_SCALE_MIN, quotient
from .plain import compare_key

Rows = list[tuple[Any, ...]]

PRELUDE: Final[tuple[str, ...]] = ()


def _aggregate(name: str, *overloads: Overload, doc: str = "") -> Function:
    return function(name, *overloads, kind=FunctionKind.AGGREGATE, doc=doc)


def _native(signature: str, call: str, **options: Any) -> Overload:
    """An aggregate that DuckDB has under the name ``call`` with the right value and type."""
    return overload(signature, lambda r: r.call(call, *r.arguments), **options)


def _cast(signature: str, call: str, **options: Any) -> Overload:
    """One whose native type is wider or narrower than PostgreSQL's."""
    return overload(signature, lambda r: f"CAST({r.call(call, *r.arguments)} AS {r.t})", **options)


def _sum(rows: Rows) -> Any:
    return sum(row[0] for row in rows) if rows else None


def _float_sum(rows: Rows) -> Any:
    return math.fsum(row[0] for row in rows) if rows else None


def _avg_type(types: Sequence[Type]) -> Type:
    return numeric(38, max(DIVIDE_SCALE_MIN, as_numeric(types[0]).scale or 0))


def _avg(r: Rendering) -> str:
    total = numeric(38, as_numeric(r.types[0]).scale or 0)
    sum_sql = f"CAST({r.call('sum', r[0])} AS DECIMAL({total.precision},{total.scale}))"
    count_sql = f"nullif({r.call('count', r[0])}, 0)"
    return quotient(sum_sql, count_sql, (total, numeric(19, 0)), r.result)


def _interval_sum(r: Rendering) -> str:
    """DuckDB has no sum of intervals: months, days and microseconds apart."""
    months = r.call("sum", f"weft_interval_months({r[0]})")
    days = r.call("sum", f"date_part('day', {r[0]})")
    micros = r.call("sum", f"weft_interval_micros({r[0]})")
    whole = f"to_months(CAST({months} AS INTEGER)) + to_days(CAST({days} AS INTEGER))"
    return f"({whole} + to_microseconds(CAST({micros} AS BIGINT)))"


def _interval_avg(r: Rendering) -> str:
    return f"({_interval_sum(r)} / CAST(nullif({r.call('count', r[0])}, 0) AS DOUBLE))"


def _exact_avg(rows: Rows) -> Any:
    return Decimal(sum(row[0] for row in rows)) / len(rows) if rows else None


def _float_avg(rows: Rows) -> Any:
    return math.fsum(row[0] for row in rows) / len(rows) if rows else None


def _extreme(pick: Callable[..., Any]) -> Callable[[Rows], Any]:
    return lambda rows: pick((row[0] for row in rows), key=compare_key) if rows else None


def _no_order(types: Sequence[Type]) -> None:
    if types[0].kind.value in ("json", "uuid", "boolean"):
        raise Invalid(f"function min/max({types[0]}) does not exist", hint="Cast it to text.", sqlstate="42883")


def _spread(name: str, call: str, naive: Callable[[list[float]], float], least: int) -> Function:
    def of(rows: Rows) -> float | None:
        values = [float(row[0]) for row in rows]
        if len(values) < least:
            return None
        return naive(values) if all(map(math.isfinite, values)) else math.nan

    def render(r: Rendering) -> str:
        """That of one infinity, or NaN, is NaN; DuckDB's is 0."""
        found = r.call(call, r[0])
        return found if least > 1 else f"({found} + 0 * {r.call('any_value', r[0])})"

    return _aggregate(name, overload("double -> double", render, naive=of))


def _two(name: str) -> Function:
    """Of pairs (y, x). Without spread in x (corr: in either) PostgreSQL gives NULL where DuckDB gives NaN."""

    def render(r: Rendering) -> str:
        call = r.call(name, *r.arguments)
        flat = [r.call(spread, *r.arguments) for spread in _NULL_WHEN_FLAT.get(name, ())]
        return (
            f"CASE WHEN {' OR '.join(f'{spread} = 0' for spread in flat)} THEN NULL ELSE {call} END" if flat else call
        )

    return _aggregate(name, overload("double, double -> double", render))


_NULL_WHEN_FLAT: Final = {
    "corr": ("regr_sxx", "regr_syy"),
    "regr_slope": ("regr_sxx",),
    "regr_intercept": ("regr_sxx",),
    "regr_r2": ("regr_sxx",),
}


def _bits(name: str) -> Function:
    return _aggregate(name, *(_native(f"{k} -> {k}", name) for k in ("smallint", "integer", "bigint")))


def _percentile(call: str) -> Callable[[Rendering], str]:
    """percentile_*(fraction) WITHIN GROUP (ORDER BY x): the arguments are the fraction or an array of them, and x."""

    def render(r: Rendering) -> str:
        given = r.constant(0)
        fractions = given if isinstance(given, list) else [given]
        if given is None or None in fractions:
            return f"CAST(NULL AS {r.t})"
        for fraction in fractions:
            if not 0 <= fraction <= 1:
                raise Invalid(f"percentile value {fraction} is not between 0 and 1", sqlstate="22003")
        values = ", ".join(f"CAST({fraction} AS DOUBLE)" for fraction in fractions)
        filter = f" FILTER (WHERE {r.modifiers.filter})" if r.modifiers.filter else ""
        order = f" ORDER BY {r[1]} DESC" if r.modifiers.descending else ""
        return f"{call}({r[1]}, {f'[{values}]' if isinstance(given, list) else values}{order}){filter}"

    return render


def _approximate(r: Rendering) -> str:
    fraction = r.constant(1)
    if fraction is None or not 0 <= fraction <= 1:
        raise Invalid(f"percentile value {fraction} is not between 0 and 1", sqlstate="22003")
    return r.call("approx_quantile", r[0], f"CAST({fraction} AS FLOAT)")


def _mode(r: Rendering) -> str:
    """Of values that are equally frequent the first in order. The second key is DuckDB's: with one alone a constant
    is taken for a percentile."""
    filter = f" FILTER (WHERE {r.modifiers.filter})" if r.modifiers.filter else ""
    return f"mode({r[0]} ORDER BY {r[0]}{' DESC' if r.modifiers.descending else ''}, {r[0]}){filter}"


def _listed(r: Rendering) -> str:
    """array_agg. Distinct values are sorted afterwards: PostgreSQL sorts them where no order is given, and an order
    within must be of the very argument, which DuckDB does not know again where a macro computes it."""
    modifiers = r.modifiers
    if not modifiers.distinct:
        return r.call("array_agg", r[0])
    values = replace(modifiers, order_by="").call("array_agg", r[0])
    nulls = "FIRST" if modifiers.nulls_first else "LAST"
    return f"list_sort({values}, '{'DESC' if modifiers.descending else 'ASC'}', 'NULLS {nulls}')"


def _joined(r: Rendering) -> str:
    """string_agg."""
    delimiter = quote(r.constant(1) or "")
    if not r.modifiers.distinct:
        return r.call("string_agg", r[0], delimiter)
    known = f"{r[0]} IS NOT NULL" + (f" AND ({r.modifiers.filter})" if r.modifiers.filter else "")
    return f"array_to_string({_listed(replace(r, modifiers=replace(r.modifiers, filter=known)))}, {delimiter})"


def _median(rows: Rows) -> float | None:
    return statistics.median(row[0] for row in rows) if rows else None


def _at_extreme(pick: Callable[..., Any]) -> Callable[[Rows], Any]:
    """Of (value, time) pairs the value of the least or greatest (time, value); pairs without a time do not count."""

    def of(rows: Rows) -> Any:
        timed = [row for row in rows if row[1] is not None]
        return pick(timed, key=lambda row: (compare_key(row[1]), _or_last(row[0])))[0] if timed else None

    return of


def _or_last(value: Any) -> tuple[Any, ...]:
    """What NULL is greater than."""
    return (True,) if value is None else (False, compare_key(value))


def _by_time(call: str) -> Callable[[Rendering], str]:
    """Of rows at one time the one with the least, or greatest, value: which came first must not decide.

    DuckDB compares rows as PostgreSQL does: NaN above all numbers, and NULL above all else.
    """

    def render(r: Rendering) -> str:
        timed = f"{r[1]} IS NOT NULL" + (f" AND ({r.modifiers.filter})" if r.modifiers.filter else "")
        return replace(r.modifiers, filter=timed).call(call, f"{r[0]}, row({r[1]}, {r[0]})")

    return render


def _composed(r: Rendering) -> str:
    raise AssertionError(f"the binder makes {r.function} of other windows")


def _carried(call: str) -> tuple[Overload, Overload]:
    """The last or next value that is not NULL; with a condition the value of the last or next row that fulfils it."""
    return (
        overload("any -> any", lambda r: r.call(call, f"{r[0]} IGNORE NULLS")),
        overload(
            "any, boolean -> any", lambda r: f"{r.call(call, f'CASE WHEN {r[1]} THEN [{r[0]}] END IGNORE NULLS')}[1]"
        ),
    )


def _window(name: str, *overloads: Overload) -> Function:
    return function(name, *overloads, kind=FunctionKind.WINDOW)


def _ranking(name: str, result: str) -> Function:
    return _window(name, _native(f"-> {result}", name))


_AGGREGATES: Final[tuple[Function, ...]] = (
    _aggregate(
        "count",
        overload("-> bigint", lambda r: r.call("count", "*"), naive=len, strict=False),
        _native("any -> bigint", "count", naive=len),
    ),
    _aggregate(
        "sum",
        _cast("smallint -> bigint", "sum", naive=_sum, can_fail=True),
        _cast("integer -> bigint", "sum", naive=_sum, can_fail=True),
        _cast("bigint -> numeric", "sum", result=lambda t: numeric(38, 0), naive=_sum, can_fail=True),
        _cast("numeric -> numeric", "sum", result=lambda t: numeric(38, t[0].scale or 0), naive=_sum, can_fail=True),
        _cast("real -> real", "sum", naive=_float_sum, can_fail=True),
        _native("double -> double", "sum", naive=_float_sum, can_fail=True),
        overload("interval -> interval", _interval_sum, can_fail=True),
    ),
    _aggregate(
        "avg",
        *(
            overload(f"{kind} -> numeric", _avg, result=_avg_type, naive=_exact_avg, can_fail=True)
            for kind in ("smallint", "integer", "bigint", "numeric")
        ),
        _native("real -> double", "avg", naive=_float_avg),
        _native("double -> double", "avg", naive=_float_avg),
        overload("interval -> interval", _interval_avg, can_fail=True),
    ),
    _aggregate("min", _native("same -> same", "min", naive=_extreme(min), check=_no_order)),
    _aggregate("max", _native("same -> same", "max", naive=_extreme(max), check=_no_order)),
    *(
        _aggregate(name, _native("boolean -> boolean", call, naive=naive))
        for name, call, naive in (
            ("bool_and", "bool_and", lambda rows: all(row[0] for row in rows) if rows else None),
            ("every", "bool_and", lambda rows: all(row[0] for row in rows) if rows else None),
            ("bool_or", "bool_or", lambda rows: any(row[0] for row in rows) if rows else None),
        )
    ),
    _bits("bit_and"),
    _bits("bit_or"),
    _bits("bit_xor"),
    _aggregate(
        "string_agg",
        overload(
            "text, text -> text",
            _joined,
            naive=lambda rows: rows[0][1].join(row[0] for row in rows) if rows else None,
            constants=(1,),
        ),
    ),
    _aggregate(
        "array_agg",
        overload("any -> array", _listed, naive=lambda rows: [row[0] for row in rows] if rows else None, strict=False),
    ),
    _spread("var_pop", "var_pop", statistics.pvariance, 1),
    _spread("var_samp", "var_samp", statistics.variance, 2),
    _spread("variance", "var_samp", statistics.variance, 2),
    _spread("stddev_pop", "stddev_pop", statistics.pstdev, 1),
    _spread("stddev_samp", "stddev_samp", statistics.stdev, 2),
    _spread("stddev", "stddev_samp", statistics.stdev, 2),
    *map(
        _two,
        (
            "corr",
            "covar_pop",
            "covar_samp",
            "regr_slope",
            "regr_intercept",
            "regr_r2",
            "regr_avgx",
            "regr_avgy",
            "regr_sxx",
            "regr_syy",
            "regr_sxy",
        ),
    ),
    _aggregate("regr_count", _cast("double, double -> bigint", "regr_count")),
    _aggregate(
        "percentile_cont",
        overload("double, double -> double", _percentile("quantile_cont"), constants=(0,)),
        overload("array, double -> array", _percentile("quantile_cont"), constants=(0,)),
    ),
    _aggregate(
        "percentile_disc",
        overload("double, any -> any", _percentile("quantile_disc"), result=lambda t: t[1], constants=(0,)),
        overload("array, any -> any", _percentile("quantile_disc"), result=lambda t: array_of(t[1]), constants=(0,)),
    ),
    *(_aggregate(name, one) for name, one in json_values.aggregate_overloads().items()),
    _aggregate("median", overload("double -> double", lambda r: r.call("median", r[0]), naive=_median)),
    _aggregate("approx_percentile", overload("double, double -> double", _approximate, constants=(1,))),
    _aggregate("mode", overload("any -> any", _mode)),
    _aggregate("any_value", _native("any -> any", "any_value")),
    *(
        _aggregate(name, overload("any, same -> any", _by_time(call), naive=_at_extreme(pick), strict=False))
        for name, call, pick in (("first", "arg_min_null", min), ("last", "arg_max_null", max))
    ),
    _aggregate("approx_count_distinct", _native("any -> bigint", "approx_count_distinct")),
)

_WINDOWS: Final[tuple[Function, ...]] = (
    _ranking("row_number", "bigint"),
    _ranking("rank", "bigint"),
    _ranking("dense_rank", "bigint"),
    _ranking("percent_rank", "double"),
    _ranking("cume_dist", "double"),
    _window("ntile", _cast("integer -> integer", "ntile")),
    *(
        _window(
            name,
            _native("any -> any", name),
            overload("any, integer -> any", lambda r: r.call(r.function, r[0], r[1])),
            overload("same, integer, same -> same", lambda r: r.call(r.function, *r.arguments)),
        )
        for name in ("lag", "lead")
    ),
    _window("first_value", _native("any -> any", "first_value")),
    _window("last_value", _native("any -> any", "last_value")),
    _window("nth_value", _native("any, integer -> any", "nth_value")),
    _window("locf", *_carried("last_value")),
    _window("nocb", *_carried("first_value")),
    # Made by the binder of the ones above and of lag and sum; they are here for their names.
    _window("interpolate", overload("any -> any", _composed)),
    _window("session_number", overload("any, any -> bigint", _composed)),
)


def functions() -> tuple[Function, ...]:
    """All aggregates and window functions."""
    return (*_AGGREGATES, *_WINDOWS)
