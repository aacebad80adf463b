"""Key-value reads, and the keys and conditions of key-value calls, as functions over a Reader.

``scan`` turns ``where`` (SQL text), ``key`` and ``time`` into one engine expression, so that cells are pruned by it and
no relational executor is needed. A key here is a value of the key *dimension* (a customer), not a primary key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from ..base.errors import Invalid, NotFound
from ..base.rows import literal_value, to_batch, to_keys
from ..base.types import BOOLEAN, Type
from ..engine.delta import Bounds, bounds_of
from ..engine.expression.evaluate import check_supported
from ..engine.expression.node import Call, Expression, Literal
from ..engine.prune import stored_time
from ..engine.reader import Reader, RowStream
from ..engine.schema import Column, Table
from ..engine.transaction import Transaction
from .bind import Settings as BinderSettings
from .bind import bind_expression


def readable(reader: Reader, name: str) -> Table:
    """What is read under a name: a table, or a view that is maintained. Raises Invalid."""
    return reader.readable(name) if isinstance(reader, Transaction) else reader.catalog.readable(name)


def key_values(table: Table, key: object) -> tuple[Any, ...]:
    """One primary key (a value, a tuple, a dict) as Python values in its order. Raises Invalid."""
    plain = table.shape.key(key)
    if plain is not None:
        return plain
    columns = table.primary_key_columns
    require_primary_key(table)
    if len(columns) == 1 and not isinstance(key, dict | tuple | list):
        values: Sequence[object] = (key,)
    elif isinstance(key, dict) or not isinstance(key, tuple | list) or len(key) != len(columns):
        batch = one_key(table, key)
        values = [column[0].as_py() for column in batch.columns]
    else:
        values = key
    return tuple(_converted(value, column) for value, column in zip(values, columns, strict=True))


def _converted(value: object, column: Column) -> object:
    if value is None:
        if column.nullable:  # a view has groups of NULL
            return None
        raise Invalid(f'column "{column.name}": NULL is not a primary-key value', sqlstate="23502")
    try:
        return literal_value(value, column.type)
    except Invalid as error:
        raise Invalid(f'column "{column.name}" of the key: {error.message}', sqlstate=error.sqlstate) from None


def require_primary_key(table: Table) -> None:
    if not table.primary_key:
        is_view = table.stored is not None
        raise Invalid(
            f'{"view" if is_view else "table"} "{table.name}" has no primary key to find rows by',
            hint="Use scan or SQL, or "
            + ("let the view show all that it groups by." if is_view else "create the table with a primary key."),
            sqlstate="55000",
        )


def keys_schema(table: Table) -> pa.Schema:
    """The primary key's fields in its order. Raises Invalid for a table without one."""
    require_primary_key(table)
    return table.key_schema


def one_key(table: Table, key: object) -> pa.RecordBatch:
    """One primary key as a batch of one row. Raises Invalid for none or several."""
    if isinstance(key, list):
        raise Invalid("one key is expected, not a list", hint="get_many and delete take several.")
    batch = to_keys(key, keys_schema(table))
    if batch.num_rows != 1:
        raise Invalid(f"one key is expected, not {batch.num_rows}", hint="get_many and delete take several.")
    return batch


def row_bounds(table: Table, rows: pa.RecordBatch, *, lower: object, upper: object) -> Bounds:
    """Bounds for rows of primary keys and amounts, see ``bounds_of``. Raises Invalid."""
    keys = {column.name for column in table.primary_key_columns}
    return bounds_of([name for name in rows.schema.names if name not in keys], lower=lower, upper=upper)


STREAMED_ROWS: Final = 131_072


def is_stream(rows: Any) -> bool:
    """Whether rows come as an Arrow stream (or table) that need not be taken as a whole."""
    if isinstance(rows, pa.Table):
        return rows.num_rows > STREAMED_ROWS
    return isinstance(rows, pa.RecordBatchReader) or (
        hasattr(rows, "__arrow_c_stream__") and not isinstance(rows, pa.RecordBatch | pa.ChunkedArray)
    )


def batches_of(rows: Any) -> Iterator[pa.RecordBatch]:
    """The batches of what ``is_stream``. Raises Invalid for malformed Arrow data."""
    try:
        if isinstance(rows, pa.Table):
            yield from rows.to_batches(max_chunksize=STREAMED_ROWS)
        elif isinstance(rows, pa.RecordBatchReader):
            yield from rows
        else:
            yield from pa.RecordBatchReader.from_stream(rows)
    except (pa.ArrowException, UnicodeDecodeError, TypeError) as error:
        hint = "Check how the data was made; validate(full=True) shows it."
        raise Invalid(f"malformed Arrow data: {error}", hint=hint) from None


def scan(
    reader: Reader,
    table: Table,
    *,
    columns: Sequence[str] | None,
    where: str | None,
    key: object,
    time: tuple[object, object] | None,
    settings: BinderSettings,
) -> RowStream:
    """The rows of a table that meet all conditions. Raises Invalid."""
    conditions: list[Expression] = []
    if key is not None:
        conditions.append(_key_condition(table, key))
    if time is not None:
        conditions += _time_conditions(table, time)
    if where is not None:
        expression = bind_expression(where, table, type=BOOLEAN, settings=settings)
        check_supported(expression)
        conditions.append(expression)
    ids = None if columns is None else [table.column(name).id for name in columns]
    filter = _call("and", *conditions) if len(conditions) > 1 else next(iter(conditions), None)
    return reader.scan(table, columns=ids, filter=filter)


def series(
    reader: Reader,
    table: Table,
    *,
    columns: Sequence[str] | None,
    key: object,
    time: tuple[object, object] | None,
) -> pa.RecordBatch | None:
    """The rows of one key, in one batch, where they are few and can be found without a scan, see engine/series.py.

    Returns None for all else, errors in ``key`` and ``time`` included: ``scan`` says what is wrong. Raises Invalid for
    values that are not of the columns' types.
    """
    given = key if isinstance(key, tuple) else (key,)
    if isinstance(key, list) or len(given) != len(table.key) or any(value is None for value in given):
        return None
    values = tuple([literal_value(value, table.by_id[id].type) for value, id in zip(given, table.key, strict=True)])
    low = high = None
    if time is not None:
        if table.time is None:
            return None
        type = table.by_id[table.time].type
        low, high = [None if x is None else stored_time(literal_value(x, type), type.kind) for x in time]
    ids = None if columns is None else [table.column(name).id for name in columns]
    return reader.series(table, values, low, high, columns=ids)


def changed_row(reader: Reader, table: Table, keys: pa.RecordBatch, changes: Mapping[str, object]) -> pa.RecordBatch:
    """The row at ``keys`` (one) with some columns set, as full row. Raises NotFound, and Invalid for the values."""
    given = to_batch([dict(changes)], table.arrow_schema) if changes else None
    row, _ = reader.get_many(table, keys)
    if not row.num_rows:
        shown = ", ".join(f"{name} = {keys.column(name)[0].as_py()!r}" for name in keys.schema.names)
        raise NotFound(f'table "{table.name}" has no row with {shown}', hint="put or insert it.")
    if given is None:
        return row
    arrays = [given.column(n) if n in given.schema.names else row.column(n) for n in row.schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=row.schema)


def _call(function: str, *arguments: Expression) -> Expression:
    return Call(function=function, arguments=arguments, type=BOOLEAN)


def _literal(value: object, type: Type) -> Expression:
    return Literal(value=literal_value(value, type), type=type)


def _key_condition(table: Table, key: object) -> Expression:
    columns = [table.by_id[id] for id in table.key]
    if not columns:
        raise Invalid(f'table "{table.name}" has no key', hint="Use where=.", sqlstate="22023")
    keys = key if isinstance(key, list) else [key]
    if not keys:
        return Literal(value=False, type=BOOLEAN)
    if len(columns) == 1:
        column = columns[0]
        values = [_literal(one[0] if isinstance(one, tuple) else one, column.type) for one in keys]
        if len(values) == 1:
            return _call("equal", column.node, values[0])
        return _call("in_list", column.node, *values)
    choices = [_same(columns, one) for one in keys]
    return choices[0] if len(choices) == 1 else _call("or", *choices)


def _same(columns: list[Column], key: object) -> Expression:
    if not isinstance(key, tuple | list) or len(key) != len(columns):
        names = ", ".join(column.name for column in columns)
        raise Invalid(f"{key!r} is not a key of this table", hint=f"Give a tuple ({names}).")
    pairs = zip(columns, key, strict=True)
    return _call("and", *(_call("equal", column.node, _literal(value, column.type)) for column, value in pairs))


def _time_conditions(table: Table, time: tuple[object, object]) -> list[Expression]:
    if table.time is None:
        raise Invalid(f'table "{table.name}" has no event time', hint="Use where=.", sqlstate="22023")
    column = table.by_id[table.time]
    return [
        _call(function, column.node, _literal(bound, column.type))
        for function, bound in (("greater_equal", time[0]), ("less", time[1]))
        if bound is not None
    ]
