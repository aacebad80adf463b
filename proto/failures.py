"""Errors on the wire: a ``WeftError`` ↔ an ``ErrorDetail``, whole, so that the client raises the very same.

Which gRPC status code goes with which class is the server's table (server/convert.py); what a status without detail
means is the client's (client/failures.py).
"""

from __future__ import annotations

from typing import Final

from ..base.errors import (
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
from .weftdb.v1.types_pb2 import ErrorDetail, ErrorKind

METADATA_KEY: Final = "weft-error-bin"

STOPPING: Final = "57P01"
"""SQLSTATE of Unavailable where a server lets no call in any more: PostgreSQL's admin_shutdown."""

# A call's trailing metadata may have 8 KiB by gRPC's default; a caret picture of a long statement has more.
_MESSAGE_BYTES_MAX: Final = 5_000
_HINT_BYTES_MAX: Final = 1_000

KINDS: Final[dict[type[WeftError], ErrorKind]] = {
    Conflict: ErrorKind.ERROR_KIND_CONFLICT,
    Invalid: ErrorKind.ERROR_KIND_INVALID,
    NotFound: ErrorKind.ERROR_KIND_NOT_FOUND,
    Denied: ErrorKind.ERROR_KIND_DENIED,
    Unavailable: ErrorKind.ERROR_KIND_UNAVAILABLE,
    LimitExceeded: ErrorKind.ERROR_KIND_LIMIT_EXCEEDED,
    Corrupt: ErrorKind.ERROR_KIND_CORRUPT,
    Closed: ErrorKind.ERROR_KIND_CLOSED,
    Internal: ErrorKind.ERROR_KIND_INTERNAL,
}
_CLASSES: Final = {kind: error for error, kind in KINDS.items()}


def class_of(error: WeftError) -> type[WeftError]:
    """The class of the tree that the wire knows: the error's own, or the nearest above it."""
    return next((known for known in type(error).__mro__ if known in KINDS), Internal)


def to_detail(error: WeftError) -> ErrorDetail:
    return ErrorDetail(
        kind=KINDS[class_of(error)],
        message=_cut(error.message, _MESSAGE_BYTES_MAX),
        hint=_cut(error.hint or "", _HINT_BYTES_MAX),
        sqlstate=error.sqlstate,
        position=error.position,
    )


def from_detail(detail: ErrorDetail) -> WeftError:
    """The error to raise. A kind that this release does not know is Internal."""
    return _CLASSES.get(detail.kind, Internal)(
        detail.message,
        hint=detail.hint or None,
        sqlstate=detail.sqlstate or None,
        position=detail.position if detail.HasField("position") else None,
    )


def _cut(text: str, bytes_max: int) -> str:
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= bytes_max else data[: bytes_max - 3].decode(errors="ignore") + "…"
