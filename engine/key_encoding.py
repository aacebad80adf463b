"""The one encoding of primary keys: order-preserving bytes for index, sort order and shard hash.

Comparing two encoded keys as bytes gives the order of the keys: column by column, numbers by value, text by bytes,
NULL and NaN last. The format is frozen; ``docs/storage.md`` "Key encoding" describes it byte by byte.

    BIGINT 7           80 00 00 00 00 00 00 07             big-endian, sign bit flipped
    DOUBLE -0.0        80 00 00 00 00 00 00 00             as 0.0; negative numbers have all bits flipped
    TEXT 'a\\0b'        61 00 FF 62 00 00                   0x00 escaped, terminated by 00 00
    nullable INT 7     00 80 00 00 07                      a byte 00 before a value, 01 and zeros for NULL

An encoded key is padded with zeros to whole 8-byte words, since kernels compare, copy and hash words. Where all columns
have a fixed width, so have the keys, and n keys are a matrix; else they lie one after another with word offsets. No
encoded key is a prefix of another, so the padding tells no two keys apart and mixes none up.

The hash of a key is XXH64 with seed 0 over its padded bytes. The shard hash takes the key columns alone, padded alike.

What this does not do: decode. A row's columns hold its key's values.
"""

from __future__ import annotations

import datetime
import struct
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import xxhash

from ..base.errors import Invalid
from ..base.types import Kind, Type
from ..storage.column_values import EMPTY_BYTES, PAIRS, FixedValues, Values, VariableValues, frozen
from .kernels import encoding as kernels
from .schema import Column
from .unrolled import unrolled

WIDTHS: Final[dict[Kind, int]] = {
    Kind.BOOLEAN: 1,
    Kind.SMALLINT: 2,
    Kind.INTEGER: 4,
    Kind.BIGINT: 8,
    Kind.REAL: 4,
    Kind.DOUBLE: 8,
    Kind.DATE: 4,
    Kind.TIME: 8,
    Kind.TIMESTAMP: 8,
    Kind.TIMESTAMPTZ: 8,
    Kind.NUMERIC: 16,
    Kind.UUID: 16,
}
"""Encoded bytes of each fixed-width kind."""

VARIABLE: Final = frozenset((Kind.TEXT, Kind.VARCHAR, Kind.BYTEA))

_TRANSFORMS: Final[dict[Kind, int]] = {
    Kind.BOOLEAN: kernels.UNSIGNED,
    Kind.REAL: kernels.FLOAT,
    Kind.DOUBLE: kernels.FLOAT,
    Kind.UUID: kernels.RAW,
}

_UNSIGNED: Final = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_NO_OFFSETS: Final = frozen(np.empty(0, np.int64))


def check_key_types(columns: Sequence[Column]) -> None:
    """Raise Invalid for the first column whose type has no place in a key."""
    for column in columns:
        if column.type.kind not in WIDTHS and column.type.kind not in VARIABLE:
            raise Invalid(
                f'column "{column.name}" cannot be part of a key: {column.type} has no order that bytes can follow',
                hint="Use a number, text, bytea, date, time, timestamp, boolean or uuid column.",
                sqlstate="42804",
            )


@dataclass(frozen=True, slots=True)
class Keys:
    """n encoded keys and their hashes (uint64[n]), all arrays read-only.

    ``words`` is flat. Keys of one width take ``width`` words each and ``offsets`` is empty; else key i stands at
    ``words[offsets[i]:offsets[i + 1]]`` and ``width`` is 0.
    """

    words: np.ndarray
    offsets: np.ndarray
    width: int
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.hashes)

    def take(self, rows: np.ndarray) -> Keys:
        """The keys at ``rows``, in that order."""
        hashes = frozen(self.hashes[rows])
        if not len(self.offsets):
            words = frozen(self.words.reshape(-1, self.width)[rows].reshape(-1))
            return Keys(words, _NO_OFFSETS, self.width, hashes)
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Keys(frozen(self.words[places]), frozen(offsets), 0, hashes)

    def slice(self, start: int, stop: int) -> Keys:
        """Keys ``start`` to ``stop``; variable offsets go on counting from the first of all keys."""
        hashes = self.hashes[start:stop]
        if not len(self.offsets):
            return Keys(self.words[start * self.width : stop * self.width], _NO_OFFSETS, self.width, hashes)
        return Keys(self.words, self.offsets[start : stop + 1], 0, hashes)


class KeyEncoder:
    """Encodes the values of some columns, in order. NOT NULL columns carry no NULL byte; other columns do."""

    __slots__ = ("_encoded", "_scalars", "columns", "fixed", "length", "width")

    def __init__(self, columns: Sequence[Column]) -> None:
        check_key_types(columns)
        self.columns = tuple(columns)
        self.fixed = all(column.type.kind in WIDTHS for column in columns)
        self.length = sum(_width(column) for column in columns) if self.fixed else 0
        self.width = (self.length + 7) // 8
        self._scalars = tuple(_scalar_encoder(column) for column in columns)
        self._encoded = unrolled(self._scalars)

    def encode(self, values: Sequence[Values], *, count: int) -> Keys:
        """Encode ``count`` rows; ``values`` stand in the order of the columns."""
        if self.fixed:
            words = self._words(values, count=count)
            return Keys(words, _NO_OFFSETS, self.width, self.hash_prefix(words, length=self.length, count=count))
        return self._encode_variable(values, count=count)

    def hash_prefix(self, words: np.ndarray, *, length: int, count: int) -> np.ndarray:
        """The hash of the first ``length`` bytes of fixed-width keys: that of a key of the first columns alone."""
        hashes = np.empty(count, np.uint64)
        kernels.hash_fixed(words, self.width, length, hashes)
        return frozen(hashes)

    def encode_one(self, values: Sequence[object]) -> bytes:
        """Encode one key of Python values, padded. Raises Invalid for a value that the column cannot hold."""
        assert len(values) == len(self._scalars), f"{len(values)} values for {len(self._scalars)} columns"
        encoded = b"".join(self._encoded(values))
        return encoded.ljust((len(encoded) + 7) & ~7, b"\0") if len(encoded) & 7 else encoded

    def encode_column(self, index: int, value: object) -> bytes:
        """The bytes of one value of the column at ``index``, without padding. Raises Invalid as ``encode_one``."""
        return self._scalars[index](value)

    def keys_of_one(self, encoded: bytes) -> Keys:
        """Keys of one encoded key."""
        words = np.frombuffer(encoded, np.uint64)
        offsets = _NO_OFFSETS if self.fixed else frozen(np.array([0, len(words)], np.int64))
        return Keys(words, offsets, self.width, frozen(np.array([hash_one(encoded)], np.uint64)))

    def keys_of(self, encoded: Sequence[bytes]) -> Keys:
        """Keys of some encoded, padded keys."""
        words = np.frombuffer(b"".join(encoded), np.uint64)
        offsets = _NO_OFFSETS
        if not self.fixed:
            offsets = frozen(np.cumsum([0, *(len(one) // 8 for one in encoded)], dtype=np.int64))
        return Keys(words, offsets, self.width, frozen(np.array([hash_one(one) for one in encoded], np.uint64)))

    def _words(self, values: Sequence[Values], *, count: int) -> np.ndarray:
        matrix = np.zeros((count, self.width), np.uint64)
        offset = 0
        for column, column_values in zip(self.columns, values, strict=True):
            assert isinstance(column_values, FixedValues), f"{column.name} has a fixed width"
            _pack(column, column_values, offset, matrix)
            offset += _width(column)
        return frozen(matrix.reshape(-1))

    def _encode_variable(self, values: Sequence[Values], *, count: int) -> Keys:
        lengths = np.zeros(count, np.int64)
        for column, column_values in zip(self.columns, values, strict=True):
            if isinstance(column_values, VariableValues):
                lengths += int(column.nullable)
                kernels.measure(column_values.offsets, column_values.data, _valid(column_values), lengths)
            else:
                lengths += _width(column)
        offsets = np.zeros(count + 1, np.int64)
        np.cumsum((lengths + 7) >> 3, out=offsets[1:])
        words = np.zeros(int(offsets[-1]), np.uint64)
        heap = words.view(np.uint8)
        cursors = offsets[:-1] * 8
        for column, column_values in zip(self.columns, values, strict=True):
            if isinstance(column_values, VariableValues):
                if column.nullable:
                    kernels.write_fixed(_null_bytes(column_values, count), 1, cursors, heap)
                kernels.write_variable(column_values.offsets, column_values.data, _valid(column_values), cursors, heap)
            else:
                width = _width(column)
                encoded = np.zeros((count, (width + 7) // 8), np.uint64)
                _pack(column, column_values, 0, encoded)
                kernels.write_fixed(encoded.view(np.uint8), width, cursors, heap)
        hashes = np.empty(count, np.uint64)
        kernels.hash_variable(words, offsets, hashes)
        return Keys(frozen(words), frozen(offsets), 0, frozen(hashes))


def hash_one(encoded: bytes) -> int:
    """The hash of one encoded, padded key."""
    return xxhash.xxh64_intdigest(encoded)


def _width(column: Column) -> int:
    return WIDTHS[column.type.kind] + int(column.nullable)


def _valid(values: Values) -> np.ndarray:
    return EMPTY_BYTES if values.valid is None else values.valid


def _null_bytes(values: Values, count: int) -> np.ndarray:
    """The leading byte of a nullable column: 0 before a value, 1 for NULL; uint8[count, 1]."""
    if values.valid is None:
        return np.zeros((count, 1), np.uint8)
    return (values.valid ^ 1).reshape(count, 1)


def _pack(column: Column, values: FixedValues, offset: int, words: np.ndarray) -> None:
    """Lay the key bytes of one column into ``words`` (count, width) at byte ``offset``."""
    valid = _valid(values)
    if column.nullable:
        if values.valid is not None:
            kernels.pack(frozen(values.valid ^ np.uint8(1)), EMPTY_BYTES, kernels.RAW, offset, words)
        offset += 1
    transform = _TRANSFORMS.get(column.type.kind, kernels.SIGNED)
    if column.type.kind not in PAIRS:
        raw = values.values.view(_UNSIGNED[values.values.itemsize])
        kernels.pack(raw, valid, transform, offset, words)
        return
    first, second = (0, 1) if column.type.kind is Kind.UUID else (1, 0)
    kernels.pack(frozen(values.values[:, first].copy()), valid, transform, offset, words)
    rest = kernels.RAW if column.type.kind is Kind.UUID else kernels.UNSIGNED
    kernels.pack(frozen(values.values[:, second].copy()), valid, rest, offset + 8, words)


# One value at a time, for a get of one row: the same bytes from Python values.

_EPOCH: Final = datetime.datetime(1970, 1, 1)
_EPOCH_UTC: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EPOCH_DAY: Final = datetime.date(1970, 1, 1).toordinal()
_MICROSECOND: Final = datetime.timedelta(microseconds=1)


def microseconds_of(value: datetime.datetime) -> int:
    """Microseconds since 1970 of a naive or aware datetime."""
    since = value - (_EPOCH if value.tzinfo is None else _EPOCH_UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def microseconds_of_time(value: datetime.time) -> int:
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


_WRONG: Final = (TypeError, ValueError, OverflowError, AttributeError, ArithmeticError, struct.error)

_NUMBERS: Final[dict[Kind, Callable[[Any], int]]] = {
    Kind.DATE: lambda value: value.toordinal() - _EPOCH_DAY,
    Kind.TIME: microseconds_of_time,
    Kind.TIMESTAMP: microseconds_of,
    Kind.TIMESTAMPTZ: microseconds_of,
}
"""What makes the integer of a value that is encoded as one. It may be given as that integer, too."""


def _scalar_encoder(column: Column) -> Callable[[Any], bytes]:
    kind = column.type.kind
    integral = column.type.is_integer or kind in _NUMBERS
    encode = _number_encoder(column, _NUMBERS.get(kind)) if integral else _value_encoder(column)
    null = b"\1" + bytes(WIDTHS.get(kind, 0))
    return (lambda value: null if value is None else b"\0" + encode(value)) if column.nullable else encode


def _number_encoder(column: Column, number: Callable[[Any], int] | None) -> Callable[[Any], bytes]:
    """One call for a value of the commonest keys: integers and times."""
    width = WIDTHS[column.type.kind]
    bias = 1 << (8 * width - 1)

    def encode(value: Any) -> bytes:
        try:
            if number is None or isinstance(value, int):
                return (value + bias).to_bytes(width, "big")
            return (number(value) + bias).to_bytes(width, "big")
        except _WRONG as error:
            raise _no_value(value, column) from error

    return encode


def _value_encoder(column: Column) -> Callable[[Any], bytes]:
    encode = _encoder_of(column.type)

    def checked(value: Any) -> bytes:
        try:
            return encode(value)
        except _WRONG as error:
            raise _no_value(value, column) from error

    return checked


def _no_value(value: object, column: Column) -> Invalid:
    return Invalid(f'{value!r} is no value of column "{column.name}" of type {column.type}', sqlstate="22P02")


def _encoder_of(type: Type) -> Callable[[Any], bytes]:
    match type.kind:
        case Kind.BOOLEAN:
            return lambda value: b"\1" if value else b"\0"
        case Kind.REAL:
            return lambda value: _flipped(struct.pack(">f", float("nan") if value != value else value + 0.0))
        case Kind.DOUBLE:
            return lambda value: _flipped(struct.pack(">d", float("nan") if value != value else value + 0.0))
        case Kind.NUMERIC:
            unscale = unscaler(type.scale or 0)
            return lambda value: (unscale(value) + (1 << 127)).to_bytes(16, "big")
        case Kind.UUID:
            return lambda value: (value if isinstance(value, uuid.UUID) else uuid.UUID(value)).bytes
        case Kind.TEXT | Kind.VARCHAR:
            return lambda value: _escaped(value.encode())
        case _:
            return lambda value: _escaped(bytes(memoryview(value)))


def unscaler(scale: int) -> Callable[[Any], int]:
    """A function from a number to the integer that stands for it at ``scale``. Raises ValueError for excess digits."""
    factor = 10**scale

    def unscale(value: Any) -> int:
        numerator, denominator = Decimal(value).as_integer_ratio()
        unscaled, rest = divmod(numerator * factor, denominator)
        if rest:
            raise ValueError(f"{value} has more than {scale} digits after the point")
        return unscaled

    return unscale


def _flipped(encoded: bytes) -> bytes:
    """IEEE bytes, big-endian, so that bytes compare as numbers."""
    if encoded[0] & 0x80:
        return bytes(byte ^ 0xFF for byte in encoded)
    return bytes((encoded[0] | 0x80,)) + encoded[1:]


def _escaped(value: bytes) -> bytes:
    return value.replace(b"\0", b"\0\xff") + b"\0\0"
