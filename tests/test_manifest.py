"""The manifest's contract, over every manifest; then what only LMDB must do. And all of the storage, opened as one."""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import lmdb
import pytest
from log_records import file_size_limit, record, versions
from simulated_disk import SimulatedDisk, SimulatedManifest
from weftdb.base import errors
from weftdb.storage.folder import format_line
from weftdb.storage.lmdb_store import LmdbStore
from weftdb.storage.log import Outcome
from weftdb.storage.manifest import DATABASE, STATE_PIECE, LmdbManifest, Manifest, MemoryManifest
from weftdb.storage.storage import NUMBERS_RESERVED, Storage, segment_name, segment_number


class Place(Protocol):
    """Where a manifest lies."""

    def open(self) -> Manifest: ...


class LmdbPlace:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: LmdbStore | None = None

    def open(self) -> LmdbManifest:
        self.close()
        self.store = LmdbStore.open(self.path, databases=(DATABASE,))
        return LmdbManifest(self.store)

    def close(self) -> None:
        if self.store is not None:
            self.store.close()

    @contextlib.contextmanager
    def editing(self) -> Iterator[tuple[lmdb.Transaction, object]]:
        self.close()
        with lmdb.open(str(self.path), max_dbs=16, map_size=1 << 30) as environment:
            database = environment.open_db(DATABASE.encode())
            with environment.begin(write=True) as transaction:
                yield transaction, database


class MemoryPlace:
    def __init__(self) -> None:
        self.manifest = MemoryManifest()

    def open(self) -> MemoryManifest:
        self.manifest = self.manifest.beside()
        return self.manifest


class SimulatedPlace:
    def __init__(self) -> None:
        self.disk = SimulatedDisk()

    def open(self) -> SimulatedManifest:
        self.disk = self.disk.after_crash(random.Random(1))
        return SimulatedManifest(self.disk)


@pytest.fixture(params=["lmdb", "memory", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "memory":
        yield MemoryPlace()
        return
    if request.param == "simulated":
        yield SimulatedPlace()
        return
    place = LmdbPlace(tmp_path)
    yield place
    place.close()


@pytest.fixture
def lmdb_place(tmp_path: Path) -> Iterator[LmdbPlace]:
    place = LmdbPlace(tmp_path)
    yield place
    place.close()


# The contract.


def test_a_new_manifest_is_empty(place: Place) -> None:
    assert place.open().load() == (None, {})


def test_what_was_committed_is_loaded_also_after_it_was_opened_again(place: Place) -> None:
    manifest = place.open()
    manifest.commit(state=b"one", put={1: b"a", 2: b"", 300: b"c" * 5_000})
    assert manifest.load() == (b"one", {1: b"a", 2: b"", 300: b"c" * 5_000})
    manifest.close()
    assert place.open().load() == (b"one", {1: b"a", 2: b"", 300: b"c" * 5_000})


def test_a_commit_puts_replaces_and_deletes_at_once(place: Place) -> None:
    manifest = place.open()
    manifest.commit(state=b"one", put={1: b"a", 2: b"b", 3: b"c"})
    manifest.commit(put={2: b"B", 4: b"d"}, delete=[1, 3, 99])
    assert manifest.load() == (b"one", {2: b"B", 4: b"d"})
    manifest.commit(state=b"two")
    assert manifest.load() == (b"two", {2: b"B", 4: b"d"})
    manifest.commit(put={2: b"again"}, delete=[2, 2, 4])
    assert place.open().load() == (b"two", {2: b"again"})


def test_an_empty_state_is_a_state(place: Place) -> None:
    manifest = place.open()
    manifest.commit(put={1: b"a"})
    assert manifest.load()[0] is None
    manifest.commit(state=b"")
    assert place.open().load() == (b"", {1: b"a"})


def test_states_of_all_sizes_come_back(place: Place) -> None:
    chance = random.Random(5)
    for size in (0, 1, STATE_PIECE - 1, STATE_PIECE, STATE_PIECE + 1, 3 * STATE_PIECE + 7, 12, 2 * STATE_PIECE):
        state = chance.randbytes(size)
        place.open().commit(state=state, put={size + 1: b"x"})
        assert place.open().load()[0] == state


def test_numbers_are_given_out_once(place: Place) -> None:
    manifest = place.open()
    assert manifest.reserve(5) == 1
    assert manifest.reserve(1) == 6
    manifest.commit(state=b"s", put={1: b"a"}, delete=[7])
    assert place.open().reserve(10) == 7
    assert place.open().reserve(10) == 17
    assert place.open().load() == (b"s", {1: b"a"})


def test_a_closed_manifest_refuses_everything_and_closes_again(place: Place) -> None:
    manifest = place.open()
    manifest.close()
    manifest.close()
    for call in (manifest.load, manifest.commit, lambda: manifest.reserve(1)):
        with pytest.raises(errors.Closed):
            call()


def test_a_seeded_course_leaves_what_a_dictionary_has(place: Place) -> None:
    chance = random.Random(11)
    state: bytes | None = None
    segments: dict[int, bytes] = {}
    manifest = place.open()
    for _ in range(60):
        put = {chance.randrange(1, 40): chance.randbytes(chance.choice([0, 10, 3_000])) for _ in range(4)}
        delete = [chance.randrange(1, 40) for _ in range(4)]
        new = chance.choice([None, chance.randbytes(50), chance.randbytes(STATE_PIECE + 50)])
        manifest.commit(state=new, put=put, delete=delete)
        state = state if new is None else new
        segments = {number: value for number, value in segments.items() if number not in delete} | put
        if chance.random() < 0.3:
            manifest = place.open()
        assert manifest.load() == (state, segments)


# LMDB.


def test_every_damaged_byte_is_corrupt_and_named(lmdb_place: LmdbPlace) -> None:
    lmdb_place.open().commit(state=b"the state", put={7: b"a segment"})
    with lmdb_place.editing() as (transaction, database):
        entries = [(bytes(key), bytes(value)) for key, value in transaction.cursor(database)]
    assert len(entries) == 3
    for key, value in entries:
        for at in range(len(value)):
            with lmdb_place.editing() as (transaction, database):
                transaction.put(key, value[:at] + bytes([value[at] ^ 4]) + value[at + 1 :], db=database)
            with pytest.raises(errors.Corrupt, match=r"the manifest in .*(header|segment 7|piece 0 of the state)"):
                lmdb_place.open().load()
            with lmdb_place.editing() as (transaction, database):
                transaction.put(key, value, db=database)
    assert lmdb_place.open().load() == (b"the state", {7: b"a segment"})


def test_every_damaged_byte_of_a_key_is_corrupt(lmdb_place: LmdbPlace) -> None:
    lmdb_place.open().commit(state=b"the state", put={7: b"a segment"})
    with lmdb_place.editing() as (transaction, database):
        entries = [(bytes(key), bytes(value)) for key, value in transaction.cursor(database)]
    for key, value in entries:
        for at in range(len(key)):
            damaged = key[:at] + bytes([key[at] ^ 4]) + key[at + 1 :]
            with lmdb_place.editing() as (transaction, database):
                transaction.delete(key, db=database)
                transaction.put(damaged, value, db=database)
            with pytest.raises(errors.Corrupt):
                lmdb_place.open().load()
            with lmdb_place.editing() as (transaction, database):
                transaction.delete(damaged, db=database)
                transaction.put(key, value, db=database)
    assert lmdb_place.open().load() == (b"the state", {7: b"a segment"})


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_missing_an_exchanged_and_a_foreign_entry_are_corrupt(lmdb_place: LmdbPlace, number: int) -> None:
    lmdb_place.open().commit(state=b"the state", put={1: b"a", 2: b"b", 3: b"c"})
    key = b"segment" + number.to_bytes(8, "big")
    other = b"segment" + (number % 3 + 1).to_bytes(8, "big")
    with lmdb_place.editing() as (transaction, database):
        value = bytes(transaction.get(key, db=database))
        transaction.delete(key, db=database)
    with pytest.raises(errors.Corrupt, match="entries are missing"):
        lmdb_place.open().load()
    with lmdb_place.editing() as (transaction, database):
        transaction.put(key, bytes(transaction.get(other, db=database)), db=database)
    with pytest.raises(errors.Corrupt, match=f"segment {number}: it is damaged"):
        lmdb_place.open().load()
    with lmdb_place.editing() as (transaction, database):
        transaction.put(key, value, db=database)
        transaction.put(b"other", b"", db=database)
    with pytest.raises(errors.Corrupt, match="nobody wrote"):
        lmdb_place.open().load()


def test_pieces_of_a_commit_that_was_cut_short_are_not_seen_and_go_with_the_next(lmdb_place: LmdbPlace) -> None:
    manifest = lmdb_place.open()
    manifest.commit(state=b"one", put={1: b"a"})
    with lmdb_place.editing() as (transaction, database):
        for index in range(3):
            key = b"state" + (2).to_bytes(8, "big") + index.to_bytes(4, "big")
            transaction.put(key, b"left over" * 1_000, db=database)
    manifest = lmdb_place.open()
    assert manifest.load() == (b"one", {1: b"a"})
    manifest.commit(state=b"two" * STATE_PIECE)
    assert lmdb_place.open().load() == (b"two" * STATE_PIECE, {1: b"a"})
    with lmdb_place.editing() as (transaction, database):
        assert transaction.stat(database)["entries"] == 3 + 2


def test_a_newer_format_asks_for_an_upgrade(lmdb_place: LmdbPlace) -> None:
    import struct

    import xxhash

    lmdb_place.open().commit(put={1: b"a"})
    with lmdb_place.editing() as (transaction, database):
        fields = bytearray(bytes(transaction.get(b"header", db=database))[:-8])
        fields[4] = 2
        value = bytes(fields) + struct.pack("<Q", xxhash.xxh3_64_intdigest(bytes(fields)))
        transaction.put(b"header", value, db=database)
    with pytest.raises(errors.Unavailable, match="has format 2") as raised:
        lmdb_place.open().load()
    assert raised.value.hint == "Upgrade WeftDB: a newer version wrote it."


@pytest.mark.parametrize("size", [200_000, 5 * STATE_PIECE])
def test_a_full_disk_refuses_the_commit_and_changes_nothing(lmdb_place: LmdbPlace, size: int) -> None:
    manifest = lmdb_place.open()
    manifest.commit(state=b"one", put={1: b"a"})
    limits = [100_000] if size < STATE_PIECE else [100_000, 1_500_000, 3_000_000, 5_000_000]
    for limit in limits:
        with file_size_limit(limit), pytest.raises(errors.Unavailable, match=r"cannot be written.*nothing was changed"):
            manifest.commit(state=bytes(size), put={2: b"b"}, delete=[1])
        assert manifest.load() == (b"one", {1: b"a"})
    manifest.commit(state=bytes(size), put={2: b"b"}, delete=[1])
    assert lmdb_place.open().load() == (bytes(size), {2: b"b"})


# All of it.


def test_log_and_manifest_share_one_file_and_come_back(tmp_path: Path) -> None:
    with Storage.open(tmp_path) as storage:
        storage.log.lease()
        assert storage.log.append(record(1)) is Outcome.APPENDED
        number = storage.new_number()
        with storage.files.create(segment_name(number)) as out:
            out.write(b"rows")
        storage.manifest.commit(state=b"state", put={number: b"meta"})
        assert storage.log.append(record(2)) is Outcome.APPENDED
    with Storage.open(tmp_path) as storage:
        assert versions(storage.log.read(1)) == [1, 2]
        assert storage.manifest.load() == (b"state", {1: b"meta"})
        assert storage.files.names() == ["0000000000000001.seg"]
        assert (tmp_path / "segments" / "0000000000000001.seg").read_bytes() == b"rows"
        assert storage.new_number() == NUMBERS_RESERVED + 1


def test_storage_in_memory_does_the_same() -> None:
    storage = Storage.in_memory()
    storage.log.lease()
    assert storage.log.append(record(1)) is Outcome.APPENDED
    assert [storage.new_number() for _ in range(300)] == list(range(1, 301))
    storage.manifest.commit(state=b"state")
    assert storage.manifest.load() == (b"state", {})
    storage.check_writable()
    storage.close()
    storage.close()


def test_storage_opened_to_read_reads_and_refuses_the_rest(tmp_path: Path) -> None:
    filled_storage(tmp_path)
    with Storage.open(tmp_path, read_only=True) as storage:
        refuses_to_write(storage, "it was opened to read only")


def test_a_read_only_file_system_is_opened_to_read(tmp_path: Path) -> None:
    filled_storage(tmp_path)
    with read_only_mount(tmp_path), Storage.open(tmp_path) as storage:
        refuses_to_write(storage, "its file system is read-only")
    with read_only_mount(tmp_path), pytest.raises(errors.Unavailable, match="Read-only file system"):
        Storage.open(tmp_path / "none")
    with Storage.open(tmp_path) as storage:
        assert storage.log.lease() == 2


def filled_storage(path: Path) -> None:
    with Storage.open(path) as storage:
        storage.log.lease()
        assert storage.log.append(record(1)) is Outcome.APPENDED
        with storage.files.create(segment_name(1)) as out:
            out.write(b"rows")
        storage.manifest.commit(state=b"state", put={1: b"meta"})


def refuses_to_write(storage: Storage, reason: str) -> None:
    assert storage.read_only == reason
    assert versions(storage.log.read(1)) == [1]
    assert storage.log.tail() == 1
    assert storage.manifest.load() == (b"state", {1: b"meta"})
    assert storage.files.map(segment_name(1), size=4).tobytes() == b"rows"
    for call in (
        storage.log.lease,
        lambda: storage.log.append(record(2)),
        lambda: storage.log.trim(1),
        lambda: storage.manifest.commit(state=b"x"),
        storage.new_number,
        storage.check_writable,
    ):
        with pytest.raises(errors.Unavailable, match=reason) as raised:
            call()
        assert raised.value.sqlstate == "25006"


@contextlib.contextmanager
def read_only_mount(path: Path) -> Iterator[None]:
    """Mount the folder onto itself, read-only. Skips where this user may not."""
    if subprocess.run(["mount", "--bind", str(path), str(path)], check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_folder_of_format_1_is_read_and_becomes_one_of_format_2(tmp_path: Path) -> None:
    from weftdb.storage.lmdb_log import LmdbLog

    log = LmdbLog.open(tmp_path / "log")
    log.lease()
    log.append(record(1))
    log.close()
    (tmp_path / "format").write_text("weftdb 1\n")
    (tmp_path / "lock").write_text("")
    with Storage.open(tmp_path, read_only=True) as storage:
        assert versions(storage.log.read(1)) == [1]
        assert storage.manifest.load() == (None, {})
        assert storage.files.names() == []
    assert (tmp_path / "format").read_text() == "weftdb 1\n"
    with Storage.open(tmp_path) as storage:
        assert storage.manifest.load() == (None, {})
        storage.manifest.commit(state=b"state")
        assert versions(storage.log.read(1)) == [1]
    assert (tmp_path / "format").read_bytes() == format_line(4)


def test_segment_files_are_named_by_their_number() -> None:
    assert segment_name(42) == "0000000000000042.seg"
    assert segment_number("0000000000000042.seg") == 42
    for other in ("42.seg", "0000000000000042", "0000000000000000.seg", "x.seg", "", "0000000000000042.seg.new"):
        assert segment_number(other) is None
