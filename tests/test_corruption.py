"""A flipped bit in any file of a database: who needs it is told, with the file's name, and nobody else is disturbed."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
import weftdb
from crash_course import WRITE_SET_BYTES, Course, Model, Promise, read
from server_child import Zygote
from simulated_disk import SimulatedDisk
from weftdb.base.errors import Corrupt
from weftdb.engine.changes import Change
from weftdb.engine.check import check_engine
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.segment import Section, Segment
from weftdb.storage.storage import segment_name

OPTIONS = Options(maintenance=False, history_seconds=0, memory_limit=1 << 30, write_set_bytes=WRITE_SET_BYTES)
FLIPS = soak.many(20, 35)


@dataclass
class Place:
    """A section of a file, and the table that needs it."""

    table: str
    section: Section
    what: str


def database(seed: int) -> tuple[SimulatedDisk, Model, list[Place]]:
    disk, course = SimulatedDisk(), Course(seed)
    with Engine.open(storage=disk.storage(), options=OPTIONS) as engine:
        course.start(engine)
        for _ in range(60):
            course.step(engine)
        if "notes" not in course.promise.committed.tables:
            course.create_or_drop(engine)
        course.transaction(engine)
        course.put(engine)
        course.put_kept(engine)
        engine.flush()
        course.delete(engine)
        course.put(engine)
        engine.flush()
        course.end()
        places = list(places_of(engine))
    return disk.restarted(), course.promise.committed, places


def places_of(engine: Engine) -> Iterator[Place]:
    for store in engine._state.stores.values():
        for cell in store.cells:
            for part in cell.parts:
                if isinstance(part, Segment):
                    description = part.description
                    yield Place(store.table.name, description.place, "segment")
                    if description.overlay is not None:
                        yield Place(store.table.name, description.overlay, "overlay")


@pytest.mark.timeout(120 * soak.FACTOR)
@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_fails_the_queries_that_need_it_and_only_those(seed: int) -> None:
    chance = random.Random(seed * 1_000 + soak.SEED)
    disk, model, places = database(seed)
    assert {place.what for place in places} == {"segment", "overlay"}
    found = {"read": 0, "check": 0}
    for _ in range(FLIPS):
        place = chance.choice(places)
        at = place.section.offset + chance.randrange(place.section.length)
        name = segment_name(place.section.file)
        damaged = disk.restarted()
        damaged.flip(name, at)
        with Engine.open(storage=damaged.storage(), options=OPTIONS) as engine:
            noticed = False  # by who reads
            for table in model.tables:
                problem = table_problem(engine, model, table)
                if problem is not None:
                    assert table == place.table, f"{table} does not need {place}"
                    assert name in problem
                    noticed = True
            if not noticed:
                found["check"] += 1
            else:
                found["read"] += 1
            problems = check_engine(engine).problems
            assert any(name in problem.where + problem.what for problem in problems), (
                f"byte {at} of {place}: {problems}"
            )
    assert found["read"] > FLIPS // 3
    assert found["check"] > 0


def table_problem(engine: Engine, model: Model, table: str) -> str | None:
    """What reading all of a table says; None when it is right."""
    try:
        with engine.snapshot() as snapshot:
            found = read(snapshot, [table])
    except Corrupt as error:
        return error.message
    assert found.tables[table] == model.tables[table], "wrong rows, and no error"
    return None


def test_a_missing_and_a_cut_file_fail_the_queries_that_need_them() -> None:
    disk, model, places = database(1)
    for file in sorted({place.section.file for place in places}):
        tables = {place.table for place in places if place.section.file == file}
        for kind in ("missing", "cut"):
            damaged = disk.restarted()
            name = segment_name(file)
            if kind == "missing":
                del damaged.names[name]
            else:
                damaged.names[name].synced = damaged.names[name].synced[: len(damaged.names[name].synced) // 2]
            with Engine.open(storage=damaged.storage(), options=OPTIONS) as engine:
                for table in model.tables:
                    problem = table_problem(engine, model, table)
                    if problem is not None:
                        assert table in tables
                        assert name in problem


def test_what_is_written_beside_damage_is_sound() -> None:
    """Commits, flushes and merges of other tables go on; those of the damaged one fail with its file's name."""
    disk, model, places = database(2)
    place = max((place for place in places if place.table == "events"), key=lambda place: place.section.length)
    for at in range(place.section.offset, place.section.offset + place.section.length, 64):
        disk.flip(segment_name(place.section.file), at)
    with Engine.open(storage=disk.storage(), options=OPTIONS) as engine:
        course = Course(9)
        course.promise = Promise(committed=model, version=engine.version)
        course.put_kept(engine)
        engine.flush()
        with contextlib.suppress(Corrupt):
            engine.compact()
        course.put_kept(engine)
        engine.flush()
        model = course.promise.committed
        assert table_problem(engine, model, "kept") is None
        problem = table_problem(engine, model, "events")
        assert problem is not None
        assert segment_name(place.section.file) in problem
    with Engine.open(storage=disk.restarted().storage(), options=OPTIONS) as engine:
        assert table_problem(engine, model, "kept") is None
        assert table_problem(engine, model, "notes") is None
        assert table_problem(engine, model, "events") is not None


def test_rows_that_are_replaced_in_a_damaged_segment_stop_nobody() -> None:
    """What was to end there is not known: so nobody reads the segment any more, whatever it would be for."""
    disk, model, places = database(2)
    sections = [place.section for place in places if (place.table, place.what) == ("events", "segment")]
    for section in sections:
        for at in range(section.offset, section.offset + section.length, 8):
            disk.flip(segment_name(section.file), at)
    course = Course(9)
    course.promise = Promise(committed=model)
    engine = Engine.open(storage=disk.storage(), options=OPTIONS)
    with engine.snapshot() as snapshot:
        schema = snapshot.catalog.table("events").arrow_schema
    rows = [dict.fromkeys(schema.names) | row for row in model.rows("events").values()]
    for restart in range(3):
        engine.write("events", Change.PUT, pa.RecordBatch.from_pylist(rows, schema=schema))
        course.put_kept(engine)
        if restart != 1:
            engine.flush()
        engine.close()
        disk = disk.restarted()
        engine = Engine.open(storage=disk.storage(), options=OPTIONS)
        for columns in (None, [], [3]):
            with engine.snapshot() as snapshot, pytest.raises(Corrupt, match=r"\.seg .*cannot be read any more"):
                list(snapshot.scan(snapshot.catalog.table("events"), columns=columns).batches())
        assert table_problem(engine, course.promise.committed, "kept") is None
        with engine.snapshot() as snapshot:
            table = snapshot.catalog.table("events")
            for row in rows[:3]:
                assert snapshot.get(table, (row["k"], row["t"])) == row, "the newest version stands before the damage"
    transaction = engine.begin()
    transaction.truncate(transaction.catalog.table("events"))
    transaction.commit()
    engine.flush()
    engine.maintenance.release()
    assert table_problem(engine, course.promise.committed.with_rows("events", {}), "events") is None
    engine.close()


def segments_of(engine: Engine, table: str) -> list[Segment]:
    return engine._state.stores[engine._state.catalog.table(table).id].segments


def file_of(database: Any, table: str) -> Path:
    (segment,) = segments_of(database.engine, table)
    return Path(database.engine.folder.segments_path) / segment_name(segment.description.place.file)


def test_files_are_emptied_beside_one_that_is_missing_and_one_that_was_cut(tmp_path: Path) -> None:
    with weftdb.open(tmp_path, maintenance=False, history_seconds=0) as database:
        for n in range(4):
            for name, count in ((f"large{n}", 20_000), (f"small{n}", 200)):
                database.execute(f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, v DOUBLE PRECISION)")
                database.table(name).put([(i, i / 7) for i in range(count)])
            database.engine.flush()
        for n in range(4):
            database.execute(f"DROP TABLE large{n}")
        database.engine.flush()
        database.engine.maintenance.release()
        files = [file_of(database, f"small{n}") for n in range(4)]
        assert len(set(files)) == 4
    files[1].unlink()
    os.truncate(files[2], 64)
    with weftdb.open(tmp_path, maintenance=False, history_seconds=0) as database:
        while database.engine.maintenance.tidy():
            pass
        assert [path.exists() for path in files] == [False, False, True, False]
        for n in range(4):
            query = f"SELECT count(*), sum(v) FROM small{n}"
            if n in (1, 2):
                with pytest.raises(Corrupt, match=files[n].name):
                    database.execute(query).rows()
            else:
                assert database.execute(query).rows() == [(200, pytest.approx(sum(i / 7 for i in range(200))))]


CUT = """
import os, sys, weftdb
folder, file, moment = sys.argv[1:]
if moment == "before it was opened":
    os.truncate(file, 8_192)
database = weftdb.open(folder, maintenance=False)
print(database.execute("SELECT count(v) FROM small WHERE v >= 0").scalar())
os.truncate(file, 8_192)
try:
    database.execute("SELECT sum(v) FROM large").rows()
except weftdb.Corrupt as error:
    print(error.message)
print(database.execute("SELECT count(v) FROM small WHERE v >= 0").scalar())
"""


@pytest.mark.parametrize("moment", ["before it was opened", "when it was mapped"])
def test_a_file_that_is_cut_fails_the_queries_that_come_to_it_and_does_not_kill(
    tmp_path: Path, moment: str, zygote: Zygote
) -> None:
    """In a process of its own: touching a mapped page beyond the end of a file kills it."""
    with weftdb.open(tmp_path, maintenance=False, history_seconds=0) as database:
        for name, count in (("small", 10), ("large", 50_000)):
            database.execute(f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, v DOUBLE PRECISION)")
            database.table(name).put([(i, i / 7) for i in range(count)])
        database.engine.flush()
        file, place = file_of(database, "large"), segments_of(database.engine, "large")[0].description.place
        assert file == file_of(database, "small")
        assert place.offset < 8_192
    with zygote.popen(["-c", CUT, str(tmp_path), str(file), moment]) as process:
        said = process.stdout.read()
    assert process.returncode == 0, said
    first, message, again = said.splitlines()
    assert (first, again) == ("10", "10")
    assert file.name in message
    assert "the file has 8,192 bytes" in message


def damage(file: Path, section: Section) -> None:
    """A flipped bit in each 64 bytes of a section."""
    data = bytearray(file.read_bytes())
    for at in range(section.offset, section.offset + section.length, 64):
        data[at] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("kind", ["flipped", "dead", "missing"])
def test_other_cells_are_merged_and_flushed_beside_a_damaged_one(tmp_path: Path, kind: str) -> None:
    """``dead``: half of the damaged segment has ended, so that it is looked at before it is chosen."""
    with weftdb.open(tmp_path, maintenance=False, history_seconds=0) as database:
        for name in ("bad", "good"):
            database.execute(f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, v BIGINT)")
        for n in range(4 if kind != "dead" else 1):
            database.table("bad").put([(n * 100 + i, n) for i in range(1_000)])
            database.engine.flush()
        if kind == "dead":
            database.execute("DELETE FROM bad WHERE id < 500")
            database.engine.flush()
        for segment in segments_of(database.engine, "bad"):
            file, place = database.engine.folder.segments_path, segment.description.place
            if kind == "missing":
                (file / segment_name(place.file)).unlink(missing_ok=True)
            else:
                damage(file / segment_name(place.file), place)
    with weftdb.open(tmp_path, maintenance=False, history_seconds=0) as database:
        for n in range(5):
            database.table("good").put([(n * 100 + i, n) for i in range(1_000)])
            assert database.engine.flush()
        failures = merges = 0
        for _ in range(20):
            try:
                merges += database.engine.maintenance.compact_once()
            except Corrupt:
                failures += 1
        assert (merges, failures) == (1, 1 if kind == "flipped" else 0)
        assert len(segments_of(database.engine, "good")) == 1
        with pytest.raises(Corrupt, match=r"\.seg"):
            database.execute("SELECT sum(v) FROM bad").rows()
        assert database.execute("SELECT count(*) FROM good").scalar() == 1_400
        database.table("good").put([(7, 7)])
        database.table("bad").put([(7, 7)])
        assert database.engine.flush()


def test_compacting_everything_goes_on_beside_damage_and_tells_it_at_last(tmp_path: Path) -> None:
    with weftdb.open(tmp_path, maintenance=False, history_seconds=0) as database:
        database.execute(
            "CREATE TABLE t (k BIGINT, at TIMESTAMP, PRIMARY KEY (k, at)) "
            "WITH (key = 'k', time = 'at', every = '1 day')"
        )
        for n in range(3):
            database.table("t").put([{"k": n, "at": f"2026-01-0{day}"} for day in range(1, 8)])
            database.engine.flush()
        first = segments_of(database.engine, "t")[0]
        damage(
            database.engine.folder.segments_path / segment_name(first.description.place.file), first.description.place
        )
    with weftdb.open(tmp_path, maintenance=False, history_seconds=0) as database:
        with pytest.raises(Corrupt, match=segment_name(first.description.place.file)):
            database.engine.compact()
        assert len(segments_of(database.engine, "t")) == 6 + 3
