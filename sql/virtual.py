"""Virtual relations: what SQL can read that no table holds. Their rows are computed when a statement reads them.

    information_schema.*   the catalog, as the statement sees it: see information_schema.py
    pg_catalog.*      the same as PostgreSQL keeps it: see pg_catalog.py
    weft_metrics      numbers about the engine, of this moment
    weft_tables       what each table takes in memory and on disk, of this moment
    weft_indexes      what each index takes, of this moment
    weft_views        what each materialized view takes and has cost, of this moment
    weft_segments     the segments of every table, of this moment
    weft_statistics   what the planner knows of every column, of this moment
    weft_snapshots    named snapshots, and other versions that are held, with what they keep: of this moment
    weft_feeds        named positions of change feeds, with what they keep: of this moment
    weft_transactions open transactions, of this moment
    weft_builds       indexes and materialized views that are being made, of this moment
    weft_conflicts    refused commits by table and row, since the start
    weft_copies       COPY statements that run, of this moment
    weft_comments     what COMMENT ON says, of the catalog that the statement sees
    weft_horizon      what keeps old row versions, of this moment
    weft_kernels      shapes of pipelines that were asked for, since the start

They bind like tables, without being in the catalog, so joins, filters, views and INSERT … SELECT work on them. The
``weft_`` ones tell of now, also in a transaction and in a snapshot of the past; a statement that names one twice reads
it once. No table can have such a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ..base.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, TEXT, TIMESTAMP, TIMESTAMPTZ, arrow_field
from ..engine.catalog import Catalog
from ..engine.clock import wall_clock
from ..engine.pipeline.kernels import kernels_of
from .copy.progress import copies_of
from .describe import all_comments, index_text
from .information_schema import INFORMATION_SCHEMA, information_schema
from .pg_catalog import PG_CATALOG, pg_catalog

if TYPE_CHECKING:
    from ..engine.database import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Virtual:
    """``rows`` gets the engine and the catalog that the statement sees."""

    schema: pa.Schema
    rows: Callable[[Engine, Catalog], pa.RecordBatch]


_COMMENTS: Final = pa.schema(
    [arrow_field("table_name", TEXT), arrow_field("column_name", TEXT), arrow_field("comment", TEXT)]
)
_METRICS: Final = pa.schema(
    [
        arrow_field("name", TEXT),
        arrow_field("value", DOUBLE),
        arrow_field("unit", TEXT),
        arrow_field("description", TEXT),
    ]
)

_ACTIVITY: Final = pa.schema(
    [
        arrow_field("datname", TEXT),
        arrow_field("pid", INTEGER),
        arrow_field("usename", TEXT),
        arrow_field("application_name", TEXT),
        arrow_field("client_addr", TEXT),
        arrow_field("xact_start", TIMESTAMPTZ),
        arrow_field("state_change", TIMESTAMPTZ),
        arrow_field("state", TEXT),
        arrow_field("query", TEXT),
    ]
)

_STATISTICS: Final = pa.schema(
    [
        arrow_field("table_name", TEXT),
        arrow_field("column_name", TEXT),
        arrow_field("rows", BIGINT),
        arrow_field("distinct_values", BIGINT),
        arrow_field("null_fraction", DOUBLE),
    ]
)

_TABLES: Final = pa.schema(
    [
        arrow_field("table_name", TEXT),
        arrow_field("rows", BIGINT),
        arrow_field("cells", BIGINT),
        arrow_field("segments", BIGINT),
        arrow_field("memory_bytes", BIGINT),
        arrow_field("disk_bytes", BIGINT),
    ]
)

_INDEXES: Final = pa.schema(
    [
        arrow_field("table_name", TEXT),
        arrow_field("index_name", TEXT),
        arrow_field("definition", TEXT),
        arrow_field("entries", BIGINT),
        arrow_field("segments", BIGINT),
        arrow_field("memory_bytes", BIGINT),
        arrow_field("disk_bytes", BIGINT),
    ]
)

_VIEWS: Final = pa.schema(
    [
        arrow_field("view_name", TEXT),
        arrow_field("table_name", TEXT),
        arrow_field("maintained", BOOLEAN),
        arrow_field("retain", TEXT),
        arrow_field("groups", BIGINT),
        arrow_field("different_values", BIGINT),
        arrow_field("segments", BIGINT),
        arrow_field("memory_bytes", BIGINT),
        arrow_field("disk_bytes", BIGINT),
        arrow_field("rows_followed", BIGINT),
        arrow_field("nanoseconds_per_row", DOUBLE),
        arrow_field("reads", BIGINT),
        arrow_field("rows_saved", BIGINT),
    ]
)

_SEGMENTS: Final = pa.schema(
    [
        arrow_field("table_name", TEXT),
        arrow_field("slice_from", TIMESTAMP),
        arrow_field("slice_to", TIMESTAMP),
        arrow_field("shard", INTEGER),
        arrow_field("age", INTEGER),
        arrow_field("rows", BIGINT),
        arrow_field("ended_rows", BIGINT),
        arrow_field("bytes", BIGINT),
        arrow_field("version_low", BIGINT),
        arrow_field("version_high", BIGINT),
        arrow_field("id", BIGINT),
        arrow_field("file", TEXT),
        arrow_field("position", BIGINT),
    ]
)


_SNAPSHOTS: Final = pa.schema(
    [
        arrow_field("name", TEXT),
        arrow_field("version", BIGINT),
        arrow_field("since", TIMESTAMPTZ),
        arrow_field("age_seconds", DOUBLE),
        arrow_field("readers", BIGINT),
        arrow_field("writers", BIGINT),
        arrow_field("kept_rows", BIGINT),
        arrow_field("kept_bytes", BIGINT),
        arrow_field("own_rows", BIGINT),
        arrow_field("own_bytes", BIGINT),
        arrow_field("lost", TEXT),
    ]
)

_FEEDS: Final = pa.schema(
    [
        arrow_field("name", TEXT),
        arrow_field("table_name", TEXT),
        arrow_field("version", BIGINT),
        arrow_field("lag_versions", BIGINT),
        arrow_field("since", TIMESTAMPTZ),
        arrow_field("acknowledged_at", TIMESTAMPTZ),
        arrow_field("kept_rows", BIGINT),
        arrow_field("kept_bytes", BIGINT),
        arrow_field("lost", TEXT),
    ]
)

_BUILDS: Final = pa.schema(
    [
        arrow_field("kind", TEXT),
        arrow_field("name", TEXT),
        arrow_field("table_name", TEXT),
        arrow_field("principal", TEXT),
        arrow_field("phase", TEXT),
        arrow_field("rows_done", BIGINT),
        arrow_field("rows_total", BIGINT),
        arrow_field("rows_after", BIGINT),
        arrow_field("since", TIMESTAMPTZ),
        arrow_field("age_seconds", DOUBLE),
    ]
)

_TRANSACTIONS: Final = pa.schema(
    [
        arrow_field("principal", TEXT),
        arrow_field("since", TIMESTAMPTZ),
        arrow_field("age_seconds", DOUBLE),
        arrow_field("idle_seconds", DOUBLE),
        arrow_field("isolation", TEXT),
        arrow_field("read_only", BOOLEAN),
        arrow_field("version", BIGINT),
        arrow_field("rows_written", BIGINT),
        arrow_field("memory_bytes", BIGINT),
        arrow_field("disk_bytes", BIGINT),
    ]
)

_CONFLICTS: Final = pa.schema(
    [
        arrow_field("table_name", TEXT),
        arrow_field("primary_key", TEXT),
        arrow_field("kind", TEXT),
        arrow_field("conflicts", BIGINT),
        arrow_field("at_most", BIGINT),
        arrow_field("last_at", TIMESTAMPTZ),
    ]
)

_COPIES: Final = pa.schema(
    [
        arrow_field("principal", TEXT),
        arrow_field("since", TIMESTAMPTZ),
        arrow_field("age_seconds", DOUBLE),
        arrow_field("command", TEXT),
        arrow_field("table_name", TEXT),
        arrow_field("file", TEXT),
        arrow_field("rows", BIGINT),
        arrow_field("bytes", BIGINT),
        arrow_field("bytes_total", BIGINT),
    ]
)

_KERNELS: Final = pa.schema(
    [
        arrow_field("name", TEXT),
        arrow_field("state", TEXT),
        arrow_field("reason", TEXT),
        arrow_field("hits", BIGINT),
        arrow_field("compile_seconds", DOUBLE),
        arrow_field("run_seconds", DOUBLE),
        arrow_field("shape", TEXT),
    ]
)

_HORIZON: Final = pa.schema(
    [
        arrow_field("version", BIGINT),
        arrow_field("lag_versions", BIGINT),
        arrow_field("kind", TEXT),
        arrow_field("name", TEXT),
        arrow_field("principal", TEXT),
        arrow_field("since", TIMESTAMPTZ),
        arrow_field("age_seconds", DOUBLE),
        arrow_field("keeps_all_since", BOOLEAN),
    ]
)


def _metrics(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    metrics = engine.metrics()
    columns = [
        pa.array([metric.name for metric in metrics]),
        pa.array([metric.value for metric in metrics], pa.float64()),
        pa.array([metric.unit for metric in metrics]),
        pa.array([metric.description for metric in metrics]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_METRICS)


def _tables(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    rows = [
        {
            "table_name": facts.table.name,
            "rows": facts.rows_count,
            "cells": facts.cells_count,
            "segments": facts.segments_count,
            "memory_bytes": facts.memory_bytes,
            "disk_bytes": facts.disk_bytes,
        }
        for facts in engine.table_facts(catalog)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_TABLES)


def _indexes(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    rows = [
        {
            "table_name": table.name,
            "index_name": index.name,
            "definition": index_text(table, index),
            "entries": facts.rows_count,
            "segments": facts.segments_count,
            "memory_bytes": facts.memory_bytes,
            "disk_bytes": facts.disk_bytes,
        }
        for table, index, facts in engine.index_facts(catalog)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_INDEXES)


def _views(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    rows: list[dict[str, object]] = []
    for view, facts, cost, served in engine.view_facts(catalog):
        bases = [catalog.by_id[id].name for id in view.depends_on if id in catalog.by_id]
        row: dict[str, object] = {"view_name": view.name, "table_name": bases[0] if bases else None}
        row["maintained"] = facts is not None
        if view.maintained is not None:
            row["retain"] = "all" if view.maintained.forgotten else "base"
        if facts is not None:
            row |= {
                "groups": facts.groups_count,
                "different_values": facts.values_count,
                "segments": facts.segments_count,
                "memory_bytes": facts.memory_bytes,
                "disk_bytes": facts.disk_bytes,
                "rows_followed": cost.rows,
                "nanoseconds_per_row": cost.seconds * 1e9 / cost.rows if cost.rows else None,
                "reads": served.reads,
                "rows_saved": served.rows_saved,
            }
        rows.append(row)
    return pa.RecordBatch.from_pylist(rows, schema=_VIEWS)


def _statistics(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    rows = [
        {
            "table_name": table.name,
            "column_name": column.name,
            "rows": known.rows,
            "distinct_values": known.columns[column.id].distinct,
            "null_fraction": known.columns[column.id].null_fraction,
        }
        for table, known in engine.statistics(catalog)
        for column in table.columns
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_STATISTICS)


def _segments(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    from ..storage.storage import segment_name  # with the kernels, which a shell that asks for names does not need

    rows = [
        {
            "table_name": facts.table.name,
            "slice_from": facts.slice_low,
            "slice_to": facts.slice_high,
            "shard": facts.shard,
            "age": facts.age,
            "rows": facts.segment.rows_count,
            "ended_rows": facts.segment.overlay.ended_count,
            "bytes": facts.bytes,
            "version_low": facts.segment.version_low,
            "version_high": facts.segment.version_high,
            "id": facts.segment.description.id,
            "file": segment_name(facts.segment.description.place.file),
            "position": facts.segment.description.place.offset,
        }
        for facts in engine.segment_facts(catalog)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_SEGMENTS)


def _snapshots(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    now = wall_clock()
    rows = [
        {
            "name": facts.name,
            "version": facts.version,
            "since": facts.since,
            "age_seconds": (now - facts.since) / 1e6,
            "readers": facts.readers,
            "writers": facts.writers,
            "kept_rows": facts.kept and facts.kept.rows,
            "kept_bytes": facts.kept and facts.kept.bytes,
            "own_rows": facts.kept and facts.kept.own_rows,
            "own_bytes": facts.kept and facts.kept.own_bytes,
            "lost": facts.lost,
        }
        for facts in engine.snapshot_facts()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_SNAPSHOTS)


def _feeds(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    rows = [
        {
            "name": facts.position.name,
            "table_name": facts.table,
            "version": facts.position.version,
            "lag_versions": max(facts.changed_at, facts.position.version) - facts.position.version,
            "since": facts.position.created,
            "acknowledged_at": facts.position.moved,
            "kept_rows": facts.kept_rows,
            "kept_bytes": facts.kept_bytes,
            "lost": facts.position.lost,
        }
        for facts in engine.position_facts()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_FEEDS)


def _transactions(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    now = wall_clock()
    rows = [
        {
            "principal": facts.principal,
            "since": facts.since,
            "age_seconds": (now - facts.since) / 1e6,
            "idle_seconds": facts.idle_seconds,
            "isolation": facts.isolation.value,
            "read_only": facts.read_only,
            "version": facts.version,
            "rows_written": facts.rows_written,
            "memory_bytes": facts.memory_bytes,
            "disk_bytes": facts.disk_bytes,
        }
        for facts in engine.transaction_facts()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_TRANSACTIONS)


def _builds(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    now = wall_clock()
    rows = [
        {
            "kind": progress.kind,
            "name": progress.name,
            "table_name": progress.table,
            "principal": principal,
            "phase": progress.phase,
            "rows_done": progress.rows_done,
            "rows_total": progress.rows_total,
            "rows_after": progress.rows_after,
            "since": progress.since,
            "age_seconds": (now - progress.since) / 1e6,
        }
        for principal, progress in engine.builds()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_BUILDS)


def _activity(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    """The open transactions in PostgreSQL's words."""
    del catalog
    rows = [
        {
            "datname": "weftdb",
            "pid": number,
            "usename": facts.principal,
            "xact_start": facts.since,
            "state_change": facts.since,
            "state": "active" if facts.idle_seconds == 0 else "idle in transaction",
        }
        for number, facts in enumerate(engine.transaction_facts(), 1)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_ACTIVITY)


def _conflicts(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    rows = [
        {
            "table_name": facts.table,
            "primary_key": facts.key,
            "kind": facts.kind,
            "conflicts": facts.count,
            "at_most": facts.at_most,
            "last_at": facts.last,
        }
        for facts in engine.conflict_facts()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_CONFLICTS)


def _copies(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    now = wall_clock()
    rows = [
        {
            "principal": facts.principal,
            "since": facts.since,
            "age_seconds": (now - facts.since) / 1e6,
            "command": facts.command,
            "table_name": facts.table,
            "file": facts.file,
            "rows": facts.rows,
            "bytes": facts.bytes,
            "bytes_total": facts.bytes_total,
        }
        for facts in copies_of(engine).facts()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_COPIES)


def _horizon(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    now, newest = wall_clock(), engine.version
    rows = [
        {
            "version": facts.version,
            "lag_versions": newest - facts.version,
            "kind": facts.kind,
            "name": facts.name,
            "principal": facts.principal,
            "since": facts.since,
            "age_seconds": None if facts.since is None else (now - facts.since) / 1e6,
            "keeps_all_since": facts.everything,
        }
        for facts in engine.horizon_facts()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_HORIZON)


def _kernels(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del catalog
    rows = [
        {
            "name": known.name,
            "state": known.state,
            "reason": known.reason,
            "hits": known.hits,
            "compile_seconds": known.compile_seconds,
            "run_seconds": known.run_seconds,
            "shape": str(known.shape),
        }
        for known in kernels_of(engine).all()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_KERNELS)


def _comments(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
    del engine
    return pa.RecordBatch.from_pylist(all_comments(catalog), schema=_COMMENTS)


def _described(
    name: str, schemas: Mapping[str, pa.Schema], compute: Callable[[Catalog, str], pa.RecordBatch]
) -> Virtual:
    def rows(engine: Engine, catalog: Catalog) -> pa.RecordBatch:
        del engine
        return compute(catalog, name)

    return Virtual(schema=schemas[name], rows=rows)


VIRTUAL: Final[Mapping[str, Virtual]] = MappingProxyType(
    {
        **{name: _described(name, INFORMATION_SCHEMA, information_schema) for name in INFORMATION_SCHEMA},
        **{name: _described(name, PG_CATALOG, pg_catalog) for name in PG_CATALOG},
        "pg_catalog.pg_stat_activity": Virtual(schema=_ACTIVITY, rows=_activity),
        "weft_metrics": Virtual(schema=_METRICS, rows=_metrics),
        "weft_tables": Virtual(schema=_TABLES, rows=_tables),
        "weft_indexes": Virtual(schema=_INDEXES, rows=_indexes),
        "weft_views": Virtual(schema=_VIEWS, rows=_views),
        "weft_segments": Virtual(schema=_SEGMENTS, rows=_segments),
        "weft_statistics": Virtual(schema=_STATISTICS, rows=_statistics),
        "weft_snapshots": Virtual(schema=_SNAPSHOTS, rows=_snapshots),
        "weft_feeds": Virtual(schema=_FEEDS, rows=_feeds),
        "weft_transactions": Virtual(schema=_TRANSACTIONS, rows=_transactions),
        "weft_builds": Virtual(schema=_BUILDS, rows=_builds),
        "weft_conflicts": Virtual(schema=_CONFLICTS, rows=_conflicts),
        "weft_copies": Virtual(schema=_COPIES, rows=_copies),
        "weft_comments": Virtual(schema=_COMMENTS, rows=_comments),
        "weft_horizon": Virtual(schema=_HORIZON, rows=_horizon),
        "weft_kernels": Virtual(schema=_KERNELS, rows=_kernels),
    }
)
"""By name, with the schema where one must be said."""

VIRTUAL_SCHEMAS: Final[Mapping[str, pa.Schema]] = MappingProxyType(
    {name: virtual.schema for name, virtual in VIRTUAL.items()}
)
