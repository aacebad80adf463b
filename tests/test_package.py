"""The package: its list of folders, what a wheel holds, and what ``import weftdb`` gives."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import weftdb

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
NOT_PACKAGED = {"tests", "docs", "build", "dist"}


def folder_of(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])


def packaged_files() -> set[str]:
    """What belongs into a wheel: every Python file of every package, and the package data, as paths in the wheel."""
    files = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in folder_of(package).glob("*.py")}
    for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            found = list(folder_of(package).glob(pattern))
            assert found, f"{package} has no {pattern}"
            files |= {path.relative_to(ROOT).as_posix() for path in found}
    return {f"weftdb/{file}" for file in files}


def test_the_list_of_packages_is_every_folder_with_an_init_file_and_nothing_else() -> None:
    folders = {
        path.parent.relative_to(ROOT)
        for path in ROOT.rglob("__init__.py")
        if not path.relative_to(ROOT).parts[0].startswith(".") and path.relative_to(ROOT).parts[0] not in NOT_PACKAGED
    }
    assert sorted(PACKAGES) == sorted(".".join(["weftdb", *folder.parts]) for folder in folders)


def test_every_folder_with_python_files_is_a_package() -> None:
    stray = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if not path.relative_to(ROOT).parts[0].startswith(".")
        and path.relative_to(ROOT).parts[0] not in NOT_PACKAGED
        and not (path.parent / "__init__.py").exists()
    }
    assert not stray


def test_the_root_holds_no_stray_module() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_a_wheel_holds_exactly_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "tests", "docs", "build", "dist", "demo-data")
    shutil.copytree(ROOT, source, ignore=ignored)
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-build-isolation",
            "--no-deps",
            "--no-index",
            "-w",
            tmp_path,
            source,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("weftdb-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = {name for name in names if ".dist-info/" in name}
        assert names - metadata == packaged_files()
        assert {Path(name).name for name in metadata} == {
            *("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "LICENSE")
        }
        (entry_points,) = (archive.read(name).decode() for name in metadata if name.endswith("entry_points.txt"))
        assert "weft = weftdb.server.main:main" in entry_points


def test_the_public_names_are_exactly_these() -> None:
    errors = {
        *("WeftError", "Conflict", "Invalid", "NotFound", "Denied", "Unavailable", "LimitExceeded", "Corrupt"),
        *("Closed", "Internal"),
    }
    assert set(weftdb.__all__) == {"open", "connect", *errors}
    for name in weftdb.__all__:
        assert getattr(weftdb, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        weftdb.opne  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


def test_the_version_is_the_project_s() -> None:
    assert weftdb.__version__ == PROJECT["project"]["version"]


def test_importing_weftdb_loads_neither_engine_nor_network() -> None:
    code = (
        "import sys, weftdb\n"
        "print(sorted({'grpc', 'duckdb', 'numba', 'sqlglot', 'lmdb', 'pyarrow', 'prompt_toolkit'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_connecting_loads_no_engine() -> None:
    code = (
        "import sys, weftdb\nweftdb.connect\nprint(sorted({'duckdb', 'numba', 'sqlglot', 'lmdb'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_dev_extra_has_what_make_check_and_this_file_run() -> None:
    extra = " ".join(PROJECT["project"]["optional-dependencies"]["dev"])
    for tool in (
        "ruff",
        "basedpyright",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "hypothesis",
        "grpcio-tools",
        "setuptools",
    ):
        assert tool in extra
