"""Python rows into Arrow batches, and back.

Every door takes rows by this one function, so that the embedded database, the client's writer and the SQL layer accept
and refuse the same things with the same words. Speed comes from columns: rows are taken apart column by column, the
set of Python types of a column is looked at once, and where it is one that Arrow converts exactly, Arrow converts the
whole column. Only where that is not so, or fails, are the values converted one by one (``values.convert``), which
either succeeds (text for a date, a float for a NUMERIC) or finds the first bad row for the message.

    to_batch([(7, "2024-01-31")], schema)   tuples: all columns, in order      (or ``positional`` names them)
    to_batch([{"id": 7}], schema)           dicts: the same columns in each; the batch has those columns only
    to_batch(frame, schema)                 anything Arrow: Table, RecordBatch, reader, pandas, Polars, a Result

What always holds: the batch has exactly the schema's types, its columns are in schema order, and nothing was lost.
Names and values of the offending row are in each error; NOT NULL, CHECK and defaults are the engine's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import Any, Final, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .batches import bytes_of_lists
from .errors import Invalid, LimitExceeded, WeftError, nearest
from .limits import VALUE_BYTES_MAX
from .types import Kind, Type, arrow_field, no_rows, stored, type_of_arrow, type_of_field, wrapped
from .values import Refused, array_items, convert, literal_value, shown, type_of_value

__all__ = [
    "amounts_row",
    "array_of_values",
    "literal_value",
    "python_rows",
    "python_values",
    "to_batch",
    "to_keys",
    "type_of_value",
]


def to_batch(rows: object, schema: pa.Schema, *, positional: Sequence[str] | None = None) -> pa.RecordBatch:
    """One batch of the columns that were given, in schema order, with the schema's fields.

    ``positional`` names the columns that a tuple's values stand for; all columns of the schema unless given.
    Raises Invalid, naming column, row (from 1) and value; LimitExceeded for a value above the limit.
    """
    if _is_arrow(rows):
        return _arrow_batch(_to_table(rows), schema)
    listed = _row_list(rows)
    if not listed:
        return no_rows(schema)
    if isinstance(listed[0], dict):
        columns = _dict_columns(listed, schema)
    else:
        columns = _tuple_columns(listed, list(positional or schema.names), schema)
    fields = [field for field in schema if field.name in columns]
    arrays = [_column(columns[field.name], field) for field in fields]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def to_keys(keys: object, schema: pa.Schema) -> pa.RecordBatch:
    """Primary keys as a batch of exactly the schema's columns.

    ``keys``: one value (of a primary key of one column), one tuple, one dict, a list of these, or anything Arrow.
    Raises Invalid as ``to_batch``, and for NULL in a key where the schema does not have it.
    """
    if not _is_arrow(keys):
        listed = keys if isinstance(keys, list) else [keys]
        if len(schema) == 1:
            keys = [key if isinstance(key, dict | tuple) else (key,) for key in listed]
        else:
            for row, key in enumerate(listed, 1):
                if not isinstance(key, dict | tuple | list):
                    names = ", ".join(schema.names)
                    raise Invalid(
                        f"key {row}: {shown(key)} is one value, the primary key has {len(schema)} columns",
                        hint=f"Give a tuple in the order ({names}), or a dict.",
                    )
            keys = listed
    batch = to_batch(keys, schema)
    if missing := [name for name in schema.names if name not in batch.schema.names]:
        raise Invalid(f'a key lacks the primary-key column "{missing[0]}"', hint=f"It has ({', '.join(schema.names)}).")
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.null_count and not schema.field(name).nullable:
            row = pc.index(column.is_null(), True).as_py() + 1
            raise Invalid(f'column "{name}", key {row}: NULL is not a primary-key value', sqlstate="23502")
    return batch


def amounts_row(key: object, primary_key: Sequence[str], amounts: Mapping[str, object]) -> dict[str, object]:
    """A primary key (a value, a tuple, a dict) and amounts to add, as one row. Raises Invalid."""
    if isinstance(key, dict):
        row: dict[str, object] = dict(key)
    else:
        values = key if isinstance(key, tuple) else (key,)
        if len(values) != len(primary_key):
            names = ", ".join(primary_key) or "none"
            raise Invalid(f"{shown(key)} is not a primary key of this table", hint=f"Its columns are: {names}.")
        row = dict(zip(primary_key, values, strict=True))
    for name in amounts:
        if name in row:
            raise Invalid(f'column "{name}" is in the primary key and cannot be added to', sqlstate="42P10")
    return row | dict(amounts)


def python_values(column: pa.Array | pa.ChunkedArray, type: Type) -> list[Any]:
    """A column as the Python values that clients see.

    int, float, bool, str, bytes, Decimal, date, time, datetime (naive for TIMESTAMP, UTC for TIMESTAMPTZ), MonthDayNano
    for INTERVAL, uuid.UUID, the text of JSON, lists of arrays, None for NULL. Raises Invalid for a moment that Python
    has no value for, which is beyond the years 1 to 9999.
    """
    if type.element is not None:
        if isinstance(column, pa.ChunkedArray):
            return [value for chunk in column.chunks for value in _lists(chunk, type.element)]
        return _lists(column, type.element)
    if type.kind is Kind.UUID and not isinstance(column.type, pa.UuidType):
        return [None if value is None else _uuid(value) for value in column.to_pylist()]
    try:
        if type.kind is Kind.TIMESTAMPTZ:
            return [None if value is None else value.replace(tzinfo=UTC) for value in _naive(column).to_pylist()]
        return column.to_pylist()
    except OverflowError:
        raise Invalid(
            f"a {type} lies before the year 1 or after 9999, and Python has no value for it",
            hint="Read the result as Arrow, or cast it to TEXT.",
            sqlstate="22008",
        ) from None


def _lists(column: pa.Array, element: Type) -> list[Any]:
    items = python_values(column.flatten(), element)  # without what lies under NULLs
    lists: list[Any] = []
    at = 0
    for length in pc.list_value_length(column).to_pylist():
        lists.append(None if length is None else items[at : at + length])
        at += length or 0
    return lists


def _uuid(value: str | bytes) -> uuid.UUID:
    return uuid.UUID(value) if isinstance(value, str) else uuid.UUID(bytes=value)


def array_of_values(values: Sequence[Any], type: Type) -> pa.Array:
    """What ``python_values`` gave, as a column of the type's Arrow type again."""
    if Kind.UUID in (type.kind, type.element and type.element.kind):
        values = [stored(value, type) for value in values]
    return wrapped(pa.array(values, type.storage), type)


def python_rows(table: pa.Table | pa.RecordBatch, types: Sequence[Type]) -> list[tuple[Any, ...]]:
    """A table's rows as tuples of ``python_values``."""
    if not table.num_columns:
        return [()] * table.num_rows
    columns = [python_values(column, type) for column, type in zip(table.columns, types, strict=True)]
    return list(zip(*columns, strict=True))


# -- rows taken apart ------------------------------------------------------------------------------------------------


def _row_list(rows: object) -> list[Any]:
    """One row or many, as a list of rows of one sort."""
    if isinstance(rows, dict | tuple):
        return [rows]
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise Invalid(f"rows are dicts, tuples or Arrow data, not {type(rows).__name__}", hint=_ROWS_HINT)
    listed: list[Any] = rows if isinstance(rows, list) else list(rows)
    kinds = set(map(type, listed))
    if len(kinds) > 1 or not all(issubclass(kind, dict | tuple | list) for kind in kinds):
        first: Any = dict if listed and isinstance(listed[0], dict) else tuple | list
        for row, value in enumerate(listed, 1):
            if not isinstance(value, first):
                wanted = "a dict like the rows before" if first is dict else "a tuple"
                raise Invalid(f"row {row}: {shown(value)} ({type(value).__name__}) is not {wanted}", hint=_ROWS_HINT)
    return listed


def _tuple_columns(rows: list[Sequence[Any]], names: list[str], schema: pa.Schema) -> dict[str, list[Any]]:
    _check_names(names, schema)
    if set(map(len, rows)) != {len(names)}:
        row = next(row for row, values in enumerate(rows) if len(values) != len(names))
        raise Invalid(
            f"row {row + 1} has {len(rows[row])} values, {len(names)} are expected",
            hint=f"A tuple has the columns ({', '.join(names)}). Use dicts to give some of them.",
        )
    return {name: list(map(itemgetter(place), rows)) for place, name in enumerate(names)}


def _dict_columns(rows: list[dict[str, Any]], schema: pa.Schema) -> dict[str, list[Any]]:
    names = list(rows[0])
    _check_names(names, schema)
    try:
        if set(map(len, rows)) == {len(names)}:
            return {name: list(map(itemgetter(name), rows)) for name in names}
    except KeyError:
        pass
    return _uneven_dicts(rows, set(names), schema)


def _uneven_dicts(rows: list[dict[str, Any]], names: set[str], schema: pa.Schema) -> NoReturn:
    for row, values in enumerate(rows, 1):
        _check_names([name for name in values if name not in names], schema, row=row)
        if missing := [name for name in names if name not in values]:
            message = f'row {row} lacks the column "{missing[0]}" that row 1 has'
            raise Invalid(message, hint="All rows of one call have the same columns; give NULL as None.")
        if added := [name for name in values if name not in names]:
            message = f'row {row} has the column "{added[0]}" that row 1 lacks'
            raise Invalid(message, hint="All rows of one call have the same columns; give NULL as None.")
    raise AssertionError("rows of the same columns cannot be uneven")


def _check_names(names: Sequence[Any], schema: pa.Schema, *, row: int | None = None) -> None:
    known = set(schema.names)
    for name in names:
        if name not in known:
            where = "" if row is None else f"row {row}: "
            hint = nearest(str(name), known) or f"The columns are ({', '.join(schema.names)})."
            raise Invalid(f'{where}column "{name}" does not exist', hint=hint, sqlstate="42703")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f'column "{twice}" is given more than once', sqlstate="42701")


_ROWS_HINT: Final = "Give a dict, a tuple, a list of one of these, or anything Arrow (pandas, Polars, a Result)."


# -- one column of Python values -------------------------------------------------------------------------------------


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    type = type_of_field(field)
    if type.element is not None:
        return _array_column(values, field, type, type.element)
    allowed = _EXACT.get(type.kind)
    if allowed is not None and allowed.issuperset(kinds := set(map(_type, values))):
        storage = type.storage
        try:
            if type.kind is Kind.UUID:
                values = [None if value is None else value.bytes for value in values]
            if type.kind not in _ZONELESS or not _has_zone(values, kinds):
                return _finished(_plain_array(values, storage, field), field, type)
        except (pa.ArrowException, OverflowError, ValueError):
            pass
    return _one_by_one(values, field, type)


_type: Final = type  # the parameter and local name ``type`` hides it below
_None: Final = _type(None)

# Python types that Arrow converts exactly, or fails; anything else is converted one by one.
_EXACT: Final[dict[Kind, frozenset[Any]]] = {
    Kind.BOOLEAN: frozenset((bool, _None)),
    Kind.SMALLINT: frozenset((int, _None)),
    Kind.INTEGER: frozenset((int, _None)),
    Kind.BIGINT: frozenset((int, _None)),
    Kind.REAL: frozenset((float, _None)),
    Kind.DOUBLE: frozenset((float, int, _None)),
    Kind.NUMERIC: frozenset((Decimal, int, _None)),
    Kind.TEXT: frozenset((str, _None)),
    Kind.VARCHAR: frozenset((str, _None)),
    Kind.BYTEA: frozenset((bytes, bytearray, _None)),
    Kind.DATE: frozenset((date, _None)),
    Kind.TIME: frozenset((time, _None)),
    Kind.TIMESTAMP: frozenset((datetime, _None)),
    Kind.TIMESTAMPTZ: frozenset((datetime, _None)),
    Kind.INTERVAL: frozenset((timedelta, _None)),
    Kind.UUID: frozenset((uuid.UUID, _None)),
}

_ZONELESS: Final = frozenset((Kind.TIME, Kind.TIMESTAMP))


def _has_zone(values: list[Any], kinds: set[Any]) -> bool:
    given = [value for value in values if value is not None] if _None in kinds else values
    return not {None}.issuperset(map(attrgetter("tzinfo"), given))


def _plain_array(values: list[Any], storage: pa.DataType, field: pa.Field) -> pa.Array:
    if pa.types.is_float32(storage):
        return _checked_cast(pa.array(values, pa.float64()), storage)
    array = pa.array(values, storage)
    if isinstance(array, pa.ChunkedArray):
        message = f'column "{field.name}" holds more than 2 GiB in one batch'
        raise LimitExceeded(message, hint="Send fewer rows at once.")
    return array


def _array_column(values: list[Any], field: pa.Field, type: Type, element: Type) -> pa.Array:
    """Lists: their items as one column. Where one is refused, the values one by one, for the message."""
    try:
        lists = [None if value is None else array_items(value, type) for value in values]
        items = _column([item for one in lists if one is not None for item in one], arrow_field(field.name, element))
    except (Refused, WeftError):
        return _one_by_one(values, field, type)
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum([0 if one is None else len(one) for one in lists], out=offsets[1:])
    missing = pa.array([one is None for one in lists]) if None in lists else None
    array = pa.ListArray.from_arrays(offsets, items, type=type.arrow, mask=missing)
    return _finished(array, field, type)


def _one_by_one(values: list[Any], field: pa.Field, type: Type) -> pa.Array:
    """Convert each value; the first that is refused is named."""
    converted: list[Any] = []
    try:
        converted.extend(convert(value, type) for value in values)
    except Refused as refused:
        raise _located(refused, field, len(converted)) from None
    converted = [stored(value, type) for value in converted]
    return _finished(_plain_array(converted, type.storage, field), field, type)


def _located(refused: Refused, field: pa.Field, row: int) -> WeftError:
    message = f'column "{field.name}", row {row + 1}: {refused.plain}'
    return refused.error(message)


def _finished(array: pa.Array, field: pa.Field, type: Type) -> pa.Array:
    """Checks that Arrow does not make, on an array of the storage type; then the public type."""
    if type.element is not None:
        _check_arrays(array, field)
    elif type.is_variable:
        _check_variable(array, field, type)
    return wrapped(array, type)


def _check_arrays(array: pa.Array, field: pa.Field) -> None:
    """No array above the limit."""
    if array.nbytes > VALUE_BYTES_MAX:
        sizes = bytes_of_lists(array)
        if int(sizes.max(initial=0)) > VALUE_BYTES_MAX:
            row = int(sizes.argmax())
            message = f"the array has {int(sizes[row]):,} bytes, the limit is {VALUE_BYTES_MAX:,} per value"
            raise _located(Refused(message, sqlstate="54000"), field, row)


def _check_variable(array: pa.Array, field: pa.Field, type: Type) -> None:
    """No zero bytes in text, no value above the limit, no text longer than VARCHAR's length."""
    if not len(array):
        return
    _, offsets, data = array.buffers()
    if data is not None and data.size > VALUE_BYTES_MAX:
        lengths = pc.binary_length(array)
        if pc.greater(pc.max(lengths), VALUE_BYTES_MAX).as_py():
            row = pc.index(pc.greater(lengths, VALUE_BYTES_MAX), True).as_py()
            message = f"the value has {lengths[row].as_py():,} bytes, the limit is {VALUE_BYTES_MAX:,} per value"
            raise _located(Refused(message, sqlstate="54000"), field, row)
    if type.kind is Kind.BYTEA:
        return
    if data is not None and not _bytes_of(array, offsets, data).min(initial=1):
        found = pc.index(pc.match_substring(array, "\0"), True).as_py()
        if found >= 0:
            message = "the text holds a zero byte (\\0), which text cannot hold"
            raise _located(Refused(message, sqlstate="22021"), field, found)
    if type.length is not None:
        found = pc.index(pc.greater(pc.utf8_length(array), type.length), True).as_py()
        if found >= 0:
            value = array[found].as_py()
            message = f"{shown(value)} has {len(value)} characters, {type} holds {type.length}"
            raise _located(Refused(message, sqlstate="22001"), field, found)


def _bytes_of(array: pa.Array, offsets: pa.Buffer, data: pa.Buffer) -> np.ndarray:
    """The bytes of an array's values: a slice of a large array has all of that one's."""
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    places = np.frombuffer(offsets, np.int64 if large else np.int32)
    return np.frombuffer(data, np.uint8)[places[array.offset] : places[array.offset + len(array)]]


# -- Arrow data ------------------------------------------------------------------------------------------------------


def _is_arrow(rows: object) -> bool:
    return isinstance(rows, pa.Table | pa.RecordBatch | pa.RecordBatchReader) or any(
        hasattr(rows, name) for name in ("__arrow_c_stream__", "__arrow_c_array__")
    )


def _to_table(rows: Any) -> pa.Table:
    """Anything Arrow as a table whose buffers were checked, so that malformed data cannot crash us later."""
    try:
        if isinstance(rows, pa.Table):
            table = rows
        elif isinstance(rows, pa.RecordBatch):
            table = pa.Table.from_batches([rows])
        elif isinstance(rows, pa.RecordBatchReader):
            table = rows.read_all()
        elif hasattr(rows, "__arrow_c_stream__"):
            table = pa.RecordBatchReader.from_stream(rows).read_all()
        else:
            table = pa.Table.from_batches([pa.record_batch(rows)])
        table.validate(full=True)
    except (pa.ArrowException, UnicodeDecodeError, TypeError) as error:
        hint = "Check how the data was made; validate(full=True) shows it."
        raise Invalid(f"malformed Arrow data: {error}", hint=hint) from None
    return table


def _arrow_batch(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    _check_names(table.column_names, schema)
    fields = [field for field in schema if field.name in table.column_names]
    arrays = [_arrow_column(_flat(table.column(field.name)), field) for field in fields]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionary or run-end encoding and without an extension type."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    elif pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    return array


def _arrow_column(array: pa.Array, field: pa.Field) -> pa.Array:
    type = type_of_field(field)
    if type.element is not None:
        return _arrow_lists(array, field, type, type.element)
    storage = type.storage
    if array.type.equals(storage) or pa.types.is_null(array.type):
        if not type.is_json:
            return _finished(array.cast(storage), field, type)
    elif any(source(array.type) for source in _CASTS.get(type.kind, ())):
        try:
            return _finished(_checked_cast(array, storage), field, type)
        except (pa.ArrowException, UnicodeDecodeError):
            pass
    if type.is_json and len(array) >= _MANY and any(test(array.type) for test in _TEXTS):
        return _finished(_documents(array.cast(storage), field, type), field, type)
    if not any(source(array.type) for source in (*_CASTS.get(type.kind, ()), *_VALUES)):
        message = f'column "{field.name}": Arrow type {array.type} cannot become {type}'
        raise Invalid(message, hint=f"Cast it to {type.arrow}.", sqlstate="42804")
    return _one_by_one(_pylist(array, field), field, type)


def _documents(texts: pa.Array, field: pa.Field, type: Type) -> pa.Array:
    """JSON texts as the type has them."""
    from .document_texts import canonical_texts  # and with it numba

    def one(row: int) -> Any:
        try:
            return convert(texts[row].as_py(), type)
        except Refused as refused:
            raise _located(refused, field, row) from None

    return canonical_texts(texts, one, keep=type.kind is Kind.JSON)


_MANY: Final = 1_000
"""Fewer JSON texts are looked at one by one: that takes milliseconds, and a kernel may have to be compiled."""


def _arrow_lists(array: pa.Array, field: pa.Field, type: Type, element: Type) -> pa.Array:
    """Arrow's lists, with items as a column of their own would be; text is read as PostgreSQL reads arrays."""
    arrow = array.type
    if pa.types.is_null(arrow):
        return pa.nulls(len(array), type.arrow)
    if any(test(arrow) for test in _TEXTS):
        return _array_column(array.to_pylist(), field, type, element)
    if pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow) or pa.types.is_list_view(arrow):
        array = array.cast(pa.list_(arrow.value_type))
    elif not pa.types.is_list(arrow):
        message = f'column "{field.name}": Arrow type {arrow} cannot become {type}'
        raise Invalid(message, hint=f"Cast it to {type.storage}.", sqlstate="42804")
    if array.offset or array.null_count:  # nothing under a NULL is an item
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int32)))
        given, missing = array.flatten(), array.is_null() if array.null_count else None
    else:
        offsets, given, missing = array.offsets, array.values, None
    try:
        items = _arrow_column(_flat(pa.chunked_array([given])), arrow_field(field.name, element))
    except WeftError as error:
        if error.sqlstate == "42804":
            raise
        return _one_by_one(python_values(array, type_of_arrow(array.type)), field, type)  # for the row in the message
    return _finished(pa.ListArray.from_arrays(offsets, items, type=type.arrow, mask=missing), field, type)


def _checked_cast(array: pa.Array, storage: pa.DataType) -> pa.Array:
    """A cast that loses nothing. Raises ArrowInvalid."""
    if pa.types.is_timestamp(storage) and storage.tz is None and getattr(array.type, "tz", None):
        raise pa.ArrowInvalid("a zone has no place in TIMESTAMP")
    if pa.types.is_timestamp(storage) and storage.tz and pa.types.is_timestamp(array.type) and array.type.tz is None:
        array = array.cast(pa.timestamp(array.type.unit, tz="UTC"))
    cast = array.cast(storage, safe=True)
    if pa.types.is_float32(storage) and not cast.equals(array):
        made = pc.and_(pc.is_inf(cast), pc.invert(pc.is_inf(array)))
        if pc.any(made).as_py():
            raise pa.ArrowInvalid("out of range for REAL")
    if pa.types.is_date(storage) and pa.types.is_timestamp(array.type) and not cast.cast(array.type).equals(array):
        raise pa.ArrowInvalid("a time of day has no place in DATE")
    return cast


def _pylist(array: pa.Array, field: pa.Field) -> list[Any]:
    """Python values of an Arrow array; finer than microseconds only where exact."""
    arrow = array.type
    if getattr(arrow, "unit", None) == "ns" and not pa.types.is_interval(arrow):
        finer = pc.not_equal(pc.subtract(array.cast(pa.int64()), _floored(array)), 0)
        row = pc.index(finer, True).as_py()
        if row >= 0:
            nanoseconds = array[row].cast(pa.int64()).as_py() % 1000
            message = f"a value with {nanoseconds} nanoseconds is not a whole number of microseconds"
            raise _located(Refused(message, sqlstate="22008"), field, row)
        micro = {pa.Time64Type: pa.time64("us"), pa.DurationType: pa.duration("us")}.get(arrow.__class__)
        array = array.cast(micro or pa.timestamp("us", tz=getattr(arrow, "tz", None)))
    try:
        return array.to_pylist()
    except (ValueError, OverflowError) as error:
        raise Invalid(f'column "{field.name}": {error}', sqlstate="22008") from None


def _floored(array: pa.Array) -> pa.Array:
    whole = array.cast(pa.int64())
    return pc.multiply(pc.divide(whole, 1000), 1000)


def _naive(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return column.cast(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column


_Test = Callable[[pa.DataType], bool]
_NUMBERS: Final[tuple[_Test, ...]] = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
_TEXTS: Final[tuple[_Test, ...]] = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES: Final[tuple[_Test, ...]] = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)

# Arrow types that a safe cast takes to the type; where it fails, values are converted one by one for the message.
_CASTS: Final[dict[Kind, tuple[_Test, ...]]] = {
    Kind.BOOLEAN: (),
    Kind.SMALLINT: _NUMBERS,
    Kind.INTEGER: _NUMBERS,
    Kind.BIGINT: _NUMBERS,
    Kind.REAL: (pa.types.is_integer, pa.types.is_floating),
    Kind.DOUBLE: (pa.types.is_integer, pa.types.is_floating),
    Kind.NUMERIC: (pa.types.is_integer, pa.types.is_decimal),
    Kind.TEXT: _TEXTS,
    Kind.VARCHAR: _TEXTS,
    Kind.BYTEA: _BYTES,
    Kind.DATE: (pa.types.is_date, pa.types.is_timestamp),
    Kind.TIME: (pa.types.is_time,),
    Kind.TIMESTAMP: (pa.types.is_timestamp, pa.types.is_date),
    Kind.TIMESTAMPTZ: (pa.types.is_timestamp, pa.types.is_date),
    Kind.INTERVAL: (),
    Kind.UUID: (),
}

# Arrow types whose Python values are worth a try, one by one.
_VALUES: Final[tuple[_Test, ...]] = (
    *_NUMBERS,
    *_TEXTS,
    *_BYTES,
    pa.types.is_boolean,
    pa.types.is_temporal,
    pa.types.is_struct,
    pa.types.is_list,
    pa.types.is_large_list,
)
