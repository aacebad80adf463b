"""``weft check``: what is sound passes; a flipped bit is noticed, or makes no difference; what does not fit is told.

Every byte of a section that the manifest names is noticed, and of the padding between two of them. Sections that were
merged away are read by nobody. Of LMDB's file (log and manifest) a byte may be in nobody's use: a free page, the room
behind a page's nodes or a value's end, the older of the two meta pages. It is decided by what it does: if the check
finds nothing, everything that can be read (all rows at the last version, all entries of the log, the manifest) must be
what it was before.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soak
import weftdb
from server_child import Zygote
from weftdb.base.errors import Corrupt, Unavailable, WeftError
from weftdb.base.types import BIGINT, BOOLEAN, DOUBLE, TEXT, TIMESTAMP
from weftdb.engine import indexes
from weftdb.engine.check import Report, check_engine, check_folder
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.schema import Index, Table
from weftdb.engine.segment import BEGIN, DELTA, Description, Section
from weftdb.server.main import main
from weftdb.storage.lmdb_pages import _Database, _Pages, _Walk
from weftdb.storage.segment import SegmentReader, SegmentWriter
from weftdb.storage.storage import Storage, segment_name

FLIPS = soak.many(60, 120)
DAY = 86_400_000_000
BEGIN_DAY = 1_767_571_200_000_000  # 2026-01-05, a Monday
TYPES = {1: BIGINT, 2: TIMESTAMP, 3: DOUBLE, 4: TEXT, BEGIN: BIGINT, DELTA: BOOLEAN}


def build(path: Path) -> None:
    """Three tables over some cells, rows that ended, merged segments; and a log that goes on after the checkpoint."""
    with weftdb.open(path, maintenance=False, durable=False) as database:
        database.execute(
            "CREATE TABLE events (k BIGINT, t TIMESTAMP, v DOUBLE PRECISION, note TEXT, PRIMARY KEY (k, t)) "
            "WITH (key = 'k', time = 't', every = '1 day', shards = 2)"
        )
        database.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT)")
        database.execute("CREATE TABLE lines (a TEXT, b INTEGER)")
        put(database, 0, 300)
        database.table("notes").put([{"id": f"n{i}", "text": None if i % 3 else "x" * i} for i in range(20)])
        database.table("lines").insert([{"a": f"line {i}", "b": i} for i in range(50)])
        database.engine.flush()
        put(database, 100, 200)
        database.engine.flush()
        database.engine.compact()
        put(database, 250, 400)
        database.execute("DELETE FROM events WHERE k = 7")
        database.table("notes").delete(["n3"])
        database.engine.flush()
        put(database, 0, 10)
        database.table("lines").insert({"a": "last", "b": -1})


def put(database: Any, first: int, last: int) -> None:
    rows = range(first, last)
    database.table("events").put(
        pa.table(
            {
                "k": pa.array([i % 20 for i in rows], pa.int64()),
                "t": pa.array([BEGIN_DAY + i * DAY // 200 for i in rows], pa.timestamp("us")),
                "v": pa.array([i / 7 for i in rows]),
                "note": pa.array([f"note {i % 5}" if i % 11 else None for i in rows]),
            }
        )
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("check") / "data"
    build(path)
    return path


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "data"))


def content(path: Path) -> Any:
    """All that can be read, and that the log would go on with."""
    with Engine.open(path, read_only=True, options=Options(maintenance=False)) as engine:
        rows: dict[str, list[Any]] = {}
        with engine.snapshot() as snapshot:
            for name, table in snapshot.catalog.relations.items():
                assert isinstance(table, Table)
                found = [row for batch in snapshot.scan(table).batches() for row in batch.to_pylist()]
                rows[name] = sorted(found, key=repr)
        first = engine.maintenance.checkpoint_position
        entries = [(entry.position, entry.epoch, entry.data.to_pybytes()) for entry in engine.storage.log.read(first)]
        return rows, entries, engine.storage.manifest.load(), engine.version


def flipped(sound: bytes, at: int, mask: int) -> bytes:
    damaged = bytearray(sound)
    damaged[at] ^= mask
    return bytes(damaged)


def texts(report: Report) -> str:
    return "\n".join(f"{problem.where}: {problem.what} [{problem.affects}]" for problem in report.problems)


def descriptions(path: Path) -> dict[int, Description]:
    with Storage.open(path) as storage:
        return {id: Description.decode(value) for id, value in storage.manifest.load()[1].items()}


def change(path: Path, *changed: Description, delete: tuple[int, ...] = ()) -> None:
    with Storage.open(path) as storage:
        storage.manifest.commit(put={item.id: item.encode() for item in changed}, delete=delete)


def events(path: Path) -> list[Description]:
    """The segments of the events, the largest first."""
    found = [item for item in descriptions(path).values() if item.columns[:4] == (1, 2, 3, 4)]
    return sorted(found, key=lambda item: -item.rows_count)


# What is sound.


def test_a_sound_folder_has_no_problems_and_a_report(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    report = check_folder(folder)
    assert report.problems == []
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    tables = {table.name: table for table in report.tables}
    assert tables.keys() >= {"events", "notes", "lines"}
    assert tables["events"].rows_count == 380
    assert tables["events"].cells_count == 4
    assert tables["events"].segments_most == 2
    assert {size.column for size in tables["events"].sizes} >= {"k", "t", "v", "note", "(index and directory)"}
    for table in report.tables:
        own = [item for item in descriptions(folder).values() if item.table == _id_of(folder, table.name)]
        assert sum(size.bytes for size in table.sizes) == sum(item.place.length for item in own)
    assert report.log_entries == 3  # that of the checkpoint, and two that came after it
    assert report.last_version == report.version + 2
    places = {place for item in descriptions(folder).values() for place in (item.place, item.overlay) if place}
    dead = report.files_bytes - sum(place.length for place in places)
    assert 0 <= dead - report.dead_bytes < 64 * len(places)
    assert report.work["flushes"] == 3
    assert report.work["merged_bytes"] > 0


def _id_of(path: Path, name: str) -> int:
    with Engine.open(path, read_only=True, options=Options(maintenance=False)) as engine, engine.snapshot() as snapshot:
        relation = snapshot.catalog.relations.get(name)
        return {"weft_catalog": 1, "weft_sequences": 2}[name] if relation is None else relation.id


def test_an_open_database_is_checked_beside_its_work(folder: Path) -> None:
    with weftdb.open(folder, maintenance=False) as database:
        report = check_engine(database.engine)
        assert report.problems == []
        put(database, 500, 600)
        database.engine.flush()
        database.engine.compact()
        report = check_engine(database.engine)
        assert report.problems == []
        assert report.version == database.version
        with pytest.raises(Unavailable, match="in use by"):
            check_folder(folder)


def test_what_maintenance_has_written_is_counted_over_restarts(folder: Path) -> None:
    before = check_folder(folder).work
    with weftdb.open(folder, maintenance=False) as database:
        assert database.engine.maintenance.work.kept() == before
        put(database, 0, 50)
        database.engine.flush()
        after = database.engine.maintenance.work.kept()
    assert after["flushes"] == before["flushes"] + 1
    assert after["logged_bytes"] > before["logged_bytes"]
    assert after["flushed_bytes"] > before["flushed_bytes"]
    assert check_folder(folder).work == after


def test_a_large_transaction_in_the_log_is_checked_too(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data", maintenance=False, write_set_bytes=200_000) as database:
        database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)")
        database.table("t").insert({"id": 1, "v": 1})
        with database.transaction() as transaction:
            for start in range(0, 200_000, 20_000):
                ids = pa.array(range(start, start + 20_000), pa.int64())
                transaction.table("t").put(pa.table({"id": ids, "v": ids}))
    report = check_folder(tmp_path / "data")
    assert report.problems == []
    assert report.files_count > 0
    with weftdb.open(tmp_path / "data", maintenance=False) as database:
        database.engine.flush()
        assert check_engine(database.engine).problems == []
    assert check_folder(tmp_path / "data").problems == []


def test_an_empty_database_is_sound(tmp_path: Path) -> None:
    weftdb.open(tmp_path / "data").close()
    assert check_folder(tmp_path / "data").problems == []
    with pytest.raises(Unavailable, match="no WeftDB database"):
        check_folder(tmp_path)


# Flipped bits.


def test_a_flipped_bit_of_the_format_is_noticed(folder: Path) -> None:
    file = folder / "format"
    sound = file.read_bytes()
    for at in range(len(sound)):
        for bit in range(8):
            file.write_bytes(flipped(sound, at, 1 << bit))
            assert check_folder(folder).problems, (at, bit)


def test_a_flipped_bit_of_a_segment_file_is_noticed(folder: Path) -> None:
    chance = random.Random(soak.SEED)
    places = [place for item in descriptions(folder).values() for place in (item.place, item.overlay) if place]
    for flip in range(FLIPS):
        place = chance.choice(places)
        file = folder / "segments" / segment_name(place.file)
        sound = file.read_bytes()
        at = place.offset + chance.randrange(place.length)
        file.write_bytes(flipped(sound, at, 1 << chance.randrange(8)))
        report = check_folder(folder)
        assert any(file.name in problem.where for problem in report.problems), f"flip {flip}: byte {at} of {file.name}"
        file.write_bytes(sound)
    assert check_folder(folder).problems == []


def test_a_flipped_bit_between_two_sections_is_noticed_or_makes_no_difference(folder: Path) -> None:
    places = {place for item in descriptions(folder).values() for place in (item.place, item.overlay) if place}
    before, padding, dead = content(folder), 0, 0
    for file in sorted((folder / "segments").iterdir()):
        sound, end = file.read_bytes(), 0
        own = sorted((place.offset, place.length) for place in places if segment_name(place.file) == file.name)
        for offset, length in [*own, (len(sound), 0)]:
            for at in range(end, offset, max((offset - end) // 3, 1)):
                file.write_bytes(flipped(sound, at, 16))
                if check_folder(folder).problems:
                    padding += 1
                else:
                    dead += 1
                    assert offset - end >= 64 or offset == len(sound)
                    assert content(folder) == before
            end = offset + length
        file.write_bytes(sound)
    assert padding > 0
    assert dead > 0


def test_a_flipped_bit_of_log_or_manifest_is_noticed_or_makes_no_difference(folder: Path) -> None:
    before = content(folder)
    file = folder / "log" / "data.mdb"
    sound = file.read_bytes()
    chance = random.Random(soak.SEED)
    with _Pages(file) as pages:
        used: dict[int, str] = {}
        meta = max(pages.metas(), key=lambda meta: meta.transaction)
        walk = _Walk(pages, meta=meta, used=used)
        for _, value in walk.entries(meta.main, name="main"):
            list(walk.entries(_Database.unpack(value), name="any"))
    found = 0
    for flip in range(FLIPS):
        page = chance.choice([chance.randrange(2), chance.choice(list(used)), chance.randrange(len(sound) // 4096)])
        at = page * 4096 + chance.choice([chance.randrange(160), chance.randrange(4096), 4095 - chance.randrange(400)])
        file.write_bytes(flipped(sound, at, 1 << chance.randrange(8)))
        if check_folder(folder).problems:
            found += 1
            continue
        try:
            assert content(folder) == before, f"flip {flip} at byte {at % 4096} of page {at // 4096}"
        except WeftError:
            found += 1
    assert FLIPS // 10 < found < FLIPS


def test_a_damaged_block_fails_the_queries_that_need_it_and_no_others(folder: Path) -> None:
    description = events(folder)[0]
    name = segment_name(description.place.file)
    file = folder / "segments" / name
    with Storage.open(folder) as storage:
        size = storage.files.size(name)
        place = description.place
        section = storage.files.map(name, size=size)[place.offset : place.offset + place.length]
        entry = SegmentReader.open(section, name=name).directory(3)[0]
        at = description.place.offset + int(entry["offset"]) + 5
    sound = file.read_bytes()
    file.write_bytes(flipped(sound, at, 4))
    report = check_folder(folder)
    assert f'{name} at {place.offset}: block 0 of column "v" is damaged' in texts(report)
    assert 'table "events"' in report.problems[0].affects
    assert "all other rows can be read" in report.problems[0].affects
    with weftdb.open(folder, maintenance=False) as database:
        for query in ("SELECT sum(v) FROM events", "SELECT * FROM events"):
            with pytest.raises(Corrupt, match=name):
                database.execute(query).rows()
        assert database.execute("SELECT count(*), count(note), max(k) FROM events").rows()[0][0] == 381
        assert database.execute("SELECT count(*) FROM notes").scalar() == 19
        assert database.execute("SELECT sum(b) FROM lines").scalar() == 1224
        database.table("events").put({"k": 1, "t": "2027-01-01", "v": 1.0, "note": "written all the same"})
        assert check_engine(database.engine).problems


# What does not fit.


def tampered(path: Path, change_of: Callable[[Description], Description]) -> str:
    change(path, change_of(events(path)[0]))
    return texts(check_folder(path))


def test_rows_in_the_wrong_cell_are_told(folder: Path) -> None:
    assert "belong to shard" in tampered(folder, lambda item: replace(item, slice=item.slice + 40))


def test_rows_of_the_wrong_shard_are_told(folder: Path) -> None:
    assert "belong to shard" in tampered(folder, lambda item: replace(item, shard=1 - item.shard))


def test_ranges_that_do_not_hold_are_told(folder: Path) -> None:
    assert "event time beyond" in tampered(folder, lambda item: replace(item, time_high=item.time_low))
    assert "did not begin in" in tampered(folder, lambda item: replace(item, version_high=item.version_low))


def test_a_count_that_does_not_hold_is_told(folder: Path) -> None:
    assert "the manifest says" in tampered(folder, lambda item: replace(item, rows_count=item.rows_count + 1))


def test_a_key_that_lives_twice_is_told(folder: Path) -> None:
    change(folder, replace(events(folder)[0], id=9_999))
    assert "have older versions in" in texts(check_folder(folder))


def test_ends_that_are_lost_are_told(folder: Path) -> None:
    with_overlay = [item for item in events(folder) if item.overlay is not None]
    change(folder, replace(with_overlay[0], overlay=None))
    assert "did not end before it began" in texts(check_folder(folder))


def test_segments_of_no_table_are_told(folder: Path) -> None:
    assert "a table 4711 that does not exist" in tampered(folder, lambda item: replace(item, table=4711))


def test_a_manifest_that_lacks_a_segment_is_told(folder: Path) -> None:
    change(folder, delete=(events(folder)[0].id,))
    assert "and the checkpoint counts" in texts(check_folder(folder))


KEYS = ("id INT PRIMARY KEY,", "id INT,", "id INT, at DATE DEFAULT '2026-01-05', PRIMARY KEY (id, at),")


@pytest.mark.parametrize("key", KEYS)
def test_entries_that_are_not_those_of_the_rows_are_told(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries_of = indexes.entries_of

    def no_entries(table: Table, index: Index, rows: pa.RecordBatch) -> pa.RecordBatch:
        return entries_of(table, index, rows).slice(0, 0)

    def told(name: str, *broken: str) -> list[str]:
        """What a check says where statements made no entries, and left those that were there."""
        path = tmp_path / name
        with weftdb.open(path, maintenance=False, durable=False) as database:
            options = "WITH (time = 'at', every = '1 day', shards = 2)" if "at DATE" in key else ""
            database.execute(f"CREATE TABLE t ({key} a TEXT, n INT) {options}")
            database.execute("CREATE UNIQUE INDEX t_low ON t (lower(a)); CREATE INDEX t_n ON t (n) WHERE n > 0")
            database.execute("INSERT INTO t (id, a, n) SELECT g, 'A' || g, g % 7 FROM generate_series(1, 900) AS g")
            database.engine.flush()
            database.execute("DELETE FROM t WHERE id % 10 = 3; UPDATE t SET n = n + 1, a = a || 'x' WHERE id % 10 = 4")
            with monkeypatch.context() as patch:
                patch.setattr(indexes, "entries_of", no_entries)
                for statement in broken:
                    database.execute(statement)
            database.engine.flush()
            beside = texts(check_engine(database.engine))
        assert texts(check_folder(path)) == beside
        return beside.split("\n")

    assert told("sound") == [""]
    low, n = told("missing", "INSERT INTO t (id, a, n) VALUES (1000, 'Q', 5)", "INSERT INTO t (id) VALUES (1001)")
    assert 'index "t_low" of table "t": 1 rows have no entry, or another one, one with (lower(a), ' in low
    assert ") = (q, " in low
    assert 'index "t_n" of table "t": 1 rows have no entry, or another one, one with (n, ' in n
    low, n = told("stray", "DELETE FROM t WHERE id IN (6, 7, 8)")  # that of 7 is in no partial index
    assert 'index "t_low" of table "t": 3 entries are of no row, one with (lower(a), ' in low
    assert 'index "t_n" of table "t": 2 entries are of no row, one with (n, ' in n
    assert "drop it and make it again; all rows can be read" in n
    lines = told("other", "UPDATE t SET a = 'zz' WHERE id = 5")
    assert ["rows have no entry" in line for line in lines if '"t_low"' in line] == [True, False]
    assert any('"t_n"' in line for line in lines) == (key == KEYS[1]), "a row that stays has the same entry"


def test_files_that_are_missing_or_cut_are_told(folder: Path) -> None:
    place = events(folder)[0].place
    name = segment_name(place.file)
    file = folder / "segments" / name
    sound = file.read_bytes()
    file.write_bytes(sound[: place.offset + place.length - 64])
    assert any(name in problem.where for problem in check_folder(folder).problems)
    file.unlink()
    told = texts(check_folder(folder))
    assert f"{name} at" in told
    assert "the file is missing" in told


def leave_over(path: Path, *names: str) -> None:
    for name in names:
        (path / "segments" / name).write_bytes(b"left by a crash")


def test_files_that_a_crash_left_over_are_noted_and_no_problem(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_over(folder, segment_name(777), segment_name(778), "notes.txt")
    report = check_folder(folder)
    assert report.problems == []
    assert report.files_count == len(list((folder / "segments").iterdir()))
    notes = {note.where: note.what for note in report.notes}
    assert "left over by a crash" in notes[f"{folder}/segments/{segment_name(777)} (and 1 more files)"]
    assert "none of ours" in notes[f"{folder}/segments/notes.txt"]
    code, out, _ = weft(capsys, "check", folder)
    assert code == 0
    assert "removed when the database is opened" in out
    assert "no problems" in out
    with weftdb.open(folder, maintenance=False):
        assert {path.name for path in (folder / "segments").iterdir()}.isdisjoint(
            {segment_name(777), segment_name(778)}
        )
    assert [note.where for note in check_folder(folder).notes] == [f"{folder}/segments/notes.txt"]


def test_a_killed_flush_leaves_a_note_and_no_problem(tmp_path: Path, zygote: Zygote) -> None:
    """Killed between the file and the manifest that would name it."""
    script = (
        "import os, sys, weftdb\n"
        "database = weftdb.open(sys.argv[1], maintenance=False)\n"
        "database.execute('CREATE TABLE t (id BIGINT PRIMARY KEY)')\n"
        "database.table('t').put([{'id': 1}])\n"
        "database.engine.storage.manifest.commit = lambda **_: os.kill(os.getpid(), 9)\n"
        "database.engine.flush()\n"
    )
    with zygote.popen(["-c", script, str(tmp_path / "data")]) as process:
        said = process.stdout.read()
    assert process.returncode == -9, said
    report = check_folder(tmp_path / "data")
    assert report.problems == []
    assert [note.what for note in report.notes if "left over by a crash" in note.what]


def test_beside_an_open_database_what_is_left_over_is_noted_and_its_own_files_are_not(folder: Path) -> None:
    leave_over(folder, segment_name(777))
    with Engine.open(folder, read_only=True, options=Options(maintenance=False)) as engine:
        notes = [f"{note.where}: {note.what}" for note in check_engine(engine).notes]
        assert any(segment_name(777) in note and "left over by a crash" in note for note in notes)
        assert any("LMDB's pages were not looked at" in note for note in notes)
    with weftdb.open(folder, maintenance=False, write_set_bytes=100_000) as database:
        files = database.engine.files
        assert check_engine(database.engine).problems == []
        old = segment_name(min(set(range(1, 100)) - set(files.used())))
        leave_over(folder, old, "notes.txt")
        assert files.strays() == [old, "notes.txt"]
        with database.transaction() as transaction:
            ids = pa.array(range(50_000), pa.int64())
            transaction.table("lines").insert(pa.table({"a": ids.cast(pa.utf8()), "b": ids.cast(pa.int32())}))
            number = database.engine.storage.new_number()
            with files.create(number) as out:  # by somebody whose work is under way
                out.write(b"half")
                assert len(list((folder / "segments").iterdir())) > len(files.used()) + 2
                assert files.strays() == [old, "notes.txt"]
            assert files.strays() == [old, "notes.txt"]
            transaction.rollback()
        files.discard(number)
        put(database, 500, 600)
        database.engine.flush()
        database.engine.compact()
        assert files.strays() == [old, "notes.txt"]
        report = check_engine(database.engine)
        assert report.problems == []
        assert report.files_count >= len(files.used()) + 2


def test_a_manifest_that_is_lost_is_told(folder: Path) -> None:
    (folder / "log" / "data.mdb").unlink()
    assert "data.mdb: the file is missing" in texts(check_folder(folder))


def rewritten(path: Path, order: Callable[[int], np.ndarray], **indexes: Any) -> str:
    """What is told of a segment that was written again with its rows in another order, or with other index arrays."""
    description = events(path)[0]
    with Storage.open(path) as storage:
        name = segment_name(description.place.file)
        place = description.place
        section = storage.files.map(name, size=storage.files.size(name))[place.offset : place.offset + place.length]
        reader = SegmentReader.open(section, name=name)
        number = storage.new_number()
        arrays = {"sample_words": reader.sample_words, "pk_filter": reader.pk_filter, "key_filter": reader.key_filter}
        with storage.files.create(segment_name(number)) as out:
            writer = SegmentWriter(out, rows_count=reader.rows_count)
            rows = order(reader.rows_count)
            for id in reader.column_ids:
                writer.column(id, TYPES[id], [reader.take(id, TYPES[id], rows)])
            writer.index(**{**arrays, **indexes})
            made = writer.finish()
        place = Section(file=number, offset=made.offset, length=made.length, checksum=made.checksum)
        storage.manifest.commit(put={description.id: replace(description, place=place).encode()})
    return texts(check_folder(path))


def test_rows_out_of_order_are_told(folder: Path) -> None:
    told = rewritten(folder, lambda count: np.arange(count)[::-1].copy())
    assert "stands before a row with a lower key" in told
    assert "the sample key of block 0 is not that of its first row" in told


def test_versions_of_a_row_that_overlap_are_told(folder: Path) -> None:
    told = rewritten(folder, lambda count: np.sort(np.append(np.arange(count - 1), 3)))
    assert "has an older version that did not end before it began" in told


def test_keys_that_a_filter_does_not_know_are_told(folder: Path) -> None:
    assert "not in the filter of primary keys" in rewritten(folder, np.arange, pk_filter=np.zeros(8, np.uint64))
    assert "not in the filter of keys" in rewritten(folder, np.arange, key_filter=np.zeros(8, np.uint64))


# The command.


def weft(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    from weftdb.server.service import serve

    with serve(Engine.open(folder, options=Options(maintenance=False)), port=0) as server:
        yield server.address


def test_the_command_checks_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = weft(capsys, "check", folder)
    assert code == 0
    assert "no problems" in out
    assert "write amplification" in out
    file = folder / "segments" / segment_name(events(folder)[0].place.file)
    file.write_bytes(flipped(file.read_bytes(), 100, 1))
    code, out, _ = weft(capsys, "check", folder)
    assert code == 1
    assert file.name in out
    assert "all other rows can be read" in out


def test_the_command_checks_a_server(served: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = weft(capsys, "check", served)
    assert code == 0
    assert "no problems" in out
    assert "LMDB's pages were not looked at" in out
    assert "events" in out
    code, _, err = weft(capsys, "check", folder)
    assert code == 1
    assert "in use by process" in err
    file = folder / "segments" / segment_name(events_of_server(folder)[0])
    file.write_bytes(flipped(file.read_bytes(), 100, 1))
    code, out, _ = weft(capsys, "check", served)
    assert code == 1
    assert file.name in out


def events_of_server(folder: Path) -> list[int]:
    return [int(path.stem) for path in sorted((folder / "segments").iterdir())]
