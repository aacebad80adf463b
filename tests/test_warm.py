"""Warming up leaves nothing to compile for ingest and reads."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import sealing
import typed_values
from filtering import call, literal, node
from numba.core.caching import IndexDataCacheFile
from weftdb.base import types
from weftdb.engine.cells import TableStore
from weftdb.engine.kernels import accumulate, encoding, index, numbering, ordering, routing, rows, runs, search, series
from weftdb.engine.kernels.warm import warm_up
from weftdb.engine.schema import Column, Table
from weftdb.storage.kernels import gather, narrowing

CALLED = (
    *(encoding.pack, encoding.measure, encoding.write_fixed, encoding.write_variable),
    *(encoding.hash_fixed, encoding.hash_variable, routing.route, gather.gather_variable),
    *(series.tags_of, series.order_rows, series.find_series, runs.read_runs),
    *(search.find_ranges, search.name_rows, search.check_verified, search.gather_spans, search.gather_bytes),
    *(index.upsert, index.find, index.visible, index.describe, index.changed, index.end_rows),
    *(accumulate.add_counts, accumulate.add_integers, accumulate.add_integer_squares, accumulate.add_numerics),
    *(accumulate.add_numeric_squares, accumulate.add_floats, accumulate.add_float_squares),
    *(accumulate.fold_limbs, accumulate.round_limbs, numbering.number),
    *(ordering.extreme_of_run, ordering.extreme_of_rows, ordering.extreme_of_segment, ordering.choose),
    *(ordering.living, ordering.decide, index.crowded, index.move, narrowing.divide, rows.read_row),
)
"""The kernels that Python calls; the others are compiled into them."""


def compiled_forms() -> dict[str, int]:
    return {kernel.__name__: len(kernel.signatures) for kernel in CALLED}


def test_a_wide_workload_compiles_nothing_after_warm_up() -> None:
    warm_up()
    before = compiled_forms()
    assert all(before.values()), [name for name, count in before.items() if not count]
    for type in typed_values.KEY_TYPES:
        for time in (types.DATE, types.TIMESTAMPTZ):
            for nullable in (False, True):
                use(type, time, nullable=nullable)
    assert compiled_forms() == before


def test_forms_that_are_kept_by_several_at_once_are_each_found(tmp_path: Path) -> None:
    """Without turns, two of them take one number: one is lost, or found as the other."""
    folder = str(tmp_path)

    def keep(worker: int) -> None:
        file = IndexDataCacheFile(folder, "kernel", "stamp")
        for form in range(20):
            file.save((worker, form), f"code {worker} {form}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(8)))
    found = IndexDataCacheFile(folder, "kernel", "stamp")
    for worker in range(8):
        assert [found.load((worker, form)) for form in range(20)] == [f"code {worker} {form}" for form in range(20)]


def use(type: types.Type, time: types.Type, *, nullable: bool) -> None:
    columns = (
        Column(id=1, name="key", type=type, nullable=nullable),
        Column(id=2, name="time", type=time, nullable=nullable),
        Column(id=3, name="text", type=types.TEXT),
    )
    table = Table(
        id=1,
        name="t",
        columns=columns,
        primary_key=() if nullable else (1, 2),
        key=(1,),
        time=2,
        every=1_000_000,
        shards=3,
    )
    store = TableStore(table)
    values = list(typed_values.samples_of(type))
    times = [datetime.date(2024, 1, n) if time is types.DATE else datetime.datetime(2024, 1, n) for n in range(1, 9)]
    rows = [
        {"key": value, "time": at, "text": None if at.day == 3 else "x"}
        for value in (*values, *([None] if nullable else []))
        for at in times
    ]
    whole = typed_values.batch_of(rows, table.arrow_schema, {column.name: column.type for column in columns})
    for batch in (whole, pa.ipc.open_stream(_written(whole)).read_all().to_batches()[0], whole.slice(3, 5)):
        store.check_bounds(batch)
        store.apply_put(batch, version=1)
        if not nullable:
            keys = batch.select(["key", "time"])
            store.newest(keys)
            store.changed_since(keys, 0, ignore_deltas=False)
            store.get_many(keys.slice(2, 1), version=1)
            store.get(
                (
                    rows[0]["key"],
                    rows[0]["time"].replace(tzinfo=datetime.UTC) if time is not types.DATE else rows[0]["time"],
                ),
                version=1,
            )
            store.apply_delete(keys.slice(1, 2), version=2)
    one_key = call("equal", node(columns[0]), literal(values[0], type))
    for _ in range(2):
        assert list(store.scan(version=2, filter=one_key).batches())
        sealing.seal_memtables(store)


def _written(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()
