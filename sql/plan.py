"""The planner: from a bound query to a plan, which says how it is run and why.

    bound ── rules, in order ──► an equal query, better to run ── choose ──► one of the choices below, with its reason

    PrimaryKeyGet    the condition gives one whole primary key, and nothing else: at most one row
    KeyTimeRead      it gives one key, perhaps a window of event time, and nothing else: one run of rows, perhaps sorted
    DirectScan       columns of one table under a condition that the engine evaluates completely
    Pipelined        grouped tables and stars are computed by fused kernels, the rest by the executor (see weft.tier)
    Relational       all else: the relational executor, over one scan per table reference

``CANDIDATES`` is the one place where that is decided: each looks at the query and takes it, or says why not; the
cheapest comes first, the last takes everything. They see the shape of the query, not its parameters' values, so that a
plan can be kept for all of these; what a value can still change (1.5 for an INTEGER key) is seen when the plan runs
(sql/run.py), and never changes the answer; so is, of a query that the engine could sort, whether its table is small
(``Plan.few``). A plan is immutable and belongs to one catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from ..base.errors import Invalid
from ..base.limits import SORTED_ROWS_MAX
from ..engine.expression.node import Call, Cast, Column, Expression
from ..engine.expression.tree import conjuncts
from ..engine.schema import Table
from . import rules
from .bound import BoundQuery
from .direct import DirectRead, direct_read
from .matching.explained import lines_of
from .matching.select import NO_VIEWS, Matching, Views, matching
from .pipeline import Part, Rest, with_pipelines
from .relational import reader_of
from .rules import Fired
from .shown import Reason

if TYPE_CHECKING:
    from ..engine.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryKeyGet:
    """``key``: constants, in the order of the primary key."""

    read: DirectRead
    key: tuple[Expression, ...]
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTimeRead:
    read: DirectRead
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectScan:
    """With an order in ``read``: of few rows, sorted at once."""

    read: DirectRead
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipelined:
    """``wait``: for kernels that are being compiled; else the executor answers until they are."""

    rest: Rest
    wait: bool
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Relational:
    reason: Reason


Choice: TypeAlias = PrimaryKeyGet | KeyTimeRead | DirectScan | Pipelined | Relational

NAMES: Final[dict[type[Choice], str]] = {
    PrimaryKeyGet: "Primary Key Get",
    KeyTimeRead: "Key and Time Read",
    DirectScan: "Scan",
    Pipelined: "Pipeline",
    Relational: "Relational Executor",
}
"""What EXPLAIN calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """A cheaper choice that was not possible."""

    name: str
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``bound`` is the query after the rules that ``fired``; ``few``: a better choice while its table has few rows.

    ``matching``: what views say of it. Where they answer parts, ``bound`` is what is left, and ``without`` the plan for
    when that turns out to be no gain, which is made of ``asked``, the whole query, by the first that wants it.
    """

    bound: BoundQuery
    fired: tuple[Fired, ...]
    choice: Choice
    declined: tuple[Declined, ...]
    few: DirectScan | None = None
    matching: Matching | None = None
    asked: BoundQuery | None = None
    tier: str = "relational"

    @cached_property
    def without(self) -> Plan | None:
        """The plan without views; None where they answer nothing."""
        return None if self.asked is None else _chosen(self.asked, self.fired, self.tier, self.matching)

    def settled(self, reader: Reader, past: Sequence[Reader]) -> Plan:
        """The plan for as many rows as there are now. ``past``: what AS OF clauses read."""
        if self.few is None:
            return self
        use = self.few.read.use
        if reader_of(use, reader, past).statistics(use.table).rows > SORTED_ROWS_MAX:
            return self
        return replace(self, choice=self.few, few=None)

    def explain(self) -> list[str]:
        """The steps of planning, a line each: what the rules did, what was chosen, and why."""
        lines = [f"Rule {fired.rule.name}: {effect}" for fired in self.fired for effect in fired.effects()]
        lines += [] if self.matching is None else lines_of(self.matching, used=self.asked is not None)
        if self.asked is not None and not self.bound.uses:
            return [*lines, "Choice: Views, since their groups say all that is asked"]
        lines.append(f"Choice: {NAMES[type(self.choice)]}, since {self.choice.reason}")
        others = [declined for declined in self.declined if declined.reason != self.choice.reason]
        return [*lines, *(f"  not {declined.name}: {declined.reason}" for declined in others)]


def plan(query: BoundQuery, *, tier: str = "relational", views: Views = NO_VIEWS) -> Plan:
    """The plan of a query. ``tier``: the setting weft.tier; ``views``: those that may answer it, see matching/.

    Raises Invalid (0A000) at "pipeline" for what is none.
    """
    query, fired = rules.rewrite(query)
    return chosen(query, fired, tier=tier, views=views)


def chosen(query: BoundQuery, fired: tuple[Fired, ...], *, tier: str, views: Views) -> Plan:
    """The plan of a query behind the rules, as ``plan``."""
    found = matching(query, views)
    if found is not None and found.rest is not None:
        return replace(_chosen(found.rest, fired, tier, found), asked=query, tier=tier)
    plain = _chosen(query, fired, tier, found)
    if tier == "pipeline" and isinstance(plain.choice, Relational) and query.uses:
        raise not_covered(str(plain.declined[-1].reason))
    return plain


def _chosen(query: BoundQuery, fired: tuple[Fired, ...], tier: str, found: Matching | None) -> Plan:
    choice, declined = choose(query, tier=tier)
    return Plan(
        bound=query,
        fired=fired,
        choice=choice,
        declined=declined,
        few=few(query, choice, tier=tier),
        matching=found,
    )


def not_covered(why: str) -> Invalid:
    """The error at the tier "pipeline" for what no pipeline answers."""
    return Invalid(
        f"no pipeline covers the query: {why}",
        hint="SET weft.tier = auto has the relational executor answer it.",
        sqlstate="0A000",
    )


def few(query: BoundQuery, choice: Choice, *, tier: str) -> DirectScan | None:
    """The choice for few rows, instead of ``choice``: the executor takes a millisecond to be asked, whatever it sorts.

    None at the tiers that say who answers.
    """
    if tier != "auto" or not isinstance(choice, Relational | Pipelined):
        return None
    read = direct_read(query)
    if isinstance(read, Reason) or not read.order or read.computed:
        return None
    return DirectScan(
        read=read, reason=Reason(text="the query is columns of one table, whose few rows are sorted at once")
    )


def choose(query: BoundQuery, *, tier: str = "relational") -> tuple[Choice, tuple[Declined, ...]]:
    """The first choice that takes the query, and what stood before it."""
    read = direct_read(query)
    declined: list[Declined] = []
    for kind, candidate in CANDIDATES:
        if kind is Relational and tier != "relational":
            found = _pipelined(query, wait=tier == "pipeline")
            if not isinstance(found, Reason):
                return found, tuple(declined)
            declined.append(Declined(name=NAMES[Pipelined], reason=found))
        found = candidate(read)
        if not isinstance(found, Reason):
            return found, tuple(declined)
        declined.append(Declined(name=NAMES[kind], reason=found))
    raise AssertionError("the last candidate takes every query")


def _primary_key_get(read: DirectRead | Reason) -> PrimaryKeyGet | Reason:
    if isinstance(read, Reason):
        return read
    table = read.use.table
    if not table.primary_key:
        return Reason(text="the table has no primary key")
    equal, others = _equalities(read, table.primary_key)
    missing = _missing(table, table.primary_key, equal)
    if missing is not None:
        return missing
    if others:
        return Reason(text="there is another condition", about=others[0])
    return PrimaryKeyGet(
        read=read,
        key=tuple(equal[id] for id in table.primary_key),
        reason=Reason(text="the condition gives the whole primary key", about=read.use.filter),
    )


def _key_time_read(read: DirectRead | Reason) -> KeyTimeRead | Reason:
    if isinstance(read, Reason):
        return read
    table = read.use.table
    if not table.key:
        return Reason(text="the table has no key")
    equal, others = _equalities(read, table.key)
    if read.computed:
        return _COMPUTED
    missing = _missing(table, table.key, equal)
    if missing is not None:
        return missing
    for part in others:
        if not _bounds(part, table.time):
            return Reason(text="there is a condition on more than key and event time", about=part)
    text = "the condition gives the key and a window of event time" if others else "the condition gives the key"
    text += ", and the rows of one key are sorted at once" if read.order else ""
    return KeyTimeRead(read=read, reason=Reason(text=text, about=read.use.filter))


def _direct_scan(read: DirectRead | Reason) -> DirectScan | Reason:
    if isinstance(read, Reason):
        return read
    if read.order:
        return _ORDERED
    if read.computed:
        return _COMPUTED
    text = "the query is columns of one table"
    if read.use.filter is not None:
        text += " under a condition that the engine evaluates"
    return DirectScan(read=read, reason=Reason(text=text))


def _pipelined(query: BoundQuery, *, wait: bool) -> Pipelined | Reason:
    rest = with_pipelines(query)
    if isinstance(rest, Reason):
        return rest
    grouped = " and ".join(_shown(part) for part in rest.parts if isinstance(part, Part))
    first = " and ".join(part.rows.use.alias for part in rest.parts if not isinstance(part, Part))
    texts = [f"kernels group {grouped}"] if grouped else []
    texts += [f"the engine finds the first rows of {first}"] if first else []
    return Pipelined(rest=rest, wait=wait, reason=Reason(text=", and ".join(texts)))


def _shown(part: Part) -> str:
    sides = [" and ".join(use.alias for use in side.query.uses) or "a relation" for side in part.sides]
    return part.use.alias + (f", joined with {', with '.join(sides)}," if sides else "")


def _relational(read: DirectRead | Reason) -> Relational:
    if isinstance(read, Reason):
        return Relational(reason=read)
    assert read.order or read.computed, "what is a direct read was taken before"
    return Relational(reason=_COMPUTED if read.computed else _ORDERED)


_COMPUTED: Final = Reason(text="a column is computed")
_ORDERED: Final = Reason(text="the query has ORDER BY")

Candidate: TypeAlias = Callable[[DirectRead | Reason], Choice | Reason]

CANDIDATES: Final[tuple[tuple[type[Choice], Candidate], ...]] = (
    (PrimaryKeyGet, _primary_key_get),
    (KeyTimeRead, _key_time_read),
    (DirectScan, _direct_scan),
    (Relational, _relational),
)
"""The choices, the cheapest first. Each is given the query as a direct read, or the reason why it is none."""


def _equalities(read: DirectRead, ids: tuple[int, ...]) -> tuple[dict[int, Expression], list[Expression]]:
    """The constants that columns equal, of those in ``ids``, and the other conditions of the filter."""
    equal: dict[int, Expression] = {}
    others: list[Expression] = []
    for part in conjuncts(read.use.filter) if read.use.filter is not None else ():
        id = _column(part)
        if id in ids and id not in equal and isinstance(part, Call) and part.function == "equal":
            equal[id] = part.arguments[1]
        else:
            others.append(part)
    return equal, others


def _missing(table: Table, ids: tuple[int, ...], equal: dict[int, Expression]) -> Reason | None:
    names = [table.by_id[id].name for id in ids if id not in equal]
    return Reason(text=f"no condition {' = constant and '.join(names)} = constant") if names else None


def _bounds(part: Expression, time: int | None) -> bool:
    """Whether a condition is a bound of the event time."""
    words = ("less", "less_equal", "greater", "greater_equal")
    return time is not None and isinstance(part, Call) and part.function in words and _column(part) == time


def _column(part: Expression) -> int | None:
    """The column that a pushed comparison is about: it stands on the left, perhaps widened."""
    if not isinstance(part, Call) or not part.arguments:
        return None
    left = part.arguments[0]
    left = left.argument if isinstance(left, Cast) else left
    return left.id if isinstance(left, Column) else None
