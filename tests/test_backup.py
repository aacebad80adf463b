"""Backup and restore: a version comes back as it was, with the archived log any later one; damage is never restored."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
import weftdb
from crash_course import WRITE_SET_BYTES, Course, Model, read
from weftdb.base.errors import Corrupt, Invalid, NotFound, Unavailable
from weftdb.engine.backup import Copied, EngineSource, back_up
from weftdb.engine.check import check_folder
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.restore import restore_backup
from weftdb.server.main import main
from weftdb.storage.archive import Archive
from weftdb.storage.backup_folder import BackupFolder
from weftdb.storage.files import Buffer

TABLES = """
CREATE TABLE events (k BIGINT, t TIMESTAMP, v DOUBLE PRECISION, PRIMARY KEY (k, t))
    WITH (key = 'k', time = 't', every = '1 day', shards = 2);
CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT);
CREATE TABLE lines (a TEXT, b INTEGER);
"""


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Any]:
    """A database that makes checkpoints when it is told to."""
    with weftdb.open(tmp_path / "data", maintenance=False, durable=False) as database:
        database.execute(TABLES)
        yield database


def write(database: Any, seed: int) -> None:
    """Some of everything, in several commits."""
    chance = random.Random(seed)
    rows = [{"k": chance.randrange(9), "t": datetime(2026, 1, 5 + chance.randrange(3)), "v": seed} for _ in range(20)]
    database.table("events").put(rows)
    database.table("notes").put({"id": f"n{seed % 7}", "text": f"version {seed}"})
    database.table("lines").insert([{"a": f"line {seed}", "b": index} for index in range(3)])
    if seed % 3 == 0:
        database.execute("DELETE FROM events WHERE k = $1", [chance.randrange(9)])


def content(database: Any) -> dict[str, list[Any]]:
    return {
        name: sorted(database.execute(f"SELECT * FROM {name}").rows(), key=repr)
        for name in ("events", "notes", "lines")
    }


def backed_up(database: Any, folder: Path, *, links: bool = False) -> Copied:
    with (
        BackupFolder.create(folder) as target,
        EngineSource(database.engine, server="test", links=links) as source,
    ):
        return back_up(source, target)


def restored(folder: Path, target: Path, **options: Any) -> dict[str, list[Any]]:
    with BackupFolder.open(folder) as source:
        made = restore_backup(source, target, **options)
    report = check_folder(target)
    assert report.problems == []
    with weftdb.open(target, maintenance=False) as database:
        assert database.version == made.version
        return content(database)


# Backups.


def test_a_backup_restores_its_version_whatever_came_after(data: Any, tmp_path: Path) -> None:
    for seed in range(6):
        write(data, seed)
    expected, version = content(data), data.version
    done = backed_up(data, tmp_path / "backup")
    assert done.backup.version == version
    write(data, 7)
    data.execute("DROP TABLE notes")
    assert restored(tmp_path / "backup", tmp_path / "new") == expected


def test_files_stay_while_they_are_copied_and_are_given_back_afterwards(data: Any, tmp_path: Path) -> None:
    for seed in range(4):
        write(data, seed)
        data.engine.flush()
    expected = content(data)
    with BackupFolder.create(tmp_path / "backup") as folder:
        with EngineSource(data.engine, server="test") as source:
            before = {number for number, _ in source.checkpoint.files}
            write(data, 9)
            data.engine.flush()
            data.engine.compact()
            assert before <= {int(path.stem) for path in (tmp_path / "data" / "segments").iterdir()}
            back_up(source, folder)
        assert not before <= {int(path.stem) for path in (tmp_path / "data" / "segments").iterdir()}
    assert restored(tmp_path / "backup", tmp_path / "new") == expected


def test_backups_beside_writers_flushes_and_merges_are_each_one_version(data: Any, tmp_path: Path) -> None:
    """Every row of a commit has the commit's number; a backup has all rows of the commits up to its own."""
    data.execute("CREATE TABLE numbers (n BIGINT, i BIGINT, PRIMARY KEY (n, i))")
    data.execute("CREATE TABLE newest (i BIGINT PRIMARY KEY, n BIGINT)")
    ended = threading.Event()

    def run() -> None:
        n = 0
        while not ended.is_set():
            n += 1
            with data.transaction() as transaction:
                transaction.table("numbers").put([{"n": n, "i": i} for i in range(50)])
                transaction.table("newest").put([{"i": i, "n": n} for i in range(5)])
            if n % 7 == 0:
                data.engine.flush()
                data.engine.maintenance.compact_once()

    writer = threading.Thread(target=run)
    writer.start()
    try:
        for _ in range(5):
            backed_up(data, tmp_path / "backup")
    finally:
        ended.set()
        writer.join()
    with BackupFolder.open(tmp_path / "backup") as folder:
        versions = [backup.version for backup in folder.backups()[0]]
    for version in versions:
        with BackupFolder.open(tmp_path / "backup") as folder:
            restore_backup(folder, tmp_path / f"new{version}", version=version)
        with weftdb.open(tmp_path / f"new{version}", maintenance=False) as database:
            newest = database.execute("SELECT DISTINCT n FROM newest").rows()
            count, most = database.execute("SELECT count(*), coalesce(max(n), 0) FROM numbers").rows()[0]
            assert newest == ([(most,)] if most else [])
            assert count == 50 * most


def test_what_is_there_already_is_not_copied_again(data: Any, tmp_path: Path) -> None:
    write(data, 1)
    first = backed_up(data, tmp_path / "backup")
    assert first.kept_files == 0
    write(data, 2)
    expected = content(data)
    second = backed_up(data, tmp_path / "backup")
    assert (second.kept_files, second.files) == (first.files, 1)
    third = backed_up(data, tmp_path / "backup")
    assert third.files == 0
    with BackupFolder.open(tmp_path / "backup") as folder:
        backups, damaged = folder.backups()
        assert [backup.version for backup in backups] == [first.backup.version, second.backup.version]
        assert not damaged
        assert folder.leftovers() == {}
    assert restored(tmp_path / "backup", tmp_path / "new") == expected
    older = restored(tmp_path / "backup", tmp_path / "older", version=first.backup.version)
    assert len(older["lines"]) == 3


def test_backups_that_are_forgotten_give_their_files_back(data: Any, tmp_path: Path) -> None:
    write(data, 1)
    expected = content(data)
    first = backed_up(data, tmp_path / "backup")
    write(data, 2)
    data.engine.flush()
    data.engine.compact()
    second = backed_up(data, tmp_path / "backup")
    assert second.backup.version > first.backup.version
    with BackupFolder.create(tmp_path / "backup") as folder:
        folder.remove(second.backup)
        assert folder.tidy() > 0
        assert [list(folder.problems(backup)) for backup in folder.backups()[0]] == [[]]
    assert restored(tmp_path / "backup", tmp_path / "new") == expected


def test_a_backup_that_was_cut_short_is_no_backup_and_is_gone_on_from(data: Any, tmp_path: Path) -> None:
    for seed in range(4):
        write(data, seed)
        data.engine.flush()
    with BackupFolder.create(tmp_path / "backup") as folder, EngineSource(data.engine, server="test") as source:
        with pytest.raises(Unavailable, match="the connection broke"):
            back_up(_Breaking(source, after=2), folder)
        assert folder.backups() == ([], [])
        assert len(folder.leftovers()) == 2
    done = backed_up(data, tmp_path / "backup")
    assert done.kept_files == 2
    assert restored(tmp_path / "backup", tmp_path / "new") == content(data)


class _Breaking:
    """A source whose connection breaks in the middle of a file."""

    def __init__(self, source: EngineSource, *, after: int) -> None:
        self.checkpoint = source.checkpoint
        self._source = source
        self._left = after

    def fetch(self, number: int, write: Callable[[Buffer], object]) -> str:
        if not self._left:
            write(b"a beginning")
            raise Unavailable("the connection broke")
        self._left -= 1
        return self._source.fetch(number, write)

    def link(self, number: int, target: Path) -> str | None:
        return None


def test_links_are_verified_like_copies(data: Any, tmp_path: Path) -> None:
    write(data, 1)
    backed_up(data, tmp_path / "backup", links=True)
    own = {path.stat().st_ino for path in (tmp_path / "data" / "segments").iterdir()}
    assert {path.stat().st_ino for path in (tmp_path / "backup" / "segments").iterdir()} <= own
    expected = content(data)
    data.engine.flush()
    write(data, 2)
    data.engine.flush()
    data.engine.compact()
    assert restored(tmp_path / "backup", tmp_path / "new") == expected


def test_a_database_that_is_damaged_has_no_new_backup(data: Any, tmp_path: Path) -> None:
    write(data, 1)
    data.engine.flush()
    file = next((tmp_path / "data" / "segments").iterdir())
    sound = file.read_bytes()
    file.write_bytes(sound[:70] + bytes([sound[70] ^ 1]) + sound[71:])
    with pytest.raises(Corrupt, match=file.name):
        backed_up(data, tmp_path / "backup")
    with BackupFolder.open(tmp_path / "backup") as folder:
        assert folder.backups() == ([], [])


def test_a_flipped_bit_of_a_backup_is_noticed_and_never_restored(data: Any, tmp_path: Path) -> None:
    write(data, 1)
    expected = content(data)
    backed_up(data, tmp_path / "backup")
    chance = random.Random(soak.SEED)
    files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file() and path.name != "lock"]
    for flip in range(40 * soak.FACTOR):
        file = chance.choice(files)
        sound = file.read_bytes()
        at = chance.randrange(len(sound))
        file.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << chance.randrange(8)]) + sound[at + 1 :])
        target = tmp_path / f"new{flip}"
        try:
            made = restored(tmp_path / "backup", target)
        except (Corrupt, NotFound, Unavailable):
            assert not target.exists()
        else:
            assert file.name in ("weftdb-backup",) or file.suffix == ".json", (file, at)  # white space
            assert made == expected
        file.write_bytes(sound)


def test_other_folders_are_left_alone(data: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(Invalid, match="holds no backups of WeftDB"):
        backed_up(data, tmp_path / "other")
    backed_up(data, tmp_path / "backup")
    with BackupFolder.open(tmp_path / "backup") as folder:
        for target in (tmp_path / "other", tmp_path / "data"):
            with pytest.raises(Invalid, match="exists and is not empty"):
                restore_backup(folder, target)
    with pytest.raises(NotFound, match="holds no backups"):
        BackupFolder.open(tmp_path / "data")
    with (
        BackupFolder.create(tmp_path / "backup"),
        pytest.raises(Unavailable, match="under way in another process"),
    ):
        BackupFolder.create(tmp_path / "backup")
    with weftdb.open() as memory, pytest.raises(Invalid, match="in memory cannot be backed up") as caught:
        memory.backup(tmp_path / "nothing")
    assert "weftdb.open(path)" in (caught.value.hint or "")
    assert not (tmp_path / "nothing").exists()


def test_a_restored_database_goes_on_and_shares_the_folder(data: Any, tmp_path: Path) -> None:
    """Both histories give the same numbers to other files, and the same versions to other commits."""
    write(data, 1)
    backed_up(data, tmp_path / "backup")
    restored(tmp_path / "backup", tmp_path / "new")
    write(data, 2)
    expected = content(data)
    backed_up(data, tmp_path / "backup")
    with weftdb.open(tmp_path / "new", maintenance=False) as database:
        write(database, 3)
        other = content(database)
        backed_up(database, tmp_path / "backup")
    with weftdb.open(tmp_path / "new", maintenance=False) as database:
        assert content(database) == other
        database.engine.compact()
    with BackupFolder.open(tmp_path / "backup") as folder:
        backups, _ = folder.backups()
        assert len(backups) == 3
        assert [list(folder.problems(backup)) for backup in backups] == [[], [], []]
        found = [restored_one(folder, backup, tmp_path / f"one{place}") for place, backup in enumerate(backups[1:])]
    assert sorted(map(repr, found)) == sorted(map(repr, (expected, other)))


def restored_one(folder: BackupFolder, backup: Any, target: Path) -> dict[str, list[Any]]:
    """One of several backups: restoring takes the newest, so the others are put aside."""
    aside = [other for other in folder.backups()[0] if other.name != backup.name]
    records = folder.path / "backups"
    for other in aside:
        (records / f"{other.name}.json").rename(records / f"{other.name}.aside")
    try:
        return restored(folder.path, target)
    finally:
        for other in aside:
            (records / f"{other.name}.aside").rename(records / f"{other.name}.json")


def test_a_restore_that_was_cut_short_is_made_anew(data: Any, tmp_path: Path) -> None:
    write(data, 1)
    backed_up(data, tmp_path / "backup")
    with BackupFolder.open(tmp_path / "backup") as folder:

        def stop(what: str, done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            restore_backup(folder, tmp_path / "new", progress=stop)
        assert not (tmp_path / "new").exists()
    assert restored(tmp_path / "backup", tmp_path / "new") == content(data)
    assert not (tmp_path / "new.part").exists()


def test_an_empty_database_and_one_that_is_read_only_can_be_backed_up(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data", maintenance=False) as database:
        assert backed_up(database, tmp_path / "backup").backup.version == 0
        database.execute(TABLES)
        write(database, 1)
        database.engine.flush()
        write(database, 2)
        expected = content(database)
    with (
        Engine.open(tmp_path / "data", read_only=True, options=Options(maintenance=False)) as engine,
        BackupFolder.create(tmp_path / "backup") as folder,
        EngineSource(engine, server="test") as source,
    ):
        assert len(source.checkpoint.entries) > 1
        back_up(source, folder)
    assert restored(tmp_path / "backup", tmp_path / "new") == expected
    with BackupFolder.open(tmp_path / "backup") as folder:
        assert restore_backup(folder, tmp_path / "empty", version=0).version == 0


# The archived log.


class History:
    """A database with an archive, and what it had at each version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at: dict[int, tuple[dict[str, list[Any]], int]] = {}

    def open(self, **options: Any) -> Any:
        return weftdb.open(
            self.path / "data", maintenance=False, durable=False, archive=self.path / "archive", **options
        )

    def note(self, database: Any) -> None:
        self.at[database.version] = (content(database), _now())


def _now() -> int:
    return round(datetime.now(UTC).timestamp() * 1_000_000)


def test_with_the_archived_log_a_backup_is_restored_to_any_later_version(tmp_path: Path) -> None:
    history = History(tmp_path)
    with history.open(write_set_bytes=100_000) as database:
        database.execute(TABLES)
        write(database, 0)
        first = backed_up(database, tmp_path / "backup").backup.version
        for seed in range(1, 8):
            write(database, seed)
            history.note(database)
            if seed == 4:
                with database.transaction() as transaction:  # so large that it commits by files
                    for start in range(0, 60_000, 20_000):
                        ids = [f"large {index}" for index in range(start, start + 20_000)]
                        transaction.table("notes").put(pa.table({"id": ids, "text": ids}))
                history.note(database)
                database.execute("DELETE FROM notes WHERE id LIKE 'large%'")
                history.note(database)
            if seed % 2 == 0:
                database.engine.flush()
                database.engine.compact()
            if seed == 5:
                backed_up(database, tmp_path / "later")
        database.engine.flush()
    assert list((tmp_path / "archive").glob("*.seg"))
    archive = Archive.open(tmp_path / "archive")
    for version, (expected, wall) in history.at.items():
        target = tmp_path / f"new{version}"
        assert restored(tmp_path / "backup", target, version=version, archive=archive) == expected
        moment = datetime.fromtimestamp(wall / 1_000_000, UTC)
        by_time = restored(tmp_path / "backup", tmp_path / f"time{version}", moment=moment, archive=archive)
        assert by_time == expected
    last = max(history.at)
    assert restored(tmp_path / "backup", tmp_path / "last", archive=archive) == history.at[last][0]
    assert restored(tmp_path / "later", tmp_path / "later_last", archive=archive) == history.at[last][0]
    with BackupFolder.open(tmp_path / "backup") as folder:
        with pytest.raises(Invalid, match=f"the archive .* ends with version {last}"):
            restore_backup(folder, tmp_path / "none", version=last + 1, archive=archive)
        with pytest.raises(Invalid, match="there is no archive"):
            restore_backup(folder, tmp_path / "none", version=last)
        with pytest.raises(Invalid, match="is before the oldest backup"):
            restore_backup(folder, tmp_path / "none", version=first - 1)
        sorted((tmp_path / "archive").glob("*.log"))[1].unlink()
        with pytest.raises(NotFound, match="lacks the entries"):
            restore_backup(folder, tmp_path / "none", version=last, archive=archive)
    assert not (tmp_path / "none").exists()


def test_nothing_is_trimmed_while_the_archive_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(tmp_path)
    with history.open() as database:
        database.execute(TABLES)
        write(database, 0)
        backed_up(database, tmp_path / "backup")
        log = database.engine.storage.log

        def full(*arguments: object, **options: object) -> int:
            raise Unavailable("the disk of the archive is full")

        with monkeypatch.context() as patched:
            patched.setattr(Archive, "append", full)
            first = log.tail() + 1
            for seed in range(1, 4):
                write(database, seed)
                with pytest.raises(Unavailable, match="archive is full"):
                    database.engine.flush()
            assert next(log.read(first)).position == first
            assert backed_up(database, tmp_path / "backup").backup.version == database.version
            lag = database.execute("SELECT value FROM weft_metrics WHERE name = 'weft_archive_lag_commits'").scalar()
            assert lag == database.version - first + 1
        assert database.engine.maintenance.trim()
        with pytest.raises(NotFound):
            next(log.read(first))
        assert not database.engine.maintenance.trim()
        write(database, 5)
        database.engine.flush()
        expected = content(database)
    archive = Archive.open(tmp_path / "archive")
    assert restored(tmp_path / "backup", tmp_path / "new", archive=archive) == expected


def test_a_crash_between_archive_and_trim_archives_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(tmp_path)
    with history.open() as database:
        database.execute(TABLES)
        backed_up(database, tmp_path / "backup")
        write(database, 1)

        def crash(before: int) -> None:
            raise Unavailable("a crash")

        with monkeypatch.context() as patched:
            patched.setattr(database.engine.storage.log, "trim", crash)
            with pytest.raises(Unavailable, match="a crash"):
                database.engine.flush()
    with history.open() as database:
        write(database, 2)
        database.engine.flush()
        expected = content(database)
    archive = Archive.open(tmp_path / "archive")
    pieces = archive.pieces()
    assert all(left.last + 1 == right.first for left, right in pairwise(pieces))
    assert restored(tmp_path / "backup", tmp_path / "new", archive=archive) == expected


def test_an_archive_lies_outside_of_the_database(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="lies in the data folder"):
        weftdb.open(tmp_path / "data", maintenance=False, archive=tmp_path / "data" / "segments")
    weftdb.open(tmp_path / "data", maintenance=False, archive=tmp_path / "archive").close()


def test_an_archive_has_one_history(tmp_path: Path) -> None:
    history = History(tmp_path)
    with history.open() as database:
        database.execute(TABLES)
        backed_up(database, tmp_path / "backup")
        write(database, 1)
        database.engine.flush()
    restored(tmp_path / "backup", tmp_path / "new")
    for message in ("the log of another history", "was trimmed without an archive"):
        with pytest.raises(Invalid, match=message):
            weftdb.open(tmp_path / "new", maintenance=False, archive=tmp_path / "archive")
        with weftdb.open(tmp_path / "new", maintenance=False) as database:
            for seed in range(10, 20):
                write(database, seed)
            database.engine.flush()
            backed_up(database, tmp_path / "other")
    with BackupFolder.open(tmp_path / "other") as folder, history.open() as database:
        for seed in range(50):
            write(database, seed)
        database.engine.flush()
        with pytest.raises(Invalid, match="the log of another history"):
            restore_backup(folder, tmp_path / "none", archive=Archive.open(tmp_path / "archive"))


@pytest.mark.parametrize("seed", range(soak.SEED, soak.SEED + 2 * soak.FACTOR))
def test_a_course_of_everything_is_restored_at_any_version(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    options = Options(
        maintenance=False,
        durable=False,
        history_seconds=0,
        archive=tmp_path / "archive",
        write_set_bytes=WRITE_SET_BYTES,
        memory_limit=1 << 30,
    )
    models: dict[int, Model] = {}
    first = 0
    with Engine.open(tmp_path / "data", options=options) as engine:
        course = Course(seed)
        course.start(engine)
        for step in range(60):
            course.step(engine)
            models[engine.version] = course.promise.committed
            if step == 0 or chance.random() < 0.1:
                with (
                    BackupFolder.create(tmp_path / "backup") as folder,
                    EngineSource(engine, server="test") as source,
                ):
                    back_up(source, folder)
                first = first or engine.version
        course.end()
        engine.flush()
    archive = Archive.open(tmp_path / "archive")
    later = [version for version in models if version >= first]
    for version in sorted({later[-1], *chance.sample(later, 5)}):
        target = tmp_path / f"new{version}"
        with BackupFolder.open(tmp_path / "backup") as folder:
            restore_backup(folder, target, version=version, archive=archive)
        assert check_folder(target).problems == []
        with Engine.open(target, options=Options(maintenance=False)) as engine, engine.snapshot() as snapshot:
            assert engine.version == version
            assert read(snapshot) == models[version]


# Programs.


def test_a_program_backs_its_own_database_up_and_checks_it(data: Any, tmp_path: Path) -> None:
    write(data, 1)
    assert data.check() == []
    assert data.backup(tmp_path / "backup") == data.version
    assert restored(tmp_path / "backup", tmp_path / "new") == content(data)
    file = next((tmp_path / "data" / "segments").iterdir())
    file.unlink()
    assert file.name in data.check()[0]
    with pytest.raises(Corrupt, match=f"{file.name} is missing"):
        data.backup(tmp_path / "backup")


# The commands.


def weft(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_commands_back_a_running_server_up_and_restore_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from weftdb.server.service import serve

    engine = Engine.open(tmp_path / "data", options=Options(maintenance=False))
    with serve(engine, port=0) as server, weftdb.connect(server.address) as database:
        database.execute(TABLES)
        write(database, 1)
        code, out, _ = weft(capsys, "backup", server.address, tmp_path / "backup")
        assert code == 0
        assert "is complete in" in out
        write(database, 2)
        expected = content(database)
        code, out, _ = weft(capsys, "backup", server.address, tmp_path / "backup", "--keep", 2)
        assert code == 0
        assert "1 files" in out
        code, _, err = weft(capsys, "backup", tmp_path / "data", tmp_path / "backup")
        assert code == 1
        assert "in use by process" in err
        engine.flush()
        file = next((tmp_path / "data" / "segments").iterdir())
        sound = file.read_bytes()
        file.write_bytes(sound[:70] + bytes([sound[70] ^ 1]) + sound[71:])
        code, _, err = weft(capsys, "backup", server.address, tmp_path / "fresh")
        assert code == 1
        assert file.name in err
        file.write_bytes(sound)
    code, out, _ = weft(capsys, "backup", "--list", tmp_path / "backup")
    assert code == 0
    assert len(out.splitlines()) == 3
    code, out, _ = weft(capsys, "check", tmp_path / "backup")
    assert code == 0
    assert "no problems" in out
    code, out, _ = weft(capsys, "restore", tmp_path / "backup", tmp_path / "new")
    assert code == 0
    assert "events:" in out
    with weftdb.open(tmp_path / "new") as database:
        assert content(database) == expected
    code, _, err = weft(capsys, "restore", tmp_path / "backup", tmp_path / "new")
    assert code == 1
    assert "exists and is not empty" in err
    segment = next((tmp_path / "backup" / "segments").iterdir())
    segment.write_bytes(b"x" + segment.read_bytes()[1:])
    code, out, _ = weft(capsys, "check", tmp_path / "backup")
    assert code == 1
    assert segment.name in out


def test_the_commands_work_on_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with weftdb.open(tmp_path / "data") as database:
        database.execute(TABLES)
        write(database, 1)
        expected = content(database)
    code, out, _ = weft(capsys, "backup", tmp_path / "data", tmp_path / "backup", "--link")
    assert code == 0
    assert "were linked" in out
    code, _, err = weft(capsys, "restore", tmp_path / "backup", tmp_path / "new", "--version", "999")
    assert code == 1
    assert "--archive" in err
    code, _, _ = weft(capsys, "restore", tmp_path / "backup", tmp_path / "new")
    assert code == 0
    with weftdb.open(tmp_path / "new") as database:
        assert content(database) == expected
