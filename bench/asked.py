"""Questions that are asked of several systems side by side: what each may take, the clock, how answers are compared."""

from __future__ import annotations

import decimal
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
from weftdb.bench.data import close
from weftdb.bench.systems import WrongAnswer

THREADS: Final = 2
MEMORY: Final = 2 * 10**9
HISTORY_SECONDS: Final = 86_400
"""Of WeftDB's old versions: none goes away meanwhile."""


def timed(action: Callable[[], pa.Table]) -> tuple[float, pa.Table]:
    began = time.perf_counter()
    answer = action()
    return time.perf_counter() - began, answer


def geometric_mean(ratios: Sequence[float]) -> float:
    """Of positive numbers."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def compare(question: str, weft: pa.Table, duck: pa.Table) -> None:
    """Raise WrongAnswer at the first cell that differs; columns are compared by place, their names too."""
    if weft.column_names != duck.column_names:
        raise WrongAnswer(f"{question}: columns {weft.column_names} and {duck.column_names}")
    if weft.num_rows != duck.num_rows:
        raise WrongAnswer(f"{question}: WeftDB returned {weft.num_rows} rows, DuckDB {duck.num_rows}")
    for name in weft.column_names:
        pairs = zip(weft[name].to_pylist(), duck[name].to_pylist(), strict=True)
        for row, (left, right) in enumerate(pairs, start=1):
            if not _equal(left, right):
                raise WrongAnswer(f"{question}: row {row}, column {name}: WeftDB {left!r}, DuckDB {right!r}")


def _equal(left: Any, right: Any) -> bool:
    numbers = (int, float, decimal.Decimal)
    if isinstance(left, numbers) and isinstance(right, numbers) and float in (type(left), type(right)):
        return close(float(left), float(right))
    return left == right
