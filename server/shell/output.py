"""Lay out results: aligned tables as psql prints them, CSV, JSON.

Results are read batch by batch and printed in windows of ``WINDOW_ROWS`` rows, so a result of any size is printed in
bounded memory; a table's columns may grow wider from one window to the next, never narrower.

    table   aligned, numbers at the right, NULL as ``NULL``, a row count at the end; ``expanded`` for a line per value
    csv     RFC 4180 with a header; NULL is empty, an empty text is ``""``, as COPY writes it
    json    one array of objects, a line each; numbers as numbers, NUMERIC with all digits, NaN and Infinity as text
"""

from __future__ import annotations

import enum
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

import pyarrow as pa

from ...base.result import Result
from ...base.text import format_column, is_right_aligned
from ...base.types import Kind, Type, type_of_field

WINDOW_ROWS: Final = 10_000

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MUST_BE_QUOTED: Final = re.compile(r'[,"\r\n]|^\s|\s$|^\\\.$')
_BARE_CSV: Final = frozenset(Kind) - {Kind.TEXT, Kind.VARCHAR, Kind.JSON, Kind.UNKNOWN, Kind.ARRAY}
_BARE_JSON: Final = frozenset((Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC, Kind.JSON))


class Format(enum.Enum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class Output(Protocol):
    """What results are written to: a terminal, a file, a pager."""

    def write(self, text: str, /) -> object: ...


@dataclass(slots=True, kw_only=True)
class Layout:
    """How results are printed. ``null`` stands for NULL in tables. The shell's commands change it."""

    format: Format = Format.TABLE
    expanded: bool = False
    null: str = "NULL"


def print_result(result: Result, layout: Layout, out: Output) -> int:
    """Print all rows of ``result`` and return how many there were. Closes the result's stream."""
    types = [type_of_field(field) for field in result.schema]
    names = [field.name for field in result.schema]
    windows = _windows(result)
    match layout.format:
        case Format.CSV:
            return _print_csv(names, types, windows, out)
        case Format.JSON:
            return _print_json(names, types, windows, out)
        case Format.TABLE if layout.expanded:
            return _print_expanded(names, types, windows, layout.null, out)
        case Format.TABLE:
            return _print_table(names, types, windows, layout.null, out)
        case _:
            assert_never(layout.format)


def _windows(result: Result) -> Iterator[pa.RecordBatch]:
    for batch in result.reader():
        for begin in range(0, batch.num_rows, WINDOW_ROWS):
            yield batch.slice(begin, WINDOW_ROWS)


def _print_table(names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], null: str, out: Output) -> int:
    right = [is_right_aligned(type) for type in types]
    widths = [_width(name) for name in names]
    count = 0
    headed = False
    for window in windows:
        columns = [_cells(column, type, null) for column, type in zip(window.columns, types, strict=True)]
        for i, column in enumerate(columns):
            widths[i] = max([widths[i], *(_width(line) for cell in column for line in cell)])
        if not headed:
            _print_head(names, widths, out)
            headed = True
        for row in zip(*columns, strict=True) if columns else [()] * window.num_rows:
            _print_row(row, widths, right, out)
        count += window.num_rows
    if not headed:
        _print_head(names, widths, out)
    out.write(f"({count} {'row' if count == 1 else 'rows'})\n")
    return count


def _print_head(names: list[str], widths: list[int], out: Output) -> None:
    out.write("|".join(f" {_pad(_printable(n), w, 'center')} " for n, w in zip(names, widths, strict=True)).rstrip())
    out.write("\n" + "+".join("-" * (width + 2) for width in widths) + "\n")


def _print_row(row: Sequence[list[str]], widths: list[int], right: list[bool], out: Output) -> None:
    """One row; a cell of several lines takes several lines, each but the last marked with ``+``."""
    for i in range(max((len(cell) for cell in row), default=1)):
        parts: list[str] = []
        for cell, width, at_right in zip(row, widths, right, strict=True):
            text = cell[i] if i < len(cell) else ""
            more = "+" if i + 1 < len(cell) else " "
            parts.append(f" {_pad(text, width, 'right' if at_right else 'left')}{more}")
        out.write("|".join(parts).rstrip() + "\n")


def _print_expanded(
    names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], null: str, out: Output
) -> int:
    width = max((_width(name) for name in names), default=0)
    count = 0
    for window in windows:
        columns = [_cells(column, type, null) for column, type in zip(window.columns, types, strict=True)]
        for row in zip(*columns, strict=True):
            count += 1
            out.write(f"-[ record {count} ]".ljust(width + 3, "-") + "\n")
            for name, cell in zip(names, row, strict=True):
                lines = f"\n{' ' * width} | ".join(cell)
                out.write(f"{_pad(_printable(name), width, 'left')} | {lines}".rstrip() + "\n")
    if count == 0:
        out.write("(0 rows)\n")
    return count


def _print_csv(names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], out: Output) -> int:
    out.write(",".join(_quote_csv(name) for name in names) + "\n")
    count = 0
    for window in windows:
        columns = [_csv_column(column, type) for column, type in zip(window.columns, types, strict=True)]
        out.write("".join(",".join(row) + "\n" for row in zip(*columns, strict=True)))
        count += window.num_rows
    return count


def _csv_column(column: pa.Array, type: Type) -> list[str]:
    quote = str if type.kind in _BARE_CSV else _quote_csv
    return ["" if text is None else quote(text) for text in format_column(column, type)]


def _print_json(names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], out: Output) -> int:
    quoted = [json.dumps(name, ensure_ascii=False) for name in names]
    count = 0
    for window in windows:
        columns = [_json_values(column, type) for column, type in zip(window.columns, types, strict=True)]
        for row in zip(*columns, strict=True):
            pairs = ",".join(f"{name}:{value}" for name, value in zip(quoted, row, strict=True))
            out.write(f"{',' if count else '['}\n{{{pairs}}}")
            count += 1
    out.write("\n]\n" if count else "[]\n")
    return count


def _json_values(column: pa.Array, type: Type) -> list[str]:
    """Every value as JSON text. Times are ISO 8601 with a ``T``, as PostgreSQL's ``to_json`` writes them."""
    if type.kind is Kind.ARRAY:
        assert type.element is not None, "an array type has an element type"
        element = type.element
        return [
            "null" if value is None else f"[{','.join(_json_values(pa.array(value, element.arrow), element))}]"
            for value in column.to_pylist()
        ]
    return ["null" if text is None else _json_value(text, type) for text in format_column(column, type)]


def _json_value(text: str, type: Type) -> str:
    if type.kind in _BARE_JSON:
        return text
    if type.kind is Kind.BOOLEAN:
        return "true" if text == "t" else "false"
    if type.kind in (Kind.REAL, Kind.DOUBLE) and text[-1].isdigit():
        return text
    if type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        text = text.replace(" ", "T", 1)
        text = text.replace("+00", "+00:00") if type.kind is Kind.TIMESTAMPTZ else text
    return json.dumps(text, ensure_ascii=False)


def _cells(column: pa.Array, type: Type, null: str) -> list[list[str]]:
    """The lines of every value, fit for a terminal."""
    return [
        [null] if text is None else [_printable(line) for line in text.replace("\r\n", "\n").split("\n")]
        for text in format_column(column, type)
    ]


def _printable(text: str) -> str:
    """No control characters: a value must not be able to move the cursor."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\t", "        "))


def _width(text: str) -> int:
    """How many columns of a terminal ``text`` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, side: str) -> str:
    """``text`` with blanks to ``width`` columns of the terminal, where wide characters take two."""
    blanks = max(width - _width(text), 0)
    match side:
        case "right":
            return " " * blanks + text
        case "center":
            return " " * (blanks // 2) + text + " " * (blanks - blanks // 2)
        case _:
            return text + " " * blanks


def _quote_csv(text: str) -> str:
    if text and not _MUST_BE_QUOTED.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'
