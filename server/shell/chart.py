"""A bar chart of a result in text: ``\\chart``.

    month    │ sum
    2026-01  │ ██████████████████▌            1,203.5
    2026-02  │ ██████████████████████████████ 1,951.0

The first of two columns names the bars, the second is their length; of one column, the rows are numbered. Negative
numbers go to the left of the zero. What is no finite number has its text and no bar.
"""

from __future__ import annotations

import math
from typing import Final

import pyarrow as pa

from ...base.errors import Invalid
from ...base.result import Result
from ...base.text import format_column, text_width
from .output import Output, fitted, printable

ROWS_MAX: Final = 500
_LABEL_WIDTH_MAX: Final = 30
_BAR_WIDTH_MIN: Final = 10
_DIGITS_MAX: Final = 10
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def print_chart(result: Result, out: Output, *, width: int, coloured: bool = False) -> None:
    """Print the first ``ROWS_MAX`` rows as bars that fit ``width`` columns. Raises Invalid for other columns."""
    numbers_at = len(result.types) - 1
    if len(result.types) not in (1, 2) or not result.types[numbers_at].is_numeric:
        raise Invalid(
            "a chart takes two columns, a name and a number",
            hint="SELECT day, count(*) FROM events GROUP BY day ORDER BY day \\chart",
        )
    table = pa.Table.from_batches(_head(result), schema=result.schema)
    values = [None if value is None else float(value) for value in table.column(numbers_at).to_pylist()]
    texts = [_number(text) for text in format_column(table.column(numbers_at), result.types[numbers_at])]
    if numbers_at:
        names = [
            "NULL" if text is None else printable(text) for text in format_column(table.column(0), result.types[0])
        ]
    else:
        names = [str(number) for number in range(1, len(values) + 1)]
    names, texts, values = names[:ROWS_MAX], texts[:ROWS_MAX], values[:ROWS_MAX]
    heads = (result.names[0] if numbers_at else "", result.names[numbers_at])
    name_width = min(max(map(text_width, [heads[0], *names])), _LABEL_WIDTH_MAX)
    room = max(width - name_width - max(map(len, [*texts, ""])) - 5, _BAR_WIDTH_MIN)
    bars = _bars(values, room)
    bar_width = max(map(len, bars), default=0)
    out.write(f" {fitted(heads[0], name_width)} │ {heads[1]}\n")
    for name, bar, text in zip(names, bars, texts, strict=True):
        shown = f"\x1b[36m{bar:<{bar_width}}\x1b[0m" if coloured else f"{bar:<{bar_width}}"
        out.write(f" {fitted(name, name_width)} │ {shown} {text}".rstrip() + "\n")
    more = table.num_rows > ROWS_MAX
    out.write(
        f"(the first {ROWS_MAX} rows)\n" if more else f"({len(values)} {'row' if len(values) == 1 else 'rows'})\n"
    )


def _head(result: Result) -> list[pa.RecordBatch]:
    """Enough batches to know whether there are more rows than are drawn."""
    batches: list[pa.RecordBatch] = []
    count = 0
    with result:
        for batch in result.reader():
            batches.append(batch)
            count += batch.num_rows
            if count > ROWS_MAX:
                break
    return batches


def _number(text: str | None) -> str:
    """A number short enough to be read beside its bar."""
    if text is None:
        return "NULL"
    return f"{float(text):.6g}" if len(text) > _DIGITS_MAX and "." in text else text


def _bars(values: list[float | None], room: int) -> list[str]:
    """A bar of at most ``room`` characters for each value, from one common zero."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    span = high - low
    if not span or not math.isfinite(span):
        return [""] * len(values)
    left = round(room * -low / span)
    bars: list[str] = []
    for value in values:
        if value is None or not math.isfinite(value):
            bars.append("")
        elif value < 0:
            length = max(round(left * value / low), 1)
            bars.append(" " * (left - length) + "█" * length)
        else:
            whole, rest = divmod(round((room - left) * 8 * value / high) if high else 0, 8)
            bars.append(" " * left + "█" * whole + _EIGHTHS[rest].strip())
    return bars
