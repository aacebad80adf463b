"""The simulated disk: what is promised after a crash is there, what is not may be, and each seed gives the same."""

from __future__ import annotations

import random

import pytest
from log_records import record, versions
from simulated_disk import BLOCK, Crash, SimulatedDisk
from weftdb.base import errors
from weftdb.storage.files import FileSystem, write_whole
from weftdb.storage.log import Outcome

SEEDS = range(60)


def course(disk: SimulatedDisk) -> None:
    """One of each step."""
    storage = disk.storage()
    storage.log.lease()
    storage.log.append(record(1))
    number = storage.new_number()
    with storage.files.create("a") as out:
        out.write(b"x" * (2 * BLOCK + 10))
    storage.manifest.commit(state=b"one", put={number: b"a"})
    storage.log.append(record(2))
    storage.log.trim(2)
    write_whole(storage.files, "b", b"old")
    write_whole(storage.files, "b", b"new")
    storage.files.remove("a")
    storage.files.sync()


def test_steps_are_counted_and_named() -> None:
    disk = SimulatedDisk()
    course(disk)
    assert disk.steps[:10] == [
        "lease the log",
        "append version 1",
        "reserve numbers",
        "create a",
        "write a at 0",
        "write a at 4096",
        "write a at 8192",
        "sync a",
        "sync the folder",
        "commit manifest, 1 put, 0 deleted",
    ]
    assert disk.steps[-2:] == ["remove a", "sync the folder"]


def test_a_dead_disk_refuses_everything() -> None:
    disk = SimulatedDisk(crash_at=5)
    storage = disk.storage()
    with pytest.raises(Crash):
        course(disk)
    for call in (
        storage.files.sync,
        lambda: storage.files.create("z"),
        storage.log.lease,
        lambda: storage.log.trim(1),
        lambda: storage.manifest.reserve(1),
        storage.manifest.commit,
    ):
        with pytest.raises(Crash):
            call()
    assert disk.steps_count == 5


def test_after_a_crash_at_any_step_what_was_synced_is_there() -> None:
    disk = SimulatedDisk()
    course(disk)
    steps = disk.steps
    for crash_at in range(1, len(steps) + 1):
        done = steps[: crash_at - 1]
        for seed in SEEDS:
            disk = SimulatedDisk(crash_at=crash_at, seed=seed)
            with pytest.raises(Crash):
                course(disk)
            assert disk.steps == steps[:crash_at]
            after = disk.after_crash(random.Random(seed)).storage()
            appended = sum(step.startswith("append") for step in done)
            assert after.log.tail() in (appended, appended + steps[crash_at - 1].startswith("append"))
            assert after.manifest.load()[0] == b"one" or "commit manifest, 1 put, 0 deleted" not in done
            if "sync the folder" in done and "remove a" not in steps[:crash_at]:
                assert after.files.read("a") == b"x" * (2 * BLOCK + 10)
            renamed = "".join(done).count("rename b.new to bsync the folder")
            if renamed:
                assert after.files.read("b") in ((b"new",) if renamed == 2 else (b"old", b"new"))


def outcomes(files_after: list[FileSystem], name: str) -> set[bytes | None]:
    return {files.read(name) if name in files.names() else None for files in files_after}


def test_unsynced_writes_are_kept_dropped_torn_and_reordered() -> None:
    disk = SimulatedDisk()
    out = disk.storage().files.create("a")
    disk.storage().files.sync()
    out.write(b"0" * BLOCK)
    out.sync()
    for digit in (b"1", b"2", b"3"):
        out.write(digit * BLOCK)
    found = outcomes([disk.after_crash(random.Random(seed)).storage().files for seed in range(300)], "a")
    synced = b"0" * BLOCK
    ones, twos, threes, zeros = b"1" * BLOCK, b"2" * BLOCK, b"3" * BLOCK, bytes(BLOCK)
    assert {synced, synced + ones + twos + threes} < found
    assert {synced + zeros + twos, synced + zeros + zeros + threes, synced + ones + zeros + threes} < found
    assert any(content is not None and len(content) % BLOCK for content in found)
    assert all(content is not None and content.startswith(synced) for content in found)


def test_unsynced_names_are_there_or_not() -> None:
    disk = SimulatedDisk()
    files = disk.storage().files
    write_whole(files, "a", b"old")
    with files.create("new") as out:
        out.write(b"new")
    files.remove("new")
    with files.create("b") as out:
        out.write(b"fresh")
        out.sync()
        found = outcomes([disk.after_crash(random.Random(seed)).storage().files for seed in range(50)], "b")
    assert found == {None, b"fresh"}
    files.rename("b", "a")
    after = [disk.after_crash(random.Random(seed)).storage().files for seed in range(50)]
    assert outcomes(after, "a") == {b"old", b"fresh"}
    files.remove("a")
    after = [disk.after_crash(random.Random(seed)).storage().files for seed in range(200)]
    assert outcomes(after, "a") == {b"old", b"fresh", None}


def test_a_seed_gives_the_same_disk_again() -> None:
    for crash_at in range(1, 26):
        images: list[tuple[dict[str, bytes], int]] = []
        for _ in range(2):
            disk = SimulatedDisk(crash_at=crash_at, seed=9)
            with pytest.raises(Crash):
                course(disk)
            after = disk.after_crash(random.Random(4))
            images.append(({name: file.content() for name, file in after.names.items()}, after.log.tail))
        assert images[0] == images[1]


def test_a_process_that_ended_left_all_that_it_wrote() -> None:
    disk = SimulatedDisk()
    out = disk.storage().files.create("a")
    out.write(b"x" * BLOCK)
    assert disk.restarted().storage().files.read("a") == b"x" * BLOCK


def test_a_full_disk_refuses_what_needs_room_and_nothing_else() -> None:
    disk = SimulatedDisk()
    storage = disk.storage()
    storage.log.lease()
    storage.log.append(record(1))
    storage.log.append(record(2))
    storage.files.create("a").close()
    disk.full = range(1, 1_000)
    for call in (
        lambda: storage.log.append(record(3)),
        lambda: storage.files.create("b"),
        lambda: storage.manifest.commit(state=b"x"),
        storage.new_number,
        lambda: write_whole(storage.files, "c", b"x"),
    ):
        with pytest.raises(errors.Unavailable, match="No space left on device; nothing was changed"):
            call()
    storage.files.remove("a")
    storage.log.trim(2)
    assert storage.files.names() == []
    assert versions(storage.log.read(2)) == [2]
    assert storage.manifest.load() == (None, {})
    disk.full = range(0)
    assert storage.log.append(record(3)) is Outcome.APPENDED
    assert storage.new_number() == 1


def test_a_flipped_bit_is_there_to_be_found() -> None:
    disk = SimulatedDisk()
    write_whole(disk.storage().files, "a", b"abc")
    disk.flip("a", 1)
    assert disk.storage().files.read("a") == b"acc"
