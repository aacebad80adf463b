"""What EXPLAIN says of views: the proof step by step, or for each view what is missing, and the view that would do."""

from __future__ import annotations

from collections.abc import Iterator

from .select import Matched, Matching, Missed, Unmatched
from .would import that_would


def lines_of(found: Matching, *, used: bool) -> Iterator[str]:
    """A line each, for people. ``used``: by the plan, and not only seen to be possible."""
    for part in found.matched:
        yield from _matched(part, "answers" if used else "could answer")
    for part in found.unmatched:
        yield from _unmatched(part)


def _matched(part: Matched, does: str) -> Iterator[str]:
    """The first way is the one that is taken."""
    chosen, *others = part.ways
    yield f"View {chosen.view.name} {does} for {part.use.alias}, since"
    yield from (f"  {step}" for step in chosen.proof)
    if chosen.alone and chosen.ends is None:
        yield "  its groups are those of the query"
    else:
        yield "  its groups are added up"
    yield from (f"  also View {other.view.name} could" for other in others)
    yield from _missed(part.missed)


def _unmatched(part: Unmatched) -> Iterator[str]:
    yield f"View: none answers for {part.use.alias}" + ("" if part.why is None else f", since {part.why}")
    yield from _missed(part.missed)
    query = None if part.asked is None else that_would(part.asked, part.use.table, part.sides)
    if query is not None:
        yield f"  this one would: CREATE MATERIALIZED VIEW name AS {query}"


def _missed(missed: tuple[Missed, ...]) -> Iterator[str]:
    yield from (f"  not View {each.view.name}: {each.miss}" for each in missed)
