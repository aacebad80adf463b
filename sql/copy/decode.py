"""A file's bytes into batches of a table's types, in bounded memory.

    bytes ──► blocks of whole rows ──► columns of text ──► batches of the wanted types       text, csv
              lines ──► Python values ──► the same                                           json
    Parquet's and Arrow's own readers ──► the same                                           parquet, arrow

A block of text or CSV is parsed by Arrow if Arrow's meaning is PostgreSQL's there; all others, and those that Arrow
refuses, by ``lines``, which is slow, exact, and says what is wrong. Texts become values by the rules of quoted literals
(``to_batch``): nothing is rounded or cut. Every error names the row, counted from 1 without the header.

What the columns of a file mean: text and CSV go by position; JSON, Parquet and Arrow by name, and a name that the table
does not have is an error, since data is never left out in silence. A key that a JSON object lacks is the column's
DEFAULT.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ...base.errors import Invalid, LimitExceeded, WeftError, nearest
from ...base.limits import COPY_ROW_BYTES_MAX, MIB
from ...base.rows import to_batch
from ...base.types import Kind, no_rows, type_of_field
from .lines import END_OF_DATA, bad_file, decoded, first_row, record_end, rows_of, unescaped
from .options import CopyFormat, CopyOptions, Header

BLOCK_BYTES: Final = 4 * MIB
BATCH_ROWS: Final = 65_536
_BOM: Final = b"\xef\xbb\xbf"


class Input(Protocol):
    """Where the bytes come from. Parquet and Arrow's file format also ``seek``."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Rows of the table's types. ``first`` rows of the file come before them; ``numbers`` are theirs where they are
    not in the file's order (from 1)."""

    batch: pa.RecordBatch
    first: int
    numbers: list[int] | None = None


def read_pieces(source: Input, options: CopyOptions, schema: pa.Schema, *, chosen: bool = False) -> Iterator[Piece]:
    """The rows of a file. ``schema``: the table's columns that are copied, in the order of COPY's list if there is one
    (``chosen``: then a file with names may have others). Raises Invalid with the row's number."""
    match options.format:
        case CopyFormat.TEXT | CopyFormat.CSV:
            return _texts(source, options, schema)
        case CopyFormat.JSON:
            return _objects(source, schema, chosen=chosen)
        case CopyFormat.PARQUET | CopyFormat.ARROW:
            return _columnar(source, options.format, schema, chosen=chosen)


def chosen_schema(schema: pa.Schema, columns: Sequence[str] | None, options: CopyOptions) -> pa.Schema:
    """The columns that are copied: those of COPY's list, in its order, or all of the table's. Raises Invalid."""
    names = schema.names if columns is None else list(columns)
    for name in names:
        if name not in schema.names:
            hint = nearest(name, schema.names) or f"The columns are ({', '.join(schema.names)})."
            raise Invalid(f'column "{name}" does not exist', hint=hint, sqlstate="42703")
        if names.count(name) > 1:
            raise Invalid(f'column "{name}" specified more than once', sqlstate="42701")
    for name in (*(options.force_null or ()), *(options.force_not_null or ())):
        if name not in names:
            raise Invalid(f'FORCE_NULL or FORCE_NOT_NULL column "{name}" not referenced by COPY', sqlstate="42703")
    return pa.schema([schema.field(name) for name in names])


def located(error: WeftError, piece: Piece) -> WeftError:
    """The error with "row 3" of a piece as the file counts it."""

    def number(match: re.Match[str]) -> str:
        row = int(match[1].replace(",", ""))
        if piece.numbers is not None:
            return f"row {piece.numbers[row - 1]:,}" if row <= len(piece.numbers) else match[0]
        return f"row {row + piece.first:,}"

    error.message = re.sub(r"\brow (\d[\d,]*)\b", number, error.message, count=1)
    error.args = (error.message,)
    return error


# -- text and CSV ----------------------------------------------------------------------------------------------------


def _texts(source: Input, options: CopyOptions, schema: pa.Schema) -> Iterator[Piece]:
    rows = 0
    for block in _blocks(source, options, schema.names):
        ended = END_OF_DATA.search(block) is not None
        columns = None if ended else _quick_columns(block, options, schema.names)
        if columns is None:
            columns, ended = _exact_columns(block, options, schema.names, first=rows)
        for begin in range(0, len(columns[0]), BATCH_ROWS):
            texts = [column.slice(begin, BATCH_ROWS) for column in columns]
            yield typed(texts, schema, first=rows + begin)
        rows += len(columns[0])
        if ended:
            return


def _reads(source: Input) -> Iterator[bytes]:
    """The file's bytes but for a byte order mark."""
    mark = _BOM
    while data := source.read(BLOCK_BYTES):
        yield data.removeprefix(mark)
        mark = b""


def _blocks(source: Input, options: CopyOptions, names: Sequence[str]) -> Iterator[bytes]:
    """Whole rows, some megabytes at once, without the header."""
    rest = b""
    at_begin, has_header = True, options.header is not Header.NONE
    for data in _reads(source):
        rest += data
        at_begin = False
        end = record_end(rest, options)
        if not end and len(rest) > COPY_ROW_BYTES_MAX:
            hint = "Is there a quote that does not end?"
            raise LimitExceeded(f"a row has more than {COPY_ROW_BYTES_MAX:,} bytes", hint=hint)
        block, rest = rest[:end], rest[end:]
        if block and has_header:
            block, has_header = _without_header(block, options, names), False
        if block:
            yield block
    if has_header and (rest or at_begin):
        rest = _without_header(rest, options, names)
    if rest:
        yield rest


def _without_header(block: bytes, options: CopyOptions, names: Sequence[str]) -> bytes:
    """The block after its first row, which HEADER MATCH compares with the columns. Raises Invalid (22P04)."""
    end = block.find(b"\n") + 1
    while end and record_end(block[:end], options) != end:
        end = block.find(b"\n", end) + 1
    end = end or len(block)
    if options.header is Header.MATCH:
        found = first_row(block[:end], options)
        if len(found) != len(names):
            raise Invalid(
                f"wrong number of fields in header line: field count is {len(found)}, expected {len(names)}",
                hint=f"The columns are ({', '.join(names)}).",
                sqlstate="22P04",
            )
        for place, (name, wanted) in enumerate(zip(found, names, strict=True), 1):
            if name != wanted:
                raise Invalid(
                    f'column name mismatch in header line field {place}: got "{name}", expected "{wanted}"',
                    hint="Name the columns in the order of the file: COPY table (…) FROM ….",
                    sqlstate="22P04",
                )
    return block[end:]


def _quick_columns(block: bytes, options: CopyOptions, names: Sequence[str]) -> list[pa.Array] | None:
    """The columns of a block as Arrow parses them; None where that is not what PostgreSQL says, or an error."""
    csv = options.format is CopyFormat.CSV
    if block.count(b"\r") != block.count(b"\r\n"):
        return None
    if csv and (options.force_null or options.force_not_null or options.escape != options.quote):
        return None
    quote, delimiter = options.quote.encode(), re.escape(options.delimiter.encode())
    if csv and quote in block:
        if re.fullmatch(_usual_csv(quote, delimiter, alone=len(names) == 1), block) is None:
            return None
    elif len(names) > 1 and re.search(rb"(?:\A|\n)\r?\n", block):  # Arrow takes it for a row
        return None
    if not csv and b"\\" in block and re.search(rb"(?<!\\)(?:\\\\)*\\(?:%b|\r?\n|\.|\Z)" % delimiter, block):
        return None
    if not block.endswith(b"\n"):  # Arrow takes an empty last value for a quoted one
        block += b"\n"
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            read_options=pyarrow.csv.ReadOptions(
                column_names=list(names), use_threads=False, block_size=len(block) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=options.delimiter,
                quote_char=options.quote if csv else False,
                newlines_in_values=csv,
                ignore_empty_lines=False,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.utf8()),
                null_values=[options.null],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ).combine_chunks()
    except pa.ArrowException:
        return None
    columns = [column.chunk(0) if column.num_chunks else pa.array([], pa.utf8()) for column in table.columns]
    return columns if csv else [_unescaped_column(column) for column in columns]


@functools.cache
def _usual_csv(quote: bytes, delimiter: bytes, *, alone: bool) -> re.Pattern[bytes]:
    """Values that are quoted as a whole or not at all, and no empty line, unless a row has one value (``alone``)."""
    value = rb"(?:%b(?:[^%b]|%b%b)*+%b|[^%b%b\r\n]++)" % (*[quote] * 6, delimiter)
    empty = rb"\r?\n" if alone else rb"(?<=%b)\r?\n" % delimiter
    return re.compile(rb"(?:%b(?:%b|\r?\n|\Z)|%b|%b)*+" % (value, delimiter, delimiter, empty))


def _unescaped_column(column: pa.Array) -> pa.Array:
    escaped = pc.fill_null(pc.match_substring(column, "\\"), False)
    if not pc.any(escaped).as_py():
        return column
    rows = np.flatnonzero(escaped.to_numpy(zero_copy_only=False))
    texts = [
        decoded(unescaped(text.encode()), row=int(row) + 1)
        for row, text in zip(rows, column.filter(escaped).to_pylist(), strict=True)
    ]
    return pc.replace_with_mask(column, escaped, pa.array(texts, pa.utf8()))


def _exact_columns(
    block: bytes, options: CopyOptions, names: Sequence[str], *, first: int
) -> tuple[list[pa.Array], bool]:
    """The columns of a block value by value, and whether the data ends in it. Raises Invalid."""
    rows = list(rows_of(block, options, names=names, first=first))
    ended = bool(rows) and not rows[-1]
    if ended:
        rows.pop()
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return [pa.array(column, pa.utf8()) for column in columns], ended


# -- texts into values -----------------------------------------------------------------------------------------------


def typed(texts: Sequence[pa.Array], schema: pa.Schema, *, first: int) -> Piece:
    """Columns of text as the schema's types. Raises Invalid for what does not fit, with the row's number."""
    columns = [_parsed(column, field) for column, field in zip(texts, schema, strict=True)]
    return _piece(lambda: pa.Table.from_arrays(columns, names=schema.names), schema, first=first)


def _parsed(texts: pa.Array, field: pa.Field) -> pa.Array:
    """The whole column at once, where Arrow reads each of its texts as PostgreSQL does; else as it is."""
    kind, wanted = type_of_field(field).kind, field.type
    try:
        match kind:
            case Kind.SMALLINT | Kind.INTEGER | Kind.BIGINT:
                hexadecimal = pc.any(pc.match_substring_regex(texts, "[xX]")).as_py()
                return texts if hexadecimal else texts.cast(wanted)
            case Kind.DOUBLE:
                numbers = texts.cast(wanted)
                out_of_range = pc.and_(pc.invert(pc.is_finite(numbers)), pc.match_substring_regex(texts, r"\d"))
                vanished = pc.and_(pc.equal(numbers, 0.0), pc.match_substring_regex(texts, "^[^eE]*[1-9]"))
                return texts if pc.any(pc.or_(out_of_range, vanished)).as_py() else numbers
            case Kind.NUMERIC | Kind.DATE:
                return texts.cast(wanted)
            case Kind.TIMESTAMP:
                return texts.cast(pa.timestamp("ns")).cast(wanted)
            case Kind.BOOLEAN:
                known = pc.is_in(texts, pa.array([*_TRUE, *_FALSE, None]))
                return pc.if_else(texts.is_valid(), pc.is_in(texts, _TRUE), None) if pc.all(known).as_py() else texts
            case _:
                return texts
    except pa.ArrowException:
        return texts


_TRUE: Final = pa.array(["t", "true", "1", "True", "TRUE", "yes", "on"])
_FALSE: Final = ("f", "false", "0", "False", "FALSE", "no", "off")


def _piece(rows: Callable[[], object], schema: pa.Schema, *, first: int, numbers: list[int] | None = None) -> Piece:
    nothing = no_rows(schema)
    try:
        return Piece(batch=to_batch(rows(), schema), first=first, numbers=numbers)
    except WeftError as error:
        raise located(error, Piece(batch=nothing, first=first, numbers=numbers)) from None


# -- JSON lines ------------------------------------------------------------------------------------------------------


_JSON: Final = json.JSONDecoder(parse_float=str)
_BETWEEN: Final = re.compile(r"\s*[{,:]?\s*")
"""What stands before a name or a value of an object that is known to be one."""


def _objects(source: Input, schema: pa.Schema, *, chosen: bool) -> Iterator[Piece]:
    first = 0
    types = {field.name: type_of_field(field) for field in schema}
    documents = frozenset(name for name, type in types.items() if (type.element or type).is_json)
    names = frozenset(schema.names)
    for lines in _line_batches(source):
        groups: dict[frozenset[str], list[int]] = {}
        objects: list[dict[str, Any]] = []
        for row, line in enumerate(lines, first + 1):
            found = _object(line, row=row)
            if not names.issuperset(found):
                unknown = next(name for name in found if name not in names)
                if not chosen:
                    raise _unknown(f'row {row:,}: the key "{unknown}"', unknown, schema)
                found = {name: value for name, value in found.items() if name in names}
            if not documents.isdisjoint(found):
                texts = _texts_in(line.decode())
                for name in documents.intersection(found):
                    if isinstance(found[name], list) and types[name].element is not None:
                        found[name] = _items_in(texts[name], found[name])
                    elif found[name] is not None:
                        found[name] = texts[name]
            if not found:
                raise bad_file("the object has no key of the table's", row=row, hint="null stands for NULL.")
            groups.setdefault(frozenset(found), []).append(row)
            objects.append(found)
        for present, numbers in groups.items():
            rows = [objects[number - first - 1] for number in numbers]
            fields = [field for field in schema if field.name in present]
            yield _piece(functools.partial(_of_objects, rows, fields), schema, first=first, numbers=numbers)
        first += len(lines)


def _object(line: bytes, *, row: int) -> dict[str, Any]:
    """The values of one line; numbers with a point as texts, so that no digit is lost. Raises Invalid."""
    text = decoded(line, row=row)
    try:
        found = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise bad_file(f"this is no JSON: {error}", row=row, hint="Each line is one object.") from None
    if not isinstance(found, dict):
        raise bad_file(f"this is no JSON object: {text[:40]}", row=row, hint="Each line is one object.")
    return found


def _texts_in(text: str) -> dict[str, str]:
    """The values of an object as they are written there: a document keeps all of its digits."""
    texts: dict[str, str] = {}
    at = 0
    while text[at := _after(text, at)] != "}":
        name, at = _JSON.raw_decode(text, at)
        begin = _after(text, at)
        _, at = _JSON.raw_decode(text, begin)
        texts[name] = text[begin:at]
    return texts


def _items_in(text: str, items: list[Any]) -> list[str | None]:
    """The items of a list as they are written there."""
    texts: list[str | None] = []
    at = text.index("[") + 1
    for item in items:
        begin = _after(text, at)
        _, at = _JSON.raw_decode(text, begin)
        texts.append(None if item is None else text[begin:at])
    return texts


def _after(text: str, at: int) -> int:
    """The place of the next name or value."""
    between = _BETWEEN.match(text, at)
    assert between is not None, "it may be empty"
    return between.end()


def _of_objects(rows: list[dict[str, Any]], fields: list[pa.Field]) -> pa.Table:
    """Rows with the same keys. Raises Invalid with the row among them."""
    columns = [_values([row[field.name] for row in rows], field) for field in fields]
    return pa.Table.from_arrays(columns, names=[field.name for field in fields])


def _values(values: list[Any], field: pa.Field) -> pa.Array:
    """The values of a column: as texts parsed at once, where they are texts, or numbers for a number."""
    kinds = set(map(type, values)) - {type(None)}
    if int in kinds and kinds <= {int, str} and type_of_field(field).is_numeric:
        values = [None if value is None else str(value) for value in values]
        kinds = {str}
    if kinds == {str}:
        with suppress(UnicodeEncodeError):  # a lone surrogate, for the exact way to refuse
            return _parsed(pa.array(values, pa.utf8()), field)
    return to_batch([(value,) for value in values], pa.schema([field])).column(0)


def _line_batches(source: Input) -> Iterator[list[bytes]]:
    """Lines with something in them, many at once."""
    rest = b""
    for data in _reads(source):
        *lines, rest = (rest + data).split(b"\n")
        for begin in range(0, len(lines), BATCH_ROWS):
            yield [line for line in lines[begin : begin + BATCH_ROWS] if line.strip()]
        if len(rest) > COPY_ROW_BYTES_MAX:
            raise LimitExceeded(f"a line has more than {COPY_ROW_BYTES_MAX:,} bytes", hint="Is it one object a line?")
    if rest.strip():
        yield [rest]


# -- Parquet and Arrow -----------------------------------------------------------------------------------------------


def _columnar(source: Any, format: CopyFormat, schema: pa.Schema, *, chosen: bool) -> Iterator[Piece]:
    first = 0
    try:
        names, batches = _open_parquet(source) if format is CopyFormat.PARQUET else _open_arrow(source)
        for name in names:
            if name not in schema.names and not chosen:
                raise _unknown(f'the {format.value} file\'s column "{name}"', name, schema)
        for name in schema.names if chosen else ():
            if name not in names:
                hint = nearest(name, names) or f"It has {', '.join(names)}."
                raise Invalid(f'the {format.value} file has no column "{name}"', hint=hint, sqlstate="42703")
        wanted = [name for name in names if name in schema.names]
        for batch in batches:
            for begin in range(0, batch.num_rows, BATCH_ROWS):
                rows = functools.partial(batch.select(wanted).slice, begin, BATCH_ROWS)
                yield _piece(rows, schema, first=first + begin)
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise Invalid(
            f"the file cannot be read as {format.value} after row {first:,}: {error}", sqlstate="22P04"
        ) from None


def _open_parquet(source: Any) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    file = pyarrow.parquet.ParquetFile(source)
    return file.schema_arrow.names, file.iter_batches(batch_size=BATCH_ROWS)


def _open_arrow(source: Any) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """The file format, or the stream."""
    try:
        file = pa.ipc.open_file(source)
        return file.schema.names, (file.get_batch(i) for i in range(file.num_record_batches))
    except pa.ArrowInvalid:
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        return stream.schema.names, iter(stream)


def _unknown(what: str, name: str, schema: pa.Schema) -> Invalid:
    hint = nearest(name, schema.names) or "Name the columns to take: COPY table (a, b) FROM …."
    return Invalid(f"{what} is no column of the table", hint=hint, sqlstate="42703")
