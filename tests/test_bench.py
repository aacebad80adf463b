"""The benchmarks at a tiny size: every workload runs, and its check really fails when an answer is wrong.

A benchmark whose check cannot fail proves nothing, so each check is shown a tampered answer: a row that is missing, a
value that differs, a query result that was changed. Figures themselves are not tested: no timed tests. What is skipped
is a peer that is not installed (PostgreSQL, ClickHouse), and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
import pyarrow as pa
import pytest
from server_child import Forked
from weftdb.bench import first, loader, point, restart, series
from weftdb.bench import main as door
from weftdb.bench import process as server_process
from weftdb.bench.aggregate import BOTH, Aggregate
from weftdb.bench.aggregate import MAKERS as VIEWS
from weftdb.bench.asked import compare
from weftdb.bench.bandwidth import measured_bandwidth
from weftdb.bench.clickhouse import ClickHouseStore
from weftdb.bench.clicks import bounds, chunks
from weftdb.bench.committing import WeftMixed, batches
from weftdb.bench.dashboard import Dashboard
from weftdb.bench.data import KINDS, Event, Totals, commits, devices, devices_count, events, sample, totals_of
from weftdb.bench.duck import DuckStore
from weftdb.bench.export import Export
from weftdb.bench.get import Get
from weftdb.bench.group import BARE, EMBEDDED, GET, SQL, Group, Wanted, embedded
from weftdb.bench.growth import Growth, plan
from weftdb.bench.history import LATE_MAX_DAYS, ORIGIN, History
from weftdb.bench.hot_row import HotRow, PgbenchUpdates, WeftCalls, WeftEmbeddedWriters, WeftRemoteWriters
from weftdb.bench.hot_row import System as HotSystem
from weftdb.bench.ingest import MAKERS, Ingest
from weftdb.bench.loader import Loading, load
from weftdb.bench.memory import MemoryUse
from weftdb.bench.minute import Minute
from weftdb.bench.mixed import Asked, Mixed, freshness
from weftdb.bench.oltp import MAKERS as OLTP_MAKERS
from weftdb.bench.oltp import Oltp, SqliteAccounts, System, WeftAccounts, WeftAdds, WeftWriters, race
from weftdb.bench.postgres import PostgresStore
from weftdb.bench.query import Query
from weftdb.bench.questions import further_questions, questions
from weftdb.bench.report import Goal, Line, Report, aligned, figure
from weftdb.bench.restart import CLEAN, KILLED, REFERENCE, SERVER, Restart
from weftdb.bench.series import Series
from weftdb.bench.sqlite import SqliteStore
from weftdb.bench.systems import Missing, Store, WrongAnswer, check_store, never_written
from weftdb.bench.views import DEVICE, EXTREMES, MINUTE, WeftViews
from weftdb.bench.weft import WeftServer, WeftServerRows, WeftStore
from weftdb.bench.workload import Size, available, in_turn

TINY = Size(rows=2_000, rounds=1)

LOCAL: tuple[Callable[[], Store], ...] = (
    partial(WeftStore, write="insert"),
    partial(WeftStore, write="put"),
    DuckStore,
    partial(DuckStore, write="replace"),
    partial(DuckStore, primary_key=False),
    SqliteStore,
)


@pytest.fixture(autouse=True)
def processes_are_forked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each of some thirty would take three seconds of processor to start; the demo's are started as users do."""

    def popen(
        command: list[str], *, stdout: int | IO[bytes], stderr: IO[bytes] | None = None, text: bool = False
    ) -> Forked:
        assert command[0] == sys.executable
        output = None if isinstance(stdout, int) else Path(stdout.name)
        errors = None if stderr is None else Path(stderr.name)
        return request.getfixturevalue("zygote").popen(command[1:], output=output, errors=errors)

    def run(command: list[str], *, capture_output: bool, text: bool, check: bool) -> SimpleNamespace:
        assert capture_output
        assert not check
        with popen(command, stdout=subprocess.PIPE) as process:
            said = process.stdout.read()
            return SimpleNamespace(returncode=process.wait(), stdout=said, stderr=said)

    forking = SimpleNamespace(Popen=popen, run=run, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
    for module in (server_process, loader, restart):
        monkeypatch.setattr(module, "subprocess", forking)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that a server of another user (PostgreSQL's) can reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="weft-test-bench-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


# --- the data ---------------------------------------------------------------------------------------------------------


def test_events_are_the_same_every_time_ordered_by_time_and_unique_by_key() -> None:
    table = events(5_000)
    assert table.equals(events(5_000))
    times = table["event_time"].to_pylist()
    assert times == sorted(times)
    assert len(set(times)) == 5_000
    assert set(table["kind"].to_pylist()) == set(range(KINDS))
    assert min(table["amount"].to_pylist()) >= 0
    assert table.schema.types == [pa.int64(), pa.timestamp("us"), pa.int16(), pa.float64()]


def test_every_device_of_an_event_is_in_the_dimension_table() -> None:
    table = events(5_000, channel=True)
    assert set(table["device"].to_pylist()) <= set(devices(5_000)["device"].to_pylist())
    assert devices(5_000).num_rows == devices_count(5_000) == 250


def test_commits_hold_all_rows_in_order() -> None:
    table = events(120_000)
    batches = commits(table)
    assert [batch.num_rows for batch in batches] == [50_000, 50_000, 20_000]
    assert pa.Table.from_batches(batches).equals(table)


# --- the history ------------------------------------------------------------------------------------------------------


def _rows_of(history: History, first: int = 0, last: int | None = None) -> pa.Table:
    return pa.Table.from_batches(history.commits(first, last))


def test_a_history_is_the_same_commit_by_commit_and_its_keys_are_unique() -> None:
    history = History(rows=20_500, rows_per_commit=1_000)
    table = _rows_of(history)
    assert table.num_rows == 20_500
    assert history.commits_count == 21
    assert _rows_of(history, 7, 9).equals(table.slice(7_000, 2_000))
    keys = set(zip(table["device"].to_pylist(), table["event_time"].to_pylist(), strict=True))
    assert len(keys) == 20_500
    assert table["device"].to_numpy().min() >= 1
    assert table["device"].to_numpy().max() <= history.devices == 205


def test_a_history_is_in_the_order_of_time_but_for_one_percent_that_is_late() -> None:
    milliseconds = _rows_of(History(rows=100_000))["event_time"].cast(pa.int64()).to_numpy() // 1_000
    late = milliseconds % 2 == 1
    assert 0.008 < late.mean() < 0.012
    on_time = milliseconds[~late]
    assert (np.diff(on_time) > 0).all()
    newest_before = np.maximum.accumulate(np.where(late, 0, milliseconds))
    delays_days = (newest_before - milliseconds)[late] / 86_400_000
    assert delays_days.max() < LATE_MAX_DAYS + 1
    assert 2.5 < delays_days.mean() < 3.5
    assert milliseconds.min() * 1_000 >= (ORIGIN - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def test_a_history_goes_on_after_its_end_and_knows_its_commits_by_their_rows() -> None:
    history = History(rows=2_500, rows_per_commit=1_000)
    assert [history.rows_of(number) for number in range(5)] == [1_000, 1_000, 500, 1_000, 1_000]
    assert [history.commits_of(rows) for rows in (0, 1_000, 2_000, 2_500, 3_500)] == [0, 1, 2, 3, 4]
    with pytest.raises(WrongAnswer, match="no whole number of commits"):
        history.commits_of(1_500)
    assert history.totals(4).rows == 3_500
    assert history.totals(3) == history.totals()


def test_a_history_tells_totals_samples_and_the_events_of_a_device() -> None:
    history = History(rows=5_000, rows_per_commit=1_000)
    table = _rows_of(history)
    assert not history.totals().differs_from(totals_of(table))
    every = [Event(**row) for row in table.to_pylist()]
    assert set(history.sample(100, seed=1)) <= set(every)
    assert len(set(history.sample(100, seed=1))) == 100
    wanted = sorted((event for event in every if event.device == 7), key=lambda event: event.event_time)
    assert history.events_of([7, 8])[7] == wanted


# --- stores and their check -------------------------------------------------------------------------------------------


@pytest.fixture(params=LOCAL, ids=lambda maker: maker().name)
def loaded(request: pytest.FixtureRequest, folder: Path) -> Iterator[Store]:
    """Each local store with all of ``events(2_000)`` but the last row, in which the first row's amount is 1 less."""
    store = request.param()
    table = events(2_000).slice(0, 1_999)
    amounts = table["amount"].to_pylist()
    table = table.set_column(3, "amount", pa.array([amounts[0] + 1, *amounts[1:]]))
    store.open(folder)
    store.write(store.prepare(table.to_batches()[0]))
    store.finish()
    yield store
    store.close()


def test_check_finds_a_lost_row_and_a_changed_value(loaded: Store) -> None:
    table = events(2_000)
    first, last = (Event(**table.slice(at, 1).to_pylist()[0]) for at in (0, 1_999))
    good = sample(table.slice(1, 1_998), 20, seed=1)
    totals = loaded.totals()
    check_store(loaded, expected=totals, present=good, absent=[last, *never_written(good)])
    with pytest.raises(WrongAnswer, match="totals are"):
        check_store(loaded, expected=totals_of(table), present=[], absent=[])
    with pytest.raises(WrongAnswer, match="read None"):
        check_store(loaded, expected=totals, present=[*good, last], absent=[])
    with pytest.raises(WrongAnswer, match=r"wrote .* read "):
        check_store(loaded, expected=totals, present=[first], absent=[])
    with pytest.raises(WrongAnswer, match="never wrote"):
        check_store(loaded, expected=totals, present=[], absent=[good[0]])


def test_totals_differ_by_any_part_and_floats_only_beyond_rounding() -> None:
    totals = Totals(rows=2, devices=3, kinds=4, amounts=1000.0)
    assert not totals.differs_from(Totals(rows=2, devices=3, kinds=4, amounts=1000.0 + 1e-8))
    assert totals.differs_from(Totals(rows=2, devices=3, kinds=4, amounts=1000.0 + 1e-5))
    assert totals.differs_from(Totals(rows=1, devices=3, kinds=4, amounts=1000.0))
    assert totals.differs_from(Totals(rows=2, devices=2, kinds=4, amounts=1000.0))
    assert totals.differs_from(Totals(rows=2, devices=3, kinds=5, amounts=1000.0))


def test_postgres_takes_part_where_it_is_installed(folder: Path) -> None:
    try:
        store = PostgresStore()
    except Missing as reason:
        pytest.skip(str(reason))
    table = events(500)
    present = sample(table, 50, seed=1)
    try:
        store.open(folder)
        store.write(store.prepare(table.to_batches()[0]))
        check_store(store, expected=totals_of(table), present=present, absent=never_written(present))
        with pytest.raises(WrongAnswer):
            check_store(store, expected=totals_of(table.slice(1)), present=[], absent=[])
        assert len(store.get_many(store.prepare_keys(present))) == 50
    finally:
        store.close()


def test_clickhouse_takes_part_where_it_is_installed(folder: Path) -> None:
    try:
        store = ClickHouseStore()
        store.open(folder)
    except Missing as reason:
        pytest.skip(str(reason))
    table = events(500)
    present = sample(table, 20, seed=1)
    try:
        store.write(store.prepare(table.to_batches()[0]))
        check_store(store, expected=totals_of(table), present=present, absent=never_written(present))
        assert store.rows_count() == 500
        with pytest.raises(WrongAnswer):
            check_store(store, expected=totals_of(table.slice(1)), present=[], absent=[])
        store.write(store.prepare(table.slice(0, 1).to_batches()[0]))
        assert store.rows_count() == 501, "a primary key twice is no error here: that is what its note says"
        with pytest.raises(RuntimeError, match="nonsense"):
            store.execute("SELECT nonsense")
    finally:
        store.close()


def test_a_missing_peer_is_named_with_the_reason_and_skipped() -> None:
    def absent_peer() -> Store:
        raise Missing("package absent is not installed")

    skipped: dict[str, str] = {}
    stores = available([absent_peer, SqliteStore], skipped)
    assert [store.name for store in stores] == [SqliteStore.name]
    assert skipped == {"absent_peer": "package absent is not installed"}


# --- the workloads ----------------------------------------------------------------------------------------------------


def _drop_a_row(store: Store) -> None:
    """Delete the newest event behind the workload's back."""
    if isinstance(store, WeftStore):
        store.execute("DELETE FROM events WHERE event_time = (SELECT max(event_time) FROM events)")
    else:
        store._connection.execute("DELETE FROM events WHERE event_time = (SELECT max(event_time) FROM events)")


def test_ingest_runs_and_its_check_finds_a_row_that_is_gone(folder: Path) -> None:
    workload = Ingest(size=TINY, folder=folder, makers=LOCAL)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert [line.label for line in report.lines] == [store.name for store in workload.stores]
        assert all(line.value > 0 for line in report.lines)
        assert {line.label for line in report.lines if line.ratio is None} == {"DuckDB INSERT"}
        assert [goal.wanted for goal in report.goals] == [8, 5]
        for store in workload.stores:
            _drop_a_row(store)
            with pytest.raises(WrongAnswer, match="totals are"):
                workload.check()
            store.close()
            workload._runs = [runs for runs in workload._runs if runs.store is not store]
    finally:
        workload.close()


def test_ingest_over_grpc_runs_and_its_check_finds_a_row_that_is_gone(folder: Path) -> None:
    workload = Ingest(size=TINY, folder=folder, makers=(WeftServer, WeftServerRows))
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert [goal.wanted for goal in report.goals] == [500_000, 100_000]
        assert all(line.ratio is None for line in report.lines), "no reference ran, so there is no ratio"
        _drop_a_row(workload.stores[1])
        with pytest.raises(WrongAnswer, match="totals are"):
            workload.check()
    finally:
        workload.close()


def test_get_runs_and_its_check_finds_a_row_that_is_gone(folder: Path) -> None:
    workload = Get(
        size=TINY, folder=folder, makers=(partial(WeftStore, write="put"), SqliteStore, DuckStore, WeftServer)
    )
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert [line.label for line in report.lines][:2] == ["WeftDB embedded get", f"{SqliteStore.name} get"]
        for store in workload.stores:
            store.execute("DELETE FROM events") if isinstance(store, WeftStore | DuckStore) else _drop_all(store)
            with pytest.raises(WrongAnswer, match="returned"):
                workload.check()
            workload._runs = [runs for runs in workload._runs if runs.store is not store]
            store.close()
    finally:
        workload.close()


def _drop_all(store: Store) -> None:
    store._connection.execute("DELETE FROM events")


def test_query_runs_and_its_check_finds_a_changed_answer(folder: Path) -> None:
    workload = Query(size=Size(rows=5_000, rounds=1), folder=folder)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert len(questions(bounds(5_000))) == 20
        header, *rows = report.table
        assert len(rows) == 20 + len(further_questions(bounds(5_000)))
        assert set(header[1:]) >= {"auto", "first", "relational", "DuckDB"} | {"Polars", "ClickHouse"} - set(
            report.skipped
        )
        assert all(line.value > 0 for line in report.lines)
        assert sum(line.label.endswith(": first") for line in report.lines) == len(rows)
        assert {goal.wanted for goal in report.goals} >= {2.0, 0.8, 1.5}
        for (name, system), answer in list(workload.answers.items()):
            assert answer.num_rows > 0, f"{name} answers nothing at this size"
            if system == "DuckDB":
                continue
            workload.answers[name, system] = answer.slice(1)
            with pytest.raises(WrongAnswer, match=f"{name}, {system}: .* rows"):
                workload.check()
            workload.answers[name, system] = answer
        cache = os.environ["WEFT_CACHE"]
    finally:
        workload.close()
    assert os.environ.get("WEFT_CACHE") != cache, "the kernels' folder is the user's again"
    duck = DuckStore(primary_key=False)
    duck.open_database(folder / "clicks-5000" / "duck")
    duck._connection.execute("DELETE FROM clicks WHERE action = 'purchase' AND price > 100")
    duck.close()
    with pytest.raises(WrongAnswer, match=r"how many, .*, the first time: row 1, column n"):
        first.samples(folder / "clicks-5000", rows=5_000, count=1)
    with pytest.raises(RuntimeError, match="asks for the first time ended"):
        first.samples(folder / "empty", rows=5_000, count=1)


def test_first_times_are_medians_beside_those_of_duckdb_in_the_same_processes() -> None:
    found = first.Firsts(
        weft={"q": [9.0, 3.0, 4.0]}, duck={"q": [6.0, 7.0, 90.0]}, warm={"q": [2.0, 1.0, 80.0]}, loading=[1.0]
    )
    assert (found.time("q"), found.ratio("q"), found.duck_ratio("q")) == (4.0, 2.0, 3.5)


def test_clicks_are_the_same_every_time_and_some_are_corrected() -> None:
    [chunk], [again] = list(chunks(4_000)), list(chunks(4_000))
    assert chunk.first.equals(again.first)
    assert chunk.first.num_rows == chunk.final.num_rows == 4_000
    assert chunk.corrected.num_rows == 200
    keys = list(zip(*(chunk.first[name].to_pylist() for name in ("customer", "event_time")), strict=True))
    assert len(set(keys)) == 4_000
    final = dict(zip(keys, chunk.final.to_pylist(), strict=True))
    corrected = {(row["customer"], row["event_time"]): row for row in chunk.corrected.to_pylist()}
    for row in chunk.first.to_pylist():
        key = row["customer"], row["event_time"]
        assert final[key] == corrected.get(key, row)
    for name in ("channel", "page", "product", "quantity", "duration", "score", "price"):
        assert 0 < chunk.first[name].null_count < 4_000, f"{name} is NULL now and then"
    assert [sum(part.first.num_rows for part in chunks(rows)) for rows in (1, 1_000_000, 1_000_001)] == [
        1,
        1_000_000,
        1_000_001,
    ]


def test_memory_is_read_at_some_speed() -> None:
    assert measured_bandwidth(threads=2, size=1 << 20) > 0


def test_compare_finds_a_cell_a_column_and_forgives_rounding() -> None:
    duck = pa.table({"day": ["a", "b"], "n": [1, 2], "total": [1.5, None]})
    compare("q", duck, duck)
    compare("q", duck.set_column(2, "total", pa.array([1.5 + 1e-12, None])), duck)
    for column, values in (("total", [1.6, None]), ("total", [1.5, 0.0]), ("n", [1, 3]), ("day", ["a", None])):
        changed = duck.set_column(duck.column_names.index(column), column, pa.array(values))
        with pytest.raises(WrongAnswer, match=f"column {column}"):
            compare("q", changed, duck)
    with pytest.raises(WrongAnswer, match="columns"):
        compare("q", duck.rename_columns(["day", "m", "total"]), duck)


def test_memory_runs_and_its_check_finds_a_row_that_is_gone(folder: Path) -> None:
    workload = MemoryUse(size=TINY, folder=folder, seconds_to_settle=0.1)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert report.lines[0].label == "idle"
        assert report.lines[0].value > 20, "a Python process is never smaller"
        assert all(goal.at_most for goal in report.goals)
        _drop_a_row(workload.store)
        with pytest.raises(WrongAnswer, match="totals are"):
            workload.check()
    finally:
        workload.close()


def test_growth_runs_and_its_check_finds_a_row_that_is_gone_and_a_snapshot_that_moved(folder: Path) -> None:
    workload = Growth(size=TINY, folder=folder)
    workload.setup()
    report = workload.run()
    workload.check()
    assert len(report.lines) == 16
    assert all(line.value >= 0 for line in report.lines)
    assert {goal.at_most for goal in report.goals} == {True, False}
    with_time, without = workload.runs
    seen = with_time.loaded.snapshot_totals
    assert seen is not None
    assert not seen.differs_from(with_time.plan.history.totals(2))
    assert len(with_time.loaded.commit_seconds) == 20
    totals = replace(seen, rows=1)
    workload.runs[0] = replace(with_time, loaded=replace(with_time.loaded, snapshot_totals=totals))
    with pytest.raises(WrongAnswer, match="a snapshot after 2 commits"):
        workload.check()
    workload.runs[0] = with_time
    store = without.plan.store()
    store.open(Path(without.plan.folder))
    _drop_a_row(store)
    store.close()
    with pytest.raises(WrongAnswer, match="totals are"):
        workload.check()


def test_a_load_that_was_killed_goes_on_where_it_stopped(folder: Path) -> None:
    wanted = replace(plan(folder, rows=4_000), snapshot_after=None)
    loading = Loading(replace(wanted, commits=2**40))
    while loading.commits_acknowledged < 3:
        assert loading.watch(), "it ends only when it is killed"
    loading.kill()
    acknowledged = loading.commits_acknowledged
    store = wanted.store()
    store.open(Path(wanted.folder))
    found = wanted.history.commits_of(store.rows_count())
    store.close()
    assert acknowledged <= found <= acknowledged + 1
    loaded = load(replace(wanted, commits=found + 5))
    assert len(loaded.commit_seconds) == found + 5
    assert np.isfinite(loaded.commit_seconds[-5:]).all()
    assert loaded.watched.processes == 2
    assert asdict(load(replace(wanted, commits=found + 5)).watched) == asdict(loaded.watched), "nothing left to do"


def test_series_runs_and_its_check_finds_an_answer_that_differs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "_QUESTIONS", 10)
    workload = Series(size=TINY, folder=folder)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        labels = ["WeftDB scan", "WeftDB SQL", "DuckDB", "WeftDB gRPC scan"]
        assert [line.label for line in report.lines if "PostgreSQL" not in line.label] == [
            f"{label}, {days} days" for days in (30, 300) for label in labels
        ]
        for runs in workload.runs:
            answers = next(answer for answer in runs.answers[300] if answer)
            gone = answers.pop()
            with pytest.raises(WrongAnswer, match="written were"):
                workload.check()
            answers.append(gone)
    finally:
        workload.close()


def test_restart_runs_and_its_check_finds_totals_that_differ(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "PEERS", {REFERENCE: DuckStore})  # one is enough: each costs two processes
    workload = Restart(size=TINY, folder=folder)
    workload.setup()
    report = workload.run()
    workload.check()
    assert [line.label for line in report.lines] == [CLEAN, KILLED, SERVER, REFERENCE]
    by_label = {runs.label: runs for runs in workload.runs}
    assert by_label[KILLED].starts[0].totals.rows > 2_000, "it was killed in ingest that went on"
    for runs in workload.runs:
        right = runs.starts[0]
        commits = workload.history.commits_of(right.totals.rows)
        for wrong, message in (
            (replace(right, totals=replace(right.totals, kinds=1)), "after the restart"),
            (replace(right, acknowledged=commits + 1), "were acknowledged"),
            (replace(right, acknowledged=commits - 2), "were acknowledged"),
        ):
            runs.starts[0] = wrong
            with pytest.raises(WrongAnswer, match=message):
                workload.check()
        runs.starts[0] = right


# --- export -----------------------------------------------------------------------------------------------------------


def test_export_reads_every_way_out_of_one_table(folder: Path) -> None:
    workload = Export(size=TINY, folder=folder)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        labels = [line.label for line in report.lines]
        assert labels[:3] == ["WeftDB scan", "WeftDB SELECT *", "WeftDB export"]
        assert labels[-3:] == ["WeftDB gRPC scan", "WeftDB gRPC SELECT *", "WeftDB gRPC export"]
        assert all(line.value > 0 for line in report.lines)
        workload._embedded[0].batches = list
        workload._compare(workload._embedded[0])
        with pytest.raises(WrongAnswer, match="WeftDB scan: "):
            workload.check()
    finally:
        workload.close()


# --- the report and the door ------------------------------------------------------------------------------------------


def test_a_report_says_medians_ratios_goals_and_what_was_skipped() -> None:
    report = Report(
        name="ingest", title="ingest", rows=2_000, rounds=3, reference="peer", skipped={"Other": "not here"}
    )
    report.lines.append(Line(label="weft", unit="rows/s", samples=(1_000.0, 3_000_000.0, 2_000.0), ratio=5.26))
    report.goals += [Goal(text="rate", wanted=5, value=5.26), Goal(text="size", wanted=5, value=6, at_most=True)]
    text = report.text()
    for part in ("2,000 rows, median of 3", "2,000 rows/s", "5.3", "goal reached: rate", "goal MISSED: size"):
        assert part in text
    assert "skipped Other: not here" in text
    content = json.loads(json.dumps(report.as_json()))
    assert content["lines"][0]["value"] == 2_000
    assert [goal["reached"] for goal in content["goals"]] == [True, False]
    assert content["versions"]["duckdb"]
    assert content["machine"]["cores"] >= 1


def test_figures_are_short_and_columns_aligned() -> None:
    assert [figure(value) for value in (1234567.8, 99.4, 0.01234)] == ["1,234,568", "99.4", "0.0123"]
    assert aligned(("", "n", ""), [("a", "1", "x"), ("bcd", "22", "")]).splitlines() == [
        "      n",
        "---  --  -",
        "a     1  x",
        "bcd  22",
    ]


def test_systems_take_turns_and_each_round_begins_one_further() -> None:
    assert list(in_turn("abc", rounds=2)) == [(0, "a"), (0, "b"), (0, "c"), (1, "b"), (1, "c"), (1, "a")]


class _Lies:
    """A workload whose check fails."""

    name = "ingest"
    full = quick = TINY

    def __init__(self, *, size: Size, folder: Path) -> None:
        self.folder = folder

    def setup(self) -> None: ...

    def run(self) -> Report:
        return Report(name="ingest", title="ingest", rows=1, rounds=1, reference="")

    def check(self) -> None:
        raise WrongAnswer("SQLite: two is three")

    def close(self) -> None: ...


def test_a_wrong_answer_ends_the_run_without_figures(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(door, "WORKLOADS", (_Lies,))
    target = folder / "out.json"
    assert door.main(["ingest", "--json", str(target), "--folder", str(folder)]) == 1
    assert "two is three" in capsys.readouterr().err
    assert not target.exists()


def test_the_door_prints_the_table_and_writes_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_Lies, "check", lambda self: None)
    monkeypatch.setattr(door, "WORKLOADS", (_Lies,))
    target = folder / "results" / "out.json"
    assert door.main(["ingest", "--rows", "7", "--json", str(target), "--folder", str(folder)]) == 0
    assert "ingest: 1 rows" in capsys.readouterr().out
    assert json.loads(target.read_text())["name"] == "ingest"
    assert not list(folder.glob("weft-bench-*")), "the scratch folder is removed"
    kept = folder / "kept"
    assert door.main(["ingest", "--rows", "7", "--json", str(target), "--resume", str(kept)]) == 0
    assert kept.is_dir(), "the folder to go on in stays"


# --- oltp -------------------------------------------------------------------------------------------------------------


def test_oltp_counts_every_transaction_and_compares_with_the_goals(folder: Path) -> None:
    makers: list[Callable[[], System]] = [WeftAccounts, WeftAdds, WeftWriters, SqliteAccounts]
    workload = Oltp(size=TINY, folder=folder, makers=makers, seconds=0.1)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
    finally:
        workload.close()
    assert [line.label for line in report.lines[:2]] == ["WeftDB embedded, 1 client", "WeftDB embedded add, 1 client"]
    assert len(report.lines) == 8
    assert all(line.value > 0 for line in report.lines)
    assert [goal.text for goal in report.goals] == [
        "embedded, 8 clients, x SQLite",
        "embedded, 8 clients at half load, p99 of a commit in ms",
    ]


def test_oltp_takes_pgbench_where_it_is_installed(folder: Path) -> None:
    workload = Oltp(size=TINY, folder=folder, makers=[OLTP_MAKERS[4]], seconds=1)
    try:
        workload.setup()
        if workload.skipped:
            pytest.skip(str(workload.skipped))
        report = workload.run()
        workload.check()
    finally:
        workload.close()
    assert [line.label.split(", ")[1] for line in report.lines] == ["1 client", "8 clients"]
    assert all("p50" in line.note for line in report.lines)


def test_oltp_finds_a_lost_update(folder: Path) -> None:
    workload = Oltp(size=TINY, folder=folder, makers=[SqliteAccounts], seconds=0.05)
    try:
        workload.setup()
        workload.run()
        workload.systems[0].turn(clients=1, seconds=0.05)  # transactions that the workload does not know of
        with pytest.raises(WrongAnswer, match="balances sum to"):
            workload.check()
    finally:
        workload.close()


# --- one hot row ------------------------------------------------------------------------------------------------------


def test_hot_row_counts_every_update_and_compares_with_postgresql_where_it_is_installed(folder: Path) -> None:
    size = Size(rows=320, rounds=1)
    makers: list[Callable[[], HotSystem]] = [WeftCalls, WeftEmbeddedWriters, WeftRemoteWriters, PgbenchUpdates]
    workload = HotRow(size=size, folder=folder, makers=makers)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert [system.total() for system in workload.systems] == [320] * len(workload.systems)
        workload.systems[0].updates(16, clients=16)  # updates that the workload does not know of
        with pytest.raises(WrongAnswer, match="the row is 336, acknowledged were 320"):
            workload.check()
    finally:
        workload.close()
    assert len(report.lines) == len(workload.systems)
    assert len(report.goals) == (0 if workload.skipped else 2)


# --- aggregates that are kept -----------------------------------------------------------------------------------------


def test_aggregate_compares_every_view_with_what_its_rows_come_to(folder: Path) -> None:
    workload = Aggregate(size=Size(rows=4_000, rounds=1), folder=folder)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert [store.name for store in workload.stores[:4]][::3] == ["WeftDB, no views", BOTH]
        assert len(workload.stores) + len(report.skipped) == len(VIEWS)
        both = workload.stores[3]
        assert both.groups(MINUTE).num_rows > both.groups(DEVICE).num_rows == 200
        for store in workload.stores:
            if store.views:
                first = events(4_000).slice(0, 1)
                later = pa.array([first["event_time"][0].as_py() + timedelta(days=900)], pa.timestamp("us"))
                store.write(store.prepare(first.set_column(1, "event_time", later).to_batches()[0]))
                with pytest.raises(WrongAnswer, match=f"{store.name}: .* differs from that of the rows"):
                    workload.check()
                break
    finally:
        workload.close()
    texts = [goal.text for goal in report.goals]
    assert texts[:2] == ["both views, share of the rate without", "both views, rows/s"]
    assert all(line.value > 0 for line in report.lines)
    assert "200 commits of one row on one group" in report.lines[-4].note


def test_a_least_amount_that_is_not_the_least_is_found(folder: Path) -> None:
    workload = Aggregate(size=TINY, folder=folder, makers=[partial(WeftViews, EXTREMES)])
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert "ns a row for views" in report.lines[0].note
        workload.stores[0].database.execute(
            "UPDATE events SET amount = 0 WHERE amount = (SELECT max(amount) FROM events)"
        )
        with pytest.raises(WrongAnswer, match="of extremes differs from that of the rows"):
            workload.check()
    finally:
        workload.close()


def test_group_reads_one_group_in_four_ways_and_goes_on_where_it_was(folder: Path) -> None:
    for rows, there in ((40_000, 0), (90_000, 50_000)):  # whole commits: 50,000 and 100,000
        workload = Group(size=Size(rows=rows, rounds=1), folder=folder, reads=400, calls=40)
        try:
            workload.setup()
            report = workload.run()
            workload.check()
        finally:
            workload.close()
        assert f"{there:,} were there" in report.lines[0].note
        cases = [f"{there + 50_000:,} rows: {case}" for case in (EMBEDDED, BARE, GET, SQL)]
        assert [line.label for line in report.lines[1:5]] == cases
        assert all(line.value > 0 for line in report.lines)
        assert f"of {there + 50_000:,} rows" in report.lines[-1].note
        assert len(report.goals) == 4


def test_a_group_that_is_read_wrong_is_found(folder: Path) -> None:
    store = WeftViews(DEVICE)
    store.open(folder)
    try:
        [batch] = events(2_000).to_batches()
        store.write(batch)
        wanted = Wanted(devices_count(2_000))
        wanted.add(batch)
        embedded(store.database, wanted, calls=10)
        store.database.execute("UPDATE events SET amount = amount + 0.01")
        with pytest.raises(WrongAnswer, match="as count and sum, read was"):
            embedded(store.database, wanted, calls=10)
    finally:
        store.close()


def test_a_sum_that_is_wrong_by_a_cent_is_found(folder: Path) -> None:
    workload = Aggregate(size=TINY, folder=folder, makers=[partial(WeftViews, DEVICE)])
    try:
        workload.setup()
        workload.run()
        workload.check()
        store = workload.stores[0]
        store.database.execute("UPDATE events SET amount = amount + 0.01 WHERE device = 1 AND amount < 5")
        with pytest.raises(WrongAnswer, match="a sum of per_device is"):
            workload.check()
    finally:
        workload.close()


# --- a dashboard ------------------------------------------------------------------------------------------------------


def test_dashboard_asks_thirty_charts_three_ways_and_its_check_finds_a_changed_answer(folder: Path) -> None:
    workload = Dashboard(size=Size(rows=20_000, rounds=1), folder=folder)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert len(report.table) == 1 + 30 + 1
        assert all(line.value > 0 for line in report.lines)
        assert [goal.wanted for goal in report.goals] == [50.0]
        views = {row[-1] for row in report.table[1:]}
        assert {"per_hour", "per_hour_action"} <= views, "charts over many hours are answered by views"
        for (name, who), answer in list(workload.answers.items()):
            if who == "off":
                continue
            assert answer.num_rows > 0, f"{name} shows nothing at this size"
            workload.answers[name, who] = answer.slice(1)
            with pytest.raises(WrongAnswer, match=f"{name}, {who}: .* rows"):
                workload.check()
            workload.answers[name, who] = answer
    finally:
        workload.close()


# --- questions beside ingest -----------------------------------------------------------------------------------------


def test_mixed_runs_and_finds_a_transaction_that_nobody_acknowledged(folder: Path) -> None:
    workload = Mixed(size=Size(rows=20_000, rounds=1), folder=folder, seconds=0.2)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        assert [line.label for line in report.lines[:2]] == ["WeftDB, ingest alone", "WeftDB, ingest beside questions"]
        assert len(report.lines) == 12
        assert all(line.value > 0 for line in report.lines if line.unit != "ms")
        assert report.goals[0].text == "freshness of all answers, ms"
        assert report.goals[0].value == 0, "WeftDB: no answer is older than an acknowledged write"
    finally:
        workload.close()
    system = WeftMixed()
    late = Mixed(size=Size(rows=20_000, rounds=1), folder=folder, makers=[lambda: system], seconds=0.2)
    settle, settled = system.settle, []

    def also_write() -> None:
        settled.append(settle())
        if len(settled) == 3:  # after the last rows have come
            system.writer(0)(next(batches(0, rows=40_000_000)), 99)

    system.settle = also_write
    try:
        with pytest.raises(WrongAnswer, match="counters are"):
            late.run()
    finally:
        late.close()


def test_freshness_is_the_age_of_the_first_commit_that_an_answer_did_not_see() -> None:
    acknowledged = [[1.0, 2.0, 5.0], [3.0]]
    asked = [
        Asked(began=4.0, seen=[2, 1]),  # all that was there
        Asked(began=4.0, seen=[1, 1]),  # not the first writer's second
        Asked(began=4.0, seen=[0, 0]),
        Asked(began=0.5, seen=[3, 1]),  # more than had been acknowledged when it began
        Asked(began=9.0, seen=[3, 1]),
    ]
    assert freshness(asked, acknowledged) == [0, 2, 3, 0, 0]


# --- a minute beside ingest -------------------------------------------------------------------------------------------


def test_transactions_that_stay_open_beside_ingest_commit_unless_they_conflict(folder: Path) -> None:
    workload = Minute(size=Size(rows=200_000, rounds=1), folder=folder)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
        workload.database.execute("DELETE FROM events WHERE amount = -1")
        with pytest.raises(WrongAnswer, match="found"):
            workload.check()
    finally:
        workload.close()
    assert [line.note for line in report.lines[1:]] == ["committed", "committed", "refused"]


def test_a_race_ends_with_the_first_error() -> None:
    def fails() -> Callable[[], int]:
        raise RuntimeError("no client")

    with pytest.raises(RuntimeError, match="no client"):
        race([fails, lambda: lambda: 0], seconds=0.01)


def test_ingest_compares_what_the_goals_name() -> None:
    names = [maker.func.__name__ if isinstance(maker, partial) else maker.__name__ for maker in MAKERS]
    ours = {"WeftStore", "WeftServer", "WeftServerRows"}
    assert ours | {"DuckStore", "ClickHouseStore", "SqliteStore", "PostgresStore"} == set(names)


def test_point_runs_and_notices_a_wrong_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point, "_CALLS", 40)
    monkeypatch.setattr(point, "_CHANGES", 10)
    monkeypatch.setattr(point, "_JOINS", 2)
    workload = point.Point(size=TINY, folder=folder)
    workload.setup()
    try:
        report = workload.run()
        workload.check()
        assert {goal.text.split(",")[0] for goal in report.goals} >= {"execute", "normalization"}
        workload._sqlite.execute("UPDATE accounts SET balance = balance + 1")
        with pytest.raises(WrongAnswer, match="SQLite"):
            workload.check()
    finally:
        workload.close()
