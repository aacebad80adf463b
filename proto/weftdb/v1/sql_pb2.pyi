from . import results_pb2 as _results_pb2
from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExecuteRequest(_message.Message):
    __slots__ = ("session", "sql", "parameters", "timeout_seconds", "at_least", "settings")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SQL_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    session: str
    sql: str
    parameters: _containers.RepeatedCompositeFieldContainer[_types_pb2.Value]
    timeout_seconds: float
    at_least: int
    settings: _types_pb2.Settings
    def __init__(self, session: _Optional[str] = ..., sql: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[_types_pb2.Value, _Mapping]]] = ..., timeout_seconds: _Optional[float] = ..., at_least: _Optional[int] = ..., settings: _Optional[_Union[_types_pb2.Settings, _Mapping]] = ...) -> None: ...
