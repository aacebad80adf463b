"""File systems: one contract over the real one, the one in memory and the simulated one; then what is only real."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import random
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from log_records import file_size_limit
from simulated_disk import SimulatedDisk, SimulatedFiles
from weftdb.base import errors
from weftdb.storage import files as files_module
from weftdb.storage.files import STEP_BYTES, DiskFiles, FileSystem, MemoryFiles, Throttle, write_whole


@pytest.fixture(params=["disk", "memory", "simulated"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    if request.param == "disk":
        return DiskFiles(tmp_path)
    return MemoryFiles() if request.param == "memory" else SimulatedFiles(SimulatedDisk())


def put(files: FileSystem, name: str, *pieces: bytes) -> None:
    with files.create(name) as out:
        for piece in pieces:
            out.write(piece)


# The contract.


def test_what_was_written_is_read_and_mapped(files: FileSystem) -> None:
    put(files, "a", b"some bytes")
    assert files.read("a") == b"some bytes"
    assert files.size("a") == 10
    assert files.names() == ["a"]
    mapped = files.map("a", size=10)
    assert mapped.tobytes() == b"some bytes"
    assert mapped.dtype == np.uint8
    assert not mapped.flags.writeable
    assert mapped.ctypes.data % 64 == 0


def test_pieces_of_all_sizes_and_kinds_stand_one_after_the_other(files: FileSystem) -> None:
    chance = random.Random(3)
    whole = bytearray()
    with files.create("a") as out:
        for size in (0, 1, 10, 100_000, 2**20 - 1, 2**20, STEP_BYTES + 3, 5, 2 * STEP_BYTES + 1, 70):
            piece = chance.randbytes(size)
            assert out.position == len(whole)
            out.write(chance.choice([bytes, bytearray, memoryview, pa.py_buffer, _array])(piece))
            whole += piece
    assert files.read("a") == bytes(whole)
    assert files.map("a", size=len(whole)).tobytes() == bytes(whole)


def _array(piece: bytes) -> np.ndarray:
    return np.frombuffer(piece, np.uint8)


def test_an_array_of_wider_items_is_its_bytes(files: FileSystem) -> None:
    with files.create("a") as out:
        out.write(np.arange(3, dtype="<u8"))
        assert out.position == 24
    assert files.map("a", size=24).view("<u8").tolist() == [0, 1, 2]


def test_padding_is_zeros_up_to_the_next_multiple(files: FileSystem) -> None:
    with files.create("a") as out:
        assert out.pad(64) == 0
        out.write(b"x")
        assert out.pad(64) == 64
        out.write(b"y" * 64)
        assert out.pad(64) == 128
        assert out.pad(10_000) == 10_000
    assert files.read("a") == b"x" + bytes(63) + b"y" * 64 + bytes(10_000 - 128)


def test_an_empty_file_is_a_file(files: FileSystem) -> None:
    put(files, "a", b"")
    assert files.read("a") == b""
    assert len(files.map("a", size=0)) == 0
    assert files.names() == ["a"]


def test_a_file_is_read_as_far_as_it_was_synced_while_it_is_written(files: FileSystem) -> None:
    with files.create("a") as out:
        out.write(b"one")
        out.sync()
        assert files.map("a", size=3).tobytes() == b"one"
        out.write(b"two" * 500_000)
        out.sync()
        assert files.size("a") == 1_500_003
        out.write(b"3" * 700_000)
    assert files.read("a") == b"one" + b"two" * 500_000 + b"3" * 700_000


def test_a_file_that_is_there_is_not_created_again(files: FileSystem) -> None:
    put(files, "a", b"first")
    with pytest.raises(errors.Unavailable, match="a cannot be written: File exists"):
        files.create("a")
    assert files.read("a") == b"first"


def test_an_error_in_the_context_removes_the_file(files: FileSystem) -> None:
    def write() -> None:
        with files.create("a") as out:
            out.write(b"x")
            out.sync()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert files.names() == []


def test_a_writer_is_closed_and_removed_again_and_again(files: FileSystem) -> None:
    out = files.create("a")
    out.write(b"x")
    out.remove()
    out.remove()
    out.close()
    assert files.names() == []
    with files.create("b") as out:
        out.finish()
    assert files.names() == ["b"]


def test_a_mapped_file_may_be_removed_and_stays_as_it_was(files: FileSystem) -> None:
    put(files, "a", b"x" * 10_000)
    mapped = files.map("a", size=10_000)
    files.remove("a")
    files.remove("a")
    assert files.names() == []
    put(files, "a", b"y" * 10_000)
    assert mapped.tobytes() == b"x" * 10_000


@pytest.mark.parametrize("size", [9, 11, 0, 5_000])
def test_a_file_of_another_size_than_it_should_have_is_corrupt(files: FileSystem, size: int) -> None:
    put(files, "a", b"some bytes")
    with pytest.raises(errors.Corrupt, match=f"a has 10 bytes and should have {size}") as raised:
        files.map("a", size=size)
    assert raised.value.hint is not None


def test_a_missing_file_is_corrupt_to_map_and_not_found_to_read(files: FileSystem) -> None:
    with pytest.raises(errors.Corrupt, match="none is missing"):
        files.map("none", size=10)
    for call in (files.read, files.size):
        with pytest.raises(errors.NotFound, match="none"):
            call("none")


def test_a_renamed_file_replaces_the_other(files: FileSystem) -> None:
    put(files, "a", b"one")
    put(files, "b", b"other")
    before = files.map("b", size=5)
    files.rename("a", "b")
    files.sync()
    assert files.names() == ["b"]
    assert files.read("b") == b"one"
    assert before.tobytes() == b"other"


def test_a_file_written_whole_is_the_new_one_and_leaves_nothing_behind(files: FileSystem) -> None:
    put(files, "f.new", b"from a crash")
    write_whole(files, "f", b"one")
    write_whole(files, "f", b"two")
    assert files.read("f") == b"two"
    assert files.names() == ["f"]


def test_a_linked_file_stays_when_the_first_name_goes(files: FileSystem, tmp_path: Path) -> None:
    put(files, "a", b"some bytes")
    (tmp_path / "backup").mkdir()
    files.link("a", tmp_path / "backup" / "a")
    files.remove("a")
    assert (tmp_path / "backup" / "a").read_bytes() == b"some bytes"
    put(files, "a", b"other")
    with pytest.raises(errors.Unavailable, match="File exists"):
        files.link("a", tmp_path / "backup" / "a")


def test_many_write_at_once(files: FileSystem) -> None:
    def write(name: str) -> None:
        put(files, name, name.encode() * 300_000)

    threads = [threading.Thread(target=write, args=(f"f{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.names() == [f"f{index}" for index in range(4)]
    for index in range(4):
        assert files.read(f"f{index}") == f"f{index}".encode() * 300_000


# A rate.


def test_a_throttle_keeps_its_rate_and_lets_go_at_once(tmp_path: Path) -> None:
    throttle = Throttle(10e6)
    started = time.monotonic()
    throttle.take(2_000_000)
    throttle.take(2_000_000)
    assert time.monotonic() - started >= 0.4 - 2 * Throttle.BURST_SECONDS
    waiting = threading.Thread(target=throttle.take, args=(1_000_000_000,))
    waiting.start()
    throttle.rate = None
    waiting.join(timeout=5)
    assert not waiting.is_alive()
    throttle.take(1_000_000_000)


def test_a_throttled_file_takes_its_time(tmp_path: Path) -> None:
    started = time.monotonic()
    with DiskFiles(tmp_path).create("a", throttle=Throttle(40e6)) as out:
        out.write(bytes(12_000_000))
    assert time.monotonic() - started >= 0.3 - Throttle.BURST_SECONDS


# Real files.


def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path)
    with file_size_limit(3_000_000):
        with pytest.raises(errors.Unavailable, match=r"cannot be written: .*; nothing was changed") as raised:
            put(files, "a", bytes(5_000_000))
        with pytest.raises(errors.Unavailable):
            put(files, "b", *[bytes(100_000)] * 50)
    assert raised.value.sqlstate == "53100"
    assert raised.value.hint == "Make room on the disk."
    assert files.names() == []
    put(files, "a", bytes(5_000_000))
    assert files.size("a") == 5_000_000


@pytest.mark.parametrize("call", ["sync_file", "sync_folder"])
def test_a_sync_that_fails_fails_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def refuse(_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files_module, call, refuse)
    with pytest.raises(errors.Unavailable, match="Input/output error"):
        put(DiskFiles(tmp_path), "a", b"x")
    assert DiskFiles(tmp_path).names() == []


@pytest.mark.parametrize("refusal", ["open", "write"])
def test_a_file_system_that_cannot_write_past_its_cache_writes_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    if refusal == "open":
        monkeypatch.setattr(files_module, "_DIRECT", 0)
    else:
        pwrite = os.pwrite

        def refuse(descriptor: int, view: memoryview, at: int) -> int:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
                raise OSError(errno.EINVAL, "Invalid argument")
            return pwrite(descriptor, view, at)

        monkeypatch.setattr(os, "pwrite", refuse)
    content = random.Random(1).randbytes(20 * STEP_BYTES + 5)
    put(DiskFiles(tmp_path), "a", content[:1000], content[1000:])
    assert DiskFiles(tmp_path).read("a") == content


def test_mapped_files_keep_no_descriptors_and_are_unmapped(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path)
    put(files, "a", b"x" * 100_000)
    before = len(os.listdir("/proc/self/fd"))
    mapped = [files.map("a", size=100_000)[5:] for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert _maps_of(tmp_path / "a") >= 1
    assert mapped[7].tobytes() == b"x" * 99_995
    del mapped
    gc.collect()
    assert _maps_of(tmp_path / "a") == 0


def _maps_of(path: Path) -> int:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return sum(str(path) in line for line in maps)


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert DiskFiles(tmp_path / "none").names() == []
    with pytest.raises(errors.Unavailable, match="cannot be written: No such file"):
        DiskFiles(tmp_path / "none").create("a")
