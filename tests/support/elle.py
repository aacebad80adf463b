"""A history checker by the method of Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies", VLDB 2020).

A history is what clients saw: per transaction its reads and writes, when it began and ended, and whether it committed.
Nothing is known of the database's inside. Because every written value is written once only, a value that was read names
the transaction that wrote it, and because a list only grows, a list that was read tells the order of all its writes:

    ww    wrote a version, the other wrote the next one
    wr    wrote a version, the other read it
    rw    read a version, the other wrote the next one (an anti-dependency)
    rt    had ended before the other began: an acknowledged commit is visible to all that begin later

Each of ww, wr and rt says "committed before the other", and under snapshot isolation "before the other's snapshot"; rw
says "its snapshot is older than the other's commit". So a cycle is a proof that a level was violated:

    G0             only ww                                             forbidden at every level
    G1c            ww and wr                                           forbidden at every level
    G-single       one rw                                              forbidden from snapshot isolation on
    G-nonadjacent  several rw, no two of them one after the other      forbidden from snapshot isolation on
    G2-item        two rw one after the other                          forbidden by serializable
    …-realtime     the same, with rt in it

and what needs no cycle, forbidden at every level: ``G1a`` (read what was aborted), ``G1b`` (read what was not the
writer's last), ``garbage`` (read what nobody wrote), ``duplicate``, ``incompatible-order`` (two reads of one list that
are not each other's beginning), ``cyclic-versions`` (of a register), ``internal`` (a transaction does not see its own
past), ``lost`` (a committed append that the last read of its list does not have; see ``lost_appends``). From snapshot
isolation on also ``lost-update``: two transactions read one version of a register, and both wrote the next; of a list,
that is a G-single.

A cycle without two adjacent rw edges is a cycle in a graph with two nodes per transaction: one that an rw edge led to,
which no rw edge leaves, and one for all other ways in. Cycles are found by taking away what has no predecessor (Kahn),
in time linear in the history. No false alarms: whatever is reported is a proof. What is not seen in any read proves
nothing.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, TypeAlias

Edge: TypeAlias = Literal["ww", "wr", "rw", "rt"]
Graph: TypeAlias = list[list[tuple[int, Edge]]]


@dataclass(frozen=True, slots=True)
class Append:
    """A value at the end of a list; no two appends to a list have the same value."""

    key: int
    value: int


@dataclass(frozen=True, slots=True)
class Write:
    """A register's new value; no two writes of a register have the same value."""

    key: int
    value: int


@dataclass(frozen=True, slots=True)
class Read:
    """What was found: a list's values, a register's value, None for a register that was never written."""

    key: int
    found: tuple[int, ...] | int | None


Step: TypeAlias = Append | Write | Read


class Outcome(Enum):
    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"
    """The client never learned it: the server or the client itself died at the commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Txn:
    """One transaction as its client saw it; times are of one clock for all clients."""

    begin: int
    end: int
    outcome: Outcome
    steps: tuple[Step, ...]
    client: int = 0


@dataclass(frozen=True, slots=True)
class Anomaly:
    kind: str
    text: str


_ALWAYS: Final = frozenset(
    {"G0", "G0-realtime", "G1a", "G1b", "G1c", "G1c-realtime"}
    | {"garbage", "duplicate", "incompatible-order", "cyclic-versions", "internal", "lost"}
)
_SNAPSHOT: Final = _ALWAYS | {"lost-update", "G-single", "G-single-realtime", "G-nonadjacent", "G-nonadjacent-realtime"}
FORBIDDEN: Final[Mapping[str, frozenset[str]]] = {
    "read committed": _ALWAYS,
    "snapshot": _SNAPSHOT,
    "serializable": _SNAPSHOT | {"G2-item", "G2-item-realtime"},
}


def check(history: Sequence[Txn], *, level: str) -> list[Anomaly]:
    """The anomalies that ``level`` forbids: at most one cycle of each kind, all others one by one."""
    return [each for each in anomalies(history, repeatable=level != "read committed") if each.kind in FORBIDDEN[level]]


def anomalies(history: Sequence[Txn], *, repeatable: bool = True) -> list[Anomaly]:
    """All that is found, whatever the level. Without ``repeatable`` a second read may find something else."""
    facts = _Facts(history, repeatable=repeatable)
    facts.read_lists()
    facts.read_registers()
    return facts.found + list(_cycles(facts))


def lost_appends(history: Sequence[Txn]) -> list[Anomaly]:
    """Committed appends that the last transaction, a read of all lists after everything had ended, does not find."""
    there = {read.key: set(_values(read)) for read in history[-1].steps if isinstance(read, Read)}
    return [
        Anomaly("lost", f"{step.value} of list {step.key}, committed by transaction {at}, is not there at the end")
        for at, txn in enumerate(history)
        if txn.outcome is Outcome.COMMITTED
        for step in txn.steps
        if isinstance(step, Append) and step.value not in there.get(step.key, ())
    ]


_Version: TypeAlias = tuple[int, ...] | int | None
"""What a read found of others: a list without the own appends, a register's value."""


@dataclass(frozen=True, slots=True)
class _Writer:
    txn: int
    last: bool
    """Whether it is the transaction's last write of this key."""


@dataclass(slots=True)
class _Key:
    """What committed transactions did with one key: (transaction, what it read of others), and the values written."""

    reads: list[tuple[int, _Version]] = field(default_factory=list)
    written: list[int] = field(default_factory=list)


class _Facts:
    """Who wrote what, which transactions count as committed, and the edges between them."""

    def __init__(self, history: Sequence[Txn], *, repeatable: bool) -> None:
        self.history = history
        self.repeatable = repeatable
        self.found: list[Anomaly] = []
        self.edges: Graph = [[] for _ in history]
        self._writers = _writers(history)
        self.committed = _committed(history, self._writers)

    def note(self, kind: str, text: str) -> None:
        self.found.append(Anomaly(kind, text))

    def _edge(self, source: int, target: int, kind: Edge) -> None:
        if source != target:
            self.edges[source].append((target, kind))

    def read_lists(self) -> None:
        for key, did in self._keys(Append, _read_of_lists).items():
            longest = self._longest(key, did)
            if longest is not None and not [value for value in longest if not self._known(key, value)]:
                self._link_list(key, did, longest)

    def _longest(self, key: int, did: _Key) -> tuple[int, ...] | None:
        """The longest read of a list, of which all others are beginnings; None if they are not, which is noted."""
        longest: tuple[int, ...] = ()
        for txn, values in did.reads:
            assert isinstance(values, tuple)
            short, long = sorted((longest, values), key=len)
            if len(set(values)) != len(values):
                self.note("duplicate", f"list {key}: {txn} read a value twice: {_shown(values)}")
                return None
            if long[: len(short)] != short:
                self.note("incompatible-order", f"list {key}: {txn} read {_shown(values)}, others {_shown(longest)}")
                return None
            longest = long
        return longest

    def _link_list(self, key: int, did: _Key, order: tuple[int, ...]) -> None:
        writers = [self._writers[key, value].txn for value in order]
        for one, following in itertools.pairwise(writers):
            self._edge(one, following, "ww")
        behind = {self._writers[key, value].txn for value in did.written} - set(writers)
        for other in behind if writers else ():
            self._edge(writers[-1], other, "ww")
        for txn, values in did.reads:
            assert isinstance(values, tuple)
            if values:
                self._found_by(txn, key, values[-1])
            for other in writers[len(values) : len(values) + 1] or behind:
                self._edge(txn, other, "rw")

    def read_registers(self) -> None:
        for key, did in self._keys(Write, _read_of_registers).items():
            versions = {version for _, version in did.reads if isinstance(version, int)}
            if not [version for version in versions if not self._known(key, version)]:
                self._link_register(key, did)

    def _link_register(self, key: int, did: _Key) -> None:
        """Of the order is known what follows from transactions that read one version and then wrote another."""
        read_by = dict(did.reads)
        following: defaultdict[_Version, list[int]] = defaultdict(list)
        updates: defaultdict[_Version, list[int]] = defaultdict(list)
        for value in did.written:
            txn = self._writers[key, value].txn
            following[read_by.get(txn)].append(value)
            if txn in read_by:
                updates[read_by[txn]].append(txn)
        for version, txns in updates.items():
            if len(txns) > 1:
                self.note("lost-update", f"register {key}: {txns} all read {version} and wrote another")
        if cycle := _cycle_of_versions(following, did.written):
            self.note("cyclic-versions", f"register {key}: {' < '.join(map(str, cycle))}")
            return
        for before, values in list(following.items()):
            for value in values if isinstance(before, int) else ():
                assert isinstance(before, int)
                self._edge(self._writers[key, before].txn, self._writers[key, value].txn, "ww")
        for txn, version in did.reads:
            if isinstance(version, int):
                self._found_by(txn, key, version)
            for after in following[version]:
                self._edge(txn, self._writers[key, after].txn, "rw")

    def _keys(self, kind: type[Append | Write], reads_of: _Reads) -> dict[int, _Key]:
        """All keys that are lists (``kind`` is Append) or registers (Write)."""
        keys: defaultdict[int, _Key] = defaultdict(_Key)
        for at in self.committed:
            steps: defaultdict[int, list[Step]] = defaultdict(list)
            for step in self.history[at].steps:
                if isinstance(step, kind) or (
                    isinstance(step, Read) and isinstance(step.found, tuple) is (kind is Append)
                ):
                    steps[step.key].append(step)
            for key, own in steps.items():
                keys[key].reads += [(at, version) for version in reads_of(at, own, self)]
                written = [step.value for step in own if isinstance(step, kind)]
                keys[key].written += written if kind is Append else written[-1:]
        return keys

    def _known(self, key: int, value: int) -> bool:
        """Whether somebody who committed wrote it; if not, that is noted."""
        writer = self._writers.get((key, value))
        if writer is None:
            self.note("garbage", f"key {key}: {value} was read, which nobody wrote")
        elif writer.txn not in self.committed:
            self.note("G1a", f"key {key}: {value} was read, which {writer.txn} wrote and did not commit")
        return writer is not None and writer.txn in self.committed

    def _found_by(self, reader: int, key: int, value: int) -> None:
        writer = self._writers[key, value]
        if not writer.last and writer.txn != reader:
            self.note("G1b", f"key {key}: {reader} read {value}, which {writer.txn} wrote over itself")
        self._edge(writer.txn, reader, "wr")


_Reads: TypeAlias = Callable[[int, list[Step], _Facts], Iterator[_Version]]


def _read_of_lists(at: int, steps: list[Step], facts: _Facts) -> Iterator[tuple[int, ...]]:
    """What one transaction read of others in one list; a read that denies its own past is noted."""
    own: tuple[int, ...] = ()
    before: tuple[int, ...] | None = None
    for step in steps:
        if isinstance(step, Append):
            own += (step.value,)
        elif isinstance(step, Read):
            assert isinstance(step.found, tuple)
            others = step.found[: len(step.found) - len(own)]
            if others + own != step.found or (facts.repeatable and before not in (None, others)):
                facts.note(
                    "internal", f"list {step.key}: {at} read {_shown(step.found)}, before {_shown(before or ())}"
                )
            elif others != before:
                before = others
                yield others


def _read_of_registers(at: int, steps: list[Step], facts: _Facts) -> Iterator[int | None]:
    """The same for a register."""
    own = False
    before: tuple[int | None] | None = None
    for step in steps:
        if isinstance(step, Write):
            own, before = True, (step.value,)
        elif isinstance(step, Read):
            assert not isinstance(step.found, tuple)
            if before == (step.found,):
                continue
            if before is not None and (own or facts.repeatable):
                facts.note("internal", f"register {step.key}: {at} read {step.found}, before {before[0]}")
                continue
            before = (step.found,)
            yield step.found


def _writers(history: Sequence[Txn]) -> dict[tuple[int, int], _Writer]:
    writers: dict[tuple[int, int], _Writer] = {}
    for at, txn in enumerate(history):
        mine = [step for step in txn.steps if not isinstance(step, Read)]
        last = {step.key: step.value for step in mine}
        for step in mine:
            assert (step.key, step.value) not in writers, f"{step} is written twice: such a history tells nothing"
            writers[step.key, step.value] = _Writer(at, last[step.key] == step.value)
    return writers


def _committed(history: Sequence[Txn], writers: Mapping[tuple[int, int], _Writer]) -> set[int]:
    """What was acknowledged, and of the unknown ones those of which such a one (or one of these) read something."""
    todo = [at for at, txn in enumerate(history) if txn.outcome is Outcome.COMMITTED]
    committed = set(todo)
    while todo:
        for step in history[todo.pop()].steps:
            for value in _values(step) if isinstance(step, Read) else ():
                writer = writers.get((step.key, value))
                if writer and writer.txn not in committed and history[writer.txn].outcome is Outcome.UNKNOWN:
                    committed.add(writer.txn)
                    todo.append(writer.txn)
    return committed


# -- cycles ------------------------------------------------------------------------------------------------------------

_DEPENDENCIES: Final[frozenset[Edge]] = frozenset({"ww", "wr"})
_STAGES: Final[Sequence[tuple[frozenset[Edge], bool]]] = (
    # edges, and whether two adjacent rw are left out
    (frozenset({"ww"}), False),
    (_DEPENDENCIES, False),
    (_DEPENDENCIES | {"rw"}, True),
    (_DEPENDENCIES | {"rw"}, False),
)


def _cycles(facts: _Facts) -> Iterator[Anomaly]:
    """One cycle of each kind that is found, the worst kinds first."""
    graph = _in_time(facts)
    if not _cycle(graph):
        return
    seen: set[str] = set()
    for edges, apart in _STAGES:
        for allowed in (edges, edges | {"rt"}):
            part: Graph = [[edge for edge in out if edge[1] in allowed] for out in graph]
            cycle = [(at % len(graph), kind) for at, kind in _cycle(_rw_apart(part) if apart else part)]
            kind = _kind([edge for _, edge in cycle])
            if cycle and kind not in seen:
                seen.add(kind)
                yield Anomaly(kind, _told(cycle, facts.history))


def _in_time(facts: _Facts) -> Graph:
    """The edges, and rt: every end is followed by a node of its own, the last of which everything that begins follows.

    So they are two per transaction, not one per pair.
    """
    graph: Graph = [list(out) for out in facts.edges]
    begins = [(facts.history[at].begin, 0, at) for at in facts.committed]
    ends = [(facts.history[at].end, 1, at) for at in facts.committed if facts.history[at].outcome is Outcome.COMMITTED]
    last: int | None = None
    for _, is_end, at in sorted(begins + ends):
        if is_end:
            graph.append([])
            for source in (at, last):
                if source is not None:
                    graph[source].append((len(graph) - 1, "rt"))
            last = len(graph) - 1
        elif last is not None:
            graph[last].append((at, "rt"))
    return graph


def _rw_apart(graph: Graph) -> Graph:
    """Every node twice: the second is where an rw edge leads to, and no rw edge leaves it."""
    first: Graph = [[(at + len(graph), kind) if kind == "rw" else (at, kind) for at, kind in out] for out in graph]
    second: Graph = [[edge for edge in out if edge[1] != "rw"] for out in graph]
    return first + second


def _cycle(graph: Graph) -> list[tuple[int, Edge]]:
    """A short cycle, as its nodes with the edge that leaves each; [] if there is none."""
    incoming = [0] * len(graph)
    for out in graph:
        for target, _ in out:
            incoming[target] += 1
    free = [at for at, count in enumerate(incoming) if not count]
    while free:
        for target, _ in graph[free.pop()]:
            incoming[target] -= 1
            if not incoming[target]:
                free.append(target)
    # What is left has a predecessor that is left, too: walking back ends in a circle.
    before = {target: at for at, count in enumerate(incoming) if count for target, _ in graph[at]}
    if not before:
        return []
    walked: list[int] = [next(iter(before))]
    places = {walked[0]: 0}
    while (at := before[walked[-1]]) not in places:
        places[at] = len(walked)
        walked.append(at)
    around = walked[places[at] :]
    return min((_shortest(graph, start) for start in around[:10]), key=len)


def _shortest(graph: Graph, start: int) -> list[tuple[int, Edge]]:
    """The shortest way from ``start``, which lies on a cycle, to itself."""
    came: dict[int, tuple[int, Edge]] = {}
    queue = deque([start])
    while start not in came:
        at = queue.popleft()
        for target, kind in graph[at]:
            if target not in came:
                came[target] = (at, kind)
                queue.append(target)
    way = [came[start]]
    while way[-1][0] != start:
        way.append(came[way[-1][0]])
    return way[::-1]


def _kind(edges: Sequence[Edge]) -> str:
    """What a cycle of these edges is called. Nodes between two rt edges are no transactions."""
    timed = "-realtime" if "rt" in edges else ""
    antis = edges.count("rw")
    if antis == 0:
        return ("G1c" if "wr" in edges else "G0") + timed
    if antis == 1:
        return "G-single" + timed
    adjacent = any(one == following == "rw" for one, following in zip(edges, [*edges[1:], edges[0]], strict=True))
    return ("G2-item" if adjacent else "G-nonadjacent") + timed


def _told(cycle: Sequence[tuple[int, Edge]], history: Sequence[Txn]) -> str:
    txns = [(at, kind) for at, kind in cycle if at < len(history)]
    way = " ".join(f"T{at} -{kind}->" for at, kind in txns) + f" T{txns[0][0]}"
    return "\n".join([way, *(f"  T{at}: {history[at].steps}" for at, _ in txns)])


def _cycle_of_versions(following: Mapping[_Version, list[int]], written: Sequence[int]) -> list[int]:
    places = {value: at for at, value in enumerate(written)}
    graph: Graph = [[(places[after], "ww") for after in following.get(value, ())] for value in written]
    return [written[at] for at, _ in _cycle(graph)]


def _values(read: Read) -> tuple[int, ...]:
    if isinstance(read.found, tuple):
        return read.found
    return () if read.found is None else (read.found,)


def _shown(values: tuple[int, ...]) -> str:
    """A list's end; the beginning of a long one says little."""
    return f"[{'… ' if len(values) > 8 else ''}{' '.join(map(str, values[-8:]))}]"
