"""Numbers for keys by their values, and which is the least, against those by their encodings."""

from __future__ import annotations

import decimal
import random

import numpy as np
import pyarrow as pa
import soak
from weftdb.base import types
from weftdb.engine.kernels import ordering
from weftdb.engine.kernels.numbering import number
from weftdb.engine.key_encoding import KeyEncoder
from weftdb.engine.numbered import has_order, numbered, order_of
from weftdb.engine.schema import Column
from weftdb.storage.column_values import frozen, values_of

TYPES = (
    types.BOOLEAN, types.SMALLINT, types.INTEGER, types.BIGINT, types.DATE, types.TIME, types.TIMESTAMP,
    types.TIMESTAMPTZ, types.TEXT, types.varchar(9), types.REAL, types.DOUBLE, types.numeric(9, 2),
    types.numeric(38, 0), types.UUID, types.BYTEA,
)  # fmt: skip


INTEGERS = {type.kind for type in TYPES[1:8]}


def key(draw: random.Random, type: types.Type, count: int) -> pa.Array:
    """Many distinct values or few, near each other or not, in runs or not."""
    if type.is_variable:
        pool = [
            None,
            "",
            "a",
            "\0",
            "a\0",
            "ä",
            *(str(draw.randrange(count + 1)) for _ in range(draw.choice((1, 9, count)))),
        ]
        if type == types.BYTEA:
            pool = [None if value is None else value.encode() + b"\xff" for value in pool]
    elif type.kind is types.Kind.BOOLEAN:
        pool = [None, True, False]
    elif type.kind in (types.Kind.REAL, types.Kind.DOUBLE):
        words = [draw.getrandbits(64) for _ in range(draw.choice((1, 9, count)))]
        bits = (0x7FF8_0000_0000_0000, 0x7FF0_0000_0000_0001, 0xFFF8_0000_0000_0001, 1 << 63, 0, *words)  # NaN, zeros
        pool = [None, *np.array(bits, np.uint64).view(np.float64).tolist(), 0.1, 1.0, -1.0]
    elif type.kind is types.Kind.NUMERIC:
        bits = draw.choice((5, 29, 90 if type.precision == 38 else 30))
        pool = [decimal.Decimal(draw.getrandbits(bits) - 2 ** (bits - 1)) for _ in range(draw.choice((1, 9, count)))]
        pool = [None, decimal.Decimal(0), decimal.Decimal(-1), *pool]
        if type.scale:
            pool = [None if value is None else value.scaleb(-type.scale) for value in pool]
    elif type.kind is types.Kind.UUID:
        pool = [None, *(draw.randbytes(8) * 2 for _ in range(draw.choice((1, 9, count)))), bytes(16), bytes(15) + b"a"]
    else:
        wide = {types.Kind.SMALLINT: 2**15, types.Kind.BIGINT: 2**63, types.Kind.TIME: 86_399_999_999}
        span = draw.choice((5, 1000, wide.get(type.kind, 2**31)))
        low = 0 if type.kind is types.Kind.TIME else -span
        pool = [None, low, span - 1, *(draw.randrange(low, span) for _ in range(draw.choice((1, 9, count))))]
    pool = pool if draw.random() < 0.5 else pool[1:]
    length = draw.choice((1, 1, 30))
    values = [value for value in draw.choices(pool, k=count) for _ in range(length)][:count]
    storage = type.storage
    if type.kind in INTEGERS:
        found = pa.array([None, *values], f"int{storage.bit_width}").view(storage)
    else:
        found = pa.array([None, *values], storage)
    return types.wrapped(found[1:], type)  # a slice: buffers begin before it


def test_numbers_are_those_of_encoded_keys() -> None:
    draw = random.Random(soak.SEED)
    for _ in range(300 * soak.FACTOR):
        chosen = draw.choices(TYPES, k=draw.randint(1, 4))
        count = draw.choice((0, 1, 2, 50, 3000))
        keys = [key(draw, type, count) for type in chosen]
        columns = [Column(id=place, name=str(place), type=type) for place, type in enumerate(chosen, 1)]
        encoder = KeyEncoder(columns)
        found = encoder.encode([values_of(key, type) for key, type in zip(keys, chosen, strict=True)], count=count)
        slots = np.zeros(1 << (2 * count + 1).bit_length(), np.int64)
        numbers, firsts = np.empty(count, np.int64), np.empty(count, np.int64)
        groups = number(found.words, found.offsets, found.width, found.hashes, slots, numbers, firsts)
        mine, my_firsts = numbered(keys, chosen, count)
        assert mine.tolist() == numbers.tolist()
        assert my_firsts.tolist() == firsts[:groups].tolist()


def test_the_extreme_value_is_decided_by_words_as_by_keys() -> None:
    draw = random.Random(soak.SEED)
    for _ in range(200 * soak.FACTOR):
        type = draw.choice([type for type in TYPES if has_order(type)])
        count, groups = draw.choice((0, 1, 40)), draw.choice((1, 2, 9))
        values, current = key(draw, type, count), key(draw, type, groups)
        encoder = KeyEncoder([Column(id=1, name="1", type=type)])
        keys, had = (encoder.encode([values_of(array, type)], count=len(array)) for array in (values, current))
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        known = frozen(current.is_valid().to_numpy(zero_copy_only=False))
        of = frozen(np.array(draw.choices(range(groups), k=count), np.int64))
        before, after = (
            frozen(np.where(valid, np.array(draw.choices((0, 0, 1, 3), k=count), np.int64), 0)) for _ in range(2)
        )  # NULL is no value
        stays = frozen(np.array(draw.choices((True, True, True, False), k=groups), np.bool_))
        for last in (False, True):
            slow, fast = np.empty(groups, np.int64), np.empty(groups, np.int64)
            ordering.decide(
                keys.words, keys.offsets, keys.width, of, before, after, had.words, had.offsets, known, stays, last,
                slow,
            )  # fmt: skip
            words, known_words = order_of(values, type), order_of(current, type)
            ordering.decide_words(words, of, before, after, known_words, known, stays, last, fast)
            assert fast.tolist() == slow.tolist()
