"""Protocol ↔ domain, the only place: status codes, actions, descriptions, and how methods are registered.

The table of errors is total (a test walks the tree). It is not injective, since PostgreSQL's classes are finer than
gRPC's; the client goes by the detail in the trailing metadata, other programs by the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

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
from ..engine.changes import Change
from ..engine.clock import AsOf
from ..engine.schema import Table
from ..proto.failures import METADATA_KEY, class_of, to_detail
from ..proto.frames import unpack, write_schema
from ..proto.values import from_values
from ..proto.weftdb.v1.kv_pb2 import Action, Bounds, TableDescription, WriteRequest, WriterLayout
from ..proto.weftdb.v1.transactions_pb2 import OpenSnapshotRequest

Code = grpc.StatusCode

CODES: Final[dict[type[WeftError], grpc.StatusCode]] = {
    Conflict: Code.ABORTED,
    Invalid: Code.INVALID_ARGUMENT,
    NotFound: Code.NOT_FOUND,
    Denied: Code.PERMISSION_DENIED,
    Unavailable: Code.UNAVAILABLE,
    LimitExceeded: Code.RESOURCE_EXHAUSTED,
    Corrupt: Code.DATA_LOSS,
    Closed: Code.FAILED_PRECONDITION,
    Internal: Code.INTERNAL,
}

# Where gRPC has a finer code than the class: what other programs' retry policies branch on.
CODES_BY_SQLSTATE: Final[dict[str, grpc.StatusCode]] = {
    "23505": Code.ALREADY_EXISTS,
    "0A000": Code.UNIMPLEMENTED,
    "57014": Code.DEADLINE_EXCEEDED,
}

_STATUS_TEXT_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a call ends: the code, a beginning of the text, and the whole error in the metadata."""

    code: grpc.StatusCode
    text: str
    metadata: tuple[tuple[str, bytes], ...]


def failure(error: WeftError) -> Status:
    """The status of a call that ``error`` ended."""
    detail = to_detail(error)
    return Status(
        code=CODES_BY_SQLSTATE.get(error.sqlstate, CODES[class_of(error)]),
        text=detail.message[:_STATUS_TEXT_MAX],
        metadata=((METADATA_KEY, detail.SerializeToString()),),
    )


ACTIONS: Final[dict[Action, Change]] = {
    Action.ACTION_INSERT: Change.INSERT,
    Action.ACTION_PUT: Change.PUT,
    Action.ACTION_UPDATE: Change.UPDATE,
    Action.ACTION_ADD: Change.ADD,
    Action.ACTION_DELETE: Change.DELETE,
}


def change_of(action: Action, *, allowed: Iterable[Change] = tuple(Change)) -> Change:
    """What a write does. Raises Invalid for a number that means nothing here."""
    change = ACTIONS.get(action)
    if change is None or change not in allowed:
        names = ", ".join(change.name for change in allowed)
        raise Invalid(f"the action {action} is not possible here: use one of {names}", sqlstate="08P01")
    return change


def bounds_in(request: WriteRequest | WriterLayout) -> tuple[object, object]:
    """What sums are held to, from below and from above: a number for all columns, numbers by column, or None.

    Raises Invalid (08P01).
    """
    return (
        _bounds(request.lower) if request.HasField("lower") else None,
        _bounds(request.upper) if request.HasField("upper") else None,
    )


def _bounds(bounds: Bounds) -> object:
    values = from_values(bounds.values)
    if len(values) != (len(bounds.columns) or 1):
        raise Invalid(f"{len(bounds.columns)} columns but {len(values)} bounds", sqlstate="08P01")
    return dict(zip(bounds.columns, values, strict=True)) if bounds.columns else values[0]


def name_of(table: Table) -> str:
    """What names a table's definition. Identifiers are never used again, so it stands for nothing else."""
    return f"{table.id}.{table.schema_version}"


def describe(table: Table, *, definitions: int) -> TableDescription:
    def names(ids: Iterable[int]) -> list[str]:
        return [table.by_id[id].name for id in ids]

    return TableDescription(
        name=table.name,
        schema=write_schema(table.arrow_schema),
        primary_key=names(table.primary_key),
        key=names(table.key),
        time="" if table.time is None else table.by_id[table.time].name,
        schema_version=table.schema_version,
        definition=name_of(table),
        definitions=definitions,
    )


def at_least(request: Any) -> int | None:
    """The version that a read must see, if it says one."""
    return request.at_least if request.HasField("at_least") else None


def as_of(request: OpenSnapshotRequest) -> AsOf | None:
    """The point in history that a snapshot was asked for."""
    match request.WhichOneof("as_of"):
        case "version":
            return request.version
        case "name":
            return request.name
        case "wall_clock":
            try:
                return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=request.wall_clock)
            except OverflowError:
                raise Invalid(f"{request.wall_clock} µs is outside of the calendar", sqlstate="22008") from None
        case _:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """In place of a request that protobuf cannot read; the gate refuses it."""

    kind: str
    reason: str


def handlers(service: Any, servant: object) -> grpc.GenericRpcHandler:
    """gRPC's handlers for a service's descriptor: method ``GetMany`` is ``servant.get_many(request, call)``.

    Requests that carry a batch arrive as (message, buffer); responses may be messages or bytes already.
    """
    table: dict[str, grpc.RpcMethodHandler] = {}
    for method in service.methods:
        behavior: Callable[..., Any] = getattr(servant, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower())
        table[method.name] = _FACTORIES[method.client_streaming, method.server_streaming](
            behavior, request_deserializer=_reader(GetMessageClass(method.input_type)), response_serializer=_serialize
        )
    return grpc.method_handlers_generic_handler(service.full_name, table)


_FACTORIES: Final[dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _reader(kind: Any) -> Callable[[bytes], Any]:
    framed = "batch" in kind.DESCRIPTOR.fields_by_name

    def read(data: bytes) -> Any:
        try:
            return unpack(kind, data) if framed else kind.FromString(data)
        except (DecodeError, UnicodeDecodeError) as error:
            return Malformed(kind=kind.DESCRIPTOR.name, reason=str(error)[:200])

    return read


def _serialize(response: Any) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
