"""The planner: an ordered tuple of rules, each from a bound query to an equal one that is better to run.

One rule is one file and one function. A rule never changes the answer; what it learns for the engine goes into
``BoundQuery.uses``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..bound import BoundQuery
from .prune_columns import prune_columns
from .push_filters import push_filters

RULES: Final[tuple[Callable[[BoundQuery], BoundQuery], ...]] = (prune_columns, push_filters)


def plan(query: BoundQuery) -> BoundQuery:
    """``query`` after all rules, in order."""
    for rule in RULES:
        query = rule(query)
    return query


__all__ = ["RULES", "plan"]
