"""The specs of PostgreSQL's isolation tester: read, and played in one thread, since nothing blocks here.

    setup { … }   teardown { … }   session NAME   setup { … }   step NAME { … }   permutation STEP …

    parse()            a spec
    Spec.orders()      its permutations, or all interleavings of its sessions where it names none
    play()             one of them: what each step answered, who was refused, and the rows at the end
    serial_order()     an order in which those that committed, played one after the other, give the same

A Conflict ends a transaction wherever it comes; PostgreSQL's is an error of SQLSTATE 40001. What PostgreSQL needs and
WeftDB does not have (indexes, costs of its planner) is left out, what both can do is said otherwise (``ADAPTED``).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from weftdb.base.errors import Conflict, WeftError
from weftdb.engine.database import Engine
from weftdb.sql.session import Session

Answer: TypeAlias = list[tuple[object, ...]] | str
"""The rows of a query in any order (of another statement, how many it changed), or an error's SQLSTATE."""

ADAPTED: Final[Sequence[tuple[str, str]]] = (
    (r"(?is)create (unique )?index [^;]*;", ""),
    (r"(?is)vacuum [^;]*;", ""),
    (r"(?is)set (local )?(enable|seq_page|random_page|cpu_tuple)_\w+\s*=[^;]*;", ""),
    (r"(?is) with \(fillfactor=\d+\)", ""),
    (r"(?is)select generate_series(\([^)]*\))((?:, [^;)]*)?)", r"select i\2 from generate_series\1 as s(i)"),
    (
        r"(?is)create table (\w+) \((id int not null[^;]*?)\);(.*?)alter table \1 add primary key \(id\);",
        r"create table \1 (\2, primary key (id));\3",
    ),
    (r"\b1000000\b", "1000"),  # rows of multiple-row-versions, which takes a while with a million of them
    (r"\b500000\b", "500"),
)

_PART: Final = re.compile(
    r"""\s*(?: session\s+"?(?P<session>\w+)"?
             | step\s+"?(?P<step>\w+)"?\s*\{(?P<sql>[^}]*)\}
             | (?P<when>setup|teardown)\s*\{(?P<done>[^}]*)\}
             | permutation\s+(?P<steps>(?:(?!permutation)"?\w+"?\s*)+) )""",
    re.VERBOSE,
)
_BEGINS: Final = re.compile(r"(?i)\s*(begin|start)\b")
_ENDS: Final = re.compile(r"(?i)\s*(commit|end|abort|rollback)\s*;?\s*$")


@dataclass(slots=True, kw_only=True)
class Sessions:
    """One session of a spec: what it says at first, and its steps by name."""

    setup: str = ""
    steps: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True, kw_only=True)
class Spec:
    """``permutations`` are steps by name; empty: all interleavings."""

    setup: str = ""
    teardown: str = ""
    sessions: dict[str, Sessions] = field(default_factory=dict[str, Sessions])
    permutations: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def orders(self) -> Iterator[tuple[str, ...]]:
        steps = [tuple(session.steps) for session in self.sessions.values()]
        return iter(self.permutations) if self.permutations else _merges(steps)

    @property
    def session_of(self) -> Mapping[str, str]:
        return {step: name for name, session in self.sessions.items() for step in session.steps}

    @property
    def sql(self) -> Mapping[str, str]:
        return {step: sql for session in self.sessions.values() for step, sql in session.steps.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """``refused``: the sessions that a Conflict met."""

    answers: Mapping[str, Answer]
    refused: frozenset[str]
    final: Mapping[str, Answer]


def parse(text: str) -> Spec:
    """Raises ValueError for what is no spec."""
    spec = Spec()
    session: Sessions | None = None
    text = re.sub(r"#[^\n]*", "", text)
    at = 0
    while text[at:].strip():
        found = _PART.match(text, at)
        if found is None:
            raise ValueError(f"no part of a spec: {text[at : at + 60]!r}")
        at = found.end()
        if found["session"]:
            session = spec.sessions[found["session"]] = Sessions()
        elif found["step"]:
            assert session is not None, "a step is of a session"
            session.steps[found["step"]] = found["sql"]
        elif found["steps"]:
            spec.permutations.append(tuple(found["steps"].replace('"', "").split()))
        elif session is not None and found["when"] == "setup":
            session.setup += found["done"]
        elif found["when"] == "setup":
            spec.setup += found["done"]
        elif session is None:
            spec.teardown += found["done"]
    return spec


def adapted(text: str, *, level: str | None = None) -> str:
    """A spec's text as WeftDB takes it; with ``level`` in the place of SERIALIZABLE."""
    for pattern, replacement in ADAPTED:
        text = re.sub(pattern, replacement, text)
    return text if level is None else re.sub(r"(?i)level serializable", f"LEVEL {level}", text)


def play(engine: Engine, spec: Spec, order: Sequence[str]) -> Played:
    """The steps of an order, each in its session; what nobody ended is rolled back."""
    answers: dict[str, Answer] = {}
    refused: set[str] = set()
    sql, session_of = spec.sql, spec.session_of
    with Session(engine) as main:
        main.execute(spec.setup)
        sessions = {name: Session(engine) for name in spec.sessions}
        try:
            for name, session in sessions.items():
                if spec.sessions[name].setup.strip():
                    session.execute(spec.sessions[name].setup)
            for step in order:
                name = session_of[step]
                try:
                    answers[step] = _answer(sessions[name], sql[step])
                except Conflict:
                    refused.add(name)
                    answers[step] = "40001"
                except WeftError as error:
                    answers[step] = str(error.sqlstate)
        finally:
            for session in sessions.values():
                session.close()
        tables = [row[0] for row in main.execute("SELECT table_name FROM information_schema.tables").rows()]
        mine = [name for name in tables if re.search(rf"(?i)\btable {name}\b", spec.setup)]
        final = {name: _answer(main, f"SELECT * FROM {name}") for name in mine}
        main.execute(spec.teardown)
    return Played(answers=answers, refused=frozenset(refused), final=final)


def serial_order(engine: Engine, spec: Spec, order: Sequence[str], played: Played) -> list[str] | None:
    """Steps of the transactions that committed, one transaction after the other, with the answers of ``played``.

    What had ended before another transaction began comes before it.
    """
    units = _committed(spec, order, played)
    places = [(order.index(unit[0]), order.index(unit[-1])) for unit in units]
    for turns in itertools.permutations(range(len(units))):
        if any(places[two][1] < places[one][0] for one, two in itertools.combinations(turns, 2)):
            continue
        steps = [step for at in turns for step in units[at]]
        alone = play(engine, spec, steps)
        if alone.final == played.final and all(alone.answers[step] == played.answers[step] for step in steps):
            return steps
    return None


def _committed(spec: Spec, order: Sequence[str], played: Played) -> list[list[str]]:
    """The steps of each transaction that committed; a statement of no transaction is one."""
    units: list[list[str]] = []
    for name, session in spec.sessions.items():
        is_open, unit = bool(_BEGINS.match(session.setup)), list[str]()
        for step in (step for step in order if step in session.steps):
            is_open = is_open or bool(_BEGINS.match(session.steps[step]))
            unit.append(step)
            ends = bool(_ENDS.match(session.steps[step]))
            if is_open and not ends:
                continue
            failed = any(isinstance(played.answers[each], str) for each in unit)
            if not failed and not re.match(r"(?i)\s*(abort|rollback)", session.steps[step]):
                units.append(unit)
            is_open, unit = False, []
        assert name
    return units


def _answer(session: Session, sql: str) -> Answer:
    result: Any = session.execute(sql)
    if result.tag.startswith("SELECT"):
        return sorted(map(tuple, result.rows()), key=repr)
    return [(result.tag,)]


def _merges(rows: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """All orders that keep each row's own."""
    if not any(rows):
        yield ()
    for at, row in enumerate(rows):
        if row:
            for rest in _merges([*rows[:at], row[1:], *rows[at + 1 :]]):
                yield (row[0], *rest)
