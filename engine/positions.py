"""Named positions of change feeds: what a reader has not acknowledged yet stays, whatever history and retention do.

    changes(table, name=…) ──► a row of weft_feed_positions, through the log ──► State.positions ──► Horizon.feeds

They are rows of an internal table, as named snapshots are (named.py): they survive restarts, come along in backups, and
are there on every replica. The first feed of a name makes the position; ``move`` is the reader's word that it has done
with everything up to a version; DROP FEED forgets it.

A position keeps the row versions of its table that ended after it, and nothing of other tables; if its table did not
change since, nothing at all. All of them together may keep ``feed_positions_bytes`` (options.py) beyond history: where
it is more, the one that keeps the most is given up. Its row stays and says why, until it is dropped.

Bytes are those of segments, by the row: a row is as large as the average one of its segment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa

from ..base.errors import Invalid, LimitExceeded, NotFound, nearest
from ..base.limits import FEED_POSITIONS_MAX, NAME_BYTES_MAX
from .apply import State
from .changes import Commit
from .clock import wall_clock
from .internal import POSITIONS, FeedPosition, encode_rows
from .inventory import bytes_of
from .request import Request, TableChanges
from .schema import Table, View
from .snapshot import Pins, Snapshot

TOO_OLD = "72000"


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionFacts:
    """A named position, its table's name (None: it was dropped), when that changed, what it keeps beyond history."""

    position: FeedPosition
    table: str | None
    changed_at: int
    kept_rows: int
    kept_bytes: int


class Positions:
    """The named positions of an engine. Thread-safe."""

    def __init__(self, *, state: State, pins: Pins, commit: Callable[[Request], Commit], bytes_max: int) -> None:
        self._state = state
        self._pins = pins
        self._commit = commit
        self._bytes_max = bytes_max
        self._lock = threading.Lock()

    def list(self) -> list[FeedPosition]:
        """All of them, by name."""
        return [position for _, position in sorted(self._state.positions.items())]

    def get(self, name: str) -> FeedPosition:
        """The position of this name. Raises NotFound (42704), and Invalid (72000) where it was given up."""
        found = self._state.positions.get(name)
        if found is None:
            raise NotFound(
                f'feed "{name}" does not exist',
                hint=nearest(name, self._state.positions) or "changes(table, name=…) makes it; weft_feeds lists all.",
                sqlstate="42704",
            )
        if found.lost is not None:
            raise Invalid(
                f'feed "{name}" was given up at version {found.version}: {found.lost}',
                hint="DROP FEED it, and begin anew from a snapshot.",
                sqlstate=TOO_OLD,
            )
        return found

    def open(self, name: str, table: Table, *, version: int | None) -> int:
        """Make the position at ``version`` (the newest unless told) where there is none, and say where it is.

        Raises Invalid: 42602 for a name that is none, 42710 for one of another table, 72000 for a version that history
        does not reach back to, or a position that was given up; LimitExceeded where there are too many.
        """
        if not name or len(name.encode()) > NAME_BYTES_MAX or "\0" in name:
            raise Invalid(f"the name of a feed has 1 to {NAME_BYTES_MAX} bytes, and no NUL", sqlstate="42602")
        with self._lock:
            if name in self._state.positions:
                known = self.get(name)
                if known.table != table.id:
                    other = self._names().get(known.table)
                    whose = "a table that was dropped" if other is None else f'another table, "{other}"'
                    raise Invalid(
                        f'feed "{name}" is one of {whose}',
                        hint="DROP FEED it, or use another name.",
                        sqlstate="42710",
                    )
                return known.version
            if len(self._state.positions) >= FEED_POSITIONS_MAX:
                raise LimitExceeded(
                    f"there are {FEED_POSITIONS_MAX:,} named feeds", hint="DROP FEED those that nobody reads."
                )
            with Snapshot(state=self._state, pins=self._pins, version=version, writes=True) as held:
                # Held like that, nothing more that ended since is dropped; what was before, the floor says.
                if held.version < self._pins.floor:
                    raise too_old(table.name, held.version, self._pins.floor)
                now = wall_clock()
                made = FeedPosition(name=name, table=table.id, version=held.version, created=now, moved=now)
                self._put(made)
            return made.version

    def dropped(self, name: str, table: str) -> Table | None:
        """The definition of a table that was dropped under this name, and whose last changes are kept by ``name``."""
        known = self._state.positions.get(name)
        if known is None or known.table in self._state.catalog.stored:
            return None
        store = self._state.stores.get(known.table)
        return store.table if store is not None and store.table.name == table else None

    def move(self, name: str, version: int) -> None:
        """Acknowledge all changes up to ``version``. Less than was acknowledged already changes nothing.

        Raises NotFound (42704), Invalid (72000) where it was given up, Invalid (22023) for a version yet to come.
        """
        with self._lock:
            known = self.get(name)
            if version > self._state.version:
                raise Invalid(
                    f"version {version} does not exist: the newest is {self._state.version}", sqlstate="22023"
                )
            if version > known.version:
                self._put(replace(known, version=version, moved=wall_clock()))

    def drop(self, name: str) -> None:
        """Forget the position. Raises NotFound (42704)."""
        with self._lock:
            if name not in self._state.positions:
                self.get(name)
            key = pa.RecordBatch.from_pylist([{"name": name}], schema=pa.schema([POSITIONS.arrow_schema[0]]))
            self._commit(Request(changes=(TableChanges(table=POSITIONS, deletes=(key,)),)))

    def holds(self, name: str, table: int, version: int) -> bool:
        """Whether all that ended in a table after ``version`` is kept by this name. Raises as ``get``."""
        found = self.get(name)
        return found.table == table and found.version <= version

    def enforce(self) -> bool:
        """Give positions up until the others keep no more than they may. Returns whether there were any."""
        given_up = False
        with self._lock:
            while True:
                kept = {item.name: self._kept(item)[1] for item in self.list() if item.lost is None}
                if sum(kept.values()) <= self._bytes_max:
                    return given_up
                worst = max(kept, key=lambda name: kept[name])
                reason = (
                    f"named feeds kept {sum(kept.values()):,} bytes, at most {self._bytes_max:,} are allowed "
                    f"(feed_positions_bytes), and this one kept {kept[worst]:,}"
                )
                self._put(replace(self._state.positions[worst], lost=reason))
                given_up = True

    def facts(self) -> list[PositionFacts]:
        """All of them by name, with what they keep. Looks at every row that ended since."""
        names = self._names()
        facts: list[PositionFacts] = []
        for item in self.list():
            rows, size = self._kept(item)
            facts.append(
                PositionFacts(
                    position=item,
                    table=names.get(item.table),
                    changed_at=self._state.changed_at.get(item.table, 0),
                    kept_rows=rows,
                    kept_bytes=size,
                )
            )
        return facts

    def _names(self) -> dict[int, str]:
        """Tables, and views by the tables of their groups."""
        relations = self._state.catalog.relations.values()
        kept = {item.maintained.id: item.name for item in relations if isinstance(item, View) and item.maintained}
        return kept | {item.id: item.name for item in relations}

    def _put(self, position: FeedPosition) -> None:
        self._commit(Request(changes=(TableChanges(table=POSITIONS, puts=(encode_rows(POSITIONS, [position]),)),)))

    def _kept(self, item: FeedPosition) -> tuple[int, int]:
        """Rows and bytes that a position keeps: rows that ended after it, before history. A dropped table's all."""
        store = self._state.stores.get(item.table)
        floor = self._pins.floor
        if item.lost is not None or store is None or item.version >= floor or not self._state.is_behind(item):
            return 0, 0
        rows = size = 0
        gone = item.table not in self._state.catalog.stored
        for segment in store.segments:
            ended = (
                segment.rows_count if gone else sum(len(at) for at, _ in segment.overlay.between(item.version, floor))
            )
            rows += ended
            size += round(bytes_of(segment) / segment.rows_count * ended)
        return rows, size


def too_old(table: str, version: int, floor: int) -> Invalid:
    """What a feed says of a version before which history ends."""
    return Invalid(
        f'changes of "{table}" after version {version} are no longer kept: history goes back to version {floor}',
        hint="Begin with a snapshot, and the changes after its version. A named feed keeps what is not acknowledged, "
        "more history_seconds keep more for all.",
        sqlstate=TOO_OLD,
    )
