"""Imports point down, and each library, the clock and the disk have one door: checked from the syntax trees.

    server ──► sql ──► engine ──► storage ──► base        client ──► proto ──► base        bench ──► anything

A rule that somebody has to break on purpose is changed here, in the open, with its reason.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each top-level folder of the package may import, beside itself.
BELOW = {
    "base": set[str](),
    "storage": {"base"},
    "engine": {"base", "storage"},
    "sql": {"base", "storage", "engine"},
    "proto": {"base"},
    "client": {"base", "proto"},
    "server": {"base", "storage", "engine", "sql", "proto"},
}

# Libraries with a door of their own, and the folders they may enter.
DOORS = {
    "grpc": ("server/", "client/", "proto/"),
    "grpc_health": ("server/", "client/"),
    "grpc_reflection": ("server/",),
    "google": ("server/", "client/", "proto/"),
    "sqlglot": ("sql/",),
    "duckdb": ("sql/",),
    "lmdb": ("storage/",),
    "numba": ("engine/", "storage/kernels/", "base/document_texts.py", "base/kernel_caches.py"),
    "llvmlite": ("engine/", "storage/kernels/"),
    "prompt_toolkit": ("server/shell/",),
    "pandas": (),
    "sklearn": (),
}

# Randomness: identifiers, jitter, and SQL's random(), whose values are logged. Nothing that ``apply`` can reach.
RANDOM = {"engine/clock.py", "client/wire.py", "engine/expression/functions/mathematics.py"}

# The wall clock, as opposed to stop-watches (``perf_counter``, ``monotonic``).
WALL_CLOCK = {"engine/clock.py"}

# What apply is made of: deterministic, so no thread may be started here. (Locks are another matter.)
DETERMINISTIC = ("engine/apply.py", "engine/cell", "engine/memtable.py", "engine/kernels/", "engine/expression/")

DISK = {"storage/files.py"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """``module`` is absolute; ``level`` is the number of dots that it was written with."""

    path: str
    line: int
    module: str
    level: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def sources() -> list[str]:
    """The package's own modules, relative to the root; not tests, not bench, not generated stubs."""
    found = [ROOT / "__init__.py", ROOT / "__main__.py"]
    for folder in BELOW:
        found += sorted((ROOT / folder).rglob("*.py"))
    return [path.relative_to(ROOT).as_posix() for path in found if "_pb2" not in path.name]


@pytest.fixture(scope="module", autouse=True)
def forgetful() -> Iterator[None]:
    """The trees go when these tests are done: a million objects that each full collection afterwards would look at."""
    yield
    tree.cache_clear()


@functools.cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def imports(path: str) -> Iterator[Import]:
    package = ["weftdb", *Path(path).parent.parts]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(path=path, line=node.lineno, module=name.name, level=0)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            for name in node.names:
                # ``from .. import storage`` names a module by what it imports, ``from ..storage import log`` by both.
                module = ".".join([*base, *([node.module] if node.module else []), name.name])
                yield Import(path=path, line=node.lineno, module=module, level=node.level)


@functools.cache
def all_imports() -> list[Import]:
    return [found for path in sources() for found in imports(path)]


def called_names(path: str) -> Iterator[tuple[int, str]]:
    """Calls such as ``time.time()``, as (line, dotted name)."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_the_layers_are_all_there() -> None:
    for folder in BELOW:
        assert (ROOT / folder / "__init__.py").exists(), folder


def test_imports_point_down() -> None:
    wrong: list[str] = []
    for found in all_imports():
        layer = found.path.split("/")[0]
        if layer not in BELOW or not found.module.startswith("weftdb."):
            continue
        target = found.module.split(".")[1]
        # The commands are users of the public interface: ``from ... import connect``.
        public = found.path.startswith("server/") and target in {"connect", "open", "__version__"}
        if target != layer and target not in BELOW[layer] and not public:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_imports_inside_the_package_are_relative() -> None:
    wrong = [str(found) for found in all_imports() if found.level == 0 and found.module.split(".")[0] == "weftdb"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", DOORS)
def test_each_library_enters_by_its_own_door(library: str) -> None:
    wrong = [
        str(found)
        for found in all_imports()
        if found.level == 0 and found.module.split(".")[0] == library and not found.path.startswith(DOORS[library])
    ]
    assert not wrong, "\n".join(wrong)


def test_every_library_is_a_declared_dependency_or_the_standard_library() -> None:
    import sys
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {_distribution_module(line) for line in project["dependencies"]} | {"google", "llvmlite"}
    used = {found.module.split(".")[0] for found in all_imports() if found.level == 0}
    assert used - declared - set(sys.stdlib_module_names) == {"grpc_tools"} & used


def test_the_wall_clock_has_one_door() -> None:
    calls = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    wrong = [
        f"{path}:{line} calls {name}"
        for path in sources()
        if path not in WALL_CLOCK
        for line, name in called_names(path)
        if name.removeprefix("datetime.") in calls or name.removeprefix("dt.") in calls or name in calls
    ]
    assert not wrong, "\n".join(wrong)


def test_randomness_has_named_doors() -> None:
    modules = {"random", "secrets"}
    wrong = [
        str(found) for found in all_imports() if found.module.split(".")[0] in modules and found.path not in RANDOM
    ]
    wrong += [
        f"{path}:{line} calls {name}"
        for path in sources()
        if path not in RANDOM
        for line, name in called_names(path)
        if name in {"uuid.uuid1", "uuid.uuid4", "os.urandom"} or name.startswith(("np.random.", "numpy.random."))
    ]
    assert not wrong, "\n".join(wrong)


def test_what_apply_is_made_of_starts_no_threads() -> None:
    wrong = [
        str(found)
        for found in all_imports()
        if found.path.startswith(DETERMINISTIC)
        and found.module.split(".")[0] in {"threading", "concurrent", "asyncio", "multiprocessing"}
    ]
    assert not wrong, "\n".join(wrong)


def test_kernels_do_not_use_fast_mathematics() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.keyword) and node.arg == "fastmath"
    ]
    assert not wrong, "\n".join(wrong)


def test_files_are_synced_and_renamed_in_one_place() -> None:
    calls = {"os.fsync", "os.fdatasync", "os.rename", "os.replace"}
    wrong = [
        f"{path}:{line} calls {name}"
        for path in sources()
        if path not in DISK
        for line, name in called_names(path)
        if name in calls
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_opens_with_a_docstring() -> None:
    wrong = [path for path in sources() if len(ast.get_docstring(tree(path)) or "") < 20]
    assert not wrong, "\n".join(wrong)


def _distribution_module(requirement: str) -> str:
    """The module that a requirement such as ``grpcio>=1.80`` installs."""
    name = requirement.split(">")[0].split("=")[0].split("<")[0].strip().lower().replace("-", "_")
    return {"grpcio": "grpc", "grpcio_health_checking": "grpc_health", "grpcio_reflection": "grpc_reflection"}.get(
        name, name
    )
