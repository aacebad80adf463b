"""Errors on the wire: a ``WeftError`` ↔ an ``ErrorDetail``, whole, so that the client raises the same; metadata.

Which gRPC status code goes with which class is the server's table (server/convert.py); what a status without detail
means is the client's (client/failures.py).
"""

from __future__ import annotations

from typing import Any, Final, get_args

from ..base.errors import (
    Closed,
    Conflict,
    ConflictKind,
    Corrupt,
    Denied,
    Internal,
    Invalid,
    LimitExceeded,
    NotFound,
    Unavailable,
    WeftError,
)
from .values import from_value, from_values, to_value, to_values
from .weftdb.v1.types_pb2 import ConflictDetail, ErrorDetail, ErrorKind, ValueList

METADATA_KEY: Final = "weft-error-bin"

STOPPING: Final = "57P01"
"""SQLSTATE of Unavailable where a server lets no call in any more: PostgreSQL's admin_shutdown."""

STALE: Final = "WF001"
"""SQLSTATE of Invalid where rows were made for another definition of their table: nothing was written."""

BEGIN_KEY: Final = "weft-begin-bin"
"""Metadata of a call that begins a transaction, and is its first: a BeginRequest."""

SESSION_KEY: Final = "weft-session-bin"
"""Trailing metadata of its answer, or error: a SessionResponse."""

# A call's trailing metadata may have 8 KiB by gRPC's default; a caret picture of a long statement has more.
_MESSAGE_BYTES_MAX: Final = 5_000
_HINT_BYTES_MAX: Final = 1_000
_KEY_BYTES_MAX: Final = 500

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
_CONFLICT_KINDS: Final = get_args(ConflictKind)
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
        conflict=_conflict_detail(error) if isinstance(error, Conflict) else None,
    )


def from_detail(detail: ErrorDetail) -> WeftError:
    """The error to raise. A kind that this release does not know is Internal."""
    error = _CLASSES.get(detail.kind, Internal)
    more = _conflict_fields(detail.conflict) if error is Conflict and detail.HasField("conflict") else {}
    return error(
        detail.message,
        hint=detail.hint or None,
        sqlstate=detail.sqlstate or None,
        position=detail.position if detail.HasField("position") else None,
        **more,
    )


def _conflict_detail(error: Conflict) -> ConflictDetail:
    key = None if error.key is None else ValueList(values=to_values(error.key))
    return ConflictDetail(
        kind=error.kind,
        table=error.table or "",
        key=key if key is not None and key.ByteSize() <= _KEY_BYTES_MAX else None,
        column=error.column or "",
        bound=to_value(error.bound),
        value=to_value(error.value),
    )


def _conflict_fields(detail: ConflictDetail) -> dict[str, Any]:
    return {
        "kind": detail.kind if detail.kind in _CONFLICT_KINDS else "write",
        "table": detail.table or None,
        "key": tuple(from_values(detail.key.values)) if detail.HasField("key") else None,
        "column": detail.column or None,
        "bound": from_value(detail.bound),
        "value": from_value(detail.value),
    }


def _cut(text: str, bytes_max: int) -> str:
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= bytes_max else data[: bytes_max - 3].decode(errors="ignore") + "…"
