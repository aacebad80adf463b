"""The relational executor inside its share of the budget: it spills, says so, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import weftdb
from server_child import Zygote
from weftdb.base.errors import LimitExceeded, Unavailable
from weftdb.base.limits import MIB, TREES_BYTES_MAX
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.spool import Spool
from weftdb.sql.cache import TextCache
from weftdb.sql.resources import TREE_CHARACTER_BYTES, resources_of
from weftdb.sql.session import Session
from weftdb.storage.temporary import TemporaryFolder

ROWS = 1_500_000
"""With a number and a text of 40 characters about 90 MB in DuckDB: more than the 64 MiB that it gets."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose table does not fit into the executor's share."""
    path = tmp_path_factory.mktemp("spill") / "data"
    order = np.random.default_rng(7).permutation(ROWS)
    with weftdb.open(path, durable=False) as db:
        db.execute("CREATE TABLE t (a BIGINT PRIMARY KEY, b BIGINT, c TEXT)")
        with db.table("t").writer() as writer:
            for start in range(0, ROWS, 250_000):
                b = order[start : start + 250_000]
                c = pa.array([f"{value:040d}" for value in b])
                writer.insert(pa.table({"a": np.arange(start, start + len(b)), "b": b, "c": c}))
    return path


@pytest.fixture
def small(folder: Path) -> Iterator[Any]:
    with weftdb.open(folder, memory_limit=256 * MIB) as db:
        yield db


def metric(database: Any, name: str) -> float:
    return next(found.value for found in database.engine.metrics() if found.name == name)


def test_a_sort_that_does_not_fit_spills_and_is_right(small: Any, folder: Path) -> None:
    with small.execute("SELECT b, c FROM t ORDER BY b DESC") as result:
        reader = result.reader()
        first = reader.read_next_batch()
        assert metric(small, "weft_executor_spilled_bytes") > 16 * MIB
        assert 0 < metric(small, "weft_memory_executor_bytes") <= 64 * MIB
        assert list((folder / "tmp").iterdir())
        count, last = first.num_rows, first.column(0)
        assert first.column(0)[0].as_py() == ROWS - 1
        for batch in reader:
            count, last = count + batch.num_rows, batch.column(0)
    assert (count, last[-1].as_py()) == (ROWS, 0)
    assert metric(small, "weft_executor_spilled_bytes") == 0
    assert metric(small, "weft_memory_executor_bytes") < 16 * MIB


def test_a_join_and_a_group_by_that_do_not_fit_spill_and_are_right(small: Any) -> None:
    assert small.execute("SELECT count(*), sum(x.a) FROM t x JOIN t y ON x.c = y.c").rows() == [
        (ROWS, ROWS * (ROWS - 1) // 2)
    ]
    assert small.execute("SELECT count(*), max(n) FROM (SELECT c, count(*) AS n FROM t GROUP BY c) g").rows() == [
        (ROWS, 1)
    ]


def test_what_cannot_spill_is_refused_and_the_next_query_runs(small: Any) -> None:
    with pytest.raises(LimitExceeded, match="memory") as caught:
        small.execute("SELECT array_agg(c) FROM t").rows()
    assert caught.value.sqlstate == "53200"
    assert small.execute("SELECT count(*) FROM t").scalar() == ROWS


def test_the_executor_has_its_share_of_the_budget() -> None:
    with weftdb.open(memory_limit=1024 * MIB, threads=8) as db:
        executor = resources_of(db.engine).executor
        rows = list(executor.execute("SELECT current_setting('memory_limit'), current_setting('threads')", {}, shape=0))
        assert rows[0].to_pylist()[0] == {
            "current_setting('memory_limit')": "256.0 MiB",
            "current_setting('threads')": 2,
        }
        assert metric(db, "weft_executor_limit_bytes") == 256 * MIB
        assert metric(db, "weft_executor_threads") == 2


def test_the_folder_for_spills_is_emptied_at_open_and_removed_at_close(tmp_path: Path) -> None:
    path = tmp_path / "data"
    weftdb.open(path).close()
    (path / "tmp" / "duckdb").mkdir(parents=True)
    (path / "tmp" / "duckdb_temp_storage-0.tmp").write_bytes(b"x" * 100)
    (path / "tmp" / "duckdb" / "more").write_bytes(b"x")
    with weftdb.open(path) as db:
        assert not (path / "tmp").exists()
        assert db.execute("SELECT count(*) FROM generate_series(1, 10) g").scalar() == 10
        assert (path / "tmp").is_dir()
    assert not (path / "tmp").exists()


def test_a_killed_process_leaves_spills_that_the_next_open_removes(folder: Path, zygote: Zygote) -> None:
    script = f"""
import os, weftdb
db = weftdb.open({str(folder)!r}, memory_limit={256 * MIB})
db.execute("SELECT b, c FROM t ORDER BY b").reader().read_next_batch()
print(len(os.listdir({str(folder / "tmp")!r})), flush=True)
os.kill(os.getpid(), 9)
"""
    with zygote.popen(["-c", script]) as child:
        assert int(child.stdout.read()) > 0
    assert child.returncode == -9
    assert list((folder / "tmp").iterdir())
    weftdb.open(folder).close()
    assert not (folder / "tmp").exists()


def test_a_database_in_memory_has_a_private_folder_of_its_own(tmp_path: Path) -> None:
    with weftdb.open(temp_directory=tmp_path) as db:
        db.execute("SELECT count(*) FROM generate_series(1, 10) g").scalar()
        (made,) = tmp_path.iterdir()
        assert made.name.startswith("weftdb-")
        assert made.stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.iterdir())


def test_a_database_that_is_opened_to_read_leaves_the_folder_alone(tmp_path: Path) -> None:
    path = tmp_path / "data"
    weftdb.open(path).close()
    (path / "tmp").mkdir()
    (path / "tmp" / "other").write_bytes(b"x")
    with Engine.open(path, read_only=True, options=Options(temp_directory=tmp_path)) as engine:
        assert Session(engine).execute("SELECT count(*) FROM generate_series(1, 10) g").scalar() == 10
        assert (path / "tmp" / "other").exists()
    assert (path / "tmp" / "other").exists()
    with Engine.open(path, read_only=True) as engine:
        assert engine.temporary.path.parent != path
    weftdb.open(path).close()
    assert not (path / "tmp").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        weftdb.open(temp_directory=tmp_path / "file") as db,
        pytest.raises(Unavailable, match="temporary files") as caught,
    ):
        db.execute("SELECT count(*) FROM generate_series(1, 10) g").rows()
    assert "temp_directory" in str(caught.value.hint)


def test_a_forked_child_does_not_remove_its_parents_folder(tmp_path: Path) -> None:
    temporary = TemporaryFolder(inside=tmp_path)
    path = temporary.path
    child = os.fork()
    if not child:
        temporary.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert path.is_dir()
    temporary.close()
    assert not path.exists()


def test_a_folder_that_is_a_link_is_emptied_and_stays(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "old").write_bytes(b"x")
    (tmp_path / "tmp").symlink_to(tmp_path / "large")
    temporary = TemporaryFolder(tmp_path / "tmp")
    assert not list((tmp_path / "large").iterdir())
    (temporary.path / "new").write_bytes(b"x")
    temporary.close()
    assert (tmp_path / "tmp").is_symlink()
    assert not list((tmp_path / "large").iterdir())


def test_a_database_that_is_forgotten_gives_its_memory_back() -> None:
    """Gauges know the engine, and must not keep it."""
    engine = Engine.open()
    resources_of(engine)
    found = [item for item in gc.get_objects() if item is engine]
    assert found
    number = id(engine)
    del engine, found
    gc.collect()
    assert not [item for item in gc.get_objects() if type(item) is Engine and id(item) == number]


def test_an_update_of_primary_keys_puts_rows_aside_in_the_folder_for_spills(folder: Path, monkeypatch: Any) -> None:
    seen: list[Path] = []
    write = Spool._write
    monkeypatch.setattr(Spool, "_write", lambda self, path: (seen.append(path), write(self, path)))
    with weftdb.open(folder) as db:
        transaction = db.transaction()
        assert transaction.execute("UPDATE t SET a = a + 10000000 WHERE a >= 600000").rows_affected == ROWS - 600_000
        assert transaction.execute("SELECT min(a), max(a), count(*) FROM t").rows() == [(0, 9_999_999 + ROWS, ROWS)]
        transaction.rollback()
    assert set(seen) == {folder / "tmp"}


# The caches of statements


def test_a_text_is_made_once_while_it_is_kept() -> None:
    cache: TextCache[str] = TextCache(count_max=2, bytes_max=10_000, character_bytes=10)
    made: list[str] = []

    def make(text: str) -> str:
        made.append(text)
        return text.upper()

    for text in ("a", "a", "b", "c", "a"):
        assert cache.get(text, lambda text=text: make(text), characters=1) == text.upper()
    assert made == ["a", "b", "c", "a"]
    assert (len(cache), cache.bytes_used) == (2, 20)


def test_the_cache_is_bounded_in_bytes_too() -> None:
    cache: TextCache[int] = TextCache(count_max=100, bytes_max=100, character_bytes=10)
    for n in range(5):
        cache.get(n, lambda n=n: n, characters=4)
        assert cache.bytes_used <= 100
    assert len(cache) == 2
    cache.get("large", lambda: 9, characters=11)
    assert (len(cache), cache.bytes_used) == (2, 80)


def test_what_raises_is_not_kept() -> None:
    cache: TextCache[int] = TextCache(count_max=100, bytes_max=100, character_bytes=10)
    with pytest.raises(ZeroDivisionError):
        cache.get("x", lambda: 1 // 0, characters=1)
    assert (len(cache), cache.bytes_used) == (0, 0)
    assert cache.get("x", lambda: 1, characters=1) == 1


def test_statements_that_are_kept_are_counted_and_bounded() -> None:
    with weftdb.open() as db:
        db.execute("SELECT 0 AS zero")
        before = metric(db, "weft_memory_statements_bytes")
        db.execute("SELECT 1 + 2 AS three")
        assert metric(db, "weft_memory_statements_bytes") >= before + 21 * TREE_CHARACTER_BYTES
        for n in range(40):
            db.execute(f"SELECT {n} AS {'x' * 60} -- {'y' * 15_000}")
        assert metric(db, "weft_memory_statements_bytes") <= TREES_BYTES_MAX * 2
        assert metric(db, "weft_statements_kept") > 10
