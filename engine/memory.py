"""The budget: one memory limit, shared by all that grows with the data and the load, and what happens beyond it.

    memtables       rows that are not in segments yet, with their indexes ┐ together at most 1/2: beyond it writers wait
    frozen          memtables that a flush is writing                     ┘
    executor        joins, sorts, aggregates; at most 1/4, then it spills to the temporary folder
    write sets      of open transactions; each spills beyond 1/16
    the rest        overlays, directories and filters of segments, caches, buffers of maintenance

Whoever holds memory registers a gauge, a function that says how many bytes it is now; nothing is counted twice, and
nothing is reserved. Memory runs out in this order:

    1. memtables above ``flush_bytes``                 ``flush_due``: maintenance freezes and writes them
    2. memtables and frozen above ``memtables_bytes``, or all together above ``limit``
                                                       ``before_commit`` waits: writers slow down to the disk's pace
    3. still so after ``stall_seconds``                LimitExceeded, which says what holds the memory

A database in memory has nowhere to flush to (``flushes=False``): its tables count whole, nobody waits, and a commit
that does not fit is refused at once.

What always holds: reads and DDL never wait here. Writers that wait go on in the order in which they came, so a large
commit is not starved by small ones. The check is made before the commit lock is taken, without reserving: commits under
way at the same moment may together exceed the limit by their own size.

What this does not know: what a memtable is, threads of maintenance, the operating system's view (resident memory also
has the interpreter, its libraries, and pages of mapped segments, which the system takes back when it needs them).
"""

from __future__ import annotations

import ctypes
import enum
import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Self

import pyarrow as pa

from ..base.errors import LimitExceeded, WeftError
from ..base.limits import (
    EXECUTOR_BYTES_MIN,
    EXECUTOR_SHARE,
    EXECUTOR_THREAD_BYTES,
    FLUSH_BYTES_MAX,
    FLUSH_BYTES_MIN,
    FLUSH_SHARE,
    GIB,
    KIB,
    MEMTABLES_SHARE,
    MIB,
    STALL_SECONDS,
    WRITE_SET_BYTES_MAX,
    WRITE_SET_BYTES_MIN,
    WRITE_SET_SHARE,
)
from . import interrupts
from .clock import monotonic
from .metrics import Metric
from .options import Options

HELD_FRESH_SECONDS: Final = 0.2
"""How old the sum of all but the memtables may be, unless a writer waits: some of its gauges cost more than a commit
should pay.
"""

ROOM_SHARE: Final = 16
"""The gauges are read again when commits have brought this part of what was free. A row takes more than its bytes."""

COMMIT_BYTES: Final = 1_024
"""What a commit counts beside its rows' bytes."""

WAIT_STEP_SECONDS: Final = 0.05
"""A writer looks again this often: not all that frees memory tells."""


GIVE_BACK_IDLE_SECONDS: Final = 2.0
GIVE_BACK_BUSY_SECONDS: Final = 10.0


class Part(enum.Enum):
    """How memory is given back: MEMTABLES by a flush, FROZEN when that flush is done, HELD in ways of its own."""

    MEMTABLES = "memtables"
    FROZEN = "frozen"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one gauge says."""

    name: str
    bytes: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gauge:
    name: str
    description: str
    part: Part
    read: Callable[[], int]


class Budget:
    """The memory of one engine, see the module. Thread-safe.

    What comes after ``stall_seconds`` is for tests; ``wait`` waits at most so many seconds for ``freed``.
    """

    def __init__(
        self,
        limit: int,
        *,
        flushes: bool = True,
        flush_bytes: int | None = None,
        stall_seconds: float = STALL_SECONDS,
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], object] | None = None,
        anonymous: Callable[[], int] | None = None,
        give_back: Callable[[], object] | None = None,
    ) -> None:
        self.limit = limit
        self.flushes = flushes
        usual = _between(FLUSH_BYTES_MIN, limit // FLUSH_SHARE, FLUSH_BYTES_MAX)
        self.flush_bytes = flush_bytes or max(1, min(usual, limit // (2 * MEMTABLES_SHARE)))
        self.memtables_bytes = max(limit // MEMTABLES_SHARE, 2 * self.flush_bytes)
        self.stall_seconds = stall_seconds
        self._clock = clock
        self._gauges: dict[str, _Gauge] = {}
        self._gauges_lock = threading.Lock()
        self._freed = threading.Condition()
        self._wait = wait or self._freed.wait
        self._waiting: deque[object] = deque()
        self._held = 0
        self._room, self._room_until = 0, 0.0  # what small commits may bring before the gauges are read again
        self._held_at = -HELD_FRESH_SECONDS
        self._anonymous = anonymous or anonymous_bytes
        self._give_back = give_back or give_memory_back
        self._own_bytes = self._anonymous()  # interpreter, libraries, and what the program around us has
        self._can_give_back = False
        self._given_back_at = self._commit_at = clock()
        self._borrowed = 0
        self._borrowed_lock = threading.Lock()
        self._on_pressure: Callable[[], object] | None = None
        self._stopped: WeftError | None = None
        self._stalls = 0
        self._stall_seconds_before = 0.0
        self._stall_began: dict[object, float] = {}
        self._refused = 0
        self.register("buffers", lambda: self._borrowed, "Buffers of flushes and compactions that run now.")

    @classmethod
    def of(cls, options: Options, *, flushes: bool) -> Self:
        """The budget that an engine's options ask for."""
        keep_freed_memory()
        return cls(
            options.memory_limit,
            flushes=flushes,
            flush_bytes=options.flush_bytes,
            stall_seconds=options.stall_seconds,
        )

    # Who holds what.

    def register(
        self, name: str, gauge: Callable[[], int], description: str, *, part: Part = Part.HELD
    ) -> Callable[[], None]:
        """Count what ``gauge`` says, in bytes; it is called often, from any thread, and must not raise.

        ``name`` is a plural noun: ``overlays`` makes the metric ``weft_memory_overlays_bytes``. ``description`` is a
        sentence for it. A name that is registered again replaces the former gauge. Returns a function that takes the
        gauge out again.
        """
        added = _Gauge(name=name, description=description, part=part, read=gauge)
        with self._gauges_lock:
            self._gauges = {**self._gauges, name: added}  # replaced as a whole: others iterate over it

        def remove() -> None:
            with self._gauges_lock:
                if self._gauges.get(name) is added:
                    self._gauges = {key: value for key, value in self._gauges.items() if key != name}

        return remove

    @contextmanager
    def borrowed(self, bytes_count: int) -> Generator[None]:
        """Count ``bytes_count`` bytes of buffers inside the block: for work whose memory is known before it begins.

        It does not wait: maintenance is what frees memory. They are in the gauge ``buffers``.
        """
        with self._borrowed_lock:
            self._borrowed += bytes_count
        try:
            yield
        finally:
            with self._borrowed_lock:
                self._borrowed -= bytes_count

    def usage(self) -> list[Usage]:
        """What every gauge says now, in the order of their registration."""
        return [
            Usage(name=gauge.name, bytes=gauge.read(), description=gauge.description) for gauge in self._gauges.values()
        ]

    def used(self, part: Part | None = None) -> int:
        """Bytes in use now: of one part, or all together."""
        return sum(gauge.read() for gauge in self._gauges.values() if part is None or gauge.part is part)

    # Shares.

    @property
    def executor_bytes(self) -> int:
        """What the relational executor may use before it spills."""
        return max(self.limit // EXECUTOR_SHARE, EXECUTOR_BYTES_MIN)

    def executor_threads(self, threads: int) -> int:
        """``threads``, or fewer where each would have too little memory to spill."""
        return _between(1, self.executor_bytes // EXECUTOR_THREAD_BYTES, threads)

    @property
    def write_set_bytes(self) -> int:
        """What one open transaction may hold in memory before it spills."""
        return _between(WRITE_SET_BYTES_MIN, self.limit // WRITE_SET_SHARE, WRITE_SET_BYTES_MAX)

    # Flushing and waiting.

    @property
    def flush_due(self) -> bool:
        """Whether the memtables should be flushed now: they are large, or writers wait and it would help."""
        active = self.used(Part.MEMTABLES)
        return active >= self.flush_bytes or (bool(self._waiting) and active >= self.flush_bytes // 8)

    def on_pressure(self, call: Callable[[], object]) -> None:
        """``call`` is called while a writer waits, and must not block: maintenance wakes up and looks at flush_due."""
        self._on_pressure = call

    def before_commit(self, bytes_count: int) -> None:
        """Wait until a commit of ``bytes_count`` bytes of rows fits. Not to be called under the commit lock.

        Nothing to do for a commit without rows (0). Raises LimitExceeded (53200): at once where waiting cannot help,
        else after ``stall_seconds``; what ``stop`` was given; and what ``interrupts.check`` raises for a statement that
        was cancelled.
        """
        now = self._commit_at = self._clock()
        if not bytes_count:
            return
        if now < self._room_until and self._room > bytes_count and not self._waiting:
            self._room -= bytes_count + COMMIT_BYTES
        elif self._waiting or self._excess(bytes_count) is not None:
            self._stall(bytes_count)

    def freed(self) -> None:
        """Memory was given back: writers that wait look again."""
        self._can_give_back = True
        self._held_at, self._room_until = -HELD_FRESH_SECONDS, 0.0
        with self._freed:
            self._freed.notify_all()

    def tidy(self) -> None:
        """Give freed memory back to the system, where that is worth it. Maintenance calls this once a second or so.

        The C library keeps what was freed: it is used again by the next rows, which is cheaper than new pages, so it is
        given back when nobody commits any more, or when it makes the process larger than the limit. It costs tens of
        milliseconds in which other threads may have to wait for memory.
        """
        now = self._clock()
        idle = self._can_give_back and now - self._commit_at >= GIVE_BACK_IDLE_SECONDS
        large = (
            now - self._given_back_at >= GIVE_BACK_BUSY_SECONDS
            and self._anonymous() > max(self.limit, self.used()) + self._own_bytes
        )
        if idle or large:
            self._can_give_back, self._given_back_at = False, now
            self._give_back()

    def stop(self, error: WeftError) -> None:
        """The engine closes: writers that wait, now or later, get ``error``."""
        self._stopped = error
        self.freed()

    # What happened so far.

    @property
    def stalls(self) -> int:
        """How many commits have waited for memory."""
        return self._stalls

    @property
    def stalled_seconds(self) -> float:
        """How long commits have waited for memory, all together, those that wait now included."""
        now = self._clock()
        return self._stall_seconds_before + sum(now - began for began in list(self._stall_began.values()))

    @property
    def stalled_now(self) -> int:
        """How many commits wait for memory now."""
        return len(self._waiting)

    @property
    def refused(self) -> int:
        """How many commits were refused for want of memory."""
        return self._refused

    def metrics(self) -> list[Metric]:
        """All of it as metrics."""

        def metric(name: str, value: float, unit: str, description: str) -> Metric:
            return Metric(name=f"weft_{name}", value=value, unit=unit, description=description)

        usage = self.usage()
        return [
            metric("memory_limit_bytes", self.limit, "bytes", "memory_limit: what all together may take."),
            metric("memory_used_bytes", sum(item.bytes for item in usage), "bytes", "What is taken of memory_limit."),
            *(metric(f"memory_{item.name}_bytes", item.bytes, "bytes", item.description) for item in usage),
            metric("flush_threshold_bytes", self.flush_bytes, "bytes", "Memtables beyond this are flushed."),
            metric("stall_threshold_bytes", self.memtables_bytes, "bytes", "Writers wait beyond this in memtables."),
            metric("stalls", self.stalls, "commits", "Commits that waited for memory; only grows."),
            metric("stall_seconds", self.stalled_seconds, "seconds", "How long they waited; only grows."),
            metric("stalled_now", self.stalled_now, "commits", "Commits that wait for memory now."),
            metric("memory_refused", self.refused, "commits", "Commits refused for want of memory; only grows."),
            metric("process_resident_bytes", resident_bytes(), "bytes", "This process, as the system sees it."),
            metric("process_anonymous_bytes", anonymous_bytes(), "bytes", "The same without mapped files."),
        ]

    def _stall(self, bytes_count: int) -> None:
        """Queue behind those that wait, and wait for room."""
        if not self.flushes or bytes_count > min(self.memtables_bytes, self.limit):
            self._refuse(bytes_count, waited=None)
        ticket = object()
        began = self._clock()
        with self._freed:
            self._waiting.append(ticket)
            self._stall_began[ticket] = began
            self._stalls += 1
            try:
                while self._stopped is None and (self._waiting[0] is not ticket or self._excess(bytes_count)):
                    interrupts.check()
                    left = began + self.stall_seconds - self._clock()
                    if left <= 0:
                        self._refuse(bytes_count, waited=self._clock() - began)
                    if self._on_pressure is not None:
                        self._on_pressure()
                    self._wait(min(left, WAIT_STEP_SECONDS))
                    self._held_at = -HELD_FRESH_SECONDS
            finally:
                self._stall_seconds_before += self._clock() - self._stall_began.pop(ticket)
                self._waiting.remove(ticket)
                self._freed.notify_all()
        if self._stopped is not None:
            raise self._stopped

    def _excess(self, bytes_count: int) -> int | None:
        """How many bytes too many there would be with ``bytes_count`` more; None where they fit."""
        memtables = frozen = 0
        for gauge in self._gauges.values():
            if gauge.part is Part.MEMTABLES:
                memtables += gauge.read()
            elif gauge.part is Part.FROZEN:
                frozen += gauge.read()
        rows = memtables + frozen + bytes_count
        excess = rows + self._held_bytes() - self.limit
        if self.flushes:
            excess = max(excess, rows - self.memtables_bytes)
        self._room, self._room_until = -excess // ROOM_SHARE, self._clock() + HELD_FRESH_SECONDS
        return excess if excess > 0 else None

    def _held_bytes(self) -> int:
        now = self._clock()
        if now - self._held_at >= HELD_FRESH_SECONDS:
            self._held = self.used(Part.HELD)
            self._held_at = now
        return self._held

    def _refuse(self, bytes_count: int, *, waited: float | None) -> NoReturn:
        self._refused += 1
        held = ", ".join(
            f"{usage.name} {format_bytes(usage.bytes)}"
            for usage in sorted(self.usage(), key=lambda usage: -usage.bytes)
            if usage.bytes
        )
        patience = "" if waited is None else f" (after waiting {waited:.0f} s)"
        if not self.flushes:
            hint = "A database in memory keeps all rows there: delete or DROP what is not needed, use a data folder, "
        elif waited is None:
            hint = "Write less in one transaction, "
        else:
            hint = "Write more slowly, end transactions and results that are open for long, "
        raise LimitExceeded(
            f"memory_limit ({format_bytes(self.limit)}) leaves no room for {format_bytes(bytes_count)} of rows"
            f"{patience}; in use: {held or 'nothing'}",
            hint=f"{hint}or open with a larger memory_limit. SELECT * FROM weft_metrics shows what holds the memory.",
            sqlstate="53200",
        )


def format_bytes(count: int) -> str:
    """A size for people: ``640 bytes``, ``1.5 GiB``."""
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:,} bytes"


def resident_bytes() -> int:
    """Resident memory of this process: the budget, the interpreter and its libraries, mapped pages of segments."""
    return _statm()[0]


def anonymous_bytes() -> int:
    """Resident memory that no file stands behind."""
    resident, shared = _statm()
    return resident - shared


def _statm() -> tuple[int, int]:
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return int(fields[1]) * page, int(fields[2]) * page


def keep_freed_memory() -> None:
    """Have the C library keep what is freed until ``give_memory_back``, also from arrays of some megabytes.

    By itself it maps and unmaps each of these: with every chunk and every flush the system has to find, and clear, the
    pages that it has just got back. Where the C library has no such setting, nothing happens.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is not None:
        setting(_M_MMAP_THRESHOLD, _MAPPED_BYTES_MIN)
        setting(_M_TRIM_THRESHOLD, _TRIMMED_BYTES_MIN)


def give_memory_back() -> None:
    """Give what was freed, and the C library and Arrow keep for later, back to the operating system."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MAPPED_BYTES_MIN: Final = 32 * MIB  # glibc's highest; larger arrays are mapped one by one
_TRIMMED_BYTES_MIN: Final = 2**31 - 1


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))
