"""The journal in front of the log: what a crash leaves of it, what is damage, and what the disk may refuse."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import soak
import xxhash
from log_records import record, versions
from weftdb.base import errors
from weftdb.engine.check import check_folder
from weftdb.engine.database import Engine
from weftdb.sql.session import Session
from weftdb.storage import journal
from weftdb.storage.envelope import MAGIC
from weftdb.storage.journal import JOURNAL_BYTES, JOURNAL_FILE, SECTOR
from weftdb.storage.lmdb_log import LmdbLog
from weftdb.storage.lmdb_store import CommitInDoubt, LmdbStore
from weftdb.storage.log import Outcome


def opened(path: Path, *, durable: bool = True) -> LmdbLog:
    log = LmdbLog.open(path, durable=durable)
    log.lease()
    return log


def crashed(log: LmdbLog, path: Path) -> Path:
    """A copy of the log's folder as it lies on the disk now."""
    copy = path.with_name(f"{path.name}.after")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path, copy)
    return copy


def read(path: Path) -> list[int]:
    log = LmdbLog.open(path, read_only=True)
    found = versions(log.read(1))
    assert log.tail() == len(found)
    log.close()
    return found


def in_store(path: Path) -> int:
    """How many entries LMDB holds."""
    bare = path.with_name(f"{path.name}.bare")
    shutil.rmtree(bare, ignore_errors=True)
    shutil.copytree(path, bare)
    (bare / JOURNAL_FILE).write_bytes(bytes(JOURNAL_BYTES))
    return len(read(bare))


def test_small_entries_wait_in_the_journal_and_go_on_together(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    for version in range(1, 6):
        assert log.append(record(version)) is Outcome.APPENDED
    assert in_store(crashed(log, tmp_path / "log")) == 0
    assert read(crashed(log, tmp_path / "log")) == [1, 2, 3, 4, 5]
    assert versions(log.read(3)) == [3, 4, 5]
    assert log.append(record(6, rows=20_000)) is Outcome.APPENDED  # too large for it
    assert in_store(crashed(log, tmp_path / "log")) == 6
    assert log.append(record(7)) is Outcome.APPENDED
    assert read(crashed(log, tmp_path / "log")) == [1, 2, 3, 4, 5, 6, 7]
    log.trim(3)
    assert versions(log.read(3)) == [3, 4, 5, 6, 7]
    assert log.append(record(8)) is Outcome.APPENDED
    log.close()
    again = opened(tmp_path / "log")
    assert versions(again.read(3)) == [3, 4, 5, 6, 7, 8]
    again.close()


def test_after_a_clean_end_the_store_has_everything(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    for version in range(1, 6):
        log.append(record(version))
    log.close()
    assert in_store(tmp_path / "log") == 5


@pytest.mark.parametrize("seed", range(soak.SEED, soak.SEED + 4 * soak.FACTOR))
def test_a_crash_leaves_what_was_acknowledged_and_at_most_one_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Before each append the disk is copied; what the append then writes is torn, sector by sector, on the copy."""
    chance = random.Random(seed)
    monkeypatch.setattr(journal, "JOURNAL_BYTES", 16 * SECTOR)
    monkeypatch.setattr(journal, "JOURNALED_BYTES_MAX", 8 * SECTOR)
    path = tmp_path / "log"
    log = opened(path)
    written: list[tuple[int, bytes]] = []
    write = journal._write

    def noted(descriptor: int, data: bytes, *, at: int) -> None:
        written.append((at, data))
        write(descriptor, data, at=at)

    monkeypatch.setattr(journal, "_write", noted)
    for version in range(1, 41):
        before = crashed(log, path)
        written.clear()
        assert log.append(record(version, rows=chance.choice((1, 40, 200, 800)))) is Outcome.APPENDED
        if chance.random() < 0.1:
            log.trim(log.tail())
        if not written:
            continue
        ((at, data),) = written
        content = bytearray((before / JOURNAL_FILE).read_bytes())
        whole = True
        for start in range(0, len(data), SECTOR):
            piece = data[start : start + SECTOR]
            if chance.random() < 0.6:
                content[at + start : at + start + len(piece)] = piece
            else:
                whole = False
        (before / JOURNAL_FILE).write_bytes(content)
        after = opened(before)
        tail = after.tail()
        assert tail == (version if whole else version - 1)
        first = next(iter(after.read(tail))).record.version if tail else 0
        assert first == tail
        for more in range(tail + 1, tail + 4):
            assert after.append(record(more, rows=chance.choice((1, 40)))) is Outcome.APPENDED
        killed = crashed(after, before)
        after.close()
        once_more = opened(killed)
        assert once_more.tail() == tail + 3
        assert versions(once_more.read(tail + 1)) == [tail + 1, tail + 2, tail + 3]
        once_more.close()
    log.close()
    assert log_tail(path) == 40


def log_tail(path: Path) -> int:
    log = LmdbLog.open(path, read_only=True)
    tail = log.tail()
    log.close()
    return tail


def test_a_damaged_entry_before_others_is_noticed(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    for version in range(1, 6):
        log.append(record(version))
    after = crashed(log, tmp_path / "log")
    log.close()
    content = bytearray((after / JOURNAL_FILE).read_bytes())
    content[2 * entry_bytes(content) + 100] ^= 1
    (after / JOURNAL_FILE).write_bytes(content)
    bad = LmdbLog.open(after)
    for call in (bad.lease, bad.tail, lambda: list(bad.read(1))):
        with pytest.raises(errors.Corrupt, match=r"entry \d of .*journal is damaged or missing, and entry \d is there"):
            call()
    bad.close()


def entry_bytes(content: bytes | bytearray) -> int:
    """How many bytes the first entry takes."""
    extent = journal.extent_of(bytes(content[:64]))
    assert extent is not None
    return journal.sectors(extent.size)


@pytest.mark.parametrize("loss", ["missing", "cut"])
def test_a_journal_that_is_gone_or_cut_is_noticed(tmp_path: Path, loss: str) -> None:
    log = opened(tmp_path / "log")
    log.append(record(1))
    after = crashed(log, tmp_path / "log")
    log.close()
    if loss == "missing":
        (after / JOURNAL_FILE).unlink()
    else:
        os.truncate(after / JOURNAL_FILE, JOURNAL_BYTES - SECTOR)
    bad = LmdbLog.open(after)
    with pytest.raises(errors.Corrupt, match=JOURNAL_FILE):
        bad.lease()
    bad.close()


def refusing(monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """The next ``times`` writes into the journal fail half way."""
    write = journal._write
    left = [times]

    def refuse(descriptor: int, data: bytes, *, at: int) -> None:
        if left[0]:
            left[0] -= 1
            write(descriptor, data[: len(data) // 2], at=at)
            raise OSError(errno.EIO, "Input/output error")
        write(descriptor, data, at=at)

    monkeypatch.setattr(journal, "_write", refuse)


def test_a_refused_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path / "log")
    assert log.append(record(1)) is Outcome.APPENDED
    refusing(monkeypatch, times=1)
    with pytest.raises(errors.Unavailable, match="nothing was changed"):
        log.append(record(2))
    assert read(crashed(log, tmp_path / "log")) == [1]
    assert log.append(record(2)) is Outcome.APPENDED
    assert read(crashed(log, tmp_path / "log")) == [1, 2]
    log.close()


def test_a_write_that_nobody_can_tell_of_is_unknown_until_the_log_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path / "log")
    assert log.append(record(1)) is Outcome.APPENDED
    refusing(monkeypatch, times=2)
    assert log.append(record(2)) is Outcome.UNKNOWN
    assert log.resolve() is Outcome.UNKNOWN
    log.close()
    again = opened(tmp_path / "log")
    assert versions(again.read(1)) == [1]
    assert again.append(record(2)) is Outcome.APPENDED
    again.close()


@pytest.mark.parametrize("holds", [False, True])
def test_a_commit_of_the_store_in_doubt_counts_no_entry_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    """The store's transaction that takes the journaled entries along is in doubt; it held, or it did not."""
    log = opened(tmp_path / "log")
    for version in (1, 2):
        assert log.append(record(version)) is Outcome.APPENDED
    write = LmdbStore._write_once

    def doubtful(store: LmdbStore, work: Any) -> Any:
        if holds:
            write(store, work)
        raise CommitInDoubt("the disk did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(LmdbStore, "_write_once", doubtful)
        assert log.append(record(3, rows=20_000)) is Outcome.UNKNOWN
        assert versions(log.read(1)) == ([1, 2, 3] if holds else [1, 2])
    log.trim(2)
    assert log.tail() == (3 if holds else 2)
    log.close()
    again = opened(tmp_path / "log")
    assert versions(again.read(2)) == ([2, 3] if holds else [2])
    again.close()


def test_an_appender_beside_fences_and_reads_on(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    log.append(record(1))
    other = log.beside()
    assert versions(other.read(1)) == [1]
    other.lease()
    assert other.append(record(2)) is Outcome.APPENDED
    assert log.append(record(2)) is Outcome.FENCED
    assert versions(log.read(1)) == versions(other.read(1)) == [1, 2]
    log.close()
    assert read(tmp_path / "log") == [1, 2]


def test_without_syncs_there_is_no_journal_but_what_one_holds_is_read(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    log.append(record(1))
    after = crashed(log, tmp_path / "log")
    log.close()
    quick = opened(after, durable=False)
    assert versions(quick.read(1)) == [1]
    assert quick.append(record(2)) is Outcome.APPENDED
    assert in_store(crashed(quick, after)) == 2
    quick.close()


def test_check_reads_the_journal_of_a_killed_database(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Engine.open(folder) as engine:
        with Session(engine) as session:
            session.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
            for number in range(5):
                session.execute(f"INSERT INTO t VALUES ({number})")
        killed = crashed_folder(folder)
    report = check_folder(killed)
    assert not report.problems
    assert report.log_entries >= 6
    file = killed / "log" / JOURNAL_FILE
    content = bytearray(file.read_bytes())
    content[entry_bytes(content) + 70] ^= 1
    file.write_bytes(content)
    (problem,) = check_folder(killed).problems
    assert problem.where == str(file)
    assert "is damaged or missing" in problem.what
    with pytest.raises(errors.Corrupt, match=JOURNAL_FILE):
        Engine.open(killed)


def test_a_value_that_looks_like_an_entry_further_on_is_no_damage(tmp_path: Path) -> None:
    draw = random.Random(1)

    def envelope_of(position: int) -> bytes:
        random_fields = draw.randbytes(48)
        fields = MAGIC + bytes([1, 0, 0, 0]) + position.to_bytes(8, "little") + random_fields[:40]
        return fields + xxhash.xxh3_64_intdigest(fields).to_bytes(8, "little")

    for shift in range(0, 64, 8):  # one of them lies where sectors begin
        folder = tmp_path / str(shift)
        value = bytes(shift) + b"".join(envelope_of(1_000 + n) for n in range(400))
        for _ in range(2):
            with Engine.open(folder) as engine, Session(engine) as session:
                session.execute("CREATE TABLE IF NOT EXISTS t (b BYTEA)")
                session.execute("INSERT INTO t VALUES ($1), ('\\x00')", [value])
                found = session.execute("SELECT count(*) FROM t WHERE b = $1", [value]).scalar()
        assert found == 2


def test_what_is_written_into_the_journal_is_on_the_disk_when_the_write_returns(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    (descriptor,) = [
        int(name) for name in os.listdir("/proc/self/fd") if _target(name) == str(tmp_path / "log" / JOURNAL_FILE)
    ]
    assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DSYNC
    log.close()


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:  # that of the listing itself
        return ""


def crashed_folder(folder: Path) -> Path:
    copy = folder.with_name("killed")
    shutil.copytree(folder, copy)
    return copy
