"""The demo runs through, with all of its checks, and leaves nothing behind.

With an eighth of the households: every step and every check is the same, and `make demo` itself takes all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from weftdb.bench.retail.data import read_retail

HOUSEHOLDS = 300

pytest.importorskip("sklearn", reason="the demo's extra is not installed")


@pytest.mark.timeout(180)
def test_the_demo_keeps_what_it_promises(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "weftdb.bench.demo", "--households", str(HOUSEHOLDS)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert run.stderr == ""
    rows = read_retail().of_households(HOUSEHOLDS).transactions.num_rows
    assert rows > 150_000
    assert f"{rows:,} rows: every row of the source, once" in run.stdout
    assert "rows/s over gRPC" in run.stdout
    assert "\x1b" not in run.stdout
    assert "\r" not in run.stdout
    assert not list(tmp_path.iterdir())
