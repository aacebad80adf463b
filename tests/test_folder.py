"""The data folder: one process at a time, one format, nobody else's files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from weftdb.base import errors
from weftdb.storage import files
from weftdb.storage.folder import DataFolder, format_line


def test_a_new_folder_is_created_with_its_parents_and_says_its_format(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path / "a" / "b") as folder:
        assert (folder.path / "format").read_bytes() == format_line(4)
        assert (folder.path / "lock").read_text() == f"{os.getpid()}\n"
        assert folder.log_path == tmp_path / "a" / "b" / "log"


def test_a_folder_is_opened_again_after_it_was_closed(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    folder.close()
    folder.close()
    DataFolder.open(str(tmp_path)).close()


def test_a_folder_in_use_is_refused_with_the_process_that_has_it(tmp_path: Path) -> None:
    with (
        DataFolder.open(tmp_path),
        pytest.raises(errors.Unavailable, match=f"{tmp_path} is in use by process {os.getpid()}") as raised,
    ):
        DataFolder.open(tmp_path)
    assert raised.value.hint is not None
    DataFolder.open(tmp_path).close()


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time; from weftdb.storage.folder import DataFolder\n"
        "folder = DataFolder.open(sys.argv[1]); print('open', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(errors.Unavailable, match=f"in use by process {process.pid}"):
            DataFolder.open(tmp_path)
        process.kill()
    DataFolder.open(tmp_path).close()


def test_a_forked_child_does_not_hold_the_lock_of_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from weftdb.storage.folder import DataFolder\n"
        "folder = DataFolder.open(sys.argv[1])\n"
        "if os.fork() == 0: print('forked', flush=True); sys.stdin.readline(); os._exit(0)\n"
        "os._exit(0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "forked\n"
        process.wait()
        DataFolder.open(tmp_path).close()


@pytest.mark.parametrize("version", [5, 17])
def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path, version: int) -> None:
    DataFolder.open(tmp_path).close()
    (tmp_path / "format").write_bytes(format_line(version))
    for _ in range(2):
        with pytest.raises(
            errors.Unavailable, match=f"has format {version}, and this program reads .* up to 4"
        ) as raised:
            DataFolder.open(tmp_path)
    assert raised.value.hint is not None
    assert "Upgrade" in raised.value.hint


@pytest.mark.parametrize("content", ["", "weftdb", "weftdb x", "weftdb 0", "other 1", "weftdb ²", "\0\0\0"])
def test_a_damaged_format_file_is_corrupt(tmp_path: Path, content: str) -> None:
    DataFolder.open(tmp_path).close()
    (tmp_path / "format").write_text(content)
    with pytest.raises(errors.Corrupt, match="format"):
        DataFolder.open(tmp_path)


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(errors.Invalid, match=r"is not empty and holds no WeftDB database: .*thesis\.txt"):
        DataFolder.open(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(errors.Invalid, match="is not a folder"):
            DataFolder.open(path)


def test_a_folder_whose_creation_was_cut_short_is_finished(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("")
    (tmp_path / "format.new").write_text("weft")
    with DataFolder.open(tmp_path):
        assert (tmp_path / "format").read_bytes() == format_line(4)


def test_a_system_that_refuses_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "sync_folder", refuse)
    with pytest.raises(errors.Unavailable, match="No space left on device"):
        DataFolder.open(tmp_path)


def test_a_folder_of_format_1_is_upgraded_when_it_is_opened_to_write(tmp_path: Path) -> None:
    DataFolder.open(tmp_path).close()
    (tmp_path / "segments").rmdir()
    (tmp_path / "format").write_text("weftdb 1\n")
    with DataFolder.open(tmp_path, read_only=True):
        assert (tmp_path / "format").read_text() == "weftdb 1\n"
    with DataFolder.open(tmp_path) as folder:
        assert (tmp_path / "format").read_bytes() == format_line(4)
        assert folder.segments_path.is_dir()


def test_many_may_read_a_folder_and_then_none_may_write_it(tmp_path: Path) -> None:
    DataFolder.open(tmp_path).close()
    with DataFolder.open(tmp_path, read_only=True) as one, DataFolder.open(tmp_path, read_only=True):
        assert one.read_only == "it was opened to read only"
        with pytest.raises(errors.Unavailable, match="is in use by a process that reads it"):
            DataFolder.open(tmp_path)
    with (
        DataFolder.open(tmp_path),
        pytest.raises(errors.Unavailable, match=f"is in use by process {os.getpid()}"),
    ):
        DataFolder.open(tmp_path, read_only=True)


def test_nothing_to_read_is_not_made(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(errors.Unavailable, match="holds no WeftDB database to read"):
            DataFolder.open(path, read_only=True)
    assert os.listdir(tmp_path) == []
