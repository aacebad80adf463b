"""The columns of a chunk: arrays of fixed capacity that are filled once, from the front.

Always true: a value below the chunk's published row count never changes, so that readers take slices without a lock.
A byte heap that is full is copied into a larger one; readers go on with the old one, whose values are the same. The
validity array is made when the first NULL arrives, all ones, so that a reader finds either none or one that tells it
the same about the rows it may see.
"""

from __future__ import annotations

import datetime
import decimal
import struct
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.types import Kind, Type
from ..storage.column_values import (
    DTYPES,
    PAIRS,
    FixedValues,
    Values,
    VariableValues,
    address_of,
    fixed_array,
    variable_array,
)
from .kernels.bounds import bounds_of

OFFSETS_MAX: Final = np.iinfo(np.int32).max
DISTINCT_MAX: Final = 4_096
"""Text of at most this many distinct values in a chunk can be read as codes; int16 has room for them."""

CODES: Final = pa.dictionary(pa.int16(), pa.string())
"""The Arrow type of text that is read as codes."""

VALUES, VALID, HEAP = range(3)
"""Fields of a column's door: the addresses of its values (or their offsets), validity (or 0) and bytes."""

_LEAST: Final = -(1 << 63)
_GREATEST: Final = (1 << 63) - 1

HEAP_BYTES_MAX: Final = 512 * 1024 * 1024
"""A chunk closes before a heap outgrows this, unless one single value does; int32 offsets end at four times as much."""


class FixedColumn:
    """Values of one width."""

    __slots__ = ("_bounds", "_door", "_read", "type", "valid", "values")

    def __init__(self, type: Type, *, capacity: int, door: np.ndarray) -> None:
        self.type = type
        self._door = door
        self._bounds = (0, _GREATEST, _LEAST)
        shape = (capacity, 2) if type.kind in PAIRS else capacity
        self.values = np.empty(shape, DTYPES[type.kind])
        self.valid: np.ndarray | None = None
        self._read = _reader_of(type)
        door[VALUES] = address_of(self.values)

    def append(self, at: int, source: Values, start: int, *, count: int) -> None:
        """Write ``count`` values of ``source``, from ``start`` on, behind the first ``at``."""
        assert isinstance(source, FixedValues), f"{self.type} has a fixed width"
        self.values[at : at + count] = source.values[start : start + count]
        if source.valid is not None:
            self.valid = _extended(self.valid, len(self.values), at, source.valid[start : start + count])
            self._door[VALID] = address_of(self.valid)

    def array(self, count: int, rows: np.ndarray | None) -> pa.Array:
        """The first ``count`` values, without a copy; or those of ``rows``."""
        valid = self.valid
        if rows is None:
            return fixed_array(self.values[:count], None if valid is None else valid[:count], self.type)
        return fixed_array(self.values[rows], None if valid is None else valid[rows], self.type)

    def bounds(self, count: int) -> tuple[int, int] | None:
        """What the first ``count`` integers lie between, the first above the last where all are NULL; None: not in 64
        bits.

        Kept for the next reader, who looks at what came since; so they may be those of a few values more.
        """
        known, low, high = self._bounds
        if known >= count:
            return None if low < _LEAST else (low, high)
        values, valid = self.values[known:count], self.valid
        there = 0 if valid is None else address_of(valid) + known
        size = values.itemsize * (2 if values.ndim == 2 else 1)
        least, greatest, fits = bounds_of(address_of(values), size, there, count - known)
        low, high = min(low, least) if fits else _LEAST - 1, max(high, greatest)
        self._bounds = (count, low, high)
        return None if low < _LEAST else (low, high)

    def exact_bounds(self, count: int) -> tuple[int, int] | None:
        """The same of just these values; None also where others have looked at more."""
        self.bounds(count)
        known, low, high = self._bounds
        return None if known != count or low < _LEAST else (low, high)

    def value(self, row: int) -> Any:
        """One value as Python value."""
        if self.valid is not None and not self.valid[row]:
            return None
        return self._read(self.values, row)


class VariableColumn:
    """Values of different lengths in one heap."""

    __slots__ = ("__weakref__", "_codable_below", "_codes", "_door", "heap", "offsets", "type", "valid")

    def __init__(self, type: Type, *, capacity: int, door: np.ndarray) -> None:
        self.type = type
        self._door = door
        self.offsets = np.zeros(capacity + 1, np.int32)
        self.heap = np.empty(16 * capacity, np.uint8)
        self.valid: np.ndarray | None = None
        self._codes: pa.DictionaryArray | None = None
        self._codable_below = OFFSETS_MAX if type.is_text else 0
        door[VALUES], door[HEAP] = address_of(self.offsets), address_of(self.heap)

    def append(self, at: int, source: Values, start: int, *, count: int) -> None:
        """Write ``count`` values of ``source``, from ``start`` on, behind the first ``at``."""
        assert isinstance(source, VariableValues), f"{self.type} has a variable width"
        used, stop = int(self.offsets[at]), start + count
        first, last = int(source.offsets[start]), int(source.offsets[stop])
        self._reserve(used, last - first)
        self.heap[used : used + last - first] = source.data[first:last]
        np.add(source.offsets[start + 1 : stop + 1], np.int32(used - first), out=self.offsets[at + 1 : at + count + 1])
        if source.valid is not None:
            self.valid = _extended(self.valid, len(self.offsets) - 1, at, source.valid[start:stop])
            self._door[VALID] = address_of(self.valid)

    def fitting(self, at: int, source: VariableValues, start: int, *, count: int) -> int:
        """How many of ``count`` values from ``start`` on fit behind the first ``at``; at least one in an empty heap."""
        used = int(self.offsets[at])
        first = int(source.offsets[start])
        if used + int(source.offsets[start + count]) - first <= HEAP_BYTES_MAX:
            return count
        ends = source.offsets[start + 1 : start + count + 1].astype(np.int64) - first
        fitting = int(np.searchsorted(ends, HEAP_BYTES_MAX - used, side="right"))
        return max(fitting, int(used == 0))

    def bytes_of(self, rows: np.ndarray) -> int:
        """How many bytes the values of some rows have."""
        return int((self.offsets[rows + 1] - self.offsets[rows]).sum(dtype=np.int64))

    def trim(self, count: int) -> None:
        """Give back the unused part of the heap of a closed chunk."""
        used = int(self.offsets[count])
        if len(self.heap) - used > len(self.heap) // 8:
            self._become(self.heap[:used].copy())

    def array(self, count: int, rows: np.ndarray | None) -> pa.Array:
        """The first ``count`` values, without a copy; or those of ``rows``."""
        valid = self.valid
        array = variable_array(
            self.offsets[: count + 1], self.heap, None if valid is None else valid[:count], self.type
        )
        if rows is None:
            return array
        if isinstance(array, pa.ExtensionArray):
            return pa.ExtensionArray.from_storage(array.type, array.storage.take(pa.array(rows)))
        return array.take(pa.array(rows))

    def value(self, row: int) -> Any:
        """One value as Python value."""
        if self.valid is not None and not self.valid[row]:
            return None
        return bytes_value(self.type)(self.heap[self.offsets[row] : self.offsets[row + 1]].tobytes())

    def codes(self, count: int) -> pa.DictionaryArray | None:
        """The first ``count`` values as codes (type ``CODES``); None where there are more than ``DISTINCT_MAX`` values.

        Kept for the next reader, two bytes a value. Readers make it, and what one of them stores suits the others: the
        answer depends on ``count`` alone, also when more rows with more values have come meanwhile.
        """
        known = self._codes
        if known is None or len(known) < count:
            if count >= self._codable_below:
                return None
            known = self._encoded(count)
            if known is None:
                self._codable_below = min(count, self._codable_below)
                return None
            self._codes = known
        return known[:count]

    def _encoded(self, count: int) -> pa.DictionaryArray | None:
        array = self.array(count, None)
        head = array[:1024]
        if len(head) == 1024 and len(head.unique()) > 512:
            return None
        encoded = array.dictionary_encode()
        if len(encoded.dictionary) > DISTINCT_MAX:
            return None
        return pa.DictionaryArray.from_arrays(encoded.indices.cast(pa.int16()), encoded.dictionary)

    def _reserve(self, used: int, more: int) -> None:
        if used + more > len(self.heap):
            larger = np.empty(max(used + more, 2 * len(self.heap)), np.uint8)
            larger[:used] = self.heap[:used]
            self._become(larger)

    def _become(self, heap: np.ndarray) -> None:
        self._door[HEAP] = address_of(heap)  # first: the next line lets go of the heap before
        self.heap = heap


ColumnStore = FixedColumn | VariableColumn


def new_column(type: Type, *, capacity: int, door: np.ndarray) -> ColumnStore:
    """An empty column for ``capacity`` values. It keeps the addresses of its arrays in ``door`` (uint64[3])."""
    column = VariableColumn if type.is_variable else FixedColumn
    return column(type, capacity=capacity, door=door)


def _extended(valid: np.ndarray | None, capacity: int, at: int, piece: np.ndarray) -> np.ndarray | None:
    """The validity array with ``piece`` at ``at``; still None where neither has a NULL."""
    if valid is None:
        if piece.all():
            return None
        valid = np.ones(capacity, np.uint8)
    valid[at : at + len(piece)] = piece
    return valid


# Python values of one row, as base.rows.python_values gives them for columns.

_EPOCH: Final = datetime.datetime(1970, 1, 1)
_EPOCH_UTC: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EPOCH_DAY: Final = datetime.date(1970, 1, 1)
_DAY: Final = datetime.timedelta(days=1)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_EXACT: Final = decimal.Context(prec=76)
_MONTHS: Final = struct.Struct("<iiq")  # months, days, nanoseconds


def value_at(values: Values, row: int, type: Type) -> Any:
    """One value as Python value."""
    if values.valid is not None and not values.valid[row]:
        return None
    if isinstance(values, FixedValues):
        return _reader_of(type)(values.values, row)
    return bytes_value(type)(values.data[values.offsets[row] : values.offsets[row + 1]].tobytes())


@cache
def _reader_of(type: Type) -> Callable[[np.ndarray, int], Any]:
    convert = stored_value(type)
    if type.kind in PAIRS:
        assert convert is not None, f"{type} is stored as bytes"
        return lambda values, row: convert(values[row].tobytes())
    return (lambda values, row: values.item(row)) if convert is None else lambda values, row: convert(values.item(row))


@cache
def stored_value(type: Type) -> Callable[[Any], Any] | None:
    """What makes the Python value of a stored one of fixed width, an integer or 16 bytes; None where that is it."""
    match type.kind:
        case Kind.BOOLEAN:
            return bool
        case Kind.DATE:
            return lambda days: _EPOCH_DAY + days * _DAY
        case Kind.TIME:
            return lambda microseconds: (_EPOCH + microseconds * _MICROSECOND).time()
        case Kind.TIMESTAMP:
            return lambda microseconds: _EPOCH + microseconds * _MICROSECOND
        case Kind.TIMESTAMPTZ:
            return lambda microseconds: _EPOCH_UTC + microseconds * _MICROSECOND
        case Kind.NUMERIC:
            scale = -(type.scale or 0)
            return lambda raw: _EXACT.scaleb(decimal.Decimal(int.from_bytes(raw, "little", signed=True)), scale)
        case Kind.UUID:
            return lambda raw: uuid.UUID(bytes=raw)
        case Kind.INTERVAL:
            return lambda raw: pa.MonthDayNano(_MONTHS.unpack(raw))
        case _:
            return None


@cache
def bytes_value(type: Type) -> Callable[[bytes], Any]:
    """What makes the Python value of the bytes of one that varies."""
    if type.kind is Kind.BYTEA:
        return bytes
    if type.element is None:
        return bytes.decode
    return _items_of(type.element)


def _items_of(element: Type) -> Callable[[bytes], list[Any]]:
    """What takes an array's items out of its bytes (storage/kernels/arrays.py), as ``python_values`` gives them."""
    if element.is_variable:
        read = bytes_value(element)

        def varying(raw: bytes) -> list[Any]:
            items: list[Any] = []
            at, stop = 0, len(raw)
            while at < stop:
                length = shift = 0
                while True:
                    byte = raw[at]
                    at += 1
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                items.append(read(raw[at : at + length - 1]) if length else None)
                at += max(length - 1, 0)
            return items

        return varying
    dtype, convert, pairs = DTYPES[element.kind], stored_value(element), element.kind in PAIRS
    width = 2 * dtype.itemsize if pairs else dtype.itemsize

    def alike(raw: bytes) -> list[Any]:
        if len(raw) <= 1:
            return []
        count = (len(raw) - 1) // (width + 1) if raw[0] else 0
        items: list[Any] = np.frombuffer(raw, np.dtype(f"V{width}") if pairs else dtype, -1, 1 + count).tolist()
        if convert is not None:
            items = list(map(convert, items))
        return [item if there else None for item, there in zip(items, raw[1:], strict=False)] if count else items

    return alike
