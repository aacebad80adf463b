"""What is there: SHOW TABLES, SHOW COLUMNS, SHOW CREATE, and information_schema.

Everything is computed from a catalog, so it is right in a transaction and in a snapshot of the past. The relations of
``information_schema`` are in-memory Arrow relations that the binder finds beside the catalog's; of PostgreSQL's there
are ``tables`` and ``columns``, with the columns that make sense here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from ..base.types import BOOLEAN, INTEGER, TEXT, Kind, Type, arrow_field
from ..engine.catalog import Catalog
from ..engine.schema import Column, Identity, Index, Relation, Table, View

_TABLES: Final = pa.schema([arrow_field("name", TEXT), arrow_field("kind", TEXT)])
_COLUMNS: Final = pa.schema(
    [
        arrow_field("name", TEXT),
        arrow_field("type", TEXT),
        arrow_field("nullable", BOOLEAN),
        arrow_field("default", TEXT),
    ]
)
_CREATE: Final = pa.schema([arrow_field("definition", TEXT)])


def kind_name(relation: Relation) -> str:
    """``table``, ``view`` or ``materialized view``."""
    if isinstance(relation, Table):
        return "table"
    return "materialized view" if relation.materialized else "view"


def show_tables(catalog: Catalog) -> pa.RecordBatch:
    """name, kind; by name."""
    rows = [{"name": name, "kind": kind_name(relation)} for name, relation in sorted(catalog.relations.items())]
    return pa.RecordBatch.from_pylist(rows, schema=_TABLES)


def show_columns(relation: Relation) -> pa.RecordBatch:
    """name, type, nullable, default; in the table's order."""
    if isinstance(relation, View):
        rows: list[dict[str, Any]] = [
            {"name": name, "type": str(type), "nullable": True, "default": None} for name, type in relation.columns
        ]
    else:
        rows = [
            {"name": c.name, "type": str(c.type), "nullable": c.nullable, "default": _default(c)}
            for c in relation.columns
        ]
    return pa.RecordBatch.from_pylist(rows, schema=_COLUMNS)


def _default(column: Column) -> str | None:
    if column.identity is not None:
        return f"GENERATED {column.identity.value.upper()} AS IDENTITY"
    return column.default_text


def show_create(relation: Relation) -> pa.RecordBatch:
    """The statement that creates the relation as it is."""
    text = _create_view(relation) if isinstance(relation, View) else _create_table(relation)
    return pa.RecordBatch.from_pylist([{"definition": text}], schema=_CREATE)


def quoted(name: str) -> str:
    """An identifier, quoted where it would not be read back as it is."""
    plain = name.isidentifier() and name.isascii() and name == name.lower() and name.upper() not in _WORDS
    return name if plain else '"' + name.replace('"', '""') + '"'


_RESERVED: Final = (
    "ALL AND ANY ARRAY AS ASC BOTH CASE CAST CHECK COLLATE COLUMN CONSTRAINT CREATE CROSS CURRENT_DATE CURRENT_TIME "
    "CURRENT_TIMESTAMP CURRENT_USER DEFAULT DESC DISTINCT DO ELSE END EXCEPT FALSE FETCH FOR FOREIGN FROM FULL GRANT "
    "GROUP HAVING IN INNER INTERSECT INTO IS JOIN KEY LATERAL LEADING LEFT LIKE LIMIT NATURAL NOT NULL OFFSET ON ONLY "
    "OR ORDER OUTER PRIMARY REFERENCES RETURNING RIGHT ROW SELECT SOME TABLE THEN TO TRAILING TRUE UNION UNIQUE USER "
    "USING VALUES WHEN WHERE WINDOW WITH"
)
_WORDS: Final = frozenset(_RESERVED.split())


def _create_view(view: View) -> str:
    return f"CREATE {kind_name(view).upper()} {quoted(view.name)} AS {view.query.strip()};"


def _create_table(table: Table) -> str:
    lines = [f"{quoted(column.name)} {_column(column)}" for column in table.columns]
    if table.primary_key:
        lines.append(f"PRIMARY KEY ({', '.join(quoted(column.name) for column in table.primary_key_columns)})")
    lines += [
        f"CONSTRAINT {quoted(index.name)} UNIQUE {_nulls(index)}({_columns(table, index)})"
        for index in table.indexes
        if index.constraint
    ]
    lines += [f"CONSTRAINT {quoted(check.name)} CHECK ({check.text})" for check in table.checks]
    body = ",\n    ".join(lines)
    options = _options(table)
    clause = f" WITH ({', '.join(options)})" if options else ""
    others = [
        f"\nCREATE {'UNIQUE ' if index.unique else ''}INDEX {quoted(index.name)} ON {quoted(table.name)} "
        f"({_columns(table, index)}){' ' + _nulls(index).strip() if index.unique and not index.nulls_distinct else ''};"
        for index in table.indexes
        if not index.constraint
    ]
    return f"CREATE TABLE {quoted(table.name)} (\n    {body}\n){clause};{''.join(others)}"


def _columns(table: Table, index: Index) -> str:
    return ", ".join(quoted(table.by_id[id].name) for id in index.columns)


def _nulls(index: Index) -> str:
    return "" if index.nulls_distinct else "NULLS NOT DISTINCT "


def _column(column: Column) -> str:
    text = str(column.type).upper().replace("CHARACTER VARYING", "VARCHAR").replace(" WITHOUT TIME ZONE", "")
    text = "TIMESTAMPTZ" if column.type.kind is Kind.TIMESTAMPTZ else text
    if column.identity is not None:
        return f"{text} GENERATED {column.identity.value.upper()} AS IDENTITY"
    null = "" if column.nullable else " NOT NULL"
    return f"{text}{null}" + (f" DEFAULT {column.default_text}" if column.default_text is not None else "")


def _options(table: Table) -> list[str]:
    given = dict(table.options_text)
    names = [quoted(table.by_id[id].name) for id in table.key]
    implied = tuple(id for id in table.primary_key if id != table.time)
    options = [f"key = '{', '.join(names)}'"] if names and table.key != implied else []
    if table.time is not None:
        options.append(f"time = '{quoted(table.by_id[table.time].name)}'")
        assert table.every is not None, "a table with event time has slices"
        options.append(f"every = '{given.get('every') or _interval(table.every)}'")
    if table.keep is not None:
        options.append(f"keep = '{given.get('keep') or _interval(table.keep)}'")
    if table.keep_by != "event":
        options.append(f"keep_by = '{table.keep_by}'")
    if table.late != "refuse":
        options.append(f"late = '{table.late}'")
    return [*options, *([f"shards = {table.shards}"] if table.shards != 1 else [])]


def _interval(microseconds: int) -> str:
    days, rest = divmod(microseconds, 86_400_000_000)
    return f"{days} days" if not rest else f"{microseconds} microseconds"


INFORMATION_SCHEMA: Final[Mapping[str, pa.Schema]] = {
    "information_schema.tables": pa.schema(
        [
            arrow_field("table_catalog", TEXT),
            arrow_field("table_schema", TEXT),
            arrow_field("table_name", TEXT),
            arrow_field("table_type", TEXT),
            arrow_field("is_insertable_into", TEXT),
        ]
    ),
    "information_schema.columns": pa.schema(
        [
            arrow_field("table_catalog", TEXT),
            arrow_field("table_schema", TEXT),
            arrow_field("table_name", TEXT),
            arrow_field("column_name", TEXT),
            arrow_field("ordinal_position", INTEGER),
            arrow_field("column_default", TEXT),
            arrow_field("is_nullable", TEXT),
            arrow_field("data_type", TEXT),
            arrow_field("character_maximum_length", INTEGER),
            arrow_field("numeric_precision", INTEGER),
            arrow_field("numeric_scale", INTEGER),
            arrow_field("is_identity", TEXT),
            arrow_field("identity_generation", TEXT),
        ]
    ),
}

_HERE: Final = {"table_catalog": "weftdb", "table_schema": "public"}


def information_schema(catalog: Catalog) -> Mapping[str, pa.RecordBatch]:
    """The rows of ``information_schema``'s relations for a catalog."""
    relations = sorted(catalog.relations.items())
    tables = [
        {
            **_HERE,
            "table_name": name,
            "table_type": "BASE TABLE" if isinstance(relation, Table) else "VIEW",
            "is_insertable_into": _yes(isinstance(relation, Table)),
        }
        for name, relation in relations
    ]
    columns = [row for name, relation in relations for row in _column_rows(name, relation)]
    rows = {"information_schema.tables": tables, "information_schema.columns": columns}
    return {name: pa.RecordBatch.from_pylist(rows[name], schema=schema) for name, schema in INFORMATION_SCHEMA.items()}


def _yes(value: bool) -> str:
    return "YES" if value else "NO"


def _column_rows(name: str, relation: Relation) -> list[dict[str, Any]]:
    if isinstance(relation, View):
        return [
            {**_HERE, "table_name": name, "column_name": column, "ordinal_position": number, "is_nullable": "YES"}
            | _type_parts(type)
            | {"is_identity": "NO"}
            for number, (column, type) in enumerate(relation.columns, 1)
        ]
    return [
        {
            **_HERE,
            "table_name": name,
            "column_name": column.name,
            "ordinal_position": number,
            "column_default": column.default_text,
            "is_nullable": _yes(column.nullable),
            **_type_parts(column.type),
            "is_identity": _yes(column.identity is not None),
            "identity_generation": _generation(column.identity),
        }
        for number, column in enumerate(relation.columns, 1)
    ]


def _generation(identity: Identity | None) -> str | None:
    return None if identity is None else identity.value.upper()


_BITS: Final = {Kind.SMALLINT: 16, Kind.INTEGER: 32, Kind.BIGINT: 64, Kind.REAL: 24, Kind.DOUBLE: 53}


def _type_parts(type: Type) -> dict[str, Any]:
    return {
        "data_type": type.kind.value,
        "character_maximum_length": type.length,
        "numeric_precision": type.precision if type.kind is Kind.NUMERIC else _BITS.get(type.kind),
        "numeric_scale": type.scale if type.kind is Kind.NUMERIC else 0 if type.is_integer else None,
    }
