"""COPY: PostgreSQL's bytes out, PostgreSQL's rows in, every format there and back, and nothing lost in silence."""

from __future__ import annotations

import gzip
import io
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import weftdb
from every_type import DDL, EXTREMES, ROWS, VALUES, plain
from hypothesis import HealthCheck, given, settings
from weftdb.base import types
from weftdb.base.errors import Denied, Invalid, LimitExceeded, NotFound, WeftError
from weftdb.base.interface import Database
from weftdb.base.result import Result
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.server.service import serve
from weftdb.sql.copy import decode, encode, files, lines
from weftdb.sql.copy.options import CopyOptions, copy_options

# What PostgreSQL 15 reads from each file into columns of TEXT, or its error.
READ = [
    ({"format": "text"}, 'a\t\\N\n\\\\N\t\\x41\\101\\n\\q\n', [("a", None), ("\\N", "AA\nq")]),
    ({"format": "text"}, "a\\\tb\tc\\\nd\n", [("a\tb", "c\nd")]),
    ({"format": "text"}, "a\tb\r\nc\td\r\n", [("a", "b"), ("c", "d")]),
    ({"format": "text"}, "a\tb\n\\.\nc\td\n", [("a", "b")]),
    ({"format": "text"}, "a\tb", [("a", "b")]),
    ({"format": "text"}, "a\tb\n\n", 'row 2: missing data for column "b"'),
    ({"format": "text"}, "a\tb\nc\td\te\n", "row 2: extra data after last expected column"),
    ({"format": "text"}, "a\\.\tb\n", "row 1: end-of-copy marker corrupt"),
    ({"format": "text", "null": "", "delimiter": "|"}, "|x\n\\N|\n", [(None, "x"), ("N", None)]),
    ({"format": "csv"}, 'a,""\n,"x,""y"""\n"l\nl",z\n', [("a", ""), (None, 'x,"y"'), ("l\nl", "z")]),
    ({"format": "csv"}, 'a"b,c"d,e\n""f"g",h\n', [("ab,cd", "e"), ("fg", "h")]),
    ({"format": "csv"}, 'a,b\n\\.\nc,d\n', [("a", "b")]),
    ({"format": "csv"}, 'a,b\n\nc,d\n', 'row 2: missing data for column "b"'),
    ({"format": "csv"}, 'a,"b\n', "row 1: unterminated CSV quoted field"),
    ({"format": "csv", "header": None}, '"x\ny",z,w\na,b\n', [("a", "b")]),
    ({"format": "csv", "header": "match"}, "a,b\n1,2\n", [("1", "2")]),
    ({"format": "csv", "header": "match"}, "a,c\n1,2\n", 'column name mismatch in header line field 2: got "c", '),
    ({"format": "csv", "header": "match"}, "", "wrong number of fields in header line"),
    ({"format": "csv", "escape": "\\"}, '"a\\"b\\\\c\\d","e"\n', [('a"b\\c\\d', "e")]),
    ({"format": "csv", "quote": "'", "delimiter": ";"}, "'a;''b';c\n", [("a;'b", "c")]),
    ({"format": "csv", "null": "NULL"}, 'NULL,"NULL"\n,x\n', [(None, "NULL"), ("", "x")]),
    ({"format": "csv", "force_null": ("b",), "force_not_null": ("a",)}, ',""\n', [("", None)]),
    ({"format": "text"}, "a\tb\rc\td\n", "row 1: literal carriage return found in data"),
    ({"format": "csv"}, "a,b\rc,d\n", "row 1: unquoted carriage return found in data"),
    ({"format": "csv"}, 'a,b\n"\\."\n', 'row 2: missing data for column "b"'),
    ({"format": "csv", "escape": "\\"}, 'x\\"y\nz",w\n', [("x\\y\nz", "w")]),
    ({"format": "text"}, "\ufeffa\tb\nc\t\ufeffd\n", [("a", "b"), ("c", "\ufeffd")]),  # a mark of the order of bytes
]  # fmt: skip

# What PostgreSQL 15 writes for these rows.
ROWS_OUT = [("a,b", None), ('q"q', ""), ("l\nl", "\\."), ("t\tt", "\\"), (" x ", "NULL")]
WRITTEN = [
    ({"format": "text"}, 'a,b\t\\N\nq"q\t\nl\\nl\t\\\\.\nt\\tt\t\\\\\n x \tNULL\n'),
    ({"format": "text", "delimiter": ",", "null": ""}, 'a\\,b,\nq"q,\nl\\nl,\\\\.\nt\\tt,\\\\\n x ,NULL\n'),
    ({"format": "csv"}, '"a,b",\n"q""q",""\n"l\nl",\\.\nt\tt,\\\n x ,NULL\n'),
    ({"format": "csv", "null": "NULL", "header": None},
     'a,b\n"a,b",NULL\n"q""q",\n"l\nl",\\.\nt\tt,\\\n x ,"NULL"\n'),
    ({"format": "csv", "escape": "\\", "force_quote": ("b",)},
     '"a,b",\n"q\\"q",""\n"l\nl","\\\\."\nt\tt,"\\\\"\n x ,"NULL"\n'),
    ({"format": "csv", "delimiter": "\t", "quote": "'", "force_quote": ("*",)},
     "'a,b'\t\n'q\"q'\t''\n'l\nl'\t'\\.'\n't\tt'\t'\\'\n' x '\t'NULL'\n"),
]  # fmt: skip

AB = pa.schema([types.arrow_field("a", types.TEXT), types.arrow_field("b", types.TEXT)])


def options_of(given: dict[str, Any], *, writes: bool = False) -> CopyOptions:
    return copy_options(given, path=None, writes=writes)


def read(data: str, options: CopyOptions) -> list[tuple[object, ...]]:
    pieces = decode.read_pieces(io.BytesIO(data.encode()), options, AB)
    return [tuple(row.values()) for piece in pieces for row in piece.batch.to_pylist()]


@pytest.mark.parametrize(("given", "data", "rows"), READ, ids=lambda value: repr(value)[:40])
def test_text_and_csv_are_read_as_postgresql_reads_them(given: dict[str, Any], data: str, rows: Any) -> None:
    if isinstance(rows, list):
        assert read(data, options_of(given)) == rows
    else:
        with pytest.raises(WeftError) as raised:
            read(data, options_of(given))
        assert raised.value.message.startswith(rows)


@pytest.mark.parametrize(("given", "data"), WRITTEN, ids=lambda value: repr(value)[:40])
def test_text_and_csv_are_written_as_postgresql_writes_them(given: dict[str, Any], data: str) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([row[i] for row in ROWS_OUT]) for i in (0, 1)], schema=AB)
    out = io.BytesIO()
    encode.write_result(Result(schema=AB, batches=[batch], version=1), options_of(given, writes=True), out)
    assert out.getvalue().decode() == data


def test_the_quick_way_reads_what_the_exact_way_reads() -> None:
    quick = 0
    for seed in range(3_000):
        draw = random.Random(seed)
        given: dict[str, Any] = {"format": draw.choice(["csv", "csv", "text"])}
        if draw.random() < 0.3:
            given["delimiter"] = draw.choice([";", "|", ","])
        if draw.random() < 0.3:
            given["null"] = draw.choice(["x", "", "\\N"])
        options = options_of(given)
        pieces = ["a", "x", "ä", options.delimiter, options.delimiter, "\n", '"', '""', "\\", "\\n", "\\.", "\r\n", " "]
        text = "".join(draw.choice(pieces) for _ in range(draw.randint(0, 12)))
        if draw.random() < 0.5:
            row = options.delimiter.join(draw.choice(["", "a", '"b"', '"c""d"', '"e\nf"', "\\\\g"]) for _ in "12")
            text = f"{row}\n" * draw.randint(1, 3) + text * (draw.random() < 0.3)
        data = text.encode()
        if lines.END_OF_DATA.search(data) is not None or not data:
            continue
        columns = decode._quick_columns(data, options, ["a", "b"])
        if columns is None:
            continue
        quick += 1
        exact, _ = decode._exact_columns(data, options, ["a", "b"], first=0)
        assert [column.to_pylist() for column in columns] == [column.to_pylist() for column in exact], (seed, data)
    assert quick > 500


def test_blocks_are_cut_between_rows_wherever_a_read_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "BLOCK_BYTES", 7)
    rows = [(f"{i}\n\\" + '"' * (i % 3), None if i % 5 == 0 else "é" * (i % 4)) for i in range(50)]
    batch = pa.RecordBatch.from_arrays([pa.array([row[i] for row in rows]) for i in (0, 1)], schema=AB)
    raw = "".join(f"{i}\\\n\\\\\t{'x' * (i % 9)}\n" for i in range(50)) + "\\.\nthis is not read\n"
    assert read(raw, options_of({"format": "text"})) == [(f"{i}\n\\", "x" * (i % 9)) for i in range(50)]
    raw = "".join(f'{i}\\"\n",{"x" * (i % 9)}\n' for i in range(50)) + "\\.\nthis, is, not, read\n"
    assert read(raw, options_of({"format": "csv", "escape": "\\"})) == [
        (f"{i}\\\n", "x" * (i % 9) or None) for i in range(50)
    ]
    for drawn in ({"format": "csv", "header": None}, {"format": "csv", "escape": "\\"}, {"format": "text"}):
        out = io.BytesIO()
        options = options_of(drawn, writes=True)
        encode.write_result(Result(schema=AB, batches=[batch], version=1), options, out)
        assert read(out.getvalue().decode(), options) == rows, drawn


def test_a_row_without_an_end_is_refused_before_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "BLOCK_BYTES", 100)
    monkeypatch.setattr(decode, "COPY_ROW_BYTES_MAX", 1_000)
    with pytest.raises(LimitExceeded, match="quote that does not end"):
        read('a,"b' + "x,\n" * 1_000, options_of({"format": "csv"}))
    with pytest.raises(LimitExceeded, match="one object a line"):
        read('{"a": "' + "x" * 3_000 + '"}', options_of({"format": "json"}))


def test_json_is_written_as_most_readers_take_it(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    columns = {
        "f": "v::float8 FROM (VALUES (1, '-0'), (2, 'NaN'), (3, '-Infinity'), (4, '1.5'), (5, NULL)) t(i, v)",
        "at": "v::timestamptz FROM (VALUES (1, '2026-11-22 10:00:00.5Z'), (2, NULL)) t(i, v)",
        "list": "CASE WHEN i < 3 THEN ARRAY[v, NULL] END FROM (VALUES (1, 'a\"b'), (2, 'ä'), (3, '')) t(i, v)",
        "b": "v::boolean FROM (VALUES (1, 'yes'), (2, 'no'), (3, NULL)) t(i, v)",
    }
    found: dict[str, list[str]] = {}
    for name, query in columns.items():
        db.execute(
            f"COPY (SELECT {query.replace(' FROM', f' AS {name} FROM', 1)} ORDER BY i) TO '{file}' (FORMAT json)"
        )
        found[name] = [line.removeprefix(f'{{"{name}":').removesuffix("}") for line in file.read_text().splitlines()]
    assert found == {
        "f": ["-0.0", '"NaN"', '"-Infinity"', "1.5", "null"],
        "at": ['"2026-11-22T10:00:00.5+00:00"', "null"],
        "list": ['["a\\"b",null]', '["ä",null]', "null"],
        "b": ["true", "false", "null"],
    }


def test_a_value_like_the_end_of_the_data_is_quoted_where_it_stands_alone(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    db.execute(f"COPY (SELECT '\\.' AS a) TO '{file}' CSV")
    assert file.read_text() == '"\\."\n'
    db.execute("CREATE TABLE t (a TEXT)")
    assert db.execute(f"COPY t FROM '{file}' CSV").rows_affected == 1
    assert db.execute("SELECT a FROM t").scalar() == "\\."


@pytest.fixture
def db() -> Iterator[Database]:
    with weftdb.open() as database:
        yield database


@pytest.mark.parametrize("format", ["text", "csv", "json", "parquet", "arrow"])
def test_every_type_comes_back_from_every_format(format: str, tmp_path: Path) -> None:
    # INTERVAL has no place in Parquet; of a JSON document JSON keeps the meaning, and null is NULL.
    out = {"parquet": {"span", "spans"}, "json": {"document", "documents"}}.get(format, set())
    names = [name for name in ("id", *VALUES) if name not in out]
    path = tmp_path / "rows"
    with weftdb.open() as database:
        database.execute(DDL)
        table = database.table("every_type")

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(ROWS)
        def there_and_back(rows: list[dict[str, Any]]) -> None:
            database.execute("TRUNCATE every_type")
            table.insert([{"id": id, **row} for id, row in enumerate([*rows, *EXTREMES])])
            wanted = database.execute(f"SELECT {', '.join(names)} FROM every_type ORDER BY id").rows()
            database.execute(f"COPY every_type ({', '.join(names)}) TO '{path}' (FORMAT {format})")
            database.execute("TRUNCATE every_type")
            answer = database.execute(f"COPY every_type ({', '.join(names)}) FROM '{path}' (FORMAT {format})")
            assert answer.rows_affected == len(rows) + len(EXTREMES)
            found = database.execute(f"SELECT {', '.join(names)} FROM every_type ORDER BY id").rows()
            assert [plain(row) for row in found] == [plain(row) for row in wanted]

        there_and_back()


def test_columns_options_and_where(db: Database, tmp_path: Path) -> None:
    db.execute("CREATE TABLE t (id INT GENERATED ALWAYS AS IDENTITY, name TEXT DEFAULT 'none', n NUMERIC(9,2))")
    file = tmp_path / "t.csv"
    file.write_text("name;n\nx;1.5\ny;2\nz;\n")
    sql = f"COPY t (name, n) FROM '{file}' WITH CSV HEADER DELIMITER ';' WHERE n > 1.5 OR n IS NULL"
    assert db.execute(sql).tag == "COPY 2"
    assert db.execute("SELECT name, n::text FROM t ORDER BY 1").rows() == [("y", "2.00"), ("z", None)]
    db.execute("TRUNCATE t")
    file.write_text("7\tx\t1\n")
    db.execute(f"COPY t FROM '{file}' (FORMAT text)")  # COPY may give an identity its value, as in PostgreSQL
    out = tmp_path / "out.txt"
    db.execute(f"COPY (SELECT id, name || '!' FROM t) TO '{out}'")
    assert out.read_text() == "7\tx!\n"
    assert db.execute(f"COPY (DELETE FROM t RETURNING id) TO '{out}'").rows_affected == 1
    assert db.execute("SELECT count(*) FROM t").scalar() == 0
    db.execute(f"COPY t TO '{tmp_path / 'empty.parquet'}'")
    assert pyarrow.parquet.read_table(tmp_path / "empty.parquet").num_rows == 0


def jsonl(file: Path, *objects: dict[str, Any]) -> Path:
    file.write_text("".join(json.dumps(one) + "\n" for one in objects))
    return file


def test_json_lines_go_by_name_and_what_is_absent_takes_its_default(db: Database, tmp_path: Path) -> None:
    db.execute("CREATE TABLE t (a INT PRIMARY KEY, b TEXT DEFAULT 'd', c DOUBLE PRECISION, d JSON)")
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": 1}\n{"c": 1.50, "a": 2, "d": {"x": [1, 2.5]}}\n\n{"a": 3, "b": null, "c": 7}\n')
    assert db.execute(f"COPY t FROM '{file}'").tag == "COPY 3"
    rows = db.execute("SELECT * FROM t ORDER BY a").rows()
    assert rows == [(1, "d", None, None), (2, "d", 1.5, '{"x": [1, 2.5]}'), (3, None, 7.0, None)]
    db.execute(f"COPY t TO '{file}'")
    assert json.loads(file.read_text().splitlines()[1]) == {"a": 2, "b": "d", "c": 1.5, "d": {"x": [1, 2.5]}}
    digits = '{"x":0.12345678901234567890123,  "y":[{}, "{"]}'
    file.write_text(f'{{"d" : {digits} ,"a":4}}\n{{"a":5,"d":null}}')
    db.execute(f"COPY t FROM '{file}'")
    assert db.execute("SELECT d FROM t WHERE a >= 4 ORDER BY a").rows() == [(digits,), (None,)]
    db.execute(
        f"COPY t (a, b) FROM '{jsonl(file, {'a': 6, 'c': 9}, {'a': 7, 'b': None}, {'a': 8})}' WHERE a < 8 AND b IS NULL"
    )
    assert db.execute("SELECT a, b, c FROM t WHERE a > 5 ORDER BY a").rows() == [(6, "d", None), (7, None, None)]
    deep = '{"a": 9, "d": ' + "[" * 100_000 + "]" * 100_000 + "}"
    for text, message in (
        (deep, "row 1: this is no JSON"),
        ('{"a": 9, "b": "\\ud800"}\n', 'column "b", row 1: the text is not valid UTF-8'),
        ('{"a": 9, "d": {"x": NaN}}\n', 'column "d", row 1: "{"x": NaN}" is not valid JSON'),
        ('{"a": 4}\n{"z": 1}\n', 'row 2: the key "z" is no column of the table'),
        ('{"a": 4}\n{"a": "x"}\n', 'column "a", row 2: "x" is not a valid integer'),
        ('{"a": 4, "c": 1}\n{"a": 5}\n{"a": 6, "c": true}\n', 'column "c", row 3: '),
        ("[1]\n", "row 1: this is no JSON object"),
        ("{\n", "row 1: this is no JSON"),
    ):
        file.write_text(text)
        with pytest.raises(Invalid) as raised:
            db.execute(f"COPY t FROM '{file}'")
        assert raised.value.message.startswith(message), raised.value.message
    assert db.execute("SELECT count(*) FROM t").scalar() == 7


def test_a_copy_is_all_or_nothing_and_names_the_row(db: Database, tmp_path: Path) -> None:
    db.execute("CREATE TABLE t (a INT PRIMARY KEY, b NUMERIC(4,1) NOT NULL)")
    file = tmp_path / "t.txt"
    file.write_text("".join(f"{i}\t1.5\n" for i in range(200_000)) + "7x\t1\n")
    with pytest.raises(Invalid, match=r'column "a", row 200,001: "7x" is not a valid integer'):
        db.execute(f"COPY t FROM '{file}'")
    file.write_text("1\t1.25\n")
    with pytest.raises(Invalid, match='column "b", row 1'):  # nothing is rounded in silence
        db.execute(f"COPY t FROM '{file}'")
    file.write_text("1\t1\n2\t\\N\n")
    with pytest.raises(Invalid, match=r'"b".*row 2|row 2.*"b"'):
        db.execute(f"COPY t FROM '{file}'")
    assert db.execute("SELECT count(*) FROM t").scalar() == 0
    with db.transaction() as transaction:
        file.write_text("1\t1\n")
        transaction.execute(f"COPY t FROM '{file}'")
        with pytest.raises(Invalid):
            transaction.execute(f"COPY t FROM '{file}'")  # the key exists
        transaction.execute("INSERT INTO t VALUES (2, 2)")
        assert transaction.execute(f"COPY t TO '{tmp_path / 'own.csv'}' CSV").tag == "COPY 2"
    assert db.execute("SELECT a FROM t ORDER BY 1").rows() == [(1,), (2,)]
    with db.transaction() as transaction:
        file.write_text("3\t1\n")
        transaction.execute(f"COPY t FROM '{file}'")
        transaction.rollback()
    assert db.execute("SELECT count(*) FROM t").scalar() == 2


def test_a_file_that_fails_is_not_there_and_one_that_was_is_as_it_was(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("before")
    with pytest.raises(WeftError):
        db.execute(f"COPY (SELECT 1 / (5000 - i) FROM generate_series(1, 9000) i) TO '{file}' CSV")
    assert file.read_text() == "before"
    with pytest.raises(WeftError):  # after many rows were written
        db.execute(f"COPY (SELECT 1 / (500000 - i) FROM generate_series(1, 900000) i) TO '{file}' CSV")
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_of_two_that_write_one_file_at_once_one_is_there_whole(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with files.complete_or_absent(file) as one:
        with files.complete_or_absent(file) as other:
            other.write_text("other")
            one.write_text("one")
        assert file.read_text() == "other"
    assert file.read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_numbers_of_a_file_are_refused_as_literals_are(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    for type, text, right in (
        ("INT", "0x1F", False), ("INT", "1_000", False), ("INT", " 7 ", True), ("SMALLINT", "32768", False),
        ("DOUBLE PRECISION", "1e400", False), ("DOUBLE PRECISION", "1e-400", False),
        ("DOUBLE PRECISION", "-inf", True), ("DOUBLE PRECISION", "0e-999", True),
        ("REAL", "1e39", False), ("REAL", "1e-50", False), ("REAL", "1e-45", True),
        ("TIMESTAMP", "2026-11-22 10:00:00.1234567", True), ("DATE", "2026-02-30", False),
    ):  # fmt: skip
        db.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t (a {type}, b {type})")
        file.write_text(f"{text}\n")
        if not right:
            with pytest.raises(Invalid, match='column "a", row 1'):
                db.execute(f"COPY t (a) FROM '{file}'")
            with pytest.raises(Invalid, match='column "b", row 1'):
                db.execute("INSERT INTO t (b) VALUES ($1)", [text])
            continue
        db.execute(f"COPY t (a) FROM '{file}'")
        db.execute("INSERT INTO t (b) VALUES ($1)", [text])
        assert db.execute("SELECT max(a) = max(b) FROM t").scalar() is True, text


def test_errors_of_a_parquet_file_and_behind_where_name_the_row_of_the_file(db: Database, tmp_path: Path) -> None:
    db.execute("CREATE TABLE t (a INT NOT NULL, b SMALLINT)")
    smalls = [99_999 if i == 140_000 else 1 for i in range(150_000)]
    pyarrow.parquet.write_table(pa.table({"a": smalls, "b": smalls}), tmp_path / "t.parquet")
    with pytest.raises(Invalid, match='column "b", row 140,001'):
        db.execute(f"COPY t FROM '{tmp_path / 't.parquet'}'")
    file = tmp_path / "t.txt"
    file.write_text("\n".join(["1\t9"] * 5 + ["\\N\t7"]) + "\n")
    with pytest.raises(Invalid, match="row 6"):
        db.execute(f"COPY t FROM '{file}' WHERE b < 9")
    assert db.execute("SELECT count(*) FROM t").scalar() == 0


def test_a_copy_ends_when_its_time_is_over(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db.execute("CREATE TABLE t (a INT)")
    file = tmp_path / "t.txt"
    file.write_text("1\n" * 1_000)
    monkeypatch.setattr(decode, "BLOCK_BYTES", 10)
    typed = decode.typed

    def slow(*arguments: Any, **options: Any) -> decode.Piece:
        time.sleep(0.01)
        return typed(*arguments, **options)

    monkeypatch.setattr(decode, "typed", slow)
    with pytest.raises(WeftError) as raised:
        db.execute(f"COPY t FROM '{file}'", timeout=0.2)
    assert raised.value.sqlstate == "57014"
    assert db.execute("SELECT count(*) FROM t").scalar() == 0


@pytest.mark.parametrize(
    ("sql", "sqlstate", "words"),
    [
        ("COPY t FROM 'x.csv'", "22023", "WITH (FORMAT csv)"),
        ("COPY t FROM '/nowhere'", "58P01", "no file"),
        ("COPY t TO '/nowhere/x'", "58P01", "no folder"),
        ("COPY t FROM STDIN", "0A000", ".insert(rows)"),
        ("COPY t TO PROGRAM 'cat'", "0A000", "PROGRAM"),
        ("COPY nope TO '/tmp/x'", "42P01", "nope"),
        ("COPY t (a, a) FROM '{file}'", "42701", "more than once"),
        ("COPY t (z) FROM '{file}'", "42703", "z"),
        ("COPY t FROM '{file}' (DELIMITTER ',')", "42601", 'Did you mean "delimiter"'),
        ("COPY t FROM '{file}' (FORMAT cvs)", "22023", 'Did you mean "csv"'),
        ("COPY t FROM '{file}' (FORMAT parquet)", "22P04", "cannot be read as parquet"),
        ("COPY t FROM '{file}' (FORMAT json, DELIMITER ',')", "0A000", "json"),
        ("COPY t FROM '{file}' (QUOTE '*')", "0A000", "CSV"),
        ("COPY t FROM '{file}' (FORMAT csv, QUOTE ',')", "0A000", "must be different"),
        ("COPY t FROM '{file}' (DELIMITER 'x')", "0A000", 'delimiter cannot be "x"'),
        ("COPY t FROM '{file}' (DELIMITER ',', NULL ',')", "0A000", "must not appear in the NULL"),
        ("COPY t FROM '{file}' (FORMAT csv, NULL '\"')", "0A000", "must not appear in the NULL"),
        ("COPY t FROM '{file}' (ENCODING 'latin1')", "0A000", "iconv"),
        ("COPY t FROM '{file}' (FORMAT csv, FORMAT text)", "42601", "twice"),
        ("COPY t TO '{file}' (FORMAT csv, HEADER match)", "0A000", "match"),
        ("COPY t FROM '{file}' WHERE b > 1", "42703", "b"),
        ("COPY (CREATE TABLE x (a INT)) TO '{file}'", "0A000", "Copy SELECT"),
        ("COPY (DELETE FROM t) TO '{file}'", "0A000", "RETURNING"),
        ("COPY (SELECT 1 a, 2 a) TO '{file}' (FORMAT parquet)", "42701", "AS"),
        ("COPY (SELECT INTERVAL '1 day' i) TO '{file}' (FORMAT parquet)", "0A000", "(FORMAT arrow)"),
        ("COPY t", "42601", "end of input"),
    ],
)
def test_what_cannot_be_copied_is_refused_by_name(
    sql: str, sqlstate: str, words: str, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("1\n")
    db.execute("CREATE TABLE t (a INT)")
    with pytest.raises(WeftError) as raised:
        db.execute(sql.format(file=file))
    assert raised.value.sqlstate == sqlstate, raised.value
    assert words in str(raised.value)


def test_a_server_copies_files_of_its_copy_folder_alone(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("1\n")
    (inside / "link").symlink_to(tmp_path / "secret")
    for folder in (None, inside):
        server = serve(Engine.open(None, options=Options(copy_folder=folder)), port=0)
        try:
            with weftdb.connect(server.address) as remote:
                remote.execute("CREATE TABLE t (a INT)")
                for name in ("../secret", str(tmp_path / "secret"), "link"):
                    for sql in (f"COPY t FROM '{name}'", f"COPY t TO '{name}'"):
                        with pytest.raises(Denied, match=r"\\copy"):
                            remote.execute(sql)
                if folder is None:
                    continue
                remote.execute("INSERT INTO t VALUES (1), (2)")
                assert remote.execute("COPY t TO 'rows.txt'").rows_affected == 2
                assert (inside / "rows.txt").read_text() == "1\n2\n"
                assert remote.execute(f"COPY t FROM '{inside / 'rows.txt'}'").tag == "COPY 2"
                with pytest.raises(NotFound):
                    remote.execute("COPY t FROM 'absent'")
        finally:
            server.stop(grace=5)


def test_how_far_a_copy_is_can_be_seen(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "BLOCK_BYTES", 1_000)
    db.execute("CREATE TABLE t (a INT)")
    file = tmp_path / "t.txt"
    file.write_text("".join(f"{i}\n" for i in range(1_000)))
    seen: list[tuple[Any, ...]] = []
    typed = decode.typed

    def watched(*arguments: Any, **options: Any) -> decode.Piece:
        seen.extend(db.execute("SELECT command, table_name, file, rows, bytes, bytes_total FROM weft_copies").rows())
        return typed(*arguments, **options)

    monkeypatch.setattr(decode, "typed", watched)
    db.execute(f"COPY t FROM '{file}'")
    assert seen[0][:4] == ("COPY FROM", "t", str(file), 0)
    assert 0 < seen[1][3] < 1_000
    assert 0 < seen[1][4] < seen[1][5] == file.stat().st_size
    assert db.execute("SELECT count(*) FROM weft_copies").scalar() == 0


def test_a_program_is_told_what_to_use_instead_of_the_shell_s_input_and_output(db: Database) -> None:
    db.execute("CREATE TABLE t (a INT)")
    with pytest.raises(weftdb.Invalid, match="input of a shell") as caught:
        db.execute("COPY t FROM STDIN")
    assert "table('t').insert(rows)" in str(caught.value.hint)
    with pytest.raises(weftdb.Invalid, match="output of a shell") as caught:
        db.execute("COPY (SELECT 1) TO STDOUT")
    assert ".arrow()" in str(caught.value.hint)


def test_a_file_that_is_not_what_its_name_says_is_the_caller_s_to_mend(db: Database, tmp_path: Path) -> None:
    db.execute("CREATE TABLE t (a INT, b TEXT)")
    for suffix in (".gz", ".bz2", ".zst"):
        path = tmp_path / f"rows.csv{suffix}"
        path.write_bytes(b"1,x\n" * 100)
        with pytest.raises(weftdb.Invalid, match=f"no complete {suffix} file") as caught:
            db.execute(f"COPY t FROM '{path}' (FORMAT csv)")
        assert caught.value.sqlstate == "22P04"
    whole = tmp_path / "whole.csv.gz"
    whole.write_bytes(gzip.compress(b"1,x\n" * 100_000)[:-100])
    with pytest.raises(weftdb.Invalid, match=r"no complete \.gz file"):
        db.execute(f"COPY t FROM '{whole}' (FORMAT csv)")
    wide = tmp_path / "wide.csv"
    for encoding, named in (("utf-16", "UTF-16"), ("latin-1", "LATIN1")):
        wide.write_bytes("1,é\n".encode(encoding))
        with pytest.raises(weftdb.Invalid, match="invalid byte sequence") as caught:
            db.execute(f"COPY t FROM '{wide}' (FORMAT csv)")
        assert f"iconv -f {named}" in str(caught.value.hint)
    assert db.execute("SELECT count(*) FROM t").scalar() == 0
