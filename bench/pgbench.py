"""PostgreSQL's side of ``bench oltp``: its own ``pgbench`` on a private cluster (``bench/postgres.py``).

The script is the transaction of the others, sent as prepared statements, with ``fsync`` and ``synchronous_commit`` on.
The row is read and then written under its lock at READ COMMITTED, PostgreSQL's default: ``balance + 1`` is what it was
when the lock was got, so nothing is lost and nothing conflicts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from weftdb.bench.postgres import PostgresStore
from weftdb.bench.systems import Missing, Turn

_SCRIPT: Final = """\\set id random(0, {last})
BEGIN;
SELECT balance FROM accounts WHERE id = :id;
UPDATE accounts SET balance = balance + 1 WHERE id = :id;
END;
"""
_PROCESSED: Final = re.compile(r"number of transactions actually processed: (\d+)")


class Pgbench:
    """The clients are ``pgbench``'s, written in C, in two threads of a process of its own."""

    note = "pgbench -M prepared, BEGIN, SELECT, UPDATE, END"

    def __init__(self) -> None:
        program = shutil.which("pgbench")
        if program is None:
            raise Missing("no program pgbench on the path (apt-get install postgresql)")
        self._program = program
        self._store = PostgresStore()
        self.name = self._store.name
        self._folder = Path()

    def open(self, folder: Path, *, accounts: int) -> None:
        self._folder = folder
        self._store.open_database(folder)
        self._store.execute("CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)")
        self._store.execute(f"INSERT INTO accounts SELECT id, 0 FROM generate_series(0, {accounts - 1}) AS g(id)")
        self._store.execute("VACUUM ANALYZE accounts")
        (folder / "script.sql").write_text(_SCRIPT.format(last=accounts - 1))

    def turn(self, *, clients: int, seconds: float) -> Turn:
        whole = max(round(seconds), 1)
        command = [self._program, "-n", "-f", str(self._folder / "script.sql"), "-M", "prepared", "-T", str(whole)]
        command += ["-c", str(clients), "-j", str(min(clients, 2)), "-l", "-h", "127.0.0.1", "-U", "bench"]
        with tempfile.TemporaryDirectory(dir=self._folder) as logs:
            command += ["-p", str(self._store.port), "postgres"]
            done = subprocess.run(command, cwd=logs, capture_output=True, text=True, check=False)
            found = _PROCESSED.search(done.stdout)
            if done.returncode != 0 or found is None:
                raise RuntimeError(f"pgbench failed: {done.stderr.strip()[-500:]}")
            lines = [line for log in Path(logs).glob("pgbench_log.*") for line in log.read_text().splitlines()]
        latencies = [int(line.split()[2]) / 1e6 for line in lines]
        return Turn(transactions=int(found[1]), seconds=whole, latencies=latencies)

    def total(self) -> int:
        return int(self._store.execute("SELECT sum(balance) FROM accounts").fetchone()[0])

    def close(self) -> None:
        self._store.close()
