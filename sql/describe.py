"""What is there: SHOW TABLES, SHOW COLUMNS, SHOW CREATE.

Everything is computed from a catalog, so it is right in a transaction and in a snapshot of the past.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from ..base.types import BOOLEAN, TEXT, Kind, arrow_field
from ..engine.catalog import Catalog
from ..engine.schema import Column, Index, Relation, Table, View

_TABLES: Final = pa.schema([arrow_field("name", TEXT), arrow_field("kind", TEXT)])
_COLUMNS: Final = pa.schema(
    [
        arrow_field("name", TEXT),
        arrow_field("type", TEXT),
        arrow_field("nullable", BOOLEAN),
        arrow_field("default", TEXT),
    ]
)
WRAPPED: Final = re.compile(r"SELECT .* FROM \((.*)\) AS weft_view\((.*)\)", re.DOTALL)
"""The query of a view with columns of its own, see views.py."""

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
    text += "".join(f"\n{line}" for line in _comments(relation))
    return pa.RecordBatch.from_pylist([{"definition": text}], schema=_CREATE)


def _comments(relation: Relation) -> list[str]:
    name = quoted(relation.name)
    lines: list[str] = []
    for column, comment in comments_of(relation):
        what = f"{kind_name(relation).upper()} {name}" if column is None else f"COLUMN {name}.{quoted(column)}"
        lines.append(f"COMMENT ON {what} IS '{comment.replace(chr(39), chr(39) * 2)}';")
    return lines


def comments_of(relation: Relation) -> Iterator[tuple[str | None, str]]:
    """(column, or None for the relation itself, and its comment), in order."""
    names: dict[int, str | None] = {0: None}
    if isinstance(relation, Table):
        names.update({column.id: column.name for column in relation.columns})
    else:
        names.update(enumerate((name for name, _ in relation.columns), start=1))
    return ((names[place], text) for place, text in relation.comments if place in names)


def all_comments(catalog: Catalog) -> list[dict[str, str | None]]:
    """The rows of ``weft_comments``."""
    return [
        {"table_name": name, "column_name": column, "comment": text}
        for name, relation in sorted(catalog.relations.items())
        for column, text in comments_of(relation)
    ]


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
    retains = view.maintained is not None and view.maintained.forgotten
    options = " WITH (retain = 'all')" if retains else ""
    columns, query = "", view.query.strip()
    if view.materialized and (match := WRAPPED.fullmatch(query)) is not None:  # of groups alone is one made
        columns, query = f" ({match[2]})", match[1]
    return f"CREATE {kind_name(view).upper()} {quoted(view.name)}{columns}{options} AS {query};"


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
    others = [f"\n{index_text(table, index)};" for index in table.indexes if not index.constraint]
    return f"CREATE TABLE {quoted(table.name)} (\n    {body}\n){clause};{''.join(others)}"


def index_text(table: Table, index: Index) -> str:
    """CREATE INDEX as it makes this index."""
    nulls = f" {_nulls(index).strip()}" if index.unique and not index.nulls_distinct else ""
    where = "" if index.where_text is None else f" WHERE {index.where_text}"
    unique = "UNIQUE " if index.unique else ""
    return f"CREATE {unique}INDEX {quoted(index.name)} ON {quoted(table.name)} ({_columns(table, index)}){nulls}{where}"


def _columns(table: Table, index: Index) -> str:
    return ", ".join(index.text(table, id) if id < 0 else quoted(index.text(table, id)) for id in index.columns)


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
