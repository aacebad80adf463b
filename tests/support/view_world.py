"""A database with random views under random changes, which is compared with the oracle after each step.

    step ── one operation ──► table, views, snapshots
      └──── check: rows of the newest version ─► view_oracle ─► what each view has to show, now
                                                           └──► remembered by each snapshot, for as long as it is open

Checks are in view_checks.py. Rows that nothing wrote must not change, either.

A seed is a world: the same operations in the same order. Where threads write beside each other (``beside``), their
order is the machine's. To see what a seed does, or to soak:

    python tests/support/view_world.py --seed 17 --steps 200 --log
    python tests/support/view_world.py --seed 1000 --worlds 500 --steps 200 --seconds 3600
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import math
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import view_grammar as grammar
import weftdb
from view_checks import OVERFLOW, Checked, Snapshot, same_rows
from view_grammar import View
from view_oracle import Row
from weftdb.base.errors import Conflict, NotFound, WeftError
from weftdb.engine import database, group_commit, load, write_set
from weftdb.engine.aggregates import early
from weftdb.engine.aggregates.build import BuildingView
from weftdb.engine.changes import Change, WriterToken
from weftdb.sql.matching.run import Way

REFUSED = (OVERFLOW, "22012", "23502", "23505", "21000", "23514")
"""What a change may be refused for: out of range, division by 0, NULL, a key that is there, a row twice, too late."""
NOT_BUILT = (OVERFLOW, "22012", "0A000")
OPERATIONS = {
    "change": 20, "key_value": 20, "transaction": 5, "begin": 2, "finish": 3, "writer": 2, "twice": 1.5,
    "truncate": 0.4, "beside": 0.6, "make": 3, "build": 1, "level": 1.5, "replace": 1, "rename": 0.5, "drop": 0.8,
    "retain": 1, "add_column": 0.5, "nulls": 1, "drop_column": 0.4, "sides": 2, "flush": 3, "compact": 1.5,
    "restart": 1, "crash": 1, "snapshot": 4, "release": 3,
}  # fmt: skip
"""How likely each is; all are methods."""
VIEWS_MAX, SNAPSHOTS_MAX = 4, 3
ROWS_MANY = 60
STEP_SECONDS_MAX = 900
"""A step that takes longer stands still: where is printed, and the process ends."""


class _Undone(Exception):
    pass


class World(Checked):
    """Steps of one seed in ``folder``, which is made."""

    def __init__(self, seed: int, folder: Path) -> None:
        draw = random.Random(seed)
        super().__init__(draw)
        self.folder, self.folders, self.numbers, self.steps = folder, 0, 0, 0
        self.history = draw.choice((0, 600))
        self.limits = contextlib.ExitStack()
        if draw.random() < 0.4:  # all is large: records are split, rows grouped early, transactions spilled
            for module in (write_set, group_commit, database, load):
                self.limits.enter_context(mock.patch.object(module, "RECORD_ROWS_MAX", 4))
            self.limits.enter_context(mock.patch.object(early, "ROWS_MIN", 1))
        if draw.random() < 0.7:
            self.limits.enter_context(mock.patch.object(Way, "is_worth", True))
        self.keys, self.options = draw.choice(grammar.PRIMARIES)
        self.db = self.open()
        self.db.execute(grammar.ddl((self.keys, self.options)))
        self.db.execute(grammar.SIDES)
        for text in draw.sample(grammar.INDEXES, draw.choice((0, 0, 1, 2))):
            self.db.execute(text)
        self.now = self.look()

    # -- steps ------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One operation, and a check."""
        name = self.draw.choices(list(OPERATIONS), list(OPERATIONS.values()))[0]
        self.counts[name] += 1
        self.steps += 1
        self.say(f"-- {name}")
        wrote = getattr(self, name)()
        self.check(wrote=wrote is not False)
        if len(self.now.rows) > ROWS_MANY:
            self.run(self.db, "DELETE FROM t WHERE id % 2 = 0 AND k <> 1")
            self.now = self.look()

    def run(self, on: Any, text: str, *allowed: str) -> bool:
        """Whether it was done. Raises what is not ``allowed``."""
        self.say(text)
        try:
            on.execute(text)
        except WeftError as error:
            if error.sqlstate not in allowed:
                raise
            self.say(f"--   refused: {error.sqlstate}")
            return False
        return True

    # Changes.

    def change(self) -> bool:
        return self.run(self.db, grammar.a_change(self.draw, self.keys), *REFUSED)

    def key_value(self) -> bool:
        return self.tried(self.a_call(self.db))

    def tried(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except NotFound:
            return False
        except WeftError as error:
            if error.sqlstate not in REFUSED:
                raise
            self.say(f"--   refused: {error.sqlstate}")
            return False
        return True

    def a_key(self) -> tuple[Any, ...]:
        """Mostly of a row that is there."""
        draw = self.draw
        row = draw.choice(self.now.rows) if self.now.rows and draw.random() < 0.8 else grammar.a_row(draw)
        return tuple(row[name] for name in self.keys)

    def rows_to_put(self) -> list[Row]:
        rows = [grammar.a_row(self.draw) for _ in range(self.draw.randint(1, 5))]
        for row in rows:
            if self.keys and self.draw.random() < 0.6:
                row.update(zip(self.keys, self.a_key(), strict=True))
        return rows

    def a_call(self, on: Any) -> Callable[[], object]:
        """A call of the key-value interface."""
        draw = self.draw
        kind = draw.choice(("put", "put", "insert", "update", "add", "delete")) if self.keys else "insert"
        rows, keys = self.rows_to_put(), [self.a_key() for _ in range(draw.randint(1, 4))]
        amounts = {name: draw.choice((1, -1, 2)) for name in draw.sample(grammar.ADDABLE, draw.randint(1, 2))}
        others = {name: grammar.value(draw, name) for name in draw.sample(grammar.OTHERS, 2)}
        said = {"put": rows, "insert": rows, "update": (keys[0], others), "add": (keys[0], amounts), "delete": keys}
        self.say(f"{kind}: {said[kind]}")
        match kind:
            case "put":
                return lambda: on.table("t").put(rows)
            case "insert":
                return lambda: on.table("t").insert(rows)
            case "update":
                return lambda: on.table("t").update(keys[0], **others)
            case "add":
                return lambda: on.table("t").add(keys[0], amounts)
            case _:
                return lambda: on.table("t").delete(keys)

    def writer(self) -> bool:
        """A stream of batches; a refused one ends it."""
        if not self.keys:
            return False
        rows, keys = self.rows_to_put(), [self.a_key() for _ in range(3)]
        self.say(f"writer: put {rows}, delete {keys}, put {rows[:1]}")

        def stream() -> None:
            with self.db.table("t").writer(name=self.draw.choice((None, "a", "b"))) as writer:
                writer.put(rows)
                writer.delete(keys)
                writer.put(rows[:1])

        self.tried(stream)
        return True

    def twice(self) -> bool:
        """One batch that arrives twice with its token, and counts once."""
        rows = [grammar.a_row(self.draw) for _ in range(3)]
        schema = self.db.table("t").schema
        fields = [schema.field(name).remove_metadata() for name in grammar.COLUMNS]
        try:
            batch = pa.RecordBatch.from_pylist(rows, pa.schema(fields))
        except pa.ArrowInvalid:
            return False
        self.say(f"twice: {rows}")
        self.numbers += 1
        by_token = self.draw.random() < 0.5
        token = WriterToken(writer=f"w{self.numbers}", sequence=self.numbers) if by_token else None
        id = None if by_token else str(uuid.UUID(int=self.draw.getrandbits(128)))
        change = Change.PUT if self.keys else Change.INSERT

        def write() -> object:
            return self.db.engine.write("t", change, batch, token=token, id=id)

        if not self.tried(write):
            return False
        middle = grammar.a_change(self.draw, self.keys)
        self.run(self.db, middle, *REFUSED)
        before = self.rows(self.db)
        write()
        assert same_rows(self.rows(self.db), before), "a repeated batch is applied once"
        return True

    def truncate(self) -> bool:
        self.run(self.db, "TRUNCATE t")
        self.gone = {name: [] for name in self.gone}
        return True

    def sides(self) -> bool:
        return self.run(self.db, grammar.a_change_of_sides(self.draw))

    # Transactions.

    def transaction(self) -> bool:
        draw = self.draw
        keep = dict(self.views), dict(self.gone)
        wrote = False
        level = draw.choice(("snapshot", "snapshot", "read committed", "serializable"))
        try:
            with self.db.transaction(isolation=level) as txn:
                if draw.random() < 0.1 and len(self.views) < VIEWS_MAX:
                    self.make(txn)
                for _ in range(draw.randint(1, 3)):
                    wrote |= self.change_in(txn, (*grammar.COLUMNS, *self.added))
                self.check_inside(txn, wrote=wrote)
                if draw.random() < 0.25:
                    raise _Undone
        except _Undone:
            self.say("ROLLBACK")
            self.views, self.gone = keep
            return False
        return True

    def change_in(self, txn: Any, columns: tuple[str, ...]) -> bool:
        """A change, perhaps behind a savepoint that it is taken back to. Raises _Undone where it is refused.

        ``columns``: those that the table has where the transaction reads.
        """
        draw, saved = self.draw, None
        if draw.random() < 0.4:
            saved = self.rows(txn, columns)
            txn.savepoint("here")
            self.say("SAVEPOINT here")
        if draw.random() < 0.5:
            done = self.run(txn, grammar.a_change(draw, self.keys), *REFUSED)
        else:
            done = self.tried(self.a_call(txn))
        if saved is not None and (not done or draw.random() < 0.5):
            self.say("ROLLBACK TO here")
            txn.rollback_to("here")
            assert same_rows(self.rows(txn, columns), saved), "a savepoint brings back what was there"
        elif not done:
            raise _Undone
        return True

    def begin(self) -> bool:
        """A transaction that stays open, beside what others write."""
        if self.pending is None:
            txn = self.db.transaction(isolation="snapshot")
            self.pending = txn, self.look(txn, known=self.now.views), False
        elif not self.pending[2]:
            txn, seen, _ = self.pending
            try:
                self.change_in(txn, seen.columns)
                self.pending = txn, seen, True
            except _Undone:
                self.give_up()
        return False

    def finish(self) -> bool:
        if self.pending is None:
            return False
        (txn, _, wrote), self.pending = self.pending, None
        self.say("COMMIT of the open transaction")
        try:
            txn.commit()
        except Conflict:
            return False
        except WeftError as error:
            if error.sqlstate not in REFUSED:
                raise
            return False
        return wrote

    def give_up(self) -> None:
        if self.pending is not None:
            self.pending[0].rollback()
            self.pending = None

    def beside(self) -> bool:
        """Several threads that write, one that flushes, and one that makes a view, all at once."""
        draw = self.draw
        works: list[list[Callable[[], object]]] = []
        for _ in range(draw.randint(2, 3)):
            texts = [grammar.a_change(draw, self.keys)]
            works.append([*(self.later(text) for text in texts), self.a_call(self.db)])
            for text in texts:
                self.say(text)
        if draw.random() < 0.5:
            works.append([self.db.engine.maintenance.flush])
        made = None
        if draw.random() < 0.6 and len(self.views) < VIEWS_MAX:
            made = self.new_name(), grammar.a_view(draw, self.added)
            works.append([self.later(f"CREATE MATERIALIZED VIEW {made[0]} AS {made[1].grouped.text}")])
            self.say(f"CREATE MATERIALIZED VIEW {made[0]} AS {made[1].grouped.text}")
        problems: list[BaseException] = []

        def work(calls: list[Callable[[], object]]) -> None:
            for call in calls:
                try:
                    call()
                except (NotFound, Conflict):
                    pass
                except WeftError as error:
                    if error.sqlstate not in (*REFUSED, *NOT_BUILT):
                        problems.append(error)
                except BaseException as error:
                    problems.append(error)

        threads = [threading.Thread(target=work, args=(calls,)) for calls in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]
        if made is not None and (made[0], "materialized view") in self.db.execute("SHOW TABLES").rows():
            self.views[made[0]] = made[1]
        return True

    def later(self, text: str) -> Callable[[], object]:
        return lambda: self.db.execute(text)

    # Views.

    def new_name(self) -> str:
        self.numbers += 1
        return f"v{self.numbers}"

    def make(self, on: Any = None) -> bool:
        if len(self.views) < VIEWS_MAX:
            retains = on is None and "time" in self.options and self.draw.random() < 0.25
            self.create(on or self.db, self.new_name(), grammar.a_view(self.draw, self.added, retains=retains))
        return False

    def create(self, on: Any, name: str, view: View, *, replaces: bool = False) -> bool:
        command = f"CREATE {'OR REPLACE ' if replaces else ''}MATERIALIZED VIEW {name}"
        options = " WITH (retain = 'all')" if view.retains else ""
        allowed = (*NOT_BUILT, "2BP01", "55000") if replaces else NOT_BUILT
        if not self.run(on, f"{command}{options} AS {view.grouped.text}", *allowed):
            return False
        self.views[name] = view
        self.gone.pop(name, None)
        if view.retains:
            self.gone[name] = []
        return True

    def build(self) -> bool:
        """A view, and others who write, flush or merge when its first groups are written, before it catches up."""
        if len(self.views) >= VIEWS_MAX:
            return False
        changes = [grammar.a_change(self.draw, self.keys) for _ in range(self.draw.randint(1, 3))]
        maintenance = self.db.engine.maintenance
        more = self.draw.choice((None, maintenance.flush, maintenance.compact))

        def write() -> None:
            for text in changes:
                self.say(f"meanwhile: {text}")
                with contextlib.suppress(WeftError):
                    self.db.execute(text)
            if more is not None:
                more()

        def meanwhile() -> None:
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()

        with after_groups(meanwhile):
            self.make()
        return True

    def level(self) -> bool:
        below = [name for name, view in self.views.items() if not view.retains]
        if below and len(self.views) < VIEWS_MAX:
            name = self.draw.choice(below)
            view = grammar.a_level(self.draw, name, self.views[name])
            if view is not None:
                self.create(self.db, self.new_name(), view)
        return False

    def a_name(self) -> str | None:
        return self.draw.choice(sorted(self.views)) if self.views else None

    def above(self, name: str) -> list[str]:
        """The views over a view, and those over these."""
        found = [other for other, view in self.views.items() if view.over == name]
        return found + [more for other in found for more in self.above(other)]

    def replace(self) -> bool:
        if name := self.a_name():
            view = grammar.a_view(self.draw, self.added)
            done = self.create(self.db, name, view, replaces=True)
            assert not (done and self.above(name)), "what a view stands on is not replaced"
        return False

    def rename(self) -> bool:
        if name := self.a_name():
            new = self.new_name()
            if self.run(self.db, f"ALTER MATERIALIZED VIEW {name} RENAME TO {new}", "2BP01"):
                assert not self.above(name)
                self.views[new] = self.views.pop(name)
                if name in self.gone:
                    self.gone[new] = self.gone.pop(name)
        return False

    def drop(self) -> bool:
        if name := self.a_name():
            above = self.above(name)
            cascade = " CASCADE" if above and self.draw.random() < 0.7 else ""
            done = self.run(self.db, f"DROP MATERIALIZED VIEW {name}{cascade}", "2BP01")
            assert done == (not above or bool(cascade)), "a view is dropped with what stands on it, or not at all"
            for gone in [name, *above] if done else ():
                del self.views[gone]
                self.gone.pop(gone, None)
        return False

    def add_column(self) -> bool:
        if len(self.added) < 3:
            self.numbers += 1
            default = self.draw.choice((" DEFAULT 5", "", " DEFAULT -2"))
            if self.run(self.db, f"ALTER TABLE t ADD COLUMN c{self.numbers} INT{default}"):
                self.added += (f"c{self.numbers}",)
        return True

    def drop_column(self) -> bool:
        if self.added:
            name = self.draw.choice(self.added)
            if self.run(self.db, f"ALTER TABLE t DROP COLUMN {name}", "2BP01"):
                self.added = tuple(other for other in self.added if other != name)
                self.queries = [query for query in self.queries if name not in query.text]
                assert not any(f"{name}" in view.grouped.text.replace(",", " ").split() for view in self.views.values())
        return True

    def nulls(self) -> bool:
        """A column takes NULL, or does not any more, if none is there."""
        name = self.draw.choice(("x", "y", "s", "n"))
        self.run(self.db, f"UPDATE t SET {name} = 1 WHERE {name} IS NULL", *REFUSED)
        if not self.run(self.db, f"ALTER TABLE t ALTER COLUMN {name} SET NOT NULL", "23502"):
            return True
        self.make()
        self.check(wrote=True)
        self.run(self.db, f"ALTER TABLE t ALTER COLUMN {name} DROP NOT NULL")
        return True

    def retain(self) -> bool:
        """The table forgets its oldest slices."""
        if "time" not in self.options:
            return False
        late = self.draw.choice(("", "", ", late = 'ignore'"))
        self.run(self.db, f"ALTER TABLE t SET (keep = '{self.draw.choice((10, 35, 50))} days'{late})")
        before = collections.Counter(map(repr, self.now.rows))
        self.db.engine.maintenance.retain()
        after = collections.Counter(map(repr, self.rows(self.db)))
        forgotten = before - after
        assert not after - before, "nothing comes by forgetting"
        for row in self.now.rows:
            if forgotten[repr(row)]:
                forgotten[repr(row)] -= 1
                for rows in self.gone.values():
                    rows.append(row)
        if self.draw.random() < 0.7:
            self.run(self.db, "ALTER TABLE t RESET (keep, late)")
        return True

    # What must not change anything.

    def flush(self) -> bool:
        """Rows and groups go to segments, which are merged as the background would, or are left to be many."""
        maintenance = self.db.engine.maintenance
        maintenance.flush()
        if self.draw.random() < 0.7:
            while maintenance.compact_once():
                pass
        return False

    def compact(self) -> bool:
        self.db.engine.maintenance.flush()
        self.db.engine.maintenance.compact()
        self.db.engine.maintenance.release()
        return False

    def open(self) -> Any:
        return weftdb.open(self.place, maintenance=False, durable=False, threads=1, history_seconds=self.history)

    @property
    def place(self) -> Path:
        return self.folder / str(self.folders)

    def restart(self) -> bool:
        self.give_up()
        self.let_go()
        self.db.close()
        self.db = self.open()
        self.look_back()
        return False

    def crash(self) -> bool:
        """Go on with the files as they are, without a close, and whatever transaction was open."""
        old, at = self.db, self.place
        self.folders += 1
        shutil.copytree(at, self.place)
        self.pending = None
        self.let_go()
        old.close()
        shutil.rmtree(at)
        self.db = self.open()
        self.look_back()
        return False

    def let_go(self) -> None:
        """Only what has a name, or history, is there again after a restart."""
        for snapshot in self.snapshots:
            snapshot.on.close()
        self.snapshots = [snapshot for snapshot in self.snapshots if snapshot.name or self.history]

    def look_back(self) -> None:
        for snapshot in self.snapshots:
            snapshot.on = self.db.snapshot(as_of=snapshot.version)

    def snapshot(self) -> bool:
        if len(self.snapshots) >= SNAPSHOTS_MAX:
            self.release()
        name = None
        if self.draw.random() < 0.5:
            self.numbers += 1
            name = f"s{self.numbers}"
            self.db.execute(f"CREATE SNAPSHOT {name}")
        on = self.db.snapshot(as_of=self.version_of(name) if name else None)
        self.snapshots.append(Snapshot(on, on.version, self.now, name))
        return False

    def version_of(self, name: str) -> int:
        return self.db.execute("SELECT version FROM weft_snapshots WHERE name = $1", [name]).scalar()

    def release(self) -> bool:
        if self.snapshots:
            snapshot = self.snapshots.pop(self.draw.randrange(len(self.snapshots)))
            snapshot.on.close()
            if snapshot.name:
                self.db.execute(f"DROP SNAPSHOT {snapshot.name}")
        return False

    def close(self) -> None:
        self.give_up()
        for snapshot in self.snapshots:
            snapshot.on.close()
        self.db.close()
        self.limits.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def after_groups(work: Callable[[], None]) -> Iterator[None]:
    """``work`` is done when a view has written the groups of the rows that there were."""
    plain = BuildingView.write_all

    def write_all(self: BuildingView, *arguments: Any) -> None:
        plain(self, *arguments)
        work()

    with mock.patch.object(BuildingView, "write_all", write_all):
        yield


def soak(seed: int, steps: int, folder: Path, *, log: bool = False) -> collections.Counter[str]:
    """Run a world. Raises what it finds, with the last operations as a note."""
    world = World(seed, folder)
    try:
        for _ in range(steps):
            faulthandler.dump_traceback_later(STEP_SECONDS_MAX, exit=True)
            world.step()
        if log:
            print("\n".join(world.log))
    except BaseException as error:
        error.add_note(f"seed {seed}, step {world.steps}; the last operations:\n" + "\n".join(world.log[-40:]))
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
        with contextlib.suppress(Exception):
            world.close()
    world.counts["steps"] = steps
    return world.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no world after so long")
    parser.add_argument("--log", action="store_true")
    options = parser.parse_args()
    shared = Path("/dev/shm")
    total: collections.Counter[str] = collections.Counter()
    began, failed = time.monotonic(), 0
    for seed in range(options.seed, options.seed + options.worlds):
        if time.monotonic() - began > options.seconds:
            break
        world = time.monotonic()
        with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
            try:
                total += soak(seed, options.steps, Path(folder) / "data", log=options.log)
            except Exception:
                failed += 1
                print(f"seed {seed} FAILED\n{traceback.format_exc()}", flush=True)
                continue
        print(f"seed {seed}: {options.steps} steps in {time.monotonic() - world:.1f} s", flush=True)
    print(dict(total), f"{failed} failed, {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
