from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BeginRequest(_message.Message):
    __slots__ = ("isolation", "read_only", "lease_seconds", "settings")
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    isolation: str
    read_only: bool
    lease_seconds: float
    settings: _types_pb2.Settings
    def __init__(self, isolation: _Optional[str] = ..., read_only: _Optional[bool] = ..., lease_seconds: _Optional[float] = ..., settings: _Optional[_Union[_types_pb2.Settings, _Mapping]] = ...) -> None: ...

class OpenSnapshotRequest(_message.Message):
    __slots__ = ("version", "wall_clock", "name", "lease_seconds", "settings")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WALL_CLOCK_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    version: int
    wall_clock: int
    name: str
    lease_seconds: float
    settings: _types_pb2.Settings
    def __init__(self, version: _Optional[int] = ..., wall_clock: _Optional[int] = ..., name: _Optional[str] = ..., lease_seconds: _Optional[float] = ..., settings: _Optional[_Union[_types_pb2.Settings, _Mapping]] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("session", "version", "lease_seconds")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    session: str
    version: int
    lease_seconds: float
    def __init__(self, session: _Optional[str] = ..., version: _Optional[int] = ..., lease_seconds: _Optional[float] = ...) -> None: ...

class CommitResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sessions: _Optional[_Iterable[str]] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("lost",)
    LOST_FIELD_NUMBER: _ClassVar[int]
    lost: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lost: _Optional[_Iterable[str]] = ...) -> None: ...

class VersionResponse(_message.Message):
    __slots__ = ("version", "server")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    version: int
    server: str
    def __init__(self, version: _Optional[int] = ..., server: _Optional[str] = ...) -> None: ...

class EmptyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
