"""The definitions of tables that a client knows, so that it need not ask for one whenever a table is named.

They are those of one version of the catalog, at least: what is known is forgotten as soon as an answer to a statement
tells of a newer one, whoever changed it. Until then they may be old, and nobody may rely on them: rows that were made
by one are written with its name, and refused where the table has another by now.

A transaction that changes definitions sees its own ones, so it keeps none and forgets those of all when it commits. A
snapshot has a collection of its own, which never becomes old.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pyarrow as pa

from ..base.limits import DEFINITIONS_KEPT_MAX
from ..proto.frames import read_schema
from ..proto.weftdb.v1.kv_pb2 import TableDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A table as it was described. ``name`` is the definition's, not the table's."""

    name: str
    schema: pa.Schema
    primary_key: tuple[str, ...]
    key_schema: pa.Schema


def definition_of(description: TableDescription) -> Definition:
    schema = read_schema(description.schema, trusted=True)
    primary_key = tuple(description.primary_key)
    return Definition(
        name=description.definition,
        schema=schema,
        primary_key=primary_key,
        key_schema=pa.schema([schema.field(name) for name in primary_key]),
    )


class Definitions:
    """Those of one database, as all see them. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._known: dict[str, Definition] = {}
        self._version = 0

    def get(self, table: str) -> Definition | None:
        return self._known.get(table)

    def keep(self, table: str, definition: Definition, *, version: int) -> None:
        """Remember what was described from the catalog of ``version``, unless it is old already."""
        self.note(version)
        with self._mutex:
            if version == self._version:
                if len(self._known) >= DEFINITIONS_KEPT_MAX:
                    self._known.clear()
                self._known[table] = definition

    def note(self, version: int) -> None:
        """An answer told of this version of the catalog. What is known from an older one is forgotten."""
        if version > self._version:
            with self._mutex:
                if version > self._version:
                    self._known.clear()
                    self._version = version

    def forget(self) -> None:
        with self._mutex:
            self._known.clear()
