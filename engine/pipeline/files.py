"""Kernels on disk: one folder of a user, shared by all databases and processes, kept across restarts.

    NAME.py                   the generated text, as plain Python that numba compiles when it is imported
    NAME.ready                numba's cache has the code, beside it in ``__pycache__``; touched when it is used
    NAME.failed               it cannot be compiled, and why: nobody tries again

NAME is a hash of the text and of all else that the code depends on (``stamp``), so another version of the engine, of
numba or of Python, and another processor, never load what this one compiled. Files appear whole, by renaming, and with
one and the same time of change, which numba's cache compares: several processes may write the same one.
What was not used for longest goes when there is too much.

A kernel is code that is run: a folder that others may write to is not used. Where there is none, a process makes one
for itself, which goes with it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import numba
from llvmlite import binding
from numba.core import config

from ...base.limits import KERNEL_FILES_BYTES_MAX, KERNEL_FILES_MAX

Kernel = Callable[..., Any]

_PACKAGE: Final = Path(__file__).resolve().parents[2]
_CALLED: Final = (
    "engine/kernels/groups",
    "engine/kernels/pieces",
    "engine/pipeline/compiler",
    "storage/kernels/blocks",
    "storage/kernels/decoding",
    "storage/kernels/memory",
)
_WRITTEN: Final = 1_000_000_000
"""When all files were changed, in seconds."""


@cache
def stamp() -> str:
    """What compiled code depends on besides its own text."""
    digest = hashlib.sha256()
    for name in _CALLED:
        digest.update((_PACKAGE / f"{name}.py").read_bytes())
    switches = [getattr(config, name) for name in ("BOUNDSCHECK", "OPT", "DISABLE_JIT", "CACHE_DIR")]
    processor = (binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten())
    return f"{digest.hexdigest()} {numba.__version__} {sys.version} {processor} {switches}"


def name_of(text: str) -> str:
    """The name of a kernel with this text."""
    return "k" + hashlib.sha256(f"{stamp()}\n{text}".encode()).hexdigest()[:24]


class Folder:
    """Where the kernels of one engine lie. ``path`` None: the user's, or one of its own where that cannot be used."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._own: Path | None = None
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """The file of a kernel. Raises OSError where no folder can be made at all."""
        with self._lock:
            if self._path is None:
                self._path = user_folder()
            if self._path is None:
                self._path = self._own = Path(tempfile.mkdtemp(prefix="weftdb-kernels-"))
            return self._path / f"{name}.py"

    def close(self) -> None:
        """Remove what was made for this engine alone."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)


def user_folder() -> Path | None:
    """The user's folder, made if it is not there; None where it is not the user's alone, or cannot be written."""
    given = os.environ.get("WEFT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(given) if given else Path.home() / ".cache"
        folder = (base if os.environ.get("WEFT_CACHE") else base / "weftdb") / "kernels"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):
        return None
    others_write = status.st_mode & 0o022
    return None if others_write or status.st_uid != os.getuid() else folder


def write(path: Path, text: str) -> None:
    """The text of a kernel, unless it is there. Raises OSError."""
    if path.exists():
        return
    fresh = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    fresh.write_text(text)
    os.utime(fresh, (_WRITTEN, _WRITTEN))
    fresh.replace(path)


def load(path: Path) -> Kernel:
    """The function of a generated module; compiled, if numba's cache has it not. Raises whatever comes of that."""
    spec = importlib.util.spec_from_file_location(f"weftdb_kernel_{path.stem}", path)
    assert spec is not None, f"{path} is a module"
    assert spec.loader is not None, f"{path} is a module"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # numba's cache finds a function's module by its name
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module.kernel


def is_ready(path: Path) -> bool:
    """Whether it can be loaded without a compiler: what clears caches may take the code and leave the rest."""
    return path.with_suffix(".ready").exists() and any(path.parent.glob(f"__pycache__/{path.stem}.*.nbc"))


def set_ready(path: Path) -> None:
    path.with_suffix(".ready").touch()


def used(path: Path) -> None:
    """It is wanted still."""
    with suppress(OSError):
        path.with_suffix(".ready").touch()


def failed(path: Path) -> str | None:
    """Why it cannot be compiled, if that is known."""
    try:
        return path.with_suffix(".failed").read_text()
    except OSError:
        return None


def set_failed(path: Path, why: str) -> None:
    """Remember that it cannot be compiled."""
    with suppress(OSError):
        path.with_suffix(".failed").write_text(why)


def remove(path: Path) -> None:
    """All of a kernel, first what says that it is ready."""
    code = (path.parent / "__pycache__").glob(f"{path.stem}.*")
    for file in (path.with_suffix(".ready"), path.with_suffix(".failed"), path, *code):
        with suppress(OSError):
            file.unlink(missing_ok=True)


def trim(folder: Path, *, but: Path | None = None) -> None:
    """Remove kernels that were not used for longest until the rest is not too much. ``but``: not this one."""
    sizes: dict[str, int] = {}
    times: dict[str, float] = {}
    for file in (*folder.glob("k*"), *(folder / "__pycache__").glob("k*")):
        with suppress(OSError):
            status = file.stat()
            name = file.name.partition(".")[0]
            sizes[name] = sizes.get(name, 0) + status.st_size
            times[name] = max(times.get(name, 0.0), status.st_mtime)
    total, count = sum(sizes.values()), len(sizes)
    for name in sorted(sizes, key=lambda name: times[name]):
        if total <= KERNEL_FILES_BYTES_MAX and count <= KERNEL_FILES_MAX:
            return
        if but is None or name != but.stem:
            remove(folder / f"{name}.py")
            total, count = total - sizes[name], count - 1
