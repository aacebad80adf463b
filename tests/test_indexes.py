"""Indexes say of every version what its rows say, and unique ones refuse what a look at all rows would."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soak
from weftdb.base.errors import Conflict, Invalid, WeftError
from weftdb.engine import index_scan
from weftdb.engine.changes import Change
from weftdb.engine.check import check_folder
from weftdb.engine.database import Engine
from weftdb.engine.indexes import columns_needed, entries_of
from weftdb.engine.options import Options
from weftdb.engine.schema import ROW_ID, Table
from weftdb.engine.snapshot import Snapshot
from weftdb.sql.session import Session

OPTIONS = Options(write_set_bytes=64 * 1024, maintenance=False)
"""A transaction spills after some thousand rows."""


def expected(snapshot: Snapshot, table: Table) -> dict[str, list[tuple[Any, ...]]]:
    """The entries of each index, made of all rows."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for index in table.indexes:
        ids = columns_needed(table)
        stream = snapshot.scan(table, columns=[id for id in ids if id != ROW_ID], row_ids=ROW_ID in ids)
        names = [str(id) for id in ids if id != ROW_ID] + ([str(ROW_ID)] if ROW_ID in ids else [])
        entries: list[tuple[Any, ...]] = []
        for rows in stream.batches():
            batch = entries_of(table, index, rows.rename_columns(names))
            entries += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        found[index.name] = sorted(entries, key=repr)
    return found


def kept(snapshot: Snapshot, table: Table) -> dict[str, list[tuple[Any, ...]]]:
    """The entries of each index as they are."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for index in table.indexes:
        entries: list[tuple[Any, ...]] = []
        for rows in snapshot.scan(table.index_tables[index.id]).batches():
            entries += zip(*(column.to_pylist() for column in rows.columns), strict=True)
        found[index.name] = sorted(entries, key=repr)
    return found


def check(engine: Engine) -> None:
    """At every version that can still be read."""
    for version in sorted({engine.version, *random.Random(engine.version).sample(range(engine.version + 1), 2)}):
        try:
            snapshot = engine.snapshot(version)
        except Invalid:
            continue
        with snapshot:
            for table in snapshot.catalog.relations.values():
                if isinstance(table, Table) and table.indexes:
                    assert kept(snapshot, table) == expected(snapshot, table), (table.name, version)


CREATE = {
    "plain": "CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, a TEXT, n INT, UNIQUE (a, n))",
    "no primary key": "CREATE TABLE t (id INT, u INT UNIQUE, a TEXT, n INT, UNIQUE NULLS NOT DISTINCT (a, n))",
    "woven": """CREATE TABLE t (id INT, at TIMESTAMP DEFAULT '2026-01-05', u INT UNIQUE, a TEXT, n INT, UNIQUE (a, n),
                               PRIMARY KEY (id, at)) WITH (time = 'at', every = '1 day', shards = 2)""",
    "partial": """CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, a TEXT, n INT, UNIQUE (a, n));
                  CREATE UNIQUE INDEX t_part ON t (n) WHERE u > 3 AND a IS NOT NULL;
                  CREATE INDEX t_some ON t (a) WHERE n IS NULL OR u < 4""",
    "computed": """CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, a TEXT, n INT, UNIQUE (a, n));
                   CREATE UNIQUE INDEX t_length ON t (length(a), n);
                   CREATE INDEX t_upper ON t (upper(a), (u IS NULL), id) WHERE n > 0""",
}

PARTS = {
    "t_part": lambda row: row[1] is not None and row[1] > 3 and row[2] is not None and row[3] is not None,
    "t_some": lambda row: row[3] is None or (row[1] is not None and row[1] < 4),
}
"""Which rows (id, u, a, n) have an entry."""


class Naive:
    """The rows (id, u, a, n), and what a look at all of them refuses."""

    def __init__(self, *, unique_id: bool, nulls_distinct: bool, partial: bool, computed: bool) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.partial, self.computed = partial, computed
        self.unique_id, self.nulls_distinct = unique_id, nulls_distinct

    def takes(self, rows: list[tuple[Any, ...]]) -> bool:
        """Become these rows, unless two of them meet."""
        ids = [row[0] for row in rows]
        us = [row[1] for row in rows if row[1] is not None]
        pairs = [row[2:] for row in rows if not (self.nulls_distinct and None in row[2:])]
        part = [row[3] for row in rows if PARTS["t_part"](row)] if self.partial else []
        lengths = [(len(a), n) for _, _, a, n in rows if a is not None and n is not None] if self.computed else []
        met = [pairs, us, part, lengths, *([ids] if self.unique_id else [])]
        if any(len(set(keys)) < len(keys) for keys in met):
            return False
        self.rows = rows
        return True


def row_of(draw: random.Random) -> tuple[Any, ...]:
    return (
        draw.randrange(12),
        draw.choice([None, *range(8)]),
        draw.choice([None, "", "é", "a", "bb"]),
        draw.choice([None, 0, 1, 2, 3]),
    )


def run(session: Session, text: str) -> str | None:
    """The code of the error, or None."""
    try:
        session.execute(text)
    except Invalid as error:
        return error.sqlstate
    return None


def literal(row: tuple[Any, ...]) -> str:
    return "(" + ", ".join("NULL" if value is None else repr(value) for value in row) + ")"


def step(draw: random.Random, naive: Naive) -> tuple[str, list[tuple[Any, ...]]]:
    """A statement, and the rows after it."""
    rows = naive.rows
    kind = draw.choice(["insert", "insert", "update", "shift", "delete", "id", "add"])
    some = draw.randrange(12)
    match kind:
        case "insert":
            new = [row_of(draw) for _ in range(draw.choice([1, 1, 2, 3]))]
            return f"INSERT INTO t (id, u, a, n) VALUES {', '.join(map(literal, new))}", [*rows, *new]
        case "update":
            u, a = draw.choice([None, *range(8)]), draw.choice(["a", None, "z"])
            after = [(i, u, a, n) if i == some else (i, v, b, n) for i, v, b, n in rows]
            new = f"u = {'NULL' if u is None else u}, a = {'NULL' if a is None else repr(a)}"
            return f"UPDATE t SET {new} WHERE id = {some}", after
        case "shift":
            return "UPDATE t SET u = 7 - u WHERE id < 6", [
                (i, 7 - u if u is not None and i < 6 else u, a, n) for i, u, a, n in rows
            ]
        case "delete":
            return f"DELETE FROM t WHERE id = {some}", [row for row in rows if row[0] != some]
        case "id":
            return f"UPDATE t SET id = 11 - id WHERE n = {some % 4}", [
                (11 - i if n == some % 4 else i, u, a, n) for i, u, a, n in rows
            ]
        case _:
            return f"UPDATE t SET n = n + 1 WHERE id = {some}", [
                (i, u, a, None if n is None else n + (i == some)) for i, u, a, n in rows
            ]


@pytest.mark.parametrize("shape", CREATE)
def test_a_unique_index_refuses_what_a_look_at_all_rows_would(shape: str, tmp_path: Path) -> None:
    draw = random.Random(shape)
    keyed = shape != "no primary key"
    naive = Naive(unique_id=keyed, nulls_distinct=keyed, partial=shape == "partial", computed=shape == "computed")
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(Engine.open(tmp_path / "data", options=OPTIONS))
        session = Session(engine)
        session.execute(CREATE[shape])
        session.execute("CREATE INDEX ON t (n, u)")
        outcomes: list[bool] = []
        for number in range(80):
            if not session.in_transaction and draw.random() < 0.2:
                session.execute("BEGIN")
                before = naive.rows
            text, after = step(draw, naive)
            taken = naive.takes(after)
            outcomes.append(taken)
            if session.in_transaction:
                session.execute("SAVEPOINT s")
            assert run(session, text) == (None if taken else "23505"), text
            if not taken and session.in_transaction:
                session.execute("ROLLBACK TO s")
            if session.in_transaction and draw.random() < 0.3:
                if draw.random() < 0.3:
                    session.execute("ROLLBACK")
                    naive.rows = before
                else:
                    session.execute("COMMIT")
            found = session.execute("SELECT id, u, a, n FROM t").rows()
            assert sorted(found, key=repr) == sorted(naive.rows, key=repr), text
            if session.in_transaction:
                continue
            if draw.random() < 0.05:
                engine.maintenance.flush()
            if number % 40 == 39:
                check(engine)
                engine.close()
                engine = stack.enter_context(Engine.open(tmp_path / "data", options=OPTIONS))
                session = Session(engine)
                check(engine)
        assert set(outcomes) == {True, False}
        if shape == "partial":
            with engine.snapshot() as snapshot:
                table = snapshot.catalog.table("t")
                found = {name: [entry[-1] for entry in entries] for name, entries in kept(snapshot, table).items()}
                rows = session.execute("SELECT id, u, a, n FROM t").rows()
            for name, there in PARTS.items():
                assert sorted(found[name]) == sorted(row[0] for row in rows if there(row)), name


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(tmp_path / "data", options=OPTIONS) as engine:
        yield engine


def test_of_two_transactions_that_bring_one_key_the_second_conflicts_and_then_sees_it(engine: Engine) -> None:
    one, other = Session(engine), Session(engine)
    one.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE)")
    for session in (one, other):
        session.execute("BEGIN")
    one.execute("INSERT INTO t VALUES (1, 7)")
    other.execute("INSERT INTO t VALUES (2, 7)")
    one.execute("COMMIT")
    with pytest.raises(Conflict, match=r"\(u\)=\(7\) already exists, by another transaction"):
        other.execute("COMMIT")
    with pytest.raises(Invalid, match='violates unique constraint "t_u_key"') as refused:
        other.execute("INSERT INTO t VALUES (2, 7)")
    assert refused.value.sqlstate == "23505"
    check(engine)


def test_a_key_that_another_transaction_gave_up_can_be_taken_in_the_next(engine: Engine) -> None:
    one, other = Session(engine), Session(engine)
    one.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE)")
    one.execute("INSERT INTO t VALUES (1, 7)")
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM t")
    one.execute("DELETE FROM t")
    with pytest.raises(Invalid):
        other.execute("INSERT INTO t VALUES (2, 7)")
    other.execute("ROLLBACK")
    other.execute("INSERT INTO t VALUES (2, 7)")
    check(engine)


def test_of_many_writers_at_once_each_key_has_one_winner(engine: Engine) -> None:
    Session(engine).execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, n INT DEFAULT 0)")
    won: list[int] = []
    refused: list[str | None] = []

    def write(writer: int) -> None:
        draw = random.Random(writer)
        session = Session(engine)
        for number in range(40):
            id, u = writer * 1_000 + number, draw.randrange(60)
            try:
                match number % 4:
                    case 0:
                        engine.write(
                            "t", Change.INSERT, pa.RecordBatch.from_pylist([{"id": id, "u": u}], schema=SCHEMA)
                        )
                    case 1:
                        engine.write("t", Change.PUT, pa.RecordBatch.from_pylist([{"id": id, "u": u}], schema=SCHEMA))
                    case 2:
                        session.execute("INSERT INTO t VALUES ($1, $2)", [id, u])
                    case _:
                        session.execute("UPDATE t SET u = $1, n = n + 1 WHERE id = $2", [u, id - 1])
                won.append(u)
            except Invalid as error:
                refused.append(error.sqlstate)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = Session(engine).execute("SELECT u, count(*) FROM t GROUP BY u HAVING count(*) > 1").rows()
    assert not rows
    assert len(won) > 60
    assert set(refused) == {"23505"}
    check(engine)


SCHEMA = pa.schema([("id", pa.int32()), ("u", pa.int32())])


def numbered(low: int, high: int, *, by: int = 0) -> pa.RecordBatch:
    ids = pa.array(range(low, high), pa.int32())
    return pa.RecordBatch.from_arrays([ids, pc.add(ids, pa.scalar(by, pa.int32()))], schema=SCHEMA)


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_what_large_transactions_write_is_indexed_and_refused(engine: Engine, key: str) -> None:
    session = Session(engine)
    session.execute(f"CREATE TABLE t ({key}, u INT UNIQUE, n INT DEFAULT 1)")
    session.execute("CREATE INDEX ON t (n, u)")
    engine.write("t", Change.INSERT, numbered(0, 120_000))
    check(engine)
    session.execute("BEGIN")
    session.execute("UPDATE t SET u = u + 200000, n = 2 WHERE id < 110000")
    session.execute("DELETE FROM t WHERE id BETWEEN 5 AND 9")
    session.execute("INSERT INTO t SELECT i, i, 3 FROM generate_series(500000, 500100) AS g(i)")
    session.execute("SAVEPOINT s")
    assert run(session, "INSERT INTO t VALUES (-1, 200000)") == "23505"
    session.execute("ROLLBACK TO s")
    session.execute("COMMIT")
    check(engine)
    with pytest.raises(Invalid, match=r"\(u\)=\(500000\) already exists"):
        engine.write("t", Change.INSERT, numbered(600_000, 720_000, by=-100_000))
    engine.write("t", Change.INSERT, numbered(-120_000, 0))
    engine.maintenance.flush()
    session.execute("BEGIN")
    session.execute("TRUNCATE t")
    session.execute("INSERT INTO t SELECT i, i + 1, 4 FROM generate_series(1, 110000) AS g(i)")
    session.execute("COMMIT")
    check(engine)


def test_a_large_transaction_conflicts_with_a_key_that_came_meanwhile(engine: Engine) -> None:
    session, other = Session(engine), Session(engine)
    session.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE)")
    for inserted in (109_999, 120_000):
        session.execute("BEGIN")
        session.execute("INSERT INTO t SELECT i, i FROM generate_series(0, 110000) AS g(i)")
        other.execute(f"INSERT INTO t VALUES (-{inserted}, {inserted})")
        if inserted == 120_000:
            session.execute("COMMIT")
        else:
            with pytest.raises(Conflict):
                session.execute("COMMIT")
        other.execute(f"DELETE FROM t WHERE id = -{inserted}")
    check(engine)


def test_entries_go_with_the_slices_that_are_dropped(engine: Engine) -> None:
    session = Session(engine)
    session.execute(
        """CREATE TABLE e (k INT, at TIMESTAMP, u INT UNIQUE, PRIMARY KEY (k, at))
           WITH (time = 'at', every = '1 day', keep = '3 days')"""
    )
    session.execute("CREATE INDEX ON e (k)")
    for day in range(1, 9):
        session.execute(f"INSERT INTO e VALUES (1, '2026-01-0{day}', {day}), (2, '2026-01-0{day}', {-day})")
        check(engine)
    assert engine.maintenance.retain()
    assert session.execute("SELECT count(*) FROM e").scalar() < 16
    session.execute("INSERT INTO e VALUES (3, '2026-01-08', 1)")  # its first row is gone
    check(engine)
    engine.maintenance.flush()
    engine.maintenance.release()
    check(engine)


def test_an_index_lives_and_goes_with_its_table_and_columns(engine: Engine) -> None:
    session = Session(engine)
    session.execute("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, CONSTRAINT both_u UNIQUE (a, b))")
    session.execute("INSERT INTO t VALUES (1, 1, 1), (2, 1, 2)")
    session.execute("CREATE INDEX by_b ON t (b)")
    session.execute("ALTER TABLE t RENAME COLUMN a TO c")
    session.execute("ALTER TABLE t RENAME TO s")
    session.execute("ALTER INDEX by_b RENAME TO s_b")
    with pytest.raises(Invalid, match=r'"both_u" of "s": \(c, b\)=\(1, 2\) already exists'):
        session.execute("INSERT INTO s VALUES (3, 1, 2)")
    check(engine)
    with pytest.raises(Invalid, match="already exists"):
        session.execute("CREATE TABLE s_b (id INT)")
    session.execute("ALTER TABLE s ADD COLUMN d INT DEFAULT 5")
    with pytest.raises(Invalid, match="could not create unique index"):
        session.execute("ALTER TABLE s ADD UNIQUE (d)")
    with pytest.raises(Invalid, match="could not create unique index"):
        session.execute("ALTER TABLE s ADD COLUMN e INT DEFAULT 5 UNIQUE")
    session.execute("ALTER TABLE s ADD COLUMN e INT UNIQUE")
    session.execute("UPDATE s SET e = id")
    check(engine)
    session.execute("ALTER TABLE s DROP COLUMN b")
    session.execute("INSERT INTO s VALUES (3, 1, 5, 7)")
    check(engine)
    text = session.execute("SHOW CREATE TABLE s").scalar()
    assert "UNIQUE (e)" in text
    assert not any(name in text for name in ("both_u", "s_b"))
    session.execute("DROP TABLE s")
    engine.maintenance.flush()
    session.execute("CREATE TABLE s (id INT PRIMARY KEY, e INT UNIQUE)")
    session.execute("BEGIN")
    session.execute("CREATE TABLE r (id INT UNIQUE)")
    session.execute("CREATE INDEX r_i ON r (id)")
    session.execute("DROP INDEX r_i")
    session.execute("INSERT INTO r VALUES (1), (2)")
    with pytest.raises(Invalid, match="r_id_key"):
        session.execute("INSERT INTO r VALUES (1)")
    session.execute("ROLLBACK")
    check(engine)


@pytest.mark.parametrize("shape", CREATE)
def test_a_transaction_may_make_or_truncate_a_table_and_fill_it(engine: Engine, shape: str) -> None:
    session = Session(engine)
    rows = "(id, u, a, n) VALUES (1, 1, 'a', 1), (2, NULL, 'a', 2), (3, NULL, NULL, NULL)"
    for first in (CREATE[shape], "TRUNCATE t", "DELETE FROM t"):
        session.execute(f"BEGIN; {first}; INSERT INTO t {rows}; COMMIT")
        check(engine)
        for more in ("(4, 1, 'b', 1)", "(4, 4, 'a', 2)", "(4, 4, 'b', 1), (5, 4, 'b', 2)"):
            with pytest.raises(Invalid) as refused:
                session.execute(f"INSERT INTO t (id, u, a, n) VALUES {more}")
            assert refused.value.sqlstate == "23505"
        assert session.execute("SELECT count(*) FROM t").scalar() == 3


def test_what_an_index_cannot_be_is_refused_by_name(engine: Engine) -> None:
    session = Session(engine)
    session.execute("CREATE TABLE t (id INT PRIMARY KEY, a TEXT, j JSON, CONSTRAINT one UNIQUE (a))")
    for text, message, sqlstate in [
        ("CREATE INDEX ON t ((id + 1))", "an index of an expression that may fail", "0A000"),
        ("CREATE INDEX ON t (lower(a), (a::int))", "an index of an expression that may fail", "0A000"),
        ("CREATE INDEX ON t ((now() > '2024-01-01'))", "must be marked IMMUTABLE", "42P17"),
        ("CREATE INDEX ON t (random())", "must be marked IMMUTABLE", "42P17"),
        ("CREATE INDEX ON t (lower('A'))", "an index of a constant", "0A000"),
        ("CREATE INDEX ON t (max(id))", "aggregate", "42803"),
        ("CREATE INDEX ON t ((SELECT 1))", "subquery", "0A000"),
        ("CREATE INDEX ON t (a text_pattern_ops)", "an operator class", "0A000"),
        ("CREATE INDEX ON t ()", "needs columns", "42601"),
        ("CREATE INDEX ON t (a) WHERE id + 1 > 1", "a condition of an index that may fail", "0A000"),
        ("CREATE INDEX ON t (a) WHERE now() > '2024-01-01'", "must be marked IMMUTABLE", "42P17"),
        ("CREATE INDEX ON t (a) WHERE (SELECT true)", "subquery", "0A000"),
        ("CREATE INDEX ON t (a) WHERE id", "boolean", "42804"),
        ("CREATE INDEX ON t (a) INCLUDE (id)", "INCLUDE", "0A000"),
        ("CREATE INDEX ON t USING gin (a)", "USING gin", "0A000"),
        ("CREATE INDEX ON t (j)", "cannot be part of a key", "42804"),
        ("CREATE INDEX ON t (nope)", "does not exist", "42703"),
        ("CREATE INDEX ON nope (a)", "does not exist", "42P01"),
        ("CREATE INDEX one ON t (a)", "already exists", "42P07"),
        ("CREATE INDEX t ON t (a)", "already exists", "42P07"),
        ("DROP INDEX one", "because constraint one", "2BP01"),
        ("DROP INDEX t", "is not an index", "42809"),
        ("DROP INDEX nope", "does not exist", "42704"),
        ("ALTER INDEX nope RENAME TO yes", "does not exist", "42704"),
        ("ALTER TABLE t ADD CONSTRAINT one UNIQUE (id)", "already exists", "42P07"),
        ("CREATE TABLE s (a INT, UNIQUE (b))", "does not exist", "42703"),
        ("CREATE TABLE s (a INT, UNIQUE (a, a))", "stands twice", "42701"),
    ]:
        with pytest.raises(WeftError, match=message) as refused:
            session.execute(text)
        assert refused.value.sqlstate == sqlstate, text
    session.execute("CREATE INDEX IF NOT EXISTS one ON t (a)")
    session.execute("DROP INDEX IF EXISTS nope")


def test_an_expression_is_indexed_as_a_column_is(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data", options=OPTIONS) as engine:
        db = Session(engine)
        db.execute("CREATE TABLE t (id INT PRIMARY KEY, mail VARCHAR(40), j JSONB, at TIMESTAMP, n INT DEFAULT 0)")
        db.execute(
            "INSERT INTO t SELECT g, 'User' || g || '@x.org', jsonb_build_object('k', 'v' || g % 500), "
            "'2024-01-01'::timestamp + g * interval '1 hour' FROM generate_series(1, 3000) AS g"
        )
        db.execute("CREATE UNIQUE INDEX ON t (lower(mail) DESC)")
        db.execute("CREATE INDEX ON t ((j ->> 'k'), n); CREATE INDEX by_day ON t ((at::date))")
        for condition, ids in [
            ("lower(mail) = lower('USER77@X.ORG')", [77]),
            ("lower(mail) IN ('user5@x.org', 'user9@x.org', NULL)", [5, 9]),
            ("j ->> 'k' = 'v3' AND n = 0", [3, 503, 1003, 1503, 2003, 2503]),
            ("at::date = '2024-01-01'", list(range(1, 24))),
            ("CAST(at AS DATE) = '2024-02-01 00:00'::timestamp AND id = 750", [750]),
        ]:
            assert db.execute(f"SELECT id FROM t WHERE {condition} ORDER BY id").arrow()[0].to_pylist() == ids
            if "750" not in condition:
                plan = "\n".join(db.execute(f"EXPLAIN SELECT id FROM t WHERE {condition}").arrow()[0].to_pylist())
                assert "Index Read by" in plan, plan
        assert db.execute("SELECT id FROM t WHERE lower(mail) = $1", ["user8@x.org"]).rows() == [(8,)]
        for text in ("INSERT INTO t VALUES (0, 'USER8@x.ORG')", "UPDATE t SET mail = 'uSER8@x.org' WHERE id = 9"):
            with pytest.raises(
                Invalid, match=r'"t_lower_idx" of "t": \(lower\(mail\)\)=\(user8@x.org\) already exists'
            ):
                db.execute(text)
        db.execute("UPDATE t SET mail = upper(mail) WHERE id < 10")
        insert = "INSERT INTO t (id, mail) VALUES (0, 'uSER8@x.ORG'), (-1, 'new') ON CONFLICT "
        db.execute(insert + "(lower(mail)) DO UPDATE SET mail = excluded.mail, n = t.n + 1")
        db.execute(insert.replace("-1", "-2") + "DO NOTHING")
        assert db.execute("SELECT id, mail, n FROM t WHERE id < 1 OR n > 0 ORDER BY id").rows() == [
            (-1, "new", 0), (8, "uSER8@x.ORG", 1)
        ]  # fmt: skip
        with pytest.raises(Invalid, match="no unique or exclusion constraint"):
            db.execute(insert + "(upper(mail)) DO NOTHING")
        db.execute("ALTER TABLE t RENAME mail TO post")
    with Engine.open(tmp_path / "data", options=OPTIONS) as engine:
        db = Session(engine)
        definitions = db.execute("SELECT definition FROM weft_indexes ORDER BY 1").arrow()[0].to_pylist()
        assert definitions == [
            "CREATE INDEX by_day ON t ((CAST(at AS DATE)))",
            "CREATE INDEX t_expr_n_idx ON t ((j ->> 'k'), n)",
            "CREATE UNIQUE INDEX t_lower_idx ON t (lower(post))",
        ]
        for text in definitions:
            db.execute(text.replace("by_day", "other").replace("_idx", "_more"))
        check(engine)
        db.execute("ALTER TABLE t DROP post")
        assert db.execute("SELECT count(*) FROM weft_indexes WHERE definition LIKE '%lower%'").scalar() == 0
        check(engine)
    assert not list(check_folder(tmp_path / "data").problems)


def test_deltas_and_read_committed_keep_indexes_too(engine: Engine) -> None:
    session, other = Session(engine), Session(engine)
    session.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, n INT DEFAULT 0)")
    session.execute("CREATE INDEX ON t (n)")
    session.execute("INSERT INTO t VALUES (1, 1), (2, 2)")
    for one in (session, other):
        one.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        one.execute("UPDATE t SET n = n + 1 WHERE id = 1")
    session.execute("UPDATE t SET u = 3 WHERE id = 2")
    session.execute("COMMIT")
    other.execute("INSERT INTO t VALUES (3, 2, 9)")
    other.execute("SAVEPOINT s")
    with pytest.raises(Invalid, match=r"\(u\)=\(3\) already exists"):
        other.execute("INSERT INTO t VALUES (4, 3, 9)")
    other.execute("ROLLBACK TO s")
    other.execute("COMMIT")
    check(engine)
    assert session.execute("SELECT id, u, n FROM t ORDER BY id").rows() == [(1, 1, 2), (2, 3, 0), (3, 2, 9)]
    added = pa.RecordBatch.from_pylist([{"id": 1, "n": 5}, {"id": 8, "n": 5}])
    engine.write("t", Change.ADD, added.cast(pa.schema([("id", pa.int32()), ("n", pa.int32())])))
    check(engine)
    session.execute("CREATE TABLE d (id INT PRIMARY KEY, u INT DEFAULT 4 UNIQUE, n INT)")
    with pytest.raises(Invalid, match="Insert the row first"):
        engine.write("d", Change.ADD, added.cast(pa.schema([("id", pa.int32()), ("n", pa.int32())])))


def test_an_index_is_in_backups_of_the_folder_and_the_folder_is_whole(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data", options=OPTIONS) as engine:
        session = Session(engine)
        session.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE)")
        engine.write("t", Change.INSERT, numbered(0, 1_000))
        engine.maintenance.flush()
        session.execute("UPDATE t SET u = 5000 + u WHERE id < 10")
    assert not list(check_folder(tmp_path / "data").problems)
    with Engine.open(tmp_path / "data", options=OPTIONS) as engine:
        check(engine)


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_on_conflict_meets_rows_in_unique_indexes(engine: Engine, key: str) -> None:
    db = Session(engine)
    db.execute(f"CREATE TABLE t ({key}, u INT UNIQUE, a TEXT, b INT, CONSTRAINT ab UNIQUE NULLS NOT DISTINCT (a, b))")
    db.execute("INSERT INTO t VALUES (1, 10, 'a', 1), (2, 20, 'b', NULL), (3, NULL, 'c', 3)")
    insert = "INSERT INTO t VALUES"
    assert db.execute(f"{insert} (4, 10, 'd', 4), (5, 50, 'b', NULL), (6, 60, 'f', 6) ON CONFLICT DO NOTHING").tag == (
        "INSERT 0 1"
    )
    # The second meets the first, the third only the second, which is not there.
    assert db.execute(
        f"{insert} (7, 70, 'g', 7), (8, 70, 'h', 8), (9, 90, 'h', 8) ON CONFLICT DO NOTHING RETURNING id"
    ).rows() == [(7,), (9,)]
    db.execute(f"{insert} (30, 20, 'z', 0) ON CONFLICT (u) DO UPDATE SET a = t.a || excluded.a, b = excluded.b")
    db.execute(f"{insert} (31, 31, 'c', 3) ON CONFLICT ON CONSTRAINT ab DO UPDATE SET u = excluded.u")
    db.execute(f"{insert} (32, NULL, 'y', 0) ON CONFLICT (u) DO UPDATE SET a = 'no'")
    db.execute(f"{insert} (33, 1, 'nn', NULL) ON CONFLICT (b, a) DO NOTHING")
    assert run(db, f"{insert} (34, 10, 'nn', NULL) ON CONFLICT (a, b) DO UPDATE SET u = 20") == "23505"
    db.execute(f"{insert} (34, 10, 'nn', NULL) ON CONFLICT (a, b) DO UPDATE SET u = 2 WHERE t.u = 1")
    db.execute("CREATE UNIQUE INDEX part ON t (b) WHERE a > 'b' AND u IS NULL")
    db.execute(f"{insert} (50, NULL, 'x', 50), (51, NULL, 'a', 50)")
    assert run(db, f"{insert} (52, NULL, 'y', 50)") == "23505"
    assert run(db, f"{insert} (52, NULL, 'y', 50) ON CONFLICT (b) DO NOTHING") == "42P10"
    assert run(db, f"{insert} (52, NULL, 'y', 50) ON CONFLICT (b) WHERE a > 'b' DO NOTHING") == "42P10"
    on_part = "ON CONFLICT (b) WHERE a > 'b' AND u IS NULL"
    assert db.execute(f"{insert} (52, NULL, 'y', 50) {on_part} DO NOTHING").tag == "INSERT 0 0"
    assert db.execute(f"{insert} (52, NULL, 'y', 50) ON CONFLICT DO NOTHING").tag == "INSERT 0 0"
    both = f"{insert} (52, NULL, 'y', 50), (53, 530, 'y', 50) {on_part} DO UPDATE SET a = excluded.a || t.id"
    assert sorted(db.execute(f"{both} RETURNING id, a").rows()) == [(50, "y50"), (53, "y")]
    assert run(db, "UPDATE t SET u = NULL WHERE id = 53") == "23505"
    db.execute("DELETE FROM t WHERE id >= 50")
    db.execute("DROP INDEX part")
    assert run(db, f"{insert} (40, 40, 'i', 1), (41, 40, 'j', 1) ON CONFLICT (u) DO UPDATE SET b = 9") == "21000"
    assert run(db, f"{insert} (40, 40, 'i', 1) ON CONFLICT (a) DO NOTHING") == "42P10"
    assert run(db, f"{insert} (40, 40, 'i', 1) ON CONFLICT ON CONSTRAINT nope DO NOTHING") == "42704"
    assert db.execute("SELECT * FROM t ORDER BY id").rows() == [
        (1, 10, "a", 1),
        (2, 20, "bz", 0),
        (3, 31, "c", 3),
        (6, 60, "f", 6),
        (7, 70, "g", 7),
        (9, 90, "h", 8),
        (32, None, "y", 0),
        (33, 2, "nn", None),
    ]
    check(engine)


CONDITIONS = [
    "u = {a}",
    "u IN ({a}, {b}, NULL)",
    "u = ANY (ARRAY[{a}, {b}])",
    "u > {a} AND u <= {b}",
    "u IS NULL",
    "{a} = u AND n = 3",
    "u = {a} OR u = {b}",
    "n = {c}",
    "n = {c} AND s = '{s}'",
    "n = {c} AND s > '{s}'",
    "n < 2 AND s = '{s}'",
    "s = '{s}'",
    "n IS NULL",
    "n = {c} AND s IS NULL",
    "n BETWEEN 3 AND {c}",
    "n = {c} AND id < {a}",
    "n = {c}.5",
    "u = {a} AND id = {b}",
    "n = {c} AND s LIKE 'a%'",
    "s IS NULL AND n IN (1, {c})",
    "n = {c} AND (s = '{s}' OR u = {a})",
    "n = NULL",
    "u = {a} AND n = 3 AND s IS NULL",
    "s IS NULL AND u IN ({a}, {b}) AND 3 = n",
    "(n IN (1, 2) OR n IS NULL) AND s = '{s}'",
    "upper(s) = 'AB' AND n = {c}",
    "upper(s) IN ('É', upper('{s}')) AND n > 38",
    "n = {c} AND 'AB' = upper(s) AND id < {a}",
    "upper(s) IS NULL AND n = {c}",
    "u IS NOT NULL AND coalesce(u, n) = {a}",
]


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_queries_by_way_of_an_index_find_what_all_rows_say(engine: Engine, key: str) -> None:
    draw = random.Random(key)
    db = Session(engine)
    for name in ("t", "plain"):
        db.execute(f"CREATE TABLE {name} ({key}, u INT, n INT, s TEXT)")
    db.execute("CREATE UNIQUE INDEX t_u ON t (u)")
    db.execute("CREATE INDEX t_n_s ON t (n, s)")
    db.execute("CREATE INDEX t_s ON t (s) WHERE n IN (1, 2) OR n IS NULL")
    db.execute("CREATE INDEX t_part ON t (u) WHERE n = 3 AND s IS NULL")
    db.execute("CREATE INDEX t_upper ON t (upper(s), n)")
    db.execute("CREATE INDEX t_some ON t (coalesce(u, n)) WHERE u IS NOT NULL")
    by_index = 0
    for round in range(soak.many(3, 4)):
        rows = [
            (id, draw.choice([None, 7 * id]), draw.choice([None, *range(40)]), draw.choice([None, "", "ab", "é", "z"]))
            for id in range(round * 1_500, round * 1_500 + 1_500)
        ]
        for name in ("t", "plain"):
            db.insert(name, rows)
        old = draw.randrange(1_500)
        for name in ("t", "plain"):
            db.execute(f"UPDATE {name} SET n = {round}, u = u + 1 WHERE id BETWEEN {old} AND {old + 20}")
            db.execute(f"DELETE FROM {name} WHERE id BETWEEN {old + 100} AND {old + 120}")
        if round % 2:
            engine.maintenance.flush()
        db.execute("BEGIN")
        for name in ("t", "plain"):  # its own writes lie over what the index says
            db.execute(f"UPDATE {name} SET n = 5, s = 'z' WHERE id BETWEEN 700 AND 720")
        for text in CONDITIONS:
            condition = text.format(
                a=7 * draw.randrange(6_000),
                b=7 * draw.randrange(6_000),
                c=draw.randrange(40),
                s=draw.choice(["", "ab", "z"]),
            )
            for tail in ("", " ORDER BY id"):  # the engine alone, and the relational executor
                found, all = (
                    db.execute(f"SELECT id, s, u FROM {name} WHERE {condition}{tail}").rows() for name in ("t", "plain")
                )
                assert sorted(found, key=repr) == sorted(all, key=repr), condition
            plan = db.execute(f"EXPLAIN SELECT id FROM t WHERE {condition}").arrow()[0].to_pylist()
            by_index += any("Index Read by t_" in line for line in plan)
        found, all = (
            db.execute(f"DELETE FROM {name} WHERE n = 7 AND s = 'ab' RETURNING id").rows() for name in ("t", "plain")
        )
        assert sorted(found) == sorted(all)
        db.execute("COMMIT")
    assert by_index > 20
    check(engine)


def test_an_index_without_rows_of_null_is_asked_only_where_these_do_not_count(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_scan, "PIECE_ROWS", 100)
    db = Session(engine)
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, g INT, UNIQUE (a, b)); CREATE INDEX t_g ON t (g, b)")
    db.execute(
        "INSERT INTO t SELECT i, i, CASE WHEN i % 2 = 0 THEN i END, i % 50 FROM generate_series(1, 20000) AS s(i)"
    )
    rows = db.execute("SELECT * FROM t").rows()
    for condition, holds, indexed in (
        ("a = 7", lambda a, b, g: a == 7, False),
        ("a = 7 AND b IS NULL", lambda a, b, g: a == 7, False),
        ("a = 8 AND b = 8", lambda a, b, g: a == 8, True),
        ("a = 8 AND b = 9", lambda a, b, g: False, True),
        ("a BETWEEN 5 AND 8 AND b > 0", lambda a, b, g: a in (6, 8), True),
        ("g = 7", lambda a, b, g: g == 7, True),
        ("g = 8 AND b < 5000", lambda a, b, g: g == 8 and b < 5000, True),
        ("g = 8 AND b < 5000 AND a > 100", lambda a, b, g: g == 8 and 100 < b < 5000, True),
    ):
        plan = str(db.execute(f"EXPLAIN SELECT id FROM t WHERE {condition}").rows())
        assert ("Index Read by" in plan) is indexed, condition
        found = db.execute(f"SELECT id FROM t WHERE {condition} ORDER BY id").rows()
        assert found == sorted((id,) for id, *row in rows if holds(*row)), condition


def test_an_index_reads_the_past_as_it_was(engine: Engine) -> None:
    db = Session(engine)
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE)")
    engine.write("t", Change.INSERT, numbered(0, 1_000))
    version = engine.version
    db.execute("UPDATE t SET u = u + 5000 WHERE id = 7")
    assert db.execute(f"SELECT id FROM t AS OF {version} WHERE u = 7").rows() == [(7,)]
    assert db.execute("SELECT id FROM t WHERE u = 7").rows() == []
    assert db.execute("SELECT id FROM t WHERE u = 5007").rows() == [(7,)]
    plan = [line for (line,) in db.execute("EXPLAIN SELECT id FROM t WHERE u = 7").rows()]
    assert any(line.startswith("Index Read by t_u_key on t  (") for line in plan), plan


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
@pytest.mark.parametrize("many", [False, True])
def test_indexes_are_made_while_others_write(engine: Engine, key: str, many: bool) -> None:
    db, other = Session(engine), Session(engine)
    db.execute(f"CREATE TABLE t ({key}, u INT, n INT DEFAULT 3)")
    engine.write("t", Change.INSERT, numbered(0, 110_000 if many else 1_000))
    db.execute("BEGIN")
    db.execute("CREATE INDEX t_n ON t (n, u)")
    other.execute("INSERT INTO t VALUES (-1, -1, 7), (-2, -2, 7)")
    db.execute("ALTER TABLE t ADD UNIQUE (u)")
    for n in range(5):
        other.execute(f"UPDATE t SET u = -100 - {n}, n = {n} WHERE id IN (5, 6) AND u = id OR id = -1")
        other.execute(f"DELETE FROM t WHERE id = {20 + n}")
        other.execute(f"INSERT INTO t VALUES ({20 + n}, {20 + n}, 8)")
        if n == 0:
            other.execute("DELETE FROM t WHERE id = 6")
    engine.maintenance.flush()
    db.execute("INSERT INTO t VALUES (-3, -3, 9)")
    db.execute("COMMIT")
    check(engine)
    assert db.execute("SELECT id FROM t WHERE n = 7 ORDER BY id").rows() == [(-2,)]
    db.execute("BEGIN")
    db.execute("CREATE UNIQUE INDEX t_id ON t (id)")
    other.execute("INSERT INTO t (id, u) VALUES (-9, 1000000)" if "KEY" in key else "INSERT INTO t (id) VALUES (-2)")
    if "KEY" in key:
        db.execute("COMMIT")
    else:
        with pytest.raises(Invalid, match='could not create unique index "t_id"'):
            db.execute("COMMIT")
    check(engine)


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_an_index_made_of_no_rows_has_those_that_came_meanwhile(engine: Engine, key: str) -> None:
    db, other = Session(engine), Session(engine)
    db.execute(f"CREATE TABLE t ({key}, u INT, n INT DEFAULT 3)")
    db.execute("BEGIN")
    db.execute("CREATE INDEX t_n ON t (n)")
    db.execute("CREATE UNIQUE INDEX t_u ON t (u)")
    other.execute("INSERT INTO t VALUES (1, 1, 7), (2, 2, 7)")
    db.execute("COMMIT")
    check(engine)
    with pytest.raises(Invalid, match="unique constraint"):
        other.execute("INSERT INTO t VALUES (3, 1, 7)")
    db.execute(f"CREATE TABLE s ({key}, u INT)")
    db.execute("BEGIN")
    db.execute("CREATE UNIQUE INDEX s_u ON s (u)")
    other.execute("INSERT INTO s VALUES (1, 1), (2, 1)")
    with pytest.raises(Invalid, match='could not create unique index "s_u"'):
        db.execute("COMMIT")


def test_an_index_that_was_undone_and_made_again_is_right(engine: Engine) -> None:
    db, other = Session(engine), Session(engine)
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT)")
    engine.write("t", Change.INSERT, numbered(0, 1_000))
    for statement in ("BEGIN", "SAVEPOINT s", "CREATE UNIQUE INDEX a ON t (u)", "ROLLBACK TO s"):
        db.execute(statement)
    db.execute("CREATE UNIQUE INDEX a ON t (u)")
    other.execute("UPDATE t SET u = -u WHERE id IN (3, 4)")
    db.execute("COMMIT")
    check(engine)


def test_a_writer_that_never_rests_does_not_keep_an_index_from_being_made(engine: Engine) -> None:
    db = Session(engine)
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT)")
    engine.write("t", Change.INSERT, numbered(0, 5_000))
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            with contextlib.suppress(Conflict):  # the definition changed
                engine.write("t", Change.PUT, numbered(0, 3))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for name in ("a", "b"):
            db.execute("BEGIN")  # so that nothing is retried
            db.execute(f"CREATE UNIQUE INDEX {name} ON t (u)")
            db.execute("COMMIT")
    finally:
        done.set()
        writer.join()
    check(engine)


def test_a_serializable_transaction_relies_on_the_row_that_on_conflict_met(engine: Engine) -> None:
    db, other = Session(engine), Session(engine)
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE)")
    db.execute("CREATE TABLE seen (n INT)")
    db.execute("INSERT INTO t VALUES (1, 7)")
    for change, conflicts in (("UPDATE t SET u = 8 WHERE id = 1", True), ("INSERT INTO t VALUES (2, 9)", False)):
        db.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        db.execute("INSERT INTO t VALUES (5, 7), (5, 8) ON CONFLICT (u) DO NOTHING" if conflicts else "SELECT 1")
        if not conflicts:
            assert db.execute("INSERT INTO t VALUES (6, 8) ON CONFLICT DO NOTHING").rows_affected == 0
        db.execute("INSERT INTO seen VALUES (1)")
        other.execute(change)
        if conflicts:
            with pytest.raises(Conflict):
                db.execute("COMMIT")
        else:
            db.execute("COMMIT")
    check(engine)


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_large_blind_loads_are_indexed(tmp_path: Path, key: str) -> None:
    with Engine.open(tmp_path / "data", options=OPTIONS) as engine:
        db = Session(engine)
        db.execute(f"CREATE TABLE t ({key}, u INT, n INT DEFAULT 1)")
        db.execute("CREATE INDEX ON t (u)")
        engine.write("t", Change.INSERT, numbered(0, 110_000))
        check(engine)
        engine.maintenance.flush()
        if "KEY" in key:
            engine.write("t", Change.PUT, numbered(50_000, 170_000, by=5))
            engine.write("t", Change.DELETE, numbered(0, 110_000).select(["id"]))
        check(engine)
    with Engine.open(tmp_path / "data", options=OPTIONS) as engine:  # the log is replayed
        check(engine)
        plan = [line for (line,) in Session(engine).execute("EXPLAIN SELECT * FROM t WHERE u = 9").rows()]
        assert any(line.startswith("Index Read by t_u_idx") for line in plan), plan
