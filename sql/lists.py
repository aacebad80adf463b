"""Lists of constants that a column is looked up in, as relations.

    x IN (3, 5, ..., 997)    Values (3), (5), ..., (997)
    x = ANY ($1)             SELECT v FROM unnest($1) v

A kernel compares with each of a few constants (describe.IN_MAX); among many it looks a row's value up, as that of a
joined side. Of numbers, dates and times only: texts are asked by their dictionaries, however long the list is.
"""

from __future__ import annotations

from typing import Final

from ..base.types import Type, numeric
from ..engine.expression.node import Call
from ..engine.pipeline.describe import IN_MAX, INTEGERS
from . import bound
from .walk import columns_read, is_scalar

IDS_OF_LIST: Final = 3
"""Identifiers that a list needs."""


def is_long(node: bound.Bound) -> bool:
    """Whether a condition asks for one of many constants, perhaps under NOT."""
    while isinstance(node, Call) and node.function == "not":
        (node,) = node.arguments
    return isinstance(node, Call) and node.function == "in_list" and len(node.arguments) > 1 + IN_MAX and _is_list(node)


def listed(node: bound.Bound, *, first_id: int, or_none: bool) -> tuple[bound.Bound, bound.Query] | None:
    """What is looked up, and the relation that it is looked up in; None where a condition is about no such list.

    ``or_none``: rows are wanted that have no equal there. Of an array that may be NULL nobody can say.
    """
    if isinstance(node, bound.QuantifiedArray):
        if or_none or node.operator != "equal" or node.all or not _is_of_integers(node.operand, node.array):
            return None
        element = node.array.type.element
        if element is None or element != node.operand.type:
            return None
        value = bound.OutputColumn(id=first_id, name="v", type=element)
        source = bound.FunctionScan(
            reference=first_id + 1, function="unnest", arguments=(node.array,), columns=(value,)
        )
        output = bound.OutputColumn(id=first_id + 2, name="v", type=element)
        outputs = (bound.Output(column=output, expression=value.reference()),)
        return node.operand, bound.Select(source=source, where=None, grouping=None, having=None, outputs=outputs)
    if not isinstance(node, Call) or node.function != "in_list" or not _is_list(node):
        return None
    type = _type_of(node)
    operand, *items = (bound.cast_to(item, type) for item in node.arguments)
    column = bound.OutputColumn(id=first_id, name="v", type=type)
    return operand, bound.Values(rows=tuple((item,) for item in items), columns=(column,))


def _is_list(node: Call) -> bool:
    kinds = {item.type.kind for item in node.arguments}
    return len(kinds) == 1 and _is_of_integers(*node.arguments)


def _is_of_integers(operand: bound.Bound, *items: bound.Bound) -> bool:
    return operand.type.kind in INTEGERS and is_scalar(operand) and not any(map(columns_read, items))


def _type_of(node: Call) -> Type:
    """One that has all values exactly."""
    types = [item.type for item in node.arguments]
    return types[0] if len(set(types)) == 1 else numeric(38, max(type.scale or 0 for type in types))
