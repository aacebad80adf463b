"""Arrow arrays as the plain numpy arrays that kernels and chunks work on, and back.

    fixed width      one array of the width of the type; 16-byte types (NUMERIC, UUID, INTERVAL) as uint64[n, 2]
    variable width   int32 offsets (n + 1) into bytes; those of an ARRAY are its items, packed (kernels/arrays.py)
    validity         one byte a row, 1 where there is a value; None where no value is NULL

BOOLEAN is a bit in Arrow and a byte here, an ARRAY a list there. Nothing else is copied: arrays that come from Arrow
are read-only views of its buffers, and Arrow arrays that are made here are views of ours.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Internal, LimitExceeded
from ..base.types import Kind, Type, stored, wrapped
from .kernels.arrays import pack_fixed, pack_variable, unpack_fixed, unpack_variable
from .kernels.gather import gather_variable

DTYPES: Final[dict[Kind, np.dtype]] = {
    Kind.BOOLEAN: np.dtype(np.uint8),
    Kind.SMALLINT: np.dtype(np.int16),
    Kind.INTEGER: np.dtype(np.int32),
    Kind.BIGINT: np.dtype(np.int64),
    Kind.REAL: np.dtype(np.float32),
    Kind.DOUBLE: np.dtype(np.float64),
    Kind.DATE: np.dtype(np.int32),
    Kind.TIME: np.dtype(np.int64),
    Kind.TIMESTAMP: np.dtype(np.int64),
    Kind.TIMESTAMPTZ: np.dtype(np.int64),
    Kind.NUMERIC: np.dtype(np.uint64),
    Kind.UUID: np.dtype(np.uint64),
    Kind.INTERVAL: np.dtype(np.uint64),
}
"""The numpy type of each fixed-width kind; the last three stand as pairs."""

PAIRS: Final = frozenset((Kind.NUMERIC, Kind.UUID, Kind.INTERVAL))

HEAP_MAX: Final = np.iinfo(np.int32).max


def frozen(array: np.ndarray) -> np.ndarray:
    """The array, read-only from now on. Kernels are compiled for read-only inputs, as views of Arrow's buffers are."""
    array.flags.writeable = False
    return array


def address_of(array: np.ndarray | None) -> int:
    """Where a contiguous array lies; 0 for none or an empty one. An address keeps nothing alive."""
    return 0 if array is None or not array.size else pa.py_buffer(array).address


EMPTY_BYTES: Final = frozen(np.empty(0, np.uint8))


def width_of(type: Type) -> int:
    """Bytes of a value as it stands in an array; of one of variable width those of its offset."""
    if type.is_variable:
        return 4
    return 16 if type.kind in PAIRS else DTYPES[type.kind].itemsize


def new_heap(size: int, *, count: int) -> np.ndarray:
    """Room for the bytes of so many values. Raises LimitExceeded for more than offsets of 32 bits tell apart."""
    if size > HEAP_MAX:
        raise LimitExceeded(
            f"{count:,} values have {size:,} bytes, and one array of values holds {HEAP_MAX:,}",
            hint="Read fewer rows at a time.",
        )
    return np.empty(size, np.uint8)


class FixedValues:
    """n values of one width."""

    __slots__ = ("valid", "values")

    def __init__(self, values: np.ndarray, valid: np.ndarray | None) -> None:
        self.values = values
        self.valid = valid

    def take(self, order: np.ndarray) -> FixedValues:
        """The values at ``order`` (int64)."""
        return FixedValues(self.values.take(order, axis=0), None if self.valid is None else self.valid[order])


class VariableValues:
    """n values of different lengths: value i is ``data[offsets[i]:offsets[i + 1]]``."""

    __slots__ = ("data", "offsets", "valid")

    def __init__(self, offsets: np.ndarray, data: np.ndarray, valid: np.ndarray | None) -> None:
        self.offsets = offsets
        self.data = data
        self.valid = valid

    def take(self, order: np.ndarray) -> VariableValues:
        """The values at ``order`` (int64)."""
        offsets = np.zeros(len(order) + 1, np.int32)
        data = new_heap(int(np.sum(np.diff(self.offsets)[order], dtype=np.int64)), count=len(order))
        gather_variable(self.offsets, self.data, order, offsets, data)
        return VariableValues(offsets, data, None if self.valid is None else self.valid[order])


Values = FixedValues | VariableValues


def values_of(array: pa.Array, type: Type) -> Values:
    """The values of an Arrow array that has exactly the public Arrow type of ``type``."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    count, offset = len(array), array.offset
    buffers = array.buffers()
    valid = validity_of(array)
    kind = type.kind
    if kind is Kind.ARRAY:
        return _packed(array, valid, type)
    if type.is_variable:
        if buffers[1] is None or not count:
            return VariableValues(frozen(np.zeros(count + 1, np.int32)), EMPTY_BYTES, valid)
        offsets = frozen(np.frombuffer(buffers[1], np.int32, count + 1, 4 * offset))
        data = EMPTY_BYTES if buffers[2] is None else frozen(np.frombuffer(buffers[2], np.uint8))
        return VariableValues(offsets, data, valid)
    dtype = DTYPES[kind]
    if kind is Kind.BOOLEAN:
        return FixedValues(EMPTY_BYTES if not count else _unpacked(buffers[1], offset, count), valid)
    if kind in PAIRS:
        if not count:
            return FixedValues(frozen(np.empty((0, 2), dtype)), valid)
        return FixedValues(frozen(np.frombuffer(buffers[1], dtype, 2 * count, 16 * offset)).reshape(count, 2), valid)
    if not count:
        return FixedValues(frozen(np.empty(0, dtype)), valid)
    if array.type.byte_width != dtype.itemsize:
        raise Internal(f"an Arrow array of {array.type} stands where {type} belongs")
    return FixedValues(frozen(np.frombuffer(buffers[1], dtype, count, dtype.itemsize * offset)), valid)


def validity_of(array: pa.Array) -> np.ndarray | None:
    """One byte a row of an array of any type, 1 where there is a value; None where no value is NULL."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if not array.null_count:
        return None
    bits = array.buffers()[0]
    return frozen(np.zeros(len(array), np.uint8)) if bits is None else _unpacked(bits, array.offset, len(array))


def fixed_of(array: pa.Array, type: Type) -> FixedValues:
    """As ``values_of``, for a type of fixed width."""
    values = values_of(array, type)
    assert isinstance(values, FixedValues), f"{type} has a fixed width"
    return values


def variable_of(array: pa.Array, type: Type) -> VariableValues:
    """As ``values_of``, for a type of variable width."""
    values = values_of(array, type)
    assert isinstance(values, VariableValues), f"{type} has a variable width"
    return values


def array_of(values: Values, type: Type) -> pa.Array:
    """An Arrow array over ``values``, as ``fixed_array`` and ``variable_array`` make it."""
    if isinstance(values, FixedValues):
        return fixed_array(values.values, values.valid, type)
    return variable_array(values.offsets, values.data, values.valid, type)


def fixed_array(values: np.ndarray, valid: np.ndarray | None, type: Type) -> pa.Array:
    """An Arrow array over ``values`` without a copy (BOOLEAN and validity bytes become bits)."""
    packed = np.packbits(values, bitorder="little") if type.kind is Kind.BOOLEAN else values
    return _array(type, len(values), [_bits(valid), pa.py_buffer(packed)])


def variable_array(offsets: np.ndarray, data: np.ndarray, valid: np.ndarray | None, type: Type) -> pa.Array:
    """An Arrow array over ``offsets`` (n + 1) and ``data`` without a copy, but for an ARRAY's items."""
    if type.kind is Kind.ARRAY:
        return _unpacked_items(offsets, data, valid, type)
    return _array(type, len(offsets) - 1, [_bits(valid), pa.py_buffer(offsets), pa.py_buffer(data)])


def constant_array(value: Any, count: int, type: Type) -> pa.Array:
    """``count`` times one Python value, as ``Type.arrow`` gives it, or NULL."""
    if value is None:
        return pa.nulls(count, type.arrow)
    return wrapped(pa.repeat(pa.scalar(stored(value, type), type.storage), count), type)


def _array(type: Type, count: int, buffers: list[Any]) -> pa.Array:
    arrow = type.arrow
    if isinstance(arrow, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(arrow, pa.Array.from_buffers(arrow.storage_type, count, buffers))
    return pa.Array.from_buffers(arrow, count, buffers)


def _packed(array: pa.Array, valid: np.ndarray | None, type: Type) -> VariableValues:
    """The items of each list, packed. Raises LimitExceeded where they have more than 2 GiB in all."""
    assert type.element is not None, "an array type has an element type"
    count = len(array)
    ends = np.zeros(count + 1, np.int32)
    if not count:
        return VariableValues(frozen(ends), EMPTY_BYTES, valid)
    offsets = np.frombuffer(array.buffers()[1], np.int32, count + 1, 4 * array.offset)
    first = int(offsets[0])
    items = values_of(array.values.slice(first, int(offsets[-1]) - first), type.element)
    lists = offsets.ctypes.data
    there, known = address_of(items.valid), address_of(valid)
    if isinstance(items, FixedValues):
        width = items.values.nbytes // max(len(items.values), 1)
        given = (lists, known, count, address_of(items.values), there, width, address_of(ends))
        data = _filled(pack_fixed(*given, 0))
        pack_fixed(*given, address_of(data))
    else:
        given = (lists, known, count, address_of(items.offsets), address_of(items.data), there, address_of(ends))
        data = _filled(pack_variable(*given, 0))
        pack_variable(*given, address_of(data))
    return VariableValues(frozen(ends), frozen(data), valid)


def _filled(size: int) -> np.ndarray:
    if size >= 2**31:
        message = f"arrays of {size:,} bytes in one batch: 2 GiB is the limit"
        raise LimitExceeded(message, hint="Send fewer rows at once.", sqlstate="54000")
    return np.empty(size, np.uint8)


def _unpacked_items(offsets: np.ndarray, data: np.ndarray, valid: np.ndarray | None, type: Type) -> pa.Array:
    """A list array of the items that ``_packed`` packed."""
    element = type.element
    assert element is not None, "an array type has an element type"
    count = len(offsets) - 1
    offsets, valid = np.ascontiguousarray(offsets), None if valid is None else np.ascontiguousarray(valid)
    lists = np.empty(count + 1, np.int32)
    given = (address_of(offsets), address_of(data), address_of(valid), count)
    there: np.ndarray | None = None
    if element.is_variable:
        sizes = np.empty(2, np.int64)
        nulls = unpack_variable(*given, address_of(lists), 0, 0, 0, sizes)
        items = np.empty(sizes[1], np.uint8)
        ends = np.empty(sizes[0] + 1, np.int32)
        there = np.empty(sizes[0], np.uint8) if nulls else None
        unpack_variable(*given, address_of(lists), address_of(ends), address_of(items), address_of(there), sizes)
        child = variable_array(ends, items, there, element)
    else:
        dtype = DTYPES[element.kind]
        shape = (2,) if element.kind in PAIRS else ()
        width = dtype.itemsize * (2 if shape else 1)
        found = unpack_fixed(*given, width, address_of(lists), 0, 0)
        length = found if found >= 0 else -found - 1
        values = np.empty((length, *shape), dtype)
        there = np.empty(length, np.uint8) if found < 0 else None
        unpack_fixed(*given, width, address_of(lists), address_of(values), address_of(there))
        child = fixed_array(values, there, element)
    return pa.Array.from_buffers(type.arrow, count, [_bits(valid), pa.py_buffer(lists)], children=[child])


def _bits(valid: np.ndarray | None) -> pa.Buffer | None:
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _unpacked(buffer: pa.Buffer, offset: int, count: int) -> np.ndarray:
    first = offset >> 3
    packed = np.frombuffer(buffer, np.uint8, ((offset + count + 7) >> 3) - first, first)
    bits = np.unpackbits(packed, bitorder="little")
    return frozen(bits[offset & 7 : (offset & 7) + count])
