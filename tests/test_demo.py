"""The demo runs through, with all of its checks, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the demo's extra is not installed")


@pytest.mark.timeout(180)
def test_the_demo_keeps_what_it_promises(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "weftdb.bench.demo"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert run.stderr == ""
    assert "1,469,307 rows: every row of the source, once" in run.stdout
    assert "rows/s over gRPC" in run.stdout
    assert "\x1b" not in run.stdout
    assert "\r" not in run.stdout
    assert not list(tmp_path.iterdir())
