"""Lay out results: aligned tables as psql prints them, CSV, JSON.

Results are read batch by batch and printed in windows of ``WINDOW_ROWS`` rows, so a result of any size is printed in
bounded memory; a table's columns may grow wider from one window to the next, never narrower.

    table   aligned, numbers at the right, NULL as ``NULL``, a row count at the end; ``expanded`` for a line per value
    csv     with a header, as COPY writes it: NULL is empty, an empty text is ``""``
    json    one array of objects, a line each, as COPY writes them
"""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

import pyarrow as pa

from ...base.result import Result
from ...base.text import format_column, is_right_aligned, text_width
from ...base.types import Type, type_of_field
from ...sql.copy.encode import csv_header, lines_of
from ...sql.copy.options import CopyOptions, copy_options

WINDOW_ROWS: Final = 10_000

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CSV: Final = copy_options({"format": "csv", "header": None}, path=None, writes=True)
_JSON: Final = copy_options({"format": "json"}, path=None, writes=True)


class Format(enum.Enum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class Output(Protocol):
    """What results are written to: a terminal, a file, a pager."""

    def write(self, text: str, /) -> object: ...


@dataclass(slots=True, kw_only=True)
class Layout:
    """How results are printed. ``null`` stands for NULL in tables. ``expanded`` None: where a table is wider than
    ``width``. ``zone``: the time zone of moments in tables. The shell's commands change it.
    """

    format: Format = Format.TABLE
    expanded: bool | None = False
    width: int = 0
    null: str = "NULL"
    zone: str = "UTC"


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
        case Format.TABLE:
            expanded = layout.expanded
            if expanded is None:
                first = next(windows, None)
                windows = itertools.chain([] if first is None else [first], windows)
                expanded = first is not None and 0 < layout.width < _table_width(names, types, first, layout)
            printed = _print_expanded if expanded else _print_table
            return printed(names, types, windows, layout, out)
        case _:
            assert_never(layout.format)


def _windows(result: Result) -> Iterator[pa.RecordBatch]:
    for batch in result.reader():
        for begin in range(0, batch.num_rows, WINDOW_ROWS):
            yield batch.slice(begin, WINDOW_ROWS)


def _print_table(
    names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], layout: Layout, out: Output
) -> int:
    right = [is_right_aligned(type) for type in types]
    widths = [text_width(name) for name in names]
    count = 0
    headed = False
    for window in windows:
        columns = [_cells(column, type, layout) for column, type in zip(window.columns, types, strict=True)]
        for i, column in enumerate(columns):
            widths[i] = max([widths[i], *(text_width(line) for cell in column for line in cell)])
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


def _table_width(names: list[str], types: list[Type], window: pa.RecordBatch, layout: Layout) -> int:
    widths = [
        max([text_width(name), *(text_width(line) for cell in _cells(column, type, layout) for line in cell)])
        for name, column, type in zip(names, window.columns, types, strict=True)
    ]
    return sum(widths) + 3 * len(widths) - 1


def _print_head(names: list[str], widths: list[int], out: Output) -> None:
    out.write("|".join(f" {_pad(printable(n), w, 'center')} " for n, w in zip(names, widths, strict=True)).rstrip())
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
    names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], layout: Layout, out: Output
) -> int:
    width = max((text_width(name) for name in names), default=0)
    count = 0
    for window in windows:
        columns = [_cells(column, type, layout) for column, type in zip(window.columns, types, strict=True)]
        for row in zip(*columns, strict=True):
            count += 1
            out.write(f"-[ record {count} ]".ljust(width + 3, "-") + "\n")
            for name, cell in zip(names, row, strict=True):
                lines = f"\n{' ' * width} | ".join(cell)
                out.write(f"{_pad(printable(name), width, 'left')} | {lines}".rstrip() + "\n")
    if count == 0:
        out.write("(0 rows)\n")
    return count


def _print_csv(names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], out: Output) -> int:
    out.write(csv_header(names, _CSV))
    return _print_lines(names, types, windows, _CSV, out)


def _print_lines(
    names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], options: CopyOptions, out: Output
) -> int:
    count = 0
    for window in windows:
        lines = lines_of(window.columns, names, types, options).to_pylist()
        out.write("".join(f"{line}\n" for line in lines or [""] * window.num_rows))
        count += window.num_rows
    return count


def _print_json(names: list[str], types: list[Type], windows: Iterator[pa.RecordBatch], out: Output) -> int:
    count = 0
    for window in windows:
        for line in lines_of(window.columns, names, types, _JSON).to_pylist() or ["{}"] * window.num_rows:
            out.write(f"{',' if count else '['}\n{line}")
            count += 1
    out.write("\n]\n" if count else "[]\n")
    return count


def _cells(column: pa.Array, type: Type, layout: Layout) -> list[list[str]]:
    """The lines of every value, fit for a terminal."""
    return [
        [layout.null] if text is None else [printable(line) for line in text.replace("\r\n", "\n").split("\n")]
        for text in format_column(column, type, zone=layout.zone)
    ]


def fitted(text: str, width: int) -> str:
    """``text`` cut or filled to ``width`` columns of the terminal."""
    if text_width(text) <= width:
        return _pad(text, width, "left")
    while text_width(text) > width - 1:
        text = text[:-1]
    return _pad(text + "…", width, "left")


def printable(text: str) -> str:
    """No control characters: a value must not be able to move the cursor."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\t", "        "))


def _pad(text: str, width: int, side: str) -> str:
    """``text`` with blanks to ``width`` columns of the terminal, where wide characters take two."""
    blanks = max(width - text_width(text), 0)
    match side:
        case "right":
            return " " * blanks + text
        case "center":
            return " " * (blanks // 2) + text + " " * (blanks - blanks // 2)
        case _:
            return text + " " * blanks
