"""What all sessions of one engine share: the relational executor and the caches of parsed and planned statements.

They hang on the engine, so that a session needs nothing but the engine to be made, and cheaply. The caches are
bounded; a syntax tree in the cache is never changed by who uses it (statements are rewritten on copies).
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlglot import exp

from ..base.limits import (
    JOIN_KEYS_SHARE,
    LIFTED_TEXT_MAX,
    MIB,
    PLANS_BYTES_MAX,
    PLANS_MAX,
    SHAPES_MAX,
    SOURCES_BYTES_MAX,
    SOURCES_MAX,
    TREE_TEXT_MAX,
    TREES_BYTES_MAX,
    TREES_MAX,
)
from ..base.types import Type
from ..engine.database import Engine
from ..engine.held import Held
from ..engine.memory import Budget
from ..engine.metrics import Meters
from ..engine.pipeline.kernels import Kernels, kernels_of
from ..storage.temporary import TemporaryFolder
from .cache import TextCache
from .normalize import Shape, cut, liftable
from .parse import parse
from .plan import Plan
from .point import PointRead
from .relational import DuckDbExecutor, RelationalExecutor
from .source import Source, split

if TYPE_CHECKING:
    from .point_change import PointChange

TREE_CHARACTER_BYTES: Final = 160
PLAN_CHARACTER_BYTES: Final = 64
SOURCE_CHARACTER_BYTES: Final = 80
"""See sql/cache.py. A text is kept with its newest plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A statement's tree, not to be changed, the number of its highest parameter, and its AS OF clauses, each once.

    ``points``: how it is run as the change of one row, by what that depends on besides the text (``point_of``).
    """

    tree: exp.Expr
    parameters_count: int
    past: tuple[exp.Version, ...]
    points: dict[Hashable, PointChange | None] = field(default_factory=dict[Hashable, "PointChange | None"])


class Kept(NamedTuple):
    """A plan, and all that it depends on besides the text."""

    types: tuple[Type, ...]
    timezone: str
    tier: str
    match_views: bool
    catalog_version: int
    plan: Plan


class Script:
    """A text cut into statements, and what is known about running it, if it is one.

    ``points``: by the classes of the parameters, how it reads one row; None where it does not. ``kept``: its plans, the
    newest first. Both are found without a look at the statement.
    """

    __slots__ = ("kept", "points", "sources")

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self.sources = sources
        self.points: dict[tuple[type, ...], PointRead | None] = {}
        self.kept: tuple[Kept, ...] = ()

    def plan_for(self, types: tuple[Type, ...], timezone: str, tier: str, match_views: bool) -> Kept | None:
        """The newest plan for parameters of these types."""
        wanted = (types, timezone, tier, match_views)
        return next((kept for kept in self.kept if kept[:4] == wanted), None)

    def keep(self, kept: Kept) -> None:
        """Keep a plan, in the place of an older one for the same."""
        others = [other for other in self.kept if other[:4] != kept[:4]]
        self.kept = (kept, *others[: KEPT_MAX - 1])


KEPT_MAX: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """A text whose literals are the parameters ``values`` of another one."""

    script: Script
    values: list[object]
    shape: Shape


def _parsed(source: Source) -> Parsed:
    tree = parse(source)
    numbers = (
        [int(node.name) for node in tree.find_all(exp.Parameter) if node.name.isdigit()]
        if "$" in source.rewritten
        else []
    )
    return Parsed(tree=tree, parameters_count=max(numbers, default=0), past=past_of(tree, source))


def past_of(tree: exp.Expr, source: Source) -> tuple[exp.Version, ...]:
    """The AS OF clauses of a statement, equal ones once."""
    return tuple(dict.fromkeys(tree.find_all(exp.Version))) if " OF" in source.rewritten.upper() else ()


class Resources:
    """One per engine, within its budget. Thread-safe."""

    def __init__(
        self, *, budget: Budget, meters: Meters, temporary: TemporaryFolder, threads: int, kernels: Kernels
    ) -> None:
        self.plans: TextCache[Plan] = TextCache(
            count_max=PLANS_MAX, bytes_max=PLANS_BYTES_MAX, character_bytes=PLAN_CHARACTER_BYTES
        )
        self._trees: TextCache[Parsed] = TextCache(
            count_max=TREES_MAX, bytes_max=TREES_BYTES_MAX, character_bytes=TREE_CHARACTER_BYTES
        )
        self._scripts: TextCache[Script] = TextCache(
            count_max=SOURCES_MAX, bytes_max=SOURCES_BYTES_MAX, character_bytes=SOURCE_CHARACTER_BYTES
        )
        self._shapes: TextCache[Shape] = TextCache(
            count_max=SHAPES_MAX, bytes_max=SOURCES_BYTES_MAX, character_bytes=SOURCE_CHARACTER_BYTES
        )
        self._budget = budget
        self._temporary = temporary
        self.kernels = kernels
        self._threads = budget.executor_threads(threads)
        self._executor: DuckDbExecutor | None = None
        self._join_keys = Held(budget.limit // JOIN_KEYS_SHARE)
        self._lock = threading.Lock()
        budget.register(
            "statements",
            lambda: sum(cache.bytes_used for cache in (self._scripts, self._shapes, self._trees, self.plans)),
            "Statements that are kept cut, parsed and planned; an estimate.",
        )
        budget.register("join_keys", lambda: self._join_keys.bytes, "What scans tell each other about joins.")
        budget.register("executor", lambda: self._usage()[0], "The relational executor: joins, sorts, aggregates.")
        for name, unit, description, read in (
            ("executor_limit_bytes", "bytes", "What the relational executor spills beyond.", self._executor_bytes),
            ("executor_spilled_bytes", "bytes", "What it has spilled to the temporary folder now.", self._spilled),
            ("executor_threads", "threads", "Threads of the relational executor.", lambda: self._threads),
            ("statements_kept", "statements", "Statements that are kept parsed.", lambda: len(self._trees)),
            ("plans_kept", "plans", "Plans of queries that are kept.", lambda: len(self.plans)),
        ):
            meters.gauge(name, unit, description, read)
        self._lifted_count = meters.counter(
            "statements_lifted", "statements", "Statements run with their literals as parameters; only grows."
        )

    @property
    def executor(self) -> RelationalExecutor:
        """Made by the first query: a program that only gets and puts has none."""
        with self._lock:
            if self._executor is None:
                self._executor = DuckDbExecutor(
                    threads=self._threads,
                    memory_limit=f"{self._executor_bytes() // MIB}MiB",
                    temp_directory=str(self._temporary.path),
                    held=self._join_keys,
                )
            return self._executor

    def script(self, text: str) -> Script:
        """A text, cut once. Raises what ``source.split`` raises."""
        if len(text) > TREE_TEXT_MAX:
            return Script(tuple(split(text)))
        return self._scripts.get(text, lambda: Script(tuple(split(text))), characters=len(text))

    def lifted(self, text: str) -> Lifted | None:
        """The text with literals as parameters (sql/normalize.py); None where it is run as it is.

        That is so, too, where the same text was run before: what is kept for it is found sooner.
        """
        if len(text) > LIFTED_TEXT_MAX or text in self._scripts:
            return None
        pieces = cut(text)
        if pieces is None:
            return None
        shape = self._shapes.get(pieces.shape, Shape, characters=len(text))
        if not shape.seen:
            shape.seen = True
            return None
        if shape.lifts is None:
            shape.lifts = liftable(pieces)
        if not shape.lifts:
            return None
        normal, values = pieces.lift(shape.lifts)
        self._lifted_count.add(1)
        return Lifted(script=self.script(normal), values=values, shape=shape)

    def parse(self, source: Source) -> Parsed:
        """The statement, parsed once. Raises Invalid (42601)."""
        text = source.rewritten
        if len(text) > TREE_TEXT_MAX:
            return _parsed(source)
        return self._trees.get(text, lambda: _parsed(source), characters=len(text))

    def close(self) -> None:
        if self._executor is not None:
            self._executor.close()

    def _executor_bytes(self) -> int:
        return self._budget.executor_bytes

    def _spilled(self) -> int:
        return self._usage()[1]

    def _usage(self) -> tuple[int, int]:
        return (0, 0) if self._executor is None else self._executor.usage()


_LOCK: Final = threading.Lock()


def resources_of(engine: Engine) -> Resources:
    """The engine's shared resources, made at first use; closed with it."""
    with _LOCK:
        found = engine.shared.get(Resources)
        if not isinstance(found, Resources):
            found = engine.shared[Resources] = Resources(
                budget=engine.budget,
                meters=engine.meters,
                temporary=engine.temporary,
                threads=engine.options.threads,
                kernels=kernels_of(engine),
            )
            engine.on_close(found.close)
        return found
