"""Compile or load every kernel of ingest and reads, so that no request waits for a compiler.

A kernel has one compiled form per combination of argument types. So this drives the real code paths with small tables
whose columns have every width, rather than listing types a second time; a test checks that a wide workload afterwards
compiles nothing more.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ...base import types
from ...base.document_texts import canonical_texts
from ...storage.column_values import EMPTY_BYTES, FixedValues, Values, frozen, variable_of
from ...storage.kernels.decoding import rows_between
from ...storage.kernels.narrowing import divide
from ..aggregates import accumulators
from ..aggregates.accumulators import Sort
from ..cells import TableStore
from ..changes import Change
from ..expression.functions import json_vector
from ..expression.node import Call, Expression, Literal
from ..expression.node import Column as ColumnNode
from ..join_keys import KeySet
from ..layout import Layout
from ..options import Options
from ..pipeline.generate import words_count
from ..pipeline.program import program_of
from ..pipeline.shape import Shape, Side
from ..pipeline.sides import built
from ..pipeline.texts import Texts
from ..pipeline.work import Threads
from ..primary_index import SLOTS_WHOLE_MAX, PrimaryIndex
from ..schema import Column, Table
from ..snapshot import Snapshot
from ..upsert import Sums
from . import ordering, quotients
from .bits import places_set
from .bounds import bounds_of
from .groups import PAGE, PARTS, counts_of, give_way_all, merge, place_again
from .months import months_of
from .newest import keep_best
from .numbering import look_up, number, number_codes, number_words
from .states import join_states, kth_greatest, places_with_rows, take

_FIXED = (
    types.TIMESTAMP,
    types.BOOLEAN,
    types.SMALLINT,
    types.INTEGER,
    types.BIGINT,
    types.DOUBLE,
    types.numeric(9, 2),
)
_TEXTS = types.array_of(types.TEXT)
_STATE = (types.BIGINT, types.BIGINT, types.BYTEA)
_DAY = 86_400_000_000

_SERIES = Table(
    id=1,
    name="warm",
    columns=(
        Column(id=1, name="1", type=types.BIGINT, nullable=False),
        Column(id=2, name="2", type=types.TIMESTAMP, nullable=False),
        Column(id=3, name="3", type=types.TEXT),
    ),
    primary_key=(1, 2),
    key=(1,),
    time=2,
    every=_DAY,
)

ROWS = 2_000
"""Enough for every cell to outgrow its first slot table and its first chunk."""


@functools.cache
def warm_up() -> None:
    """Make all kernels ready: under a second from the cache, two minutes where there is none; then at once."""
    fixed = [Column(id=n, name=str(n), type=type, nullable=False) for n, type in enumerate(_FIXED, 1)]
    text = [Column(id=n, name=str(n), type=type, nullable=False) for n, type in ((1, types.TIMESTAMP), (2, types.TEXT))]
    tables: list[Table] = []
    for columns in (fixed, text):
        ids = tuple(column.id for column in columns)
        table = Table(
            id=1, name="warm", columns=tuple(columns), primary_key=ids, key=ids[1:], time=1, every=_DAY, shards=2
        )
        tables.append(table)
        _use(TableStore(table))
    tables.append(_SERIES)
    _use(TableStore(_SERIES))
    nullable = tuple(dataclasses.replace(column, nullable=True) for column in (*fixed, text[1]))
    nullable = (*nullable[:-1], dataclasses.replace(nullable[-1], id=8, name="8"))
    arrays = [Column(id=9, name="9", type=types.array_of(types.INTEGER)), Column(id=10, name="10", type=_TEXTS)]
    tail = Table(id=1, name="warm", columns=(*nullable, *arrays), key=tuple(range(2, 9)), time=1, every=_DAY, shards=2)
    _use(TableStore(tail))
    divide(np.zeros(1, np.uint64), 1_000, np.empty(1, np.uint32))
    for table in tables[:2]:
        _number_keys(table)
    keys = KeySet.of([np.zeros(1, np.int64)])
    assert keys is not None, "one key lies close to itself"
    keys.keep(FixedValues(np.zeros(1, np.int64), None), np.ones(1, np.bool_))
    side = Side(kind="inner", keys=(ColumnNode(id=1, type=types.BIGINT),))
    for last in (1, 1 << 60):
        built(pa.table({"k": np.array([0, last])}), side)
    one = np.zeros(1, np.int64)
    keep_best(one, one.reshape(1, 1), one, one.reshape(1, 1).copy(), one.copy())
    rows_between(np.zeros(0, np.uint64), one[1:], one[1:], 0, 0, 0, one.copy(), one[1:].copy())
    _upsert()
    PrimaryIndex().reserve(np.arange(SLOTS_WHOLE_MAX, dtype=np.uint64))
    _seal_and_merge((*tables, tail))
    warm_up_questions()


@functools.cache
def warm_up_questions() -> None:
    """A good third of it, which has hardly a kernel in common with the rest."""
    _group()
    accumulate()
    _interpret()
    _number_texts()
    _ask_documents()


def _ask_documents() -> None:
    """JSONB is made of text and asked for parts."""
    texts = canonical_texts(pa.array(['{"a": [1]}']), lambda row: "{}")
    json_vector.get(plain=True)(texts, pa.scalar("a"))
    json_vector.typeof(texts)
    json_vector.contains(texts, pa.scalar('{"a": [1]}'))
    json_vector.array_length(pa.array(["[1]"]))


def _group() -> None:
    """A lane of one record of two words, into one group."""
    table, ends, chain = np.ones(2, np.int64), np.append(np.arange(PARTS) * PAGE, PARTS), np.empty(PARTS, np.int64)
    pool, counts = np.empty(2 * PARTS * PAGE, np.int64), np.zeros(PARTS, np.int64)
    give_way_all(table, 2, 1, pool, ends, chain)
    counts_of(ends, chain, counts)
    slots, groups, layout = np.zeros(4, np.uint32), np.empty((2, 2), np.int64), np.array([[0, 1, 1]])
    used = merge(0, 1, 2, layout, np.zeros(2, np.int64), pool, ends, chain, slots, groups, 0)
    place_again(slots, groups, used, 1)
    places_set(np.ones(1, np.uint64), np.empty(1, np.int64))
    state, found = np.ones(1, np.int64), np.empty(1, np.int64)
    join_states(state, state, 0, 1, np.zeros(1, np.int64))
    places_with_rows(state, 1, 0, 1, found)
    take(state, 1, 0, found, found)
    for values in (found, np.ones(1)):
        kth_greatest(values, 1)
    bounds_of(0, 8, 0, 0)
    months_of(found, found)
    pairs = frozen(np.ones((1, 2), np.uint64))
    quotients.divide(pairs, pairs, EMPTY_BYTES, 0, 38, np.empty((1, 2), np.uint64))


def accumulate() -> None:
    """A row comes into a group of every sort of sum."""
    numbers = {Sort.NUMERIC: types.numeric(), Sort.NUMERIC_SQUARES: types.numeric()}
    floats = dict.fromkeys((Sort.FLOAT, Sort.FLOAT_SQUARES), types.DOUBLE)
    groups = np.zeros(1, np.int64)
    for sort in Sort:
        values = pa.array([1], (numbers | floats).get(sort, types.BIGINT).arrow)
        states = accumulators.partial(sort, groups=groups, count=1, values=values, kept=None, signs=1)
        accumulators.fold(sort, groups=groups, count=1, states=accumulators.add(sort, states, states))
        if sort in floats:
            accumulators.floats(states, sort=sort)


def _upsert() -> None:
    """Rows take the place of others, and end."""
    key, limb, heap = (Column(id=id, name=str(id), type=type) for id, type in enumerate(_STATE, 1))
    store = TableStore(Table(id=1, name="warm", columns=(key, limb, heap), primary_key=(1,), key=(1,)))
    numbers = FixedValues(np.arange(ROWS), None)
    bytes = variable_of(pa.array([b"1", *[None] * (ROWS - 1)], pa.binary()), types.BYTEA)
    values: dict[int, Values] = {1: numbers, 2: numbers, 3: bytes}
    keys, all = store.layout.encode(values, count=ROWS), np.ones(ROWS, np.bool_)
    for version in (1, 2, 3):
        upsert = store.upsert(keys)
        upsert.add(np.zeros((1, ROWS), np.uint64), Sums((limb,), (slice(0, 1),), (heap,)))
        upsert.column(limb)
        upsert.write(values, put=all if version < 3 else ~all, gone=~all if version < 3 else all, version=version)


def _interpret() -> None:
    """A program goes through no pieces."""
    shape = Shape(
        slots=(), tables=0, filters=(), keys=(), sink="one", accumulators=(("count", None, None),), key_arguments=0
    )
    pieces, words, reals = np.zeros((1, words_count(shape)), np.uint64), np.zeros(1, np.int64), np.zeros(1)
    program_of(shape)(pieces, 0, 0, words, reals, words, words, words, words, words[:0])


def _number_texts() -> None:
    """So many that there have to be more slots."""
    texts = Texts().of(1, Column(id=1, name="1", type=types.TEXT), [], Threads(1, lambda: None))
    assert texts is not None, "there is room without a limit"
    given = pa.array([str(number) for number in range(2_000)], pa.string())
    for _ in range(2):
        texts.of_values(variable_of(given, types.TEXT))


def _seal_and_merge(tables: Sequence[Table]) -> None:
    """Segments are written, merged and read by a whole engine, in memory."""
    from ..database import Engine

    with Engine.open(options=Options(maintenance=False, history_seconds=0)) as engine:
        for table in tables:
            transaction = engine.begin()
            transaction.create(dataclasses.replace(table, id=engine.new_id(), name=f"warm{engine.new_id()}"))
            transaction.commit()
        with engine.snapshot() as snapshot:
            made = [relation for relation in snapshot.catalog.relations.values() if isinstance(relation, Table)]
        for part in range(3):
            for table in made:
                change = Change.PUT if table.primary_key else Change.INSERT
                engine.write(table.name, change, _batch(table).slice(part * ROWS // 4, ROWS // 2))
            engine.flush()
        for table in made:
            if table.primary_key:
                engine.write(table.name, Change.DELETE, _batch(table).select(_key_names(table)).slice(0, ROWS // 4))
        with engine.snapshot() as snapshot:
            for table in made:
                _read(snapshot, table)
        engine.flush()
        engine.compact()


def _read(snapshot: Snapshot, table: Table) -> None:
    for rows in (snapshot.scan(table), snapshot.scan(table, filter=_one_key(table)), snapshot.export(table)):
        for _ in rows.batches():
            pass
    if table.primary_key:
        keys = _batch(table).select(_key_names(table))
        snapshot.get_many(table, keys)
        snapshot.store(table).newest(keys)
        snapshot.store(table).changed_since(keys, 1, ignore_deltas=True)
        _seek(snapshot.store(table), _batch(table))


def _one_key(table: Table) -> Expression:
    """All rows of one key: a series, where the event time is not part of it."""
    ids = table.key if table.primary_key[:1] == table.key else table.primary_key or table.key
    parts = [
        Call(
            function="equal",
            arguments=(
                ColumnNode(id=id, type=table.by_id[id].type),
                Literal(value=_value(table.by_id[id].type, 1), type=table.by_id[id].type),
            ),
            type=types.BOOLEAN,
        )
        for id in ids
    ]
    return parts[0] if len(parts) == 1 else Call(function="and", arguments=tuple(parts), type=types.BOOLEAN)


def _key_names(table: Table) -> list[str]:
    return [table.by_id[id].name for id in table.primary_key]


def _batch(table: Table) -> pa.RecordBatch:
    arrays = [_values(column.type, nullable=column.nullable) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.arrow_schema)


@functools.cache
def _values(type: types.Type, *, nullable: bool) -> pa.Array:
    return pa.array([_value(type, row, nullable=nullable) for row in range(ROWS)], type.arrow)


def _number_keys(table: Table) -> None:
    """As groups of views are numbered, and looked up among others."""
    layout, rows = Layout(table), _batch(table)
    keys = layout.encode(layout.values(rows, by_id=True), count=rows.num_rows)
    slots = np.zeros(1 << (2 * ROWS).bit_length(), np.int64)
    numbers, firsts = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    number(keys.words, keys.offsets, keys.width, keys.hashes, slots, numbers, firsts)
    held, words = np.empty(len(slots), np.int64), frozen(np.arange(ROWS))
    number_words(words, EMPTY_BYTES, slots.astype(np.int32), held, numbers, firsts)
    number_codes(words, np.zeros(ROWS, np.int32), numbers, firsts)
    others = (keys.words, keys.offsets, keys.width, keys.hashes, slots, firsts)
    look_up(*others, keys.words, keys.offsets, keys.hashes, numbers)
    counts, flags, sources = frozen(np.arange(ROWS)), frozen(np.ones(ROWS, np.bool_)), np.empty(ROWS, np.int64)
    ordering.decide(
        keys.words, keys.offsets, keys.width, counts, counts, counts, keys.words, keys.offsets, flags, flags, True,
        sources,
    )  # fmt: skip
    ordering.decide_words(counts, counts, counts, counts, counts, flags, flags, True, sources)


def _seek(store: TableStore, batch: pa.RecordBatch) -> None:
    """As the next values of groups are sought."""
    keys = store.layout.encode(store.layout.values(batch, by_id=False), count=batch.num_rows)
    for last in (False, True):
        store.extreme(keys.take(np.arange(2)), keys.take(np.arange(ROWS - 2, ROWS)), last=last)


def _use(store: TableStore) -> None:
    table = store.table
    batch = _batch(table)
    store.check_bounds(batch)
    store.apply_put(batch, version=1)
    store.apply_put(batch, version=2, delta=True)
    names = [table.by_id[id].name for id in table.primary_key or (*table.key, 1)]
    keys = batch.select(names)
    if not table.primary_key:
        keys = keys.append_column("weft_row_id", pa.array(range(1, ROWS + 1), pa.int64()))
    else:
        store.get(tuple(_value(column.type, 0) for column in table.primary_key_columns), version=1)
    store.newest(keys)
    store.changed_since(keys, 1, ignore_deltas=True)
    store.get_many(keys, version=1)
    if table.primary_key:
        _seek(store, batch)
    for version in (2, 3):
        store.apply_put(batch.slice(0, 10), version=version)
        for _ in store.scan(version=version, filter=_one_key(table)).batches():
            pass
    if table.primary_key:
        _seek(store, batch)
    store.apply_delete(keys, version=3)
    for _ in store.scan(version=2).batches():
        pass


def _value(type: types.Type, row: int, *, nullable: bool = False) -> object:
    """A value of the type, different for each row as far as it has so many; few where it is nullable text."""
    if nullable and row % 5 == 0:
        return None
    if type.element is not None:
        return [_value(type.element, row)]
    match type:
        case types.TIMESTAMP:
            return datetime.datetime(2024, 1, 1 + row % 2)
        case types.TEXT:
            return str(row % 7 if nullable else row)  # few values make a dictionary
        case types.BOOLEAN:
            return row % 2 == 0
        case _:
            return row
