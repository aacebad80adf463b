"""Whether a request may commit at its place in the order: what the sequencer asks before it joins a group.

    definitions      nobody has changed them since the snapshot
    rows             nobody has changed those that it writes, or has read under SERIALIZABLE (conflict.py, read_set.py)
    inserts          of blind requests are absent; keys of unique indexes are free (unique.py)
    retention        rows that come too late are refused, or left out and counted (retention.py)

The state is that to which the request will be applied, but for its group mates, who touch other rows.
"""

from __future__ import annotations

from ..base.errors import Conflict, Invalid
from ..base.limits import DROP_ROWS_MAX
from ..storage.record import Action, Operation
from .apply import State
from .cells import TableStore
from .clock import wall_clock
from .conflict import check_absent, check_unchanged, duplicate_key, there
from .conflict_index import ConflictIndex
from .internal import FIRST_ID
from .prepared import Prepared
from .read_set import check
from .request import Request, TableChanges
from .retention import begin_of, boundary_batch, only_on_time, too_late
from .schema import Table
from .unique import check_committed


def changes_something(request: Request) -> bool:
    """Whether there is anything left to log, if only that the request was made."""
    if request.catalog or request.names:
        return True
    for item in request.changes:
        if item.rows or item.puts or item.deletes or item.deltas or item.truncate or item.prepared:
            return True
    return False


def validate(request: Request, *, state: State, index: ConflictIndex) -> None:
    """Raise what refuses the request at this place in the order."""
    if request.catalog and request.snapshot is not None and state.catalog.version > request.snapshot:
        raise Conflict(
            "another transaction changed the catalog since this one began",
            hint="Retry the transaction.",
            kind="definition",
        )
    for id in request.unchanged:
        if request.snapshot is not None and state.changed_at.get(id, 0) > request.snapshot:
            table = state.catalog.by_id.get(id)
            raise Conflict(
                "rows were written while the table's definition was checked against them",
                hint="Retry.",
                table=None if table is None else table.name,
            )
    if request.refused is not None:
        raise request.refused
    if request.reads:
        check(request.reads, state, since=request.settled_at)
    judged: list[TableChanges] = []
    for changes in request.changes:
        if changes.plain and changes.table.keep is None and state.catalog.by_id.get(changes.table.id) is changes.table:
            _validate_plain(changes, state.stores[changes.table.id], request=request, state=state, index=index)
            judged.append(changes)
            continue
        _check_schema(changes.table, request=request, state=state)
        changes = changes.in_columns()
        store = state.stores.get(changes.table.id) or TableStore(changes.table)  # new: created by this request
        if changes.prepared is not None:
            store.check_slices(changes.prepared.slices)
            changes.prepared.last_look(store)
            _refuse_late(changes.prepared, store, request=request)
            changes.prepared.ends.early = changes.prepared.early
            state.ends[changes.table.id] = changes.prepared.ends
            request.absent_count += changes.prepared.absent_count
        if request.snapshot is not None and state.changed_at.get(changes.table.id, 0) > request.snapshot:
            check_unchanged(store, changes, snapshot=request.snapshot, index=index)
        changes = _without_late(changes, store, request=request)
        if request.snapshot is None and changes.inserts:
            check_absent(store, changes)
        elif request.snapshot is None:
            request.absent_count += sum(int((~store.newest(keys).alive).sum()) for keys in changes.deletes)
        for batch in changes.puts:
            store.check_bounds(batch)
        if changes.table.unique and (changes.puts or changes.deletes):
            touched = check_committed(store, state.stores, changes, snapshot=request.snapshot)
            request.unique = {**request.unique, **touched}
        judged.append(changes)
    request.changes = tuple(judged)


def _validate_plain(
    changes: TableChanges, store: TableStore, *, request: Request, state: State, index: ConflictIndex
) -> None:
    """The same for plain changes of a table that is still defined as it was, and keeps all slices."""
    if request.snapshot is not None and state.changed_at.get(changes.table.id, 0) > request.snapshot:
        check_unchanged(store, changes, snapshot=request.snapshot, index=index)
    if changes.rows is None:
        return
    for change in changes.rows.changes.values() if request.snapshot is None else ():
        if changes.inserts and store.get(change.key, version=state.version) is not None:
            raise duplicate_key(changes.table, change.key, row=0)
        request.absent_count += change.row is None and store.get(change.key, version=state.version) is None
    if store.layout.sliced:
        store.check_slices(changes.rows.slices)


def _without_late(changes: TableChanges, store: TableStore, *, request: Request) -> TableChanges:
    """The changes without rows that come too late, which the request counts. Raises Invalid where they are refused.

    Conflicts come first: a transaction whose rows were dropped meanwhile can try again, and will not see them.
    """
    store = _as_defined(store, request)
    boundary = store.boundary(wall=wall_clock())
    if boundary is None or not (changes.puts or changes.deltas):
        return changes
    changes, late = only_on_time(changes, store.layout, boundary, there=there(store, changes))
    request.late_count += late
    return changes


def _refuse_late(prepared: Prepared, store: TableStore, *, request: Request) -> None:
    """Raise Invalid for prepared rows of a slice that is not kept: they are too many to be looked at one by one.

    A transaction's rows may be new versions of those that are there, which is not late. What is to be ignored is
    installed, and dropped with the next slices.
    """
    store = _as_defined(store, request)
    boundary = store.boundary(wall=wall_clock())
    if boundary is None or store.table.late != "refuse":
        return
    late = {slice for slice in prepared.slices if slice < boundary}
    if late and request.snapshot is not None:
        late -= store.slices_below(boundary)
    if late:
        raise too_late(store.table, begin_of(store.table, min(late)), boundary, which="a slice of rows")


def _as_defined(store: TableStore, request: Request) -> TableStore:
    """The store under the definition that the request itself gives its table, if it does."""
    definition = request.catalog.get(store.table.name)
    if isinstance(definition, Table) and definition.id == store.table.id and definition is not store.table:
        return store.with_definition(definition)
    return store


def drops_of(request: Request, *, state: State) -> list[Operation]:
    """The operations that drop what the request's tables do not keep any more: some slices at a time where indexes and
    views follow their rows, so that nobody waits for long.
    """
    operations: list[Operation] = []
    for id in request.retains:
        table, store = state.catalog.by_id.get(id), state.stores.get(id)
        if not isinstance(table, Table) or store is None:  # dropped meanwhile
            continue
        boundary = store.boundary(wall=wall_clock())
        follows = table.indexes or state.catalog.maintained.get(id)  # then rows go one by one
        if boundary is not None and follows:
            boundary = store.next_drop(boundary, rows_max=DROP_ROWS_MAX)
        if boundary is not None and store.slices_below(boundary):
            operations.append(
                Operation(
                    ordinal=0,
                    table=id,
                    schema_version=table.schema_version,
                    action=Action.DROP_SLICES,
                    batch=boundary_batch(boundary),
                )
            )
    return operations


def _check_schema(table: Table, *, request: Request, state: State) -> None:
    if table.id < FIRST_ID or table.derived_from is not None or request.catalog.get(table.name) is not None:
        return
    current = state.catalog.by_id.get(table.id)
    if current is None:
        raise Invalid(f'table "{table.name}" was dropped meanwhile', sqlstate="42P01")
    assert isinstance(current, Table), current
    if current.schema_version != table.schema_version:
        raise Conflict(
            f'the columns of table "{table.name}" were changed meanwhile',
            hint="Retry.",
            kind="definition",
            table=table.name,
        )
