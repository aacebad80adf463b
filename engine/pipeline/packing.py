"""How the keys of a group become words: digits of one number where they have few values, else words of their own.

A digit is (value - least), NULL one digit more; digits times their strides are added up to a word of at most 62 bits,
and where they do not fit there is another word. A float is a word by itself, and so is an integer of 62 bits or more;
whether such a key is NULL is a digit. One word of few values is a place ("dense").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from .bounds import Bounds, bounds, can_be_null
from .shape import Key, Shape

DENSE_MAX: Final = 1 << 21
"""So many accumulators are made at once, of all places; keys of more places are looked up."""

JOINED_TEXTS: Final = 1 << 20
"""The texts of a joined side's column stand beside those of tables under so much more than its slot."""

_WORD: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedKey:
    """``digit``: its word and ``whole``: the word of the value itself, or -1; ``null``: the digit of NULL, or -1."""

    digit: int
    whole: int
    low: int
    size: int
    stride: int
    null: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """``places``: how many there are with "dense". ``texts``: by the number of their table."""

    sink: str
    places: int
    keys: tuple[PackedKey, ...]
    texts: dict[int, pa.Array]

    @property
    def arguments(self) -> list[int]:
        return [number for key in self.keys for number in (key.low, key.null, key.stride)]

    @property
    def words(self) -> tuple[tuple[int, int], ...]:
        """``Shape.packing``."""
        return tuple((key.digit, key.whole) for key in self.keys)


def pack(
    shape: Shape, keys: Sequence[Key], columns: Sequence[Bounds], arguments: Sequence[int], texts: dict[int, pa.Array]
) -> Packing:
    """How keys become words."""
    packed: list[PackedKey] = []
    word, stride, words = -1, _WORD, 0
    for node, key in zip(shape.keys, keys, strict=True):
        nullable = can_be_null(node, shape.slots)
        if node[0] == "real_key":
            low, size = 0, _WORD
        elif key.table is not None:
            low, size = 0, len(texts[key.table])
        elif node[0] == "truth_key":
            low, size = 0, 2
        else:
            low, high = bounds(node, columns, arguments)
            size = max(high - low + 1, 0)
        whole = -1
        null = size if nullable else -1
        if size + nullable >= _WORD:
            whole, words = words, words + 1
            low, size, null = 0, 1, 1 if nullable else -1
        size += nullable
        if whole >= 0 and not nullable:
            packed.append(PackedKey(digit=-1, whole=whole, low=0, size=0, stride=0, null=-1))
            continue
        if stride * max(size, 1) >= _WORD:
            word, stride, words = words, 1, words + 1
        packed.append(PackedKey(digit=word, whole=whole, low=low, size=size, stride=stride, null=null))
        stride *= max(size, 1)
    if shape.sink == "rows":
        return Packing(sink="rows", places=0, keys=(), texts=texts)
    if not keys:
        return Packing(sink="one", places=1, keys=(), texts=texts)
    dense = words == 1 and word == 0 and stride * len(shape.accumulators) <= DENSE_MAX
    return Packing(sink="dense" if dense else "parts", places=stride, keys=tuple(packed), texts=texts)
