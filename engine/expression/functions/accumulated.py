"""What reads of materialized views need: values of the states that groups are kept with (engine/aggregates).

``weft_sum_integer`` and ``weft_sum_numeric`` make a number of limbs of 64 bits, the lowest first; ``weft_sum_float``
rounds an exact sum of floats once. A sum that its type cannot hold is an error here, at the read, and nowhere before.
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping, Sequence
from decimal import Decimal
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
    )
