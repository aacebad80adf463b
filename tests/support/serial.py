"""Random transactions over one table, step by step in one thread, and an exact oracle of what they may have seen.

    case()             a table, some rows, transactions of random steps (key-value calls and SQL), interleaved
    serial_order()     an order of those that committed in which they, one after the other, give the same: every answer
                       of every step, and the rows at the end. Whoever had ended before another began comes first
    snapshot_fault()   what is not as it is where each reads the rows that were committed when it began

Every step has a model: the same on a list of rows. So both are decided without the database, and exactly. What a call
says of its rows is an answer as well: how many were deleted, that a key exists already, that there is no row to update.

Some transactions commit at the same moment, so that they meet in one group of the sequencer; blind writes of no
transaction join them.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

import weftdb
from weftdb.base.errors import Conflict, Invalid, NotFound
from weftdb.base.interface import Transaction
from weftdb.engine.database import Engine

Answer: TypeAlias = object
Key: TypeAlias = tuple[int, int]
Row: TypeAlias = tuple[int, int, int, int]
"""k, t, g, v; the first two are the primary key of a table that has one."""

KEYS, TIMES, GROUPS = 2, 3, 2
_ORIGIN: Final = datetime(2024, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the table is made. ``timed``: t is an event time, in slices of two days; else a number."""

    primary_key: bool = True
    timed: bool = False
    shards: int = 1
    view: bool = False

    @property
    def ddl(self) -> str:
        type = "TIMESTAMP" if self.timed else "INT"
        keys = ", PRIMARY KEY (k, t)" if self.primary_key else ""
        options = [f"shards = {self.shards}", "key = 'k'"] if self.primary_key else []
        options += ["time = 't'", "every = '2 days'"] if self.timed else []
        with_options = f" WITH ({', '.join(options)})" if options else ""
        return (
            f"CREATE TABLE r (k INT NOT NULL, t {type} NOT NULL, g INT NOT NULL, v INT DEFAULT 0{keys}){with_options}"
        )

    def time(self, t: int) -> object:
        """The value of column t, as clients give it."""
        return _ORIGIN + timedelta(days=t) if self.timed else t

    def text(self, t: int) -> str:
        """The same in SQL."""
        return f"TIMESTAMP '{_ORIGIN + timedelta(days=t)}'" if self.timed else str(t)

    def number(self, value: object) -> int:
        """Back from what a client got."""
        if isinstance(value, datetime):
            return (value - _ORIGIN).days
        assert isinstance(value, int)
        return value


VIEW: Final = "CREATE MATERIALIZED VIEW sums AS SELECT g, count(*) AS n, sum(v) AS total FROM r GROUP BY g"


class Model:
    """The table as a list of rows, of the one transaction that runs; and what it wrote, by key.

    ``written``: keys of rows that it put or deleted; ``added``: what it added to v of others.
    """

    def __init__(self, rows: Sequence[Row], *, primary_key: bool) -> None:
        self.rows = sorted(rows)
        self.written: set[Key] = set()
        self.added: dict[Key, int] = {}
        self._primary_key = primary_key
        self._saved: tuple[list[Row], set[Key], dict[Key, int]] = (self.rows, set(), {})

    def insert(self, row: Row) -> bool:
        """Whether it is there now."""
        if self._primary_key and self.get(row[0], row[1]) is not None:
            return False
        self._replace([], [row])
        return True

    def put(self, row: Row) -> None:
        self._replace([each for each in self.rows if each[:2] == row[:2]], [row])

    def add(self, k: int, t: int, v: int) -> None:
        there = self.get(k, t)
        added = self.added.get((k, t), 0) + v
        is_delta = (k, t) not in self.written
        self._replace([there] if there else [], [(*(there or (k, t, 0, 0))[:3], (there[3] if there else 0) + v)])
        if is_delta:
            self.written.discard((k, t))
            self.added[k, t] = added

    def get(self, k: int, t: int) -> Row | None:
        return next((row for row in self.rows if row[:2] == (k, t)), None)

    def change(self, where: Callable[[Row], bool], to: Callable[[Row], Row]) -> int:
        found = [row for row in self.rows if where(row)]
        self._replace(found, list(map(to, found)))
        return len(found)

    def delete(self, where: Callable[[Row], bool]) -> int:
        found = [row for row in self.rows if where(row)]
        self._replace(found, [])
        return len(found)

    def save(self) -> None:
        self._saved = self.rows, set(self.written), dict(self.added)

    def go_back(self) -> None:
        rows, written, added = self._saved
        self.rows, self.written, self.added = rows, set(written), dict(added)

    def _replace(self, old: Sequence[Row], new: Sequence[Row]) -> None:
        rest = list(self.rows)
        for row in old:
            rest.remove(row)
        self.rows = sorted([*rest, *new])
        for row in (*old, *new):
            self.written.add(row[:2])
            self.added.pop(row[:2], None)


class Step(NamedTuple):
    """One call of a transaction: what it says, in the database and in the model; both give the same answer.

    ``locks``: which rows it locks, so that nobody may have changed them when the transaction commits.
    """

    text: str
    do: Callable[[Transaction], Answer]
    model: Callable[[Model], Answer]
    locks: Callable[[Row], bool] | None = None


class Where(NamedTuple):
    sql: str
    holds: Callable[[Row], bool]


@dataclass(slots=True, kw_only=True)
class Unit:
    """One transaction as it ran, or one blind write. ``begin``, ``end`` and its steps' ``times`` are places in the
    interleaving."""

    steps: list[Step] = field(default_factory=list[Step])
    answers: list[Answer] = field(default_factory=list[Answer])
    times: list[int] = field(default_factory=list[int])
    begin: int = 0
    end: int = 0
    committed: bool = False
    refused: Conflict | None = None


@dataclass(slots=True, kw_only=True)
class History:
    """All of one case. ``level`` is that of its transactions."""

    shape: Shape
    level: str
    rows: list[Row]
    units: list[Unit]
    final: list[Row]

    def text(self) -> str:
        lines = [f"{self.level}; {self.shape.ddl}; at first {self.rows}"]
        for at, unit in enumerate(self.units):
            how = "committed" if unit.committed else f"refused: {unit.refused}"
            lines.append(f"T{at} ({unit.begin} to {unit.end}), {how}")
            lines += [f"    {step.text}  ->  {answer}" for step, answer in zip(unit.steps, unit.answers, strict=False)]
        return "\n".join([*lines, f"at the end {self.final}"])


# -- steps -------------------------------------------------------------------------------------------------------------


class Steps:
    """Makes random steps for a table of one shape."""

    def __init__(self, shape: Shape, chance: random.Random) -> None:
        self._shape = shape
        self._chance = chance
        kinds: list[Callable[[], Step]] = [
            self._select,
            self._select_for,
            self._sums,
            self._join,
            self._scan,
            self._insert,
            self._insert_sum,
            self._update,
            self._update,
            self._update_plus,
            self._update_sum,
            self._delete,
        ]
        if shape.view:
            kinds += [self._view, self._view]
        if shape.primary_key:
            kinds += [self._get, self._get, self._get_many, self._scan_key, self._put, self._put_sql, self._add]
            kinds += [self._update_one, self._delete_one, self._do_nothing, self._upsert]
        self._kinds = kinds

    def step(self) -> Step:
        return self._chance.choice(self._kinds)()

    def blind(self) -> Step:
        """One that reads nothing."""
        return self._chance.choice([self._put, self._add])() if self._shape.primary_key else self._insert()

    def row(self) -> Row:
        chance = self._chance
        return chance.randrange(KEYS), chance.randrange(TIMES), chance.randrange(GROUPS), chance.randrange(10)

    def _where(self) -> Where:
        k, t, g, v = self.row()
        later = t + self._chance.randint(1, 2)
        of, until = self._shape.text(t), self._shape.text(later)
        other = self._chance.randrange(KEYS)
        return self._chance.choice(
            [
                Where(f"k = {k} AND t = {of}", lambda row: row[:2] == (k, t)),
                Where(f"k = {k}", lambda row: row[0] == k),
                Where(f"k = {k} AND t >= {of} AND t < {until}", lambda row: row[0] == k and t <= row[1] < later),
                Where(f"t >= {of} AND t < {until}", lambda row: t <= row[1] < later),
                Where(f"k IN ({k}, {other}) AND v > {v}", lambda row: row[0] in (k, other) and row[3] > v),
                Where(f"g = {g}", lambda row: row[2] == g),
                Where(f"g = {g} AND t = {of}", lambda row: row[2] == g and row[1] == t),
                Where(f"v > {v}", lambda row: row[3] > v),
                Where("true", lambda row: True),
            ]
        )

    def _sql(self, sql: str, model: Callable[[Model], Answer]) -> Step:
        """A query; its rows are the answer, in any order, t as a number."""

        def do(transaction: Transaction) -> Answer:
            return _sorted(tuple(map(self._plain, row)) for row in transaction.execute(sql).rows())

        return Step(sql, do, model)

    def _write(self, sql: str, model: Callable[[Model], Answer]) -> Step:
        """A statement; the answer is how many rows it changed."""
        return Step(sql, lambda transaction: transaction.execute(sql).rows_affected, model)

    def _plain(self, value: object) -> object:
        return self._shape.number(value) if isinstance(value, datetime) else value

    def _row(self, found: dict[str, Any]) -> Row:
        return found["k"], self._shape.number(found["t"]), found["g"], found["v"]

    def _key(self, k: int, t: int) -> tuple[object, ...]:
        return k, self._shape.time(t)

    def _select(self) -> Step:
        where = self._where()
        return self._sql(
            f"SELECT k, t, g, v FROM r WHERE {where.sql}", lambda model: _sorted(filter(where.holds, model.rows))
        )

    def _select_for(self) -> Step:
        where = self._where()
        how = self._chance.choice(("UPDATE", "SHARE", "UPDATE OF r", "NO KEY UPDATE NOWAIT", "KEY SHARE"))
        step = self._sql(
            f"SELECT k, t, g, v FROM r WHERE {where.sql} FOR {how}",
            lambda model: _sorted(filter(where.holds, model.rows)),
        )
        return step._replace(locks=where.holds)

    def _sums(self) -> Step:
        where = self._where()

        def model(model: Model) -> Answer:
            values = [row[3] for row in model.rows if where.holds(row)]
            return [(len(values), sum(values) if values else None)]

        return self._sql(f"SELECT count(*), sum(v) FROM r WHERE {where.sql}", model)

    def _join(self) -> Step:
        where = self._where()
        inner = where.sql.replace("k ", "one.k ").replace("t ", "one.t ").replace("g ", "one.g ")
        inner = inner.replace("v ", "one.v ")

        def model(model: Model) -> Answer:
            pairs = itertools.product(filter(where.holds, model.rows), model.rows)
            return [(sum(one[2] == two[2] and one[3] < two[3] for one, two in pairs),)]

        return self._sql(
            f"SELECT count(*) FROM r AS one JOIN r AS two ON one.g = two.g AND one.v < two.v WHERE {inner}", model
        )

    def _view(self) -> Step:
        g = self._chance.randrange(GROUPS)

        def model(model: Model) -> Answer:
            values = [row[3] for row in model.rows if row[2] == g]
            return [(g, len(values), sum(values))] if values else []

        return self._sql(f"SELECT g, n, total FROM sums WHERE g = {g}", model)

    def _scan(self) -> Step:
        where = self._where()

        def do(transaction: Transaction) -> Answer:
            found = transaction.table("r").scan(where=where.sql).read_all().to_pylist()
            return _sorted(map(self._row, found))

        return Step(f"scan(where={where.sql!r})", do, lambda model: _sorted(filter(where.holds, model.rows)))

    def _scan_key(self) -> Step:
        k, t, _, _ = self.row()
        later = t + self._chance.randint(1, 2)
        time = (self._shape.time(t), self._shape.time(later)) if self._shape.timed else None

        def do(transaction: Transaction) -> Answer:
            found = transaction.table("r").scan(key=k, time=time).read_all().to_pylist()
            return _sorted(map(self._row, found))

        def model(model: Model) -> Answer:
            return _sorted(row for row in model.rows if row[0] == k and (time is None or t <= row[1] < later))

        return Step(f"scan(key={k}, time={None if time is None else (t, later)})", do, model)

    def _get(self) -> Step:
        k, t, _, _ = self.row()

        def do(transaction: Transaction) -> Answer:
            found = transaction.table("r").get(self._key(k, t))
            return found and self._row(found)

        return Step(f"get({k, t})", do, lambda model: model.get(k, t))

    def _get_many(self) -> Step:
        keys = sorted({self.row()[:2] for _ in range(self._chance.randint(1, 6))})

        def do(transaction: Transaction) -> Answer:
            found = transaction.table("r").get_many([self._key(*key) for key in keys]).to_pylist()
            return list(map(self._row, found))

        return Step(f"get_many({keys})", do, lambda model: [row for row in model.rows if row[:2] in keys])

    def _insert(self) -> Step:
        row = self.row()
        sql = f"INSERT INTO r VALUES ({row[0]}, {self._shape.text(row[1])}, {row[2]}, {row[3]})"
        return self._write(sql, lambda model: 1 if model.insert(row) else "23505")

    def _insert_sum(self) -> Step:
        row, where = self.row(), self._where()
        total = f"(SELECT coalesce(sum(v), 0) FROM r WHERE {where.sql})"
        sql = f"INSERT INTO r VALUES ({row[0]}, {self._shape.text(row[1])}, {row[2]}, {total})"

        def model(model: Model) -> Answer:
            total = sum(each[3] for each in model.rows if where.holds(each))
            return 1 if model.insert((*row[:3], total)) else "23505"

        return self._write(sql, model)

    def _put_sql(self) -> Step:
        """``ON CONFLICT DO UPDATE`` that looks at nothing of the row that is there."""
        row = self.row()
        values = f"{row[0]}, {self._shape.text(row[1])}, {row[2]}, {row[3]}"
        sql = f"INSERT INTO r VALUES ({values}) ON CONFLICT (k, t) DO UPDATE SET g = excluded.g, v = excluded.v"

        def model(model: Model) -> Answer:
            model.put(row)
            return 1

        return self._write(sql, model)

    def _do_nothing(self) -> Step:
        row = self.row()
        values = f"{row[0]}, {self._shape.text(row[1])}, {row[2]}, {row[3]}"
        return self._write(
            f"INSERT INTO r VALUES ({values}) ON CONFLICT DO NOTHING", lambda model: int(model.insert(row))
        )

    def _upsert(self) -> Step:
        row = self.row()
        values = f"{row[0]}, {self._shape.text(row[1])}, {row[2]}, {row[3]}"
        sets = f"SET v = r.v + excluded.v WHERE r.g = {row[2]}"
        sql = f"INSERT INTO r VALUES ({values}) ON CONFLICT (k, t) DO UPDATE {sets}"

        def model(model: Model) -> Answer:
            there = model.get(row[0], row[1])
            if there is None:
                return int(model.insert(row))
            if there[2] != row[2]:
                return 0
            model.put((*there[:3], there[3] + row[3]))
            return 1

        return self._write(sql, model)

    def _update(self) -> Step:
        where, (_, _, g, v) = self._where(), self.row()
        if self._chance.random() < 0.5:
            return self._write(
                f"UPDATE r SET g = {g} WHERE {where.sql}",
                lambda model: model.change(where.holds, lambda row: (row[0], row[1], g, row[3])),
            )
        return self._write(
            f"UPDATE r SET v = {v} WHERE {where.sql}",
            lambda model: model.change(where.holds, lambda row: (*row[:3], v)),
        )

    def _update_plus(self) -> Step:
        """What is written as a delta where its condition does not read v."""
        where, (_, _, _, v) = self._where(), self.row()

        def model(model: Model) -> Answer:
            found = list(filter(where.holds, model.rows))
            if not self._shape.primary_key or "v >" in where.sql:
                return model.change(where.holds, lambda row: (*row[:3], row[3] + v))
            for k, t, _, _ in found:
                model.add(k, t, v)
            return len(found)

        return self._write(f"UPDATE r SET v = v + {v} WHERE {where.sql}", model)

    def _update_sum(self) -> Step:
        where, other = self._where(), self._where()
        sql = f"UPDATE r SET v = (SELECT count(*) FROM r WHERE {other.sql}) WHERE {where.sql}"

        def model(model: Model) -> Answer:
            count = sum(map(other.holds, model.rows))
            return model.change(where.holds, lambda row: (*row[:3], count))

        return self._write(sql, model)

    def _delete(self) -> Step:
        where = self._where()
        return self._write(f"DELETE FROM r WHERE {where.sql}", lambda model: model.delete(where.holds))

    def _put(self) -> Step:
        row = self.row()

        def do(transaction: Transaction) -> Answer:
            return transaction.table("r").put((*self._key(*row[:2]), *row[2:])).rows

        def model(model: Model) -> Answer:
            model.put(row)
            return 1

        return Step(f"put({row})", do, model)

    def _add(self) -> Step:
        """A row that is made has no default for g: nothing is added to it, to say that it is 0."""
        k, t, _, v = self.row()

        def do(transaction: Transaction) -> Answer:
            return transaction.table("r").add(self._key(k, t), g=0, v=v).rows

        def model(model: Model) -> Answer:
            model.add(k, t, v)
            return 1

        return Step(f"add({k, t}, v={v})", do, model)

    def _update_one(self) -> Step:
        k, t, _, v = self.row()

        def do(transaction: Transaction) -> Answer:
            return transaction.table("r").update(self._key(k, t), v=v).rows

        def model(model: Model) -> Answer:
            return model.change(lambda row: row[:2] == (k, t), lambda row: (*row[:3], v)) or "not found"

        return Step(f"update({k, t}, v={v})", do, model)

    def _delete_one(self) -> Step:
        k, t, _, _ = self.row()

        def do(transaction: Transaction) -> Answer:
            return transaction.table("r").delete([self._key(k, t)]).rows

        return Step(f"delete({k, t})", do, lambda model: model.delete(lambda row: row[:2] == (k, t)))


SAVE: Final = Step("savepoint", lambda transaction: transaction.savepoint("s"), lambda model: model.save())
GO_BACK: Final = Step("rollback to", lambda transaction: transaction.rollback_to("s"), lambda model: model.go_back())


# -- playing -----------------------------------------------------------------------------------------------------------


def case(seed: int, *, level: str) -> History:
    """A case of its own, in memory."""
    chance = random.Random(seed)
    primary_key = chance.random() < 0.85 or level == "read committed"
    shape = Shape(
        primary_key=primary_key, timed=chance.random() < 0.5, shards=chance.choice((1, 3)), view=chance.random() < 0.3
    )
    steps = Steps(shape, chance)
    with weftdb.open() as database:
        database.execute(shape.ddl)
        if shape.view:
            database.execute(VIEW)
        model = Model([], primary_key=primary_key)
        for _ in range(chance.randint(0, 8)):
            row = steps.row()
            if model.insert(row):
                database.table("r").insert((row[0], shape.time(row[1]), *row[2:]))
            if chance.random() < 0.1:
                database.execute("CHECKPOINT")
        units = _play(database, steps, chance, level=level)
        found = database.execute("SELECT k, t, g, v FROM r").rows()
        final = sorted((k, shape.number(t), g, v) for k, t, g, v in found)
    return History(shape=shape, level=level, rows=model.rows, units=units, final=final)


def _play(database: Any, steps: Steps, chance: random.Random, *, level: str) -> list[Unit]:
    """Transactions in turns, each step of one of them; some end together at the end."""
    units: list[Unit] = []
    open_ones: list[tuple[Unit, Transaction]] = []
    todo = chance.randint(2, 4)
    now = itertools.count(1)
    while todo or (open_ones and chance.random() < 0.95):
        if chance.random() < 0.03:
            database.execute(chance.choice(("CHECKPOINT", "VACUUM")))
        if todo and (len(open_ones) < 2 or chance.random() < 0.3):
            todo -= 1
            unit = Unit(begin=next(now))
            units.append(unit)
            if chance.random() < 0.15:
                unit.steps.append(steps.blind())
                unit.answers.append(unit.steps[0].do(database))
                unit.committed, unit.end = True, next(now)
                continue
            open_ones.append((unit, database.transaction(isolation=level)))
            continue
        place = chance.randrange(len(open_ones))
        unit, transaction = open_ones[place]
        if len(unit.steps) < 5 and chance.random() < 0.8:
            _do(unit, transaction, _next_step(unit, steps, chance), at=next(now))
            if unit.refused is None:
                continue
        else:
            _commit(unit, transaction)
        unit.end = next(now)
        transaction.close()
        del open_ones[place]
    commit_together(database, [*open_ones])
    for unit, transaction in open_ones:
        unit.end = next(now)
        transaction.close()
    return units


def _next_step(unit: Unit, steps: Steps, chance: random.Random) -> Step:
    if SAVE in unit.steps and GO_BACK not in unit.steps and chance.random() < 0.5:
        return GO_BACK
    return SAVE if SAVE not in unit.steps and chance.random() < 0.08 else steps.step()


def _do(unit: Unit, transaction: Transaction, step: Step, *, at: int) -> None:
    """A transaction's snapshot is taken at its first step; a savepoint is none."""
    if all(before in (SAVE, GO_BACK) for before in unit.steps):
        unit.begin = at
    unit.steps.append(step)
    unit.times.append(at)
    try:
        unit.answers.append(step.do(transaction))
    except Conflict as error:
        unit.refused = error
    except NotFound:
        unit.answers.append("not found")
    except Invalid as error:
        if error.sqlstate != "23505":
            raise
        unit.answers.append(error.sqlstate)


def _commit(unit: Unit, transaction: Transaction) -> None:
    try:
        transaction.commit()
        unit.committed = True
    except Conflict as error:
        unit.refused = error


def commit_together(database: Any, ending: Sequence[tuple[Unit, Transaction]]) -> None:
    """All wait for the sequencer, in this order, before the first of them is committed."""
    if len(ending) < 2:
        for unit, transaction in ending:
            _commit(unit, transaction)
        return
    engine: Engine = database.engine
    sequencer: Any = engine._sequencer
    threads = [threading.Thread(target=_commit, args=each) for each in ending]
    with sequencer.paused():
        for thread in threads:
            waiting = len(sequencer._queue)
            thread.start()
            while thread.is_alive() and len(sequencer._queue) == waiting:
                time.sleep(0.0002)
    for thread in threads:
        thread.join()


# -- the oracle --------------------------------------------------------------------------------------------------------


def serial_order(history: History, *, also: Unit | None = None) -> list[int] | None:
    """An order of the committed transactions (and of ``also``) that gives their answers and the rows at the end.

    With ``also``, which was refused, the rows at the end are not looked at.
    """
    ran = {at: unit for at, unit in enumerate(history.units) if unit.committed or unit is also}

    def search(done: list[int], rows: list[Row]) -> list[int] | None:
        left = ran.keys() - done
        if not left:
            return done if also is not None or rows == history.final else None
        first_end = min(ran[at].end for at in left)
        for at in left:
            if ran[at].begin > first_end:
                continue  # somebody else had ended before it began
            after = _alone(ran[at], rows, primary_key=history.shape.primary_key)
            found = None if after is None else search([*done, at], after)
            if found is not None:
                return found
        return None

    return search([], history.rows)


def snapshot_fault(history: History) -> str | None:
    """What is otherwise than where every transaction reads the rows that were committed when it began, and its own.

    At READ COMMITTED: when its step began. That needs a primary key, to tell whose a row is.
    """
    moves = history.level == "read committed"
    assert history.shape.primary_key or not moves, "its own rows have names"
    versions: list[tuple[int, list[Row]]] = [(0, history.rows)]
    primary_key = history.shape.primary_key
    ran = sorted(enumerate(history.units), key=lambda each: each[1].end)
    for at, unit in ran:
        read = snapshot = next(rows for end, rows in reversed(versions) if end < unit.begin)
        model = Model(snapshot, primary_key=primary_key)
        locked: list[Row] = []
        locked_before: list[Row] = []
        for at_step, (step, answer) in enumerate(zip(unit.steps, unit.answers, strict=False)):
            if moves and unit.times:
                read = next(rows for end, rows in reversed(versions) if end < unit.times[at_step])
                model.rows = _laid_over(read, model, snapshot, primary_key=True)
            if (wanted := step.model(model)) != answer:
                return f"T{at}: {step.text} is {wanted}"
            if step is SAVE:
                locked_before = list(locked)
            elif step is GO_BACK:
                locked = list(locked_before)
            elif step.locks is not None:
                locked += [row for row in model.rows if step.locks(row) and row in read]
        if unit.committed:
            if gone := [row for row in locked if row not in versions[-1][1]]:
                return f"T{at}: {gone} were locked, and had changed when it committed"
            versions.append((unit.end, _laid_over(versions[-1][1], model, snapshot, primary_key=primary_key)))
    return None if versions[-1][1] == history.final else f"at the end there are {versions[-1][1]}"


def _laid_over(rows: Sequence[Row], model: Model, snapshot: Sequence[Row], *, primary_key: bool) -> list[Row]:
    """``rows`` with what a transaction changed that read ``snapshot``."""
    rest = list(rows)
    if not primary_key:
        for row in (Counter(snapshot) - Counter(model.rows)).elements():
            rest.remove(row)
        return sorted([*rest, *(Counter(model.rows) - Counter(snapshot)).elements()])
    now = Model([row for row in rows if row[:2] not in model.written], primary_key=True)
    for row in model.rows:
        if row[:2] in model.written:
            now.put(row)
    for key, v in model.added.items():
        now.add(*key, v)
    return now.rows


def _alone(unit: Unit, rows: list[Row], *, primary_key: bool) -> list[Row] | None:
    """The rows after the transaction, where it would have had the same answers; else None."""
    model = Model(rows, primary_key=primary_key)
    for step, answer in zip(unit.steps, unit.answers, strict=False):
        if step.model(model) != answer:
            return None
    return model.rows


def _sorted(rows: Any) -> list[Any]:
    return sorted(rows, key=repr)
