"""Kernels of one database: asked for by shape, compiled by another process, loaded when they are ready.

    shape ─ generate ─► text ─ files.py ─► NAME.py ─ helper.py ─► numba's cache, NAME.ready ─► import, here

Compiling takes one to three seconds, so it is done by one process of low priority, a shape at a time, in the order of
asking. Until then the shape's program (program.py) is the kernel, and who asks once has no other: a shape is compiled
when it is asked for again, and not for few rows before the program ran for long. Until then, for few rows, nobody looks
on the disk for its code either, which takes longer to load than they take. Where no program does what the shape wants,
``kernel`` gives None, and the relational executor answers. So nobody ever waits for a compiler, but who says so
(``wait``: SET weft.tier = pipeline) and has no program, not even at the end: closing ends the process at once.

    program      the program is all there is so far
    seen         the same without a program, asked for with rows so few that it may not be worth a kernel (``many``)
    waiting      for the helper; beyond ``KERNELS_WAITING_MAX`` shapes are not even remembered, if they have no program
    compiling    now; where the helper dies of it, once more with another one
    ready        on disk, perhaps of an earlier process, and loaded
    failed       never tried again: ``reason`` says why; what the compiler refused is no process's to try again
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...base.limits import (
    COMPILE_SECONDS_MAX,
    HELPER_IDLE_SECONDS,
    HELPER_STARTS_MAX,
    KERNELS_MAX,
    KERNELS_WAITING_MAX,
    PIPELINE_ROWS_MIN,
    PIPELINE_RUN_SECONDS,
    PIPELINE_SIDE_COST,
    PIPELINES_SHARE,
    TEXTS_SHARE,
)
from ..clock import monotonic
from ..held import Held
from . import files
from .files import Folder, Kernel
from .generate import source
from .helper import CannotStart, Died, Helper
from .program import Program, program_of
from .shape import NotCovered, Shape
from .texts import Texts

if TYPE_CHECKING:
    from ..database import Engine

WAIT_STEP_SECONDS: Final = 0.05


@dataclass(slots=True)
class Known:
    """A shape that was asked for. ``state``: see the module. ``kernel``: compiled; ``program``: run until it is."""

    shape: Shape
    state: str
    kernel: Kernel | None = None
    program: Program | None = None
    reason: str | None = None
    hits: int = 0
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)
    _name: str | None = None

    @property
    def name(self) -> str:
        """That of its files: made of the text, which takes longer than a program's run over few rows, when wanted."""
        if self._name is None:
            self._name = files.name_of(source(self.shape))
        return self._name

    def fail(self, reason: str) -> None:
        self.state, self.reason = "failed", reason
        self.done.set()


class Kernels:
    """Thread-safe. ``threads``: of a pipeline. ``folder`` None: the user's."""

    def __init__(self, folder: Path | None = None, *, threads: int = 1) -> None:
        self.threads = threads
        self.held = Held()
        """Memory of the pipelines that run."""
        self.texts = Texts()
        self.rows_min = PIPELINE_ROWS_MIN
        self.side_cost = PIPELINE_SIDE_COST
        self.runs_programs = True
        self._folder = Folder(folder)
        self._helper = Helper()
        self._lock = threading.Lock()
        self._work_there = threading.Condition(self._lock)
        self._known: OrderedDict[Shape, Known] = OrderedDict()
        self._waiting: deque[Known] = deque()
        self._running = False
        self._starts_failed = 0
        self._closed = False

    def kernel(
        self, shape: Shape, *, wait: bool = False, many: bool = True, check: Callable[[], None] | None = None
    ) -> Known | None:
        """The kernel of a shape, or its program; None: it has none, and is not compiled yet, or cannot be here.

        ``wait`` for it, and call ``check`` meanwhile, which may raise. ``many``: rows, so that it is worth compiling.
        """
        with self._lock:
            known = self._known.get(shape)
            if known is not None:
                self._known.move_to_end(shape)
        if known is None:
            known = self._meet(shape, many=wait or many)
        elif known.state == "seen" or (
            known.state == "program" and (many or known.run_seconds >= PIPELINE_RUN_SECONDS)
        ):
            self._order(known)
        if known is None:
            return None
        until = monotonic() + 2 * COMPILE_SECONDS_MAX
        while wait and not (known.program or known.done.wait(WAIT_STEP_SECONDS)) and monotonic() < until:
            if check is not None:
                check()
        if known.kernel is None and known.program is None:
            return None
        known.hits += 1
        return known

    def reason(self, shape: Shape) -> str:
        """Why there is no kernel, for EXPLAIN and errors."""
        known = self._known.get(shape)
        if known is None:
            full = len(self._waiting) >= KERNELS_WAITING_MAX
            return "too many kernels wait for the compiler" if full else "its kernel was not asked for yet"
        if known.state == "failed":
            return f"its kernel cannot be compiled: {known.reason}"
        return f"its kernel is not ready ({known.state})"

    def is_ready(self, shape: Shape) -> bool:
        """Whether there is a kernel, without asking for it; it may be on disk."""
        known = self._known.get(shape)
        if known is not None:
            return known.kernel is not None or known.program is not None
        if self._program(shape) is not None:
            return True
        try:
            return files.is_ready(self._folder.path(files.name_of(source(shape))))
        except OSError:
            return False

    def all(self) -> list[Known]:
        """Every shape that is known, that asked for last at the end."""
        with self._lock:
            return list(self._known.values())

    @property
    def helper_pid(self) -> int | None:
        """The process that compiles, while there is one."""
        return self._helper.pid

    def close(self) -> None:
        """Stop compiling. It does not wait."""
        with self._lock:
            self._closed = True
            for known in self._waiting:
                known.fail("the database was closed")
            self._waiting.clear()
            self._work_there.notify_all()
        self._helper.close()
        self._folder.close()

    def _meet(self, shape: Shape, *, many: bool) -> Known | None:
        """Remember a shape that was not asked for. ``many``: it is worth compiling at once, if it has no program.

        A program that is asked for few rows is done before files are found, and their code is loaded.
        """
        program = self._program(shape)
        with self._lock:
            known = self._known.get(shape)
            if known is not None:
                return known
            if program is None and len(self._waiting) >= KERNELS_WAITING_MAX:
                return None
            state = "seen" if program is None else "program"
            known = self._known[shape] = Known(shape=shape, state=state, program=program)
            while len(self._known) > KERNELS_MAX:
                self._known.popitem(last=False)
        if (program is None or many) and not self._found(known) and program is None and many:
            self._order(known)
        return known

    def _found(self, known: Known) -> bool:
        """Load a kernel that an earlier process compiled, or know from one that it cannot be."""
        try:
            path = self._folder.path(known.name)
            if files.is_ready(path):
                self._load(known, path)
            elif (why := files.failed(path)) is not None:
                known.fail(why)
            else:
                return False
        except OSError as error:
            known.fail(f"there is no folder for kernels: {error}")
        return True

    def _program(self, shape: Shape) -> Program | None:
        with suppress(NotCovered):
            return program_of(shape) if self.runs_programs else None
        return None

    def _order(self, known: Known) -> None:
        """Have a kernel compiled, once, where there is room for it in the queue."""
        with self._lock:
            if known.state not in ("seen", "program") or len(self._waiting) >= KERNELS_WAITING_MAX:
                return
            known.state = "waiting"
        if self._found(known):
            return
        try:
            files.write(self._folder.path(known.name), source(known.shape))
        except OSError as error:
            known.fail(f"there is no folder for kernels: {error}")
            return
        self._queue(known)

    def _queue(self, known: Known) -> None:
        with self._lock:
            if self._closed or self._starts_failed >= HELPER_STARTS_MAX:
                known.fail("the database was closed" if self._closed else "the process that compiles does not start")
                return
            self._waiting.append(known)
            self._work_there.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._work, name="weftdb-kernels", daemon=True).start()

    def _load(self, known: Known, path: Path) -> None:
        try:
            known.kernel = files.load(path)
        except Exception as error:  # damaged files: the next process compiles it again
            files.remove(path)
            known.fail(f"it cannot be loaded: {error!r}")
            return
        files.used(path)
        known.state = "ready"
        known.done.set()

    def _work(self) -> None:
        idle = False
        while True:
            with self._lock:
                if not self._waiting and not self._closed and not idle:
                    idle = not self._work_there.wait(HELPER_IDLE_SECONDS)
                elif not self._waiting:
                    self._running = False
                    return
                known = self._waiting.popleft() if self._waiting else None
            if known is not None:
                idle = False
                self._make(known)
            elif idle:
                self._helper.rest()

    def _make(self, known: Known) -> None:
        known.state = "compiling"
        began = monotonic()
        path = self._folder.path(known.name)
        error = self._compile(path)
        known.compile_seconds = monotonic() - began
        if error is None:
            self._load(known, path)
        else:
            known.fail(error)

    def _compile(self, path: Path) -> str | None:
        """What is against it. A helper that died, of whatever it was, is followed by another one, once."""
        for _ in range(2):
            try:
                error = self._helper.compile(path)
            except CannotStart:
                self._starts_failed += 1
                return "the process that compiles does not start"
            except Died:
                continue
            self._starts_failed = 0
            return error
        return "the process that compiles died of it, or took too long"


def kernels_of(engine: Engine) -> Kernels:
    """The engine's kernels, made at first use; closed with it."""
    with _LOCK:
        found = engine.shared.get(Kernels)
        if not isinstance(found, Kernels):
            found = engine.shared[Kernels] = Kernels(threads=engine.options.threads)
            texts = found.texts = Texts(engine.budget.limit // TEXTS_SHARE)
            held = found.held = Held(engine.budget.limit // PIPELINES_SHARE, beside=texts.held, give_way=texts.forget)
            engine.budget.register("pipelines", lambda: held.bytes, "Groups and rows of the pipelines that run.")
            engine.budget.register("texts", lambda: texts.held.bytes, "Numbers of texts, for pipelines to come.")
            engine.on_close(found.close)
        return found


_LOCK: Final = threading.Lock()


def plain(shape: Shape) -> Kernel:
    """The same kernel as Python runs it: for tests."""
    text = source(shape)
    head, _, rest = text.partition("@njit")
    names: dict[str, Any] = {}
    exec(head + rest[rest.index("def kernel") :], names)
    return names["kernel"]
