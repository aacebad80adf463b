"""The catalog: which relations exist at a version, and how their definitions are stored.

A ``Catalog`` is an immutable value. Each commit that changes definitions makes a new one from the one before; a
snapshot picks the newest at or below its version. Definitions are stored as JSON text in the internal table
``weft_catalog``, in a format up to ``FORMAT``; unknown formats are refused, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from ..base.errors import Corrupt, Invalid, nearest
from ..base.types import parse_type
from .aggregates import definition as aggregates
from .aggregates.definition import Maintained
from .expression.serialize import from_json, to_json
from .schema import Check, Column, Guard, Identity, Index, Relation, Table, View

FORMAT: Final = 6
"""Maintained views with values have format 6, others, and tables that they guard, 5.

Definitions without partial indexes are written as format 2, those without indexes as 1: see ``_format_of``."""


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The relations at ``version``, by name. ``version`` is that of the commit that made this catalog."""

    version: int
    relations: Mapping[str, Relation]

    @cached_property
    def by_id(self) -> Mapping[int, Relation]:
        return {relation.id: relation for relation in self.relations.values()}

    @cached_property
    def stored(self) -> Mapping[int, Table]:
        """Everything with rows of its own, by identifier: the tables, and the internal ones of indexes and views."""
        return {item.id: item for relation in self.relations.values() for item in stored_of(relation)}

    @cached_property
    def maintained(self) -> Mapping[int, tuple[Maintained, ...]]:
        """The materialized views that the engine keeps, by the table that they group."""
        return {
            base: tuple(view.maintained for view in views if view.maintained is not None)
            for base, views in self.kept_views.items()
        }

    @cached_property
    def kept_views(self) -> Mapping[int, tuple[View, ...]]:
        """The same views, as relations."""
        found: dict[int, list[View]] = {}
        for item in self.relations.values():
            if isinstance(item, View) and item.maintained is not None:
                found.setdefault(item.maintained.base, []).append(item)
        return {base: tuple(views) for base, views in found.items()}

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that are taken: of relations and of indexes."""
        tables = [relation for relation in self.relations.values() if isinstance(relation, Table)]
        return frozenset(self.relations) | {index.name for table in tables for index in table.indexes}

    def index(self, name: str) -> tuple[Table, Index] | None:
        """The index called ``name``, and its table."""
        for relation in self.relations.values():
            for index in relation.indexes if isinstance(relation, Table) else ():
                if index.name == name:
                    return relation, index  # pyright: ignore[reportReturnType] - it has indexes
        return None

    def relation(self, name: str) -> Relation:
        """The table or view called ``name``. Raises Invalid (42P01) with the nearest name."""
        found = self.relations.get(name)
        if found is None:
            raise Invalid(
                f'relation "{name}" does not exist',
                hint=nearest(name, self.relations) or "\\d lists the relations; CREATE TABLE makes one.",
                sqlstate="42P01",
            )
        return found

    def table(self, name: str) -> Table:
        """The table called ``name``. Raises Invalid: 42P01 where there is none, 42809 where it is a view."""
        found = self.relations.get(name) or self.relation(name)
        if isinstance(found, View):
            raise Invalid(f'"{name}" is a view, not a table', hint="Name the table that it reads.", sqlstate="42809")
        return found

    def readable(self, name: str) -> Table:
        """What key-value calls read under a name: a table, or a maintained view. Raises Invalid as ``table``."""
        found = self.relations.get(name)
        if not isinstance(found, View):
            return self.table(name)
        if found.rows is None:
            what = "computed when it is read" if found.materialized else "not materialized"
            hint = f"Use SQL: SELECT … FROM {name}."
            raise Invalid(f'view "{name}" has no rows to be read by key: it is {what}', hint=hint, sqlstate="42809")
        return found.rows

    def has(self, table: Table) -> bool:
        """Whether this is still the definition of a table, or of the groups of a view."""
        found = self.relations.get(table.name)
        return found is table or (isinstance(found, View) and found.groups is table)

    def changed(self, changes: Mapping[str, Relation | None], *, version: int) -> Catalog:
        """The catalog after ``changes`` (None drops the name)."""
        relations = {**self.relations, **changes}
        return Catalog(
            version=version,
            relations=MappingProxyType({name: item for name, item in relations.items() if item is not None}),
        )


def stored_of(relation: Relation) -> tuple[Table, ...]:
    """What a relation has of rows: its own, and those of internal tables."""
    if isinstance(relation, Table):
        return (relation, *relation.index_tables.values())
    return relation.tables


EMPTY: Final = Catalog(version=0, relations=MappingProxyType({}))


def encode_relation(relation: Relation) -> str:
    """The definition as JSON text; ``decode_relation`` is its inverse."""
    match relation:
        case Table():
            document: dict[str, Any] = {
                "format": _format_of(relation),
                "table": {
                    "id": relation.id,
                    "name": relation.name,
                    "columns": [_encode_column(column) for column in relation.columns],
                    "primary_key": relation.primary_key,
                    "key": relation.key,
                    "time": relation.time,
                    "shards": relation.shards,
                    "every": relation.every,
                    "keep": relation.keep,
                    "keep_by": relation.keep_by,
                    "late": relation.late,
                    "checks": [
                        {"name": check.name, "expression": to_json(check.expression), "text": check.text}
                        for check in relation.checks
                    ],
                    "schema_version": relation.schema_version,
                    "next_column_id": relation.next_column_id,
                    "options_text": relation.options_text,
                },
            }
            if relation.guards:
                document["table"]["guards"] = [[guard.view, to_json(guard.expression)] for guard in relation.guards]
            if relation.indexes:
                document["table"]["indexes"] = [_encode_index(index) for index in relation.indexes]
            if relation.comments:
                document["table"]["comments"] = relation.comments
        case View():
            document = {
                "format": 1 if relation.maintained is None else 6 if relation.maintained.values else 5,
                "view": {
                    "id": relation.id,
                    "name": relation.name,
                    "query": relation.query,
                    "columns": [[name, str(type)] for name, type in relation.columns],
                    "materialized": relation.materialized,
                    "depends_on": relation.depends_on,
                },
            }
            if relation.maintained is not None:
                document["view"]["maintained"] = aggregates.encode(relation.maintained)
            if relation.comments:
                document["view"]["comments"] = relation.comments
    return json.dumps(document, separators=(",", ":"))


def decode_relation(text: str) -> Relation:
    """The relation of a stored definition. Raises Corrupt for a text that this program did not write."""
    document = json.loads(text)
    if document.get("format") not in range(1, FORMAT + 1):
        raise Corrupt(
            f"a catalog entry has format {document.get('format')}, this program reads up to {FORMAT}",
            hint="Open the folder with the version of WeftDB that wrote it.",
        )
    if "table" in document:
        return _decode_table(document["table"])
    item = document["view"]
    return View(
        id=item["id"],
        name=item["name"],
        query=item["query"],
        columns=tuple((name, parse_type(type)) for name, type in item["columns"]),
        materialized=item["materialized"],
        maintained=aggregates.decode(item["maintained"]) if "maintained" in item else None,
        depends_on=tuple(item["depends_on"]),
        comments=_decode_comments(item),
    )


def _decode_comments(item: dict[str, Any]) -> tuple[tuple[int, str], ...]:
    return tuple((place, text) for place, text in item.get("comments", ()))


def _format_of(table: Table) -> int:
    """The oldest format that has all of the definition, for programs before this one."""
    if table.guards:
        return 5
    if any(index.expressions for index in table.indexes):
        return 4
    if any(index.where is not None for index in table.indexes):
        return 3
    return 2 if table.indexes else 1


def _encode_index(index: Index) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": index.id,
        "name": index.name,
        "columns": index.columns,
        "unique": index.unique,
        "nulls_distinct": index.nulls_distinct,
        "constraint": index.constraint,
    }
    if index.where is not None:
        document |= {"where": to_json(index.where), "where_text": index.where_text}
    if index.expressions:
        document["expressions"] = [
            {"expression": to_json(expression), "text": text}
            for expression, text in zip(index.expressions, index.expression_texts, strict=True)
        ]
    return document


def _encode_column(column: Column) -> dict[str, Any]:
    return {
        "id": column.id,
        "name": column.name,
        "type": str(column.type),
        "nullable": column.nullable,
        "default": None if column.default is None else to_json(column.default),
        "default_text": column.default_text,
        "identity": None if column.identity is None else column.identity.value,
        "missing": None if column.missing is None else to_json(column.missing),
    }


def _decode_column(item: dict[str, Any]) -> Column:
    missing = None if item["missing"] is None else from_json(item["missing"])
    return Column(
        id=item["id"],
        name=item["name"],
        type=parse_type(item["type"]),
        nullable=item["nullable"],
        default=None if item["default"] is None else from_json(item["default"]),
        default_text=item["default_text"],
        identity=None if item["identity"] is None else Identity(item["identity"]),
        missing=missing,  # pyright: ignore[reportArgumentType]
    )


def _decode_table(item: dict[str, Any]) -> Table:
    return Table(
        id=item["id"],
        name=item["name"],
        columns=tuple(_decode_column(column) for column in item["columns"]),
        primary_key=tuple(item["primary_key"]),
        key=tuple(item["key"]),
        time=item["time"],
        shards=item["shards"],
        every=item["every"],
        keep=item["keep"],
        keep_by=item["keep_by"],
        late=item.get("late", "refuse"),  # definitions of the first data folders do not say
        guards=tuple(Guard(view=view, expression=from_json(text)) for view, text in item.get("guards", ())),
        checks=tuple(
            Check(name=check["name"], expression=from_json(check["expression"]), text=check["text"])
            for check in item["checks"]
        ),
        schema_version=item["schema_version"],
        next_column_id=item["next_column_id"],
        options_text=tuple((name, value) for name, value in item["options_text"]),
        indexes=tuple(
            Index(
                id=index["id"],
                name=index["name"],
                columns=tuple(index["columns"]),
                unique=index["unique"],
                nulls_distinct=index["nulls_distinct"],
                constraint=index["constraint"],
                where=from_json(index["where"]) if "where" in index else None,
                where_text=index.get("where_text"),
                expressions=tuple(from_json(each["expression"]) for each in index.get("expressions", ())),
                expression_texts=tuple(each["text"] for each in index.get("expressions", ())),
            )
            for index in item.get("indexes", ())
        ),
        comments=_decode_comments(item),
    )
