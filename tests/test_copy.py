"""COPY: PostgreSQL's bytes out, PostgreSQL's rows in, every format there and back, and nothing lost in silence."""

from __future__ import annotations

import io
import json
import random
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
from weftdb.base.errors import Denied, Invalid, NotFound, WeftError
from weftdb.base.interface import Database
from weftdb.base.result import Result
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.server.service import serve
from weftdb.sql.copy import decode, encode, lines
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
    for drawn in ({"format": "csv", "header": None}, {"format": "csv", "escape": "\\"}, {"format": "text"}):
        out = io.BytesIO()
        options = options_of(drawn, writes=True)
        encode.write_result(Result(schema=AB, batches=[batch], version=1), options, out)
        assert read(out.getvalue().decode(), options) == rows, drawn


@pytest.fixture
def db() -> Iterator[Database]:
    with weftdb.open() as database:
        yield database


@pytest.mark.parametrize("format", ["text", "csv", "json", "parquet", "arrow"])
def test_every_type_comes_back_from_every_format(format: str, tmp_path: Path) -> None:
    # INTERVAL has no place in Parquet; of a JSON document JSON keeps the meaning, and null is NULL.
    out = {"parquet": {"span"}, "json": {"document"}}.get(format, set())
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


def test_json_lines_go_by_name_and_what_is_absent_takes_its_default(db: Database, tmp_path: Path) -> None:
    db.execute("CREATE TABLE t (a INT PRIMARY KEY, b TEXT DEFAULT 'd', c DOUBLE PRECISION, d JSON)")
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": 1}\n{"c": 1.50, "a": 2, "d": {"x": [1, 2.5]}}\n\n{"a": 3, "b": null, "c": 7}\n')
    assert db.execute(f"COPY t FROM '{file}'").tag == "COPY 3"
    rows = db.execute("SELECT * FROM t ORDER BY a").rows()
    assert rows == [(1, "d", None, None), (2, "d", 1.5, '{"x": [1, 2.5]}'), (3, None, 7.0, None)]
    db.execute(f"COPY t TO '{file}'")
    assert json.loads(file.read_text().splitlines()[1]) == {"a": 2, "b": "d", "c": 1.5, "d": {"x": [1, 2.5]}}
    for text, message in (
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
    assert db.execute("SELECT count(*) FROM t").scalar() == 3


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
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize(
    ("sql", "sqlstate", "words"),
    [
        ("COPY t FROM 'x.csv'", "22023", "WITH (FORMAT csv)"),
        ("COPY t FROM '/nowhere'", "58P01", "no file"),
        ("COPY t TO '/nowhere/x'", "58P01", "no folder"),
        ("COPY t FROM STDIN", "0A000", "table.insert"),
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
