"""Named snapshots: versions that stay readable until somebody drops them, whatever history and retention do.

    CREATE SNAPSHOT ──► a row of weft_named_snapshots, through the log ──► State.named_versions ──► Horizon.pins

They are rows of an internal table: so they survive restarts, come along in backups, and are there on every replica. A
version is held by an ordinary pin until the row is in the log, and by the row from then on.

What a snapshot *keeps* are the row versions that it sees and that nothing else would keep: they ended before history
goes back to. One snapshot costs nothing on the day it is made, and as much as was changed since later on. All of them
together may keep ``named_snapshots_bytes`` (options.py): no more can be made beyond that, and where those that are
there grow beyond it, the one that frees the most is given up. Its row stays, and says why: whoever asks for it is told
so, until it is dropped.

Bytes are those of segments, by the row: a row is as large as the average one of its segment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ..base.errors import Corrupt, Invalid, LimitExceeded, NotFound, nearest
from ..base.limits import NAME_BYTES_MAX, NAMED_SNAPSHOTS_MAX
from .apply import State
from .changes import Commit
from .clock import AsOf, wall_clock
from .internal import NAMED, NamedSnapshot, encode_rows
from .inventory import bytes_of
from .overlay import OPEN
from .request import Request, TableChanges
from .segment import Segment
from .snapshot import Pins, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a snapshot keeps, and of that what nobody else does: dropping it would free so much."""

    rows: int = 0
    bytes: int = 0
    own_rows: int = 0
    own_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """A named snapshot, or (``name`` None) a version that readers hold, with who holds it and what it keeps.

    ``since``: wall clock when it was made, or first held. ``kept`` is None where it was given up; ``lost`` says why.
    """

    name: str | None
    version: int
    since: int
    readers: int
    writers: int
    kept: Kept | None
    lost: str | None


class NamedSnapshots:
    """The named snapshots of an engine. Thread-safe."""

    def __init__(
        self,
        *,
        state: State,
        pins: Pins,
        open_snapshot: Callable[[AsOf | None], Snapshot],
        commit: Callable[[Request], Commit],
        bytes_max: int,
    ) -> None:
        self._state = state
        self._pins = pins
        self._open_snapshot = open_snapshot
        self._commit = commit
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self.kept_bytes = 0
        """What all of them kept when it was last counted, a row once."""

    def list(self) -> list[NamedSnapshot]:
        """All of them, by name."""
        return [snapshot for _, snapshot in sorted(self._state.named.items())]

    def version_of(self, name: str) -> int:
        """The version that the name stands for. Raises NotFound (42704), also where it was given up."""
        found = self._state.named.get(name)
        if found is None:
            raise NotFound(
                f'snapshot "{name}" does not exist',
                hint=nearest(name, self._state.named) or "Make it with CREATE SNAPSHOT name; weft_snapshots lists all.",
                sqlstate="42704",
            )
        if found.lost is not None:
            raise NotFound(f'snapshot "{name}" was given up: {found.lost}', hint="DROP SNAPSHOT it.", sqlstate="42704")
        return found.version

    def create(self, name: str, as_of: AsOf | None = None) -> NamedSnapshot:
        """Name the newest version, or another that can be read.

        Raises Invalid (42710) where the name is taken, LimitExceeded for too many, or where they keep too many bytes.
        """
        if not name or len(name.encode()) > NAME_BYTES_MAX:
            raise Invalid(f"the name of a snapshot has 1 to {NAME_BYTES_MAX} bytes", sqlstate="42602")
        with self._lock, self._open_snapshot(as_of) as held:
            if name in self._state.named:
                raise Invalid(
                    f'snapshot "{name}" already exists', hint="DROP SNAPSHOT it, or use another name.", sqlstate="42710"
                )
            self._check_room()
            made = NamedSnapshot(name=name, version=held.version, created=wall_clock())
            self._put(made)
        return made

    def drop(self, name: str) -> None:
        """Let the version go. Raises NotFound (42704). Who reads at it goes on."""
        with self._lock:
            if name not in self._state.named:
                self.version_of(name)
            key = pa.RecordBatch.from_pylist([{"name": name}], schema=pa.schema([NAMED.arrow_schema[0]]))
            self._commit(Request(changes=(TableChanges(table=NAMED, deletes=(key,)),)))

    def enforce(self) -> bool:
        """Give snapshots up until the others keep no more than they may. Returns whether there were any."""
        with self._lock:
            kept = self._count()
            before = self.kept_bytes
            if before <= self._bytes_max:
                return False
            living = [item for item in self._state.named.values() if item.lost is None]
            worst = max(living, key=lambda item: (kept[item.version].own_bytes, -item.version))
            reason = (
                f"named snapshots kept {before:,} bytes, at most {self._bytes_max:,} are allowed "
                "(named_snapshots_bytes), and this one freed the most"
            )
            for item in living:
                if item.version == worst.version:
                    self._put(replace(item, lost=reason))
        self.enforce()
        return True

    def kept(self) -> dict[int, Kept]:
        """What each named version keeps now. Looks at every row that has ended and is kept."""
        with self._lock:
            return self._count()

    def facts(self) -> list[SnapshotFacts]:
        """All of them by name, then the versions that readers hold and nobody has named. As slow as ``kept``."""
        pins = {pin.version: pin for pin in self._pins.facts()}
        named = self.list()
        versions = {item.version for item in named if item.lost is None}
        kept, _ = self._count_of(versions | pins.keys())
        facts: list[SnapshotFacts] = []
        for item in named:
            pin = pins.get(item.version)
            facts.append(
                SnapshotFacts(
                    name=item.name,
                    version=item.version,
                    since=item.created,
                    readers=0 if pin is None else pin.readers,
                    writers=0 if pin is None else pin.writers,
                    kept=kept[item.version] if item.lost is None else None,
                    lost=item.lost,
                )
            )
        for version, pin in pins.items():
            if version not in versions:
                facts.append(
                    SnapshotFacts(
                        name=None,
                        version=version,
                        since=pin.since,
                        readers=pin.readers,
                        writers=pin.writers,
                        kept=kept[version],
                        lost=None,
                    )
                )
        return facts

    def _check_room(self) -> None:
        if len(self._state.named) >= NAMED_SNAPSHOTS_MAX:
            raise LimitExceeded(
                f"there are {NAMED_SNAPSHOTS_MAX:,} named snapshots",
                hint="DROP SNAPSHOT those that nobody needs.",
                sqlstate="53400",
            )
        if self._state.named_versions:
            self._count()
            if self.kept_bytes >= self._bytes_max:
                raise LimitExceeded(
                    f"named snapshots keep {self.kept_bytes:,} bytes of old rows, at most {self._bytes_max:,} are "
                    "allowed",
                    hint="DROP SNAPSHOT the costliest (weft_snapshots), or open the database with more "
                    "named_snapshots_bytes.",
                    sqlstate="53400",
                )

    def _put(self, snapshot: NamedSnapshot) -> None:
        self._commit(Request(changes=(TableChanges(table=NAMED, puts=(encode_rows(NAMED, [snapshot]),)),)))

    def _count(self) -> dict[int, Kept]:
        kept, self.kept_bytes = self._count_of(self._state.named_versions)
        return kept

    def _count_of(self, pinned: Collection[int]) -> tuple[dict[int, Kept], int]:
        """What each of the versions keeps, as if nobody held others; and the bytes of all of them, a row once."""
        versions = np.array(sorted(pinned), np.int64)
        counts = np.zeros((4, len(versions) + 1), np.int64)  # rows, bytes, own rows, own bytes
        total = 0
        for segment, begins, ends in _ended(self._state, self._pins.floor) if len(versions) else ():
            size = bytes_of(segment) / segment.rows_count
            first, last = np.searchsorted(versions, begins), np.searchsorted(versions, ends)
            held = first < last
            first, last = first[held], last[held]
            rows = np.cumsum(
                np.bincount(first, minlength=len(versions) + 1) - np.bincount(last, minlength=len(versions) + 1)
            )
            own_rows = np.bincount(first[last - first == 1], minlength=len(versions) + 1)
            for place, found in ((0, rows), (2, own_rows)):
                counts[place] += found
                counts[place + 1] += np.round(found * size).astype(np.int64)
            total += round(len(first) * size)
        kept = {
            version: Kept(rows=rows, bytes=size, own_rows=own_rows, own_bytes=own_size)
            for version, rows, size, own_rows, own_size in zip(
                versions.tolist(), *(row[:-1].tolist() for row in counts), strict=True
            )
        }
        return kept, total


def _ended(state: State, limit: int) -> Iterator[tuple[Segment, np.ndarray, np.ndarray]]:
    """Per segment the begin and end versions of rows that ended at or before ``limit``; those of a dropped table all.

    Rows in memtables began after the last checkpoint, and so after ``limit``.
    """
    dropped = {item.id: item.version for item in list(state.dropped)}
    for id, store in list(state.stores.items()):
        gone = dropped.get(id, OPEN)
        for segment in store.segments:
            if segment.version_low > limit or not (segment.overlay.ended_count or gone <= limit):
                continue
            if gone <= limit or segment.overlay.rest_end <= limit:
                rows = np.arange(segment.rows_count, dtype=np.int64)
                ends = np.minimum(segment.overlay.ends_of(rows), gone)
            else:
                rows, ends = segment.overlay.items(limit)
            try:
                begins = segment.begins_of(rows)
            except Corrupt:
                continue  # said by who reads it
            yield segment, begins, ends
