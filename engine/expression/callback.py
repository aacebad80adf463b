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
import pyarrow.compute as pc

from ...base.errors import Invalid, LimitExceeded
from ...base.types import Kind, Type, bare, wrapped
from .context import Context
from .evaluate import evaluate
from .functions import PYTHON_CALLS, duckdb_type
from .node import Call, Column, Literal

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
    ids = list(range(len(columns)))
    context = Context()

    @functools.lru_cache(maxsize=64)
    def call(*constants: Literal | None) -> Call:
        arguments = tuple(literal or column for literal, column in zip(constants, columns, strict=True))
        return Call(function=given.function, arguments=arguments, type=given.result)

    def run(*arrays: Any) -> pa.Array:
        plain = [_plain(array, column) for array, column in zip(arrays, columns, strict=True)]
        batch = pa.RecordBatch.from_arrays(plain, names=[str(id) for id in ids])
        expression = call(*map(_constant, plain, given.arguments))
        try:
            return evaluate(expression, batch, column_ids=ids, context=context)
        except (Invalid, LimitExceeded) as error:
            message = re.sub(r"^row [0-9]+: ", "", error.message)
            raise _Told(f"[WEFT {error.sqlstate}] {message}") from None

    one = inspect.Parameter.POSITIONAL_ONLY
    signature = inspect.Signature([inspect.Parameter(f"a{id}", one) for id in ids])  # DuckDB counts its parameters
    run.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return run


def _constant(array: pa.Array, type: Type) -> Literal | None:
    """What all rows have: DuckDB gives constants as columns, and the vectorized forms want them as such."""
    array = array.storage if isinstance(array, pa.ExtensionArray) else array
    count = len(array)
    if type.kind not in _CONSTANTS or count < 2 or array.null_count or array[0] != array[count - 1]:
        return None
    return Literal(value=array[0].as_py(), type=type) if pc.all(pc.equal(array, array[0])).as_py() else None


_CONSTANTS: Final = frozenset((Kind.TEXT, Kind.JSONB, Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.BOOLEAN))


class _Told(Exception):
    """An error whose text DuckDB hands on."""


def _plain(array: Any, column: Column) -> pa.Array:
    """DuckDB's array as exactly the type's."""
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    wanted = column.type.arrow
    if whole.type == wanted:
        return whole
    return wrapped(bare(whole).cast(column.type.storage), column.type)
