"""What a query says of the rows of its tables: no materialized view answers for them."""

from __future__ import annotations

from typing import Any


def from_rows(on: Any, query: str) -> Any:
    """The result. ``on``: a database, transaction or snapshot; the latter two go on without views."""
    return on.execute(f"SET weft.match_views = off; {query}")


def from_views(on: Any, query: str) -> Any:
    """The same, answered from views where they can."""
    return on.execute(f"SET weft.match_views = on; {query}")
