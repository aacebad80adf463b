"""Numbers for keys of several columns: rows whose keys are equal get one, counted from 0 in the order of first rows.

    each column ─► a code for each of its values       numbers and times by themselves, texts by a dictionary
    the columns' codes ─► one word ─► a number         by a table of all words where these are few, else by their hash

Keys are equal as those are that key_encoding.py encodes: NULL is NULL, NaN is NaN, -0.0 is 0. A NUMERIC or UUID is two
words. The slow twin of this is to number encoded keys (``number`` of kernels/numbering.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ..base.types import Kind, Type
from ..storage.column_values import EMPTY_BYTES, PAIRS, FixedValues, fixed_of, frozen
from .kernels.numbering import number_codes, number_words

_FLOATS: Final = frozenset((Kind.REAL, Kind.DOUBLE))
_INTEGERS: Final = frozenset(
    (Kind.BOOLEAN, Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
)
_SIZE: Final = 0x7FFF_FFFF_FFFF_FFFF
_SIZE_NARROW: Final = 0x7FFF_FFFF
"""The bits of a double, and of a REAL, but for its sign."""

_SPARE: Final = 4
_FEW: Final = 1 << 12
"""How many more words than rows there may be for a table of all of them."""


def numbered(keys: Sequence[pa.Array], types: Sequence[Type], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of each of ``count`` rows (int64), and the first row of each number. ``keys``: one at least."""
    dense = _SPARE * count + _FEW
    (codes, size), *others = [
        code for key, type in zip(keys, types, strict=True) for code in _codes_of(key, type, dense)
    ]
    for other, other_size in others:
        if size > dense:
            codes, firsts = _number(codes, EMPTY_BYTES)
            size = len(firsts)
        codes, size = codes * other_size + other, size * other_size
    if size > dense:
        return _number(codes, EMPTY_BYTES)
    numbers, firsts = np.empty(count, np.int64), np.empty(count, np.int64)
    groups = number_codes(frozen(codes), np.zeros(size, np.int32), numbers, firsts)
    return numbers, firsts[:groups]


def has_order(type: Type) -> bool:
    """Whether ``order_of`` knows values of this type."""
    return type.kind in _FLOATS or type.kind in _INTEGERS


def order_of(values: pa.Array, type: Type) -> np.ndarray:
    """Words (int64) in the order of keys: equal where the values are, greater where those are. NULL may be any."""
    plain = fixed_of(values, type).values
    if type.kind not in _FLOATS:
        return frozen(plain.astype(np.int64))
    bits = _float_words(plain)
    return frozen(bits ^ ((bits >> 63) & (_SIZE_NARROW if plain.itemsize == 4 else _SIZE)))


def _float_words(values: np.ndarray) -> np.ndarray:
    """Their bits: one NaN, one zero. Not by arithmetic, which minds NaN of some bits."""
    narrow = values.itemsize == 4
    bits = values.view(np.int32 if narrow else np.int64).astype(np.int64)
    infinity = 0x7F80_0000 if narrow else 0x7FF0_0000_0000_0000
    sizes = bits & (_SIZE_NARROW if narrow else _SIZE)
    bits[sizes == 0] = 0
    bits[sizes > infinity] = infinity + 1
    return bits


def _codes_of(key: pa.Array, type: Type, dense: int) -> Iterator[tuple[np.ndarray, int]]:
    """Codes from 0, and more than the largest: of equal values the same. There are few spare ones. Of each word."""
    if type.is_variable:
        encoded = key.dictionary_encode()
        size = len(encoded.dictionary)
        yield encoded.indices.fill_null(size).to_numpy().astype(np.int64), size + 1
        return
    values = fixed_of(key, type)
    for words in _words_of(values, type):
        if values.valid is None and len(words):
            low, high = int(words.min()), int(words.max())
            if high - low < dense:
                yield words - low, high - low + 1
                continue
        numbers, firsts = _number(words, EMPTY_BYTES if values.valid is None else values.valid)
        yield numbers, max(len(firsts), 1)


def _words_of(values: FixedValues, type: Type) -> tuple[np.ndarray, ...]:
    """The words (int64) that are equal where the values are."""
    if type.kind in PAIRS:
        pairs = values.values.view(np.int64)
        return np.ascontiguousarray(pairs[:, 1]), np.ascontiguousarray(pairs[:, 0])
    if type.kind in _FLOATS:
        return (_float_words(values.values),)
    return (values.values.astype(np.int64, copy=False),)


def _number(words: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = len(words)
    slots = np.zeros(1 << max(2 * count - 1, 1).bit_length(), np.int32)
    numbers, firsts = np.empty(count, np.int64), np.empty(count, np.int64)
    groups = number_words(frozen(words), valid, slots, np.empty(len(slots), np.int64), numbers, firsts)
    return numbers, firsts[:groups]
