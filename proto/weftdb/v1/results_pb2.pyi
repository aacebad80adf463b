from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResultAnswer(_message.Message):
    __slots__ = ("schema", "version", "tag", "rows_affected", "rest", "values", "definitions", "settings", "notices", "padding", "batch")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    ROWS_AFFECTED_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    schema: bytes
    version: int
    tag: str
    rows_affected: int
    rest: str
    values: _containers.RepeatedCompositeFieldContainer[_types_pb2.Value]
    definitions: int
    settings: _types_pb2.Settings
    notices: _containers.RepeatedScalarFieldContainer[str]
    padding: bytes
    batch: bytes
    def __init__(self, schema: _Optional[bytes] = ..., version: _Optional[int] = ..., tag: _Optional[str] = ..., rows_affected: _Optional[int] = ..., rest: _Optional[str] = ..., values: _Optional[_Iterable[_Union[_types_pb2.Value, _Mapping]]] = ..., definitions: _Optional[int] = ..., settings: _Optional[_Union[_types_pb2.Settings, _Mapping]] = ..., notices: _Optional[_Iterable[str]] = ..., padding: _Optional[bytes] = ..., batch: _Optional[bytes] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("rest",)
    REST_FIELD_NUMBER: _ClassVar[int]
    rest: str
    def __init__(self, rest: _Optional[str] = ...) -> None: ...

class ResultPart(_message.Message):
    __slots__ = ("padding", "batch")
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    padding: bytes
    batch: bytes
    def __init__(self, padding: _Optional[bytes] = ..., batch: _Optional[bytes] = ...) -> None: ...
