"""Vectorized computations beyond a single Arrow kernel: comparisons with NaN, NUMERIC arithmetic, IN, LIKE.

Arguments are Arrow arrays or scalars of the overload's types (extension types as their storage). NULLs follow Arrow's
kernels, which are strict. Results may have a wider type than asked; the evaluator casts them back, checked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ....base.errors import Invalid
from .plain import like_regex

Datum = Any  # pa.Array | pa.Scalar


class NotVectorized(Exception):
    """This case has no vectorized form; the evaluator maps the naive one over the rows."""


def comparison(name: str) -> Callable[[Datum, Datum], Datum]:
    """A comparison by PostgreSQL's order: NaN equals NaN and is above everything; false < true."""
    kernel: Callable[[Datum, Datum], Datum] = getattr(pc, name)

    def compare(a: Datum, b: Datum) -> Datum:
        if pa.types.is_floating(a.type):
            return _compare_floats(name, kernel, a, b)
        if pa.types.is_boolean(a.type):
            return kernel(a.cast(pa.uint8()), b.cast(pa.uint8()))
        if pa.types.is_interval(a.type) or pa.types.is_nested(a.type):
            raise NotVectorized
        return kernel(a, b)

    return compare


def _compare_floats(name: str, kernel: Callable[[Datum, Datum], Datum], a: Datum, b: Datum) -> Datum:
    plain = kernel(a, b)
    left, right = pc.is_nan(a), pc.is_nan(b)
    if not (_any(left) or _any(right)):
        return plain
    # With r = the rank of NaN (1) over numbers (0), ranks decide where they differ or both are NaN.
    ranks = kernel(left.cast(pa.uint8()), right.cast(pa.uint8()))
    return pc.if_else(pc.or_(left, right), ranks, plain)


def _any(mask: Datum) -> bool:
    if isinstance(mask, pa.Scalar):
        return mask.as_py() is True
    return pc.any(mask).as_py() is True


_equal: Final = comparison("equal")


def is_distinct(a: Datum, b: Datum) -> Datum:
    """IS DISTINCT FROM: never NULL."""
    missing = pc.xor(pc.is_null(a), pc.is_null(b))
    return pc.or_(missing, pc.fill_null(pc.invert(_equal(a, b)), False))


def in_list(value: Datum, *items: Datum) -> Datum:
    """IN: true if found, NULL if not found and there is a NULL, else false."""
    if (
        pa.types.is_floating(value.type)
        or pa.types.is_nested(value.type)
        or not all(isinstance(i, pa.Scalar) for i in items)
    ):
        return functools.reduce(pc.or_kleene, (_equal(value, item) for item in items))
    if pa.types.is_interval(value.type):
        raise NotVectorized
    present = [item for item in items if item.is_valid]
    options = pa.array([item.as_py() for item in present], value.type)
    found = pc.is_in(value, value_set=options)
    nothing = pa.scalar(None, pa.bool_())
    unsure = nothing if len(present) < len(items) else False
    return pc.if_else(pc.is_null(value), nothing, pc.if_else(found, True, unsure))


def chained(kernel: Callable[[Datum, Datum], Datum]) -> Callable[..., Datum]:
    """A kernel of two arguments over any number of them."""
    return lambda first, *others: functools.reduce(kernel, others, first)


def divide_float(a: Datum, b: Datum) -> Datum:
    """Division that raises for a zero divisor, except below NaN."""
    zero = pc.and_(pc.equal(b, pa.scalar(0, b.type)), pc.invert(pc.is_nan(a)))
    if _any(zero):
        raise Invalid("division by zero", sqlstate="22012")
    return pc.divide(a, b)


def modulo_whole(a: Datum, b: Datum) -> Datum:
    """What division towards zero leaves. Arrow refuses to divide by zero, and the least number by -1: see naive."""
    return pc.subtract(a, pc.multiply(pc.divide_checked(a, b), b))


def _wide(a: Datum) -> Datum:
    return a.cast(pa.decimal256(a.type.precision, a.type.scale))


def decimal_add(a: Datum, b: Datum) -> Datum:
    return pc.add_checked(_wide(a), _wide(b))


def decimal_subtract(a: Datum, b: Datum) -> Datum:
    return pc.subtract_checked(_wide(a), _wide(b))


def decimal_multiply(a: Datum, b: Datum) -> Datum:
    if a.type.precision + b.type.precision + 1 > 76:
        raise NotVectorized
    return pc.multiply_checked(_wide(a), _wide(b))


def concat(*parts: Datum) -> Datum:
    return pc.binary_join_element_wise(*parts, "")


def like(*, fold: bool) -> Callable[[Datum, Datum], Datum]:
    def match(value: Datum, pattern: Datum) -> Datum:
        if not isinstance(pattern, pa.Scalar) or isinstance(value, pa.Scalar):
            raise NotVectorized
        text = pattern.as_py()
        if text is None:
            return pa.nulls(len(value), pa.bool_())
        like_regex(text, fold=fold)  # raises for a lone escape at the end
        return pc.match_like(value, text, ignore_case=fold)

    return match


def coalesce(*values: Datum) -> Datum:
    """The first that is not NULL; extension types come as their storage."""
    return pc.coalesce(*values)
