"""``FETCH FIRST n ROWS WITH TIES``: the rows up to the n-th, and all that sort equal to it.

A row's rank is the place of the first that sorts equal to it, so the rows wanted are those of a rank up to OFFSET + n
that stand behind OFFSET:

    SELECT … FROM (SELECT …, row_number() OVER (ORDER BY …) AS place, rank() OVER (ORDER BY …) AS rank FROM (…))
    WHERE place > offset AND rank <= offset + n ORDER BY …
"""

from __future__ import annotations

from dataclasses import replace

from ...base.types import BIGINT, BOOLEAN
from ...engine.expression.node import Literal
from .. import bound
from .context import Context


def with_ties(context: Context, query: bound.Select) -> bound.Select:
    """``query``, which has ORDER BY and LIMIT, with the rows that tie with its last one."""
    assert query.limit is not None and query.order, "the caller asked for both"  # noqa: PT018
    names = {output.column.id for output in query.outputs}
    beside = [
        bound.Output(column=context.new_column("key", key.expression.type), expression=key.expression)
        for key in query.order
        if not (isinstance(key.expression, bound.Column) and key.expression.id in names)
    ]
    plain = replace(query, outputs=(*query.outputs, *beside), order=(), limit=None, offset=None)
    rows = _derived(context, plain)
    columns = dict(zip((output.column.id for output in plain.outputs), rows.columns, strict=True))
    extra = iter(rows.columns[len(query.outputs) :])
    order = tuple(
        replace(
            key,
            expression=columns[key.expression.id].reference()
            if isinstance(key.expression, bound.Column) and key.expression.id in names
            else next(extra).reference(),
        )
        for key in query.order
    )
    counted = [
        bound.Output(
            column=context.new_column(function, BIGINT),
            expression=bound.Window(function=function, arguments=(), type=BIGINT, order=order),
        )
        for function in ("row_number", "rank")
    ]
    passed = [
        bound.Output(column=context.new_column(column.name, column.type), expression=column.reference())
        for column in rows.columns
    ]
    ranked = _derived(
        context,
        bound.Select(source=rows, where=None, grouping=None, having=None, outputs=(*passed, *counted)),
    )
    place, rank = (column.reference() for column in ranked.columns[-2:])
    moved = {old.id: new for old, new in zip(rows.columns, ranked.columns, strict=False)}
    zero = Literal(value=0, type=BIGINT)
    offset = query.offset if query.offset is not None else zero
    last = bound.call("add", offset, query.limit, type=BIGINT)
    where = bound.call(
        "and",
        bound.call("greater", query.limit, zero, type=BOOLEAN),
        bound.call("greater", place, offset, type=BOOLEAN),
        bound.call("less_equal", rank, last, type=BOOLEAN),
        type=BOOLEAN,
    )
    outputs = tuple(
        bound.Output(column=context.new_column(output.column.name, output.column.type), expression=column.reference())
        for output, column in zip(query.outputs, ranked.columns, strict=False)
    )
    keys = tuple(
        replace(key, expression=moved[key.expression.id].reference())
        for key in order
        if isinstance(key.expression, bound.Column)
    )
    return bound.Select(source=ranked, where=where, grouping=None, having=None, outputs=outputs, order=keys)


def _derived(context: Context, query: bound.Select) -> bound.Derived:
    columns = tuple(context.new_column(column.name, column.type) for column in query.columns)
    return bound.Derived(reference=context.new_reference(), query=query, columns=columns)
