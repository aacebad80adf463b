"""WeftDB: one engine for events, transactions, analytics and training data.

    import weftdb
    db = weftdb.open("data")                  # embedded; weftdb.open() is in memory
    db = weftdb.connect("weft://host:7401")   # remote; the same interface

Nothing but the public names lives here; see docs/architecture.md for the rooms of the house.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base.errors import (
    Closed,
    Conflict,
    Corrupt,
    Denied,
    Internal,
    Invalid,
    LimitExceeded,
    NotFound,
    Unavailable,
    WeftError,
)

if TYPE_CHECKING:
    from .client.connection import connect
    from .sql.embedded import open

__version__ = "0.1.0"

__all__ = [
    "Closed",
    "Conflict",
    "Corrupt",
    "Denied",
    "Internal",
    "Invalid",
    "LimitExceeded",
    "NotFound",
    "Unavailable",
    "WeftError",
    "connect",
    "open",
]


def __getattr__(name: str) -> Any:
    """Load ``open`` and ``connect`` on first use: a client needs no engine, an embedded program no gRPC."""
    if name == "open":
        from .sql.embedded import open

        return open
    if name == "connect":
        from .client.connection import connect

        return connect
    raise AttributeError(f"module 'weftdb' has no attribute {name!r}")
