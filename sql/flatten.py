"""Groups of groups as groups: a materialized view over a materialized view is one over the table below.

    minutes   SELECT time_bucket('1 minute', at) AS minute, count(*) AS n, sum(x) AS s FROM t WHERE x > 0 GROUP BY 1
    days      SELECT date_trunc('day', minute) AS day, sum(n) AS n, sum(s) AS s FROM minutes GROUP BY 1
              SELECT date_trunc('day', at), count(*), sum(x) FROM t WHERE x > 0 GROUP BY 1

What is grouped by and left out must be said of the columns that the view below groups by; what is added up must be what
it has of an aggregate: sums of counts and of sums, the least of the least, and so on. So groups upon groups are exact
as any others, and nothing waits for anything.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from ..base.types import Kind
from ..engine.expression.node import Call, Cast, Column, Expression
from ..engine.expression.tree import all_of
from . import bound
from .matching.buckets import buckets_of, constant_in
from .walk import columns_read, is_scalar, rewrite, walk


class NotFlat(Exception):
    """Why groups of groups are not groups of rows."""


_AGAIN: Final = {
    ("sum", "count"): "count",
    ("sum", "sum"): "sum",
    ("min", "min"): "min",
    ("max", "max"): "max",
    ("bool_and", "bool_and"): "bool_and",
    ("every", "bool_and"): "bool_and",
    ("bool_or", "bool_or"): "bool_or",
}
"""What an aggregate of an aggregate is of the rows."""


def flattened(query: bound.Query) -> bound.Query:
    """A SELECT that groups what other SELECTs group, over their table. Raises NotFlat."""
    if not isinstance(query, bound.Select) or query.grouping is None or not isinstance(query.source, bound.Derived):
        return query
    if not any(isinstance(part, bound.Grouping) for part in walk(query.source)):
        return query
    below, values = _grouped(query.source)
    assert below.grouping is not None, "it groups"
    keys = {key.column.id: key.expression for key in below.grouping.keys}
    calls = {output.column.id: output.expression for output in below.grouping.aggregates}

    def of_rows(node: bound.Bound, what: str) -> bound.Bound:
        """An expression over what is grouped, over the rows."""
        found = _put(node, values)
        if not is_scalar(found) or not columns_read(found) <= keys.keys():
            raise NotFlat(f"{what} is about more than what the view below groups by")
        return _plain(_put(found, keys))

    where = [part for part in (below.where, query.where and of_rows(query.where, "WHERE")) if part is not None]
    instead: dict[int, bound.Bound] = {}
    aggregates: list[bound.Output] = []
    for output in query.grouping.aggregates:
        filter = output.expression.filter if isinstance(output.expression, bound.Aggregate) else None
        filter = None if filter is None else of_rows(filter, "FILTER")
        call = _again(output.expression, values, calls, filter)
        column = dataclasses.replace(output.column, type=call.type)
        aggregates.append(bound.Output(column=column, expression=call))
        instead[column.id] = bound.cast_to(column.reference(), output.column.type)
    grouping = dataclasses.replace(
        query.grouping,
        keys=tuple(
            dataclasses.replace(key, expression=of_rows(key.expression, "GROUP BY")) for key in query.grouping.keys
        ),
        aggregates=tuple(aggregates),
    )
    outputs = tuple(
        dataclasses.replace(output, expression=_put(output.expression, instead)) for output in query.outputs
    )
    return dataclasses.replace(
        query, source=below.source, where=_all_of(where), grouping=grouping, outputs=outputs
    )  # fmt: skip


def _grouped(source: bound.Derived) -> tuple[bound.Select, dict[int, bound.Bound]]:
    """The SELECT that groups the rows of a subquery, and the subquery's columns by what it gives."""
    query = flattened(source.query)
    if not isinstance(query, bound.Select) or source.lateral:
        raise NotFlat("it reads more than groups")
    if query.having is not None or query.distinct or query.distinct_on or query.limit or query.offset:
        raise NotFlat("the view below is more than groups")
    outputs = {
        column.id: output.expression for column, output in zip(source.columns, query.outputs, strict=True)
    }  # fmt: skip
    if query.grouping is not None:
        return query, outputs
    if not isinstance(query.source, bound.Derived) or query.where is not None:
        raise NotFlat("it reads more than groups")
    below, values = _grouped(query.source)
    return below, {id: _put(node, values) for id, node in outputs.items()}


def _again(
    call: bound.Bound, values: dict[int, bound.Bound], calls: dict[int, bound.Bound], filter: bound.Bound | None
) -> bound.Aggregate:
    """An aggregate of aggregates, over the rows."""
    if not isinstance(call, bound.Aggregate) or call.distinct or call.order or call.within:
        raise NotFlat("an aggregate has DISTINCT or ORDER BY")
    if not call.arguments:
        raise NotFlat("count(*) counts the groups of the view below: take sum() of its count to count rows")
    argument = _put(call.arguments[0], values)
    if isinstance(argument, Cast) and argument.type.kind is Kind.NUMERIC and argument.argument.type.is_integer:
        argument = argument.argument  # as it is where counts were added up
    below = calls.get(argument.id) if isinstance(argument, Column) else None
    if not isinstance(below, bound.Aggregate):
        raise NotFlat(f"{call.function}() is of something that is no aggregate of the view below")
    function = _AGAIN.get((call.function, "bool_and" if below.function == "every" else below.function))
    if function is None or below.distinct:
        hint = ": keep sum and count, and divide where it is read" if below.function == "avg" else ""
        raise NotFlat(f"{call.function}() of {below.function}() cannot be told from groups{hint}")
    if function == "count" and filter is not None:
        raise NotFlat("sum() of count() has FILTER: put it into WHERE")
    if below.type.kind is Kind.REAL and function == "sum":
        raise NotFlat("sums of REAL are rounded: cast to DOUBLE PRECISION in the view below")
    both = [part for part in (below.filter, filter) if part is not None]
    return dataclasses.replace(below, function=function, type=call.type, filter=_all_of(both))


def _put(node: Any, values: dict[int, bound.Bound]) -> Any:
    return rewrite(node, lambda part: values.get(part.id) if isinstance(part, Column) else None)


def _plain(node: Any) -> Any:
    """Buckets of buckets as buckets of moments: days of minutes are days."""

    def replace(part: Any) -> Any:
        if not isinstance(part, Call | Cast) or not is_scalar(part):
            return None
        about = constant_in(part)
        moment: Expression = part.argument if isinstance(part, Cast) else part.arguments[-1]
        if isinstance(moment, Cast) and moment.argument.type.kind is Kind.DATE:  # a day is its midnight
            moment = moment.argument
        finer = buckets_of(moment)
        if about is None or finer is None or not about[1].made_of(finer[1]):
            return None
        assert isinstance(moment, Call | Cast), "what cuts moments is a call or a cast"
        inside = moment.argument if isinstance(moment, Cast) else moment.arguments[-1]
        wanted = part.argument.type if isinstance(part, Cast) else part.arguments[-1].type
        if inside.type != wanted:
            return None
        if isinstance(part, Cast):
            return _plain(dataclasses.replace(part, argument=inside))
        return _plain(dataclasses.replace(part, arguments=(*part.arguments[:-1], inside)))

    return rewrite(node, replace)


def _all_of(parts: list[bound.Bound]) -> bound.Bound | None:
    return all_of([bound.expression(part) for part in parts])
