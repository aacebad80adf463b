"""Appends to an LMDB log until it is killed: one line on standard output per acknowledged version.

python log_child.py FOLDER ROWS
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
from weftdb.storage.lmdb_log import LmdbLog
from weftdb.storage.log import Outcome
from weftdb.storage.record import Action, Operation, Record, TransactionEntry


def main() -> None:
    folder, rows = Path(sys.argv[1]), int(sys.argv[2])
    log = LmdbLog.open(folder, map_bytes=1 << 20)
    log.lease()
    version = log.tail()
    while True:
        version += 1
        batch = pa.record_batch([pa.array([version] * (1 + version % rows))], ["1"])
        record = Record(
            version=version,
            wall_clock=0,
            transactions=(TransactionEntry(ordinal=0, rows_count=batch.num_rows),),
            operations=(Operation(ordinal=0, table=1, schema_version=1, action=Action.PUT, batch=batch),),
        )
        assert log.append(record) is Outcome.APPENDED
        print(version, flush=True)
        if version % 50 == 0:
            log.trim(version - 100)


if __name__ == "__main__":
    main()
