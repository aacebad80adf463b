"""Rows into a file's bytes: PostgreSQL's text and CSV, JSON lines, Parquet, Arrow.

Text formats are made a column at a time by Arrow (``base/text.py`` gives each value's text), quoted or escaped where a
value needs it, and joined to lines, ``LINES_ROWS`` rows at once; so a result of any size takes bounded memory.

    text     columns between tabs, NULL as ``\\N``, backslash escapes             PostgreSQL's bytes
    csv      quoted where PostgreSQL quotes                                      PostgreSQL's bytes
    json     an object a line; numbers as numbers, NUMERIC with all digits, NaN and Infinity as text, times as ISO 8601
    parquet  a row group for each batch      arrow     the file format
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ...base.errors import Invalid
from ...base.result import Result
from ...base.text import per_list, text_column
from ...base.types import Kind, Type
from .options import CopyFormat, CopyOptions, Header

LINES_ROWS: Final = 16_384

_BARE_JSON: Final = frozenset((Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC, Kind.JSON, Kind.JSONB))
_TEXT_ESCAPES: Final = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_JSON_ESCAPED: Final = r'["\\\x00-\x1f]'


class Sink(Protocol):
    """Where the bytes go: a file, a pipe."""

    def write(self, data: bytes, /) -> Any: ...


def write_result(
    result: Result, options: CopyOptions, sink: Sink, *, progress: Callable[[int], None] | None = None
) -> int:
    """Write all rows and return how many there were. ``progress`` is told how many are written, now and then.

    Raises Invalid for a column that the format cannot hold, and what reading the result raises.
    """
    written = 0

    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        nonlocal written
        for batch in batches:
            yield batch
            written += batch.num_rows
            if progress is not None:
                progress(written)

    batches = counted(result.reader())
    if options.format.is_columnar:
        _write_columnar(batches, result.schema, options, sink)
        return written
    if options.header is not Header.NONE:
        sink.write(_header(result.names, options))
    for batch in batches:
        for begin in range(0, batch.num_rows, LINES_ROWS):
            piece = batch.slice(begin, LINES_ROWS)
            sink.write(_joined(lines_of(piece.columns, result.names, result.types, options)))
    return written


def lines_of(
    columns: Sequence[pa.Array], names: Sequence[str], types: Sequence[Type], options: CopyOptions
) -> pa.Array:
    """Each row as one text, without its line end."""
    if not columns:
        return pa.array([], pa.utf8())
    if options.format is CopyFormat.JSON:
        return _json_lines(columns, names, types)
    if options.format is CopyFormat.TEXT:
        texts = [_escaped(text_column(column, type), options) for column, type in zip(columns, types, strict=True)]
    else:
        forced = options.force_quote
        texts = [
            _quoted(
                text_column(column, type),
                options,
                all=forced is None or name in forced,
                bare=type.kind not in _MAY_BE_QUOTED and options.delimiter in ",;\t|" and not options.null,
                alone=len(columns) == 1,
            )
            for column, name, type in zip(columns, names, types, strict=True)
        ]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, options.delimiter)


def csv_header(names: Sequence[str], options: CopyOptions) -> str:
    """The first line of a CSV file."""
    return _header(names, options).decode()


def _header(names: Sequence[str], options: CopyOptions) -> bytes:
    texts = pa.array(names, pa.utf8())
    if options.format is CopyFormat.CSV:
        texts = _quoted(texts, options, all=False, bare=False, alone=len(names) == 1)
    else:
        texts = _escaped(texts, options)
    return (options.delimiter.join(texts.to_pylist()) + "\n").encode()


def _joined(lines: pa.Array) -> bytes:
    """Lines as the bytes of a file."""
    if not len(lines):
        return b""
    whole = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
    return pc.binary_join(whole, "\n")[0].as_buffer().to_pybytes() + b"\n"


# -- text and CSV ----------------------------------------------------------------------------------------------------

_MAY_BE_QUOTED: Final = frozenset(
    (Kind.TEXT, Kind.VARCHAR, Kind.JSON, Kind.JSONB, Kind.UNKNOWN, Kind.ARRAY, Kind.INTERVAL)
)
"""The other kinds' texts have no usual delimiter, no quote and no line end in them, and are never empty."""


def _escaped(texts: pa.Array, options: CopyOptions) -> pa.Array:
    """Values of the text format. The backslash comes first: it is in what the others become."""
    for plain, escape in (("\\", "\\\\"), *_TEXT_ESCAPES.items()):
        if pc.any(pc.match_substring(texts, plain)).as_py():
            texts = pc.replace_substring(texts, plain, escape)
    if options.delimiter != "\t":
        texts = pc.replace_substring(texts, options.delimiter, "\\" + options.delimiter)
    return texts.fill_null(options.null)


def _quoted(texts: pa.Array, options: CopyOptions, *, all: bool, bare: bool, alone: bool) -> pa.Array:
    """Values of CSV. ``all`` are quoted; or none (``bare``); ``alone``: a row has no other column."""
    if not bare:
        special = "".join(re.escape(character) for character in {options.delimiter, options.quote, "\n", "\r"})
        must = pc.or_(pc.match_substring_regex(texts, f"[{special}]"), pc.equal(texts, options.null))
        if alone:
            must = pc.or_(must, pc.equal(texts, "\\."))
        if all:
            must = texts.is_valid()
        must = pc.fill_null(must, False)
        if pc.any(must).as_py():
            inner = texts.filter(must)
            if options.escape != options.quote:
                inner = pc.replace_substring(inner, options.escape, options.escape * 2)
            inner = pc.replace_substring(inner, options.quote, options.escape + options.quote)
            texts = pc.replace_with_mask(
                texts, must, pc.binary_join_element_wise(options.quote, inner, options.quote, "")
            )
    elif all:
        texts = pc.binary_join_element_wise(options.quote, texts, options.quote, "")
    return texts.fill_null(options.null)


# -- JSON ------------------------------------------------------------------------------------------------------------


def _json_lines(columns: Sequence[pa.Array], names: Sequence[str], types: Sequence[Type]) -> pa.Array:
    parts: list[Any] = []
    for place, (column, name, type) in enumerate(zip(columns, names, types, strict=True)):
        parts += [("," if place else "{") + json.dumps(name, ensure_ascii=False) + ":", json_column(column, type)]
    return pc.binary_join_element_wise(*parts, "}", "")


def json_column(column: pa.Array, type: Type) -> pa.Array:
    """Every value as JSON text. Times are ISO 8601 with a ``T``, as PostgreSQL's ``to_json`` writes them."""
    if type.kind is Kind.ARRAY:
        assert type.element is not None, "an array type has an element type"
        items = json_column(column.flatten(), type.element).to_pylist()
        return per_list(items, column, "[", "]").fill_null("null")
    texts = text_column(column, type)
    if type.kind in _BARE_JSON:
        return texts.fill_null("null")
    if type.kind is Kind.BOOLEAN:
        return pc.if_else(pc.equal(texts, "t"), "true", "false").fill_null("null")
    if type.kind in (Kind.REAL, Kind.DOUBLE):
        texts = pc.if_else(pc.equal(texts, "-0"), "-0.0", texts)  # most readers take -0 for an integer
        is_number = pc.match_substring_regex(texts, r"\d$")
        return pc.if_else(is_number, texts, _json_texts(texts)).fill_null("null")
    if type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        texts = pc.replace_substring(texts, " ", "T", max_replacements=1)
        if type.kind is Kind.TIMESTAMPTZ:
            texts = pc.replace_substring(texts, "+00", "+00:00")
    return _json_texts(texts).fill_null("null")


def _json_texts(texts: pa.Array) -> pa.Array:
    """Texts as JSON strings, NULL as NULL."""
    quoted = pc.binary_join_element_wise('"', texts, '"', "")
    must = pc.fill_null(pc.match_substring_regex(texts, _JSON_ESCAPED), False)
    if pc.any(must).as_py():
        escaped = [json.dumps(text, ensure_ascii=False) for text in texts.filter(must).to_pylist()]
        quoted = pc.replace_with_mask(quoted, must, pa.array(escaped, pa.utf8()))
    return quoted


# -- Parquet and Arrow -----------------------------------------------------------------------------------------------


def _write_columnar(batches: Iterable[pa.RecordBatch], schema: pa.Schema, options: CopyOptions, sink: Sink) -> None:
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise Invalid(
            f'a {options.format.value} file has columns by name, and "{twice}" stands for more than one',
            hint="Give each a name of its own with AS.",
            sqlstate="42701",
        )
    try:
        if options.format is CopyFormat.PARQUET:
            with pyarrow.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)
        else:
            with pa.ipc.new_file(sink, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
    except pa.ArrowNotImplementedError as error:
        raise Invalid(
            f"a {options.format.value} file cannot hold a column: {error}",
            hint="Use (FORMAT arrow), or leave the column out.",
            sqlstate="0A000",
        ) from None
