"""How the keys of a group become words: digits of one number where they have few values, else words of their own.

A digit is (value - least), NULL one digit more; digits times their strides are added up to a word of at most 62 bits,
and where they do not fit there is another word. A float is a word by itself, and so is an integer of 62 bits or more;
whether such a key is NULL is a digit. One word of few values is a place ("dense").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ...base.limits import PIPELINE_BITS_MAX, PIPELINE_DENSE_MANY, PIPELINE_DENSE_MAX
from .bits import ValueBits, is_worth, stride_of
from .bounds import Bounds, bounds, can_be_null
from .shape import FarApart, Node, Shape

JOINED_TEXTS: Final = 1 << 20
"""The texts of a joined side's column stand beside those of tables under so much more than its slot."""
CONSTANT_TEXTS: Final = 2 * JOINED_TEXTS
"""And those that a key counts under so much more than its number."""

ROWS_ALONE: Final = (("count", None, None),)
"""The accumulators where rows are counted and nothing else."""

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
    """``places``: how many there are with "dense" and "set". ``texts``: by the number of their table.

    ``of_null``: by the number of their table, which of its values NULL gives.

    ``bits``: of values, ``bits_words``: of theirs and of a set's.
    """

    sink: str
    places: int
    keys: tuple[PackedKey, ...]
    texts: dict[int, pa.Array]
    of_null: dict[int, int] = field(default_factory=dict[int, int])
    bits: tuple[ValueBits, ...] = ()
    bits_words: int = 0

    @property
    def arguments(self) -> list[int]:
        keys = [number for key in self.keys for number in (key.low, key.null, key.stride)]
        return keys + [number for one in self.bits for number in (one.low, one.stride, one.base)]

    @property
    def words(self) -> tuple[tuple[int, int], ...]:
        """``Shape.packing``."""
        return tuple((key.digit, key.whole) for key in self.keys)


NO_KEYS: Final = Packing(sink="one", places=1, keys=(), texts={})


def pack(
    shape: Shape,
    columns: Sequence[Bounds],
    arguments: Sequence[int],
    texts: dict[int, pa.Array],
    *,
    of_null: dict[int, int],
    counted: bool,
    rows_count: int,
    room: int,
) -> Packing:
    """How keys become words. ``texts``, ``of_null``: as in Packing. ``counted``: whether more is asked of groups than
    which there are; ``room``: for a state, in bytes. Raises NotCovered.
    """
    packed: list[PackedKey] = []
    word, stride, words = -1, _WORD, 0
    for node in shape.keys:
        nullable = can_be_null(node, shape.slots)
        low, size = _values(node, columns, arguments, texts)
        whole = -1
        null = size if nullable else -1
        if nullable and node[0] == "code" and node[2] in of_null:
            nullable, null = False, of_null[node[2]]
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
    if not shape.keys:
        sink, stride = "one", 1
    elif words != 1 or word != 0:
        sink = "parts"
    elif shape.accumulators == ROWS_ALONE and not counted and is_worth(stride, rows_count):
        sink = "set"
    else:
        most = PIPELINE_DENSE_MAX
        if stride <= rows_count:
            most = min(PIPELINE_DENSE_MANY * most, max(most, room // 8))
        sink = "dense" if stride * len(shape.accumulators) <= most else "parts"
    bits = _bits(shape, stride, columns, arguments, texts)
    bits_count = bits[-1].base + bits[-1].stride * stride if bits else stride if sink == "set" else 0
    if bits and (sink == "parts" or not is_worth(bits_count, rows_count)):
        raise FarApart("there is no room for a bit for each value to be counted")
    return Packing(
        sink=sink, places=stride, keys=tuple(packed), texts=texts, of_null=of_null, bits=bits,
        bits_words=-(-bits_count // 64),
    )  # fmt: skip


def _values(
    node: Node, columns: Sequence[Bounds], arguments: Sequence[int], texts: dict[int, pa.Array]
) -> tuple[int, int]:
    """The least value of a key, and how many there may be from it on."""
    match node[0]:
        case "real_key":
            return 0, _WORD
        case "code":
            return 0, len(texts[node[2]])
        case "truth_key":
            return 0, 2
        case _:
            low, high = bounds(node, columns, arguments)
            return low, max(high - low + 1, 0)


def _bits(
    shape: Shape, places: int, columns: Sequence[Bounds], arguments: Sequence[int], texts: dict[int, pa.Array]
) -> tuple[ValueBits, ...]:
    """Where the bits of values to be counted are, of groups that have so many places."""
    found: list[ValueBits] = []
    base = 0
    for number in shape.distinct:
        node = shape.accumulators[number][1]
        assert node is not None, "it is of a value"
        low, size = _values(node, columns, arguments, texts)
        found.append(ValueBits(accumulator=number, low=low, stride=stride_of(size), base=base))
        base += -(-found[-1].stride * places // 64) * 64
        if base > PIPELINE_BITS_MAX:
            raise FarApart("there is no room for a bit for each value to be counted")
    return tuple(found)
