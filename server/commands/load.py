"""``weft load``: stream a file into a table through the pipelined writer, in bounded memory.

The file gives batches (``file_source.py``); each is converted here to the table's exact types, so that a value that
does not fit is named with its row in the file before anything of its batch is sent. What the server refuses (NOT NULL,
CHECK, a primary key that exists) comes back from the writer with the row's number in the failed batch; the rows before
that batch are acknowledged, so the row in the file is known, too.

A load is no transaction: when it fails, the rows before the failing batch are in the table, and the message says how
many. Rows replace rows with the same primary key, so the load can be run again from the start.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from pathlib import Path
from typing import Final

import pyarrow as pa

from ...base.errors import Invalid, WeftError
from ...base.interface import Table, Writer
from ...base.rows import to_batch
from ..progress import Progress
from .file_source import BadFile, CsvOptions, Source, open_source
from .target import open_target

# Types of which Arrow reads the same texts as PostgreSQL does, or fewer; times without a zone only.
_PARSED_BY_ARROW: Final = (
    pa.types.is_integer,
    pa.types.is_float64,
    pa.types.is_date,
    lambda arrow: pa.types.is_timestamp(arrow) and arrow.tz is None,
)


def run(arguments: argparse.Namespace) -> int:
    path = Path(arguments.file)
    columns = [name.strip() for name in arguments.columns.split(",")] if arguments.columns else None
    csv = CsvOptions(delimiter=arguments.delimiter, null=arguments.null)
    with open_source(path, columns=columns, csv=csv) as source, open_target(arguments.url) as database:
        table = database.table(arguments.table)
        _check_names(source, table, path)
        progress = Progress(arguments.table, total=source.rows, out=sys.stderr)
        with progress:
            load(source, table, insert=arguments.insert or not table.primary_key, progress=progress, name=path.name)
    print(
        f"{progress.count:,} rows of {path.name} loaded into {arguments.table} "
        f"in {progress.seconds:,.1f} s ({progress.rows_per_second:,.0f} rows/s)"
    )
    return 0


def load(source: Source, table: Table, *, insert: bool, progress: Progress, name: str) -> None:
    """Write all rows of ``source``. Raises what the writer raises, with the row's number in the file."""
    schema = table.schema
    writer = table.writer()
    try:
        row = 0
        for batch in source.batches:
            converted = _convert(batch, schema, first=row, name=name)
            row += batch.num_rows
            if insert:
                writer.insert(converted)
            else:
                writer.put(converted)
            progress.update(writer.rows_acknowledged)
        writer.close()
        progress.update(row)
    except WeftError as error:
        with contextlib.suppress(WeftError):
            writer.close()  # what is on its way still arrives, and is counted
        raise _located(error, writer, name=name) from None
    except BaseException:
        progress.update(writer.rows_acknowledged)
        raise


def _convert(batch: pa.RecordBatch, schema: pa.Schema, *, first: int, name: str) -> pa.RecordBatch:
    """The batch in the table's types; ``first`` rows of the file come before it."""
    try:
        return to_batch(_parsed(batch, schema), schema)
    except WeftError as error:
        raise _in_file(error, first=first, name=name) from None


def _parsed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Text columns (from CSV) as numbers and times, where Arrow can read the whole column and loses nothing."""
    columns = [
        _parsed_column(column, schema.field(name).type) if pa.types.is_string(column.type) else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _parsed_column(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if not any(is_kind(wanted) for is_kind in _PARSED_BY_ARROW):
        return column
    try:
        return column.cast(pa.timestamp("ns")).cast(wanted) if pa.types.is_timestamp(wanted) else column.cast(wanted)
    except pa.ArrowInvalid:
        return column


def _located(error: WeftError, writer: Writer, *, name: str) -> WeftError:
    """The error with its row in the file, and with what is loaded already."""
    acknowledged = writer.rows_acknowledged
    found = error if isinstance(error, _Located | BadFile) else _in_file(error, first=acknowledged, name=name)
    found.message += f"\n{acknowledged:,} rows before it are in the table." if acknowledged else "\nNothing was loaded."
    return found


class _Located(Invalid):
    """An error whose row number is the file's."""


def _in_file(error: WeftError, *, first: int, name: str) -> WeftError:
    """``error`` with ``row 3`` counted from the beginning of the file."""
    message = re.sub(r"^rows [\d,]+ to [\d,]+ of this writer were refused: ", "", error.message)
    message = re.sub(r"\brow (\d+)\b", lambda match: f"row {first + int(match[1]):,} of {name}", message, count=1)
    kind = _Located if isinstance(error, Invalid) else type(error)
    return kind(message, hint=error.hint, sqlstate=error.sqlstate)


def _check_names(source: Source, table: Table, path: Path) -> None:
    """Every column of the file must be one of the table: data is never left out in silence."""
    known = set(table.schema.names)
    unknown = [name for name in source.names if name not in known]
    if not unknown:
        return
    common = [name for name in source.names if name in known]
    raise Invalid(
        f'{path.name} has {"columns" if len(unknown) > 1 else "a column"} that table "{table.name}" lacks: '
        + ", ".join(unknown),
        hint=f"Leave them out with --columns {','.join(common)}"
        if common
        else f"The columns of the table are {', '.join(table.schema.names)}.",
        sqlstate="42703",
    )
