"""The engine's own tables. Their rows are MVCC rows like any others, so DDL is logged, versioned and replayed.

    weft_catalog    name TEXT (primary key), id BIGINT, definition TEXT
    weft_sequences  table BIGINT, column BIGINT (primary key), next BIGINT: identity values below it are given away
    weft_named_snapshots
                    name TEXT (primary key), version BIGINT, created BIGINT (wall clock, microseconds), lost TEXT: why
                    the version is not pinned any more, else NULL
    weft_feed_positions
                    name TEXT (primary key), table BIGINT, version BIGINT: what is done with, created BIGINT, moved
                    BIGINT (wall clock, microseconds), lost TEXT: why it keeps nothing any more, else NULL

Identifiers below FIRST_ID belong to the engine. A relation's row is found by its name, so that two transactions that
create the same name conflict on one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final, TypeVar

import pyarrow as pa

from ..base.types import BIGINT, TEXT
from .schema import Column, Table

FIRST_ID: Final = 100

CATALOG: Final = Table(
    id=1,
    name="weft_catalog",
    columns=(
        Column(id=1, name="name", type=TEXT, nullable=False),
        Column(id=2, name="id", type=BIGINT, nullable=False),
        Column(id=3, name="definition", type=TEXT, nullable=False),
    ),
    primary_key=(1,),
    key=(1,),
    next_column_id=4,
)

SEQUENCES: Final = Table(
    id=2,
    name="weft_sequences",
    columns=(
        Column(id=1, name="table", type=BIGINT, nullable=False),
        Column(id=2, name="column", type=BIGINT, nullable=False),
        Column(id=3, name="next", type=BIGINT, nullable=False),
    ),
    primary_key=(1, 2),
    key=(1, 2),
    next_column_id=4,
)

NAMED: Final = Table(
    id=3,
    name="weft_named_snapshots",
    columns=(
        Column(id=1, name="name", type=TEXT, nullable=False),
        Column(id=2, name="version", type=BIGINT, nullable=False),
        Column(id=3, name="created", type=BIGINT, nullable=False),
        Column(id=4, name="lost", type=TEXT),
    ),
    primary_key=(1,),
    key=(1,),
    next_column_id=5,
)

POSITIONS: Final = Table(
    id=4,
    name="weft_feed_positions",
    columns=(
        Column(id=1, name="name", type=TEXT, nullable=False),
        Column(id=2, name="table", type=BIGINT, nullable=False),
        Column(id=3, name="version", type=BIGINT, nullable=False),
        Column(id=4, name="created", type=BIGINT, nullable=False),
        Column(id=5, name="moved", type=BIGINT, nullable=False),
        Column(id=6, name="lost", type=TEXT),
    ),
    primary_key=(1,),
    key=(1,),
    next_column_id=7,
)

INTERNAL: Final = (CATALOG, SEQUENCES, NAMED, POSITIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSnapshot:
    """A row of ``weft_named_snapshots``: the version stays readable, unless ``lost`` says why it does not."""

    name: str
    version: int
    created: int
    lost: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPosition:
    """A row of ``weft_feed_positions``: what ended in ``table`` after ``version`` stays, unless ``lost`` says why."""

    name: str
    table: int
    version: int
    created: int
    moved: int
    lost: str | None = None


Item = TypeVar("Item", NamedSnapshot, FeedPosition)


def encode_rows(table: Table, items: Sequence[NamedSnapshot | FeedPosition]) -> pa.RecordBatch:
    """The items as rows of their table, by the names of the columns."""
    names = table.arrow_schema.names
    rows = [dict(zip(names, astuple(item), strict=True)) for item in items]
    return pa.RecordBatch.from_pylist(rows, schema=table.arrow_schema)


def decode_rows(kind: type[Item], batch: pa.RecordBatch) -> list[Item]:
    """The items of a batch of whole rows, columns in the table's order."""
    names = [field.name for field in fields(kind)]
    columns = [column.to_pylist() for column in batch.columns]
    return [kind(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]
