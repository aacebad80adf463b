"""What reads of materialized views need: values of the states that groups are kept with (engine/aggregates).

``weft_sum_integer`` and ``weft_sum_numeric`` make a number of limbs of 64 bits, the lowest first; ``weft_sum_float``
rounds an exact sum of floats once. ``weft_variance_…`` round once what exact sums of values and of their squares give:
of a count, the parts of both sums, what is subtracted from the count (1 of a sample, 0 of a population), and of NUMERIC
the scale. A value that its type cannot hold is an error here, at the read, and nowhere before.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import repeat
from typing import Any, Final, NoReturn

import pyarrow as pa

from ....base.errors import Invalid
from ....base.types import Type, numeric
from ...aggregates import accumulators
from .model import Function, function, in_python, overload
from .vector import NotVectorized

PRELUDE: Final[tuple[str, ...]] = ()

_LIMB: Final = (1 << 64) - 1


def _integer(low: int, high: int) -> Decimal:
    """128 bits have more than 38 digits, so this can overflow, too."""
    total = low & _LIMB | high << 64
    return Decimal(total) if -_BEYOND < total < _BEYOND else _refused(total)


def _numeric(low: int, middle: int, high: int, scale: int) -> Decimal:
    total = low & _LIMB | (middle & _LIMB | high << 64) << 64
    return Decimal(total if -_BEYOND < total < _BEYOND else _refused(total)).scaleb(-scale, _DIGITS)


def _refused(total: int) -> NoReturn:
    raise Invalid(f"the sum {total} has more than 38 digits", hint="Group by more, or filter.", sqlstate="22003")


_BEYOND: Final = 10**38
_DIGITS: Final = decimal.Context(prec=38)


def _whole_arrow(*limbs: Any) -> pa.Array:
    return _checked(limbs)


def _scaled_arrow(*given: Any) -> pa.Array:
    scale = given[-1] if isinstance(given[-1], pa.Scalar) else given[-1][0]  # the executor repeats constants
    return _checked(given[:-1]).view(pa.decimal128(38, scale.as_py()))


def _checked(limbs: Sequence[Any]) -> pa.Array:
    if any(isinstance(limb, pa.Scalar) for limb in limbs):
        raise NotVectorized
    values, beyond = accumulators.wide(limbs)
    if beyond.any():
        raise NotVectorized  # the naive form says which
    return values


def _float(low: int | None, middle: int, high: int, rest: bytes | None) -> float | None:
    if low is None:
        return None
    value, beyond = accumulators.float_of(low & _LIMB | (middle & _LIMB | high << 64) << 64, rest)
    if beyond:
        raise Invalid("value out of range: overflow", sqlstate="22003")
    return value


def _float_arrow(*state: Any) -> pa.Array:
    if any(isinstance(part, pa.Scalar) for part in state):
        raise NotVectorized
    values, beyond = accumulators.floats(state)
    if beyond.any():
        raise NotVectorized
    return pa.array(values)


def _integer_variance(
    count: int, low: int, high: int, square0: int, square1: int, square2: int, freedom: int
) -> float | None:  # fmt: skip
    if count <= freedom:
        return None
    total, squares = low & _LIMB | high << 64, _of_limbs(square0, square1, square2)
    return accumulators.variance(count, total, squares, freedom=freedom)


def _numeric_variance(count: int, *given: int) -> float | None:
    """``given``: 3 limbs of the sum, 5 of the squares', freedom, scale."""
    *limbs, freedom, scale = given
    if count <= freedom:
        return None
    total, squares = _of_limbs(*limbs[:3]), _of_limbs(*limbs[3:])
    return accumulators.variance(count, total, squares, freedom=freedom, unit=100**scale)


def _float_variance(count: int | None, *given: Any) -> float | None:
    """``given``: 3 limbs of the sum and its rest, 5 of the squares' and their rest, freedom."""
    low, middle, high, rests, *squares, rests_of_squares, freedom = given
    if count is None or count <= freedom:
        return None
    total = _of_limbs(low, middle, high)
    try:
        return accumulators.float_variance(count, total, rests, _of_limbs(*squares), rests_of_squares, freedom=freedom)
    except OverflowError:
        raise Invalid("value out of range: overflow", sqlstate="22003") from None


def _by_rows(naive: Callable[..., float | None]) -> Callable[..., pa.Array]:
    """The Arrow form of what is made of Python's integers anyway: 1 µs a row, and 2 to 3 of doubles."""

    def arrow(*given: Any) -> pa.Array:
        if any(part.null_count for part in given if not isinstance(part, pa.Scalar) and part.type != pa.binary()):
            raise NotVectorized
        if all(isinstance(part, pa.Scalar) for part in given):
            raise NotVectorized
        return pa.array(map(naive, *map(_listed, given)), pa.float64())

    return arrow


def _listed(column: Any) -> Iterable[Any]:
    if isinstance(column, pa.Scalar):
        return repeat(column.as_py())
    if column.null_count == len(column):
        return repeat(None, len(column))
    return column.to_pylist() if column.null_count else column.to_numpy(zero_copy_only=False).tolist()


def _of_limbs(*limbs: int) -> int:
    """A sum: all limbs but the last are without sign."""
    total = limbs[-1]
    for limb in limbs[-2::-1]:
        total = total << 64 | limb & _LIMB
    return total


def _scale(_: Sequence[Type], literals: Mapping[int, object]) -> Type:
    scale = literals.get(3)
    return numeric(38, scale if isinstance(scale, int) else 0)


def functions() -> tuple[Function, ...]:
    return (
        function(
            "weft_sum_integer",
            overload(
                "bigint, bigint -> numeric",
                in_python,
                result=lambda _: numeric(38, 0),
                arrow=_whole_arrow,
                naive=_integer,
                can_fail=True,
            ),
        ),
        function(
            "weft_sum_numeric",
            overload(
                "bigint, bigint, bigint, integer -> numeric",
                in_python,
                literal_result=_scale,
                arrow=_scaled_arrow,
                naive=_numeric,
                constants=(3,),
                can_fail=True,
            ),
        ),
        function(
            "weft_sum_float",
            overload(
                "bigint, bigint, bigint, bytea -> double",
                in_python,
                arrow=_float_arrow,
                naive=_float,
                strict=False,
                can_fail=True,
            ),
        ),
        *(
            function(
                f"weft_variance_{sort}",
                overload(
                    f"{', '.join(('bigint', *parts, *['integer'] * literals))} -> double",
                    in_python,
                    arrow=_by_rows(naive),
                    naive=naive,
                    strict=strict,
                    can_fail=not strict,
                ),
            )
            for sort, parts, literals, naive, strict in (
                ("integer", ["bigint"] * 5, 1, _integer_variance, True),
                ("numeric", ["bigint"] * 8, 2, _numeric_variance, True),
                ("float", [*["bigint"] * 3, "bytea", *["bigint"] * 5, "bytea"], 1, _float_variance, False),
            )
        ),
    )
