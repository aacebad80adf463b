"""Reading materialized views that are kept: by key, by key-value calls, through every door; what is shown of it."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import weftdb
from from_rows import from_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.errors import Invalid
from weftdb.base.types import BIGINT, BOOLEAN, BYTEA, DOUBLE, INTEGER, numeric
from weftdb.engine.expression.context import Context
from weftdb.engine.expression.evaluate import evaluate
from weftdb.engine.expression.functions import resolve
from weftdb.engine.expression.naive import evaluate_row
from weftdb.engine.expression.node import Call, Case, Cast, Column, Expression, Literal
from weftdb.engine.expression.rowwise import function_of_row
from weftdb.engine.restore import restore_backup
from weftdb.server.service import serve
from weftdb.storage.backup_folder import BackupFolder

Database = Any

DDL = """CREATE TABLE t (id BIGINT PRIMARY KEY, kind TEXT, k INT, x BIGINT, y DOUBLE PRECISION, z NUMERIC(12,2),
b BOOLEAN)"""
QUERY = """SELECT kind, k, count(*) AS n, sum(x) AS sx, avg(x) AS ax, sum(y) AS sy, avg(y) AS ay, sum(z) AS sz,
avg(z) AS az, bool_and(b) AS bb, sum(x) FILTER (WHERE x > 500) AS big, count(y) * 2 + 1 AS c2 FROM t GROUP BY kind, k"""
EXACT = "kind, k, n, sx, ax, sz, az, bb, big, c2"
FILL = """INSERT INTO t SELECT g, CASE WHEN g % 5 = 0 THEN NULL ELSE 'k' || g % 5 END, g % 7,
CASE WHEN g % 11 = 0 THEN NULL ELSE g END, CASE WHEN g % 7 = 3 THEN NULL ELSE g * 0.1 END, g / 4.0, g % 4 <> 1
FROM generate_series($1::bigint, $2::bigint) g"""


def fill(on: Database, first: int = 1, last: int = 1000) -> None:
    on.execute(FILL, [first, last])


@pytest.fixture(params=["embedded", "remote"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with weftdb.open(tmp_path / "data") as database:
        database.execute(DDL)
        fill(database)
        database.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
        if request.param == "embedded":
            yield database
            return
        with serve(database.engine, port=0) as server, weftdb.connect(server.address) as remote:
            yield remote


def refused(state: str, call: Any) -> str:
    with pytest.raises(Invalid) as error:
        call()
    assert error.value.sqlstate == state
    return str(error.value)


def test_one_group_is_the_row_that_a_scan_gives(db: Database) -> None:
    names = db.table("v").schema.names
    for first in (2001, 3001):
        rows = db.execute("SELECT * FROM v").rows()
        assert len(rows) == 35
        table = db.table("v")
        assert table.primary_key == ("kind", "k")
        for row in rows:
            assert table.get(row[:2]) == dict(zip(names, row, strict=True))
            if row[0] is not None:
                assert db.execute("SELECT * FROM v WHERE kind = $1 AND k = $2", list(row[:2])).rows() == [row]
                assert db.execute("SELECT az, n FROM v WHERE k = $2 AND kind = $1", list(row[:2])).rows() == [
                    (row[8], row[2])
                ]
        assert table.get(("none", 1)) is None
        assert db.execute("SELECT * FROM v WHERE kind = $1 AND k = $2", ["none", 1]).rows() == []
        fill(db, first, first + 50)
        db.execute("DELETE FROM t WHERE id % 10 = 3")
        db.execute("CHECKPOINT")


def test_key_value_reads_of_a_view_are_those_of_a_table(db: Database) -> None:
    table = db.table("v")
    by_key = {row[:2]: row for row in db.execute(f"SELECT {EXACT} FROM v").rows()}
    keys = [("k1", 3), (None, 0), ("no", 1), ("k4", 6)]
    found = table.get_many(keys)
    assert [tuple(row[name] for name in EXACT.split(", ")) for row in found.to_pylist()] == [
        by_key[key] for key in keys if key in by_key
    ]
    rows = table.scan(columns=["k", "sx"], where="sx > 12500 AND kind = 'k2'").read_all()
    assert sorted(rows.to_pylist(), key=str) == sorted(
        ({"k": row[1], "sx": row[3]} for row in by_key.values() if row[0] == "k2" and row[3] > 12500), key=str
    )
    assert len(rows) > 0
    assert sorted(table.scan(key="k3", columns=["k", "n"]).read_all().to_pydict()["k"]) == list(range(7))
    everything = table.export().read_all()
    assert everything.num_rows == 35
    assert everything.to_pylist() == table.export().read_all().to_pylist()
    assert table.export(columns=["az", "kind"]).read_all().schema.names == ["az", "kind"]
    with db.snapshot() as past:
        before = past.table("v").get(("k1", 1))
        fill(db, 5001, 5100)
        assert past.table("v").get(("k1", 1)) == before
        assert past.execute("SELECT n FROM v WHERE kind = $1 AND k = $2", ["k1", 1]).scalar() == before["n"]
        assert table.get(("k1", 1)) != before
        assert (
            past.table("v").scan(columns=["n"]).read_all().to_pydict()["n"]
            != (table.scan(columns=["n"]).read_all().to_pydict()["n"])
        )


def test_writing_to_a_view_is_refused(db: Database) -> None:
    table = db.table("v")
    for call in (
        lambda: table.insert({"k": 1}),
        lambda: table.put({"k": 1}),
        lambda: table.update(("k1", 1), n=2),
        lambda: table.add(("k1", 1), n=2),
        lambda: table.delete(("k1", 1)),
        lambda: db.execute("DELETE FROM v"),
        lambda: db.execute("UPDATE v SET n = 1"),
    ):
        assert "is a view, not a table" in refused("42809", call)
    with pytest.raises(Invalid, match="is a view"), table.writer() as writer:
        writer.put({"k": 1})
    with pytest.raises(Invalid, match="is a view"), db.transaction() as txn:
        txn.table("v").put({"k": 1})
    db.execute("CREATE VIEW plain AS SELECT * FROM t")
    assert "not materialized" in refused("42809", lambda: db.table("plain").scan())


def test_a_transaction_that_wrote_reads_the_view_by_sql_alone(db: Database) -> None:
    query, key = "SELECT n FROM v WHERE kind = $1 AND k = $2", ["k1", 3]
    before = db.execute(query, key).scalar()
    with db.transaction() as txn:
        assert txn.execute(query, key).scalar() == before
        assert txn.table("v").get(tuple(key))["n"] == before
        txn.execute("INSERT INTO t VALUES (9999, 'k1', 3, 1, 1, 1, true)")
        assert txn.execute(query, key).scalar() == before + 1
        assert "has written to its table" in refused("0A000", lambda: txn.table("v").get(tuple(key)))
        refused("0A000", lambda: txn.table("v").scan(columns=["n"]).read_all())
        assert db.execute(query, key).scalar() == before
    assert db.execute(query, key).scalar() == before + 1


def test_queries_over_groups_are_those_over_the_rows(db: Database) -> None:
    floats = ("round(sy::numeric, 6)", "round(ay::numeric, 6)")
    for query in (
        f"SELECT {EXACT}, {', '.join(floats)} FROM $v ORDER BY kind, k",
        "SELECT kind, k, sz FROM $v WHERE kind = 'k2' AND k >= 2 ORDER BY k DESC",
        "SELECT kind, k, az FROM $v ORDER BY az DESC NULLS LAST, kind, k LIMIT 5",
        "SELECT kind, k FROM $v WHERE sx > 12000 AND NOT bb ORDER BY sx, kind, k LIMIT 7 OFFSET 2",
        "SELECT sum(n), min(sx), max(az), count(big) FROM $v",
        "SELECT kind, sum(n), sum(sx), max(c2) FROM $v GROUP BY kind HAVING sum(n) > 3 ORDER BY 1",
        "SELECT k, n + 1, sx / n FROM $v WHERE kind IS NULL ORDER BY k",
        "SELECT d.name, sum(w.n), max(w.sx) FROM $v w JOIN (VALUES ('k1', 'one'), ('k2', 'two')) d(kind, name) "
        "ON w.kind = d.kind GROUP BY 1 ORDER BY 1",
        "SELECT t.id, w.n, w.az FROM t LEFT JOIN $v w ON t.kind = w.kind AND t.k = w.k AND w.n > 28 "
        "WHERE t.id < 60 ORDER BY 1",
        "SELECT id FROM t WHERE (kind, k) IN (SELECT kind, k FROM $v WHERE az > 126) ORDER BY 1",
        "SELECT w.kind, (SELECT max(u.sz) FROM $v u WHERE u.kind = w.kind) FROM $v w WHERE w.k = 1 ORDER BY 1",
        "WITH w AS (SELECT kind, sum(sx) AS s FROM $v GROUP BY 1) SELECT kind, s FROM w WHERE s > 1 ORDER BY s",
        "SELECT kind, k, rank() OVER (PARTITION BY kind ORDER BY sx) FROM $v ORDER BY 1, 2",
        "SELECT DISTINCT ON (kind) kind, k, sx FROM $v ORDER BY kind, sx DESC",
    ):
        shown = db.execute(query.replace("$v", "v")).rows()
        rows = query.replace("$v w", f"({QUERY}) w").replace("$v u", f"({QUERY}) u").replace("$v", f"({QUERY}) q")
        assert shown == from_rows(db, rows).rows(), query
        assert shown, query


def test_a_sum_beyond_its_type_is_an_error_of_who_reads_it_by_key(db: Database) -> None:
    db.execute("CREATE TABLE big (id BIGINT PRIMARY KEY, g INT, n NUMERIC(38,0))")
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT g, sum(n) AS s, count(*) AS c FROM big GROUP BY g")
    for id in range(3):
        db.execute("INSERT INTO big VALUES ($1, 1, 99999999999999999999999999999999999999)", [id])
    for _ in range(2):
        assert db.execute("SELECT c FROM w WHERE g = $1", [1]).rows() == [(3,)]
        assert "38 digits" in refused("22003", lambda: db.execute("SELECT s FROM w WHERE g = $1", [1]).rows())
    assert "38 digits" in refused("22003", lambda: db.table("w").get(1))
    assert db.table("w").scan(columns=["c"]).read_all().to_pydict() == {"c": [3]}
    db.execute("DELETE FROM big WHERE id > 0")
    assert db.table("w").get(1) == {"g": 1, "s": Decimal(10**38 - 1), "c": 1}


def test_a_view_without_its_group_columns_has_no_key(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT k AS a, k AS b, count(*) AS n FROM t GROUP BY kind, k")
    assert "has no primary key" in refused("55000", lambda: db.table("w").get(1))
    query = "SELECT count(*), sum(n), min(a), max(b) FROM w"
    assert db.execute(query).rows() == [(35, 1000, 0, 6)]
    assert (
        db.execute("SELECT sum(n) FROM w WHERE a = 3").rows() == db.execute("SELECT sum(n) FROM w WHERE b = 3").rows()
    )


def test_constants_in_a_view_are_there_once_per_group(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT k, 7 AS seven, count(*) AS n FROM t GROUP BY k")
    for _ in range(2):
        for query in ("SELECT seven FROM w", "SELECT 7 FROM w", "SELECT seven FROM w WHERE n > 1 AND seven = 7"):
            assert db.execute(query).rows() == [(7,)] * 7, query
        assert db.table("w").scan(columns=["seven"]).read_all().to_pydict() == {"seven": [7] * 7}
        assert db.table("w").get(3)["seven"] == 7
        if hasattr(db, "engine"):
            db.engine.maintenance.flush()


def test_what_cannot_be_computed_of_a_group_is_said_without_the_number_of_a_row(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT k, 10 / (count(*) - 142) AS q FROM t GROUP BY k")
    assert db.execute("SELECT count(*) FROM t WHERE k = 0").scalar() == 142
    for ask in (
        lambda: db.execute("SELECT q FROM w").rows(),
        lambda: db.table("w").scan().read_all(),
        lambda: db.table("w").get_many([(1,), (0,)]),
        lambda: db.table("w").get(0),
    ):
        assert refused("22012", ask).startswith("division by zero")


def test_groups_are_handed_to_the_executor_under_the_names_that_the_view_has_for_them() -> None:
    with weftdb.open(maintenance=False) as db:
        db.execute(DDL)
        fill(db)
        db.execute("CREATE MATERIALIZED VIEW v AS SELECT kind AS what, k AS number, count(*) AS n FROM t GROUP BY 1, 2")
        for _ in range(2):
            with db.engine.snapshot() as snapshot:
                view = snapshot.catalog.relations["v"].rows
                scan = snapshot.scan(view)
                assert scan.schema.names == ["what", "number", "n"]
                for places in (None, [2, 0]):
                    schema, batches = scan.handed(places)
                    names = [scan.schema.names[place] for place in places or range(3)]
                    assert schema.names == names
                    assert [batch.schema.names for batch in batches] == [names]
            db.engine.maintenance.flush()


def test_definitions_that_change_reach_reads_by_key(db: Database) -> None:
    query = "SELECT n FROM v WHERE kind = $1 AND k = $2"
    assert db.execute(query, ["k1", 1]).scalar() == db.table("v").get(("k1", 1))["n"] == 29
    db.execute("DROP MATERIALIZED VIEW v")
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT kind, k, count(*) + 100 AS n FROM t GROUP BY kind, k")
    assert db.execute(query, ["k1", 1]).scalar() == db.table("v").get(("k1", 1))["n"] == 129
    db.execute("ALTER MATERIALIZED VIEW v RENAME TO u")
    refused("42P01", lambda: db.execute(query, ["k1", 1]).rows())
    for _ in range(2):
        assert db.execute(query.replace("v", "u"), ["k1", 1]).scalar() == db.table("u").get(("k1", 1))["n"] == 129


def test_explain_names_the_groups(db: Database) -> None:
    lines = [row[0] for row in db.execute("EXPLAIN SELECT * FROM v WHERE kind = 'k1' AND k = 3").rows()]
    assert "  Groups of v: by kind, k; 35 of them stand for 1,000 rows of t" in lines
    assert "  Filter: kind = 'k1' AND k = 3" in lines
    assert any(line.startswith("Primary Key Get on v ") for line in lines)
    lines = [row[0] for row in db.execute("EXPLAIN ANALYZE SELECT kind, sum(n) FROM v GROUP BY 1").rows()]
    assert "  Groups of v: by kind, k; 35 of them stand for 1,000 rows of t" in lines
    assert not any("1, 2" in line for line in lines)


def test_reads_are_counted_with_the_rows_that_they_save(db: Database) -> None:
    counted = "SELECT reads, rows_saved FROM weft_views WHERE view_name = 'v'"
    reads, saved = db.execute(counted).rows()[0]
    for _ in range(3):
        db.execute("SELECT n FROM v WHERE kind = $1 AND k = $2", ["k1", 3]).rows()
    db.table("v").get(("k1", 3))
    assert db.execute(counted).rows() == [(reads + 4, saved + 4 * 999)]
    db.execute("SELECT sum(n) FROM v").rows()
    assert db.execute(counted).rows() == [(reads + 5, saved + 4 * 999 + 965)]
    metrics = "SELECT value FROM weft_metrics WHERE name = 'weft_views_reads'"
    assert db.execute(metrics).scalar() == reads + 5


def test_a_view_is_exported_backed_up_and_restored(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute(DDL)
        fill(db)
        db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
        wanted = db.execute("SELECT * FROM v ORDER BY kind, k").arrow()
        file = tmp_path / "v.parquet"
        db.execute(f"COPY (SELECT * FROM v ORDER BY kind, k) TO '{file}' WITH (FORMAT parquet)")
        assert pq.read_table(file).to_pylist() == wanted.to_pylist()
        db.execute(f"COPY v TO '{tmp_path / 'v.csv'}' WITH (FORMAT csv, HEADER)")
        assert len((tmp_path / "v.csv").read_text().splitlines()) == 36
        version = db.execute("SELECT 1").version
        fill(db, 3001, 3500)
        past = db.execute(f"SELECT * FROM v AS OF VERSION {version} ORDER BY kind, k").arrow()
        assert past.to_pylist() == wanted.to_pylist()
        point = f"SELECT n FROM v AS OF VERSION {version} WHERE kind = $1 AND k = $2"
        assert db.execute(point, ["k1", 3]).scalar() != db.table("v").get(("k1", 3))["n"]
        wanted = db.execute("SELECT * FROM v ORDER BY kind, k").arrow()
        db.backup(tmp_path / "backup")
    with BackupFolder.open(tmp_path / "backup") as backup:
        restore_backup(backup, tmp_path / "restored")
    with weftdb.open(tmp_path / "restored") as db:
        assert db.execute("SELECT * FROM v ORDER BY kind, k").arrow().to_pylist() == wanted.to_pylist()
        fill(db, 4001, 4100)
        shown = db.execute(f"SELECT {EXACT} FROM v ORDER BY kind, k").rows()
        assert shown == from_rows(db, f"SELECT {EXACT} FROM ({QUERY}) q ORDER BY kind, k").rows()


def test_a_group_of_a_time_is_found_by_its_key(db: Database) -> None:
    db.execute("CREATE TABLE e (id BIGINT PRIMARY KEY, at TIMESTAMP, az TIMESTAMPTZ, d DATE)")
    db.execute(
        "INSERT INTO e SELECT g, timestamp '2026-01-01' + g * interval '20 seconds', timestamptz '2026-01-01 00:00Z', "
        "date '2026-01-01' + g % 3 FROM generate_series(0, 99) g"
    )
    db.execute(
        "CREATE MATERIALIZED VIEW w AS SELECT time_bucket('1 minute', at) AS minute, d, az, count(*) AS n FROM e "
        "GROUP BY 1, 2, 3"
    )
    minute, day = dt.datetime(2026, 1, 1, 0, 5), dt.date(2026, 1, 1)
    zoned = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    elsewhere = zoned.astimezone(dt.timezone(dt.timedelta(hours=5)))
    query = "SELECT n FROM w WHERE minute = $1 AND d = $2 AND az = $3"
    for _ in range(2):
        assert db.execute(query, [minute, day, zoned]).rows() == [(1,)]
        assert db.execute(query, [minute, day, elsewhere]).rows() == [(1,)]
        assert db.execute(query, [minute, minute, zoned]).rows() == []
        assert db.execute(query, [dt.datetime(2026, 1, 1, 0, 5, 1), day, zoned]).rows() == []
        assert db.execute(query, [zoned, day, zoned]).rows() == [(1,)]  # that of midnight
        assert db.execute(query, [elsewhere, day, zoned]).rows() == [(1,)]
    assert db.table("w").get((minute, day, zoned)) == {"minute": minute, "d": day, "az": zoned, "n": 1}


LIMB = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]))


def call(function: str, *arguments: Expression) -> Call:
    literals = {place: part.value for place, part in enumerate(arguments) if isinstance(part, Literal)}
    found = resolve(function, [part.type for part in arguments], literals=literals)
    return Call(function=function, arguments=arguments, type=found.result)


def outputs() -> list[Expression]:
    a, b, c = (Column(id=id, type=BIGINT) for id in (1, 2, 3))
    rest, zero = Column(id=4, type=BYTEA), Literal(value=0, type=BIGINT)
    integer, real = call("weft_sum_integer", a, b), call("weft_sum_float", a, b, c, rest)
    decimals = call("weft_sum_numeric", a, b, c, Literal(value=3, type=INTEGER))
    one, scale = Literal(value=1, type=INTEGER), Literal(value=2, type=INTEGER)
    whole = call("weft_variance_integer", c, a, b, b, a, c, one)
    variances = [
        whole,
        call("weft_variance_numeric", c, a, b, c, a, b, c, a, b, one, scale),
        call("weft_variance_float", c, a, b, c, rest, a, b, c, a, b, rest, one),
        call("sqrt", whole),
    ]
    none = call("equal", c, zero)
    found: list[Expression] = [integer, decimals, real, *variances]
    found.append(call("divide", integer, Cast(argument=c, type=numeric(19, 0))))
    found.append(call("divide", decimals, Cast(argument=c, type=numeric(19, 0))))
    found.append(call("divide", real, Cast(argument=c, type=DOUBLE)))
    found += [call("add", a, b), call("multiply", real, real), call("greater", integer, decimals)]
    found += [call("and", none, call("less", a, b)), call("coalesce", Literal(value=None, type=BIGINT), c)]
    null = Literal(value=None, type=BOOLEAN)
    found += [Case(branches=((none, null), (call("less", a, b), none)), default=call("not", none), type=BOOLEAN)]
    return found


def of_nullable() -> list[Expression]:
    """Expressions of columns that may be NULL."""
    a, b, c = (Column(id=id, type=BIGINT) for id in (1, 2, 3))
    exact = [Cast(argument=part, type=numeric(19, 0)) for part in (a, b)]
    reals = [Cast(argument=part, type=DOUBLE) for part in (a, b)]
    huge = Literal(value=1.7e308, type=DOUBLE)
    null = Literal(value=None, type=BOOLEAN)
    return [
        call("divide", *exact), call("divide", *reals), call("multiply", huge, reals[0]), call("add", reals[0], huge),
        *(Cast(argument=a, type=numeric(*digits)) for digits in ((5, 0), (19, 0), (18, 0), (30, 4), (38, 19))),
        Case(branches=((call("less", a, b), c),), default=a, type=BIGINT),
        Case(branches=((call("less", a, b), c), (call("equal", b, c), b)), default=a, type=BIGINT),
        Case(branches=((null, b),), default=c, type=BIGINT),
        call("is_distinct", a, b), call("is_null", a), call("is_not_null", b), call("not", call("less", a, b)),
        call("coalesce", a, b, c), call("greater_equal", a, c), call("nullif", a, b), call("negate", c),
    ]  # fmt: skip


VALUE = st.one_of(st.none(), st.integers(-2, 3), LIMB)


@settings(deadline=None)
@given(st.lists(LIMB, min_size=3, max_size=3), st.integers(0, len(outputs()) - 1), st.booleans())
def test_a_row_computes_what_the_naive_form_and_batches_do(limbs: list[int], number: int, small: bool) -> None:
    if small:  # what sums mostly are
        limbs = [limbs[0], limbs[0] >> 63, random.Random(limbs[2]).choice([0, 1, 7, 1000])]
    compare_forms(outputs()[number], dict(zip((1, 2, 3, 4), [*limbs, None], strict=True)))


@settings(deadline=None)
@given(st.lists(VALUE, min_size=3, max_size=3))
def test_a_row_computes_of_null_what_the_naive_form_and_batches_do(values: list[int | None]) -> None:
    for expression in of_nullable():
        compare_forms(expression, dict(zip((1, 2, 3), values, strict=True)))


def compare_forms(expression: Expression, row: dict[int, int | None]) -> None:
    def result(compute: Any) -> Any:
        try:
            value = compute()
        except Invalid as error:
            return error.sqlstate, error.message.removeprefix("row 1: ")
        if isinstance(value, Decimal):  # its digits count, too
            return str(value)
        return "nan" if isinstance(value, float) and math.isnan(value) else value

    names = {id: str(id) for id in row}
    found = result(lambda: function_of_row(expression, names)({str(id): value for id, value in row.items()}))
    assert found == result(lambda: evaluate_row(expression, row, context=Context()))
    arrays = [pa.array([value], BYTEA.arrow if id == 4 else pa.int64()) for id, value in row.items()]
    batch = pa.RecordBatch.from_arrays(arrays, names=[str(id) for id in row])
    assert found == result(lambda: evaluate(expression, batch, column_ids=list(row))[0].as_py())
