"""Kernels are compiled by one process that is nobody's burden, and kept on disk for all of a user's processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import weftdb
from numba.core.dispatcher import Dispatcher
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.pipeline import files, generate, kernels
from weftdb.engine.pipeline.helper import Helper
from weftdb.engine.pipeline.kernels import Kernels
from weftdb.engine.pipeline.shape import Shape
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

SMALL = """
import os, time
from numba import njit

{before}
@njit("int64(int64)", cache=True)
def kernel(x):
    return x + {number}
"""


def shape(number: int) -> Shape:
    """Any; ``texts`` gives them kernels that compile in a moment."""
    return Shape(
        slots=(), tables=number, filters=(), keys=(), sink="one", accumulators=(("count", None, None),), key_arguments=0
    )


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """What comes before the kernel of a shape, by its number: Python that the helper runs."""
    found: dict[int, str] = {}

    def source(shape: Shape) -> str:
        return SMALL.format(number=shape.tables, before=found.get(shape.tables, ""))

    monkeypatch.setattr(kernels, "source", source)
    return found


@pytest.fixture
def made(texts: dict[int, str], tmp_path: Path) -> Iterator[Callable[[], Kernels]]:
    """Makes Kernels over one folder."""
    found: list[Kernels] = []

    def make() -> Kernels:
        found.append(Kernels(tmp_path / "kernels"))
        found[-1].runs_programs = False
        return found[-1]

    (tmp_path / "kernels").mkdir()
    yield make
    for each in found:
        each.close()


def is_there(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """What the condition gives as soon as it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not so after {seconds} s")


def value(known: kernels.Known | None) -> int:
    assert known is not None
    assert known.kernel is not None
    return known.kernel(1)


def test_nobody_waits_and_one_process_compiles_all(made: Callable[[], Kernels]) -> None:
    of = made()
    assert of.kernel(shape(1)) is None
    assert value(of.kernel(shape(1), wait=True)) == 2
    first = of.helper_pid
    assert [value(of.kernel(shape(number), wait=True)) for number in (2, 3)] == [3, 4]
    assert of.helper_pid == first is not None
    assert os.getpriority(os.PRIO_PROCESS, first) >= 10
    assert [known.state for known in of.all()] == ["ready"] * 3


def test_another_process_finds_it_compiled(made: Callable[[], Kernels]) -> None:
    made().kernel(shape(1), wait=True)
    other = made()
    known = other.kernel(shape(1))
    assert value(known) == 2
    assert known is not None
    assert (known.compile_seconds, other.helper_pid) == (0, None)
    assert not known.kernel.stats.cache_misses  # pyright: ignore[reportFunctionMemberAccess, reportOptionalMemberAccess]


def test_for_few_rows_a_program_is_run_before_anybody_looks_for_its_kernel(made: Callable[[], Kernels]) -> None:
    made().kernel(shape(1), wait=True)
    other = made()
    other.runs_programs = True
    known = other.kernel(shape(1), many=False)
    assert known is not None
    assert (known.state, known.kernel, known._name) == ("program", None, None)
    assert value(other.kernel(shape(1))) == 2
    assert (known.state, known.compile_seconds, other.helper_pid) == ("ready", 0, None)


def test_a_program_answers_until_it_is_worth_a_compiler(made: Callable[[], Kernels]) -> None:
    of = made()
    of.runs_programs = True
    for number, many in ((1, True), (2, False)):
        for wait in (True, False)[not many :]:
            known = of.kernel(shape(number), wait=wait, many=many)
            assert known is not None
            assert known.program is not None
            assert (known.state, known.kernel) == ("program", None) or many
    first, second = of.all()
    until(lambda: first.kernel)
    assert value(of.kernel(shape(1))) == 2
    assert (first.state, first.hits, second.state, second.hits) == ("ready", 3, "program", 1)
    second.run_seconds = 10
    assert of.kernel(shape(2), many=False) is second
    until(lambda: second.kernel)
    assert value(of.kernel(shape(2))) == 3


def test_two_processes_that_write_a_kernel_at_once_do_not_disturb_each_other(
    made: Callable[[], Kernels], tmp_path: Path
) -> None:
    of = made()
    name = of.kernel(shape(1), wait=True).name  # pyright: ignore[reportOptionalMemberAccess]
    path = tmp_path / "kernels" / f"{name}.py"
    text = path.read_text()
    path.unlink()
    time.sleep(0.01)
    files.write(path, text)
    known = made().kernel(shape(1))
    assert value(known) == 2
    assert not known.kernel.stats.cache_misses  # pyright: ignore[reportFunctionMemberAccess, reportOptionalMemberAccess]


def test_with_few_rows_a_kernel_is_compiled_when_it_is_wanted_again(made: Callable[[], Kernels]) -> None:
    of = made()
    assert of.kernel(shape(1), many=False) is None
    assert [known.state for known in of.all()] == ["seen"]
    time.sleep(0.05)
    assert of.helper_pid is None
    assert of.kernel(shape(1), many=False) is None
    assert value(until(lambda: of.kernel(shape(1), many=False))) == 2


def test_what_cannot_be_compiled_is_tried_once_by_all_processes(
    made: Callable[[], Kernels], texts: dict[int, str], tmp_path: Path
) -> None:
    texts[1] = f"open({str(tmp_path / 'tried')!r}, 'a').write('x')\nraise ValueError('no such thing')"
    for of in (made(), made()):
        for _ in range(3):
            assert of.kernel(shape(1), wait=True) is None
        (known,) = of.all()
        assert known.state == "failed"
        assert known.reason is not None
        assert "no such thing" in known.reason
        assert "no such thing" in of.reason(shape(1))
    assert (tmp_path / "tried").read_text() == "x"
    assert value(of.kernel(shape(2), wait=True)) == 3


def test_a_process_that_dies_is_followed_by_another(
    made: Callable[[], Kernels], texts: dict[int, str], tmp_path: Path
) -> None:
    there = tmp_path / "there"
    texts[1] = f"if not os.path.exists({str(there)!r}):\n    open({str(there)!r}, 'w').close()\n    os._exit(9)"
    texts[2] = "os._exit(9)"
    of = made()
    assert value(of.kernel(shape(1), wait=True)) == 2
    assert of.kernel(shape(2), wait=True) is None
    assert "died" in of.reason(shape(2))
    assert value(of.kernel(shape(3), wait=True)) == 4


def test_a_process_that_does_not_start_is_given_up(
    made: Callable[[], Kernels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    of = made()
    for number in range(kernels.HELPER_STARTS_MAX + 2):
        assert of.kernel(shape(number), wait=True) is None
    assert {known.state for known in of.all()} == {"failed"}
    assert "does not start" in of.reason(shape(1))
    monkeypatch.undo()
    assert of.kernel(shape(9), wait=True) is None, "it was given up"


def test_a_compile_that_takes_too_long_is_ended(
    made: Callable[[], Kernels], texts: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Helper._start

    def start_in_any_time(self: Helper) -> Any:
        monkeypatch.setattr("weftdb.engine.pipeline.helper.COMPILE_SECONDS_MAX", 100)
        process = start(self)
        monkeypatch.setattr("weftdb.engine.pipeline.helper.COMPILE_SECONDS_MAX", 0.2)
        return process

    monkeypatch.setattr(Helper, "_start", start_in_any_time)
    texts[1] = "time.sleep(100)"
    of = made()
    assert of.kernel(shape(1), wait=True) is None
    assert "too long" in of.reason(shape(1))


def test_only_so_many_wait(made: Callable[[], Kernels], texts: dict[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "KERNELS_WAITING_MAX", 2)
    texts[0] = "time.sleep(100)"
    of = made()
    of.kernel(shape(0))
    until(lambda: of.all()[0].state == "compiling")
    for number in range(1, 6):
        of.kernel(shape(number))
    assert [known.state for known in of.all()] == ["compiling", "waiting", "waiting"]
    assert "too many" in of.reason(shape(5))


def test_the_shapes_that_are_known_are_the_newest(made: Callable[[], Kernels], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "KERNELS_MAX", 3)
    of = made()
    for number in (1, 2, 3, 1, 4):
        of.kernel(shape(number), many=False)
    assert [known.shape.tables for known in of.all()] == [3, 1, 4]


def test_closing_ends_a_compile_and_does_not_wait(made: Callable[[], Kernels], texts: dict[int, str]) -> None:
    texts[1] = "time.sleep(100)"
    of = made()
    of.kernel(shape(1))
    of.kernel(shape(2))
    pid = until(lambda: of.all()[0].state == "compiling" and of.helper_pid)
    began = time.monotonic()
    of.close()
    assert time.monotonic() - began < 1
    assert not is_there(pid)
    until(lambda: {known.state for known in of.all()} == {"failed"})
    assert of.kernel(shape(3)) is None


def test_who_waits_can_be_cancelled(made: Callable[[], Kernels], texts: dict[int, str]) -> None:
    texts[1] = "time.sleep(100)"

    def check() -> None:
        raise weftdb.Invalid("cancelled")

    with pytest.raises(weftdb.Invalid, match="cancelled"):
        made().kernel(shape(1), wait=True, check=check)


def test_a_process_without_work_ends(made: Callable[[], Kernels], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "HELPER_IDLE_SECONDS", 0.2)
    of = made()
    of.kernel(shape(1), wait=True)
    pid = of.helper_pid
    assert pid is not None
    until(lambda: not is_there(pid))
    until(lambda: not any(thread.name == "weftdb-kernels" for thread in threading.enumerate()))
    assert value(of.kernel(shape(2), wait=True)) == 3


CHILD = """
import sys, time
from pathlib import Path
from weftdb.engine.pipeline import kernels
from weftdb.engine.pipeline.shape import Shape
kernels.source = lambda shape: "import time\\ntime.sleep(100)"
of = kernels.Kernels(Path(sys.argv[1]))
of.runs_programs = False
of.kernel(Shape(slots=(), tables=0, filters=(), keys=(), sink="one", accumulators=(), key_arguments=0))
while of.all()[0].state != "compiling" or of.helper_pid is None:
    time.sleep(0.01)
print(of.helper_pid, flush=True)
"""


@pytest.mark.parametrize("end", ["return", "kill"])
def test_the_process_that_compiles_dies_with_its_parent(tmp_path: Path, end: str) -> None:
    text = CHILD if end == "return" else CHILD + "time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", text, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        began = time.monotonic()
        if end == "kill":
            child.send_signal(signal.SIGKILL)
        child.wait(20)
    try:
        until(lambda: not is_there(pid), 20)
        assert time.monotonic() - began < 20
    finally:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def test_where_the_user_s_folder_cannot_be_written_a_process_has_its_own(
    texts: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "file"))
    of = Kernels()
    of.runs_programs = False
    try:
        assert value(of.kernel(shape(1), wait=True)) == 2
        folder = of._folder.path("x").parent
        assert list(folder.glob("k*.ready"))
    finally:
        of.close()
    assert not folder.exists()


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path))
    assert files.user_folder() == tmp_path / "kernels"
    assert (tmp_path / "kernels").stat().st_mode & 0o777 == 0o700
    (tmp_path / "kernels").chmod(0o777)
    assert files.user_folder() is None


def test_damaged_files_are_no_error_and_are_made_anew(made: Callable[[], Kernels], tmp_path: Path) -> None:
    made().kernel(shape(1), wait=True)
    for file in (tmp_path / "kernels" / "__pycache__").glob("*.nbi"):
        file.write_bytes(file.read_bytes()[:-20])
    for file in (tmp_path / "kernels" / "__pycache__").glob("*.nbc"):
        file.write_bytes(b"nothing")
    made().kernel(shape(1), wait=True)
    assert value(made().kernel(shape(1), wait=True)) == 2


def test_where_the_code_was_cleared_away_the_process_that_compiles_makes_it_anew(
    made: Callable[[], Kernels], tmp_path: Path
) -> None:
    made().kernel(shape(1), wait=True)
    shutil.rmtree(tmp_path / "kernels" / "__pycache__")
    other = made()
    assert other.kernel(shape(1)) is None, "numba would hold the interpreter's lock for seconds"
    assert value(other.kernel(shape(1), wait=True)) == 2
    assert other.helper_pid is not None


def test_what_was_not_used_for_longest_goes_where_files_are_many(
    made: Callable[[], Kernels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = made()
    names = [of.kernel(shape(number), wait=True).name for number in range(4)]  # pyright: ignore[reportOptionalMemberAccess]
    folder = tmp_path / "kernels"
    for name, age in zip(names, (30, 40, 20, 10), strict=True):
        os.utime(folder / f"{name}.ready", (time.time() - age,) * 2)
        for file in (folder / "__pycache__").glob(f"{name}.*"):
            os.utime(file, (time.time() - 100,) * 2)
    files.used(folder / f"{names[1]}.py")
    monkeypatch.setattr(files, "KERNEL_FILES_MAX", 2)
    files.trim(folder)
    left = {file.name.partition(".")[0] for file in (*folder.glob("k*"), *(folder / "__pycache__").glob("k*"))}
    assert left == {names[1], names[3]}
    monkeypatch.setattr(files, "KERNEL_FILES_BYTES_MAX", 1)
    files.trim(folder, but=folder / f"{names[3]}.py")
    assert {file.stem for file in folder.glob("k*")} == {names[3]}


def test_the_name_of_a_kernel_depends_on_all_that_it_calls() -> None:
    """Kernels that a generated one calls are in ``_CALLED``, since numba's cache does not see changes of theirs."""
    names: dict[str, Any] = {}
    exec(generate._HEAD.partition("@njit")[0], names)
    seen: set[str] = set()
    functions = [value for value in names.values() if isinstance(value, Dispatcher)]
    while functions:
        code = functions.pop().py_func
        module = code.__module__.removeprefix("weftdb.").replace(".", "/")
        seen.add(module)
        called = (code.__globals__.get(name) for name in code.__code__.co_names)
        functions += [
            value for value in called if isinstance(value, Dispatcher) and value.py_func.__module__ != code.__module__
        ]
        functions += [
            value
            for value in code.__globals__.values()
            if isinstance(value, Dispatcher)
            and value.py_func.__module__.removeprefix("weftdb.").replace(".", "/") not in seen
        ]
    assert len(seen) > 2
    assert seen <= set(files._CALLED)


def test_a_database_of_few_rows_compiles_nothing() -> None:
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        session.execute("SET weft.tier = auto")
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, g INTEGER)")
        session.put("t", [{"k": number, "g": number % 3} for number in range(2_000)])
        for _ in range(3):
            session.execute("SELECT g, count(*), sum(k) FROM t WHERE k > 7 GROUP BY g").rows()
        assert resources_of(engine).kernels.all() == []
        assert resources_of(engine).kernels.helper_pid is None
        assert not any(thread.name.startswith("weftdb-kernels") for thread in threading.enumerate())


def test_the_tier_pipeline_says_why_there_is_no_kernel(texts: dict[int, str], tmp_path: Path) -> None:
    texts[0] = "raise ValueError('not today')"
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY)")
        kernels = resources_of(engine).kernels = Kernels(tmp_path)
        kernels.runs_programs = False
        session.execute("SET weft.tier = pipeline")
        with pytest.raises(weftdb.Invalid, match=r"cannot be compiled: ValueError.*not today"):
            session.execute("SELECT sum(k) FROM t").rows()
        session.execute("SET weft.tier = auto")
        assert session.execute("SELECT sum(k) FROM t").scalar() is None
        kernels.close()
