"""What a database with views has to show, compared with the oracle; view_world.py changes it.

Each view is read at the newest version, at each open snapshot, and by the transaction that is open beside, if there is
one; a kept query is asked of one of them, with and without views. What a snapshot shows is compared with what the
oracle said of its version when it was the newest. Views are read by SELECT, now and then by the key-value interface;
the oracle itself is compared with SQL over the rows, now and then.
"""

from __future__ import annotations

import collections
import math
import random
from dataclasses import dataclass, field
from typing import Any

import view_grammar as grammar
from from_rows import from_rows, from_views
from view_grammar import View
from view_oracle import Answer, Fails, Grouped, Overflows, Row, differs
from weftdb.base.errors import WeftError

OVERFLOW = "22003"
QUERIES_MAX = 4


@dataclass
class Seen:
    """What a reader has to see: rows, and by view what it shows (an SQLSTATE where it cannot)."""

    rows: list[Row]
    sides: dict[str, list[Row]]
    columns: tuple[str, ...]
    views: dict[str, tuple[View, Answer | str]] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """More than the sum of absolutes of any aggregate of floats."""
        found = (abs(row[name]) for row in self.rows for name in ("y", "r") if row[name] is not None)
        return 2 * math.fsum(value for value in found if math.isfinite(value)) + 1


@dataclass
class Snapshot:
    on: Any
    version: int
    seen: Seen
    name: str | None


class Checked:
    """The database, what is there, and what it has to show. ``counts``: of operations and of what was compared.

    ``gone``: by view that retains, the rows that its table has forgotten. ``pending``: an open transaction, what it
    saw first, and whether it has written.
    """

    db: Any

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.counts: collections.Counter[str] = collections.Counter()
        self.log: list[str] = []
        self.views: dict[str, View] = {}
        self.gone: dict[str, list[Row]] = {}
        self.added: tuple[str, ...] = ()
        self.snapshots: list[Snapshot] = []
        self.pending: tuple[Any, Seen, bool] | None = None
        self.queries: list[Grouped] = []
        self.now = Seen([], {}, ())

    def say(self, text: str) -> None:
        self.log.append(text)

    def rows(self, on: Any, columns: tuple[str, ...] | None = None) -> list[Row]:
        columns = (*grammar.COLUMNS, *self.added) if columns is None else columns
        return [
            dict(zip(columns, row, strict=True)) for row in on.execute(f"SELECT {', '.join(columns)} FROM t").rows()
        ]

    def look(self, on: Any = None, known: dict[str, tuple[View, Answer | str]] | None = None) -> Seen:
        on = on or self.db
        names = ("did", "city", "grp")
        sides = [dict(zip(names, row, strict=True)) for row in on.execute("SELECT did, city, grp FROM dk").rows()]
        seen = Seen(self.rows(on), {"dk": sides}, (*grammar.COLUMNS, *self.added))
        seen.views = self.expected(seen.rows) if known is None else dict(known)
        return seen

    def expected(self, rows: list[Row]) -> dict[str, tuple[View, Answer | str]]:
        return {name: (view, said(view.grouped, rows + self.gone.get(name, []))) for name, view in self.views.items()}

    def check(self, *, wrote: bool) -> None:
        seen = self.look()
        assert wrote or same_rows(seen.rows, self.now.rows), "rows change by nothing but writes"
        self.now = seen
        self.counts["rows seen"] += len(seen.rows)
        self.check_views(self.db, seen)
        for snapshot in self.snapshots:
            self.check_views(snapshot.on, snapshot.seen)
            if self.draw.random() < 0.1:
                found = self.rows(snapshot.on, snapshot.seen.columns)
                assert same_rows(found, snapshot.seen.rows), ("a snapshot stays", snapshot.version)
        if self.pending is not None:
            txn, seen, wrote_there = self.pending
            if wrote_there:
                self.check_own(txn, seen)
            else:
                self.check_views(txn, seen)
        self.ask_one()
        if self.views and self.draw.random() < 0.03:
            name = self.draw.choice(sorted(self.views))
            differ = self.db.execute(f"VERIFY MATERIALIZED VIEW {name}").rows()
            assert differ == [], (name, differ)

    def check_views(self, on: Any, seen: Seen) -> None:
        for name, (view, right) in seen.views.items():
            self.compare(on, view.grouped, f"SELECT * FROM {name}", right, ask=plainly)
            self.counts["views read"] += 1
            self.counts["groups read"] += len(right) if isinstance(right, dict) else 0
        if seen.views and self.draw.random() < 0.2:
            name = self.draw.choice(sorted(seen.views))
            self.check_other_ways(on, name, *seen.views[name])

    def check_other_ways(self, on: Any, name: str, view: View, right: Answer | str) -> None:
        """The key-value interface; and the recomputation by SQL, which knows the oracle's mistakes."""
        if isinstance(right, str):
            return
        names = view.grouped.names
        table = on.table(name)
        inside = self.pending is not None and on is self.pending[0]
        match self.draw.choice(("scan", "scan" if inside else "export", "get", "rows")):
            case "scan" | "export" as way:
                found = getattr(table, way)(columns=list(names)).read_all().to_pylist()
                shown = view.grouped.shown([tuple(row[label] for label in names) for row in found])
                problem = differs(shown, right)
                assert problem is None, (way, name, view.grouped.text, problem)
            case "get" if right and len(names) > len(view.keys):
                key, values = self.draw.choice(list(right.items()))
                if "NaN" not in key:
                    asked = dict(zip((f"k{place}" for place in range(len(key))), key, strict=True))
                    row = table.get(asked)
                    assert row is not None, ("get", name, asked)
                    shown = {key: tuple(row[f"a{place}"] for place in range(len(values)))}
                    problem = differs(shown, {key: values})
                    assert problem is None, ("get", name, view.grouped.text, problem)
            case "rows" if not view.over and not view.retains:
                scale = self.scale_of(on)
                self.compare(on, view.grouped, view.grouped.text, right, ask=from_rows, scale=scale)
            case _:
                pass

    def scale_of(self, on: Any) -> float:
        return Seen(self.rows(on, grammar.COLUMNS), {}, ()).scale

    def compare(
        self, on: Any, grouped: Grouped, text: str, right: Answer | str, *, ask: Any = from_views, scale: float = 0.0
    ) -> None:
        try:
            rows = ask(on, text).rows()
        except WeftError as error:
            if error.sqlstate != OVERFLOW or not (isinstance(right, str) or (scale and grouped.spreads)):
                raise AssertionError((text, grouped.text, error.sqlstate, str(error))) from error
            return
        if isinstance(right, str):
            assert ask is from_rows or scale, (text, grouped.text, "should overflow", rows)
            return
        problem = differs(grouped.shown(rows), right, scale=scale, without=grouped.spreads if scale else ())
        assert problem is None, (text, grouped.text, problem)

    def check_inside(self, txn: Any, *, wrote: bool) -> None:
        """A transaction sees its own writes in views; one of them is enough, they are computed from rows."""
        if self.views:
            rows = self.rows(txn)
            name = self.draw.choice(sorted(self.views))
            view = self.views[name]
            if view.retains and wrote:
                return
            right = said(view.grouped, rows + self.gone.get(name, []))
            scale = Seen(rows, {}, ()).scale
            self.compare(txn, view.grouped, f"SELECT * FROM {name}", right, scale=scale)
            self.counts["views read inside"] += 1

    def check_own(self, txn: Any, seen: Seen) -> None:
        """The same in the transaction that stays open."""
        rows = self.rows(txn, seen.columns)
        for name, (view, _) in seen.views.items():
            if not view.retains:
                right = said(view.grouped, rows)
                self.compare(txn, view.grouped, f"SELECT * FROM {name}", right, scale=Seen(rows, {}, ()).scale)
                self.counts["views read inside"] += 1
                break

    # Queries that views may answer.

    def ask_one(self) -> None:
        """A kept query, now and then a new one, at one of the readers."""
        draw = self.draw
        if len(self.queries) < QUERIES_MAX or draw.random() < 0.2:
            self.queries = self.queries[-QUERIES_MAX + 1 :]
            self.queries.append(grammar.a_query(draw, list(self.views.values())))
        query = draw.choice((*self.queries, self.queries[-1], self.queries[-1]))
        readers = [(self.db, self.now)] * 2 + [(snapshot.on, snapshot.seen) for snapshot in self.snapshots]
        if self.pending is not None and not self.pending[2]:
            readers.append(self.pending[:2])
        on, seen = draw.choice(readers)
        missing = [name for name in set(self.added) - set(seen.columns) if name in query.text]
        if missing:
            return
        right = said(query, seen.rows, seen.sides)
        before = self.answered()
        self.compare(on, query, query.text, right, ask=from_views, scale=seen.scale)
        self.counts["queries"] += 1
        if self.answered() > before:
            self.counts["queries matched"] += 1
        if draw.random() < 0.3:
            self.compare(on, query, query.text, right, ask=from_rows, scale=seen.scale)

    def answered(self) -> int:
        return sum(served.reads for served in list(self.db.engine._state.served.values()))


def plainly(on: Any, text: str) -> Any:
    """As it is; a view is read alike whether views answer for tables or not."""
    return on.execute(text)


def said(grouped: Grouped, rows: list[Row], sides: dict[str, list[Row]] | None = None) -> Answer | str:
    """The oracle's answer, or the error. No row may be there that a view cannot compute."""
    try:
        return grouped.answer(rows, sides)
    except Overflows:
        return OVERFLOW
    except Fails:
        raise AssertionError(f"there is a row that {grouped.text} cannot take") from None


def same_rows(left: list[Row], right: list[Row]) -> bool:
    """In any order."""
    return sorted(repr(sorted(row.items())) for row in left) == sorted(repr(sorted(row.items())) for row in right)
