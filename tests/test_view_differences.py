"""What rows add to a view with values, grouped at once, is what they add to its groups and to those of its values."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soak
from weftdb.engine.aggregates import early
from weftdb.engine.aggregates.definition import Maintained
from weftdb.engine.aggregates.difference import Difference, combined, difference_of, pieces
from weftdb.engine.aggregates.early import EarlyLoad

Database = Any

DDL = "CREATE TABLE t (id BIGINT PRIMARY KEY, k INT, s TEXT, x INT, y DOUBLE PRECISION, z NUMERIC(20, 3))"
VIEWS = (
    "SELECT k, min(y) AS ly, max(z) AS gz, count(DISTINCT s) AS ns FROM t WHERE x <> 2 GROUP BY k",
    "SELECT s, k, last(y, id) AS yy, min(x) FILTER (WHERE k > 1) AS lx, sum(y) AS sy FROM t GROUP BY 1, 2",
    "SELECT x % 2 AS odd, max(s) AS gs, count(DISTINCT z) AS nz FROM t GROUP BY 1",
    "SELECT k, sum(x) AS sx FROM t GROUP BY k",
)


def some_rows(draw: random.Random, count: int) -> pa.RecordBatch:
    """Named by identifier."""
    doubles = (None, 0.0, -0.0, float("nan"), float("inf"), 1e300, 0.5, -3.25)
    columns = (
        pa.array(draw.choices(range(1000), k=count), pa.int64()),
        pa.array(draw.choices((None, 1, 2, 3), k=count), pa.int32()),
        pa.array(draw.choices((None, "", "a", "b\0"), k=count), pa.string()),
        pa.array(draw.choices((None, 1, 2, 3, 4), k=count), pa.int32()),
        pa.array(draw.choices(doubles, k=count), pa.float64()),
        pa.array(draw.choices((None, 0, 1, 7), k=count), pa.int32()).cast(pa.decimal128(20, 3)),
    )
    return pa.RecordBatch.from_arrays(list(columns), names=[str(id) for id in range(1, 7)])


def listed(batch: pa.RecordBatch) -> list[str]:
    """Rows in an order; by their text, since NaN is not itself."""
    return sorted(map(repr, batch.to_pylist()))


def check(view: Maintained, found: Difference, rows: pa.RecordBatch, signs: np.ndarray | int) -> None:
    for part, batch in zip(view.parts, (found.groups, *found.values), strict=True):
        wanted = part.grouper.change_of(rows.select([str(id) for id in part.reads]), signs)
        assert listed(_zeros_are_one(batch)) == listed(_zeros_are_one(wanted))
    keys = found.groups.select(view.grouper.key_names)
    for batch, places in zip(found.values, found.places, strict=True):
        assert places.tolist() == view.grouper.numbers_in(keys, batch.columns).tolist()


def _zeros_are_one(batch: pa.RecordBatch) -> pa.RecordBatch:
    """-0.0 and 0.0 are one value, and which of them stands for it is whichever came first."""
    columns = [
        pa.array([None if value is None else value + 0.0 for value in column.to_pylist()], column.type)
        if pa.types.is_floating(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def made(db: Database) -> list[Maintained]:
    db.execute(DDL)
    for number, query in enumerate(VIEWS):
        db.execute(f"CREATE MATERIALIZED VIEW v{number} AS {query}")
    return [db.engine._state.catalog.relations[f"v{number}"].maintained for number in range(len(VIEWS))]


def test_a_difference_is_what_its_parts_are_by_themselves(db: Database) -> None:
    """Also of several as one, and cut into pieces."""
    views = made(db)
    draw = random.Random(soak.SEED)
    for _ in range(20 * soak.FACTOR):
        for view in views:
            batches = [some_rows(draw, draw.choice((0, 1, 5, 60))) for _ in range(3)]
            signs = [np.array(draw.choices((1, -1), k=batch.num_rows), np.int8) for batch in batches]
            signs[1] = np.ones(batches[1].num_rows, np.int8)
            each = [
                difference_of(view, batch, 1 if place == 1 else sign)
                for place, (batch, sign) in enumerate(zip(batches, signs, strict=True))
            ]
            for found, batch, sign in zip(each, batches, signs, strict=True):
                check(view, found, batch, sign)
            whole = combined(view, each)
            check(view, whole, pa.concat_batches(batches), np.concatenate(signs))
            cut = list(pieces(whole, rows_max=draw.choice((1, 7, 1000))))
            assert sum(piece.groups.num_rows for piece in cut) == whole.groups.num_rows, "each group once"
            assert [listed(batch) for batch in whole.values] == [
                listed(pa.concat_batches([piece.values[place] for piece in cut])) for place in range(len(whole.values))
            ]
            for piece in cut:
                keys = piece.groups.select(view.grouper.key_names)
                for batch, places in zip(piece.values, piece.places, strict=True):
                    assert places.tolist() == view.grouper.numbers_in(keys, batch.columns).tolist()


def test_pieces_of_a_large_transaction_are_the_difference_of_all_its_rows(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts or not, and where rows or groups of them are too many to be kept."""
    views = made(db)
    draw = random.Random(soak.SEED)
    monkeypatch.setattr(early, "CHANGE_ROWS", 16)
    known = unknown = cut = 0
    for _ in range(20 * soak.FACTOR):
        monkeypatch.setattr(early, "_PIECE_ROWS", draw.choice((8, 1000)))
        monkeypatch.setattr(early, "VIEW_EARLY_BYTES_MAX", draw.choice((2_000, 20_000, 60_000, 1 << 30)))
        batches = [some_rows(draw, draw.choice((0, 1, 5, 60))) for _ in range(draw.choice((6, 40)))]
        whole = pa.concat_batches(batches)
        load = EarlyLoad(lambda ids, batches=batches: _columns(batches, ids), whole.num_rows, views)
        for view in views:
            found = load.pieces_of(view)
            if found is None:
                unknown += 1
                continue
            known, cut = known + 1, cut + (len(found) > 1)
            groups = [repr(key) for each in found for key in each.groups.select(view.grouper.key_names).to_pylist()]
            assert len(set(groups)) == len(groups), "no group is in two pieces"
            check(view, _one(view, found), whole, 1)
    assert known
    assert unknown, "some had too many groups"
    assert cut


def _columns(batches: list[pa.RecordBatch], ids: Any) -> list[pa.RecordBatch]:
    return [batch.select([str(id) for id in ids]) for batch in batches]


def _one(view: Maintained, found: list[Difference]) -> Difference:
    return combined(view, found) if found else difference_of(view, some_rows(random.Random(0), 0), 1)
