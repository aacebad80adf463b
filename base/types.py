"""SQL types and their one-to-one Arrow types.

A ``Type`` is what the catalog, the binder and the wire agree on. ``Type.arrow`` is the public Arrow type: every batch
that crosses a layer's boundary has exactly these types. Arrow cannot tell VARCHAR(n) from TEXT or JSONB from JSON, so a
field carries the SQL type in its metadata (``weft.type``); without metadata ``type_of_arrow`` picks the natural SQL
type.

    SQL                  Arrow                       SQL             Arrow
    BOOLEAN              bool                        BYTEA           binary
    SMALLINT             int16                       DATE            date32
    INTEGER              int32                       TIME            time64[us]
    BIGINT               int64                       TIMESTAMP       timestamp[us]
    REAL                 float                       TIMESTAMPTZ     timestamp[us, UTC]
    DOUBLE PRECISION     double                      INTERVAL        month_day_nano_interval
    NUMERIC(p,s)         decimal128(p,s)             UUID            arrow.uuid (fixed_size_binary[16])
    TEXT, VARCHAR(n)     utf8                        JSON, JSONB     arrow.json (utf8)
    any of these[]       list<item: that>
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from .errors import Invalid
from .limits import NUMERIC_PRECISION_MAX


class Kind(enum.Enum):
    """The families of types; the value is PostgreSQL's name in messages and in ``format_type``."""

    BOOLEAN = "boolean"
    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    REAL = "real"
    DOUBLE = "double precision"
    NUMERIC = "numeric"
    TEXT = "text"
    VARCHAR = "character varying"
    BYTEA = "bytea"
    DATE = "date"
    TIME = "time without time zone"
    TIMESTAMP = "timestamp without time zone"
    TIMESTAMPTZ = "timestamp with time zone"
    INTERVAL = "interval"
    UUID = "uuid"
    JSON = "json"
    JSONB = "jsonb"
    UNKNOWN = "unknown"  # an untyped literal or parameter, or NULL; never a column's type
    ARRAY = "array"  # of one dimension; the element is any other type

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is a Python function


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """One SQL type. ``precision``, ``scale`` of NUMERIC, ``length`` (characters) of VARCHAR, ``element`` of ARRAY."""

    kind: Kind
    precision: int | None = None
    scale: int | None = None
    length: int | None = None
    element: Type | None = None

    def __str__(self) -> str:
        match self.kind:
            case Kind.NUMERIC:
                return f"numeric({self.precision},{self.scale})"
            case Kind.VARCHAR:
                return "character varying" if self.length is None else f"character varying({self.length})"
            case Kind.ARRAY:
                return f"{self.element}[]"
            case _:
                return self.kind.value

    @property
    def arrow(self) -> pa.DataType:
        """The public Arrow type."""
        match self.kind:
            case Kind.NUMERIC:
                return pa.decimal128(self.precision, self.scale)
            case Kind.ARRAY:
                assert self.element is not None, "an array type has an element type"
                return pa.list_(self.element.arrow)
            case _:
                return _ARROW[self.kind]

    @property
    def storage(self) -> pa.DataType:
        """The Arrow type without extension types: what Arrow's own functions take. ``wrapped`` leads back."""
        if self.element is not None:
            return pa.list_(self.element.storage)
        arrow = self.arrow
        return arrow.storage_type if isinstance(arrow, pa.BaseExtensionType) else arrow

    @property
    def is_numeric(self) -> bool:
        return self.kind in _NUMERIC_KINDS

    @property
    def is_integer(self) -> bool:
        return self.kind in (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT)

    @property
    def is_text(self) -> bool:
        return self.kind in (Kind.TEXT, Kind.VARCHAR)

    @property
    def is_json(self) -> bool:
        return self.kind in (Kind.JSON, Kind.JSONB)

    @property
    def is_variable(self) -> bool:
        """Whether values have no fixed width in bytes."""
        return self.kind in _VARIABLE_KINDS


BOOLEAN: Final = Type(kind=Kind.BOOLEAN)
SMALLINT: Final = Type(kind=Kind.SMALLINT)
INTEGER: Final = Type(kind=Kind.INTEGER)
BIGINT: Final = Type(kind=Kind.BIGINT)
REAL: Final = Type(kind=Kind.REAL)
DOUBLE: Final = Type(kind=Kind.DOUBLE)
TEXT: Final = Type(kind=Kind.TEXT)
BYTEA: Final = Type(kind=Kind.BYTEA)
DATE: Final = Type(kind=Kind.DATE)
TIME: Final = Type(kind=Kind.TIME)
TIMESTAMP: Final = Type(kind=Kind.TIMESTAMP)
TIMESTAMPTZ: Final = Type(kind=Kind.TIMESTAMPTZ)
INTERVAL: Final = Type(kind=Kind.INTERVAL)
UUID: Final = Type(kind=Kind.UUID)
JSON: Final = Type(kind=Kind.JSON)
JSONB: Final = Type(kind=Kind.JSONB)
UNKNOWN: Final = Type(kind=Kind.UNKNOWN)


def numeric(precision: int = 38, scale: int = 9) -> Type:
    """NUMERIC(precision, scale); bare NUMERIC is NUMERIC(38,9). Raises Invalid outside 1..38 digits."""
    if not 1 <= precision <= NUMERIC_PRECISION_MAX or not 0 <= scale <= precision:
        raise Invalid(
            f"NUMERIC({precision},{scale}) is out of range",
            hint=f"Use a precision of 1 to {NUMERIC_PRECISION_MAX} and a scale of 0 to the precision.",
            sqlstate="22023",
        )
    return Type(kind=Kind.NUMERIC, precision=precision, scale=scale)


def varchar(length: int | None = None) -> Type:
    """VARCHAR(length in characters), or VARCHAR without a limit."""
    return Type(kind=Kind.VARCHAR, length=length)


def array_of(element: Type) -> Type:
    """The type of an array result."""
    return Type(kind=Kind.ARRAY, element=element)


def wrapped(array: pa.Array, type: Type) -> pa.Array:
    """An array of ``type.storage`` as one of ``type.arrow``, over the same values."""
    arrow = type.arrow
    if array.type.equals(arrow):
        return array
    return arrow.wrap_array(array) if isinstance(arrow, pa.BaseExtensionType) else array.cast(arrow)


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """A batch without rows, also of types of which Arrow makes no arrays of Python values."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def bare(array: pa.Array) -> pa.Array:
    """An array without extension types: the inverse of ``wrapped``."""
    if isinstance(array, pa.ExtensionArray):
        return array.storage
    if pa.types.is_list(array.type) and isinstance(array.type.value_type, pa.BaseExtensionType):
        return array.cast(pa.list_(array.type.value_type.storage_type))
    return array


def stored(value: Any, type: Type) -> Any:
    """A Python value as Arrow takes it for ``type.storage``."""
    if value is None:
        return None
    if type.element is not None and type.element.kind is Kind.UUID:
        return [stored(item, type.element) for item in value]
    return value.bytes if type.kind is Kind.UUID and not isinstance(value, bytes) else value


_VARIABLE_KINDS: Final = frozenset((Kind.TEXT, Kind.VARCHAR, Kind.BYTEA, Kind.JSON, Kind.JSONB, Kind.ARRAY))
_NUMERIC_KINDS: Final = frozenset((Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.REAL, Kind.DOUBLE, Kind.NUMERIC))

_ARROW: Final[dict[Kind, pa.DataType]] = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.SMALLINT: pa.int16(),
    Kind.INTEGER: pa.int32(),
    Kind.BIGINT: pa.int64(),
    Kind.REAL: pa.float32(),
    Kind.DOUBLE: pa.float64(),
    Kind.TEXT: pa.utf8(),
    Kind.VARCHAR: pa.utf8(),
    Kind.BYTEA: pa.binary(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.time64("us"),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIMESTAMPTZ: pa.timestamp("us", tz="UTC"),
    Kind.INTERVAL: pa.month_day_nano_interval(),
    Kind.UUID: pa.uuid(),
    Kind.JSON: pa.json_(pa.utf8()),
    Kind.JSONB: pa.json_(pa.utf8()),
    Kind.UNKNOWN: pa.utf8(),
}

_NAMES: Final[dict[str, Type]] = {
    **{kind.value: Type(kind=kind) for kind in Kind if kind not in (Kind.NUMERIC, Kind.ARRAY)},
    "numeric": numeric(),
}


def parse_type(text: str) -> Type:
    """The inverse of ``str(type)``; for metadata and the catalog, not for user SQL. Raises Invalid."""
    if text.endswith("[]"):
        return array_of(parse_type(text[:-2]))
    if match := re.fullmatch(r"numeric\((\d+),(\d+)\)", text):
        return numeric(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"character varying\((\d+)\)", text):
        return varchar(int(match[1]))
    if text in _NAMES:
        return _NAMES[text]
    raise Invalid(f'type "{text}" is not known', sqlstate="42704")


METADATA_TYPE: Final = b"weft.type"


def arrow_field(name: str, type: Type, *, nullable: bool = True) -> pa.Field:
    """An Arrow field that carries its SQL type in the metadata."""
    return pa.field(name, type.arrow, nullable=nullable, metadata={METADATA_TYPE: str(type).encode()})


def type_of_field(field: pa.Field) -> Type:
    """The SQL type of an Arrow field: from its metadata where there is some, else the natural one."""
    metadata: Any = field.metadata
    if metadata and METADATA_TYPE in metadata:
        return parse_type(metadata[METADATA_TYPE].decode())
    return type_of_arrow(field.type)


def type_of_arrow(arrow: pa.DataType) -> Type:
    """The natural SQL type for an Arrow type; wider where Arrow has unsigned or large variants. Raises Invalid."""
    if pa.types.is_dictionary(arrow):
        return type_of_arrow(arrow.value_type)
    if pa.types.is_decimal(arrow):
        return numeric(arrow.precision, max(arrow.scale, 0))
    if pa.types.is_timestamp(arrow):
        return TIMESTAMPTZ if arrow.tz else TIMESTAMP
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        return array_of(type_of_arrow(arrow.value_type))
    for test, type in _NATURAL:
        if test(arrow):
            return type
    raise Invalid(f"the Arrow type {arrow} has no SQL type here", hint="Cast it to one of the types in docs/sql.md.")


def _is_extension(name: str) -> Any:
    return lambda arrow: getattr(arrow, "extension_name", None) == name


_NATURAL: Final[tuple[tuple[Any, Type], ...]] = (
    (_is_extension("arrow.uuid"), UUID),
    (_is_extension("arrow.json"), JSON),
    (pa.types.is_boolean, BOOLEAN),
    (lambda t: pa.types.is_int8(t) or pa.types.is_int16(t) or pa.types.is_uint8(t), SMALLINT),
    (lambda t: pa.types.is_int32(t) or pa.types.is_uint16(t), INTEGER),
    (lambda t: pa.types.is_int64(t) or pa.types.is_uint32(t), BIGINT),
    (pa.types.is_uint64, numeric(20, 0)),
    (lambda t: pa.types.is_float16(t) or pa.types.is_float32(t), REAL),
    (pa.types.is_float64, DOUBLE),
    (lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t), TEXT),
    (
        lambda t: (
            pa.types.is_binary(t)
            or pa.types.is_large_binary(t)
            or pa.types.is_binary_view(t)
            or pa.types.is_fixed_size_binary(t)
        ),
        BYTEA,
    ),
    (pa.types.is_date, DATE),
    (pa.types.is_time, TIME),
    (pa.types.is_interval, INTERVAL),
    (pa.types.is_duration, INTERVAL),
    (pa.types.is_null, UNKNOWN),
)
