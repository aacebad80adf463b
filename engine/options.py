"""The engine's configuration: one object with its defaults, and the reason for each.

What a user may tune is here; what nobody should is in base/limits.py. How ``memory_limit`` is shared out is said in
engine/memory.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path

from ..base.errors import Invalid
from ..base.limits import GIB, IDLE_TRANSACTION_SECONDS, MIB, STALL_SECONDS


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or less in a control group (a container)."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_group_limits()])


def machine_threads() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How an engine is opened.

    ``durable``: a commit is on the disk before it is acknowledged. Without it a crash of the machine may lose the
    newest commits.

    ``memory_limit``: bytes for everything that grows with the data and the load: memtables, indexes, caches, write
    sets, the relational executor. A quarter of the machine: the rest is for the operating system, whose page cache
    holds the segments, and for other programs.

    ``history_seconds``: how long ended row versions stay readable without a pin.

    ``flush_bytes``: memtables beyond this are written into segments; None: an eighth of memory_limit, see memory.py.
    ``log_bytes``: as soon as the log since the last checkpoint exceeds this, a checkpoint follows; it bounds what a
    restart has to replay, some seconds. ``checkpoint_seconds``: rows wait at most so long for a checkpoint, so that a
    database that is hardly written to starts at once, too.

    ``compaction_rate``: bytes a second that compaction writes at most; None is no limit. The disk's bandwidth is shared
    with the log, whose syncs writers wait for.

    ``maintenance``: flush and compact in the background. Without it nothing happens but by ``flush`` and ``compact``.

    ``write_set_bytes``: what one open transaction holds in memory before it spills into files; None: a sixteenth of
    memory_limit, see memory.py. ``max_transaction_bytes``: what one transaction may write in all; a bound for mistakes,
    since the disk is the only other one.

    ``named_snapshots_bytes``: old rows that named snapshots may keep together, see named.py.

    ``feed_positions_bytes``: old rows that named feeds may keep together beyond history, see positions.py.
    ``idle_transaction_seconds``: a transaction that its owner has not used for so long is rolled back, 0: never. It is
    the default of the setting idle_in_transaction_session_timeout.

    ``stall_seconds``: how long a commit waits for memory before it is refused.

    ``verify_rows``: rows a second that are read in the background to verify random groups of materialized views, see
    aggregates/sample.py; 0 is none.

    ``threads``: of the relational executor. ``temp_directory``: where it spills to; None: ``tmp`` in the data folder,
    the system's folder for a database in memory.

    ``archive``: a folder that entries of the log are copied to before they are trimmed, so that a backup can be rolled
    forward to any later version; None: they are gone. Nothing is trimmed while it cannot be written.

    ``copy_folder``: the folder whose files COPY may read and write for the clients of a server; None: no files. The
    program that has the database embedded may use its own files anyway.

    Raises Invalid for a value that cannot be.
    """

    durable: bool = True
    memory_limit: int = field(default_factory=lambda: machine_memory() // 4)
    history_seconds: int = 600
    flush_bytes: int | None = None
    log_bytes: int = 256 * MIB
    checkpoint_seconds: int = 600
    compaction_rate: int | None = 128 * MIB
    maintenance: bool = True
    write_set_bytes: int | None = None
    max_transaction_bytes: int = 64 * GIB
    named_snapshots_bytes: int = 64 * GIB
    feed_positions_bytes: int = 64 * GIB
    idle_transaction_seconds: float = IDLE_TRANSACTION_SECONDS
    stall_seconds: float = STALL_SECONDS
    verify_rows: int = 10_000
    threads: int = field(default_factory=machine_threads)
    temp_directory: str | Path | None = None
    archive: str | Path | None = None
    copy_folder: str | Path | None = None

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and float(value) > 0):
                raise _refused(name, value, "Give a number above 0, sizes in bytes, or leave it out.")
        for name in ("history_seconds", "stall_seconds", "idle_transaction_seconds", "verify_rows"):
            value = getattr(self, name)
            if not (isinstance(value, Real) and float(value) >= 0):
                raise _refused(name, value, "Give a number, 0 or more.")


_POSITIVE = (
    "memory_limit", "flush_bytes", "log_bytes", "compaction_rate", "checkpoint_seconds", "threads", "write_set_bytes",
    "max_transaction_bytes", "named_snapshots_bytes", "feed_positions_bytes",
)  # fmt: skip


def _refused(name: str, value: object, hint: str) -> Invalid:
    return Invalid(f"option {name} cannot be {value!r}", hint=hint, sqlstate="22023")


def _group_limits() -> list[int]:
    """The memory limits of the control groups that this process is in (cgroup version 2, else 1)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    files = [Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    for line in lines:
        number, _, path = line.split(":", 2)
        if number == "0":
            group = Path("/sys/fs/cgroup") / path.lstrip("/")
            files += [parent / "memory.max" for parent in (group, *group.parents) if parent.is_relative_to(_GROUPS)]
    found: list[int] = []
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    return found


_GROUPS = Path("/sys/fs/cgroup")
