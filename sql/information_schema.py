"""``information_schema`` as PostgreSQL has it: the relations that tools ask, computed from a catalog.

    schemata  tables  columns  views  table_constraints  key_column_usage  constraint_column_usage
    check_constraints  referential_constraints (empty: there are no foreign keys)

Each has PostgreSQL 15's columns in its order, but for those that could only be NULL here (character sets, collations,
domains, scopes, user-defined types). Names of constraints are PostgreSQL's: ``t_pkey``. NOT NULL is no constraint here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa

from ..base.types import INTEGER, TEXT, Kind, Type, arrow_field
from ..engine.catalog import Catalog
from ..engine.expression.node import Column as ColumnNode
from ..engine.expression.tree import walk
from ..engine.schema import Column, Relation, Table, View

Row = dict[str, Any]

_HERE: Final = {"table_catalog": "weftdb", "table_schema": "public"}
_NUMBERS: Final = (
    "ordinal_position", "character_maximum_length", "character_octet_length", "numeric_precision",
    "numeric_precision_radix", "numeric_scale", "datetime_precision", "position_in_unique_constraint",
)  # fmt: skip


def information_schema(catalog: Catalog, name: str) -> pa.RecordBatch:
    """The rows of one of its relations for a catalog."""
    return pa.RecordBatch.from_pylist(list(_ROWS[name](catalog)), schema=INFORMATION_SCHEMA[name])


def _schema(columns: str) -> pa.Schema:
    return pa.schema([arrow_field(name, INTEGER if name in _NUMBERS else TEXT) for name in columns.split()])


_CONSTRAINT: Final = "constraint_catalog constraint_schema constraint_name"
_TABLE: Final = "table_catalog table_schema table_name"

INFORMATION_SCHEMA: Final[Mapping[str, pa.Schema]] = MappingProxyType(
    {
        "information_schema.schemata": _schema("catalog_name schema_name schema_owner"),
        "information_schema.tables": _schema(f"{_TABLE} table_type is_insertable_into is_typed"),
        "information_schema.columns": _schema(
            f"{_TABLE} column_name ordinal_position column_default is_nullable data_type character_maximum_length "
            "character_octet_length numeric_precision numeric_precision_radix numeric_scale datetime_precision "
            "udt_catalog udt_schema udt_name is_self_referencing is_identity identity_generation identity_start "
            "identity_increment identity_maximum identity_minimum identity_cycle is_generated generation_expression "
            "is_updatable"
        ),
        "information_schema.views": _schema(f"{_TABLE} view_definition check_option is_updatable is_insertable_into"),
        "information_schema.table_constraints": _schema(
            f"{_CONSTRAINT} {_TABLE} constraint_type is_deferrable initially_deferred enforced nulls_distinct"
        ),
        "information_schema.key_column_usage": _schema(
            f"{_CONSTRAINT} {_TABLE} column_name ordinal_position position_in_unique_constraint"
        ),
        "information_schema.constraint_column_usage": _schema(f"{_TABLE} column_name {_CONSTRAINT}"),
        "information_schema.check_constraints": _schema(f"{_CONSTRAINT} check_clause"),
        "information_schema.referential_constraints": _schema(
            f"{_CONSTRAINT} unique_constraint_catalog unique_constraint_schema unique_constraint_name match_option "
            "update_rule delete_rule"
        ),
    }
)


def _relations(catalog: Catalog) -> list[tuple[str, Relation]]:
    return sorted(catalog.relations.items())


def _tables_of(catalog: Catalog) -> Iterator[tuple[str, Table]]:
    for name, relation in _relations(catalog):
        if isinstance(relation, Table):
            yield name, relation


def _schemata(catalog: Catalog) -> Iterator[Row]:
    for name in ("information_schema", "pg_catalog", "public"):
        yield {"catalog_name": "weftdb", "schema_name": name, "schema_owner": "weft"}


def _tables(catalog: Catalog) -> Iterator[Row]:
    for name, relation in _relations(catalog):
        is_table = isinstance(relation, Table)
        kind = "BASE TABLE" if is_table else "VIEW"
        yield {**_HERE, "table_name": name, "table_type": kind, "is_insertable_into": _yes(is_table), "is_typed": "NO"}


def _views(catalog: Catalog) -> Iterator[Row]:
    for name, relation in _relations(catalog):
        if isinstance(relation, View):
            never = {"check_option": "NONE", "is_updatable": "NO", "is_insertable_into": "NO"}
            yield {**_HERE, "table_name": name, "view_definition": relation.query.strip(), **never}


# -- columns ---------------------------------------------------------------------------------------------------------


def _columns(catalog: Catalog) -> Iterator[Row]:
    for name, relation in _relations(catalog):
        if isinstance(relation, View):
            for number, (column, type) in enumerate(relation.columns, 1):
                yield {**_column(name, column, number, type), "is_nullable": "YES", "is_updatable": "NO"}
        else:
            for number, column in enumerate(relation.columns, 1):
                yield _column(name, column.name, number, column.type) | _of_table(column)


def _column(table: str, name: str, number: int, type: Type) -> Row:
    return {
        **_HERE,
        "table_name": table,
        "column_name": name,
        "ordinal_position": number,
        **_type_parts(type),
        "udt_catalog": "weftdb",
        "udt_schema": "pg_catalog",
        "udt_name": _udt_name(type),
        "is_self_referencing": "NO",
        "is_identity": "NO",
        "identity_cycle": "NO",
        "is_generated": "NEVER",
    }


def _of_table(column: Column) -> Row:
    row: Row = {
        "column_default": column.default_text,
        "is_nullable": _yes(column.nullable),
        "is_updatable": "YES",
        "is_identity": _yes(column.identity is not None),
    }
    if column.identity is not None:
        highest = 2 ** (_BITS[column.type.kind] - 1) - 1
        row |= {"identity_generation": column.identity.value.upper(), "identity_start": "1", "identity_increment": "1"}
        row |= {"identity_minimum": "1", "identity_maximum": str(highest)}
    return row


_BITS: Final = {Kind.SMALLINT: 16, Kind.INTEGER: 32, Kind.BIGINT: 64, Kind.REAL: 24, Kind.DOUBLE: 53}
_UDT_NAMES: Final = {
    Kind.SMALLINT: "int2", Kind.INTEGER: "int4", Kind.BIGINT: "int8", Kind.REAL: "float4", Kind.DOUBLE: "float8",
    Kind.BOOLEAN: "bool", Kind.VARCHAR: "varchar", Kind.TIMESTAMP: "timestamp", Kind.TIMESTAMPTZ: "timestamptz",
    Kind.TIME: "time",
}  # fmt: skip
_WITH_SECONDS: Final = (Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.INTERVAL)


def _type_parts(type: Type) -> Row:
    exact = type.kind is Kind.NUMERIC
    return {
        "data_type": "ARRAY" if type.kind is Kind.ARRAY else type.kind.value,
        "character_maximum_length": type.length,
        "character_octet_length": 2**30 if type.kind is Kind.TEXT else type.length and type.length * 4,
        "numeric_precision": type.precision if exact else _BITS.get(type.kind),
        "numeric_precision_radix": 10 if exact else 2 if type.kind in _BITS else None,
        "numeric_scale": type.scale if exact else 0 if type.is_integer else None,
        "datetime_precision": 6 if type.kind in _WITH_SECONDS else 0 if type.kind is Kind.DATE else None,
    }


def _udt_name(type: Type) -> str:
    if type.kind is Kind.ARRAY:
        assert type.element is not None, "an array type has an element type"
        return f"_{_udt_name(type.element)}"
    return _UDT_NAMES.get(type.kind, type.kind.value)


# -- constraints -----------------------------------------------------------------------------------------------------


def _constraint(name: str) -> Row:
    return {"constraint_catalog": "weftdb", "constraint_schema": "public", "constraint_name": name}


def _unique(table: Table) -> Iterator[tuple[str, str, tuple[int, ...], str | None]]:
    """Primary key and UNIQUE constraints: name, kind, column identifiers, whether NULLs are distinct."""
    if table.primary_key:
        yield f"{table.name}_pkey", "PRIMARY KEY", table.primary_key, None
    for index in table.indexes:
        if index.constraint:
            yield index.name, "UNIQUE", index.columns, _yes(index.nulls_distinct)


def _table_constraints(catalog: Catalog) -> Iterator[Row]:
    same = {"is_deferrable": "NO", "initially_deferred": "NO", "enforced": "YES"}
    for name, table in _tables_of(catalog):
        for constraint, kind, _, nulls in _unique(table):
            row = {**_constraint(constraint), **_HERE, "table_name": name, "constraint_type": kind, **same}
            yield row | {"nulls_distinct": nulls}
        for check in table.checks:
            yield {**_constraint(check.name), **_HERE, "table_name": name, "constraint_type": "CHECK", **same}


def _key_column_usage(catalog: Catalog) -> Iterator[Row]:
    for name, table in _tables_of(catalog):
        for constraint, _, columns, _ in _unique(table):
            for number, id in enumerate(columns, 1):
                column = {"column_name": table.by_id[id].name, "ordinal_position": number}
                yield {**_constraint(constraint), **_HERE, "table_name": name, **column}


def _constraint_column_usage(catalog: Catalog) -> Iterator[Row]:
    for name, table in _tables_of(catalog):
        used = [(constraint, columns) for constraint, _, columns, _ in _unique(table)]
        for check in table.checks:
            ids = [node.id for node in walk(check.expression) if isinstance(node, ColumnNode)]
            used.append((check.name, tuple(dict.fromkeys(ids))))
        for constraint, columns in used:
            for id in columns:
                yield {**_HERE, "table_name": name, "column_name": table.by_id[id].name, **_constraint(constraint)}


def _check_constraints(catalog: Catalog) -> Iterator[Row]:
    for _, table in _tables_of(catalog):
        for check in table.checks:
            yield {**_constraint(check.name), "check_clause": f"({check.text})"}


def _referential_constraints(catalog: Catalog) -> Iterator[Row]:
    return iter(())


def _yes(value: bool) -> str:
    return "YES" if value else "NO"


_ROWS: Final[Mapping[str, Callable[[Catalog], Iterator[Row]]]] = {
    "information_schema.schemata": _schemata,
    "information_schema.tables": _tables,
    "information_schema.columns": _columns,
    "information_schema.views": _views,
    "information_schema.table_constraints": _table_constraints,
    "information_schema.key_column_usage": _key_column_usage,
    "information_schema.constraint_column_usage": _constraint_column_usage,
    "information_schema.check_constraints": _check_constraints,
    "information_schema.referential_constraints": _referential_constraints,
}
