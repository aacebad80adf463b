"""The whole state of ``apply`` as bytes, and back: what a checkpoint holds beside the segments.

    capture(state, position)     under the commit lock, cheap: copies what commits change
    Captured.encode()            later, beside commits: the bytes for the manifest
    restore(bytes, ...)          the state as it was, with the segments that the manifest names

    header   JSON: version, log position, counters, catalogs, tables, dropped tables, named snapshots (from format 2),
             positions of feeds (from format 3)
    tables   Arrow streams: the map from wall clock to version, outcomes of transactions and of writers' batches

Rows are not in here: they are in segments, all of them, up to the version. The log goes on from the position.
"""

from __future__ import annotations

import io
import json
import struct
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Corrupt, Unavailable
from ..base.limits import WRITER_BATCHES_IN_FLIGHT
from .apply import Dropped, State
from .catalog import EMPTY, Catalog, decode_relation, encode_relation
from .cells import TableStore
from .changes import Commit
from .internal import INTERNAL, FeedPosition, NamedSnapshot
from .layout import Layout
from .overlay import Overlay
from .schema import Table
from .segment import Description, Segment
from .segment_files import SegmentFiles

FORMAT: Final = 3
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A copy of the state at ``version``, which the log holds at ``position``."""

    version: int
    position: int
    header: dict[str, Any]
    catalogs: list[Catalog]
    tables: list[tuple[Table, dict[str, Any]]]
    walls: np.ndarray
    versions: np.ndarray
    transactions: list[tuple[str, Commit]]
    writers: list[tuple[str, list[tuple[int, Commit]]]]

    def encode(self, *, work: Mapping[str, int] | None = None) -> bytes:
        """The bytes that ``restore`` reads. ``work``: what maintenance has counted, which is no part of the state."""
        tables = {table.id: {"definition": encode_relation(table), **fields} for table, fields in self.tables}
        header = {**self.header, "catalogs": _encode_catalogs(self.catalogs), "tables": tables, "work": work or {}}
        batches = [(name, sequence, commit) for name, batches in self.writers for sequence, commit in batches]
        streams = (
            pa.table({"wall": self.walls, "version": self.versions}),
            pa.table(
                {
                    "id": pa.array([id for id, _ in self.transactions], pa.string()),
                    "version": pa.array([commit.version for _, commit in self.transactions], pa.int64()),
                    "rows": pa.array([commit.rows for _, commit in self.transactions], pa.int64()),
                }
            ),
            pa.table(
                {
                    "writer": pa.array([name for name, _, _ in batches], pa.string()),
                    "sequence": pa.array([sequence for _, sequence, _ in batches], pa.int64()),
                    "version": pa.array([commit.version for _, _, commit in batches], pa.int64()),
                    "rows": pa.array([commit.rows for _, _, commit in batches], pa.int64()),
                }
            ),
        )
        pieces = [json.dumps(header, separators=(",", ":")).encode(), *map(_table_bytes, streams)]
        return b"".join(_LENGTH.pack(len(piece)) + piece for piece in pieces)


def capture(state: State, *, position: int, floor: int) -> Captured:
    """Copy what commits change. The caller keeps them out; call ``encode`` when they are let in again.

    ``floor`` is the version that history goes back to.
    """
    walls, versions = state.clock.arrays()
    header = {
        "format": FORMAT,
        "version": state.version,
        "position": position,
        "next_id": state.next_id,
        "floor": floor,
        "dropped": [[item.id, item.version, item.wall] for item in state.dropped],
        "named": [astuple(item) for item in state.named.values()],
        "positions": [asdict(item) for item in state.positions.values()],
    }
    return Captured(
        version=state.version,
        position=position,
        header=header,
        catalogs=list(state.catalogs),
        tables=[
            (store.table, {"changed_at": state.changed_at.get(id, 0), **store.counters()})
            for id, store in state.stores.items()
        ],
        walls=walls,
        versions=versions,
        transactions=list(state.transaction_ids.items()),
        writers=[(name, list(batches)) for name, batches in state.writers.items()],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A state that was captured, its position in the log, the version that history went back to, counters.

    ``format`` is that of its bytes.
    """

    format: int
    state: State
    position: int
    floor: int
    work: dict[str, int]


def restore(data: bytes, descriptions: Iterable[Description], files: SegmentFiles) -> Restored:
    """The state that was captured. Raises Corrupt, or Unavailable for a newer format."""
    try:
        pieces = list(_pieces(data))
        header = json.loads(pieces[0])
        if header["format"] > FORMAT:
            raise Unavailable(
                f"the checkpoint has format {header['format']}, and this program reads formats up to {FORMAT}",
                hint="Upgrade WeftDB: a newer version wrote this database.",
            )
        clock, transactions, writers = (pa.ipc.open_stream(piece).read_all() for piece in pieces[1:])
        state = State()
        state.version = header["version"]
        state.next_id = header["next_id"]
        state.dropped = deque(Dropped(id=id, version=at, wall=wall) for id, at, wall in header["dropped"])
        state.set_named(
            NamedSnapshot(name=name, version=version, created=created, lost=lost)
            for name, version, created, lost in header.get("named", ())
        )
        positions = (FeedPosition(**fields) for fields in header.get("positions", ()))
        state.positions = {item.name: item for item in positions}
        state.catalogs = _decode_catalogs(header["catalogs"])
        state.clock.fill(walls=clock["wall"].to_numpy(), versions=clock["version"].to_numpy())
        state.transaction_ids = OrderedDict(
            (id, Commit(version=version, rows=rows)) for id, version, rows in _rows(transactions)
        )
        for name, sequence, version, rows in _rows(writers):
            batches = state.writers.setdefault(name, deque(maxlen=2 * WRITER_BATCHES_IN_FLIGHT))
            batches.append((sequence, Commit(version=version, rows=rows)))
        _restore_tables(state, header["tables"])
        _restore_segments(state, descriptions, files)
    except (ValueError, TypeError, KeyError, IndexError, struct.error, pa.ArrowException) as error:
        raise Corrupt(
            f"the checkpoint cannot be read: {type(error).__name__}: {error}",
            hint="Restore the database from a backup.",
        ) from error
    work = {name: int(value) for name, value in header.get("work", {}).items()}
    return Restored(format=header["format"], state=state, position=header["position"], floor=header["floor"], work=work)


def _restore_tables(state: State, tables: dict[str, Any]) -> None:
    internal = {table.id: table for table in INTERNAL}
    for text, fields in tables.items():
        id = int(text)
        table = internal.get(id) or state.catalog.stored.get(id) or decode_relation(fields["definition"])
        assert isinstance(table, Table), table
        store = state.stores[id] = TableStore(table)
        store.set_counters(fields)
        if fields["changed_at"]:
            state.changed_at[id] = fields["changed_at"]


def _restore_segments(state: State, descriptions: Iterable[Description], files: SegmentFiles) -> None:
    layouts: dict[int, Layout] = {}
    for description in sorted(descriptions, key=lambda item: item.age):
        store = state.stores[description.table]
        layout = layouts.setdefault(description.table, Layout(store.table))
        damage: str | None = None
        try:
            overlay = files.read_overlay(description.overlay, description.rows_count)
        except Corrupt as error:
            overlay, damage = Overlay(description.rows_count), error.message
        segment = Segment(description, number=0, layout=layout, open=files.open, overlay=overlay)
        if damage is not None:
            segment.give_up(damage)
        segment.overlay_saved = overlay.last_end
        store.add_segment(segment)
        files.use(segment.files)


def _encode_catalogs(catalogs: list[Catalog]) -> list[Any]:
    """Each as its version and what changed since the one before."""
    encoded: list[Any] = []
    before = EMPTY
    for catalog in catalogs:
        changes: dict[str, str | None] = {name: None for name in before.relations if name not in catalog.relations}
        for name, relation in catalog.relations.items():
            if before.relations.get(name) is not relation:
                changes[name] = encode_relation(relation)
        encoded.append([catalog.version, changes])
        before = catalog
    return encoded


def _decode_catalogs(encoded: list[Any]) -> list[Catalog]:
    catalogs: list[Catalog] = []
    before = EMPTY
    for version, changes in encoded:
        relations = {name: None if text is None else decode_relation(text) for name, text in changes.items()}
        before = before.changed(relations, version=version)
        catalogs.append(before)
    return catalogs


def _table_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _pieces(data: bytes) -> Iterable[bytes]:
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        yield data[at : at + length]
        at += length


def _rows(table: pa.Table) -> Iterable[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
