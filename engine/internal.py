"""The engine's own tables. Their rows are MVCC rows like any others, so DDL is logged, versioned and replayed.

    weft_catalog    name TEXT (primary key), id BIGINT, definition TEXT
    weft_sequences  table BIGINT, column BIGINT (primary key), next BIGINT: identity values below it are given away

Identifiers below FIRST_ID belong to the engine. A relation's row is found by its name, so that two transactions that
create the same name conflict on one row.
"""

from __future__ import annotations

from typing import Final

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

INTERNAL: Final = (CATALOG, SEQUENCES)
