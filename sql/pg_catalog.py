"""``pg_catalog``: the relations of PostgreSQL's own that tools and drivers ask, computed from a catalog.

    pg_namespace  pg_class  pg_attribute  pg_attrdef  pg_type  pg_index  pg_constraint  pg_description  pg_database
    pg_roles  pg_tables  pg_views  pg_matviews  pg_indexes

Each has the columns of PostgreSQL 15 that are not always the same here. Numbers (oid) are those of the catalog, which
stay as long as what they name; a primary key, which is no index of ours, has one that follows from its table's. There
is one role, ``weft``. Names of columns that PostgreSQL has as ``name`` or ``"char"`` are TEXT, oids BIGINT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa

from ..base.oids import ELEMENTS, KINDS, array_oid, modifier_of, oid_of, size_of
from ..base.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, TEXT, Type, array_of, arrow_field
from ..engine.catalog import Catalog
from ..engine.expression.node import Column as ColumnNode
from ..engine.expression.tree import walk
from ..engine.schema import Index, Relation, Table, View
from .bind.system import PRIMARY_KEYS
from .bind.types import INTERNAL_NAMES
from .describe import comments_of, index_text, quoted

Row = dict[str, Any]

SYSTEM: Final = 11
PUBLIC: Final = 2200
_INFORMATION_SCHEMA: Final = 13_000
_DATABASE: Final = 5
_OWNER: Final = 10
_RELATIONS: Final = 1259

_OIDS: Final = (
    "oid", "relnamespace", "relowner", "relam", "nspowner", "attrelid", "atttypid", "adrelid", "typnamespace",
    "typelem", "typarray", "typowner", "indexrelid", "indrelid", "connamespace", "conrelid", "conindid", "objoid",
    "classoid", "datdba", "reltype", "relfilenode", "reltoastrelid", "attcollation", "typrelid", "typbasetype",
    "confrelid", "typcollation",
)  # fmt: skip
_WHOLE: Final = (
    "relnatts", "relchecks", "attnum", "atttypmod", "attlen", "attndims", "adnum", "typlen", "typtypmod", "indnatts",
    "indnkeyatts", "objsubid", "encoding", "relpages",
)  # fmt: skip
_TRUTHS: Final = (
    "relhasindex", "relhasrules", "relhastriggers", "relrowsecurity", "relispartition", "relispopulated",
    "attnotnull", "atthasdef", "attisdropped", "typnotnull", "typisdefined", "indisunique", "indisprimary",
    "indisvalid", "indisready", "indisclustered", "indnullsnotdistinct", "condeferrable", "condeferred",
    "convalidated", "datistemplate", "datallowconn", "rolsuper", "rolcanlogin", "rolcreatedb", "rolcreaterole",
    "hasindexes", "hasrules", "hastriggers", "rowsecurity", "ispopulated",
)  # fmt: skip
_TYPES: Final[Mapping[str, Type]] = {
    **dict.fromkeys(_OIDS, BIGINT),
    **dict.fromkeys(_WHOLE, INTEGER),
    **dict.fromkeys(_TRUTHS, BOOLEAN),
    "reltuples": DOUBLE,
    "indkey": array_of(INTEGER),
    "conkey": array_of(INTEGER),
}


def _schema(columns: str) -> pa.Schema:
    return pa.schema([arrow_field(name, _TYPES.get(name, TEXT)) for name in columns.split()])


def pg_catalog(catalog: Catalog, name: str) -> pa.RecordBatch:
    """The rows of one of its relations for a catalog."""
    return pa.RecordBatch.from_pylist(list(_ROWS[name](catalog)), schema=PG_CATALOG[name])


# -- relations -------------------------------------------------------------------------------------------------------


def _relations(catalog: Catalog) -> list[Relation]:
    return [relation for _, relation in sorted(catalog.relations.items())]


def _tables(catalog: Catalog) -> list[Table]:
    return [relation for relation in _relations(catalog) if isinstance(relation, Table)]


def _namespaces(catalog: Catalog) -> Iterator[Row]:
    del catalog
    for oid, name in ((SYSTEM, "pg_catalog"), (PUBLIC, "public"), (_INFORMATION_SCHEMA, "information_schema")):
        yield {"oid": oid, "nspname": name, "nspowner": _OWNER}


def _classes(catalog: Catalog) -> Iterator[Row]:
    for relation in _relations(catalog):
        indexed = isinstance(relation, Table) and bool(relation.primary_key or relation.indexes)
        kind = "r" if isinstance(relation, Table) else "m" if relation.materialized else "v"
        checks = len(relation.checks) if isinstance(relation, Table) else 0
        yield _class(relation.id, relation.name, kind, len(relation.columns)) | {
            "relhasindex": indexed,
            "relchecks": checks,
            "relhasrules": kind != "r",
        }
    for table in _tables(catalog):
        for oid, name, columns, _ in _unique_and_others(table):
            yield _class(oid, name, "i", len(columns)) | {"relam": 403}


def _class(oid: int, name: str, kind: str, columns: int) -> Row:
    never = dict.fromkeys(("relhasindex", "relhasrules", "relhastriggers", "relrowsecurity", "relispartition"), False)
    return {
        "oid": oid,
        "relname": name,
        "relnamespace": PUBLIC,
        "relowner": _OWNER,
        "relkind": kind,
        "relnatts": columns,
        "relpersistence": "p",
        "relreplident": "d",
        "relispopulated": True,
        "reltuples": -1.0,
        **dict.fromkeys(("reltype", "relam", "relfilenode", "reltoastrelid", "relpages", "relchecks"), 0),
        **never,
    }


def _unique_and_others(table: Table) -> Iterator[tuple[int, str, tuple[int, ...], Index | None]]:
    """What PostgreSQL has as indexes: the primary key, without an index of ours, and these."""
    if table.primary_key:
        yield PRIMARY_KEYS + table.id, f"{table.name}_pkey", table.primary_key, None
    for index in table.indexes:
        yield index.id, index.name, index.columns, index


def _numbers(table: Table, ids: tuple[int, ...]) -> list[int]:
    """The places of columns, from 1; 0 of an expression."""
    places = {column.id: place for place, column in enumerate(table.columns, 1)}
    return [places.get(id, 0) for id in ids]


def _attributes(catalog: Catalog) -> Iterator[Row]:
    for relation in _relations(catalog):
        if isinstance(relation, View):
            for place, (name, type) in enumerate(relation.columns, 1):
                yield _attribute(relation.id, place, name, type)
            continue
        for place, column in enumerate(relation.columns, 1):
            identity = {None: "", "always": "a", "by default": "d"}[column.identity and column.identity.value]
            yield _attribute(relation.id, place, column.name, column.type) | {
                "attnotnull": not column.nullable,
                "atthasdef": column.default_text is not None,
                "attidentity": identity,
            }


def _attribute(relation: int, place: int, name: str, type: Type) -> Row:
    return {
        "attrelid": relation,
        "attname": name,
        "atttypid": oid_of(type),
        "attlen": size_of(type.kind),
        "attnum": place,
        "attndims": int(type.element is not None),
        "atttypmod": modifier_of(type),
        "attnotnull": False,
        "atthasdef": False,
        "attidentity": "",
        "attgenerated": "",
        "attisdropped": False,
        "attcollation": 950 if type.is_text else 0,
    }


def _defaults(catalog: Catalog) -> Iterator[Row]:
    for table in _tables(catalog):
        for place, column in enumerate(table.columns, 1):
            if column.default_text is not None:
                yield {
                    "oid": (table.id << 20) + place,
                    "adrelid": table.id,
                    "adnum": place,
                    "adbin": column.default_text,
                }


def _types(catalog: Catalog) -> Iterator[Row]:
    del catalog
    same = {
        "typnamespace": SYSTEM,
        "typowner": _OWNER,
        "typtype": "b",
        "typnotnull": False,
        "typisdefined": True,
        "typtypmod": -1,
        "typrelid": 0,
        "typbasetype": 0,
        "typdelim": ",",
        "typcollation": 0,
    }
    for oid, kind in KINDS.items():
        lengths = {"typlen": size_of(kind), "typelem": 0, "typarray": array_oid(kind)}
        yield {
            "oid": oid,
            "typname": INTERNAL_NAMES[kind],
            "typcategory": _category(Type(kind=kind)),
            **lengths,
            **same,
        }
    for oid, kind in ELEMENTS.items():
        element = next(number for number, other in KINDS.items() if other is kind)
        arrays = {"typlen": -1, "typelem": element, "typarray": 0, "typcategory": "A"}
        yield {"oid": oid, "typname": f"_{INTERNAL_NAMES[kind]}", **same, **arrays}


def _category(type: Type) -> str:
    word = INTERNAL_NAMES[type.kind]
    if type.is_text:
        return "S"
    if word.startswith(("int", "float", "numeric")) and word != "interval":
        return "N"
    return {"bool": "B", "date": "D", "time": "D", "timestamp": "D", "timestamptz": "D", "interval": "T"}.get(word, "U")


def _indexes(catalog: Catalog) -> Iterator[Row]:
    for table in _tables(catalog):
        for oid, _, columns, index in _unique_and_others(table):
            yield {
                "indexrelid": oid,
                "indrelid": table.id,
                "indnatts": len(columns),
                "indnkeyatts": len(columns),
                "indisunique": index is None or index.unique,
                "indisprimary": index is None,
                "indnullsnotdistinct": index is not None and not index.nulls_distinct,
                "indisvalid": True,
                "indisready": True,
                "indisclustered": False,
                "indkey": _numbers(table, columns),
                "indexprs": None if index is None else ", ".join(index.expression_texts) or None,
                "indpred": None if index is None else index.where_text,
            }


def _constraints(catalog: Catalog) -> Iterator[Row]:
    same = {"connamespace": PUBLIC, "condeferrable": False, "condeferred": False, "convalidated": True, "confrelid": 0}
    for table in _tables(catalog):
        for oid, name, columns, index in _unique_and_others(table):
            if index is None or index.constraint:
                keys = {"conindid": oid, "conkey": _numbers(table, columns), "contype": "p" if index is None else "u"}
                yield {"oid": oid, "conname": name, "conrelid": table.id, **keys, **same}
        for place, check in enumerate(table.checks, 1):
            used = tuple(dict.fromkeys(node.id for node in walk(check.expression) if isinstance(node, ColumnNode)))
            own = {"contype": "c", "conindid": 0, "conkey": _numbers(table, used), "conbin": check.text}
            yield {
                "oid": (table.id << 20) + 100_000 + place,
                "conname": check.name,
                "conrelid": table.id,
                **own,
                **same,
            }


def _descriptions(catalog: Catalog) -> Iterator[Row]:
    for relation in _relations(catalog):
        columns = relation.columns if isinstance(relation, View) else [(column.name,) for column in relation.columns]
        places = {named[0]: place for place, named in enumerate(columns, 1)}
        for column, text in comments_of(relation):
            place = 0 if column is None else places[column]
            yield {"objoid": relation.id, "classoid": _RELATIONS, "objsubid": place, "description": text}


def _databases(catalog: Catalog) -> Iterator[Row]:
    del catalog
    yield {"oid": _DATABASE, "datname": "weftdb", "datdba": _OWNER, "encoding": 6, "datcollate": "C", "datctype": "C",
           "datistemplate": False, "datallowconn": True}  # fmt: skip


def _roles(catalog: Catalog) -> Iterator[Row]:
    del catalog
    may = dict.fromkeys(("rolsuper", "rolcanlogin", "rolcreatedb", "rolcreaterole"), True)
    yield {"oid": _OWNER, "rolname": "weft", **may}


# -- the views of these ----------------------------------------------------------------------------------------------


def _table_rows(catalog: Catalog) -> Iterator[Row]:
    for table in _tables(catalog):
        indexed = bool(table.primary_key or table.indexes)
        never = dict.fromkeys(("hasrules", "hastriggers", "rowsecurity"), False)
        yield {"schemaname": "public", "tablename": table.name, "tableowner": "weft", "hasindexes": indexed, **never}


def _view_rows(name: str, *, materialized: bool) -> Callable[[Catalog], Iterator[Row]]:
    def rows(catalog: Catalog) -> Iterator[Row]:
        for view in _relations(catalog):
            if isinstance(view, View) and view.materialized == materialized:
                yield {"schemaname": "public", name: view.name, f"{name[:-4]}owner": "weft",
                       "hasindexes": False, "ispopulated": True, "definition": view.query.strip()}  # fmt: skip

    return rows


def _index_rows(catalog: Catalog) -> Iterator[Row]:
    for table in _tables(catalog):
        for _, name, columns, index in _unique_and_others(table):
            listed = ", ".join(quoted(table.by_id[id].name) for id in columns if index is None)
            made = f"CREATE UNIQUE INDEX {quoted(name)} ON {quoted(table.name)} ({listed})"
            text = made if index is None else index_text(table, index)
            yield {"schemaname": "public", "tablename": table.name, "indexname": name, "indexdef": text}


PG_CATALOG: Final[Mapping[str, pa.Schema]] = MappingProxyType(
    {
        "pg_catalog.pg_namespace": _schema("oid nspname nspowner"),
        "pg_catalog.pg_class": _schema(
            "oid relname relnamespace reltype relowner relam relfilenode relpages reltuples reltoastrelid relhasindex "
            "relpersistence relkind relnatts relchecks relhasrules relhastriggers relrowsecurity relispopulated "
            "relreplident relispartition"
        ),
        "pg_catalog.pg_attribute": _schema(
            "attrelid attname atttypid attlen attnum attndims atttypmod attnotnull atthasdef attidentity attgenerated "
            "attisdropped attcollation"
        ),
        "pg_catalog.pg_attrdef": _schema("oid adrelid adnum adbin"),
        "pg_catalog.pg_type": _schema(
            "oid typname typnamespace typowner typlen typtype typcategory typisdefined typdelim typrelid typelem "
            "typarray typnotnull typbasetype typtypmod typcollation"
        ),
        "pg_catalog.pg_index": _schema(
            "indexrelid indrelid indnatts indnkeyatts indisunique indnullsnotdistinct indisprimary indisclustered "
            "indisvalid indisready indkey indexprs indpred"
        ),
        "pg_catalog.pg_constraint": _schema(
            "oid conname connamespace contype condeferrable condeferred convalidated conrelid conindid confrelid "
            "conkey conbin"
        ),
        "pg_catalog.pg_description": _schema("objoid classoid objsubid description"),
        "pg_catalog.pg_database": _schema("oid datname datdba encoding datcollate datctype datistemplate datallowconn"),
        "pg_catalog.pg_roles": _schema("oid rolname rolsuper rolcreaterole rolcreatedb rolcanlogin"),
        "pg_catalog.pg_tables": _schema(
            "schemaname tablename tableowner tablespace hasindexes hasrules hastriggers rowsecurity"
        ),
        "pg_catalog.pg_views": _schema("schemaname viewname viewowner definition"),
        "pg_catalog.pg_matviews": _schema(
            "schemaname matviewname matviewowner tablespace hasindexes ispopulated definition"
        ),
        "pg_catalog.pg_indexes": _schema("schemaname tablename indexname tablespace indexdef"),
    }
)

_ROWS: Final[Mapping[str, Callable[[Catalog], Iterator[Row]]]] = {
    "pg_catalog.pg_namespace": _namespaces,
    "pg_catalog.pg_class": _classes,
    "pg_catalog.pg_attribute": _attributes,
    "pg_catalog.pg_attrdef": _defaults,
    "pg_catalog.pg_type": _types,
    "pg_catalog.pg_index": _indexes,
    "pg_catalog.pg_constraint": _constraints,
    "pg_catalog.pg_description": _descriptions,
    "pg_catalog.pg_database": _databases,
    "pg_catalog.pg_roles": _roles,
    "pg_catalog.pg_tables": _table_rows,
    "pg_catalog.pg_views": _view_rows("viewname", materialized=False),
    "pg_catalog.pg_matviews": _view_rows("matviewname", materialized=True),
    "pg_catalog.pg_indexes": _index_rows,
}
