"""CREATE, ALTER, DROP, TRUNCATE, views; and what is refused by name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import weftdb
from weftdb.base.interface import Database


def refused(db: Database, sql: str) -> weftdb.WeftError:
    """The error of a statement that must fail."""
    with pytest.raises(weftdb.WeftError) as caught:
        db.execute(sql)
    return caught.value


def definition(db: Database, name: str) -> str:
    return db.execute(f"SHOW CREATE {name}").scalar()


def types_of(db: Database, name: str) -> dict[str, str]:
    return {row[0]: row[1] for row in db.execute(f"SHOW COLUMNS FROM {name}").rows()}


# -- CREATE TABLE ----------------------------------------------------------------------------------------------------


def test_types_go_by_all_of_postgresqls_names(db: Database) -> None:
    db.execute("""
        CREATE TABLE t (a int2, b int4, c int8, d float4, e float8, f decimal(5,1), g bool, h varchar,
            i char varying(3), j timestamp, k timestamp without time zone, l timestamptz, m timestamp with time zone,
            n numeric, o smallint, p int, q bigint, r real, s double precision, t text, u bytea, v date, w time,
            x interval, y uuid, z json, aa character varying(7), bb time without time zone, cc numeric(4))
    """)
    names = types_of(db, "t")
    assert list(names.values()) == [
        "smallint", "integer", "bigint", "real", "double precision", "numeric(5,1)", "boolean", "character varying",
        "character varying(3)", "timestamp without time zone", "timestamp without time zone",
        "timestamp with time zone", "timestamp with time zone", "numeric(38,9)", "smallint", "integer", "bigint",
        "real", "double precision", "text", "bytea", "date", "time without time zone", "interval", "uuid", "json",
        "character varying(7)", "time without time zone", "numeric(4,0)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("type", "shown"),
    [
        ("money", "money"),
        ("timetz", "time with time zone"),
        ("char(4)", "char"),
        ("money[]", "money"),
        ("geometry", "geometry"),
        ("inet", "inet"),
        ("xml", "xml"),
        ("bit(3)", "bit"),
        ("nope", "nope"),
    ],
)
def test_types_that_are_not_there_are_refused_by_name(db: Database, type: str, shown: str) -> None:
    error = refused(db, f"CREATE TABLE t (a {type})")
    assert error.sqlstate in ("0A000", "42704")
    assert (
        type.split("(")[0].split("[")[0] in str(error).lower() or "array" in str(error).lower() or "time" in str(error)
    )


def test_names_fold_to_lower_case_unless_quoted(db: Database) -> None:
    db.execute('CREATE TABLE MyTable (Id BIGINT PRIMARY KEY, "Mixed Case" TEXT)')
    assert db.table("mytable").schema.names == ["id", "Mixed Case"]
    db.execute("INSERT INTO MYTABLE VALUES (1, 'x')")
    assert db.execute('SELECT "Mixed Case" FROM mytable').scalar() == "x"
    assert refused(db, "SELECT mixed FROM mytable").sqlstate == "42703"


def test_create_twice_is_an_error_unless_told(db: Database) -> None:
    db.execute("CREATE TABLE t (a BIGINT)")
    assert refused(db, "CREATE TABLE t (a BIGINT)").sqlstate == "42P07"
    assert db.execute("CREATE TABLE IF NOT EXISTS t (b TEXT)").tag == "CREATE TABLE"
    assert db.table("t").schema.names == ["a"]


def test_the_layout_is_read_from_with(db: Database) -> None:
    db.execute("""
        CREATE TABLE transactions (household_id BIGINT, transaction_timestamp TIMESTAMP, basket_id BIGINT,
            product_id BIGINT, quantity INT, sales_value DOUBLE PRECISION,
            PRIMARY KEY (household_id, transaction_timestamp, basket_id, product_id)
        ) WITH (key = 'household_id', shards = 4, time = 'transaction_timestamp', every = '7 days', keep = '2 years',
                keep_by = 'wall')
    """)
    table = db.engine.snapshot().catalog.table("transactions")  # type: ignore[attr-defined]
    assert (table.key, table.time, table.shards) == ((1,), 2, 4)
    assert table.every == 7 * 86_400_000_000
    assert table.keep == 2 * 86_400_000_000 * 1461 // 4
    assert table.keep_by == "wall"
    assert "WITH (key = 'household_id', time = 'transaction_timestamp', every = '7 days', keep = '2 years'" in (
        definition(db, "transactions")
    )


def test_the_key_is_the_primary_key_without_the_time_unless_told(db: Database) -> None:
    db.execute("CREATE TABLE t (a BIGINT, b DATE, c BIGINT, PRIMARY KEY (a, c, b)) WITH (time = 'b')")
    table = db.engine.snapshot().catalog.table("t")  # type: ignore[attr-defined]
    assert [table.by_id[id].name for id in table.key] == ["a", "c"]
    assert table.every == 7 * 86_400_000_000


@pytest.mark.parametrize(
    ("clause", "words"),
    [
        ("key = 'b'", ["begin with the key (b)", "PRIMARY KEY (b, a)"]),
        ("time = 't'", ['contain the event time "t"', "PRIMARY KEY (a, b, t)"]),
        ("key = 'a', time = 't'", ["PRIMARY KEY (a, t, b)"]),
        ("key = 'nope'", ["nope"]),
        ("time = 'a'", ["time", "bigint"]),
        ("every = '1 day'", ["every", "time ="]),
        ("shards = 0", ["shards", "1024"]),
        ("shards = many", ["shards"]),
        ("shard = 4", ["shard", "shards"]),
        ("fillfactor = 70", ["fillfactor"]),
        ("shards = 2, shards = 3", ["twice"]),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_what_it_should_be(db: Database, clause: str, words: list[str]) -> None:
    error = refused(db, f"CREATE TABLE x (a BIGINT, b BIGINT, t TIMESTAMP, PRIMARY KEY (a, b)) WITH ({clause})")
    assert isinstance(error, weftdb.Invalid)
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("every = '1 month'", ["every", "fixed length", "days"]),
        ("every = 'soon'", ["every", "soon", "7 days"]),
        ("every = '1 ms'", ["every", "one second"]),
        ("keep = '0 days'", ["keep"]),
        ("keep_by = 'moon'", ["keep_by", "event", "wall"]),
        ("key = 'a, t'", ["event time"]),
    ],
)
def test_options_of_event_time_are_checked(db: Database, option: str, words: list[str]) -> None:
    error = refused(db, f"CREATE TABLE x (a BIGINT, t TIMESTAMP, PRIMARY KEY (a, t)) WITH (time = 't', {option})")
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize("column", ["a INTERVAL", "a JSON"])
def test_types_with_several_spellings_of_a_value_are_refused_in_a_primary_key(db: Database, column: str) -> None:
    assert "primary key" in str(refused(db, f"CREATE TABLE t ({column} PRIMARY KEY)"))


def test_primary_key_columns_are_not_null(db: Database) -> None:
    db.execute("CREATE TABLE t (a BIGINT, b TEXT, PRIMARY KEY (a))")
    assert refused(db, "INSERT INTO t VALUES (NULL, 'x')").sqlstate == "23502"
    db.execute("CREATE TABLE u (k BIGINT, t TIMESTAMP, v INT) WITH (key = 'k', time = 't')")
    assert refused(db, "INSERT INTO u VALUES (1, NULL, 1)").sqlstate == "23502"


def test_defaults_are_filled_in_and_checked_when_declared(db: Database) -> None:
    db.execute("""
        CREATE TABLE t (id BIGINT PRIMARY KEY, a INT DEFAULT 5, b TEXT DEFAULT 'x' || 'y', c NUMERIC(6,2) DEFAULT -1.5,
            d TIMESTAMPTZ DEFAULT now(), e DATE DEFAULT DATE '2024-01-01', f BOOLEAN DEFAULT true,
            g DATE DEFAULT '2024-02-29')
    """)
    db.execute("INSERT INTO t (id) VALUES (1)")
    row = db.table("t").get(1)
    assert row is not None
    assert (row["a"], row["b"], row["c"], row["f"]) == (5, "xy", Decimal("-1.50"), True)
    assert str(row["g"]) == "2024-02-29"
    assert refused(db, "CREATE TABLE u (a INT DEFAULT 'x')").sqlstate == "22P02"
    assert refused(db, "CREATE TABLE u (a INT DEFAULT true)").sqlstate == "42804"
    assert refused(db, "CREATE TABLE u (a NUMERIC(4,1) DEFAULT 1.25)").sqlstate == "22003"
    assert refused(db, "CREATE TABLE u (a INT, b INT DEFAULT a)").sqlstate == "0A000"
    assert refused(db, "CREATE TABLE u (a INT DEFAULT (SELECT 1))").sqlstate == "0A000"
    assert refused(db, "CREATE TABLE u (a INT DEFAULT nothing())").sqlstate == "42883"


def test_checks_refuse_rows_and_let_null_pass(db: Database) -> None:
    db.execute("CREATE TABLE t (a INT CHECK (a > 0), b INT, CONSTRAINT order_ CHECK (a < b), CHECK (b <> 7))")
    db.execute("INSERT INTO t VALUES (1, 2), (NULL, NULL), (1, NULL)")
    error = refused(db, "INSERT INTO t VALUES (1, 2), (3, 2)")
    assert error.sqlstate == "23514"
    assert "order_" in str(error)
    assert "row 2" in str(error)
    assert '"t_a_check"' in str(refused(db, "INSERT INTO t VALUES (0, 5)"))
    assert '"t_b_check"' in str(refused(db, "INSERT INTO t VALUES (1, 7)"))
    assert refused(db, "UPDATE t SET a = 0 WHERE a = 1").sqlstate == "23514"
    assert refused(db, "CREATE TABLE u (a INT CHECK (a + 1))").sqlstate == "42804"
    assert refused(db, "CREATE TABLE u (a INT CHECK (b > 1))").sqlstate == "42703"


def test_identity_columns_number_by_themselves(db: Database) -> None:
    db.execute("CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v TEXT)")
    db.execute("CREATE TABLE s (id SERIAL PRIMARY KEY, v TEXT)")
    for table in ("t", "s"):
        db.execute(f"INSERT INTO {table} (v) VALUES ('a'), ('b')")
        ids = [row[0] for row in db.execute(f"SELECT id FROM {table} ORDER BY id").rows()]
        assert len(set(ids)) == 2
    assert refused(db, "INSERT INTO t VALUES (77, 'x')").sqlstate == "428C9"
    db.execute("INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (77, 'x')")
    db.execute("INSERT INTO t VALUES (DEFAULT, 'y')")
    db.execute("INSERT INTO s VALUES (78, 'x'), (DEFAULT, 'y')")
    assert db.execute("SELECT count(*) FROM s").scalar() == 4
    assert refused(db, "CREATE TABLE u (a TEXT GENERATED ALWAYS AS IDENTITY)").sqlstate == "22023"
    assert refused(db, "CREATE TABLE u (a INT GENERATED ALWAYS AS IDENTITY (START WITH 100))").sqlstate == "0A000"


def test_create_table_as_takes_a_querys_columns_and_rows(db: Database) -> None:
    db.execute("CREATE TABLE t AS SELECT x, x * 1.5 AS y, 'a' AS z FROM generate_series(1, 3) AS g(x)")
    assert db.execute("SELECT sum(y), min(z) FROM t").rows() == [(Decimal("9.0"), "a")]


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("CREATE TABLE x (a INT REFERENCES t (a))", "REFERENCES"),
        ("CREATE TABLE x (a INT, FOREIGN KEY (a) REFERENCES t (a))", "FOREIGN KEY"),
        ("CREATE TABLE x (a INT, b INT GENERATED ALWAYS AS (a + 1) STORED)", "GENERATED"),
        ('CREATE TABLE x (a TEXT COLLATE "de_DE")', "COLLATE"),
        ("CREATE TABLE x (LIKE t)", "LIKE"),
        ("CREATE TABLE x (a INT) PARTITION BY RANGE (a)", "PARTITION BY"),
        ("CREATE TABLE x (a INT) INHERITS (t)", "INHERITS"),
        ("CREATE TEMP TABLE x (a INT)", "TEMPORARY"),
        ("CREATE UNLOGGED TABLE x (a INT)", "UNLOGGED"),
        ("CREATE SEQUENCE s", "CREATE SEQUENCE"),
        ("CREATE SCHEMA s", "CREATE SCHEMA"),
        ("CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()", "CREATE TRIGGER"),
        ("CREATE FUNCTION f() RETURNS int AS 'select 1' LANGUAGE sql", "CREATE FUNCTION"),
        ("CREATE TYPE mood AS ENUM ('a')", "CREATE TYPE"),
        ("CREATE EXTENSION x", "CREATE EXTENSION"),
        ("GRANT SELECT ON t TO u", "GRANT"),
        ("COMMENT ON INDEX t IS 'x'", "COMMENT ON INDEX"),
        ("LOCK TABLE t", "LOCK"),
        ("DECLARE c CURSOR FOR SELECT 1", "DECLARE"),
        ("LISTEN x", "LISTEN"),
        ("DO 'x'", "DO"),
        ("ALTER TABLE t ALTER COLUMN a TYPE BIGINT", "TYPE"),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", "PRIMARY KEY"),
    ],
)
def test_what_is_not_there_is_refused_by_name(db: Database, sql: str, name: str) -> None:
    db.execute("CREATE TABLE t (a INT)")
    error = refused(db, sql)
    assert error.sqlstate == "0A000", str(error)
    assert name in str(error)
    assert error.hint


def test_other_schemas_do_not_exist(db: Database) -> None:
    db.execute("CREATE TABLE public.t (a INT)")
    assert db.execute("SELECT count(*) FROM public.t").scalar() == 0
    assert refused(db, "CREATE TABLE other.t (a INT)").sqlstate == "3F000"


# -- ALTER -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def t(db: Database) -> Any:
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, a INT CHECK (a >= 0), b TEXT)")
    db.execute("INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y')")
    return db


def test_add_column_gives_old_rows_its_default_once(t: Database) -> None:
    t.execute("ALTER TABLE t ADD COLUMN c INT DEFAULT 7, ADD COLUMN d TEXT")
    assert t.execute("SELECT c, d FROM t ORDER BY id").rows() == [(7, None), (7, None)]
    t.execute("ALTER TABLE t ALTER COLUMN c SET DEFAULT 8")
    t.execute("INSERT INTO t (id) VALUES (3)")
    assert t.execute("SELECT c FROM t ORDER BY id").rows() == [(7,), (7,), (8,)]
    t.execute("ALTER TABLE t ALTER COLUMN c DROP DEFAULT")
    t.execute("INSERT INTO t (id) VALUES (4)")
    assert t.execute("SELECT c FROM t ORDER BY id").rows() == [(7,), (7,), (8,), (None,)]


def test_add_column_with_now_is_one_moment_for_old_rows_and_a_new_one_for_new_rows(t: Database) -> None:
    t.execute("ALTER TABLE t ADD COLUMN at TIMESTAMPTZ DEFAULT now()")
    t.execute("INSERT INTO t (id) VALUES (3)")
    first, second, third = (row[0] for row in t.execute("SELECT at FROM t ORDER BY id").rows())
    assert first == second < third


def test_add_column_is_refused_where_old_rows_would_break_it(t: Database) -> None:
    assert refused(t, "ALTER TABLE t ADD COLUMN c INT NOT NULL").sqlstate == "23502"
    assert refused(t, "ALTER TABLE t ADD COLUMN c INT DEFAULT -1 CHECK (c > 0)").sqlstate == "23514"
    assert refused(t, "ALTER TABLE t ADD COLUMN c SERIAL").sqlstate == "0A000"
    assert refused(t, "ALTER TABLE t ADD COLUMN a INT").sqlstate == "42701"
    t.execute("ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT")
    t.execute("ALTER TABLE t ADD COLUMN c INT NOT NULL DEFAULT 1 CHECK (c > 0)")
    assert refused(t, "INSERT INTO t VALUES (3, 1, 'x', 0)").sqlstate == "23514"
    t.execute("CREATE TABLE empty (a INT); ALTER TABLE empty ADD COLUMN b INT NOT NULL; ALTER TABLE empty ADD c SERIAL")


def test_drop_column_forgets_it_for_good(t: Database) -> None:
    t.execute("ALTER TABLE t DROP COLUMN b")
    assert t.execute("SELECT * FROM t ORDER BY id").rows() == [(1, 10), (2, 20)]
    t.execute("ALTER TABLE t ADD COLUMN b TEXT")
    assert t.execute("SELECT b FROM t").rows() == [(None,), (None,)]
    t.execute("ALTER TABLE t DROP COLUMN IF EXISTS nope")


@pytest.mark.parametrize(("column", "why"), [("id", "primary key"), ("a", "t_a_check"), ("nope", "nope")])
def test_drop_column_is_refused_where_it_is_needed(t: Database, column: str, why: str) -> None:
    assert why in str(refused(t, f"ALTER TABLE t DROP COLUMN {column}"))


def test_rename_column_and_table_keep_rows_and_checks(t: Database) -> None:
    t.execute("ALTER TABLE t RENAME COLUMN a TO amount")
    t.execute("ALTER TABLE t RENAME TO u")
    assert t.execute("SELECT amount FROM u ORDER BY id").rows() == [(10,), (20,)]
    assert refused(t, "UPDATE u SET amount = -1").sqlstate == "23514"
    assert "amount >= 0" in definition(t, "u")
    assert refused(t, "SELECT * FROM t").sqlstate == "42P01"
    assert refused(t, "ALTER TABLE u RENAME COLUMN amount TO b").sqlstate == "42701"
    t.execute("CREATE TABLE t (x INT)")
    assert refused(t, "ALTER TABLE u RENAME TO t").sqlstate == "42P07"


def test_not_null_is_set_only_where_it_holds(t: Database) -> None:
    t.execute("INSERT INTO t (id) VALUES (3)")
    assert refused(t, "ALTER TABLE t ALTER COLUMN b SET NOT NULL").sqlstate == "23502"
    t.execute("DELETE FROM t WHERE id = 3")
    t.execute("ALTER TABLE t ALTER COLUMN b SET NOT NULL")
    assert refused(t, "INSERT INTO t (id) VALUES (3)").sqlstate == "23502"
    t.execute("ALTER TABLE t ALTER COLUMN b DROP NOT NULL")
    t.execute("INSERT INTO t (id) VALUES (3)")
    assert refused(t, "ALTER TABLE t ALTER COLUMN id DROP NOT NULL").sqlstate == "42P16"


def test_checks_are_added_and_dropped(t: Database) -> None:
    assert refused(t, "ALTER TABLE t ADD CONSTRAINT small CHECK (a < 15)").sqlstate == "23514"
    t.execute("ALTER TABLE t ADD CONSTRAINT small CHECK (a < 25)")
    assert refused(t, "INSERT INTO t VALUES (3, 30, 'z')").sqlstate == "23514"
    t.execute("ALTER TABLE t DROP CONSTRAINT small")
    t.execute("INSERT INTO t VALUES (3, 30, 'z')")
    assert refused(t, "ALTER TABLE t DROP CONSTRAINT small").sqlstate == "42704"


def test_alter_survives_a_snapshot_of_the_past(t: Database) -> None:
    with t.snapshot() as before:
        t.execute("ALTER TABLE t RENAME COLUMN a TO z")
        t.execute("ALTER TABLE t ADD COLUMN c INT DEFAULT 1")
        assert before.execute("SELECT * FROM t ORDER BY id").names == ("id", "a", "b")
        assert t.execute("SELECT * FROM t").names == ("id", "z", "b", "c")


# -- DROP and TRUNCATE -----------------------------------------------------------------------------------------------


def test_drop_takes_several_names_and_says_what_is_not_there(t: Database) -> None:
    t.execute("CREATE TABLE u (a INT); CREATE VIEW v AS SELECT 1 AS one")
    assert refused(t, "DROP TABLE nope").sqlstate == "42P01"
    assert refused(t, "DROP TABLE v").sqlstate == "42809"
    assert refused(t, "DROP VIEW u").sqlstate == "42809"
    t.execute("DROP TABLE t, u; DROP VIEW v; DROP TABLE IF EXISTS t, u")
    assert t.execute("SHOW TABLES").rows() == []


def test_drop_reports_dependents_and_cascades(t: Database) -> None:
    t.execute("CREATE VIEW v AS SELECT a FROM t; CREATE VIEW w AS SELECT a FROM v")
    error = refused(t, "DROP TABLE t")
    assert error.sqlstate == "2BP01"
    assert '"v"' in str(error)
    t.execute("DROP TABLE t CASCADE")
    assert t.execute("SHOW TABLES").rows() == []


def test_a_dropped_table_made_again_is_empty(t: Database) -> None:
    t.execute("DROP TABLE t; CREATE TABLE t (id BIGINT PRIMARY KEY)")
    assert t.execute("SELECT count(*) FROM t").scalar() == 0


def test_truncate_empties_tables_transactionally(t: Database) -> None:
    with t.transaction() as txn:
        txn.execute("TRUNCATE t")
        assert txn.execute("SELECT count(*) FROM t").scalar() == 0
        txn.execute("INSERT INTO t VALUES (1, 1, 'again')")
        assert t.execute("SELECT count(*) FROM t").scalar() == 2
    assert t.execute("SELECT b FROM t").rows() == [("again",)]


# -- views -----------------------------------------------------------------------------------------------------------


def test_a_view_is_its_query(t: Database) -> None:
    t.execute("CREATE VIEW v AS SELECT id, a * 2 AS twice FROM t WHERE a > 10")
    t.execute("CREATE VIEW named (x, y) AS SELECT * FROM v")
    assert t.execute("SELECT * FROM named").rows() == [(2, 40)]
    t.execute("UPDATE t SET a = 50 WHERE id = 1")
    assert t.execute("SELECT sum(y) FROM named").scalar() == 140
    assert refused(t, "INSERT INTO v VALUES (1, 2)").sqlstate == "42809"
    assert refused(t, "CREATE VIEW bad AS SELECT id, id FROM t").sqlstate == "42701"
    assert refused(t, "CREATE VIEW bad AS SELECT nope FROM t").sqlstate == "42703"


def test_a_view_with_a_star_keeps_its_columns(t: Database) -> None:
    t.execute("CREATE VIEW v AS SELECT * FROM t")
    t.execute("ALTER TABLE t ADD COLUMN c INT")
    assert t.execute("SELECT * FROM v").names == ("id", "a", "b")


def test_views_are_replaced_by_compatible_ones_only(t: Database) -> None:
    t.execute("CREATE VIEW v AS SELECT id FROM t; CREATE OR REPLACE VIEW v AS SELECT id, b FROM t WHERE id > 1")
    assert t.execute("SELECT * FROM v").rows() == [(2, "y")]
    assert refused(t, "CREATE OR REPLACE VIEW v AS SELECT b FROM t").sqlstate == "42P16"
    assert refused(t, "CREATE VIEW v AS SELECT 1").sqlstate == "42P07"
    assert refused(t, "CREATE OR REPLACE VIEW t AS SELECT 1").sqlstate == "42809"
    t.execute("CREATE VIEW w AS SELECT * FROM v")
    assert refused(t, "CREATE OR REPLACE VIEW v AS SELECT w.id, w.b FROM w").sqlstate == "42P17"


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t DROP COLUMN b",
        "ALTER TABLE t RENAME COLUMN b TO c",
        "ALTER TABLE t RENAME TO u",
    ],
)
def test_a_change_that_a_view_would_notice_is_refused(t: Database, change: str) -> None:
    t.execute("CREATE VIEW v AS SELECT upper(b) AS b FROM t")
    error = refused(t, change)
    assert error.sqlstate == "2BP01"
    assert '"v"' in str(error)
    assert t.execute("SELECT count(*) FROM v").scalar() == 2
    t.execute("DROP VIEW v")
    t.execute(change)


SPEND = "CREATE MATERIALIZED VIEW spend AS SELECT b, count(*) AS n, sum(a) AS total FROM t WHERE a > 0 GROUP BY b"


def test_a_materialized_view_is_exact_at_every_snapshot(t: Database) -> None:
    t.execute(SPEND)
    assert t.execute("SELECT * FROM spend ORDER BY b").rows() == [("x", 1, 10), ("y", 1, 20)]
    with t.snapshot() as before:
        t.execute("INSERT INTO t VALUES (3, 5, 'x'); DELETE FROM t WHERE b = 'y'")
        assert before.execute("SELECT sum(total) FROM spend").scalar() == 30
    assert t.execute("SELECT * FROM spend").rows() == [("x", 2, 15)]
    assert t.execute("REFRESH MATERIALIZED VIEW spend").tag == "REFRESH MATERIALIZED VIEW"
    assert refused(t, "DROP VIEW spend").sqlstate == "42809"
    assert t.execute("SHOW TABLES").rows() == [("spend", "materialized view"), ("t", "table")]
    t.execute("DROP MATERIALIZED VIEW spend")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT b FROM t",
        "SELECT count(*) FROM t",
        "SELECT b, count(*) FROM t GROUP BY b HAVING count(*) > 1",
        "SELECT b, count(*) FROM t GROUP BY b ORDER BY b",
        "SELECT b, count(*) FROM t GROUP BY b LIMIT 5",
        "SELECT b, sum(DISTINCT a) FROM t GROUP BY b",
        "SELECT t.b, count(*) FROM t JOIN t AS u ON t.id = u.id GROUP BY t.b",
        "SELECT b, stddev(DISTINCT a) FROM t GROUP BY b",
        "SELECT DISTINCT b FROM t",
        "WITH x AS (SELECT 1) SELECT b, count(*) FROM t GROUP BY b",
        "SELECT b, count(*) FROM t WHERE a > (SELECT 1) GROUP BY b",
    ],
)
def test_a_materialized_view_of_another_shape_is_refused(t: Database, query: str) -> None:
    error = refused(t, f"CREATE MATERIALIZED VIEW m AS {query}")
    assert error.sqlstate == "0A000"
    assert "CREATE VIEW" in str(error)
    t.execute(f"CREATE VIEW plain AS {query}")


def test_show_create_prints_what_creates_the_same(t: Database) -> None:
    t.execute("""
        CREATE TABLE "Odd Name" ("Order" BIGINT, at TIMESTAMPTZ, n NUMERIC(5,2) DEFAULT 1.5,
            s TEXT DEFAULT 'it''s' NOT NULL, id BIGINT GENERATED ALWAYS AS IDENTITY,
            CONSTRAINT positive CHECK (n > 0), PRIMARY KEY ("Order", at))
        WITH (time = 'at', every = '1 day', keep = '30 days', shards = 2)
    """)
    t.execute('CREATE VIEW v AS SELECT "Order", sum(n) AS s FROM "Odd Name" GROUP BY 1')
    table, view = definition(t, '"Odd Name"'), definition(t, "v")
    t.execute('DROP TABLE "Odd Name" CASCADE')
    t.execute(table)
    t.execute(view)
    assert definition(t, '"Odd Name"') == table
    assert definition(t, "v") == view


def test_information_schema_says_of_constraints_what_postgresql_says(t: Database) -> None:
    t.execute(
        "CREATE TABLE s (id BIGINT PRIMARY KEY, a INT NOT NULL DEFAULT 3, b VARCHAR(10), c NUMERIC(8, 2), d TIMESTAMP,"
        " i INT GENERATED ALWAYS AS IDENTITY, h TEXT, UNIQUE (b, a), CONSTRAINT pos CHECK (a > 0 AND id > a))"
    )
    t.execute("CREATE VIEW w AS SELECT id, a + 1 AS x FROM s")

    def of_s(relation: str, columns: str, order: str) -> list[tuple[object, ...]]:
        where = "" if relation == "check_constraints" else "WHERE table_name = 's'"
        return t.execute(f"SELECT {columns} FROM information_schema.{relation} {where} ORDER BY {order}").rows()

    assert of_s("table_constraints", "constraint_name, constraint_type, nulls_distinct", "1") == [
        ("pos", "CHECK", None), ("s_b_a_key", "UNIQUE", "YES"), ("s_pkey", "PRIMARY KEY", None),
    ]  # fmt: skip
    assert of_s("key_column_usage", "constraint_name, column_name, ordinal_position", "1, 3") == [
        ("s_b_a_key", "b", 1), ("s_b_a_key", "a", 2), ("s_pkey", "id", 1),
    ]  # fmt: skip
    assert of_s("constraint_column_usage", "constraint_name, column_name", "1, 2") == [
        ("pos", "a"), ("pos", "id"), ("s_b_a_key", "a"), ("s_b_a_key", "b"), ("s_pkey", "id"),
    ]  # fmt: skip
    assert ("pos", "(a > 0 AND id > a)") in of_s("check_constraints", "constraint_name, check_clause", "1")
    parts = (
        "udt_name, character_octet_length, numeric_precision, numeric_precision_radix, numeric_scale,"
        " datetime_precision, identity_maximum"
    )
    assert of_s("columns", parts, "ordinal_position") == [
        ("int8", None, 64, 2, 0, None, None), ("int4", None, 32, 2, 0, None, None),
        ("varchar", 40, None, None, None, None, None), ("numeric", None, 8, 10, 2, None, None),
        ("timestamp", None, None, None, None, 6, None), ("int4", None, 32, 2, 0, None, "2147483647"),
        ("text", 2**30, None, None, None, None, None),
    ]  # fmt: skip
    [(definition,)] = t.execute("SELECT view_definition FROM information_schema.views WHERE table_name = 'w'").rows()
    assert definition == "SELECT id, a + 1 AS x FROM s"
    assert t.execute("SELECT schema_name FROM information_schema.schemata ORDER BY 1").rows()[-1] == ("public",)
    assert t.execute("SELECT count(*) FROM information_schema.referential_constraints").scalar() == 0


def test_information_schema_lists_tables_and_columns(t: Database) -> None:
    t.execute("CREATE VIEW v AS SELECT 1 AS one")
    assert t.execute("SELECT table_name, table_type FROM information_schema.tables ORDER BY 1").rows() == [
        ("t", "BASE TABLE"),
        ("v", "VIEW"),
    ]
    columns = t.execute(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = $1 ORDER BY "
        "ordinal_position",
        ["t"],
    ).rows()
    assert columns == [("id", "bigint", "NO"), ("a", "integer", "YES"), ("b", "text", "YES")]


# Comments


def comments(db: Database) -> list[tuple[object, ...]]:
    return db.execute("SELECT * FROM weft_comments ORDER BY 1, 2 NULLS FIRST").rows()


def test_comments_stay_with_what_they_are_on(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT, w TEXT); CREATE TABLE u (id INT PRIMARY KEY)")
        db.execute("CREATE VIEW s AS SELECT id, 1 AS v FROM u")
        db.execute("COMMENT ON TABLE t IS 'what it''s for'; COMMENT ON COLUMN public.t.v IS E'a\\nb'")
        db.execute("COMMENT ON VIEW s IS $$short$$; COMMENT ON COLUMN s.v IS 'seen'; COMMENT ON COLUMN t.w IS 'gone'")
        db.execute("ALTER TABLE t RENAME COLUMN v TO value")
        db.execute("ALTER TABLE t DROP COLUMN w; COMMENT ON VIEW s IS 'long'; COMMENT ON COLUMN t.id IS NULL")
        db.execute("BEGIN; COMMENT ON TABLE t IS 'never'; ROLLBACK")
        expected = [
            ("s", None, "long"), ("s", "v", "seen"), ("t", None, "what it's for"), ("t", "value", "a\nb"),
        ]  # fmt: skip
        assert comments(db) == expected
        shown = db.execute("SHOW CREATE t").scalar()
        assert shown.endswith("COMMENT ON TABLE t IS 'what it''s for';\nCOMMENT ON COLUMN t.value IS 'a\nb';")
    with weftdb.open(tmp_path / "data") as db:
        assert comments(db) == expected
        db.execute("COMMENT ON TABLE t IS NULL; COMMENT ON VIEW s IS ''")
        assert comments(db) == [("s", "v", "seen"), ("t", "value", "a\nb")]
        db.execute("DROP TABLE t; DROP TABLE u CASCADE")
        assert comments(db) == []


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        ("COMMENT ON TABLE nosuch IS 'x'", "42P01"),
        ("COMMENT ON VIEW t IS 'x'", "42809"),
        ("COMMENT ON COLUMN t.nosuch IS 'x'", "42703"),
        ("COMMENT ON COLUMN id IS 'x'", "42P01"),
        ("COMMENT ON TABLE t IS", "42601"),
        ("COMMENT ON TABLE t IS x", "42601"),
        ("COMMENT ON CONSTRAINT c ON t IS 'x'", "0A000"),
        (f"COMMENT ON TABLE t IS '{'x' * 10_001}'", "54000"),
    ],
)
def test_comments_that_cannot_be_are_refused(sql: str, state: str) -> None:
    with weftdb.open() as db:
        db.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        assert refused(db, sql).sqlstate == state
        assert comments(db) == []
