"""LMDB's pages: what is sound passes, whatever was done with it; a flipped bit is found, or makes no difference."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import soak
from log_records import record
from weftdb.base.errors import Corrupt, WeftError
from weftdb.storage.lmdb_pages import _Database, _Pages, _Walk, check_meta, free_ranges, problems
from weftdb.storage.storage import Storage

FLIPS = 250 * soak.FACTOR


def used(path: Path, *, seed: int, rounds: int = 60) -> Path:
    """A folder whose file went through appends, trims and commits of the manifest, some of them large."""
    chance = random.Random(seed)
    version = 0
    for _ in range(2):
        with Storage.open(path, durable=False) as storage:
            storage.log.lease()
            for _ in range(rounds):
                version += 1
                storage.log.append(record(version, rows=chance.choice([1, 10, 400, 3_000])))
                if chance.random() < 0.2:
                    put = {chance.randrange(200): bytes(chance.randrange(6_000)) for _ in range(5)}
                    state = bytes(chance.choice([10, 5_000, 1_500_000]))
                    storage.manifest.commit(state=state, put=put, delete=[chance.randrange(200)])
                if chance.random() < 0.1:
                    storage.log.trim(version - chance.randrange(10))
                    check_meta(path / "log" / "data.mdb")
            storage.log.append(record(version := version + 1))
    return path / "log" / "data.mdb"


def content(path: Path) -> Any:
    """All that is read, and that the log would go on with."""
    with Storage.open(path) as storage:
        tail = storage.log.tail()
        entries = [(entry.position, entry.epoch, entry.previous) for entry in storage.log.read(max(1, tail - 5))]
        return entries, storage.manifest.load()


@pytest.mark.parametrize("seed", range(4))
def test_a_sound_file_has_no_problems(tmp_path: Path, seed: int) -> None:
    file = used(tmp_path, seed=seed, rounds=60 * (seed + 1))
    assert list(problems(file)) == []
    check_meta(file)


def test_an_empty_database_has_no_problems(tmp_path: Path) -> None:
    Storage.open(tmp_path).close()
    assert list(problems(tmp_path / "log" / "data.mdb")) == []
    check_meta(tmp_path / "log" / "none.mdb")


@pytest.mark.parametrize("seed", range(4))
def test_what_is_given_back_nobody_needs(tmp_path: Path, seed: int) -> None:
    """Neither the newest transaction nor the one before it, on which LMDB can fall back; and all goes on as before."""
    file = used(tmp_path, seed=seed, rounds=60 * (seed + 1))
    with Storage.open(tmp_path, durable=False) as storage:
        storage.log.trim(storage.log.tail() - 6)
    before, taken = content(tmp_path), file.stat().st_blocks * 512
    with Storage.open(tmp_path, durable=bool(seed % 2)) as storage:
        given = storage.shrink_log()
        assert given > taken / 2
        assert file.stat().st_blocks * 512 <= taken - given + 16 * 4096
    assert list(problems(file)) == []
    holes = {page for offset, length in free_ranges(file, bytes_min=4096) for page in pages_of(offset, length)}
    data = file.read_bytes()
    assert any(not any(data[page * 4096 : (page + 1) * 4096]) for page in holes)
    with _Pages(file) as pages:
        for meta in pages.metas():
            used_pages: dict[int, str] = {}
            tree = _Walk(pages, meta=meta, used=used_pages)
            for _, value in tree.entries(meta.main, name="the main database"):
                for _ in tree.entries(_Database.unpack(value), name="a named one"):
                    pass
            for _ in tree.entries(meta.free, name="the free list", numeric=True):
                pass
            assert holes.isdisjoint(used_pages)
    assert content(tmp_path) == before
    used(tmp_path, seed=seed)
    assert list(problems(file)) == []


def pages_of(offset: int, length: int) -> range:
    return range(offset // 4096, (offset + length) // 4096)


def test_each_bit_of_the_transaction_numbers_is_guarded(tmp_path: Path) -> None:
    for appends in (0, 1, 2, 3):
        with Storage.open(tmp_path, durable=False) as storage:
            storage.log.lease()
            for _ in range(appends):
                storage.log.append(record(storage.log.tail() + 1))
        file = tmp_path / "log" / "data.mdb"
        sound = file.read_bytes()
        for at in (*range(144, 152), *range(4096 + 144, 4096 + 152)):
            for bit in range(8):
                file.write_bytes(flipped(sound, at, 1 << bit))
                with pytest.raises(Corrupt, match=r"data\.mdb is damaged"):
                    check_meta(file)
                with pytest.raises(Corrupt):
                    Storage.open(tmp_path)
        file.write_bytes(sound)


def test_a_flipped_bit_is_found_or_makes_no_difference(tmp_path: Path) -> None:
    """Wherever it is. Only when the pages have no problems is LMDB asked what it reads."""
    file = used(tmp_path, seed=1)
    sound = file.read_bytes()
    before = content(tmp_path)
    assert file.read_bytes() == sound
    chance = random.Random(soak.SEED)
    in_use = pages_in_use(file)
    found = 0
    for flip in range(FLIPS):
        # Headers, metas and the ends of pages, where nodes are, more often than the rest.
        page = chance.choice([chance.randrange(2), chance.randrange(len(sound) // 4096), chance.choice(in_use)])
        at = page * 4096 + chance.choice([chance.randrange(160), chance.randrange(4096), 4095 - chance.randrange(400)])
        file.write_bytes(flipped(sound, at, 1 << chance.randrange(8)))
        if list(problems(file)):
            found += 1
            continue
        try:
            assert content(tmp_path) == before, f"flip {flip} at byte {at % 4096} of page {at // 4096}"
        except WeftError:
            found += 1
    assert FLIPS // 5 < found < FLIPS


def test_a_page_that_is_in_use_and_free_is_found(tmp_path: Path) -> None:
    """LMDB would overwrite it, and nothing that is read says so before."""
    file = used(tmp_path, seed=3)
    sound = file.read_bytes()
    with _Pages(file) as pages:
        meta = max(pages.metas(), key=lambda meta: meta.transaction)
        lists = [value for _, value in _Walk(pages, meta=meta, used={}).entries(meta.free, name="free", numeric=True)]
    at = sound.index(max(lists, key=len))
    for word in range(1, 40):
        file.write_bytes(flipped(sound, at + 8 * word, 1))
        assert any("belongs to" in problem or "twice" in problem for problem in problems(file)), word
    assert list(problems(write_back(file, sound))) == []


def pages_in_use(file: Path) -> list[int]:
    used: dict[int, str] = {}
    with _Pages(file) as pages:
        meta = max(pages.metas(), key=lambda meta: meta.transaction)
        walk = _Walk(pages, meta=meta, used=used)
        for _ in walk.entries(meta.free, name="free", numeric=True):
            pass
        for _, value in walk.entries(meta.main, name="main"):
            for _ in walk.entries(_Database.unpack(value), name="a database"):
                pass
    return sorted(used)


def write_back(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def flipped(content: bytes, at: int, mask: int) -> bytes:
    damaged = bytearray(content)
    damaged[at] ^= mask
    return bytes(damaged)
