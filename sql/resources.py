"""What all sessions of one engine share: the relational executor and the caches of parsed and bound statements.

Found by the engine itself, so that a session needs nothing but the engine to be made, and cheaply. The caches are
bounded; a syntax tree in the cache is never changed by who uses it (statements are rewritten on copies).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from sqlglot import exp

from ..base.limits import TREE_TEXT_MAX, TREES_MAX
from ..engine.database import Engine
from .parse import parse
from .relational import DuckDbExecutor, QueryCache, RelationalExecutor
from .source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A statement's tree, not to be changed, and the number of its highest parameter."""

    tree: exp.Expr
    parameters_count: int


def _parsed(source: Source) -> Parsed:
    tree = parse(source)
    numbers = (
        [int(node.name) for node in tree.find_all(exp.Parameter) if node.name.isdigit()]
        if "$" in source.rewritten
        else []
    )
    return Parsed(tree=tree, parameters_count=max(numbers, default=0))


class Resources:
    """One per engine. Thread-safe."""

    def __init__(self) -> None:
        self.queries = QueryCache()
        self._executor: RelationalExecutor | None = None
        self._lock = threading.Lock()
        self._trees: OrderedDict[str, Parsed] = OrderedDict()

    @property
    def executor(self) -> RelationalExecutor:
        """Made by the first query: a program that only gets and puts has none."""
        with self._lock:
            if self._executor is None:
                self._executor = DuckDbExecutor()
            return self._executor

    def parse(self, source: Source) -> Parsed:
        """The statement, parsed once. Raises Invalid (42601)."""
        text = source.rewritten
        if len(text) > TREE_TEXT_MAX:
            return _parsed(source)
        with self._lock:
            tree = self._trees.get(text)
            if tree is not None:
                self._trees.move_to_end(text)
                return tree
        tree = _parsed(source)
        with self._lock:
            self._trees[text] = tree
            while len(self._trees) > TREES_MAX:
                self._trees.popitem(last=False)
        return tree

    def close(self) -> None:
        if self._executor is not None:
            self._executor.close()


_RESOURCES: Final[WeakKeyDictionary[Engine, Resources]] = WeakKeyDictionary()
_LOCK: Final = threading.Lock()


def resources_of(engine: Engine) -> Resources:
    """The engine's shared resources, made at first use; they go with the engine."""
    with _LOCK:
        found = _RESOURCES.get(engine)
        if found is None:
            found = _RESOURCES[engine] = Resources()
        return found


def release(engine: Engine) -> None:
    """Close what the sessions of an engine shared. To be called when it is closed; harmless if never used."""
    with _LOCK:
        found = _RESOURCES.pop(engine, None)
    if found is not None:
        found.close()
