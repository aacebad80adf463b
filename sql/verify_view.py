"""VERIFY MATERIALIZED VIEW name: whether the groups that are kept are what the rows of the table say.

    group_key | problem | column_name | kept | recomputed      one row per column of a group that differs
    NOTICE: 2 of 21 groups of "v" differ …                     always: how many there are, and how many differ

What is compared are states, exactly (engine/aggregates/verify.py); what is listed are the view's columns, as a reader
sees them, and states by name where no column shows the difference. ``problem`` is ``value``, ``state``, ``missing``
(the rows have a group that is not kept) or ``extra``. How often each value is there is compared, too, of
views that keep values (``min``, ``count(DISTINCT x)``). A view that is computed when it is read has nothing to verify.

It reads at the version of its transaction or snapshot, and only what was committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ..base.errors import Invalid
from ..base.limits import VERIFY_LISTED_MAX
from ..base.result import Result
from ..base.rows import python_values
from ..base.types import BIGINT, TEXT, Type, arrow_field
from ..engine.aggregates.definition import Maintained
from ..engine.aggregates.verify import Difference, Verification, verify
from ..engine.expression.conversion import text_of
from ..engine.expression.evaluate import evaluate, without_row
from ..engine.expression.node import Column
from ..engine.schema import View

if TYPE_CHECKING:
    from ..engine.snapshot import Snapshot
    from .session import Session

TAG: Final = "VERIFY MATERIALIZED VIEW"
_SCHEMA: Final = pa.schema(
    [arrow_field(name, TEXT) for name in ("group_key", "problem", "column_name", "kept", "recomputed")]
)


def verify_view(session: Session, name: str) -> Result:
    """Raises Invalid: 42P01, 42809; 0A000 for a view that the transaction itself has made."""
    version = session.read_now(lambda reader: (_view(reader.catalog.relation(name)), reader.version)[1])
    with session.engine.snapshot(version, holder=session.holder) as snapshot:
        return _verified(session, name, snapshot)


def _verified(session: Session, name: str, snapshot: Snapshot) -> Result:
    if name not in snapshot.catalog.relations:
        raise Invalid(
            f'materialized view "{name}" was made by this transaction: it cannot be verified before the commit',
            hint="Commit first.",
            sqlstate="0A000",
        )
    view = _view(snapshot.catalog.relations[name])
    rows: list[tuple[str | None, ...]] = []
    if view.maintained is None:
        session.notice(f'materialized view "{name}" is computed when it is read: nothing is kept, nothing can differ')
    else:
        found = verify(view.maintained, snapshot, scratch=session.engine.scratch, listed_max=VERIFY_LISTED_MAX)
        rows = [row for difference in found.listed for row in _described(view, view.maintained, difference)]
        session.notice(_summary(name, found))
        for values in view.maintained.value_views:
            found = verify(values, snapshot, scratch=session.engine.scratch, listed_max=VERIFY_LISTED_MAX)
            rows += [row for difference in found.listed for row in _counts(view, values, difference)]
            session.notice(_summary(name, found, "counts of different values"))
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(_SCHEMA))]
    batch = pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)
    types = [TEXT] * len(_SCHEMA)
    return Result(schema=_SCHEMA, batches=(batch,), version=snapshot.version, tag=TAG, types=types)


def _view(relation: Any) -> View:
    if not isinstance(relation, View) or not relation.materialized:
        raise Invalid(f'"{relation.name}" is not a materialized view', sqlstate="42809")
    return relation


def _summary(name: str, found: Verification, what: str = "groups") -> str:
    text = f'{found.differing:,} of {found.groups:,} {what} of "{name}" differ from its {found.rows:,} rows'
    if not found.differing:
        return text
    listed = "" if len(found.listed) == found.differing else f", the first {len(found.listed)} are listed"
    return f"{text}{listed}: WHICH IS A BUG: please report it; CREATE OR REPLACE MATERIALIZED VIEW builds it anew"


def _described(view: View, kept: Maintained, difference: Difference) -> Iterator[tuple[str | None, ...]]:
    there = difference.kept if difference.kept is not None else difference.recomputed
    assert there is not None, "one side has the group"
    group = _key_text(view, kept, there)
    if difference.kept is None or difference.recomputed is None:
        problem = "missing" if difference.kept is None else "extra"
        for (name, _), output in zip(view.columns, kept.outputs, strict=True):
            if not _is_key(kept, output):
                texts = (_output(output, side) for side in (difference.kept, difference.recomputed))
                yield (group, problem, name, *texts)
        return
    shown = list(_values(view, kept, difference.kept, difference.recomputed))
    if shown:
        yield from ((group, "value", *row) for row in shown)
    else:
        yield from ((group, "state", *row) for row in _states(kept, difference.kept, difference.recomputed))


def _counts(view: View, kept: Maintained, difference: Difference) -> Iterator[tuple[str | None, ...]]:
    """How often a value is in its group."""
    one, other = difference.kept, difference.recomputed
    there = one if one is not None else other
    assert there is not None, "one side has the value"
    problem = "missing" if one is None else "extra" if other is None else "state"
    texts = (None if side is None else _text(side.columns[-1], BIGINT) for side in (one, other))
    yield (_key_text(view, kept, there), problem, "count of the value", *texts)


def _values(
    view: View, kept: Maintained, one: pa.RecordBatch, other: pa.RecordBatch
) -> Iterator[tuple[str | None, ...]]:
    """The columns of the view that differ."""
    for (name, _), output in zip(view.columns, kept.outputs, strict=True):
        texts = _output(output, one), _output(output, other)
        if texts[0] != texts[1]:
            yield name, *texts


def _states(kept: Maintained, one: pa.RecordBatch, other: pa.RecordBatch) -> Iterator[tuple[str | None, ...]]:
    """What differs of the states, by what is kept."""
    for number, (state, places) in enumerate(zip(kept.states, kept.places, strict=True), 1):
        for place in places:
            type = kept.table.by_id[place].type
            texts = _text(one.column(place - 1), type), _text(other.column(place - 1), type)
            if texts[0] != texts[1]:
                yield f"state {number} ({state.sort.value}), part {place - places.start + 1}", *texts


def _key_text(view: View, kept: Maintained, row: pa.RecordBatch) -> str:
    """``k = 3, day = 2026-01-05``: the group as a person says it."""
    assert view.maintained is not None, "the view is kept"
    names = {
        output.id: name
        for (name, _), output in zip(view.columns, view.maintained.outputs, strict=True)
        if isinstance(output, Column) and _is_key(view.maintained, output)
    }
    keys = kept.table.columns[: len(kept.keys)]
    texts = ((column, _text(row.column(place), column.type)) for place, column in enumerate(keys))
    return ", ".join(f"{names.get(column.id, f'key {column.id}')} = {text or 'NULL'}" for column, text in texts)


def _is_key(kept: Maintained, output: Any) -> bool:
    return isinstance(output, Column) and output.id <= len(kept.keys)


def _output(output: Any, row: pa.RecordBatch | None) -> str | None:
    """What a reader of the view sees, or what it is told."""
    if row is None:
        return None
    try:
        return _text(evaluate(output, row, column_ids=_ids(row)), output.type)
    except Invalid as error:
        return f"error: {without_row(error)}"


def _ids(row: pa.RecordBatch) -> Sequence[int]:
    return [int(name) for name in row.schema.names]


def _text(column: pa.Array, type: Type) -> str | None:
    value = python_values(column, type)[0]
    return None if value is None else text_of(value, type)
