"""PostgreSQL's side of ``bench oltp`` and ``bench hot``: its own ``pgbench``, on a cluster of ``bench/postgres.py``.

The script is the transaction of the others, sent as prepared statements, with ``fsync`` and ``synchronous_commit`` on.
The row is read and then written under its lock at READ COMMITTED, PostgreSQL's default: ``balance + 1`` is what it was
when the lock was got, so nothing is lost and nothing conflicts. Who updates one row waits for its lock, and holds it
until the commit is on the disk.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
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
_UPDATE: Final = "UPDATE accounts SET balance = balance + 1 WHERE id = 0;\n"
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
        count, logs = self._run(["-T", str(whole), "-l"], clients=clients)
        latencies = [int(line.split()[2]) / 1e6 for line in logs]
        return Turn(transactions=count, seconds=whole, latencies=latencies)

    def updates(self, count: int, *, clients: int, at_once: int = 1) -> Turn:
        """Nothing but updates of account 0, ``at_once`` of them in each transaction and sent together."""
        pipelined = f"\\startpipeline\nBEGIN;\n{_UPDATE * at_once}END;\n\\endpipeline\n"
        (self._folder / "script.sql").write_text(_UPDATE if at_once == 1 else pipelined)
        each = max(count // clients // at_once, 1)
        begin = time.perf_counter()
        done, _ = self._run(["-t", str(each)], clients=clients)
        return Turn(transactions=done * at_once, seconds=time.perf_counter() - begin)

    def _run(self, options: Sequence[str], *, clients: int) -> tuple[int, list[str]]:
        """How many transactions were done, and the lines of the log if there is to be one."""
        command = [self._program, "-n", "-f", str(self._folder / "script.sql"), "-M", "prepared", *options]
        command += ["-c", str(clients), "-j", str(min(clients, 2)), "-h", "127.0.0.1", "-U", "bench"]
        with tempfile.TemporaryDirectory(dir=self._folder) as logs:
            command += ["-p", str(self._store.port), "postgres"]
            done = subprocess.run(command, cwd=logs, capture_output=True, text=True, check=False)
            found = _PROCESSED.search(done.stdout)
            if done.returncode != 0 or found is None:
                raise RuntimeError(f"pgbench failed: {done.stderr.strip()[-500:]}")
            return int(found[1]), [
                line for log in Path(logs).glob("pgbench_log.*") for line in log.read_text().splitlines()
            ]

    def total(self) -> int:
        return int(self._store.execute("SELECT sum(balance) FROM accounts").fetchone()[0])

    def close(self) -> None:
        self._store.close()
