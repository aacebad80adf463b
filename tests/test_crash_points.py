"""A crash at any step of anything that writes: all that was acknowledged is there, and nothing else.

One course runs over a simulated disk. Before and after each of its steps the disk is taken as a crash may leave it
(see simulated_disk.py), opened, and compared with the course's oracle; ``check_storage`` looks at every segment. The
process that crashed takes no further part, so one run of the course serves for all of its points.

``make test`` takes some of the points of a few courses, ``make soak`` all of many.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import soak
from crash_course import WRITE_SET_BYTES, Course, Promise, check, check_repeats, check_storage
from simulated_disk import Crash, SimulatedDisk
from weftdb.engine.database import Engine
from weftdb.engine.options import Options

STEPS = 70
POINTS = 35 if soak.FACTOR == 1 else 100_000
"""Points per course: all of them in the long runs."""

POINTS_BESIDE = 20 if soak.FACTOR == 1 else 100_000
"""Of a course with maintenance beside it, which takes the more steps the slower the machine is."""

SEEDS = range(soak.SEED, soak.SEED + (5 if soak.FACTOR == 1 else soak.FACTOR // 2))


def options(seed: int) -> Options:
    """With and without history: without, merges drop whatever no pin needs."""
    return Options(
        maintenance=False,
        history_seconds=600 if seed % 3 == 0 else 0,
        memory_limit=1 << 30,
        write_set_bytes=WRITE_SET_BYTES,
    )


def open_engine(disk: SimulatedDisk, seed: int) -> Engine:
    return Engine.open(storage=disk.storage(), options=options(seed))


@dataclass(frozen=True, slots=True)
class Point:
    """A moment: the disk after a crash at it, and what had been promised."""

    disk: SimulatedDisk
    promise: Promise
    step: int
    action: str


def run(disk: SimulatedDisk, course: Course, *, seed: int, watch: Callable[[str], object] | None = None) -> None:
    """Run the course on the disk, with a restart in the middle."""
    action = ["open"]
    if watch is not None:
        disk.watch = lambda: watch(action[0])
    engine = open_engine(disk, seed)
    course.start(engine)
    for step in range(STEPS):
        if step == STEPS // 2:
            engine.close()
            action[0] = "restart"
            engine = open_engine(disk, seed)
            course.reopened(engine)
        action[0] = f"action {step}"
        action[0] = course.step(engine)
    course.end()
    engine.close()
    disk.watch = lambda: None


def points(seed: int) -> list[Point]:
    """A sample of the points of a course; the last one is its end."""
    chance = random.Random(seed)
    count = SimulatedDisk()
    run(count, Course(seed), seed=seed)
    wanted = min(1.0, POINTS / (2 * count.steps_count))
    disk = SimulatedDisk()
    course = Course(seed)
    found: list[Point] = []

    def watch(action: str) -> None:
        if chance.random() < wanted:
            promise = course.promise
            found.append(Point(disk=disk.after_crash(chance), promise=promise, step=disk.steps_count, action=action))

    run(disk, course, seed=seed, watch=watch)
    return [*found, Point(disk=disk.restarted(), promise=course.promise, step=disk.steps_count, action="the end")]


@pytest.mark.timeout(120 * soak.FACTOR)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_at_any_point_loses_nothing_that_was_acknowledged(seed: int) -> None:
    chance = random.Random(seed)
    found = points(seed)
    for number, point in enumerate(found):
        where = f"seed {seed}, point {number}: step {point.step}, during {point.action}"
        try:
            with open_engine(point.disk, seed) as engine:
                check_storage(engine, whole=number % 3 == 0)
                promise = check(engine, point.promise)
                check_repeats(engine, point.promise)
                if point.promise.pending_batch is not None:
                    promise = Promise(committed=point.promise.pending or promise.committed)
                again = chance.random() < 0.15
                if again:
                    promise = go_on(engine, promise, seed=number)
            if again:
                with open_engine(point.disk.restarted(), seed) as engine:
                    check(engine, promise)
                    check_storage(engine)
        except BaseException as error:
            error.add_note(where)
            raise
    assert len(found) > (25 if soak.FACTOR == 1 else 40)


def go_on(engine: Engine, promise: Promise, *, seed: int) -> Promise:
    """The engine works as before: another course over what is there."""
    course = Course(seed)
    course.promise = Promise(committed=promise.committed, version=promise.version)
    course.sequence = 1_000_000
    if not course.promise.committed.tables:
        course.start(engine)
    for step in range(10):
        if step == seed % 10:
            engine.compact()
        course.step(engine)
        if step == 5:
            engine.flush()
    course.end()
    check(engine, course.promise)
    check_storage(engine)
    return course.promise


@contextlib.contextmanager
def working(*works: Callable[[], object]) -> Iterator[None]:
    """A thread that does these again and again until the block ends."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.wait(0.002):
                for work in works:
                    work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


@pytest.mark.timeout(120 * soak.FACTOR)
@pytest.mark.parametrize("seed", range(2 * soak.FACTOR))
def test_a_crash_while_maintenance_works_in_the_background(seed: int) -> None:
    """Two threads flush and merge all the time, beside the commits: each run is another one."""
    chance = random.Random(seed)
    disk = SimulatedDisk()
    course = Course(seed, without={"retain", "put_kept"})
    found: list[Point] = []

    def watch() -> None:
        if chance.random() < 0.02:
            promise = course.promise  # before the disk: no append can come between, and what has been is pending
            found.append(Point(disk=disk.after_crash(chance), promise=promise, step=disk.steps_count, action=""))

    disk.watch = watch
    engine = open_engine(disk, seed)
    course.start(engine)
    with working(engine.flush), working(engine.maintenance.compact_once, engine.maintenance.tidy):
        for _ in range(2 * STEPS):
            course.step(engine)
    course.end()
    check(engine, course.promise)
    check_storage(engine)
    engine.close()
    assert len(found) > 3
    for point in chance.sample(found, min(len(found), POINTS_BESIDE)):
        with open_engine(point.disk, seed) as engine:
            check_storage(engine)
            check(engine, point.promise)
            check_repeats(engine, point.promise)


@pytest.mark.timeout(120 * soak.FACTOR)
@pytest.mark.parametrize("seed", range(20 * soak.FACTOR))
def test_a_crash_ends_the_process_without_further_writes(seed: int) -> None:
    """The same with a real exception: nothing that cleans up swallows it, or hangs."""
    crash_at = random.Random(seed).randrange(1, 100)
    disk = SimulatedDisk(crash_at=crash_at, seed=seed)
    course = Course(seed)
    with pytest.raises(Crash):
        run(disk, course, seed=seed)
    assert disk.steps_count == crash_at
    with open_engine(disk.after_crash(random.Random(seed)), seed) as engine:
        check(engine, course.promise)
        check_storage(engine)


def test_courses_do_everything() -> None:
    done: dict[str, int] = {}
    steps: set[str] = set()
    for seed in range(6):
        disk, course = SimulatedDisk(), Course(seed)
        run(disk, course, seed=seed)
        done = {name: done.get(name, 0) + course.done.get(name, 0) for name in (*done, *course.done)}
        steps |= {step.split()[0] for step in disk.steps}
    assert steps == {"lease", "append", "trim", "create", "write", "sync", "remove", "commit", "reserve"}
    assert set(done) == {action.__name__ for action, _ in Course(0)._actions}
