from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CheckRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckPart(_message.Message):
    __slots__ = ("progress", "report")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    progress: CheckProgress
    report: CheckReport
    def __init__(self, progress: _Optional[_Union[CheckProgress, _Mapping]] = ..., report: _Optional[_Union[CheckReport, _Mapping]] = ...) -> None: ...

class CheckProgress(_message.Message):
    __slots__ = ("table", "bytes_done", "bytes_total")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    BYTES_DONE_FIELD_NUMBER: _ClassVar[int]
    BYTES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    table: str
    bytes_done: int
    bytes_total: int
    def __init__(self, table: _Optional[str] = ..., bytes_done: _Optional[int] = ..., bytes_total: _Optional[int] = ...) -> None: ...

class CheckReport(_message.Message):
    __slots__ = ("name", "version", "last_version", "log_entries", "files", "files_bytes", "dead_bytes", "problems_count", "problems", "tables", "work", "notes")
    class WorkEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_VERSION_FIELD_NUMBER: _ClassVar[int]
    LOG_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    FILES_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    last_version: int
    log_entries: int
    files: int
    files_bytes: int
    dead_bytes: int
    problems_count: int
    problems: _containers.RepeatedCompositeFieldContainer[CheckProblem]
    tables: _containers.RepeatedCompositeFieldContainer[CheckedTable]
    work: _containers.ScalarMap[str, int]
    notes: _containers.RepeatedCompositeFieldContainer[CheckNote]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., last_version: _Optional[int] = ..., log_entries: _Optional[int] = ..., files: _Optional[int] = ..., files_bytes: _Optional[int] = ..., dead_bytes: _Optional[int] = ..., problems_count: _Optional[int] = ..., problems: _Optional[_Iterable[_Union[CheckProblem, _Mapping]]] = ..., tables: _Optional[_Iterable[_Union[CheckedTable, _Mapping]]] = ..., work: _Optional[_Mapping[str, int]] = ..., notes: _Optional[_Iterable[_Union[CheckNote, _Mapping]]] = ...) -> None: ...

class CheckNote(_message.Message):
    __slots__ = ("where", "what")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    where: str
    what: str
    def __init__(self, where: _Optional[str] = ..., what: _Optional[str] = ...) -> None: ...

class CheckProblem(_message.Message):
    __slots__ = ("where", "what", "affects")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    AFFECTS_FIELD_NUMBER: _ClassVar[int]
    where: str
    what: str
    affects: str
    def __init__(self, where: _Optional[str] = ..., what: _Optional[str] = ..., affects: _Optional[str] = ...) -> None: ...

class CheckedTable(_message.Message):
    __slots__ = ("name", "rows", "versions", "cells", "segments", "segments_most", "bytes", "plain_bytes", "columns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_MOST_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    PLAIN_BYTES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    rows: int
    versions: int
    cells: int
    segments: int
    segments_most: int
    bytes: int
    plain_bytes: int
    columns: _containers.RepeatedCompositeFieldContainer[CheckedColumn]
    def __init__(self, name: _Optional[str] = ..., rows: _Optional[int] = ..., versions: _Optional[int] = ..., cells: _Optional[int] = ..., segments: _Optional[int] = ..., segments_most: _Optional[int] = ..., bytes: _Optional[int] = ..., plain_bytes: _Optional[int] = ..., columns: _Optional[_Iterable[_Union[CheckedColumn, _Mapping]]] = ...) -> None: ...

class CheckedColumn(_message.Message):
    __slots__ = ("column", "encoding", "blocks", "bytes")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    column: str
    encoding: str
    blocks: int
    bytes: int
    def __init__(self, column: _Optional[str] = ..., encoding: _Optional[str] = ..., blocks: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class BackupRequest(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: int
    def __init__(self, file: _Optional[int] = ...) -> None: ...

class BackupPart(_message.Message):
    __slots__ = ("header", "data", "last", "checksum")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    header: BackupHeader
    data: bytes
    last: bool
    checksum: bytes
    def __init__(self, header: _Optional[_Union[BackupHeader, _Mapping]] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ..., checksum: _Optional[bytes] = ...) -> None: ...

class BackupHeader(_message.Message):
    __slots__ = ("version", "position", "committed", "made", "server", "database", "state_bytes", "entry_bytes", "segments", "files")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    MADE_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENTRY_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    version: int
    position: int
    committed: int
    made: int
    server: str
    database: str
    state_bytes: int
    entry_bytes: _containers.RepeatedScalarFieldContainer[int]
    segments: _containers.RepeatedScalarFieldContainer[bytes]
    files: _containers.RepeatedCompositeFieldContainer[BackupFile]
    def __init__(self, version: _Optional[int] = ..., position: _Optional[int] = ..., committed: _Optional[int] = ..., made: _Optional[int] = ..., server: _Optional[str] = ..., database: _Optional[str] = ..., state_bytes: _Optional[int] = ..., entry_bytes: _Optional[_Iterable[int]] = ..., segments: _Optional[_Iterable[bytes]] = ..., files: _Optional[_Iterable[_Union[BackupFile, _Mapping]]] = ...) -> None: ...

class BackupFile(_message.Message):
    __slots__ = ("number", "bytes")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    number: int
    bytes: int
    def __init__(self, number: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...
