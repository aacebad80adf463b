"""What a memtable's column says its integers lie between is what looking at each of them says."""

from __future__ import annotations

import decimal
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from weftdb.base import types
from weftdb.base.types import Type
from weftdb.engine.column_store import FixedColumn
from weftdb.storage.column_values import values_of

ROWS = 5_000
INTEGERS = {types.SMALLINT: 15, types.INTEGER: 31, types.BIGINT: 62}
NUMERIC = types.numeric(38, 0)


def _given(random: random.Random, type: Type, *, nulls: float) -> list[Any]:
    bits = INTEGERS.get(type, 62)
    values = [None if random.random() < nulls else random.randint(-(1 << bits), (1 << bits) - 1) for _ in range(ROWS)]
    return [decimal.Decimal(one) if type is NUMERIC and one is not None else one for one in values]


def _column(given: list[Any], type: Type, cuts: list[int]) -> FixedColumn:
    """Filled piece by piece."""
    column = FixedColumn(type, capacity=ROWS, door=np.zeros(3, np.uint64))
    for start, stop in zip([0, *cuts], [*cuts, len(given)], strict=True):
        column.append(start, values_of(pa.array(given[start:stop], type.arrow), type), 0, count=stop - start)
    return column


@pytest.mark.parametrize("type", [*INTEGERS, NUMERIC], ids=str)
@pytest.mark.parametrize("nulls", [0.0, 0.3, 0.999, 1.0])
def test_bounds_are_those_of_the_values_that_are_there(type: Type, nulls: float) -> None:
    for seed in range(5):
        chance = random.Random(f"{seed} {type} {nulls}")
        given = _given(chance, type, nulls=nulls)
        column = _column(given, type, sorted(chance.sample(range(1, ROWS), 3)))
        asked = sorted(chance.sample(range(1, ROWS + 1), 4))
        for count in asked:  # what was found before is kept
            assert column.bounds(count) == _naive(given[:count])
        assert column.bounds(asked[0]) == _naive(given[: asked[-1]]), "those of a few values more"


def _naive(given: list[Any]) -> tuple[int, int]:
    there = [int(one) for one in given if one is not None]
    return (min(there), max(there)) if there else ((1 << 63) - 1, -(1 << 63))


def test_a_number_beyond_64_bits_leaves_no_bounds_to_whoever_asks_of_it_or_of_more() -> None:
    given = [decimal.Decimal(row) for row in range(ROWS)]
    given[3_000] = decimal.Decimal(1 << 63)
    column = _column(given, NUMERIC, [2_000])
    assert column.bounds(3_000) == (0, 2_999)
    assert column.bounds(3_001) is None
    assert column.bounds(ROWS) is None


def test_what_stands_under_a_null_says_nothing() -> None:
    column = FixedColumn(NUMERIC, capacity=4, door=np.zeros(3, np.uint64))
    column.append(
        0, values_of(pa.array([decimal.Decimal(7), None, decimal.Decimal(9)], NUMERIC.arrow), NUMERIC), 0, count=3
    )
    column.values[1] = (1, 1)  # more than 64 bits
    assert column.bounds(3) == (7, 9)
