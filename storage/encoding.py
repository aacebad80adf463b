"""What a segment makes of SQL types and values: physical types, zones, dictionaries, and blocks in memory.

A column has a *physical type* (how wide a value is, whether it is a float) and an *order* (how its zones compare). A
*zone* is the smallest and the largest value of a block in an order-preserving map to int64; ``zone_of`` maps a constant
the same way. A block may hold a row for which the comparison with a constant c is true only if

    =      zone.low <= high(c)  and  low(c) <= zone.high
    < <=   zone.low <= high(c)                                > >=   low(c) <= zone.high

where ``(low(c), high(c)) = zone_of(type, c)``; for INTEGER orders the map is exact, and ``<`` may be read strictly.
An empty block (all NULL) has low > high. Maps lose what is beyond 64 bits, and never the order.

``Encoder`` makes blocks and directory entries of values; ``storage/segment.py`` puts them into sections.
"""

from __future__ import annotations

import datetime
import enum
import math
import uuid
from decimal import Decimal
from typing import Any, Final, assert_never

import numpy as np
import pyarrow.compute as pc

from ..base.types import BYTEA, Kind, Type
from .column_values import FixedValues, Values, VariableValues, frozen, variable_array
from .kernels import packing, sketch
from .kernels.blocks import DIRECTORY
from .kernels.distinct import distinct


class Physical(enum.IntEnum):
    """How values lie in memory; the numbers stand in files."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    FLOAT32 = 5
    FLOAT64 = 6
    WIDE = 7
    BYTES = 8

    @property
    def size(self) -> int:
        """Bytes of a value; 0 where they vary."""
        return _SIZES[self]

    @property
    def dtype(self) -> np.dtype:
        """The numpy type of fixed-width values; WIDE ones stand as pairs."""
        return _DTYPES[self]


_SIZES: Final = {
    Physical.INT8: 1,
    Physical.INT16: 2,
    Physical.INT32: 4,
    Physical.INT64: 8,
    Physical.FLOAT32: 4,
    Physical.FLOAT64: 8,
    Physical.WIDE: 16,
    Physical.BYTES: 0,
}

_DTYPES: Final = {
    Physical.INT8: np.dtype(np.uint8),
    Physical.INT16: np.dtype(np.int16),
    Physical.INT32: np.dtype(np.int32),
    Physical.INT64: np.dtype(np.int64),
    Physical.FLOAT32: np.dtype(np.float32),
    Physical.FLOAT64: np.dtype(np.float64),
    Physical.WIDE: np.dtype(np.uint64),
    Physical.BYTES: np.dtype(np.uint8),
}


class Order(enum.IntEnum):
    """How values of a column map to zones; the numbers stand in files."""

    NONE = 0
    INTEGER = 1
    REAL = 2
    DOUBLE = 3
    DECIMAL = 4
    UUID = 5
    BYTES = 6


DICTIONARY_VALUES_MAX: Final = 262_144
DICTIONARY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Text from a dictionary of 4 MB is read in twice the time of text that stands there, which is still 27 million a
second; it takes a fourth of the room, and conditions and groups need not look at it row by row."""

LOWEST: Final = -(2**63)
HIGHEST: Final = 2**63 - 1
FULL_ZONE: Final = (LOWEST, HIGHEST)
EMPTY_ZONE: Final = (HIGHEST, LOWEST)

_EPOCH: Final = datetime.datetime(1970, 1, 1)
_EPOCH_UTC: Final = _EPOCH.replace(tzinfo=datetime.UTC)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)


def physical_of(type: Type) -> Physical:
    """The physical type of a column of ``type``."""
    match type.kind:
        case Kind.BOOLEAN:
            return Physical.INT8
        case Kind.SMALLINT:
            return Physical.INT16
        case Kind.INTEGER | Kind.DATE:
            return Physical.INT32
        case Kind.BIGINT | Kind.TIME | Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return Physical.INT64
        case Kind.REAL:
            return Physical.FLOAT32
        case Kind.DOUBLE:
            return Physical.FLOAT64
        case Kind.NUMERIC | Kind.UUID | Kind.INTERVAL:
            return Physical.WIDE
        case Kind.TEXT | Kind.VARCHAR | Kind.BYTEA | Kind.JSON | Kind.JSONB | Kind.ARRAY:
            return Physical.BYTES
        case Kind.UNKNOWN:
            raise AssertionError(f"{type} is never a column's type")
        case _:
            assert_never(type.kind)


def order_of(type: Type) -> Order:
    """The order of a column of ``type``."""
    match type.kind:
        case Kind.REAL:
            return Order.REAL
        case Kind.DOUBLE:
            return Order.DOUBLE
        case Kind.NUMERIC:
            return Order.DECIMAL
        case Kind.UUID:
            return Order.UUID
        case Kind.INTERVAL | Kind.ARRAY:
            return Order.NONE
        case _:
            return Order.BYTES if type.is_variable else Order.INTEGER


def zone_of(type: Type, value: Any) -> tuple[int, int]:
    """A constant in the map of zones, from below and from above; the same but for text, 16-byte and rounded values.

    ``value`` is what Arrow gives for the type in Python, or a number as the column stores it (days, microseconds); a
    number that the type cannot hold is taken for what it is.
    """
    order = order_of(type)
    match order:
        case Order.NONE:
            return FULL_ZONE
        case Order.INTEGER:
            return _bounds(_as_number(value))
        case Order.REAL | Order.DOUBLE:
            return _float_zone(value)
        case Order.DECIMAL:
            if isinstance(value, float):
                value = Decimal(value)
            scaled = value if isinstance(value, Decimal) and not value.is_finite() else _scaled(value, type.scale or 0)
            return _bounds(scaled)
        case Order.UUID:
            raw = value.bytes if isinstance(value, uuid.UUID) else bytes(value)
            place = int.from_bytes(raw[:8], "big") + LOWEST
            return place, place
        case Order.BYTES:
            raw = value.encode() if isinstance(value, str) else bytes(value)
            head = raw[:8]
            low, high = head.ljust(8, b"\0"), head.ljust(8, b"\xff")
            return int.from_bytes(low, "big") + LOWEST, int.from_bytes(high, "big") + LOWEST
        case _:
            assert_never(order)


def _as_number(value: Any) -> int | float | Decimal:
    match value:
        case datetime.datetime():
            return (value - (_EPOCH if value.tzinfo is None else _EPOCH_UTC)) // _MICROSECOND
        case datetime.date():
            return value.toordinal() - 719_163
        case datetime.time():
            return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
        case bool():
            return int(value)
        case float() | Decimal():
            return value
        case _:
            return int(value)


def _scaled(value: Any, scale: int) -> Any:
    """value * 10^scale, exactly, as an integer, or as a fraction's floor plus a half."""
    sign, digits, exponent = Decimal(value).as_tuple()
    assert isinstance(exponent, int), "the value is finite"
    number = int("".join(map(str, digits)) or "0") * (-1 if sign else 1)
    if exponent + scale >= 0:
        # No more digits than tell that it is out of range.
        return number * 10 ** min(exponent + scale, 60)
    whole, rest = divmod(number, 10 ** -(exponent + scale))
    return Decimal(whole) + Decimal("0.5") if rest and abs(whole) < 2**64 else whole


def _bounds(value: int | float | Decimal) -> tuple[int, int]:
    """Floor and ceiling of a number within int64; NaN is greater than all numbers."""
    if value != value:
        return HIGHEST, HIGHEST
    if value <= LOWEST:
        return LOWEST, LOWEST
    if value >= HIGHEST:
        return HIGHEST, HIGHEST
    return math.floor(value), math.ceil(value)


def _float_zone(value: Any) -> tuple[int, int]:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    below = above = number
    # An integer or decimal constant may lie between two doubles.
    if math.isfinite(number) and not isinstance(value, float | np.floating):
        below = math.nextafter(number, -math.inf)
        above = math.nextafter(number, math.inf)
    elif math.isinf(number) and not isinstance(value, float | np.floating) and Decimal(value).is_finite():
        below, above = (
            (math.nextafter(math.inf, 0.0), math.inf) if value > 0 else (-math.inf, math.nextafter(-math.inf, 0.0))
        )
    return _float_place(below), _float_place(above)


def _float_place(number: float) -> int:
    if number != number:
        return 0x7FF8000000000000
    bits = int(np.float64(number).view(np.int64))
    if bits >= 0:
        return bits
    return 0 if number == 0 else bits ^ HIGHEST


def dictionary_of(values: VariableValues) -> tuple[VariableValues, np.ndarray] | None:
    """(the different values in the order of their bytes, the code of each as int32), or None where it does not pay.

    NULLs have some code. It pays with at most ``DICTIONARY_VALUES_MAX`` values that come twice on average or more, and
    where dictionary and codes are a fifth smaller than the values.
    """
    count = len(values.offsets) - 1
    limit = min(DICTIONARY_VALUES_MAX, count // 2)
    if not limit:
        return None
    offsets, data = np.ascontiguousarray(values.offsets), np.ascontiguousarray(values.data)
    valid = None if values.valid is None else np.ascontiguousarray(values.valid)
    assert offsets.dtype == np.int32, f"offsets of {offsets.dtype}"
    bytes_max = min(DICTIONARY_BYTES_MAX, int(offsets[-1]) - int(offsets[0]))
    slots = np.zeros(1 << (2 * limit).bit_length(), np.uint64)
    ends = np.zeros(limit + 1, np.int32)
    heap = np.empty(bytes_max + 8, np.uint8)
    codes = np.empty(count, np.int32)
    found = distinct(
        offsets.ctypes.data,
        data.ctypes.data,
        0 if valid is None else valid.ctypes.data,
        count,
        limit,
        bytes_max,
        slots,
        ends,
        heap.ctypes.data,
        codes.ctypes.data,
    )
    if found <= 0:
        return None
    different = VariableValues(frozen(ends[: found + 1]), frozen(heap[: ends[found]]), None)
    size = len(different.data)
    plain = int(offsets[-1]) - int(offsets[0]) + count * 2
    if 10 * (size + 4 * found + count * max(found - 1, 1).bit_length() // 8) > 8 * plain:
        return None
    texts = variable_array(different.offsets, different.data, None, BYTEA)
    order = pc.array_sort_indices(texts).to_numpy().astype(np.int64)
    rank = np.empty(found, np.int32)
    rank[order] = np.arange(found, dtype=np.int32)
    different = different.take(frozen(order))
    return VariableValues(frozen(different.offsets), frozen(different.data), None), frozen(rank.take(codes))


def add_to_sketch(registers: np.ndarray, values: Values) -> None:
    """Put values into a sketch (uint8[256], see kernels/sketch.py)."""
    valid = None if values.valid is None else np.ascontiguousarray(values.valid)
    valid_address = 0 if valid is None else valid.ctypes.data
    if isinstance(values, VariableValues):
        offsets = np.ascontiguousarray(values.offsets)
        sketch.add_variable(offsets.ctypes.data, values.data.ctypes.data, valid_address, len(offsets) - 1, registers)
        return
    array = np.ascontiguousarray(values.values)
    size = array.nbytes // max(len(array), 1)
    sketch.add_fixed(array.ctypes.data, size, valid_address, len(array), registers)


class Encoder:
    """Makes blocks of values, a limited number at a time, in one buffer that it reuses."""

    def __init__(self, physical: Physical, order: Order, *, block_rows: int, dictionary: VariableValues | None) -> None:
        self._size = 4 if dictionary is not None else physical.size
        self._order = order
        self._block_rows = block_rows
        self._dictionary = (0, 0)
        if dictionary is not None:
            self._kept = (np.ascontiguousarray(dictionary.offsets), np.ascontiguousarray(dictionary.data))
            self._dictionary = (self._kept[0].ctypes.data, self._kept[1].ctypes.data)
        self._buffer = np.empty(0, np.uint8)

    def cuts(self, values: Values) -> list[tuple[int, int]]:
        """Row ranges of whole blocks, each small enough for one buffer."""
        count = count_of(values)
        step = self._block_rows
        if isinstance(values, FixedValues):
            step *= max(1, _BUFFER_BYTES // (max(self._size, 1) * self._block_rows))
            return [(start, min(start + step, count)) for start in range(0, count, step)]
        cuts: list[tuple[int, int]] = []
        start = 0
        for stop in [*range(step, count, step), count]:
            following = min(stop + step, count)
            if stop == count or int(values.offsets[following]) - int(values.offsets[start]) > _BUFFER_BYTES:
                cuts.append((start, stop))
                start = stop
        return cuts if count else []

    def encode(self, values: Values, start: int, stop: int, entries: np.ndarray, offset: int) -> np.ndarray:
        """Blocks of rows ``start`` to ``stop``, valid until the next call; fills ``entries``, but for checksums."""
        count, blocks = stop - start, len(entries)
        assert blocks == -(-count // self._block_rows), f"{blocks} entries for {count} rows"
        valid = None if values.valid is None else np.ascontiguousarray(values.valid[start:stop])
        valid_address = 0 if valid is None else valid.ctypes.data
        room = blocks * (self._block_rows // 8 + 64)
        if isinstance(values, FixedValues):
            array = np.ascontiguousarray(values.values[start:stop])
            assert array.nbytes == count * self._size, f"{array.dtype} where values of {self._size} bytes belong"
            out = self._room(count * self._size + room)
            length = packing.encode_fixed(
                array.ctypes.data,
                self._size,
                int(self._order),
                valid_address,
                count,
                self._block_rows,
                *self._dictionary,
                entries.ctypes.data,
                offset,
                out.ctypes.data,
            )
            return out[:length]
        assert not self._size, f"variable values where values of {self._size} bytes belong"
        offsets = np.ascontiguousarray(values.offsets[start : stop + 1])
        assert offsets.dtype == np.int32, f"offsets of {offsets.dtype}"
        out = self._room(int(offsets[-1]) - int(offsets[0]) + 4 * count + room)
        length = packing.encode_variable(
            offsets.ctypes.data,
            values.data.ctypes.data,
            valid_address,
            count,
            self._block_rows,
            entries.ctypes.data,
            offset,
            out.ctypes.data,
        )
        return out[:length]

    def _room(self, size: int) -> np.ndarray:
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer


_BUFFER_BYTES: Final = 4 * 1024 * 1024


def count_of(values: Values) -> int:
    """How many values."""
    return len(values.values) if isinstance(values, FixedValues) else len(values.offsets) - 1


def new_entries(count: int) -> np.ndarray:
    """Directory entries, all zero."""
    return np.zeros(count, DIRECTORY)
