"""The one function table: what SQL may call, its types, and how each of three machines computes it.

    resolve(name, argument_types) -> Resolution     which overload; what to cast arguments to; the result's type
    Resolution.render(arguments) -> str             DuckDB SQL with PostgreSQL's meaning
    FUNCTIONS[name]                                 kind, volatility, overloads

Operators are functions: ``+`` add, ``-`` subtract and negate, ``*`` multiply, ``/`` divide, ``%`` modulo, ``^`` power,
``& | # ~`` bit_and_op bit_or_op bit_xor_op bit_not_op, ``= <> < <= > >=`` equal not_equal less less_equal greater
greater_equal, ``IS [NOT] DISTINCT FROM`` is_distinct is_not_distinct, ``IS [NOT] NULL`` is_null is_not_null,
``IS [NOT] TRUE/FALSE`` is_true is_not_true is_false is_not_false, AND OR NOT and or not, ``IN`` in_list, ``LIKE`` like
ilike like_escape ilike_escape, ``~ ~*`` regex_match regex_imatch, ``||`` concat_op, ``-> ->> #> #>>`` json_get
json_get_text json_path json_path_text, ``AT TIME ZONE`` timezone.

A function that is not in the table is refused by name; nothing passes through to DuckDB unseen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from ....base.types import TIMESTAMPTZ, Type
from ..node import Literal
from . import (
    accumulated,
    aggregates,
    arrays,
    documents,
    formats,
    json_paths,
    json_values,
    mathematics,
    operators,
    patterns,
    strings,
    temporal,
    text,
)
from .coercion import assignment_cast, common_type, explicit_cast, implicit_cast
from .duck import DUCKDB_PRELUDE as _CASTS_PRELUDE
from .duck import PYTHON_CALLS, PythonCall, duckdb_type, render_cast, render_literal
from .messages import translate_error
from .model import Function, FunctionKind, Modifiers, Overload, Resolution, Volatility
from .resolve import resolve_in

__all__ = [
    "DUCKDB_PRELUDE",
    "FUNCTIONS",
    "PYTHON_CALLS",
    "Function",
    "FunctionKind",
    "Modifiers",
    "Overload",
    "PythonCall",
    "Resolution",
    "Volatility",
    "assignment_cast",
    "common_type",
    "duckdb_type",
    "explicit_cast",
    "implicit_cast",
    "render_cast",
    "render_literal",
    "resolve",
    "session_literal",
    "translate_error",
]

_FAMILIES: Final = (
    operators,
    mathematics,
    text,
    patterns,
    strings,
    temporal,
    formats,
    documents,
    json_values,
    json_paths,
    accumulated,
    arrays,
    aggregates,
)

FUNCTIONS: Final[Mapping[str, Function]] = {
    function.name: function for family in _FAMILIES for function in family.functions()
}

DUCKDB_PRELUDE: Final[tuple[str, ...]] = (
    *_CASTS_PRELUDE,
    *operators.PRELUDE,
    *mathematics.PRELUDE,
    *text.PRELUDE,
    *temporal.PRELUDE,
    *documents.PRELUDE,
    *json_values.PRELUDE,
    *aggregates.PRELUDE,
)
"""CREATE MACRO statements in order; the executor runs them once per DuckDB database."""


def resolve(
    name: str,
    argument_types: Sequence[Type],
    *,
    literals: Mapping[int, object] | None = None,
    position: int | None = None,
) -> Resolution:
    """The overload of ``name`` for these argument types, by PostgreSQL's rules.

    ``literals``: index → value of arguments that are literals (``extract``'s field decides the result's scale).
    Raises Invalid: 42883 no such function or operator for these types, 42725 several fit equally, 42804 types that
    cannot be matched.
    """
    return resolve_in(FUNCTIONS, name, argument_types, literals=literals, position=position)


def session_literal(name: str, *, now: int) -> Literal:
    """The value of a STABLE function at ``now`` (microseconds since 1970, UTC), in UTC."""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=now)
    result = FUNCTIONS[name].overloads[0].result
    assert isinstance(result, Type), f"{name} has a fixed type"
    values: dict[str, object] = {
        "current_date": moment.date(),
        "localtimestamp": moment.replace(tzinfo=None),
        "localtime": moment.time(),
    }
    return Literal(value=values.get(name, moment), type=result if name in values else TIMESTAMPTZ)
