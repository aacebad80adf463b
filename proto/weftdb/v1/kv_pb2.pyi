from . import results_pb2 as _results_pb2
from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_INSERT: _ClassVar[Action]
    ACTION_PUT: _ClassVar[Action]
    ACTION_UPDATE: _ClassVar[Action]
    ACTION_ADD: _ClassVar[Action]
    ACTION_DELETE: _ClassVar[Action]
ACTION_UNSPECIFIED: Action
ACTION_INSERT: Action
ACTION_PUT: Action
ACTION_UPDATE: Action
ACTION_ADD: Action
ACTION_DELETE: Action

class DescribeRequest(_message.Message):
    __slots__ = ("session", "table")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    session: str
    table: str
    def __init__(self, session: _Optional[str] = ..., table: _Optional[str] = ...) -> None: ...

class TableDescription(_message.Message):
    __slots__ = ("name", "schema", "primary_key", "key", "time", "schema_version", "definition", "definitions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_KEY_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    schema: bytes
    primary_key: _containers.RepeatedScalarFieldContainer[str]
    key: _containers.RepeatedScalarFieldContainer[str]
    time: str
    schema_version: int
    definition: str
    definitions: int
    def __init__(self, name: _Optional[str] = ..., schema: _Optional[bytes] = ..., primary_key: _Optional[_Iterable[str]] = ..., key: _Optional[_Iterable[str]] = ..., time: _Optional[str] = ..., schema_version: _Optional[int] = ..., definition: _Optional[str] = ..., definitions: _Optional[int] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("session", "table", "key", "key_columns", "at_least")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    session: str
    table: str
    key: _containers.RepeatedCompositeFieldContainer[_types_pb2.Value]
    key_columns: _containers.RepeatedScalarFieldContainer[str]
    at_least: int
    def __init__(self, session: _Optional[str] = ..., table: _Optional[str] = ..., key: _Optional[_Iterable[_Union[_types_pb2.Value, _Mapping]]] = ..., key_columns: _Optional[_Iterable[str]] = ..., at_least: _Optional[int] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("found", "columns", "values", "version")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    found: bool
    columns: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedCompositeFieldContainer[_types_pb2.Value]
    version: int
    def __init__(self, found: _Optional[bool] = ..., columns: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[_Union[_types_pb2.Value, _Mapping]]] = ..., version: _Optional[int] = ...) -> None: ...

class GetManyRequest(_message.Message):
    __slots__ = ("session", "table", "keys", "at_least")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    session: str
    table: str
    keys: bytes
    at_least: int
    def __init__(self, session: _Optional[str] = ..., table: _Optional[str] = ..., keys: _Optional[bytes] = ..., at_least: _Optional[int] = ...) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("session", "table", "columns", "all_columns", "where", "entities", "time_lower", "time_upper", "at_least")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ALL_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    TIME_LOWER_FIELD_NUMBER: _ClassVar[int]
    TIME_UPPER_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    session: str
    table: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    all_columns: bool
    where: str
    entities: Entities
    time_lower: _types_pb2.Value
    time_upper: _types_pb2.Value
    at_least: int
    def __init__(self, session: _Optional[str] = ..., table: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ..., all_columns: _Optional[bool] = ..., where: _Optional[str] = ..., entities: _Optional[_Union[Entities, _Mapping]] = ..., time_lower: _Optional[_Union[_types_pb2.Value, _Mapping]] = ..., time_upper: _Optional[_Union[_types_pb2.Value, _Mapping]] = ..., at_least: _Optional[int] = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ("session", "table", "columns", "at_least")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    session: str
    table: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    at_least: int
    def __init__(self, session: _Optional[str] = ..., table: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ..., at_least: _Optional[int] = ...) -> None: ...

class Entities(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[_types_pb2.ValueList]
    def __init__(self, keys: _Optional[_Iterable[_Union[_types_pb2.ValueList, _Mapping]]] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("session", "table", "action", "rows", "key", "key_columns", "columns", "values", "lower", "upper", "once", "definition")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    session: str
    table: str
    action: Action
    rows: bytes
    key: _containers.RepeatedCompositeFieldContainer[_types_pb2.Value]
    key_columns: _containers.RepeatedScalarFieldContainer[str]
    columns: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedCompositeFieldContainer[_types_pb2.Value]
    lower: Bounds
    upper: Bounds
    once: Once
    definition: str
    def __init__(self, session: _Optional[str] = ..., table: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ..., rows: _Optional[bytes] = ..., key: _Optional[_Iterable[_Union[_types_pb2.Value, _Mapping]]] = ..., key_columns: _Optional[_Iterable[str]] = ..., columns: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[_Union[_types_pb2.Value, _Mapping]]] = ..., lower: _Optional[_Union[Bounds, _Mapping]] = ..., upper: _Optional[_Union[Bounds, _Mapping]] = ..., once: _Optional[_Union[Once, _Mapping]] = ..., definition: _Optional[str] = ...) -> None: ...

class Once(_message.Message):
    __slots__ = ("id", "again", "since")
    ID_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    again: bool
    since: int
    def __init__(self, id: _Optional[str] = ..., again: _Optional[bool] = ..., since: _Optional[int] = ...) -> None: ...

class Bounds(_message.Message):
    __slots__ = ("columns", "values")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedCompositeFieldContainer[_types_pb2.Value]
    def __init__(self, columns: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[_Union[_types_pb2.Value, _Mapping]]] = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("version", "rows")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class LoadRequest(_message.Message):
    __slots__ = ("header", "padding", "batch", "last")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    header: LoadHeader
    padding: bytes
    batch: bytes
    last: bool
    def __init__(self, header: _Optional[_Union[LoadHeader, _Mapping]] = ..., padding: _Optional[bytes] = ..., batch: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...

class LoadHeader(_message.Message):
    __slots__ = ("session", "table", "action", "schema", "once", "definition")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    session: str
    table: str
    action: Action
    schema: bytes
    once: Once
    definition: str
    def __init__(self, session: _Optional[str] = ..., table: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ..., schema: _Optional[bytes] = ..., once: _Optional[_Union[Once, _Mapping]] = ..., definition: _Optional[str] = ...) -> None: ...

class OpenWriterRequest(_message.Message):
    __slots__ = ("writer",)
    WRITER_FIELD_NUMBER: _ClassVar[int]
    writer: str
    def __init__(self, writer: _Optional[str] = ...) -> None: ...

class OpenWriterResponse(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class WriterRequest(_message.Message):
    __slots__ = ("writer", "layout", "sequence", "padding", "batch")
    WRITER_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    writer: str
    layout: WriterLayout
    sequence: int
    padding: bytes
    batch: bytes
    def __init__(self, writer: _Optional[str] = ..., layout: _Optional[_Union[WriterLayout, _Mapping]] = ..., sequence: _Optional[int] = ..., padding: _Optional[bytes] = ..., batch: _Optional[bytes] = ...) -> None: ...

class WriterLayout(_message.Message):
    __slots__ = ("table", "action", "schema", "lower", "upper")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    table: str
    action: Action
    schema: bytes
    lower: Bounds
    upper: Bounds
    def __init__(self, table: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ..., schema: _Optional[bytes] = ..., lower: _Optional[_Union[Bounds, _Mapping]] = ..., upper: _Optional[_Union[Bounds, _Mapping]] = ...) -> None: ...

class WriterResponse(_message.Message):
    __slots__ = ("sequence", "version", "rows", "error")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    version: int
    rows: int
    error: _types_pb2.ErrorDetail
    def __init__(self, sequence: _Optional[int] = ..., version: _Optional[int] = ..., rows: _Optional[int] = ..., error: _Optional[_Union[_types_pb2.ErrorDetail, _Mapping]] = ...) -> None: ...
