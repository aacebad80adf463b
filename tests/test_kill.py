"""SIGKILL on a real disk, amid commits, flushes, merges and large transactions: nothing acknowledged is lost."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import soak
from crash_course import check_storage
from flush_child import keys_of
from server_child import Zygote
from weftdb.engine.check import check_folder
from weftdb.engine.database import Engine
from weftdb.engine.options import Options

CHILD = Path(__file__).parent / "support" / "flush_child.py"
ROUNDS = 5 * soak.FACTOR


@pytest.mark.timeout(120 * soak.FACTOR)
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, zygote: Zygote) -> None:
    chance = random.Random(soak.SEED)
    tail = 0
    segments = 0
    for _ in range(ROUNDS):
        with zygote.popen([str(CHILD), str(tmp_path)]) as process:
            acknowledged = int(process.stdout.readline())
            time.sleep(chance.random() / 2)
            process.kill()
            for line in process.stdout:
                if line.endswith("\n"):
                    acknowledged = int(line)
        assert acknowledged > tail
        problems = [item for item in check_folder(tmp_path).problems if "a crash left it" not in item.what]
        assert problems == []
        with Engine.open(tmp_path, options=Options(maintenance=False, history_seconds=0)) as engine:
            tail = check_rows(engine, acknowledged)
            check_storage(engine)
            segments += len(engine.files.used())
    assert segments > 0


def check_rows(engine: Engine, acknowledged: int) -> int:
    """The rows are those of all acknowledged batches, and perhaps of the next one, whole. Returns the last batch."""
    with engine.snapshot() as snapshot:
        table = snapshot.catalog.table("events")
        rows = [row for batch in snapshot.scan(table).batches() for row in batch.to_pylist()]
    last = max(row["amount"] for row in rows)
    assert last in (acknowledged, acknowledged + 1)
    newest = {key: batch for batch in range(1, last + 1) for key in keys_of(batch)}
    assert {row["k"]: row["amount"] for row in rows} == newest
    assert len(rows) == len(newest)
    assert all(row["note"] == f"{row['amount']} {row['k']}" for row in rows)
    return last
