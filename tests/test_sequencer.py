"""The sequencer: group commit, conflicts among group mates, and every outcome that a commit log can have."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from grouped import in_one_group
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.errors import Conflict, Internal, Invalid, LimitExceeded, Unavailable
from weftdb.base.types import BIGINT, DOUBLE, INTEGER, TEXT, numeric
from weftdb.engine import sequencer
from weftdb.engine.changes import Change, Commit, WriterToken
from weftdb.engine.database import Engine
from weftdb.engine.delta import Bounds, Delta, bounds_of
from weftdb.engine.key_encoding import KeyEncoder
from weftdb.engine.options import Options
from weftdb.engine.request import DELTA_BYTES, Request, TableChanges
from weftdb.engine.schema import Column, Table
from weftdb.engine.segment import Segment
from weftdb.storage.log import Outcome
from weftdb.storage.memory_log import Fault, MemoryLog
from weftdb.storage.record import Record


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def engine(log: MemoryLog) -> Engine:
    engine = Engine.open(log=log)
    create(engine)
    return engine


def create(engine: Engine) -> None:
    table = Table(
        id=engine.new_id(),
        name="accounts",
        columns=(
            Column(id=1, name="id", type=BIGINT, nullable=False),
            Column(id=2, name="balance", type=INTEGER),
            Column(id=3, name="owner", type=TEXT),
            Column(id=4, name="euro", type=numeric(12, 2)),
        ),
        primary_key=(1,),
        key=(1,),
        next_column_id=5,
    )
    transaction = engine.begin()
    transaction.create(table)
    transaction.commit()


def rows(*pairs: tuple[int, int]) -> pa.RecordBatch:
    schema = pa.schema([("id", pa.int64()), ("balance", pa.int32())])
    return pa.RecordBatch.from_pylist([{"id": id, "balance": balance} for id, balance in pairs], schema=schema)


def keys(*ids: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"id": id} for id in ids], schema=pa.schema([("id", pa.int64())]))


def content(engine: Engine, as_of: int | None = None) -> dict[int, int]:
    with engine.snapshot(as_of) as snapshot:
        table = snapshot.catalog.table("accounts")
        batches = list(snapshot.scan(table, columns=[1, 2]).batches())
    return {row["id"]: row["balance"] for batch in batches for row in batch.to_pylist()}


def test_a_commit_is_visible_when_it_is_acknowledged(engine: Engine) -> None:
    commit = engine.write("accounts", Change.PUT, rows((1, 10), (2, 20)))
    assert commit.version == engine.version
    assert content(engine) == {1: 10, 2: 20}


def test_a_refused_append_changes_nothing_and_the_next_commit_works(engine: Engine, log: MemoryLog) -> None:
    log.fail_next(Fault.REFUSED)
    with pytest.raises(Unavailable):
        engine.write("accounts", Change.PUT, rows((1, 10)))
    assert content(engine) == {}
    engine.write("accounts", Change.PUT, rows((1, 11)))
    assert content(engine) == {1: 11}


@pytest.mark.parametrize("fault", [Fault.WRITTEN, Fault.LOST])
def test_an_unknown_outcome_is_resolved_before_the_caller_hears_of_it(
    engine: Engine, log: MemoryLog, fault: Fault
) -> None:
    log.fail_next(fault)
    engine.write("accounts", Change.PUT, rows((1, 10)))
    assert content(engine) == {1: 10}
    assert content(Engine.open(log=log.beside())) == {1: 10}


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.STUCK])
def test_while_an_outcome_stays_unknown_nothing_else_is_appended(
    engine: Engine, log: MemoryLog, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.engine.sequencer.RESOLVE_ATTEMPTS", 1)
    monkeypatch.setattr("weftdb.engine.sequencer.RESOLVE_PAUSE_SECONDS", 0)
    log.fail_next(fault)
    token = WriterToken(writer="w", sequence=1)
    with pytest.raises(Unavailable, match="did not tell"):
        engine.write("accounts", Change.PUT, rows((1, 10)), token=token)
    with pytest.raises(Unavailable, match="did not tell"):
        engine.write("accounts", Change.PUT, rows((2, 20)))
    log.release()
    repeated = engine.write("accounts", Change.PUT, rows((1, 10)), token=token)
    assert content(engine) == {1: 10}
    assert repeated.version == engine.version


def test_a_fenced_sequencer_reads_on_and_never_commits_again(engine: Engine, log: MemoryLog) -> None:
    engine.write("accounts", Change.PUT, rows((1, 10)))
    other = Engine.open(log=log.beside())
    other.write("accounts", Change.PUT, rows((1, 99)))
    for _ in range(2):
        with pytest.raises(Unavailable, match="taken over"):
            engine.write("accounts", Change.PUT, rows((1, 11)))
    assert content(engine) == {1: 10}
    assert content(other) == {1: 99}


def test_a_repeated_batch_of_a_writer_is_applied_once_also_after_a_restart(engine: Engine, log: MemoryLog) -> None:
    first = engine.write("accounts", Change.ADD, rows((1, 5)), token=WriterToken(writer="w", sequence=1))
    again = engine.write("accounts", Change.ADD, rows((1, 5)), token=WriterToken(writer="w", sequence=1))
    assert again == first
    reopened = Engine.open(log=log.beside())
    assert reopened.write("accounts", Change.ADD, rows((1, 5)), token=WriterToken(writer="w", sequence=1)) == first
    assert content(reopened) == {1: 5}


def test_a_transaction_committed_again_by_its_id_returns_the_first_outcome(engine: Engine) -> None:
    commits = []
    for _ in range(2):
        transaction = engine.begin(id="t-1")
        transaction.add(transaction.catalog.table("accounts"), (1,), {"balance": 5})
        commits.append(transaction.commit())
    assert commits[0] == commits[1]
    assert content(engine) == {1: 5}


def test_first_committer_wins(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 10)))
    one, two = engine.begin(), engine.begin()
    for transaction in (one, two):
        transaction.put(transaction.catalog.table("accounts"), rows((1, 11)))
    one.commit()
    with pytest.raises(Conflict, match=r"\(id\)=\(1\)"):
        two.commit()


def test_two_transactions_that_insert_one_key_conflict(engine: Engine) -> None:
    one, two = engine.begin(), engine.begin()
    for transaction in (one, two):
        transaction.insert(transaction.catalog.table("accounts"), rows((1, 11)))
    one.commit()
    with pytest.raises(Conflict):
        two.commit()


def test_concurrent_single_row_writers_share_records_and_lose_nothing(engine: Engine, log: MemoryLog) -> None:
    before = log.tail()

    def write(worker: int) -> None:
        for i in range(50):
            engine.write("accounts", Change.INSERT, rows((worker * 1000 + i, i)))

    run_threads(write, count=8)
    assert len(content(engine)) == 400
    assert log.tail() - before <= 400
    assert content(Engine.open(log=log.beside())) == content(engine)


def test_concurrent_deltas_on_one_row_never_conflict_and_add_up(engine: Engine, log: MemoryLog) -> None:
    run_threads(lambda _: [engine.write("accounts", Change.ADD, rows((1, 1))) for _ in range(50)], count=8)
    assert content(engine) == {1: 400}
    assert content(Engine.open(log=log.beside())) == {1: 400}


def test_concurrent_transactional_increments_lose_no_update(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 0)))

    def increment(_: int) -> None:
        done = 0
        while done < 20:
            transaction = engine.begin()
            table = transaction.catalog.table("accounts")
            row = transaction.get(table, (1,))
            assert row is not None
            transaction.put(table, rows((1, row["balance"] + 1)))
            try:
                transaction.commit()
                done += 1
            except Conflict:
                continue

    run_threads(increment, count=4)
    assert content(engine) == {1: 80}


def test_a_delta_beyond_its_type_is_refused_before_the_log(engine: Engine, log: MemoryLog) -> None:
    engine.write("accounts", Change.PUT, rows((1, 2**31 - 1)))
    tail = log.tail()
    with pytest.raises(Invalid, match="out of range"):
        engine.write("accounts", Change.ADD, rows((1, 1)))
    assert log.tail() == tail


def test_more_deltas_than_memory_may_hold_are_refused_with_what_to_do(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "TRANSACTION_BYTES_MAX", 100 * DELTA_BYTES)
    engine.write("accounts", Change.ADD, rows(*((id, 1) for id in range(100))))
    before = engine.version
    with pytest.raises(LimitExceeded, match=r"6,464 bytes .* 101 rows that add changed; at most 6,400") as caught:
        engine.write("accounts", Change.ADD, rows(*((id, 1) for id in range(101))))
    assert "Add to at most 100 rows at once" in (caught.value.hint or "")
    assert "max_transaction_bytes" not in str(caught.value)
    assert engine.version == before


def test_a_blind_insert_of_an_existing_key_is_refused_with_its_row(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((7, 1)))
    with pytest.raises(Invalid, match=r"\(id\)=\(7\) already exists \(row 2\)"):
        engine.write("accounts", Change.INSERT, rows((6, 1), (7, 2)))
    with pytest.raises(Invalid, match=r"\(id\)=\(8\) stands twice in the batch \(row 3\)"):
        engine.write("accounts", Change.INSERT, rows((8, 1), (9, 1), (8, 2)))
    assert content(engine) == {7: 1}


def test_a_blind_delete_counts_what_it_found(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 1), (2, 2)))
    assert engine.write("accounts", Change.DELETE, keys(1, 5)).rows == 1
    assert content(engine) == {2: 2}


def test_two_transactions_that_change_the_catalog_conflict(engine: Engine) -> None:
    one, two = engine.begin(), engine.begin()
    for name, transaction in (("a", one), ("b", two)):
        column = Column(id=1, name="x", type=BIGINT)
        transaction.create(Table(id=engine.new_id(), name=name, columns=(column,), next_column_id=2))
    one.commit()
    with pytest.raises(Conflict, match="catalog"):
        two.commit()


def test_old_versions_stay_readable(engine: Engine) -> None:
    versions = [engine.write("accounts", Change.PUT, rows((1, n))).version for n in range(5)]
    assert [content(engine, version)[1] for version in versions] == [0, 1, 2, 3, 4]


def test_the_memory_limit_refuses_writes_and_not_reads(log: MemoryLog) -> None:
    engine = Engine.open(log=log, options=Options(memory_limit=1_000))
    create(engine)
    many: Any = rows(*((n, n) for n in range(1000)))
    with pytest.raises(LimitExceeded, match="memory_limit"):
        engine.write("accounts", Change.PUT, many)
    assert content(engine) == {}


def test_a_dropped_tables_memory_comes_back_when_neither_pin_nor_history_needs_it(log: MemoryLog) -> None:
    engine = Engine.open(log=log, options=Options(history_seconds=0))
    create(engine)
    engine.write("accounts", Change.PUT, rows(*((n, n) for n in range(5000))))
    held = engine.bytes_used
    pinned = engine.snapshot()
    drop = engine.begin()
    drop.drop("accounts")
    drop.commit()
    create(engine)
    assert engine.bytes_used >= held
    assert sum(batch.num_rows for batch in pinned.scan(pinned.catalog.table("accounts")).batches()) == 5000
    pinned.close()
    engine.write("accounts", Change.PUT, rows((1, 1)))
    engine.flush()
    engine.maintenance.release()
    assert engine.bytes_used < held
    assert content(engine) == {1: 1}


def test_group_mates_that_write_one_row_are_judged_one_after_the_other(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 10)))
    one, two = engine.begin(), engine.begin()
    for n, transaction in enumerate((one, two)):
        transaction.put(transaction.catalog.table("accounts"), rows((1, n)))
    first, second = in_one_group(engine, one.commit, two.commit)
    assert isinstance(first, Commit)
    assert isinstance(second, Conflict)
    assert content(engine) == {1: 0}


def test_group_mates_that_update_one_row_without_primary_key_do_not_double_it(engine: Engine) -> None:
    creation = engine.begin()
    column = Column(id=1, name="x", type=BIGINT)
    creation.create(Table(id=engine.new_id(), name="notes", columns=(column,), next_column_id=2))
    creation.commit()
    engine.write("notes", Change.INSERT, pa.RecordBatch.from_pydict({"x": [1]}))
    one, two = engine.begin(), engine.begin()
    for n, transaction in enumerate((one, two)):
        table = transaction.catalog.table("notes")
        (batch,) = transaction.scan(table, row_ids=True).batches()
        transaction.update(table, batch.select(["weft_row_id"]), pa.RecordBatch.from_pydict({"x": [n + 5]}))
    first, second = in_one_group(engine, one.commit, two.commit)
    assert isinstance(first, Commit)
    assert isinstance(second, Conflict)
    with engine.snapshot() as snapshot:
        assert [batch.to_pydict() for batch in snapshot.scan(snapshot.catalog.table("notes")).batches()] == [{"x": [5]}]


def test_a_repeat_beside_its_first_try_is_applied_once(engine: Engine) -> None:
    token = WriterToken(writer="w", sequence=1)
    first, second = in_one_group(
        engine,
        lambda: engine.write("accounts", Change.ADD, rows((1, 5)), token=token),
        lambda: engine.write("accounts", Change.ADD, rows((1, 5)), token=token),
    )
    assert first == second
    assert content(engine) == {1: 5}


def test_an_insert_beside_a_delete_of_an_absent_row_is_no_duplicate(engine: Engine) -> None:
    deleted, inserted = in_one_group(
        engine,
        lambda: engine.write("accounts", Change.DELETE, keys(1)),
        lambda: engine.write("accounts", Change.INSERT, rows((1, 5))),
    )
    assert isinstance(deleted, Commit)
    assert isinstance(inserted, Commit)
    assert content(engine) == {1: 5}


def test_two_inserts_of_one_key_side_by_side_leave_one(engine: Engine) -> None:
    outcomes = in_one_group(
        engine,
        lambda: engine.write("accounts", Change.INSERT, rows((1, 5))),
        lambda: engine.write("accounts", Change.INSERT, rows((1, 6))),
    )
    assert [type(outcome) for outcome in outcomes] == [Commit, Invalid]
    assert content(engine) == {1: 5}


def test_a_failed_apply_fails_every_group_mate(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("weftdb.engine.cells.TableStore.apply_put", fail)
    outcomes = in_one_group(
        engine,
        lambda: engine.write("accounts", Change.PUT, rows((1, 5))),
        lambda: engine.write("accounts", Change.PUT, rows((2, 6))),
    )
    assert [type(outcome) for outcome in outcomes] == [Internal, Internal]


def test_adding_after_a_truncation_in_the_same_transaction_starts_from_the_defaults(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 100)))
    transaction = engine.begin()
    table = transaction.catalog.table("accounts")
    transaction.truncate(table)
    transaction.add(table, (1,), {"balance": 5})
    transaction.commit()
    assert content(engine) == {1: 5}


def test_adding_to_a_table_of_the_same_transaction_is_a_put(log: MemoryLog) -> None:
    engine = Engine.open(log=log)
    create(engine)
    transaction = engine.begin()
    transaction.drop("accounts")
    transaction.commit()
    again = engine.begin()
    column = Column(id=1, name="id", type=BIGINT, nullable=False)
    balance = Column(id=2, name="balance", type=INTEGER)
    made = Table(id=engine.new_id(), name="accounts", columns=(column, balance), primary_key=(1,), next_column_id=3)
    again.create(made)
    again.add(again.catalog.table("accounts"), (1,), {"balance": 5})
    again.add(again.catalog.table("accounts"), (1,), {"balance": 6})
    again.commit()
    assert content(engine) == {1: 11}


def test_a_full_memory_still_lets_tables_be_dropped(log: MemoryLog) -> None:
    filled = Engine.open(log=log)
    create(filled)
    filled.write("accounts", Change.PUT, rows(*((n, n) for n in range(5000))))
    engine = Engine.open(log=log.beside(), options=Options(memory_limit=1_000))
    with pytest.raises(LimitExceeded):
        engine.write("accounts", Change.PUT, rows((1, 1)))
    transaction = engine.begin()
    transaction.drop("accounts")
    transaction.commit()
    assert not engine.snapshot().catalog.relations


class InterruptedLog(MemoryLog):
    """Ctrl-C arrives while the record is being appended."""

    def append(self, record: Record) -> Outcome:
        outcome = super().append(record)
        if record.version == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return outcome


def test_an_interrupt_inside_a_commit_waits_until_it_is_applied() -> None:
    engine = Engine.open(log=InterruptedLog())
    create(engine)
    with pytest.raises(KeyboardInterrupt):
        engine.write("accounts", Change.PUT, rows((1, 10)))
    assert content(engine) == {1: 10}
    engine.write("accounts", Change.PUT, rows((2, 20)))
    assert content(engine) == {1: 10, 2: 20}


def test_a_failure_inside_apply_shows_nothing_and_stops_the_sequencer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("weftdb.engine.cells.TableStore.apply_put", fail)
        with pytest.raises(Internal, match="could not be applied"):
            engine.write("accounts", Change.PUT, rows((1, 10)))
    assert content(engine) == {}
    with pytest.raises(Internal, match="open it again"):
        engine.write("accounts", Change.PUT, rows((1, 10)))


def run_threads(work: Any, *, count: int) -> None:
    errors: list[BaseException] = []

    def guarded(worker: int) -> None:
        try:
            work(worker)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_a_transactions_delta_conflicts_with_a_put_and_never_with_a_delta(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 1), (2, 2)))
    one, two = engine.begin(), engine.begin()
    one.add(one.catalog.table("accounts"), (1,), {"balance": 5})
    two.add(two.catalog.table("accounts"), (2,), {"balance": 5})
    engine.write("accounts", Change.ADD, rows((1, 10)))
    engine.write("accounts", Change.PUT, rows((2, 20)))
    one.commit()
    with pytest.raises(Conflict):
        two.commit()
    assert content(engine) == {1: 16, 2: 20}


@pytest.mark.parametrize("change", [Change.INSERT, Change.PUT, Change.ADD, Change.DELETE])
def test_truncate_conflicts_with_rows_that_others_changed_since_and_with_nothing_else(
    engine: Engine, change: Change
) -> None:
    engine.write("accounts", Change.PUT, rows((1, 1), (2, 2)))
    one, two = engine.begin(), engine.begin()
    for transaction in (one, two):
        transaction.truncate(transaction.catalog.table("accounts"))
    two.put(two.catalog.table("accounts"), rows((7, 7)))
    id = 3 if change is Change.INSERT else 1
    engine.write("accounts", change, keys(id) if change is Change.DELETE else rows((id, 5)))
    before = content(engine)
    for transaction in (one, two):
        with pytest.raises(Conflict, match="TRUNCATE"):
            transaction.commit()
    assert content(engine) == before
    again = engine.begin()
    again.truncate(again.catalog.table("accounts"))
    again.commit()
    assert content(engine) == {}


def test_truncate_never_ends_rows_of_a_mate_in_its_group(engine: Engine) -> None:
    for round in range(20):
        outcomes: list[str] = []
        start = threading.Barrier(5)

        def work(worker: int, round: int = round, outcomes: list[str] = outcomes, start: Any = start) -> None:
            transaction = engine.begin()
            table = transaction.catalog.table("accounts")
            if worker == 0:
                transaction.truncate(table)
            else:
                transaction.put(table, rows((round * 10 + worker, round)))
            start.wait()
            try:
                transaction.commit()
                outcomes.append("truncated" if worker == 0 else "put")
            except Conflict:
                outcomes.append("conflict")

        before = content(engine)
        run_threads(work, count=5)
        put = {round * 10 + worker: round for worker in range(1, 5)}
        # Whoever truncates comes before all the others, or not at all.
        assert outcomes.count("put") == 4
        assert content(engine) == (put if "truncated" in outcomes else before | put)


def test_an_old_transaction_commits_beside_ingest_and_looks_only_at_what_changed_since(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    find = Segment.find

    def noted(self: Segment, probe: Any) -> Any:
        looked.append(self.description.version_high)
        return find(self, probe)

    engine.write("accounts", Change.PUT, rows(*((id, 0) for id in range(100))))
    engine.flush()
    one, two = engine.begin(), engine.begin()
    for transaction, id in ((one, 7), (two, 1_003)):
        transaction.put(transaction.catalog.table("accounts"), rows((id, -1)))
    began = one.version
    for step in range(1, 6):
        engine.write("accounts", Change.PUT, rows(*((1_000 * step + id, step) for id in range(100))))
        engine.flush()
    monkeypatch.setattr(Segment, "find", noted)
    with pytest.raises(Conflict, match=r"\(id\)=\(1003\)"):
        two.commit()
    assert looked
    assert min(looked) > began
    one.commit()
    assert content(engine)[7] == -1


def newest_record(log: MemoryLog) -> Record:
    return list(log.read(log.tail()))[-1].record


def test_whose_commit_is_done_waits_for_nobody_elses(
    engine: Engine, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = log.append
    appended: list[Record] = []
    done = [threading.Event(), threading.Event()]
    returned: list[bool] = []

    def slow(record: Record) -> Outcome:
        appended.append(record)
        if len(appended) == 2:  # the first two are in the record before
            returned.extend(event.wait(10) for event in done)
        return append(record)

    def insert(id: int) -> None:
        engine.write("accounts", Change.INSERT, rows((id, id)))
        done[id].set()

    monkeypatch.setattr(log, "append", slow)
    in_one_group(
        engine, partial(insert, 0), partial(insert, 1), partial(engine.write, "accounts", Change.DELETE, keys(1))
    )
    assert returned == [True, True]
    assert content(engine) == {0: 0}


def test_a_thread_that_is_interrupted_while_it_waits_keeps_nobody_waiting(engine: Engine) -> None:
    class Interrupting:
        def get(self) -> None:
            raise KeyboardInterrupt

        def put(self, _: None) -> None:
            pass

    table = engine.snapshot().catalog.table("accounts")
    request = Request(changes=(TableChanges(table=table, puts=(rows_of(table, (1, 1)),)),))
    request.woken = Interrupting()  # pyright: ignore[reportAttributeAccessIssue]
    interrupted: list[type[BaseException]] = []

    def commit() -> None:
        try:
            engine._sequencer.commit(request)
        except KeyboardInterrupt as error:
            interrupted.append(type(error))

    outcomes = in_one_group(engine, commit, partial(engine.write, "accounts", Change.PUT, rows((2, 2))))
    assert interrupted == [KeyboardInterrupt]
    assert isinstance(outcomes[1], Commit)
    assert content(engine) == {1: 1, 2: 2}


def rows_of(table: Table, *pairs: tuple[int, int]) -> pa.RecordBatch:
    full = [{"id": id, "balance": balance, "owner": None, "euro": None} for id, balance in pairs]
    return pa.RecordBatch.from_pylist(full, schema=table.arrow_schema)


def test_deltas_of_one_group_on_one_row_become_one_row_version(engine: Engine, log: MemoryLog) -> None:
    engine.write("accounts", Change.PUT, rows((1, 1), (2, 2)))
    before = engine.version
    add = [partial(engine.write, "accounts", Change.ADD, rows((id, 10))) for id in (1, 2, 1, 1, 3, 3)]
    assert [type(outcome) for outcome in in_one_group(engine, *add)] == [Commit] * 6
    assert engine.version == before + 1
    (operation,) = newest_record(log).operations
    assert operation.delta
    assert operation.ordinal == 5
    assert operation.batch.num_rows == 3
    assert content(engine) == {1: 31, 2: 12, 3: 20}
    assert content(Engine.open(log=log.beside())) == content(engine)


def test_puts_and_deltas_of_different_rows_share_a_group_and_of_one_row_do_not(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 1), (2, 2), (3, 3)))
    before = engine.version
    add, put, delete = (
        lambda: engine.write("accounts", Change.ADD, rows((1, 10))),
        lambda: engine.write("accounts", Change.PUT, rows((2, 20))),
        lambda: engine.write("accounts", Change.DELETE, keys(3)),
    )
    assert [type(outcome) for outcome in in_one_group(engine, add, put, delete, add)] == [Commit] * 4
    assert engine.version == before + 1
    assert content(engine) == {1: 21, 2: 20}
    # One row: whoever comes later waits for the next record, and finds what the one before has left.
    for works, balance, versions in (
        ((add, lambda: engine.write("accounts", Change.PUT, rows((1, 5)))), 5, 2),
        ((lambda: engine.write("accounts", Change.PUT, rows((1, 7))), add, add), 27, 2),
        ((lambda: engine.write("accounts", Change.DELETE, keys(1)), add), 10, 2),
    ):
        before = engine.version
        assert [type(outcome) for outcome in in_one_group(engine, *works)] == [Commit] * len(works)
        assert engine.version == before + versions
        assert content(engine)[1] == balance


def test_a_transaction_in_a_group_conflicts_with_the_mate_whose_row_it_wrote(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 1)))
    adds, puts = engine.begin(), engine.begin()
    adds.add(adds.catalog.table("accounts"), (1,), {"balance": 5})
    puts.put(puts.catalog.table("accounts"), rows((1, 50)))
    first, second = in_one_group(engine, adds.commit, puts.commit)
    assert isinstance(first, Commit)
    assert isinstance(second, Conflict)
    assert content(engine) == {1: 6}


def test_a_refused_request_leaves_nothing_with_its_group_mates(engine: Engine) -> None:
    other = Table(
        id=engine.new_id(),
        name="others",
        columns=(Column(id=1, name="id", type=BIGINT, nullable=False), Column(id=2, name="n", type=INTEGER)),
        primary_key=(1,),
        key=(1,),
        next_column_id=3,
    )
    made = engine.begin()
    made.create(other)
    made.commit()
    refused = engine.begin()
    refused.add(refused.catalog.table("accounts"), (1,), {"balance": 1_000})
    refused.add(refused.catalog.table("others"), (1,), {"n": 2**31 - 1})
    one = pa.RecordBatch.from_pylist([{"id": 1, "n": 1}], schema=pa.schema([("id", pa.int64()), ("n", pa.int32())]))
    outcomes = in_one_group(
        engine,
        lambda: engine.write("others", Change.ADD, one),
        refused.commit,
        lambda: engine.write("accounts", Change.ADD, rows((1, 1))),
    )
    assert [type(outcome) for outcome in outcomes] == [Commit, Invalid, Commit]
    assert content(engine) == {1: 1}


def test_deltas_of_many_rows_at_once_are_the_same_as_one_by_one(engine: Engine) -> None:
    other = Engine.open(log=MemoryLog())
    create(other)
    start = rows(*((id, id) for id in range(0, 100, 2)))
    many = [(id % 70, id) for id in range(300)]
    for each in (engine, other):
        each.write("accounts", Change.PUT, start)
    engine.write("accounts", Change.ADD, rows(*many))
    for id, amount in many:
        other.write("accounts", Change.ADD, rows((id, amount)))
    assert content(engine) == content(other)


def test_keys_that_are_equal_are_one_row_however_they_are_written(engine: Engine) -> None:
    table = Table(
        id=engine.new_id(),
        name="odd",
        columns=(Column(id=1, name="id", type=DOUBLE, nullable=False), Column(id=2, name="n", type=INTEGER)),
        primary_key=(1,),
        key=(1,),
        next_column_id=3,
    )
    made = engine.begin()
    made.create(table)
    made.commit()
    schema = pa.schema([("id", pa.float64()), ("n", pa.int32())])
    for id in (float("nan"), 0.0, -0.0, float("nan")):
        engine.write("odd", Change.ADD, pa.RecordBatch.from_pylist([{"id": id, "n": 1}] * 2, schema=schema))
    with engine.snapshot() as snapshot:
        found = [row["n"] for batch in snapshot.scan(table, columns=[2]).batches() for row in batch.to_pylist()]
    assert found == [4, 4]


@pytest.mark.parametrize(("column", "amount"), [("balance", 0.5), ("euro", "0.001")])
def test_an_amount_that_the_column_cannot_hold_is_refused_and_its_mates_are_not(
    engine: Engine, column: str, amount: object
) -> None:
    def add() -> None:
        transaction = engine.begin()
        table = transaction.catalog.table("accounts")
        delta = Delta(
            table=table,
            key=(1,),
            encoded=KeyEncoder(table.primary_key_columns).encode_one((1,)),
            amounts={column: amount},
            default=lambda: {"id": 1, "balance": 0, "owner": None},
        )
        changes = TableChanges(table=table, deltas=(delta,), strict=True)
        transaction.rollback()
        engine._sequencer.commit(Request(changes=(changes,), snapshot=engine.version))

    engine.write("accounts", Change.PUT, rows((1, 1)))
    good = partial(engine.write, "accounts", Change.ADD, rows((1, 1)))
    outcomes = in_one_group(engine, good, add, good)
    assert [type(outcome) for outcome in outcomes] == [Commit, Invalid, Commit]
    assert content(engine) == {1: 3}


NEVER_BELOW_ZERO = Bounds(lower={"balance": 0})


def test_a_delta_beyond_its_bound_is_a_conflict_before_the_log_that_says_the_bound(
    engine: Engine, log: MemoryLog
) -> None:
    engine.write("accounts", Change.PUT, rows((1, 5)))
    tail = log.tail()
    with pytest.raises(
        Conflict, match=r'row \(id\)=\(1\) of "accounts": "balance" would be -1, below its bound 0'
    ) as caught:
        engine.write("accounts", Change.ADD, rows((1, -6)), bounds=NEVER_BELOW_ZERO)
    assert caught.value.sqlstate == "23514"
    with pytest.raises(Conflict, match="would be 11, above its bound 10"):
        engine.write("accounts", Change.ADD, rows((1, 6)), bounds=Bounds(upper={"balance": 10}))
    with pytest.raises(Conflict, match="would be -1, below"):
        engine.write("accounts", Change.ADD, rows((9, -1)), bounds=NEVER_BELOW_ZERO)  # an absent row is at zero
    assert log.tail() == tail
    engine.write("accounts", Change.ADD, rows((1, -5)), bounds=NEVER_BELOW_ZERO)
    assert content(engine) == {1: 0}


def test_the_deltas_of_a_group_share_what_a_bound_leaves(engine: Engine, log: MemoryLog) -> None:
    engine.write("accounts", Change.PUT, rows((1, 25)))
    take = partial(engine.write, "accounts", Change.ADD, rows((1, -10)), bounds=NEVER_BELOW_ZERO)
    give = partial(engine.write, "accounts", Change.ADD, rows((1, 10)))
    before = engine.version
    outcomes = in_one_group(engine, take, take, take, give, take, take)
    assert [type(outcome) for outcome in outcomes] == [Commit, Commit, Conflict, Commit, Commit, Conflict]
    assert engine.version == before + 1
    assert content(engine) == {1: 5}
    assert content(Engine.open(log=log.beside())) == {1: 5}


def test_sixteen_takers_of_one_stock_never_take_more_than_there_is(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 100)))
    outcomes: list[str] = []

    def take(_: int) -> None:
        for _ in range(20):
            try:
                engine.write("accounts", Change.ADD, rows((1, -1)), bounds=NEVER_BELOW_ZERO)
                outcomes.append("taken")
            except Conflict as error:
                outcomes.append(error.sqlstate)

    run_threads(take, count=16)
    assert (outcomes.count("taken"), outcomes.count("23514"), len(outcomes)) == (100, 220, 320)
    assert content(engine) == {1: 0}


def test_a_transaction_is_judged_by_a_bound_as_it_sees_the_row_and_again_at_the_commit(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 10)))
    one, two, three = engine.begin(), engine.begin(), engine.begin()
    table = one.catalog.table("accounts")
    assert two.version == three.version == one.version
    with pytest.raises(Conflict, match="would be -1"):
        one.add(table, (1,), {"balance": -11}, bounds=NEVER_BELOW_ZERO)
    one.add(table, (1,), {"balance": -4}, bounds=NEVER_BELOW_ZERO)
    one.add(table, (1,), {"balance": -4}, bounds=Bounds(lower={"balance": 1}))
    two.add(table, (1,), {"balance": -8}, bounds=NEVER_BELOW_ZERO)
    three.add(table, (1,), {"balance": -2}, bounds=NEVER_BELOW_ZERO)
    one.commit()
    with pytest.raises(Conflict, match="would be -6, below its bound 0"):
        two.commit()
    three.commit()
    assert content(engine) == {1: 0}


def test_a_bound_of_an_earlier_delta_of_a_transaction_holds_for_the_sum(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 10)))
    transaction = engine.begin()
    table = transaction.catalog.table("accounts")
    transaction.add(table, (1,), {"balance": -5}, bounds=Bounds(lower={"balance": 3}))
    transaction.add(table, (1,), {"balance": -1})
    engine.write("accounts", Change.ADD, rows((1, -2)))
    with pytest.raises(Conflict, match="would be 2, below its bound 3"):
        transaction.commit()
    assert content(engine) == {1: 8}


def test_bounds_are_judged_for_rows_that_the_transaction_put_itself(engine: Engine) -> None:
    transaction = engine.begin()
    table = transaction.catalog.table("accounts")
    transaction.put(table, rows((1, 1)))
    with pytest.raises(Conflict, match="would be -1"):
        transaction.add(table, (1,), {"balance": -2}, bounds=NEVER_BELOW_ZERO)
    transaction.commit()
    assert content(engine) == {1: 1}


def test_bounds_are_numbers_of_columns_that_are_added_to() -> None:
    assert bounds_of(["a", "b"], lower=0) == Bounds(lower={"a": 0, "b": 0})
    assert bounds_of(["a", "b"], lower={"a": 1}, upper=Decimal("2.5")) == Bounds(
        lower={"a": 1}, upper={"a": Decimal("2.5"), "b": Decimal("2.5")}
    )
    for wrong, match in (
        ({"lower": "0"}, "give a number"),
        ({"upper": True}, "give a number"),
        ({"lower": float("nan")}, "give a number"),
        ({"lower": Decimal("sNaN")}, "give a number"),
        ({"lower": {"c": 0}}, "nothing is added to it"),
        ({"lower": 3, "upper": 2}, "min 3 is above max 2"),
    ):
        with pytest.raises(Invalid, match=match):
            bounds_of(["a", "b"], **wrong)


@given(
    st.integers(-20, 20),
    st.lists(
        st.tuples(st.integers(-9, 9), st.none() | st.integers(-9, 9), st.none() | st.integers(10, 30)), max_size=12
    ),
)
@settings(max_examples=60, deadline=None)
def test_bounded_deltas_come_out_as_in_a_loop_over_numbers(
    start: int, steps: list[tuple[int, int | None, int | None]]
) -> None:
    engine = Engine.open(log=MemoryLog())
    create(engine)
    engine.write("accounts", Change.PUT, rows((1, start)))
    works: list[Callable[[], object]] = []
    balance, expected = start, list[type]()
    for amount, low, high in steps:
        bounds = bounds_of(["balance"], lower=low, upper=high)
        works.append(partial(engine.write, "accounts", Change.ADD, rows((1, amount)), bounds=bounds))
        after = balance + amount
        fits = (low is None or after >= low) and (high is None or after <= high)
        expected.append(Commit if fits else Conflict)
        balance = after if fits else balance
    assert [type(outcome) for outcome in in_one_group(engine, *works)] == expected
    assert content(engine) == {1: balance}


def test_a_put_conflicts_with_a_delta_committed_meanwhile(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 1)))
    transaction = engine.begin()
    transaction.put(transaction.catalog.table("accounts"), rows((1, 9)))
    engine.write("accounts", Change.ADD, rows((1, 10)))
    with pytest.raises(Conflict):
        transaction.commit()


def test_a_transaction_reads_its_own_deltas_and_commits_their_sum(engine: Engine) -> None:
    engine.write("accounts", Change.PUT, rows((1, 1)))
    transaction = engine.begin()
    table = transaction.catalog.table("accounts")
    transaction.add(table, (1,), {"balance": 2})
    transaction.add(table, (1,), {"balance": 3})
    row = transaction.get(table, (1,))
    assert row is not None
    assert row["balance"] == 6
    engine.write("accounts", Change.ADD, rows((1, 100)))
    transaction.commit()
    assert content(engine) == {1: 106}


def test_a_transaction_in_a_table_without_primary_key_deletes_old_and_own_rows(engine: Engine) -> None:
    column = Column(id=1, name="x", type=BIGINT)
    creation = engine.begin()
    creation.create(Table(id=engine.new_id(), name="notes", columns=(column,), next_column_id=2))
    creation.commit()
    values = pa.RecordBatch.from_pydict({"x": [1, 2, 3]})
    engine.write("notes", Change.INSERT, values)
    transaction = engine.begin()
    table = transaction.catalog.table("notes")
    transaction.insert(table, pa.RecordBatch.from_pydict({"x": [2, 4]}))
    seen = pa.Table.from_batches(list(transaction.scan(table, row_ids=True).batches()))
    twos = seen.filter(pc.equal(seen["x"], 2)).select(["weft_row_id"]).combine_chunks().to_batches()[0]
    assert transaction.delete(table, twos) == 2
    transaction.commit()
    with engine.snapshot() as snapshot:
        left = [row["x"] for batch in snapshot.scan(table).batches() for row in batch.to_pylist()]
    assert sorted(left) == [1, 3, 4]
    reopened = [row["x"] for batch in engine.snapshot().scan(table).batches() for row in batch.to_pylist()]
    assert reopened == left
