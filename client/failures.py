"""What a failed call raises: the server's own error where there is one, else what the transport's status means."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from ..base.errors import Closed, Denied, Internal, Invalid, LimitExceeded, Unavailable, WeftError
from ..proto.failures import METADATA_KEY, STOPPING, from_detail
from ..proto.weftdb.v1.types_pb2 import ErrorDetail

Code = grpc.StatusCode

UNKNOWN: Final = "08007"
"""SQLSTATE of Unavailable where nobody knows whether something was committed."""

BROKEN: Final = "08006"
"""SQLSTATE of Unavailable where there is no connection."""


def of_server(error: Any) -> WeftError | None:
    """The error that the server raised on purpose; None if the status is the transport's."""
    for key, value in error.trailing_metadata() or ():
        if key == METADATA_KEY:
            try:
                return from_detail(ErrorDetail.FromString(value))
            except DecodeError:
                return None
    return None


def is_broken(error: Any) -> bool:
    """Whether the connection failed, or never was: nobody knows how far the call got."""
    return error.code() is Code.UNAVAILABLE and of_server(error) is None


def is_stopping(error: Any) -> bool:
    """Whether the server is about to end: it refused the call, or cancelled it in the end, as nobody did here."""
    said = of_server(error)
    if said is None:
        return error.code() is Code.CANCELLED and "hannel" not in (error.details() or "")
    return said.sqlstate == STOPPING


def is_unsent(error: Any) -> bool:
    """Whether the call certainly did not reach the server: there was no connection to send it on.

    gRPC says so in the text only; it is the text of its connection picker, which comes before anything is sent.
    """
    return error.code() is Code.UNAVAILABLE and (error.details() or "").startswith("failed to connect to all addresses")


def is_lost(error: Any) -> bool:
    """Whether nobody knows what became of a write: the call may have reached the server, or its log does not tell."""
    said = of_server(error)
    return said.sqlstate == UNKNOWN if said is not None else is_broken(error) and not is_unsent(error)


def of_rpc(error: Any, *, address: str) -> WeftError:
    """The error to raise for a failed call."""
    return of_server(error) or _of_transport(error, address)


def _of_transport(error: Any, address: str) -> WeftError:
    code, details = error.code(), error.details() or ""
    match code:
        case Code.UNAVAILABLE:
            return Unavailable(
                f"{no_answer(address)}{_reason(details)}",
                hint="Is it running? " + (_UNSENT if is_unsent(error) else _UNDER_WAY),
                sqlstate=BROKEN,
            )
        case Code.DEADLINE_EXCEEDED:
            return Unavailable(f"no answer from {address} within the time-out", sqlstate="57014")
        case Code.CANCELLED if "hannel" in details:  # gRPC's "Channel closed!"
            return Closed(f"the connection to {address} was closed")
        case Code.CANCELLED:
            return Unavailable("the call was cancelled", sqlstate="57014")
        case Code.RESOURCE_EXHAUSTED:
            return LimitExceeded(f"a message is too large, or the server too busy: {details}", hint=_SMALLER)
        case Code.UNAUTHENTICATED | Code.PERMISSION_DENIED:
            return Denied(details or f"{address} refused the call")
        case Code.UNIMPLEMENTED:
            return Invalid(f"the server at {address} does not know this call; its release is another", sqlstate="0A000")
        case _:
            return Internal(f"the call to {address} failed with {code.name}: {details}")


def no_answer(address: str) -> str:
    """How the message about a server that is not there begins; the reason follows."""
    return f"the server at {address} does not answer: "


_UNSENT: Final = "Nothing was sent to it."
_UNDER_WAY: Final = "A write that was under way may or may not have happened."
_SMALLER: Final = "Ask for less at a time, or use a writer."


_REASONS: Final = {
    "connection refused": "connection refused",
    "socket closed": "the connection was closed",
    "connection reset": "the connection was reset",
    "cancelling all calls": "it was shut down during the call",
    "timeout occurred": "nothing comes back",
    "dns resolution failed": "the host is not known",
    "errors resolving": "the host is not known",
}


def _reason(details: str) -> str:
    """gRPC's text without what only its authors can use."""
    return next((text for known, text in _REASONS.items() if known in details.lower()), details or "no reason given")
