"""Compiled kernels: made by a helper process, kept on disk across restarts, loaded when they are ready.

    shape ─ generate ─► NAME.py ─ helper process imports it ─► numba's cache beside it, NAME.ready ─► import, here

Compiling takes one to three seconds and holds the interpreter's lock for much of it, so it is done by a process of low
priority, one shape at a time, in the order of asking; until then ``kernel`` gives None, and the relational executor
answers. NAME is a hash of the text, of the kernels that it calls, of Python and numba: another version of the engine
never loads what this one compiled. The folder is the user's (``WEFT_CACHE``, else ``XDG_CACHE_HOME`` or ``~/.cache``),
and is shared by databases and processes: files appear whole, by renaming. The newest ``FILES_MAX`` stay.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numba

from ..clock import monotonic
from .generate import source
from .shape import Shape

if TYPE_CHECKING:
    from ..database import Engine

Kernel = Callable[..., Any]

ROWS_MIN: Final = 100_000
"""The executor is as fast with fewer rows, and no kernels are worth compiling for them."""
KERNELS_MAX: Final = 256
FILES_MAX: Final = 1_024
COMPILE_SECONDS_MAX: Final = 120

_PACKAGE: Final = Path(__file__).resolve().parents[2]
_CALLED: Final = (
    "engine/kernels/pieces",
    "storage/kernels/blocks",
    "storage/kernels/decoding",
    "storage/kernels/memory",
)


@dataclass(slots=True)
class Known:
    """A shape that was asked for. ``state``: waiting, compiling, ready, failed."""

    name: str
    shape: Shape
    state: str
    kernel: Kernel | None = None
    hits: int = 0
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


class Kernels:
    """Thread-safe. ``threads``: of a pipeline. ``folder`` None: the user's."""

    def __init__(self, folder: Path | None = None, *, threads: int = 1) -> None:
        self.threads = threads
        self.rows_min = ROWS_MIN
        self.hash_groups = False  # at the tier auto: with many groups the executor is faster still
        self._folder = folder
        self._lock = threading.Lock()
        self._known: OrderedDict[Shape, Known] = OrderedDict()
        self._waiting: deque[Known] = deque()
        self._running = False
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def kernel(self, shape: Shape, *, wait: bool = False) -> Known | None:
        """The kernel of a shape; None: not yet, or it cannot be compiled here. ``wait`` for it."""
        known = self._known.get(shape)
        if known is None:
            known = self._ask(shape)
        if wait and known.state not in ("ready", "failed"):
            known.done.wait(COMPILE_SECONDS_MAX)
        if known.state != "ready":
            return None
        if known.kernel is None:
            with self._lock:
                if known.kernel is None:
                    known.kernel = load(self._path(known.name))
        known.hits += 1
        return known

    def all(self) -> list[Known]:
        """Every shape that was asked for, the newest last."""
        with self._lock:
            return list(self._known.values())

    def close(self) -> None:
        """Stop compiling."""
        with self._lock:
            self._closed = True
            for known in self._waiting:
                known.state = "failed"
                known.done.set()
            self._waiting.clear()
            process = self._process
        if process is not None:
            with suppress(OSError):
                process.kill()

    def _path(self, name: str) -> Path:
        return (self._folder or user_folder()) / f"{name}.py"

    def _ask(self, shape: Shape) -> Known:
        text = source(shape)
        name = "k" + hashlib.sha256(f"{stamp()}\n{text}".encode()).hexdigest()[:24]
        with self._lock:
            known = self._known.get(shape)
            if known is not None:
                return known
            known = self._known[shape] = Known(name=name, shape=shape, state="waiting")
            while len(self._known) > KERNELS_MAX:
                self._known.popitem(last=False)
            path = self._path(name)
            if path.with_suffix(".ready").exists():
                known.state = "ready"
                known.done.set()
                return known
            if self._closed:
                known.state = "failed"
                return known
            try:
                _write(path, text)
            except OSError:
                known.state = "failed"
                known.done.set()
                return known
            self._waiting.append(known)
            if not self._running:
                self._running = True
                threading.Thread(target=self._work, name="weftdb-kernels", daemon=True).start()
        return known

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
                known = self._waiting.popleft()
                known.state = "compiling"
            began = monotonic()
            ready = self._compile(self._path(known.name))
            known.compile_seconds = monotonic() - began
            known.state = "ready" if ready else "failed"
            known.done.set()

    def _compile(self, path: Path) -> bool:
        paths = os.pathsep.join(entry for entry in (str(_PACKAGE.parent), os.environ.get("PYTHONPATH", "")) if entry)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "weftdb.engine.pipeline.compiler", str(path)],
                env={**os.environ, "PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            return False
        with self._lock:
            self._process = process
            if self._closed:
                process.kill()
        try:
            return process.wait(COMPILE_SECONDS_MAX) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
        finally:
            with self._lock:
                self._process = None


def kernels_of(engine: Engine) -> Kernels:
    """The engine's kernels, made at first use; closed with it."""
    with _LOCK:
        found = engine.shared.get(Kernels)
        if not isinstance(found, Kernels):
            found = engine.shared[Kernels] = Kernels(threads=engine.options.threads)
            engine.on_close(found.close)
        return found


_LOCK: Final = threading.Lock()


def load(path: Path) -> Kernel:
    """The function of a generated module; compiled, if numba's cache has it not."""
    spec = importlib.util.spec_from_file_location(f"weftdb_kernel_{path.stem}", path)
    assert spec is not None, f"{path} is a module"
    assert spec.loader is not None, f"{path} is a module"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # numba's cache finds a function's module by its name
    spec.loader.exec_module(module)
    return module.kernel


def plain(shape: Shape) -> Kernel:
    """The same kernel as Python runs it: for tests."""
    text = source(shape)
    head, _, rest = text.partition("@njit")
    names: dict[str, Any] = {}
    exec(head + rest[rest.index("def kernel") :], names)
    return names["kernel"]


def user_folder() -> Path:
    """Where kernels are kept; made if it is not there, for its owner alone."""
    given = os.environ.get("WEFT_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weftdb"
    folder = base / "kernels"
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@cache
def stamp() -> str:
    """What compiled code depends on besides its own text."""
    digest = hashlib.sha256()
    for name in _CALLED:
        digest.update((_PACKAGE / f"{name}.py").read_bytes())
    return f"{digest.hexdigest()} {numba.__version__} {sys.version}"


def _write(path: Path, text: str) -> None:
    if path.exists():
        return
    _trim(path.parent)
    fresh = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    fresh.write_text(text)
    fresh.replace(path)


def _trim(folder: Path) -> None:
    """Remove the oldest kernels."""
    found = sorted(folder.glob("k*.py"), key=lambda path: path.stat().st_mtime)
    for path in found[: max(len(found) - FILES_MAX, 0)]:
        for old in (path, path.with_suffix(".ready"), *(folder / "__pycache__").glob(f"{path.stem}.*")):
            old.unlink(missing_ok=True)
