"""From syntax to meaning: names, scopes, types. In: sqlglot's tree and a catalog. Out: the bound tree.

names, scope     what names mean; folding; output names
context          one statement's state; coercion; inference of parameters
types            names of types
binder           one expression: the dispatcher; operators, comparisons, calls: its handlers
tables           FROM; select, grouping: SELECT; query: WITH, set operations, VALUES
layers, ties     what needs a SELECT below its own: set-returning functions, windows over windows, WITH TIES
time_series      buckets, carried and interpolated values, sessions; gapfill: the rows that are missing
set_returning    functions of several rows; documents: building JSON; rows: rows as values; system: current_user
standalone       CHECK, DEFAULT, scan(where=)
"""

from __future__ import annotations

from ...base.values import type_of_value as parameter_type
from .context import Settings
from .names import fold, output_name
from .query import bind_query
from .standalone import bind_expression
from .types import type_of

__all__ = ["Settings", "bind_expression", "bind_query", "fold", "output_name", "parameter_type", "type_of"]
