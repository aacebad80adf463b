"""The commit log's contract, over every log; then what only LMDB, and only the log in memory, must do."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import lmdb
import pyarrow as pa
import pytest
from log_records import file_size_limit, record, versions
from server_child import Forked, Zygote
from simulated_disk import SimulatedDisk, SimulatedLog
from weftdb.base import errors
from weftdb.storage import lmdb_log, lmdb_pages, lmdb_store
from weftdb.storage.envelope import ENVELOPE_BYTES, GENESIS, Chain
from weftdb.storage.lmdb_log import LmdbLog
from weftdb.storage.log import CommitLog, Outcome
from weftdb.storage.memory_log import Fault, MemoryLog

SUPPORT = Path(__file__).parent / "support"


class Place(Protocol):
    """Where a log lies: what a test needs beside the log itself."""

    def open(self) -> CommitLog: ...
    def beside(self, log: CommitLog) -> CommitLog: ...
    def damage(self, position: int, at: int) -> None: ...
    def drop(self, position: int) -> None: ...
    def repeat(self, position: int) -> None: ...


class LmdbPlace:
    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self.durable = durable

    def open(self) -> LmdbLog:
        return LmdbLog.open(self.path, durable=self.durable)

    def beside(self, log: CommitLog) -> LmdbLog:
        assert isinstance(log, LmdbLog)
        return log.beside()

    def damage(self, position: int, at: int) -> None:
        with self._editing() as (transaction, database):
            value = bytearray(transaction.get(_key(position), db=database))
            value[at] ^= 1
            transaction.put(_key(position), bytes(value), db=database)

    def drop(self, position: int) -> None:
        with self._editing() as (transaction, database):
            assert transaction.delete(_key(position), db=database)

    def repeat(self, position: int) -> None:
        with self._editing() as (transaction, database):
            value = transaction.get(_key(position), db=database)
            transaction.put(_key(position + 1), value, db=database)

    @contextlib.contextmanager
    def _editing(self) -> Iterator[tuple[lmdb.Transaction, object]]:
        with lmdb.open(str(self.path), max_dbs=16, map_size=1 << 30) as environment:
            database = environment.open_db(b"log")
            with environment.begin(write=True) as transaction:
                yield transaction, database


class MemoryPlace:
    def __init__(self, log: MemoryLog) -> None:
        self.log = log

    def open(self) -> MemoryLog:
        return self.log.beside()

    def beside(self, log: CommitLog) -> MemoryLog:
        assert isinstance(log, MemoryLog)
        return log.beside()

    def damage(self, position: int, at: int) -> None:
        entries = self.log.memory.entries
        value = bytearray(entries[position - 1])
        value[at] ^= 1
        entries[position - 1] = bytes(value)

    def drop(self, position: int) -> None:
        del self.log.memory.entries[position - 1]

    def repeat(self, position: int) -> None:
        entries = self.log.memory.entries
        entries[position : position + 1] = [entries[position - 1]]


def _key(position: int) -> bytes:
    return position.to_bytes(8, "big")


@pytest.fixture(params=["lmdb", "lmdb without sync", "memory", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return MemoryPlace(MemoryLog())
    if request.param == "simulated":
        return MemoryPlace(SimulatedLog(SimulatedDisk()))
    return LmdbPlace(tmp_path / "log", durable=request.param == "lmdb")


@pytest.fixture
def log(place: Place) -> Iterator[CommitLog]:
    log = place.open()
    yield log
    log.close()


def filled(place: Place, count: int) -> CommitLog:
    log = place.open()
    log.lease()
    for version in range(1, count + 1):
        assert log.append(record(version)) is Outcome.APPENDED
    return log


# The contract, over every log.


def test_an_empty_log_has_tail_0_and_no_entries(log: CommitLog) -> None:
    assert log.tail() == 0
    assert list(log.read(1)) == []
    log.trim(10)
    assert log.tail() == 0


def test_entries_have_dense_positions_and_batches_and_the_epoch_of_their_appender(log: CommitLog) -> None:
    epoch = log.lease()
    for version in (5, 6, 7):
        assert log.append(record(version, rows=version)) is Outcome.APPENDED
    entries = list(log.read(1))
    assert [entry.position for entry in entries] == [1, 2, 3]
    assert [entry.batch for entry in entries] == [1, 2, 3]
    assert [entry.epoch for entry in entries] == [epoch] * 3
    assert [entry.record.version for entry in entries] == [5, 6, 7]
    assert entries[2].record.operations[0].batch.num_rows == 7
    assert log.tail() == 3


def test_each_entry_has_the_hash_of_the_one_before(log: CommitLog) -> None:
    log.lease()
    log.append(record(1))
    log.append(record(2))
    log.append(record(3))
    hashes = [entry.previous for entry in log.read(1)]
    assert hashes[0] == GENESIS
    assert len(set(hashes)) == 3
    assert [entry.previous for entry in log.read(2)] == hashes[1:]


def test_read_begins_where_it_is_told_and_ends_at_the_tail_of_the_call(place: Place) -> None:
    log = filled(place, 5)
    entries = log.read(4)
    assert log.append(record(6)) is Outcome.APPENDED
    assert versions(entries) == [4, 5]
    assert versions(log.read(7)) == []
    log.close()


def test_entries_outlive_the_log(place: Place) -> None:
    log = filled(place, 2)
    entries = list(log.read(1))
    log.close()
    assert entries[1].record.operations[0].batch.to_pydict() == {"1": [2]}


def test_a_lease_is_one_above_the_last_and_outlives_the_appender(place: Place) -> None:
    log = place.open()
    assert [log.lease(), log.lease()] == [1, 2]
    log.close()
    again = place.open()
    assert again.lease() == 3
    again.close()


def test_a_lease_fences_the_older_appender_for_good(place: Place) -> None:
    old = filled(place, 2)
    new = place.beside(old)
    new.lease()
    assert old.append(record(3)) is Outcome.FENCED
    assert new.append(record(3)) is Outcome.APPENDED
    assert old.append(record(4)) is Outcome.FENCED
    assert versions(new.read(1)) == [1, 2, 3]
    old.lease()
    assert old.append(record(4)) is Outcome.APPENDED
    assert new.append(record(5)) is Outcome.FENCED
    assert versions(old.read(1)) == [1, 2, 3, 4]
    new.close()
    old.close()


def test_a_reopened_log_has_all_entries_and_goes_on(place: Place) -> None:
    filled(place, 3).close()
    log = place.open()
    assert log.tail() == 3
    log.lease()
    assert log.append(record(4)) is Outcome.APPENDED
    assert versions(log.read(1)) == [1, 2, 3, 4]
    assert [entry.epoch for entry in log.read(1)] == [1, 1, 1, 2]
    log.close()


def test_trim_forgets_entries_below_and_never_the_tail(place: Place) -> None:
    log = filled(place, 6)
    log.trim(4)
    log.trim(4)
    log.trim(2)
    assert versions(log.read(4)) == [4, 5, 6]
    with pytest.raises(errors.NotFound, match=r"entry 3 of .* was trimmed; .* begins at entry 4"):
        list(log.read(3))
    log.trim(100)
    assert log.tail() == 6
    assert versions(log.read(6)) == [6]
    assert log.append(record(7)) is Outcome.APPENDED
    log.close()
    again = place.open()
    assert again.lease() == 2
    assert again.append(record(8)) is Outcome.APPENDED
    assert versions(again.read(6)) == [6, 7, 8]
    again.close()


def test_a_closed_log_refuses_everything_and_closes_again(place: Place) -> None:
    log = filled(place, 1)
    log.close()
    log.close()
    for call in (
        log.lease,
        log.tail,
        lambda: log.append(record(2)),
        lambda: log.read(1),
        lambda: log.trim(1),
    ):
        with pytest.raises(errors.Closed):
            call()


@pytest.mark.parametrize("at", [0, 5, 9, 17, 25, 40, 50, 60, 70, 100, 130, 300])
def test_a_damaged_entry_is_named_by_its_position(place: Place, at: int) -> None:
    filled(place, 3).close()
    place.damage(2, at)
    log = place.open()
    with pytest.raises(errors.Corrupt, match="entry 2 of "):
        list(log.read(1))
    log.close()


def test_a_damaged_tail_is_not_appended_to(place: Place) -> None:
    filled(place, 3).close()
    place.damage(3, 200)
    log = place.open()
    with pytest.raises(errors.Corrupt, match="entry 3 of "):
        log.lease()
    log.close()


def test_every_bit_of_the_envelope_is_guarded() -> None:
    value = b"".join(Chain(name="a log").seal(record(1), epoch=1))
    for at in range(ENVELOPE_BYTES):
        for bit in range(8):
            damaged = bytearray(value)
            damaged[at] ^= 1 << bit
            with pytest.raises(errors.Corrupt, match="entry 1 of a log"):
                Chain(name="a log").follow(pa.py_buffer(bytes(damaged)), position=1)


def test_an_entry_of_another_history_is_noticed() -> None:
    """Both are entry 2, sound in itself, but they follow different entries 1."""
    chain, other = Chain(name="a log"), Chain(name="another")
    chain.follow(pa.py_buffer(b"".join(chain.seal(record(1), epoch=1))), position=1)
    other.follow(pa.py_buffer(b"".join(other.seal(record(7), epoch=1))), position=1)
    with pytest.raises(errors.Corrupt, match=r"entry 2 of a log: .* fork"):
        chain.follow(pa.py_buffer(b"".join(other.seal(record(2), epoch=1))), position=2)


def test_an_epoch_that_falls_is_noticed() -> None:
    chain = Chain(name="a log")
    chain.follow(pa.py_buffer(b"".join(chain.seal(record(1), epoch=5))), position=1)
    with pytest.raises(errors.Corrupt, match="epoch 4 is older"):
        chain.follow(pa.py_buffer(b"".join(chain.seal(record(2), epoch=4))), position=2)


def test_a_log_that_lost_entries_is_not_appended_to(place: Place) -> None:
    filled(place, 4).close()
    place.drop(2)
    log = place.open()
    if isinstance(log, LmdbLog):
        with pytest.raises(errors.Corrupt, match="has 3 entries, and should have those from 1 to 4"):
            log.lease()
    log.close()


def test_a_hole_is_noticed(place: Place) -> None:
    filled(place, 4).close()
    place.drop(2)
    log = place.open()
    with pytest.raises(errors.Corrupt, match="entry 2 of "):
        list(log.read(1))
    log.close()


def test_a_repeated_entry_is_noticed(place: Place) -> None:
    filled(place, 4).close()
    place.repeat(2)
    log = place.open()
    with pytest.raises(errors.Corrupt, match=r"entry 3 of .* written for position 2"):
        list(log.read(1))
    log.close()


def test_damage_just_before_the_first_entry_read_is_noticed(place: Place) -> None:
    filled(place, 4).close()
    place.damage(2, 0)
    log = place.open()
    with pytest.raises(errors.Corrupt, match="entry 2 of "):
        list(log.read(3))
    assert versions(log.read(4)) == [4]
    log.close()


def test_many_readers_read_while_one_appends(place: Place) -> None:
    log = filled(place, 1)
    seen: list[list[int]] = []

    def read() -> None:
        while (found := versions(log.read(1)))[-1] < 150:
            seen.append(found)
        seen.append(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(2, 151):
        assert log.append(record(version)) is Outcome.APPENDED
    for reader in readers:
        reader.join(timeout=60)
    assert all(found == list(range(1, len(found) + 1)) for found in seen)
    assert sum(len(found) == 150 for found in seen) == 3
    log.close()


# LMDB.


def open_lmdb(path: Path, **options: int) -> LmdbLog:
    log = LmdbLog.open(path, **options)
    log.lease()
    return log


def test_the_map_grows_by_itself_also_under_readers(tmp_path: Path) -> None:
    log = open_lmdb(tmp_path, map_bytes=64 * 1024)
    stop = threading.Event()
    found: list[int] = []

    def read() -> None:
        while not stop.is_set():
            found.append(len(versions(log.read(1))))

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(1, 40):
        assert log.append(record(version, rows=20_000)) is Outcome.APPENDED
    stop.set()
    reader.join(timeout=60)
    assert found
    assert versions(log.read(1)) == list(range(1, 40))
    log.close()
    assert (tmp_path / "data.mdb").stat().st_size > 39 * 160_000
    again = LmdbLog.open(tmp_path, map_bytes=64 * 1024)
    assert versions(again.read(1)) == list(range(1, 40))
    again.close()


def test_pages_of_trimmed_entries_are_used_again(tmp_path: Path) -> None:
    log = open_lmdb(tmp_path)
    for version in range(1, 100):
        log.append(record(version, rows=20_000))
        log.trim(version - 2)
    log.close()
    assert (tmp_path / "data.mdb").stat().st_size < 10 * 160_000


def test_a_trim_of_many_transactions_removes_what_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_lmdb(tmp_path)
    for version in range(1, 31):
        log.append(record(version, rows=1 + version % 3 * 1_000))
    monkeypatch.setattr(lmdb_log, "TRIM_ENTRIES", 3)
    log.trim(11)
    assert versions(log.read(11)) == list(range(11, 31))
    with pytest.raises(errors.NotFound, match="the log begins at entry 11"):
        list(log.read(10))
    monkeypatch.setattr(lmdb_log, "TRIM_BYTES", 9_000)
    log.trim(100)
    assert versions(log.read(30)) == [30]
    with pytest.raises(errors.NotFound, match="the log begins at entry 30"):
        list(log.read(29))
    log.close()


def test_a_full_disk_refuses_the_append_and_nothing_is_written(tmp_path: Path) -> None:
    log = open_lmdb(tmp_path)
    assert log.append(record(1)) is Outcome.APPENDED
    with (
        file_size_limit(64 * 1024),
        pytest.raises(errors.Unavailable, match=r"cannot be written: .*; nothing was changed"),
    ):
        log.append(record(2, rows=100_000))
    assert log.tail() == 1
    assert log.append(record(2)) is Outcome.APPENDED
    assert versions(log.read(1)) == [1, 2]
    log.close()
    assert list(lmdb_pages.problems(tmp_path / "data.mdb")) == []
    again = LmdbLog.open(tmp_path)
    assert versions(again.read(1)) == [1, 2]
    again.close()


def test_a_commit_in_doubt_is_unknown_until_the_log_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails at the very last step cannot be had here; a refused write is taken for one."""
    log = open_lmdb(tmp_path)
    assert log.append(record(1)) is Outcome.APPENDED
    monkeypatch.setattr(lmdb_store, "_may_hold", lambda *_: True)
    with file_size_limit(64 * 1024):
        assert log.append(record(2, rows=100_000)) is Outcome.UNKNOWN
    assert log.resolve() is Outcome.UNKNOWN
    log.close()
    again = open_lmdb(tmp_path)
    assert versions(again.read(1)) == [1]
    assert again.append(record(2)) is Outcome.APPENDED
    again.close()


def test_an_appender_of_another_process_fences_this_one(tmp_path: Path, zygote: Zygote) -> None:
    log = open_lmdb(tmp_path, map_bytes=1 << 20)
    assert log.append(record(1)) is Outcome.APPENDED
    with child(tmp_path, rows=3_000, zygote=zygote) as process:
        acknowledged = [int(process.stdout.readline()) for _ in range(50)]
    assert acknowledged[0] == 2
    assert log.append(record(99)) is Outcome.FENCED
    assert versions(log.read(1))[:51] == list(range(1, 52))
    log.close()


def test_a_file_cut_short_is_reported_and_does_not_kill_the_process(tmp_path: Path) -> None:
    log = open_lmdb(tmp_path)
    for version in range(1, 6):
        log.append(record(version, rows=20_000))
    log.close()
    os.truncate(tmp_path / "data.mdb", 500_000)
    with pytest.raises(errors.Corrupt):
        open_and_read(tmp_path)


def open_and_read(path: Path) -> None:
    with contextlib.closing(LmdbLog.open(path)) as log:
        list(log.read(1))


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1_000)
    with pytest.raises(errors.Corrupt, match="was not written by WeftDB"):
        LmdbLog.open(tmp_path)


def test_a_log_opened_to_read_refuses_writing(tmp_path: Path) -> None:
    filled(LmdbPlace(tmp_path, durable=True), 2).close()
    log = LmdbLog.open(tmp_path, read_only=True)
    assert versions(log.read(1)) == [1, 2]
    with pytest.raises(errors.Unavailable):
        log.lease()
    log.close()


def test_a_missing_log_opened_to_read_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match="cannot be opened"):
        LmdbLog.open(tmp_path / "none", read_only=True)


def test_a_forked_child_is_refused_and_leaves_the_log_alone(tmp_path: Path) -> None:
    log = open_lmdb(tmp_path)
    log.append(record(1))
    code = (
        "import os, sys; from pathlib import Path; from weftdb.base.errors import Closed\n"
        "from weftdb.storage.lmdb_log import LmdbLog\n"
        "log = LmdbLog.open(Path(sys.argv[1])); child = os.fork()\n"
        "if child == 0:\n"
        "    try: log.tail()\n"
        "    except Closed as error: log.close(); os._exit(7 if 'fork' in str(error) else 8)\n"
        "    os._exit(9)\n"
        "status = os.waitpid(child, 0)[1]\n"
        "assert log.tail() == 1; log.close(); sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    log.close()
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60).returncode == 7


@contextlib.contextmanager
def child(folder: Path, *, rows: int, zygote: Zygote) -> Iterator[Forked]:
    """A process that appends until the block ends; then it is killed."""
    with zygote.popen([str(SUPPORT / "log_child.py"), str(folder), str(rows)]) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_appender_loses_nothing_that_it_acknowledged(tmp_path: Path, zygote: Zygote) -> None:
    chance = random.Random(7)
    tail = 0
    for _ in range(6):
        with child(tmp_path, rows=30_000, zygote=zygote) as process:
            acknowledged = int(process.stdout.readline())
            time.sleep(chance.random() / 4)
            process.kill()
            for line in process.stdout:
                if line.endswith("\n"):
                    acknowledged = int(line)
        assert list(lmdb_pages.problems(tmp_path / "data.mdb")) == []
        log = LmdbLog.open(tmp_path)
        first = max(1, log.tail() - 90)
        found = list(log.read(first))
        assert log.tail() in (acknowledged, acknowledged + 1)
        assert log.tail() > tail
        assert [entry.record.version for entry in found] == list(range(first, log.tail() + 1))
        assert all(entry.record.operations[0].batch.num_rows == 1 + entry.position % 30_000 for entry in found)
        tail = log.tail()
        log.close()


# Memory.


@pytest.fixture
def memory() -> MemoryLog:
    log = MemoryLog()
    log.lease()
    assert log.append(record(1)) is Outcome.APPENDED
    return log


def test_refused_writes_nothing_and_the_next_append_works(memory: MemoryLog) -> None:
    memory.fail_next(Fault.REFUSED)
    with pytest.raises(errors.Unavailable):
        memory.append(record(2))
    assert memory.tail() == 1
    assert memory.append(record(2)) is Outcome.APPENDED


@pytest.mark.parametrize(("fault", "tail"), [(Fault.WRITTEN, 2), (Fault.LOST, 1)])
def test_unknown_resolves_to_appended_whether_it_was_written_or_not(memory: MemoryLog, fault: Fault, tail: int) -> None:
    memory.fail_next(fault)
    assert memory.append(record(2)) is Outcome.UNKNOWN
    assert memory.tail() == tail
    assert memory.resolve() is Outcome.APPENDED
    assert memory.resolve() is Outcome.APPENDED
    assert memory.append(record(3)) is Outcome.APPENDED
    assert versions(memory.read(1)) == [1, 2, 3]


@pytest.mark.parametrize("append", [False, True])
def test_a_lost_append_is_fenced_once_another_took_the_lease(memory: MemoryLog, append: bool) -> None:
    memory.fail_next(Fault.LOST)
    assert memory.append(record(2)) is Outcome.UNKNOWN
    other = memory.beside()
    other.lease()
    if append:
        assert other.append(record(2)) is Outcome.APPENDED
    assert memory.resolve() is Outcome.FENCED
    assert memory.append(record(3)) is Outcome.FENCED


def test_a_written_append_is_appended_although_another_took_the_lease(memory: MemoryLog) -> None:
    memory.fail_next(Fault.WRITTEN)
    assert memory.append(record(2)) is Outcome.UNKNOWN
    other = memory.beside()
    other.lease()
    assert other.append(record(3)) is Outcome.APPENDED
    assert memory.resolve() is Outcome.APPENDED
    assert memory.append(record(4)) is Outcome.FENCED
    assert versions(other.read(1)) == [1, 2, 3]


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.STUCK])
def test_an_append_stays_unknown_until_released(memory: MemoryLog, fault: Fault) -> None:
    memory.fail_next(fault)
    assert memory.append(record(2)) is Outcome.UNKNOWN
    assert [memory.resolve() for _ in range(3)] == [Outcome.UNKNOWN] * 3
    memory.release()
    assert memory.resolve() is Outcome.APPENDED
    assert versions(memory.read(1)) == [1, 2]


def test_a_late_answer_comes_when_released_and_the_entry_is_there_before(memory: MemoryLog) -> None:
    memory.fail_next(Fault.LATE)
    outcomes: list[Outcome] = []
    appender = threading.Thread(target=lambda: outcomes.append(memory.append(record(2))))
    appender.start()
    while memory.tail() < 2:
        time.sleep(0.001)
    assert outcomes == []
    memory.release()
    appender.join(timeout=10)
    assert outcomes == [Outcome.APPENDED]


def test_a_planned_fence_answers_as_a_real_one(memory: MemoryLog) -> None:
    memory.fail_next(Fault.FENCED)
    assert memory.append(record(2)) is Outcome.FENCED
    assert memory.append(record(2)) is Outcome.FENCED
    assert memory.lease() == 3
    assert memory.append(record(2)) is Outcome.APPENDED


def test_faults_hit_the_next_appends_in_their_order(memory: MemoryLog) -> None:
    memory.fail_next(Fault.REFUSED, Fault.LOST)
    with pytest.raises(errors.Unavailable):
        memory.append(record(2))
    assert memory.append(record(2)) is Outcome.UNKNOWN
    assert memory.resolve() is Outcome.APPENDED
    assert memory.append(record(3)) is Outcome.APPENDED
