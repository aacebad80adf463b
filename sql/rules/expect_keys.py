"""Find out which scans may expect keys of which: rows without a partner in a join need not be handed over.

``conditions`` says which equalities must hold for a row to matter; those of two columns of integers are links between
their scans. engine/join_keys.py is what comes of it when the query runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ...engine.expression.node import Call, Cast, Column
from .. import bound
from ..conditions import conditions_of
from ..walk import walk

_Side = tuple[int, int]
"""The number of a table reference and a column's identifier in the table."""


def rewrite(query: bound.BoundQuery) -> bound.BoundQuery:
    if len(query.uses) < 2:
        return query
    sides: dict[int, _Side] = {}
    for scan in walk(query.query):
        if isinstance(scan, bound.Scan):
            columns = zip(scan.columns, scan.sources, strict=True)
            sides |= {column.id: (scan.reference, source) for column, source in columns if source > 0}
    conditions = conditions_of(query.query)
    uses = tuple(
        dataclasses.replace(use, partners=_partners(use.reference, conditions.get(use.reference, ()), sides))
        for use in query.uses
    )
    return dataclasses.replace(query, uses=uses) if any(use.partners for use in uses) else query


def effects(before: bound.BoundQuery, after: bound.BoundQuery) -> tuple[str, ...]:
    del before
    uses = {use.reference: use for use in after.uses}
    return tuple(
        f"{use.alias}.{_name(use, partner.column)} is among {other.alias}.{_name(other, partner.other)}"
        for use in after.uses
        for partner in use.partners
        for other in (uses[partner.reference],)
    )


def _partners(
    reference: int, conditions: Sequence[bound.Bound], sides: Mapping[int, _Side]
) -> tuple[bound.Partner, ...]:
    """What the columns of a reference equal: all of ``a = b AND b = c`` are one."""
    classes: list[dict[_Side, None]] = []
    for condition in conditions:
        if isinstance(condition, Call) and condition.function == "equal":
            pair = [side for argument in condition.arguments if (side := sides.get(_column(argument))) is not None]
            if len(pair) == 2:
                met = [known for known in classes if not known.keys().isdisjoint(pair)]
                classes = [known for known in classes if known not in met]
                classes.append({side: None for known in (*met, pair) for side in known})
    found = {
        bound.Partner(column=here[1], reference=there[0], other=there[1]): None
        for known in classes
        for here in known
        for there in known
        if here[0] == reference != there[0]
    }
    return tuple(found)


def _column(node: bound.Bound) -> int:
    """The identifier of a column of integers, also under a cast to another integer type, which keeps its value."""
    if isinstance(node, Cast) and node.type.is_integer:
        node = node.argument
    return node.id if isinstance(node, Column) and node.type.is_integer else 0


def _name(use: bound.TableUse, id: int) -> str:
    return use.table.by_id[id].name
