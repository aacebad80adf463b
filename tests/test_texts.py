"""Numbers of texts: a dictionary in Python is the twin of the kernels, the relational executor that of the queries."""

from __future__ import annotations

import gc
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soak
import weftdb
from fuzz_pipelines import PlainKernels
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.limits import TEXTS_SHARE
from weftdb.base.types import TEXT
from weftdb.engine.database import Engine
from weftdb.engine.held import Held
from weftdb.engine.kernels.texts import add_texts, find_texts, place_texts
from weftdb.engine.options import Options
from weftdb.engine.pipeline import run, texts
from weftdb.engine.pipeline.texts import Full, Numbering, Texts
from weftdb.engine.pipeline.work import Threads
from weftdb.engine.schema import Column
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session
from weftdb.storage.column_values import VariableValues, address_of, variable_of

COLUMN = Column(id=3, name="s", type=TEXT)
SOME = st.text("ab", max_size=12) | st.text(max_size=20) | st.sampled_from(["a" * 8, "a" * 16, "b" * 15, ""])


def nothing() -> None: ...


def values(given: list[str | None]) -> VariableValues:
    return variable_of(pa.array(given, pa.string()), TEXT)


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(SOME | st.none(), max_size=30), st.booleans()), max_size=6))
def test_kernels_number_texts_as_a_dictionary_does(batches: list[tuple[list[str | None], bool]]) -> None:
    slots, ends, heap = np.zeros(4, np.uint64), np.zeros(200, np.int32), np.empty(20_000, np.uint8)
    known: dict[str, int] = {}
    for batch, in_order in batches:
        given = values(sorted({text for text in batch if text is not None}) if in_order else batch)
        count = len(given.offsets) - 1
        lines = variable_array_of(given)
        numbers = np.full(count, 77, np.uint32)
        offsets, data, valid = map(address_of, (given.offsets, given.data, given.valid))
        arguments = (slots, ends, address_of(heap), len(known), numbers)
        missing, size = find_texts(offsets, data, valid, count, in_order, *arguments)
        new = [text for text in lines if text is not None and text not in known]
        assert (missing, size) == (len(new), sum(len(text.encode()) for text in new))
        for text, number in zip(lines, numbers.tolist(), strict=True):
            assert number == (0 if text is None else known.get(text, 0xFFFFFFFF))
        while len(slots) < 2 * (len(known) + missing):
            larger = np.zeros(2 * len(slots), np.uint64)
            place_texts(slots, larger)
            slots = larger
        after = add_texts(offsets, data, count, slots, *arguments[1:])
        for text in new:
            known.setdefault(text, len(known))
        assert after == len(known)
        assert numbers.tolist() == [0 if text is None else known[text] for text in lines]
    found = [heap[ends[n] : ends[n + 1]].tobytes().decode() for n in range(len(known))]
    assert found == list(known)


def variable_array_of(given: VariableValues) -> list[str | None]:
    there = [True] * (len(given.offsets) - 1) if given.valid is None else given.valid.tolist()
    raw = given.data.tobytes()
    places = zip(given.offsets.tolist(), given.offsets.tolist()[1:], there, strict=False)
    return [raw[start:stop].decode() if one else None for start, stop, one in places]


def numbering_of(of: Texts, id: int = COLUMN.id) -> Numbering:
    found = of.of(1, Column(id=id, name="s", type=TEXT), [], Threads(1, nothing))
    assert found is not None
    return found


def test_numbers_stay_while_others_are_added_by_many_threads() -> None:
    of = numbering_of(Texts())
    wrong: list[Any] = []

    def work(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(60):
            some = [None if choose.random() < 0.1 else f"text {choose.randint(0, 5_000)}" for _ in range(200)]
            numbers = of.of_values(values(some)).numbers[:-1]
            all = of.array(of.count)
            wrong.extend(
                text
                for text, number in zip(some, numbers.tolist(), strict=True)
                if text and all[number].as_py() != text
            )

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    all = of.array(of.count).to_pylist()
    assert len(set(all)) == len(all) == of.count > 4_000


def test_groups_get_the_room_that_numbers_take_where_that_is_enough() -> None:
    of = Texts()
    groups = Held(limit=1_000_000, beside=of.held, give_way=of.forget)
    numbering_of(of, 1).of_values(values([f"some text {n}" for n in range(1_000)]))
    taken = of.held.bytes
    assert 20_000 < taken < 500_000
    assert groups.room(1_000_000 - taken)
    assert not groups.room(1_000_001)
    assert of.held.bytes == taken, "nothing was gained by letting go of them"
    assert groups.room(1_000_000)
    assert of.held.bytes == 0


def test_columns_are_forgotten_for_others_and_a_column_too_large_has_no_numbers() -> None:
    of = Texts(limit=160_000)
    numbering_of(of, 1).of_values(values([f"some text {n}" for n in range(1_000)]))
    assert numbering_of(of, 1).count == 1_000
    assert of.held.bytes > 20_000
    second = numbering_of(of, 2)
    second.of_values(values([f"other text {n}" for n in range(3_000)]))
    assert list(of._columns) == [(1, 2)], "the other one needed its room"
    assert numbering_of(of, 2) is second
    with pytest.raises(Full, match="too many different values"):
        second.of_values(values([f"a third text {n}" for n in range(10_000)]))
    assert of.held.bytes <= 160_000
    del second
    of._columns.clear()
    gc.collect()
    assert of.held.bytes == 0


QUERIES = (
    "SELECT s, count(*), sum(k) FROM p GROUP BY s",
    "SELECT s, c, count(*) FROM p WHERE s <> 'y' GROUP BY s, c",
    "SELECT count(*), sum(k) FROM p WHERE s LIKE '%1%' AND k <> 7",
    "SELECT count(*), min(k) FROM p WHERE s IS NULL OR c = 'b'",
    "SELECT c, count(*) FILTER (WHERE s > 'page 2') FROM p WHERE k >= 300 GROUP BY c",
    "SELECT late, count(*) FROM p WHERE coalesce(late, 'z') <> 'x' GROUP BY late",
)


def compare(session: Session, sql: str, *, may_lack_room: bool = False) -> None:
    session.execute("SET weft.tier = relational")
    expected = sorted(session.execute(sql).rows(), key=repr)
    session.execute("SET weft.tier = pipeline")
    try:
        found = sorted(session.execute(sql).rows(), key=repr)
    except weftdb.Invalid as error:
        if may_lack_room and "too many different values" in error.message:
            return
        raise
    assert found == expected, sql


@pytest.fixture(params=["plenty", "little"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes for numbers of texts; with little of them columns take each other's."""
    monkeypatch.setattr(run, "TEXTS_ANYWAY", 8)
    monkeypatch.setattr(texts, "TEXTS_FEW", 16)
    monkeypatch.setattr(texts, "UNIT_ROWS", 100)
    monkeypatch.setattr(texts, "UNIT_FIRST", 7)
    monkeypatch.setattr(texts, "UNIT_ALONE", 10)
    monkeypatch.setattr(texts, "UNIT_FRESH", 30)
    return 1 << 40 if request.param == "plenty" else 60_000


@pytest.mark.parametrize("seed", range(soak.many(4, 6)))
def test_queries_agree_whatever_became_of_segments(tmp_path: Path, seed: int, room: int) -> None:
    """Rows are put and deleted, sealed, merged, dropped; columns come; the database is opened again."""
    choose = random.Random(seed)

    def opened() -> tuple[Engine, Session]:
        engine = Engine.open(tmp_path, options=Options(maintenance=False, history_seconds=0))
        kernels = resources_of(engine).kernels = PlainKernels(threads=2)
        kernels.texts = Texts(room)
        return engine, Session(engine)

    engine, session = opened()
    session.execute("CREATE TABLE p (k BIGINT PRIMARY KEY, s TEXT, c TEXT)")
    names, late = ["k", "s", "c"], False
    for _ in range(30):
        match choose.choice(("put", "put", "put", "flush", "flush", "merge", "delete", "drop", "open", "column")):
            case "put":
                pool, first = choose.choice((5, 60, 2_000)), choose.randrange(500)
                rows = [
                    (
                        k,
                        choose.choice((None, "y", f"page {choose.randrange(pool)}", f"{choose.randrange(pool)}")),
                        choose.choice(("a", "b", None)),
                    )
                    for k in range(first, first + choose.choice((5, 300)))
                ]
                session.put("p", [dict(zip(names, row, strict=False)) for row in rows])
            case "flush":
                engine.flush()
            case "merge":
                engine.flush()
                engine.compact()
            case "delete":
                session.execute(f"DELETE FROM p WHERE k % {choose.randint(2, 5)} = 0")
            case "drop" if choose.random() < 0.3:
                session.execute("DROP TABLE p")
                session.execute("CREATE TABLE p (k BIGINT PRIMARY KEY, s TEXT, c TEXT)")
                late = False
            case "open":
                session.close()
                engine.close()
                engine, session = opened()
            case "column" if not late:
                default = choose.choice(("", "DEFAULT 'x'"))
                session.execute(f"ALTER TABLE p ADD COLUMN late TEXT {default}")
                late = True
            case _:
                pass
        for sql in choose.sample(QUERIES[: None if late else -1], 2):
            compare(session, sql, may_lack_room=room < 1 << 40)
        held = resources_of(engine).kernels.texts.held.bytes
        assert held <= room
    session.close()
    engine.close()


def test_numbers_go_with_their_segments() -> None:
    with Engine.open(options=Options(maintenance=False, history_seconds=0)) as engine, Session(engine) as session:
        kernels = resources_of(engine).kernels = PlainKernels(threads=2)
        for name in "pq":
            session.execute(f"CREATE TABLE {name} (k BIGINT PRIMARY KEY, s TEXT)")
        sql = "SELECT s, count(*) FROM p GROUP BY s"
        for part in range(3):
            session.put("p", [{"k": k, "s": f"page {k % 1_000}"} for k in range(2_000 * part, 2_000 * part + 2_000)])
            engine.flush()
            compare(session, sql)
        (numbering,) = kernels.texts._columns.values()
        assert numbering.count == 1_000
        assert len(numbering._segments) == 3
        used = kernels.texts.held.bytes
        session.execute("SELECT count(*) FROM p WHERE s = 'page 3'").rows()
        assert kernels.texts.held.bytes == used, "nothing is numbered twice"
        engine.compact()
        compare(session, sql)
        gc.collect()
        assert len(numbering._segments) == 1
        session.execute("TRUNCATE p")
        session.put("q", [{"k": k, "s": f"page {k % 1_000}"} for k in range(2_000)])
        engine.flush()
        engine.compact()
        gc.collect()
        assert numbering.is_empty
        del numbering
        compare(session, sql.replace("p GROUP", "q GROUP"))
        assert len(kernels.texts._columns) == 1


def test_a_chunk_s_rows_are_numbered_as_they_come() -> None:
    """More different texts than a chunk's own codes can tell apart."""
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        kernels = resources_of(engine).kernels = PlainKernels(threads=2)
        session.execute("CREATE TABLE p (k BIGINT PRIMARY KEY, s TEXT, c TEXT)")
        for start in range(0, 20_000, 5_000):
            session.put("p", [{"k": k, "s": None if k % 11 == 0 else f"page {k}"} for k in range(start, start + 5_000)])
            compare(session, "SELECT count(*), sum(k) FROM p WHERE s LIKE '%77%'")
        compare(session, QUERIES[0])
        assert next(iter(kernels.texts._columns.values())).count == sum(k % 11 != 0 for k in range(20_000))


def test_without_room_codes_are_tested_and_what_has_none_is_the_executor_s() -> None:
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        kernels = resources_of(engine).kernels = PlainKernels(threads=2)
        kernels.texts = Texts(limit=100)
        session.execute("CREATE TABLE p (k BIGINT PRIMARY KEY, s TEXT, c TEXT, u TEXT)")
        session.put(
            "p", [{"k": k, "s": f"page {k % 50}", "c": "ab"[k % 2], "u": f"{k} is long enough"} for k in range(3_000)]
        )
        engine.flush()
        for sql in QUERIES[2:4]:
            compare(session, sql)
        for sql in (QUERIES[0], "SELECT count(*) FROM p WHERE u LIKE '%1%'"):
            with pytest.raises(weftdb.Invalid, match="has too many different values"):
                session.execute(sql).rows()
        kernels.texts = Texts()
        compare(session, "SELECT count(*) FROM p WHERE u LIKE '%1%'")
        compare(session, "SELECT u, count(*) FROM p GROUP BY u")


def test_many_rows_without_a_dictionary_get_numbers_when_keys_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(texts, "TEXT_ROWS_AT_ONCE", 2_000)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        kernels = resources_of(engine).kernels = PlainKernels(threads=2)
        session.execute("CREATE TABLE p (k BIGINT PRIMARY KEY, s TEXT)")
        session.put("p", [{"k": k, "s": f"{k} is long enough"} for k in range(3_000)])
        engine.flush()
        tested, keyed = "SELECT count(*), sum(k) FROM p WHERE s LIKE '%1%'", "SELECT s, count(*) FROM p GROUP BY s"
        for sql, numbered in ((tested, False), (tested, False), (keyed, False), (tested, False), (keyed, True)):
            session.execute(sql).rows()
            assert any(not of.is_empty for of in kernels.texts._columns.values()) == numbered, sql
        kernels.texts = Texts()
        compare(session, tested)
        compare(session, keyed)


def test_many_ask_while_one_writes_and_seals() -> None:
    with Engine.open(options=Options(maintenance=False)) as engine:
        kernels = resources_of(engine).kernels = PlainKernels(threads=2)
        kernels.texts = Texts(limit=150_000)
        failures: list[BaseException] = []
        done = threading.Event()
        with Session(engine) as session:
            session.execute("CREATE TABLE p (k BIGINT PRIMARY KEY, s TEXT, c TEXT)")

        def ask(seed: int) -> None:
            choose = random.Random(seed)
            try:
                with Session(engine) as session:
                    while not done.is_set():
                        sql = choose.choice(QUERIES[:5])
                        now = sql.replace("FROM p", f"FROM p AS OF VERSION {engine.version}")
                        compare(session, now, may_lack_room=True)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        choose = random.Random(7)
        with Session(engine) as session:
            for step in range(25):
                first = choose.randrange(2_000)
                session.put(
                    "p",
                    [
                        {"k": k, "s": f"page {choose.randrange(step * 20 + 1)}", "c": choose.choice(("a", "b", None))}
                        for k in range(first, first + 100)
                    ],
                )
                if step % 3 == 0:
                    engine.flush()
                if step % 7 == 0:
                    engine.compact()
        done.set()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]


def test_readers_of_one_snapshot_agree_while_rows_come_and_get_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of many chunks get numbers from several readers' threads at once while a writer goes on."""
    monkeypatch.setattr(texts, "UNIT_ALONE", 16)
    monkeypatch.setattr(texts, "UNIT_FRESH", 64)
    sql = "SELECT s, count(*) AS n, sum(k) AS t FROM p AS OF VERSION {} GROUP BY s"
    with Engine.open(options=Options(maintenance=False)) as engine:
        kernels = resources_of(engine).kernels = PlainKernels(threads=3)
        written: dict[int, dict[str | None, tuple[int, int]]] = {}
        failures: list[BaseException] = []
        done = threading.Event()
        with Session(engine) as session:
            session.execute("CREATE TABLE p (k BIGINT PRIMARY KEY, s TEXT)")
            session.execute("SET weft.tier = pipeline")
            session.execute(sql.format(engine.version)).rows()

        def ask(seed: int) -> None:
            choose = random.Random(seed)
            try:
                with Session(engine) as session:
                    session.execute("SET weft.tier = pipeline")
                    while not done.is_set():
                        if versions := list(written)[-4:]:
                            version = choose.choice(versions)
                            found = session.execute(sql.format(version)).rows()
                            assert {text: (n, t) for text, n, t in found} == written[version]
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        choose = random.Random(7)
        all: dict[str | None, tuple[int, int]] = {}
        with Session(engine) as session:
            for step in range(40):
                rows = [
                    {"k": k, "s": choose.choice((None, "often", f"page {choose.randrange(50 + 40 * step)}"))}
                    for k in range(500 * step, 500 * step + 500)
                ]
                session.put("p", rows)
                for row in rows:
                    n, t = all.get(row["s"], (0, 0))
                    all[row["s"]] = n + 1, t + row["k"]
                written[engine.version] = dict(all)
        done.set()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
        (numbering,) = kernels.texts._columns.values()
        texts_known = numbering.array(numbering.count).to_pylist()
        assert len(set(texts_known)) == len(texts_known), "no text has two numbers"


def test_numbers_of_texts_are_in_the_gauge_of_memory() -> None:
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        kernels = resources_of(engine).kernels
        assert kernels.texts.held.limit == engine.budget.limit // TEXTS_SHARE
        numbering_of(kernels.texts).of_values(values([f"some text {n}" for n in range(1_000)]))
        sql = "SELECT value FROM weft_metrics WHERE name = 'weft_memory_texts_bytes'"
        assert session.execute(sql).scalar() == kernels.texts.held.bytes > 20_000
        assert kernels.held.room(kernels.held.limit)
        assert session.execute(sql).scalar() == 0, "groups have the room of texts that nobody uses"
