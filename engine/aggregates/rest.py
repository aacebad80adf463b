"""The rest of a sum of doubles: NaN and infinities, counted, and the exact sum of what is not in the window.

It is an element of the same group as the window's sum: each part can be taken away again, and is then as if it had
never been there. In a row it is one BYTEA, NULL where all of it is zero, and there is one form of it only:

    3 of int64   how many NaN, +infinity, -infinity
    uint16       how many zero bytes of the integer are left out at its low end
    the others   the integer in two's complement, little-endian, with no byte too many; none if it is zero

The integer counts units of 2^-1074, which every finite double is a multiple of, or, of squares, of 2^-2148. It has 263
bytes at most (525 of squares; rows are fewer than 2^63), and a few where the values have like exponents.

Values outside of the window are rare, and they go one by one here, through Python's integers: about 1 µs each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

UNIT: Final = 1074
"""A finite double is a multiple of 2^-UNIT."""

_HEAD: Final = struct.Struct("<qqqH")
_FRACTION: Final = (1 << 52) - 1


@dataclass(slots=True)
class Rest:
    """How many NaN and infinities, and the sum of the others in units."""

    nans: int = 0
    above: int = 0
    below: int = 0
    units: int = 0

    def encoded(self) -> bytes | None:
        """None where all of it is zero."""
        if not (self.nans or self.above or self.below or self.units):
            return None
        zeros = ((self.units & -self.units).bit_length() - 1) >> 3 if self.units else 0
        units = self.units >> (8 * zeros)
        size = ((units if units >= 0 else ~units).bit_length() >> 3) + 1 if units else 0
        return _HEAD.pack(self.nans, self.above, self.below, zeros) + units.to_bytes(size, "little", signed=True)

    def add(self, data: bytes) -> None:
        """Add an encoded one."""
        nans, above, below, zeros = _HEAD.unpack_from(data)
        self.nans += nans
        self.above += above
        self.below += below
        self.units += int.from_bytes(data[_HEAD.size :], "little", signed=True) << (8 * zeros)

    def add_value(self, bits: int, weight: int, *, squared: bool) -> None:
        """Add a double, given as its bits (uint64), or its square, ``weight`` times."""
        exponent, fraction, negative = (bits >> 52) & 2047, bits & _FRACTION, bits >> 63
        if exponent == 2047:
            if fraction:
                self.nans += weight
            elif negative and not squared:
                self.below += weight
            else:
                self.above += weight
            return
        units = (fraction | (1 << 52)) << (exponent - 1) if exponent else fraction
        if squared:
            units *= units
        elif negative:
            units = -units
        self.units += weight * units


def of_values(groups: np.ndarray, bits: np.ndarray, weights: np.ndarray, *, squared: bool, count: int) -> pa.Array:
    """The rests (binary) of ``count`` groups: of doubles, given as their bits (int64), in their groups."""
    if not groups.size:
        return pa.nulls(count, pa.binary())
    found: dict[int, Rest] = {}
    rows = zip(groups.tolist(), bits.view(np.uint64).tolist(), weights.tolist(), strict=True)
    for group, value, weight in rows:
        found.setdefault(group, Rest()).add_value(value, weight, squared=squared)
    return _array(found, count)


def folded(parts: Iterable[tuple[np.ndarray, pa.Array]], *, count: int) -> pa.Array:
    """The rests of ``count`` groups: the sums of others, given with the groups that they go to."""
    found: dict[int, Rest] = {}
    for groups, rests in parts:
        rows = places_of(rests)
        if rows.size:
            for group, data in zip(groups[rows].tolist(), rests.take(pa.array(rows)).to_pylist(), strict=True):
                found.setdefault(group, Rest()).add(data)
    return _array(found, count)


def places_of(rests: pa.Array) -> np.ndarray:
    """Which rows have a rest (int64)."""
    if rests.null_count == len(rests):
        return np.empty(0, np.int64)
    return np.flatnonzero(rests.is_valid().to_numpy(zero_copy_only=False))


def _array(rests: dict[int, Rest], count: int) -> pa.Array:
    if not rests:
        return pa.nulls(count, pa.binary())
    values: list[bytes | None] = [None] * count
    for group, rest in rests.items():
        values[group] = rest.encoded()
    return pa.array(values, pa.binary())
