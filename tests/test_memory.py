"""The budget: what is counted, when memtables are flushed, who waits, and who is refused. One test has threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from weftdb.base.errors import Closed, Invalid, LimitExceeded
from weftdb.base.limits import FLUSH_BYTES_MAX, FLUSH_BYTES_MIN, GIB, MIB
from weftdb.base.types import BIGINT, DOUBLE, TEXT
from weftdb.engine.cells import TableStore
from weftdb.engine.column_store import VariableColumn
from weftdb.engine.memory import (
    HELD_FRESH_SECONDS,
    WAIT_STEP_SECONDS,
    Budget,
    Part,
    anonymous_bytes,
    format_bytes,
    give_memory_back,
)
from weftdb.engine.memtable import Memtable
from weftdb.engine.options import Options, machine_memory, machine_threads
from weftdb.engine.schema import Column, Table


class World:
    """A budget whose clock moves only while somebody waits; ``then`` happens at the wait of that number (from 1)."""

    def __init__(self, limit: int = 1000, *, flushes: bool = True, flush_bytes: int | None = 100) -> None:
        self.now = 0.0
        self.waits = 0
        self.then: dict[int, Callable[[], object]] = {}
        self.anonymous = 5000
        self.given_back: list[float] = []
        self.bytes = {"memtables": 0, "frozen": 0, "others": 0}
        self.budget = Budget(
            limit,
            flushes=flushes,
            flush_bytes=flush_bytes,
            stall_seconds=10,
            clock=lambda: self.now,
            wait=self.wait,
            anonymous=lambda: self.anonymous,
            give_back=lambda: self.given_back.append(self.now),
        )
        for name, part in (("memtables", Part.MEMTABLES), ("frozen", Part.FROZEN), ("others", Part.HELD)):
            self.budget.register(name, lambda name=name: self.bytes[name], f"The {name}.", part=part)

    def wait(self, seconds: float) -> None:
        assert 0 < seconds <= WAIT_STEP_SECONDS
        self.now += seconds
        self.waits += 1
        self.then.get(self.waits, lambda: None)()

    def hold(self, **bytes_of: int) -> None:
        self.bytes.update(bytes_of)
        self.now += HELD_FRESH_SECONDS


def test_the_gauges_are_added_up() -> None:
    world = World()
    world.hold(memtables=1, frozen=20, others=300)
    assert world.budget.used() == 321
    assert world.budget.used(Part.FROZEN) == 20
    assert [(usage.name, usage.bytes) for usage in world.budget.usage()] == [
        ("buffers", 0),
        ("memtables", 1),
        ("frozen", 20),
        ("others", 300),
    ]


def test_a_gauge_can_be_replaced_and_taken_out() -> None:
    budget = Budget(1000)
    first = budget.register("caches", lambda: 1, "Caches.")
    second = budget.register("caches", lambda: 2, "Caches.")
    first()
    assert budget.used() == 2
    second()
    assert budget.used() == 0


def test_buffers_are_counted_while_they_are_borrowed() -> None:
    world = World()
    with world.budget.borrowed(300), world.budget.borrowed(20):
        assert world.budget.used() == 320
    with pytest.raises(ZeroDivisionError), world.budget.borrowed(300):
        assert 1 // 0
    assert world.budget.used() == 0


@pytest.mark.parametrize(
    ("limit", "flush_bytes"),
    [(10_000, 2_500), (64 * MIB, FLUSH_BYTES_MIN), (GIB, 128 * MIB), (64 * GIB, FLUSH_BYTES_MAX)],
)
def test_memtables_are_flushed_at_an_eighth_within_bounds(limit: int, flush_bytes: int) -> None:
    assert Budget(limit).flush_bytes == flush_bytes
    assert 2 * flush_bytes <= Budget(limit).memtables_bytes <= limit


def test_a_flush_is_due_when_the_memtables_are_large_whatever_is_frozen_already() -> None:
    world = World()
    world.hold(memtables=99, frozen=300)
    assert not world.budget.flush_due
    world.hold(memtables=100)
    assert world.budget.flush_due


def test_a_commit_that_fits_does_not_wait() -> None:
    world = World()
    world.hold(memtables=300, frozen=100)
    world.budget.before_commit(100)
    assert (world.waits, world.budget.stalls, world.budget.stalled_seconds) == (0, 0, 0)


def test_writers_wait_while_memtables_and_frozen_ones_exceed_half_of_the_limit() -> None:
    world = World()
    world.hold(memtables=200, frozen=250)
    world.then[3] = lambda: world.bytes.update(frozen=0)
    world.budget.before_commit(100)
    assert world.waits == 3
    assert world.budget.stalls == 1
    assert world.budget.stalled_seconds == pytest.approx(3 * WAIT_STEP_SECONDS)
    assert world.budget.stalled_now == 0


def test_writers_wait_while_all_together_exceeds_the_limit() -> None:
    world = World()
    world.hold(memtables=10, others=950)
    world.then[2] = lambda: world.bytes.update(others=100)
    world.budget.before_commit(100)
    assert world.waits == 2


def test_a_flush_is_due_earlier_when_writers_wait() -> None:
    world = World()
    world.hold(memtables=20, others=950)
    seen: list[tuple[bool, int]] = []

    def flush() -> None:
        seen.append((world.budget.flush_due, world.budget.stalled_now))
        world.bytes.update(memtables=0, others=0)

    assert not world.budget.flush_due
    world.then[1] = flush
    world.budget.before_commit(100)
    assert seen == [(True, 1)]
    assert not world.budget.flush_due


def test_who_waits_calls_for_maintenance() -> None:
    world = World()
    called: list[int] = []

    def called_for() -> None:
        called.append(world.waits)
        world.bytes.update(frozen=0)

    world.hold(frozen=500)
    world.budget.on_pressure(called_for)
    world.budget.before_commit(10)
    assert called == [0]
    assert world.waits == 1


def test_a_commit_is_refused_when_waiting_was_in_vain_and_the_error_says_what_holds_the_memory() -> None:
    world = World()
    world.hold(memtables=30, frozen=480)
    with pytest.raises(LimitExceeded, match=r"memory_limit \(1,000 bytes\)") as caught:
        world.budget.before_commit(64)
    error = caught.value
    assert error.sqlstate == "53200"
    assert "no room for 64 bytes of rows (after waiting 10 s); in use: frozen 480 bytes, memtables 30 bytes" in str(
        error
    )
    assert "weft_metrics" in str(error.hint)
    assert world.budget.stalled_seconds == pytest.approx(10)
    assert world.budget.refused == 1
    world.hold(frozen=0)
    world.budget.before_commit(64)


def test_a_commit_that_can_never_fit_is_refused_at_once() -> None:
    world = World()
    with pytest.raises(LimitExceeded, match="Write less in one transaction"):
        world.budget.before_commit(501)
    assert world.waits == 0


def test_commits_without_rows_never_wait() -> None:
    world = World()
    world.hold(memtables=5000)
    world.budget.before_commit(0)


def test_a_database_in_memory_refuses_at_the_limit_and_never_waits() -> None:
    world = World(flushes=False)
    world.hold(memtables=900)
    world.budget.before_commit(100)
    with pytest.raises(LimitExceeded, match="in use: memtables 900 bytes"):
        world.budget.before_commit(101)
    assert world.waits == 0
    world.hold(memtables=0)
    world.budget.before_commit(1000)


def test_the_sum_of_what_is_held_is_a_little_old() -> None:
    world = World()
    world.budget.before_commit(1)
    world.bytes.update(others=5000)
    world.budget.before_commit(1)
    world.now += HELD_FRESH_SECONDS
    world.then[1] = lambda: world.bytes.update(others=0)
    world.budget.before_commit(1)
    assert world.waits == 1
    world.budget.freed()
    world.bytes.update(others=5000)
    world.then[2] = lambda: world.bytes.update(others=0)
    world.budget.before_commit(1)
    assert world.waits == 2


def test_freed_memory_goes_back_to_the_system_when_nobody_commits() -> None:
    world = World()
    world.now = 100
    world.budget.before_commit(1)
    world.budget.tidy()
    world.budget.freed()
    world.now = 101
    world.budget.tidy()
    assert not world.given_back
    world.now = 102
    world.budget.tidy()
    world.now = 103
    world.budget.tidy()
    assert world.given_back == [102]


def test_freed_memory_goes_back_at_once_when_the_process_is_larger_than_the_limit_but_not_all_the_time() -> None:
    world = World()
    world.anonymous = 6001
    for second in range(100, 125):
        world.now = second
        world.budget.before_commit(1)
        world.budget.freed()
        world.budget.tidy()
    assert world.given_back == [100, 110, 120]
    world.anonymous = 6000
    world.now = 140
    world.budget.before_commit(1)
    world.budget.tidy()
    assert len(world.given_back) == 3


def test_giving_memory_back_makes_the_process_smaller() -> None:
    kept = [bytes(50_000) for _ in range(4_000)]
    between = kept[::2]
    full = anonymous_bytes()
    del kept
    give_memory_back()
    assert full - anonymous_bytes() > 50_000_000
    assert len(between) == 2_000


def test_small_commits_do_not_overtake_a_large_one_that_waits() -> None:
    """They would fit, and so it would starve."""
    bytes_frozen = 900
    budget = Budget(2000, flush_bytes=100, stall_seconds=30)
    budget.register("frozen", lambda: bytes_frozen, "Frozen.", part=Part.FROZEN)
    budget.before_commit(1)
    passed: list[int] = []

    def commit(size: int) -> None:
        budget.before_commit(size)
        passed.append(size)

    threads: list[threading.Thread] = []
    for number, size in enumerate((500, 1, 2), 1):
        threads.append(threading.Thread(target=commit, args=(size,)))
        threads[-1].start()
        while budget.stalled_now < number:
            threads[-1].join(0.001)
    assert not passed
    bytes_frozen = 0
    budget.freed()
    for thread in threads:
        thread.join()
    assert sorted(passed) == [1, 2, 500]
    assert budget.stalls == 3
    assert budget.stalled_now == 0


def test_writers_that_wait_are_told_when_the_engine_closes() -> None:
    world = World()
    world.hold(frozen=500)
    world.then[2] = lambda: world.budget.stop(Closed("the database is closed"))
    with pytest.raises(Closed):
        world.budget.before_commit(10)
    assert world.waits == 2


def test_the_shares_of_a_gigabyte() -> None:
    budget = Budget(GIB)
    assert budget.executor_bytes == 256 * MIB
    assert budget.write_set_bytes == 64 * MIB
    assert budget.memtables_bytes == 512 * MIB
    assert budget.executor_threads(1) == 1
    assert budget.executor_threads(64) == 2


def test_a_small_budget_still_lets_the_executor_work() -> None:
    assert Budget(MIB).executor_bytes == 64 * MIB
    assert Budget(MIB).executor_threads(16) == 1


def test_the_default_limit_is_a_quarter_of_what_this_process_may_use() -> None:
    assert Options().memory_limit == machine_memory() // 4
    assert 0 < machine_memory() <= 1 << 50
    assert Options().threads == machine_threads() >= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_limit", 0),
        ("memory_limit", "200MB"),
        ("flush_bytes", -1),
        ("threads", 0),
        ("stall_seconds", -1),
        ("verify_rows", None),
    ],
)
def test_options_that_cannot_be_are_invalid(name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=f"option {name} cannot be {value!r}"):
        Options(**{name: value})


def test_options_make_a_budget() -> None:
    options = Options(memory_limit=GIB, flush_bytes=MIB, stall_seconds=1, temp_directory=Path("x"))
    budget = Budget.of(options, flushes=True)
    assert (budget.limit, budget.flush_bytes, budget.stall_seconds, budget.flushes) == (GIB, MIB, 1, True)


def arrays_of(memtable: Memtable) -> int:
    """Bytes of a memtable's arrays as far as they are filled: what ``bytes_used`` should say, looked up one by one."""
    count = memtable.index.bytes_used
    for chunk in memtable.chunks:
        rows = chunk.count
        for column in chunk.columns.values():
            if isinstance(column, VariableColumn):
                count += 4 * rows + int(column.offsets[rows])
            else:
                count += column.values[:rows].nbytes
        count += chunk.begins[:rows].nbytes
        if chunk.key_offsets is None:
            count += chunk.keys.nbytes * rows // chunk.capacity
        else:
            count += 4 * rows + 8 * int(chunk.key_offsets[rows])
        count += sum(0 if array is None else array.nbytes for array in (chunk.ends, chunk.previous, chunk.deltas))
    return count


@pytest.mark.parametrize("key", ["a", "b", ""])
def test_what_memtables_say_they_take_is_what_their_arrays_take(key: str) -> None:
    """Fixed and variable keys, long texts, NULLs, updates and deletes."""
    columns = [Column(id=n, name=name, type=type) for n, (name, type) in enumerate(_COLUMNS.items(), 1)]
    primary = tuple(column.id for column in columns if column.name == key)
    store = TableStore(Table(id=100, name="t", columns=tuple(columns), primary_key=primary, key=primary))
    for version in range(1, 9):
        numbers = np.arange(4000 * (version % 4), 4000 * (version % 4) + 9_000)
        rows = pa.table(
            {
                "a": numbers,
                "b": [f"{n:0{20 + n % 300}d}" for n in numbers],
                "c": pa.array([None if n % 3 else n * 1.5 for n in numbers], pa.float64()),
            }
        )
        store.apply_put(rows.to_batches()[0], version=version)
    memtables = [part for cell in store._cells.all() for part in cell.parts if isinstance(part, Memtable)]
    assert store.bytes_used == sum(memtable.bytes_used for memtable in memtables)
    assert store.bytes_used == pytest.approx(sum(map(arrays_of, memtables)), rel=0.05)


_COLUMNS = {"a": BIGINT, "b": TEXT, "c": DOUBLE}


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1023, "1,023 bytes"), (1536, "1.5 KiB"), (3 * GIB // 2, "1.5 GiB")]
)
def test_sizes_are_said_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text
