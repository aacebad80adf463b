"""From the columns that a caller gave to full, valid rows: identity, DEFAULT, NOT NULL, length, CHECK.

All of it happens before a change reaches the sequencer, on the caller's thread, so that ``apply`` never has to refuse
a row. The values of ``now()``, ``random()`` and identity columns are fixed here and logged as values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..base.batches import bytes_of_lists
from ..base.errors import Invalid, LimitExceeded, nearest
from ..base.limits import VALUE_BYTES_MAX
from ..base.types import Type
from .expression.evaluate import Context, evaluate
from .schema import Column, Identity, Table

IdentityAllocator = Callable[[Table, Column, int], int]
"""(table, column, count) → the first of ``count`` consecutive identity values."""


def complete(
    table: Table,
    batch: pa.RecordBatch,
    *,
    context: Context,
    identities: IdentityAllocator,
    overriding: bool = False,
) -> pa.RecordBatch:
    """Full, valid rows of ``table`` in its column order, from a batch that may lack columns.

    ``overriding`` lets explicit values into GENERATED ALWAYS columns. Raises Invalid with column and row (from 1).
    """
    rows = fill(table, batch, context=context, identities=identities, overriding=overriding)
    check(table, rows, context=context)
    return rows


def fill(
    table: Table,
    batch: pa.RecordBatch,
    *,
    context: Context,
    identities: IdentityAllocator,
    overriding: bool = False,
) -> pa.RecordBatch:
    """Full rows, not checked yet: absent columns take identity values, their DEFAULT, or NULL."""
    for name in batch.schema.names:
        if name not in table.by_name:
            raise Invalid(
                f'column "{name}" of table "{table.name}" does not exist',
                hint=nearest(name, table.by_name),
                sqlstate="42703",
            )
    arrays = [
        _column_values(table, column, batch, context=context, identities=identities, overriding=overriding)
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=table.arrow_schema)


def check(table: Table, rows: pa.RecordBatch, *, context: Context) -> None:
    """Raise Invalid for the first full row that a constraint refuses: NOT NULL, length, CHECK (NULL passes); or of
    which a materialized view cannot compute what it needs.
    """
    for column, array in zip(table.columns, rows.columns, strict=True):
        _check_column(table, column, array)
    ids = [column.id for column in table.columns]
    for constraint in table.checks:
        outcome = evaluate(constraint.expression, rows, column_ids=ids, context=context)
        row = _first(pc.equal(outcome, False))
        if row is not None:
            raise Invalid(
                f'row {row + 1} of "{table.name}" violates the check "{constraint.name}": {constraint.text}',
                hint=f"The row is {_shown(rows, row)}.",
                sqlstate="23514",
            )
    for guard in table.guards:
        try:
            evaluate(guard.expression, rows, column_ids=ids, context=context)
        except Invalid as error:
            hint = f'A materialized view of "{table.name}" computes it of each row. Change the row, or drop the view.'
            raise Invalid(error.message, hint=hint, sqlstate=error.sqlstate) from None


def _column_values(
    table: Table,
    column: Column,
    batch: pa.RecordBatch,
    *,
    context: Context,
    identities: IdentityAllocator,
    overriding: bool,
) -> pa.Array:
    index = batch.schema.get_field_index(column.name)
    if index >= 0:
        if column.identity is Identity.ALWAYS and not overriding:
            raise Invalid(
                f'column "{column.name}" of table "{table.name}" is GENERATED ALWAYS AS IDENTITY and takes no value',
                hint="Leave the column out, or write OVERRIDING SYSTEM VALUE.",
                sqlstate="428C9",
            )
        array = batch.column(index)
        if array.type != column.type.arrow:
            raise Invalid(
                f'column "{column.name}" of table "{table.name}" is of type {column.type}, '
                f"but the batch has Arrow type {array.type}",
                hint=f"Send it as {column.type.arrow}.",
                sqlstate="42804",
            )
        return array
    if column.identity is not None:
        first = identities(table, column, batch.num_rows)
        return pa.array(np.arange(first, first + batch.num_rows)).cast(column.type.arrow)
    if column.default is not None:
        return evaluate(column.default, batch, column_ids=[-1] * batch.num_columns, context=context)
    return pa.nulls(batch.num_rows, column.type.arrow)


def _check_column(table: Table, column: Column, array: pa.Array) -> None:
    if not column.nullable and array.null_count:
        row = _first(array.is_null())
        assert row is not None, "null_count says that there is one"
        raise Invalid(
            f'column "{column.name}" of table "{table.name}" is NOT NULL, row {row + 1} has NULL there',
            hint="Give it a value, or declare a DEFAULT.",
            sqlstate="23502",
        )
    if not column.type.is_variable:
        return
    if column.type.element is not None:
        _check_items(column, array, column.type.element)
        return
    text = array.storage if column.type.is_json else array
    if column.type.length is not None:
        row = _first(pc.greater(pc.utf8_length(text), column.type.length))
        if row is not None:
            raise Invalid(
                f'column "{column.name}", row {row + 1}: value too long for type {column.type}',
                hint="Shorten it, or use TEXT.",
                sqlstate="22001",
            )
    if text.nbytes > VALUE_BYTES_MAX:
        row = _first(pc.greater(pc.binary_length(text), VALUE_BYTES_MAX))
        if row is not None:
            raise LimitExceeded(
                f'column "{column.name}", row {row + 1}: the value is larger than {VALUE_BYTES_MAX:,} bytes'
            )


def _check_items(column: Column, array: pa.Array, element: Type) -> None:
    """Items are as long as they may be, and arrays as large."""
    if element.length is not None:
        item = _first(pc.greater(pc.utf8_length(array.flatten()), element.length))
        if item is not None:
            lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
            row = int(np.searchsorted(np.cumsum(lengths), item, side="right"))
            raise Invalid(
                f'column "{column.name}", row {row + 1}: value too long for type {element}',
                hint="Shorten it, or use TEXT[].",
                sqlstate="22001",
            )
    if array.nbytes > VALUE_BYTES_MAX and int(bytes_of_lists(array).max()) > VALUE_BYTES_MAX:
        row = int(bytes_of_lists(array).argmax())
        raise LimitExceeded(
            f'column "{column.name}", row {row + 1}: the array is larger than {VALUE_BYTES_MAX:,} bytes'
        )


def _first(mask: pa.Array) -> int | None:
    """The index of the first true, or None."""
    index: int = pc.index(mask, pa.scalar(True)).as_py()
    return None if index < 0 else index


def _shown(rows: pa.RecordBatch, row: int) -> str:
    values: dict[str, Any] = rows.slice(row, 1).to_pylist()[0]
    text = ", ".join(f"{name} = {value!r}" for name, value in values.items())
    return text if len(text) <= 300 else text[:297] + "..."
