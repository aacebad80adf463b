"""Puts batches, flushes, merges and checks nothing, until it is killed: a line on standard output per batch.

python flush_child.py FOLDER
"""

from __future__ import annotations

import sys
import threading

import pyarrow as pa
from crash_course import DAY, WRITE_SET_BYTES, events
from weftdb.engine.changes import Change, WriterToken
from weftdb.engine.database import Engine
from weftdb.engine.options import Options

ROWS = 300


def keys_of(batch: int) -> list[int]:
    """The keys that a batch puts: some new ones, some that other batches put."""
    return [(batch * 37 + row * (1 + batch % 3)) % 4_000 for row in range(ROWS)]


def rows_of(batch: int, schema: pa.Schema) -> pa.RecordBatch:
    rows = [{"k": key, "t": DAY, "amount": batch, "note": f"{batch} {key}"} for key in dict.fromkeys(keys_of(batch))]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def main() -> None:
    options = Options(maintenance=False, history_seconds=0, memory_limit=1 << 30, write_set_bytes=WRITE_SET_BYTES)
    engine = Engine.open(sys.argv[1], options=options)
    with engine.snapshot() as snapshot:
        missing = "events" not in snapshot.catalog.relations
    if missing:
        transaction = engine.begin()
        transaction.create(events(engine.new_id()))
        transaction.commit()
    with engine.snapshot() as snapshot:
        table = snapshot.catalog.table("events")
        batch = max([amount for rows in snapshot.scan(table).batches() for amount in rows["amount"].to_pylist()] or [0])

    def maintain() -> None:
        while True:
            engine.flush()
            engine.maintenance.compact_once()
            engine.maintenance.tidy()

    threading.Thread(target=maintain, daemon=True).start()
    while True:
        batch += 1
        rows = rows_of(batch, table.arrow_schema)
        if batch % 7 == 0:  # a large transaction
            transaction = engine.begin()
            transaction.put(table, rows)
            transaction.commit()
        else:
            engine.write("events", Change.PUT, rows, token=WriterToken(writer="w", sequence=batch))
        print(batch, flush=True)


if __name__ == "__main__":
    main()
