from . import transactions_pb2 as _transactions_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ChangesRequest(_message.Message):
    __slots__ = ("table", "from_version", "before", "name")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    table: str
    from_version: int
    before: bool
    name: str
    def __init__(self, table: _Optional[str] = ..., from_version: _Optional[int] = ..., before: _Optional[bool] = ..., name: _Optional[str] = ...) -> None: ...

class ChangesPart(_message.Message):
    __slots__ = ("schema", "position", "partial", "more", "padding", "batch")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    schema: bytes
    position: int
    partial: bool
    more: bool
    padding: bytes
    batch: bytes
    def __init__(self, schema: _Optional[bytes] = ..., position: _Optional[int] = ..., partial: _Optional[bool] = ..., more: _Optional[bool] = ..., padding: _Optional[bytes] = ..., batch: _Optional[bytes] = ...) -> None: ...

class AcknowledgeRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...
