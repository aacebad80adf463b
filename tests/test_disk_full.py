"""A disk that is full, or cannot be written at all: commits are refused with the reason, and all else goes on."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import soak
from crash_course import WRITE_SET_BYTES, Course, Model, Promise, check, check_repeats, check_storage, events, read
from log_records import file_size_limit
from simulated_disk import SimulatedDisk
from weftdb.base import errors
from weftdb.engine.changes import Change
from weftdb.engine.database import Engine
from weftdb.engine.options import Options

STEPS = 120
OPTIONS = Options(maintenance=False, history_seconds=0, memory_limit=1 << 30, write_set_bytes=WRITE_SET_BYTES)


@pytest.mark.timeout(120 * soak.FACTOR)
@pytest.mark.parametrize("seed", range(soak.many(3, 6)))
def test_a_disk_that_is_full_for_a_while_refuses_commits_and_loses_nothing(seed: int) -> None:
    """Full at any step, for some steps: what is refused changed nothing, and nothing is left lying about."""
    chance = random.Random(seed)
    disk, course = SimulatedDisk(), Course(seed)
    engine = Engine.open(storage=disk.storage(), options=OPTIONS)
    course.start(engine)
    refusals: list[errors.Unavailable] = []
    kinds: set[str] = set()
    for step in range(STEPS):
        if chance.random() < 0.4:
            first = disk.steps_count + 1 + chance.randrange(8)
            disk.full = range(first, first + chance.choice([1, 2, 100]))
        before = course.promise
        try:
            course.step(engine)
        except errors.Unavailable as error:
            refusals.append(error)
            kinds.add(disk.steps[-1].split()[0])
            course.promise = Promise(
                committed=before.committed,
                version=before.version,
                last_batch=before.last_batch,
                last_transaction=before.last_transaction,
            )
        check(engine, course.promise)  # readable, and never what was refused
        if step % 3 == 0:
            disk.full = range(0)
        if step % 10 == 0:
            check_storage(engine)
    disk.full = range(0)
    check_repeats(engine, course.promise)
    engine.flush()
    engine.compact()
    check(engine, course.promise)
    check_storage(engine)
    course.end()
    engine.close()
    with Engine.open(storage=disk.restarted().storage(), options=OPTIONS) as engine:
        check(engine, course.promise)
        check_storage(engine)
    assert all("No space left on device; nothing was changed" in error.message for error in refusals)
    assert all(error.hint == "Make room on the disk." for error in refusals)
    assert len(kinds) >= 2, kinds


def test_background_maintenance_goes_on_when_there_is_room_again() -> None:
    disk = SimulatedDisk()
    options = Options(flush_bytes=1, log_bytes=200_000, memory_limit=1 << 30, history_seconds=0)
    with Engine.open(storage=disk.storage(), options=options) as engine:
        put = table_with_rows(engine)
        with disk.only_files_full():
            for number in range(20):
                put(number * 3_000, 3_000)
            wait_for(lambda: engine.maintenance.work.failures > 0)
            assert count(engine) == 60_000
            assert "No space left" in engine.maintenance.work.last_failure
        for number in range(20, 40):
            put(number * 3_000, 3_000)
        wait_for(lambda: engine.maintenance.work.flushes > 0)
        assert count(engine) == 120_000
    with Engine.open(storage=disk.restarted().storage(), options=options) as engine:
        assert count(engine) == 120_000


@pytest.mark.parametrize("kind", ["a file system that is full", "a limit on files"])
def test_a_real_disk_that_is_full(tmp_path: Path, kind: str) -> None:
    """Rows until the disk is full; then reading works, and with room again writing does, too, and a restart."""
    with full_disk(tmp_path, kind) as (folder, make_room):
        engine = Engine.open(folder, options=OPTIONS)
        put = table_with_rows(engine)
        rows = 0
        refusal: errors.Unavailable | None = None
        while refusal is None:
            assert rows < 2_000_000, "the disk was never full"
            try:
                put(rows, 10_000)
                rows += 10_000
                if kind != "a limit on files" and rows % 50_000 == 0:
                    engine.flush()
            except errors.Unavailable as error:
                refusal = error
        assert "cannot be written" in refusal.message
        assert refusal.hint is not None
        assert count(engine) == rows
        for call in (engine.flush, engine.compact, lambda: put(rows, 10_000)):
            with contextlib.suppress(errors.Unavailable):
                call()
        found = count(engine)
        assert found in (rows, rows + 10_000)
        make_room()
        put(found, 10_000)
        engine.flush()
        engine.compact()
        check_storage(engine)
        assert count(engine) == found + 10_000
        engine.close()
        with Engine.open(folder, options=OPTIONS) as engine:
            assert count(engine) == found + 10_000
            check_storage(engine)


# Read only.


def test_a_database_that_is_opened_to_read_reads_and_refuses_commits(tmp_path: Path) -> None:
    model = filled(tmp_path)
    before = contents(tmp_path)
    with Engine.open(tmp_path, options=OPTIONS, read_only=True) as engine:
        reads_only(engine, model, "it was opened to read only")
    assert contents(tmp_path) == before


def test_a_database_on_a_read_only_file_system_is_read(tmp_path: Path) -> None:
    model = filled(tmp_path)
    mount("--bind", str(tmp_path), str(tmp_path))
    try:
        mount("-o", "remount,bind,ro", str(tmp_path))
        for maintenance in (False, True):
            options = Options(maintenance=maintenance, memory_limit=1 << 30)
            with Engine.open(tmp_path, options=options) as engine:
                reads_only(engine, model, "its file system is read-only")
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
    with Engine.open(tmp_path, options=OPTIONS) as engine, engine.snapshot() as snapshot:
        assert read(snapshot) == model


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user_is_read_and_refused_to_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:
        filled(Path(name))
        for path in (name, *Path(name).rglob("*")):
            os.chmod(path, 0o755 if os.path.isdir(path) else 0o644)
        code = (
            "import os, sys\n"
            "from weftdb.base.errors import Unavailable; from weftdb.storage.storage import Storage\n"
            "Storage.open(sys.argv[1], read_only=True).close()\n"  # nobody may read the package that root installed
            "os.setuid(65534)\n"
            "storage = Storage.open(sys.argv[1], read_only=True)\n"
            "assert list(storage.log.read(storage.log.tail())) and storage.manifest.load()[1]\n"
            "files = storage.files; sizes = {name: files.size(name) for name in files.names()}\n"
            "assert sizes and all(len(files.map(name, size=size)) == size for name, size in sizes.items())\n"
            "storage.close()\n"
            "try: Storage.open(sys.argv[1])\n"
            "except Unavailable as error: sys.exit(7 if 'open it to read only' in error.hint else 8)\n"
        )
        command = [sys.executable, "-c", code, name]
        process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
        assert process.returncode == 7, process.stderr


def filled(path: Path) -> Model:
    """A database with segments, and with rows that are in the log only."""
    course = Course(4)
    with Engine.open(path, options=OPTIONS) as engine:
        course.start(engine)
        for _ in range(60):
            course.step(engine)
        course.put(engine)
        engine.flush()
        course.put(engine)
        course.end()
    return course.promise.committed


def reads_only(engine: Engine, model: Model, reason: str) -> None:
    with engine.snapshot() as snapshot:
        assert read(snapshot) == model
        schema = snapshot.catalog.table("events").arrow_schema
    keys = pa.RecordBatch.from_pylist([{"k": 1, "t": 0}], schema=pa.schema([schema.field("k"), schema.field("t")]))
    transaction = engine.begin()
    transaction.truncate(transaction.catalog.table("events"))
    for call in (transaction.commit, engine.flush, lambda: engine.write("events", Change.DELETE, keys)):
        with pytest.raises(errors.Unavailable, match=f"cannot be written: {reason}"):
            call()


def contents(path: Path) -> dict[str, bytes]:
    """All files but LMDB's table of readers."""
    return {
        str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file() and file.name != "lock.mdb"
    }


# Helpers.


def table_with_rows(engine: Engine) -> Callable[[int, int], object]:
    """Make the table; return how to put rows (first, count) that compress badly."""
    transaction = engine.begin()
    transaction.create(events(engine.new_id()))
    transaction.commit()
    with engine.snapshot() as snapshot:
        schema = snapshot.catalog.table("events").arrow_schema
    chance = random.Random(7)

    def put(first: int, rows: int) -> None:
        columns = [
            pa.array(range(first, first + rows), pa.int64()),
            pa.array([number * 1_000_000 for number in range(first, first + rows)], pa.timestamp("us")),
            pa.array([chance.getrandbits(62) for _ in range(rows)], pa.int64()),
            pa.array([chance.randbytes(8).hex() for _ in range(rows)], pa.string()),
        ]
        engine.write("events", Change.PUT, pa.RecordBatch.from_arrays(columns, schema=schema))

    return put


def count(engine: Engine) -> int:
    with engine.snapshot() as snapshot:
        table = snapshot.catalog.table("events")
        return sum(batch.num_rows for batch in snapshot.scan(table, columns=[1]).batches())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        threading.Event().wait(0.01)


@contextlib.contextmanager
def full_disk(path: Path, kind: str) -> Iterator[tuple[Path, Callable[[], object]]]:
    """A folder on a disk that is soon full, and how to make room."""
    if kind == "a limit on files":
        with contextlib.ExitStack() as stack:
            stack.enter_context(file_size_limit(6_000_000))
            yield path / "data", stack.close
        return
    mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path))
    try:
        yield path / "data", lambda: mount("-o", "remount,size=64m", str(path))
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def mount(*arguments: str) -> None:
    """Skips where this user may not mount."""
    if subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount")
