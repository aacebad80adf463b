"""The rules: an ordered tuple, each from a bound query to an equal one that is better to run.

One rule is one file with two functions: ``rewrite`` gives the better query, or the very query that it was given, which
means that the rule did not fire; ``effects`` says to a person, for EXPLAIN, what it did. A rule never changes the
answer; what it learns for the engine goes into ``BoundQuery.uses``. The order matters: each says what it needs done.

Each rule has a fixture of queries before and after it, tests/rules/<name>.txt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..bound import BoundQuery
from . import expect_keys, inline_ctes, prune_columns, push_filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """See the module. ``effects(before, after)`` is asked only where ``rewrite(before)`` gave another query."""

    name: str
    rewrite: Callable[[BoundQuery], BoundQuery]
    effects: Callable[[BoundQuery, BoundQuery], tuple[str, ...]]


RULES: Final = (
    Rule(name="inline_ctes", rewrite=inline_ctes.rewrite, effects=inline_ctes.effects),
    Rule(name="prune_columns", rewrite=prune_columns.rewrite, effects=prune_columns.effects),
    Rule(name="push_filters", rewrite=push_filters.rewrite, effects=push_filters.effects),
    Rule(name="expect_keys", rewrite=expect_keys.rewrite, effects=expect_keys.effects),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """A rule that made ``after`` of ``before``."""

    rule: Rule
    before: BoundQuery
    after: BoundQuery

    def effects(self) -> tuple[str, ...]:
        """What it did, a line each."""
        return self.rule.effects(self.before, self.after)


def rewrite(query: BoundQuery) -> tuple[BoundQuery, tuple[Fired, ...]]:
    """``query`` after all rules, in order, and those that fired."""
    fired: list[Fired] = []
    for rule in RULES:
        after = rule.rewrite(query)
        if after is not query:
            fired.append(Fired(rule=rule, before=query, after=after))
            query = after
    return query, tuple(fired)


__all__ = ["RULES", "Fired", "Rule", "rewrite"]
