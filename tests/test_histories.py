"""Histories of concurrent clients are those that their isolation level allows, by Elle's method (support/elle.py).

First the checker itself: small histories with known anomalies (after those of Elle's own tests), and histories of a
simulated database that is right or wrong in a known way. Then WeftDB: clients that mix key-value calls and SQL, pause,
give up and die, over gRPC, while the server is killed and started again (support/histories.py).
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import weftdb
from elle import FORBIDDEN, Append, Outcome, Read, Step, Txn, Write, anomalies, check, lost_appends
from histories import TABLES, ClientChild, Plan, play, read_all
from server_child import ForkedServer, Zygote
from soak import FACTOR, SEED
from weftdb.base.interface import Database

# -- the checker knows the anomalies -----------------------------------------------------------------------------------


def parsed(text: str, *, at: int = 0) -> Txn:
    """``a1:5`` appends 5 to list 1, ``r1:5,6`` read [5, 6], ``r1:`` read []; ``w1:5`` and ``g1:5`` write and read a
    register, ``g1:`` one that nobody wrote. ``!`` in front: aborted, ``?``: unknown; ``@3-7`` at the end: its time.
    """
    words = text.split()
    begin, end = (0, 1000)
    if words[-1].startswith("@"):
        begin, end = map(int, words.pop()[1:].split("-"))
    outcome = {"!": Outcome.ABORTED, "?": Outcome.UNKNOWN}.get(words[0], Outcome.COMMITTED)
    steps: list[Step] = []
    for word in words if outcome is Outcome.COMMITTED else words[1:]:
        key, _, values = word[1:].partition(":")
        numbers = tuple(map(int, filter(None, values.split(","))))
        kinds: dict[str, Step] = {
            "r": Read(int(key), numbers),
            "g": Read(int(key), numbers[0] if numbers else None),
            "a": Append(int(key), numbers[0] if numbers else 0),
            "w": Write(int(key), numbers[0] if numbers else 0),
        }
        steps.append(kinds[word[0]])
    return Txn(begin=begin, end=end, outcome=outcome, steps=tuple(steps))


def kinds_of(history: Sequence[Txn]) -> set[str]:
    return {each.kind for each in anomalies(history)}


KNOWN: Final[dict[str, tuple[list[str], set[str]]]] = {
    "nothing": ([], set()),
    "one after the other": (["a1:1 r1:1", "r1:1 a1:2", "r1:1,2"], set()),
    "readers of different ages": (["a1:1", "a1:2", "r1:", "r1:1", "r1:1,2"], set()),
    "an unread append": (["a1:1", "a1:2 a2:1", "r1:1 r2:1"], {"G-single"}),
    "dirty writes": (["a1:1 a2:2", "a1:2 a2:1", "r1:1,2 r2:1,2"], {"G0"}),
    "an aborted read": (["! a1:1", "r1:1"], {"G1a"}),
    "an aborted read in the middle": (["! a1:1", "a1:2", "r1:1,2"], {"G1a"}),
    "an intermediate read": (["a1:1 a1:2", "r1:1", "r1:1,2"], {"G1b", "G-single"}),
    "its own intermediate read": (["a1:1 r1:1 a1:2 r1:1,2"], set()),
    "information flows in a circle": (["a1:1 r2:1", "a2:1 r1:1"], {"G1c"}),
    "a longer circle": (["a1:1 r3:1", "a2:1 r1:1", "a3:1 r2:1"], {"G1c"}),
    "read skew": (["a1:1 a2:1", "r1:1 r2:"], {"G-single"}),
    "read skew, by way of others": (["a1:1", "r1:1 a2:1", "r2:1 r1:"], {"G-single"}),
    "a lost update": (["r1: a1:1", "r1: a1:2", "r1:1,2"], {"G-single"}),
    "a long fork": (["a1:1", "a2:1", "r1:1 r2:", "r1: r2:1"], {"G-nonadjacent"}),
    "write skew": (["r1: a2:1", "r2: a1:1"], {"G2-item"}),
    "write skew of three": (["r1: a2:1", "r2: a3:1", "r3: a1:1"], {"G2-item"}),
    "write skew by a reader": (["r1: r2: a1:1", "r2: a2:1", "r2:1 r1:"], {"G2-item"}),
    "a value from nowhere": (["r1:7"], {"garbage"}),
    "a value twice": (["a1:1", "r1:1,1"], {"duplicate"}),
    "two orders": (["a1:1", "a1:2", "r1:1,2", "r1:2,1"], {"incompatible-order"}),
    "a part": (["a1:1", "a1:2", "r1:1,2", "r1:2"], {"incompatible-order"}),
    "it does not see itself": (["a1:1 r1:"], {"internal"}),
    "it sees itself in the wrong place": (["a1:1", "a1:2 r1:2,1", "r1:1,2"], {"internal"}),
    "the second read is another": (["a1:1", "r1: r1:1"], {"internal"}),
    "unknown and not read": (["? a1:1 a2:1", "r1: r2:"], set()),
    "unknown and read": (["? a1:1 a2:1", "r1:1 r2:"], {"G-single"}),
    "unknown, and read by what was read": (["? a1:1 a2:1", "? r1:1 a3:1", "r3:1 r2:"], {"G-single"}),
    "a stale read": (["a1:1 @0-10", "r1: @11-20"], {"G-single-realtime"}),
    "a read beside a write": (["a1:1 @0-10", "r1: @9-20"], set()),
    "a stale read long after": (["a1:1 @0-10", "a2:1 @11-12", "r2:1 @13-14", "r1: @15-20"], {"G-single-realtime"}),
    "a write before its time": (["a1:2 @11-20", "a1:1 @0-10", "r1:2,1 @30-40"], {"G0-realtime"}),
    "a read of the future": (["r1:1 @0-10", "a1:1 @11-20"], {"G1c-realtime"}),
    "an unknown one may come late": (["? a1:1 @0-10", "r1: @11-20", "r1:1 @21-30"], set()),
    "registers in order": (["g1: w1:1", "g1:1 w1:2", "g1:2", "g1:1"], set()),
    "a register's lost update": (["g1: w1:1", "g1:1 w1:2", "g1:1 w1:3"], {"lost-update", "G2-item"}),
    "a register's first lost update": (["g1: w1:1", "g1: w1:2"], {"lost-update", "G2-item"}),
    "a register's aborted read": (["! w1:1", "g1:1"], {"G1a"}),
    "a register's intermediate read": (["w1:1 w1:2", "g1:1"], {"G1b"}),
    "a register's circle": (["w1:1 g2:1", "w2:1 g1:1"], {"G1c"}),
    "a register's read skew": (["w1:1 w2:1", "g1:1 g2:"], {"G-single"}),
    "a register's write skew": (["g1: w2:1", "g2: w1:1"], {"G2-item"}),
    "versions in a circle": (["g1:2 w1:1", "g1:1 w1:2"], {"cyclic-versions"}),
    "a register that forgets": (["w1:1 g1:"], {"internal"}),
    "a register from nowhere": (["g1:7"], {"garbage"}),
    "a stale register": (["g1: w1:1 @0-10", "g1: @11-20"], {"G-single-realtime"}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_checker_finds_what_is_there_and_nothing_else(name: str) -> None:
    texts, kinds = KNOWN[name]
    history = [parsed(text) for text in texts]
    assert kinds_of(history) == kinds
    assert kinds_of(history[::-1]) == kinds, "the order of a history's transactions says nothing"


def test_an_anomaly_is_reported_where_the_level_forbids_it() -> None:
    levels = {
        name: {level for level in FORBIDDEN if check([parsed(text) for text in KNOWN[name][0]], level=level)}
        for name in ("an aborted read", "read skew", "a long fork", "write skew", "the second read is another")
    }
    everywhere = {"read committed", "snapshot", "serializable"}
    assert levels == {
        "an aborted read": everywhere,
        "read skew": everywhere - {"read committed"},
        "a long fork": everywhere - {"read committed"},
        "write skew": {"serializable"},
        "the second read is another": everywhere - {"read committed"},
    }


def test_a_cycle_is_told_with_its_transactions() -> None:
    [found] = anomalies([parsed("a9:1"), parsed("r1: a2:1"), parsed("r2: a1:1")])
    assert found.text.splitlines()[0] in ("T1 -rw-> T2 -rw-> T1", "T2 -rw-> T1 -rw-> T2")


def test_a_committed_append_that_is_gone_at_the_end_is_lost() -> None:
    history = [parsed("a1:1"), parsed("a1:2"), parsed("? a1:3"), parsed("r1:1")]
    assert [each.text for each in lost_appends(history)] == [
        "2 of list 1, committed by transaction 1, is not there at the end"
    ]


# -- a simulated database, right or wrong in a known way ---------------------------------------------------------------


class Simulated:
    """Transactions over versioned lists, their steps interleaved by a seed; ``fault`` names what it does wrong."""

    def __init__(self, seed: int, *, fault: str = "") -> None:
        self._chance = random.Random(seed)
        self._fault = fault
        self._versions: list[dict[int, tuple[int, ...]]] = [{}]
        self._now = 0

    def history(self, count: int, *, sides: int = 4, keys: int = 5) -> list[Txn]:
        done: list[Txn] = []
        values = iter(range(1, 10**6))
        running: list[Iterator[Txn | None]] = []
        begun = 0
        while len(done) < count:
            while len(running) < (1 if self._fault == "one at a time" else sides) and begun < count:
                running.append(self._transaction(keys, values))
                begun += 1
            side = self._chance.choice(running)
            txn = next(side)
            if txn is not None:
                done.append(txn)
                running.remove(side)
        return done

    def _transaction(self, keys: int, values: Iterator[int]) -> Iterator[Txn | None]:
        self._now += 1
        begin = self._now
        late = self._fault == "stale snapshots" and len(self._versions) > 3
        base = len(self._versions) - (3 if late else 1)
        own: dict[int, tuple[int, ...]] = {}
        steps: list[Step] = []
        for _ in range(self._chance.randint(1, 4)):
            if self._fault == "a snapshot per statement":
                base = len(self._versions) - 1
            key = self._chance.randrange(keys)
            list_now = self._versions[base].get(key, ()) + own.get(key, ())
            if self._chance.random() < 0.5:
                steps.append(Read(key, list_now))
            else:
                value = next(values)
                own[key] = (*own.get(key, ()), value)
                steps.append(Append(key, value))
                if self._fault == "dirty writes":
                    self._versions[-1] = {**self._versions[-1], key: (*self._versions[-1].get(key, ()), value)}
            yield None
        newest = self._versions[-1]
        changed = any(newest.get(key) != self._versions[base].get(key) for key in own)
        aborted = self._chance.random() < 0.1 or (changed and self._fault not in ("no conflicts", "dirty writes"))
        if not aborted and own and self._fault != "dirty writes":
            source = self._versions[base] if self._fault == "last writer wins" else newest
            self._versions.append({**newest, **{key: source.get(key, ()) + own[key] for key in own}})
        self._now += 1
        outcome = Outcome.ABORTED if aborted else Outcome.COMMITTED
        yield Txn(begin=begin, end=self._now, outcome=outcome, steps=tuple(steps))


@pytest.mark.parametrize("seed", range(20))
def test_a_right_database_is_never_accused(seed: int) -> None:
    assert anomalies(Simulated(seed, fault="one at a time").history(150)) == []
    history = Simulated(seed).history(150)
    assert check(history, level="snapshot") == []
    assert check(history, level="read committed") == []


def test_snapshot_isolation_is_not_serializable() -> None:
    histories = [Simulated(seed).history(150) for seed in range(20)]
    found = [{each.kind for each in check(history, level="serializable")} for history in histories]
    assert all(kinds <= {"G2-item", "G2-item-realtime"} for kinds in found)
    assert sum(map(bool, found)) > 10


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("no conflicts", {"G-single"}),
        ("dirty writes", {"internal", "G0", "G1a", "G1b", "G1c"}),
        ("a snapshot per statement", {"internal", "G-single"}),
        ("stale snapshots", {"G-single-realtime"}),
    ],
)
def test_a_wrong_database_is_found_out(fault: str, kinds: set[str]) -> None:
    for seed in range(5):
        found = {each.kind for each in check(Simulated(seed, fault=fault).history(150), level="snapshot")}
        assert found & kinds, f"seed {seed}: {found}"


# -- WeftDB ------------------------------------------------------------------------------------------------------------

LEVELS: Final = ("read committed", "snapshot", "serializable")
"""The levels that exist; a new one is added here, and all of this holds for it."""


class History:
    """What all clients of one run noted, from any thread."""

    def __init__(self) -> None:
        self._noted: dict[tuple[int, int], Txn] = {}
        self._more: list[Txn] = []
        self.broken = False

    def note(self, at: tuple[int, int], txn: Txn) -> None:
        self._noted[at] = txn

    def ended(self, count: int) -> bool:
        """Whether there are enough, or there is an error already."""
        return self.broken or len(self._noted) >= count

    def add(self, txns: Sequence[Txn]) -> None:
        self._more += txns

    def run(self, works: Sequence[Callable[[], None]]) -> None:
        """All at once; the first error of any ends all of them, and the test."""

        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except BaseException:
                self.broken = True
                raise

        with ThreadPoolExecutor(len(works)) as pool:
            for done in as_completed([pool.submit(guarded, work) for work in works]):
                done.result()

    def check(self, database: Database, *, level: str) -> Counter[Outcome]:
        """Fails with what was found; returns how many transactions ended how."""
        history = [*self._noted.values(), *self._more, read_all(database)]
        found = [*check(history, level=level), *lost_appends(history)]
        assert not found, "\n\n".join(f"{each.kind}: {each.text}" for each in found[:5])
        return Counter(txn.outcome for txn in history)


@pytest.mark.parametrize("level", LEVELS)
def test_a_history_of_threads_is_one_that_the_level_allows(tmp_path: Path, level: str) -> None:
    """Embedded, while rows go into segments and segments are merged."""
    count = _count(250, long=3_000)
    plan = Plan(level=level)
    history = History()
    with weftdb.open(str(tmp_path / "data")) as database:
        for table in TABLES:
            database.execute(table)
        works = [
            partial(
                play,
                database,
                plan=plan,
                seed=SEED * 100 + at,
                client=at,
                note=history.note,
                stop=lambda: history.ended(count),
            )
            for at in range(6)
        ]

        def maintain() -> None:
            chance = random.Random(SEED)
            while not history.ended(count):
                time.sleep(chance.uniform(0, 0.4))
                database.execute(chance.choice(("CHECKPOINT", "VACUUM")))

        history.run([*works, maintain])
        ended = history.check(database, level=level)
    assert ended[Outcome.COMMITTED] > count / 4
    assert ended[Outcome.ABORTED] > count / 50
    assert ended[Outcome.UNKNOWN] == 0


@pytest.mark.skipif(FACTOR == 1, reason="starts many processes: `make soak` runs it")
@pytest.mark.parametrize("level", LEVELS)
def test_a_history_over_kills_of_clients_and_server_is_one_that_the_level_allows(tmp_path: Path, level: str) -> None:
    """Over gRPC. The server dies by SIGKILL and comes back; clients that are processes die and others come."""
    count = _count(60, long=1_000)
    plan = Plan(level=level)
    history = History()
    chance = random.Random(SEED)
    names = itertools.count(100)
    children: list[ClientChild] = []
    zygote = Zygote()
    child = ForkedServer(tmp_path / "data", zygote)

    def new_client() -> ClientChild:
        name = next(names)
        return ClientChild(child.url, plan=plan, seed=SEED * 100 + name, client=name, folder=tmp_path)

    def break_things() -> None:
        children.append(new_client())
        for turn in itertools.count():
            if (turn > 1 and history.ended(count)) or history.broken:
                break
            time.sleep(chance.uniform(0.3, 0.8))
            if turn % 3 != 1:
                child.kill()
                time.sleep(chance.uniform(0, 0.1))
                child.start()
            else:
                children[-1].wait_until_busy()
                children[-1].kill()
                children.append(new_client())
        children[-1].kill()

    def client(at: int) -> None:
        with weftdb.connect(child.url) as mine:
            play(
                mine,
                plan=plan,
                seed=SEED * 1000 + at,
                client=at,
                note=history.note,
                stop=lambda: history.ended(count),
            )

    try:
        with child:
            with weftdb.connect(child.url) as database:
                for table in TABLES:
                    database.execute(table)
            history.run([break_things, *(partial(client, at) for at in range(4))])
            for each in children:
                history.add(each.history())
            with weftdb.connect(child.url) as database:
                ended = history.check(database, level=level)
    finally:
        zygote.close()
    assert ended[Outcome.COMMITTED] > count / 5
    assert ended[Outcome.ABORTED] > 0
    assert sum(len(each.history()) for each in children) > 0


def _count(short: int, *, long: int) -> int:
    """Transactions of a run: 200,000 of the two together in `make soak`, unless its FACTOR says otherwise."""
    return short if FACTOR == 1 else long * FACTOR
