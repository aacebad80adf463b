"""DuckDB calling back: functions of the table that it does not have, computed by the evaluator over its vectors.

A template ``in_python`` renders a call of ``weft_py_…``; whoever runs the text gives DuckDB these functions first:

    for name in named(sql): connection.create_function(name, compute(name), *signature(name), …)

An error travels as text through DuckDB; ``functions.translate_error`` makes it ours again.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from ...base.errors import Invalid
from .context import Context
from .evaluate import evaluate
from .functions import PYTHON_CALLS, duckdb_type
from .node import Call, Column

_NAME: Final = re.compile(r"\bweft_py_\w+")


def named(sql: str) -> set[str]:
    """The functions that a text calls."""
    return set(_NAME.findall(sql))


def signature(name: str) -> tuple[list[str], str]:
    """DuckDB's types of the arguments and the result."""
    call = PYTHON_CALLS[name]
    return [duckdb_type(type) for type in call.arguments], duckdb_type(call.result)


@functools.cache
def compute(name: str) -> Callable[..., pa.Array]:
    """The function over Arrow arrays, one row each. It is kept for good: DuckDB does not hold on to it."""
    given = PYTHON_CALLS[name]
    columns = tuple(Column(id=number, type=type) for number, type in enumerate(given.arguments))
    expression = Call(function=given.function, arguments=columns, type=given.result)
    ids = list(range(len(columns)))
    context = Context()

    def run(*arrays: Any) -> pa.Array:
        plain = [_plain(array, column) for array, column in zip(arrays, columns, strict=True)]
        batch = pa.RecordBatch.from_arrays(plain, names=[str(id) for id in ids])
        try:
            return evaluate(expression, batch, column_ids=ids, context=context)
        except Invalid as error:
            message = re.sub(r"^row [0-9]+: ", "", error.message)
            raise _Told(f"[WEFT {error.sqlstate}] {message}") from None

    one = inspect.Parameter.POSITIONAL_ONLY
    signature = inspect.Signature([inspect.Parameter(f"a{id}", one) for id in ids])  # DuckDB counts its parameters
    run.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return run


class _Told(Exception):
    """An error whose text DuckDB hands on."""


def _plain(array: Any, column: Column) -> pa.Array:
    """DuckDB's array as exactly the type's."""
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    wanted = column.type.arrow
    if whole.type == wanted:
        return whole
    if isinstance(wanted, pa.BaseExtensionType):
        storage = whole.storage if isinstance(whole, pa.ExtensionArray) else whole
        return wanted.wrap_array(storage.cast(wanted.storage_type))
    return (whole.storage if isinstance(whole, pa.ExtensionArray) else whole).cast(wanted)
