"""A group: the requests that share one log record, the rows that they touch, and the operations that they come to.

What may join is said in sequencer.py: two requests of a group touch one row only as delta with delta, or blind with
blind, and a request that changes the catalog stands alone. The operations of a record: those of each request in turn,
then the rows that were written one by one, a batch for each table, then what all deltas come to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from ..base.limits import RECORD_BYTES_MAX, RECORD_ROWS_MAX, RECORD_TRANSACTIONS_MAX
from ..storage.record import Action, Operation, TransactionEntry
from .apply import State, named_by_id
from .catalog import encode_relation
from .conflict import GroupRows, row_ids_of
from .conflict_index import ConflictIndex
from .delta import GroupDeltas
from .internal import CATALOG
from .request import Request, TableChanges
from .row_writes import in_columns
from .schema import Relation, Table
from .unique import UniqueKeys


class Group:
    """The requests of one record, and the rows that they touch."""

    def __init__(self, *, version: int) -> None:
        self.version = version
        self.requests: list[Request] = []
        self.transactions: list[TransactionEntry] = []
        self.operations: list[Operation] = []
        self.rows = GroupRows()
        self.unique = UniqueKeys()
        self._deltas = GroupDeltas()
        self._single: dict[int, tuple[Table, int]] = {}  # tables of ``rows.single``, and who was the last to write
        self._names: set[tuple[str, int]] = set()
        self._rows_count = 0
        self._bytes_count = 0
        self._closed = False

    def takes(self, request: Request) -> bool:
        """Whether the request may join; one that may not waits for the next group."""
        if not self.requests:
            return True
        if (
            self._closed
            or request.alone
            or len(self.requests) >= RECORD_TRANSACTIONS_MAX
            or self._rows_count + request.rows_count > RECORD_ROWS_MAX
            or self._bytes_count + request.bytes_count > RECORD_BYTES_MAX
            or not self._names.isdisjoint(request.names)
        ):
            return False
        for changes in request.changes:
            if not (self.rows.admits(changes, blind=request.snapshot is None) and self.unique.admits(changes)):
                return False
        return not request.reads or all(map(self.rows.spares, request.reads))

    def add(self, request: Request, *, drops: Sequence[Operation] = (), state: State) -> None:
        """Add the operations of a validated request; its deltas are resolved here, and may still refuse it."""
        ordinal = len(self.requests)
        deltas = [(changes.table, changes.deltas) for changes in request.changes if changes.deltas]
        if deltas:
            self._deltas.take(deltas, ordinal=ordinal, state=state)
        if request.catalog:
            self.operations.extend(_catalog_operations(request.catalog, ordinal=ordinal))
        self.operations.extend(drops)
        self._closed = request.alone
        for changes in request.changes:
            if changes.rows is not None:
                self._single[changes.table.id] = changes.table, ordinal
            else:
                self.operations.extend(_row_operations(changes, ordinal=ordinal))
            self.rows.add(changes)
        if request.unique:
            self.unique.add(request.unique)
        self.requests.append(request)
        if request.names:
            self._names |= request.names
        self.transactions.append(
            TransactionEntry(
                ordinal=ordinal,
                id=request.transaction_id,
                writer=None if request.token is None else request.token.writer,
                sequence=None if request.token is None else request.token.sequence,
                rows_count=request.rows_count - request.absent_count - request.late_count,
            )
        )
        self._rows_count += request.rows_count
        self._bytes_count += request.bytes_count

    def row_operations(self) -> Iterator[Operation]:
        """The rows that requests wrote one by one: each is written by one of them."""
        for table, ordinal in self._single.values():
            keys, rows = in_columns(table, self.rows.single[table.id].values())
            if keys is not None:
                yield _operation(table, Action.DELETE, keys, ordinal=ordinal)
            if rows is not None:
                yield _operation(table, Action.PUT, rows, ordinal=ordinal)

    def note(self, table: int, index: ConflictIndex) -> bool:
        """Note which rows of the table the group has changed; False: some came as batches."""
        if any(operation.table == table for operation in self.operations):
            return False
        index.note(table, settled=self.rows.single.get(table, {}), added=self._deltas.keys(table), version=self.version)
        return True

    def delta_operations(self) -> list[Operation]:
        """What the deltas of all requests come to: behind all else, since no other rows of the group meet theirs."""
        return [
            _operation(table, Action.PUT, rows, ordinal=ordinal, delta=True)
            for table, ordinal, rows in self._deltas.rows()
        ]


def _catalog_operations(changes: Mapping[str, Relation | None], *, ordinal: int) -> list[Operation]:
    dropped = [name for name, relation in changes.items() if relation is None]
    made = [relation for relation in changes.values() if relation is not None]
    operations: list[Operation] = []
    if dropped:
        keys = pa.RecordBatch.from_arrays([pa.array(dropped, pa.utf8())], schema=pa.schema([CATALOG.arrow_schema[0]]))
        operations.append(_operation(CATALOG, Action.DELETE, keys, ordinal=ordinal))
    if made:
        rows = pa.RecordBatch.from_pylist(
            [{"name": item.name, "id": item.id, "definition": encode_relation(item)} for item in made],
            schema=CATALOG.arrow_schema,
        )
        operations.append(_operation(CATALOG, Action.PUT, rows, ordinal=ordinal))
    return operations


def _row_operations(changes: TableChanges, *, ordinal: int) -> list[Operation]:
    table = changes.table
    operations: list[Operation] = []
    if changes.truncate:
        empty = pa.RecordBatch.from_pylist([], schema=pa.schema([]))
        operations.append(_operation(table, Action.TRUNCATE, empty, ordinal=ordinal))
    if changes.prepared is not None:
        install = Operation(
            ordinal=ordinal,
            table=table.id,
            schema_version=table.schema_version,
            action=Action.INSTALL,
            batch=changes.prepared.install.batch(),
        )
        operations.append(install)
    operations += [_operation(table, Action.DELETE, keys, ordinal=ordinal) for keys in changes.deletes]
    early = {id(item.batch): item for item in changes.early}
    distinct = changes.inserts or changes.strict  # as validated, or as a transaction's are
    operations += [
        replace(
            _operation(table, Action.PUT, rows, ordinal=ordinal),
            early=early.get(id(rows)),
            distinct=distinct and len(changes.puts) == 1,
        )
        for rows in changes.puts
    ]
    return operations


def _operation(table: Table, action: Action, batch: pa.RecordBatch, *, ordinal: int, delta: bool = False) -> Operation:
    return Operation(
        ordinal=ordinal,
        table=table.id,
        schema_version=table.schema_version,
        action=action,
        batch=named_by_id(batch, row_ids_of(table, batch)),
        delta=delta,
    )
