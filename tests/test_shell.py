"""The prompt's parts: completion, colours, charts, commands that end a statement, COPY with the client's files."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pyarrow.parquet
import pytest
import weftdb
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from weftdb.base.interface import Database
from weftdb.base.text import text_width
from weftdb.engine.database import Engine
from weftdb.server.service import serve
from weftdb.server.shell.chart import print_chart
from weftdb.server.shell.colours import SqlLexer, coloured
from weftdb.server.shell.completion import SqlCompleter
from weftdb.server.shell.meta import COMMANDS
from weftdb.server.shell.prompt import paged
from weftdb.server.shell.shell import Shell
from weftdb.server.shell.statements import split, waits_for
from weftdb.server.shell.words import STARTS, STATEMENTS
from weftdb.sql.parse import FIRST_WORDS


class Screen:
    """A shell whose output and errors are texts."""

    def __init__(self, database: Database) -> None:
        self.out, self.errors = io.StringIO(), io.StringIO()
        self.shell = Shell(database, address="here", out=self.out, errors=self.errors)

    def run(self, text: str) -> str:
        """What a text prints; errors after the output."""
        for stream in (self.out, self.errors):
            stream.seek(0)
            stream.truncate()
        self.shell.run_script(text)
        return self.out.getvalue() + self.errors.getvalue()


@pytest.fixture(params=["folder", "server"])
def screen(request: pytest.FixtureRequest) -> Iterator[Screen]:
    if request.param == "folder":
        with weftdb.open() as database:
            yield Screen(database)
        return
    server = serve(Engine.open(None), port=0)
    try:
        with weftdb.connect(server.address) as database:
            yield Screen(database)
    finally:
        server.stop(grace=5)


@pytest.fixture
def local() -> Iterator[Screen]:
    with weftdb.open() as database:
        yield Screen(database)


TABLES = """
CREATE TABLE events (device BIGINT, at TIMESTAMP, reading DOUBLE PRECISION);
CREATE TABLE "Odd name" (a INT);
CREATE VIEW calm AS SELECT device FROM events;
"""


def test_tab_offers_what_may_stand_there(local: Screen, tmp_path: Path) -> None:
    local.run(TABLES)
    completer = SqlCompleter(local.shell)
    (tmp_path / "rows.csv").write_text("")

    def offered(text: str) -> list[str]:
        before, _, after = text.partition("|")
        document = Document(before + after, len(before))
        return [found.text for found in completer.get_completions(document, CompleteEvent())]

    assert offered("SELECT * FROM ev") == ["events"]
    assert set(offered("SELECT * FROM ")) >= {
        "events",
        "calm",
        '"Odd name"',
        "weft_metrics",
        "information_schema.tables",
    }
    assert offered("SELECT e.| FROM events e") == ["device", "at", "reading"]
    assert offered("SELECT * FROM calm JOIN events AS x ON x.re") == ["reading"]
    assert offered("SELECT re| FROM events")[0] == "reading"
    assert offered("SELECT dev")[0] == "device"
    assert "date_trunc(" in offered("SELECT date_t")
    assert "not_equal(" not in offered("SELECT not_")
    assert offered("SELECT 1; dele") == ["delete from"]
    assert offered("GR") == []
    assert offered("SELECT device FROM events GR")[0] == "GROUP BY"
    assert offered("UPDATE eve") == ["events"]
    assert "timezone" in offered("SET ")
    assert offered("CREATE TABLE t (a BIGI") == ["BIGINT"]
    assert offered("\\cop") == ["\\copy"]
    assert offered("SELECT 1 \\ch") == ["\\chart"]
    assert offered("\\d ca") == ["calm"]
    assert offered("\\x a") == ["auto"]
    assert offered(f"\\copy events from {tmp_path}/ro") == ["rows.csv"]
    assert offered("\\h alter t") == ["alter table"]
    local.run("CREATE TABLE evening (a INT);")
    assert offered("TABLE eve") == ["evening", "events"]


def test_colours_keep_the_text_and_know_what_is_what() -> None:
    text = "SELECT 'it''s' AS \"A\", 1.5e3, $$x'$$ -- note\n/* a */ FROM t1 \\gx\nWHERE 'open"
    assert "".join(piece for _, piece in coloured(text)) == text
    style = {piece: style.removeprefix("class:sql.") for style, piece in coloured(text) if style}
    assert style == {
        "SELECT": "keyword", "'it''s'": "text", "AS": "keyword", '"A"': "quoted", "1.5e3": "number", "$$x'$$": "text",
        "-- note": "comment", "/* a */": "comment", "FROM": "keyword", "\\gx": "command", "WHERE": "keyword",
        "'open": "text",
    }  # fmt: skip
    line = SqlLexer().lex_document(Document(text))
    assert ["".join(piece for _, piece, *_ in line(number)) for number in range(4)] == [*text.split("\n"), ""]


def test_a_chart_has_a_bar_for_each_row(local: Screen) -> None:
    out = local.run("VALUES ('a', 1), ('bc', 2), (NULL, NULL), ('d', -1) \\chart")
    lines = out.splitlines()
    assert lines[0] == " column1 │ column2"
    bars = [re.match(r" (\S+) +│ ( *)(█*)[▏▎▍▌▋▊▉]? *(\S+)$", line) for line in lines[1:5]]
    assert [bar and bar[1] for bar in bars] == ["a", "bc", "NULL", "d"]
    assert [bar and bar[4] for bar in bars] == ["1", "2", "NULL", "-1"]
    lengths = [len(bar[3]) if bar else -1 for bar in bars]
    assert lengths[1] in (2 * lengths[0], 2 * lengths[0] + 1)
    assert lengths[2] == 0
    assert abs(lengths[3] - lengths[0]) <= 1
    assert lines[5] == "(4 rows)"
    assert max(map(len, lines)) <= 80
    with weftdb.open() as database:
        wide = io.StringIO()
        print_chart(database.execute("SELECT i::double precision FROM generate_series(1, 600) i"), wide, width=60)
        assert wide.getvalue().endswith("(the first 500 rows)\n")
        assert max(map(len, wide.getvalue().splitlines())) <= 60
    assert "a chart takes two columns, a name and a number" in local.run("SELECT 1, 'x' \\chart")
    assert "(0 rows)" in local.run("SELECT 'x', 1 WHERE false \\chart")


def test_commands_end_statements(local: Screen, tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    assert local.run("SELECT 1 AS a, 2 AS b \\gx") == "-[ record 1 ]\na | 1\nb | 2\n"
    assert local.run(f"SELECT 7 AS a\n  \\g {file}\nSELECT 8 AS b;").startswith(" b\n")
    assert file.read_text() == " a\n---\n 7\n(1 row)\n"
    assert "SELECT 8" in local.shell.last.text if local.shell.last else False
    assert local.run("\\g") == " b\n---\n 8\n(1 row)\n"
    local.run(f"SELECT 9 AS c \\g |cat > {file}")
    assert " 9\n" in file.read_text()
    local.run(f"\\o {file}\nSELECT 10 AS d;\n\\echo done\n\\o\n")
    assert file.read_text() == " d\n----\n 10\n(1 row)\ndone\n"
    assert "stands on a line of its own" in local.run("SELECT 1 \\d")
    assert local.run("\\x auto\nSELECT 1 AS a;\n\\x off\n").splitlines()[1] == " a"
    local.shell.layout.expanded, local.shell.layout.width = None, 10
    assert local.run("SELECT 'long enough' AS a;").startswith("-[ record 1 ]")


def test_an_editor_changes_the_statement(local: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i s/41/42/ $1\n")
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    assert " 42\n" in local.run("SELECT 41 AS a \\e")
    typed: list[str] = []
    local.shell.edit = typed.append
    local.run("SELECT 41 \\e")
    assert typed == ["SELECT 42;"]
    monkeypatch.setenv("EDITOR", "false")
    assert "nothing was run" in local.run("SELECT 41 \\e")


def test_help_has_every_command_and_every_statement(local: Screen) -> None:
    shown = local.run("\\?")
    assert all(command.usage in shown for command in COMMANDS.values())
    assert all(STATEMENTS[name].split()[0].startswith(("[", name.split()[0])) for name in STATEMENTS)
    described = {word for text in STATEMENTS.values() for word in re.findall(r"(?:^|\n|\| )([A-Z]+)\b", text)}
    assert described >= {*FIRST_WORDS} - {"WITH"}, "\\h has them all"
    assert {phrase.split()[0] for phrase in STARTS} >= {*FIRST_WORDS}
    assert local.run("\\h alter table").startswith("ALTER TABLE")
    assert local.run("\\h create").count("CREATE") >= 5
    assert "Try \\h UPDATE" in local.run("\\h updat e")
    assert "SAVEPOINT" in local.run("\\h")


def test_copy_goes_through_the_shell_s_own_input_and_files(screen: Screen, tmp_path: Path) -> None:
    screen.run("CREATE TABLE t (a INT PRIMARY KEY, b TEXT DEFAULT 'd');")
    dump = "COPY t (a, b) FROM stdin;\n1\tone\n2\t\\N\n\\.\nSELECT count(*) AS n FROM t;\n"
    assert screen.run(dump) == "COPY 2\n n\n---\n 2\n(1 row)\n"
    assert screen.run("COPY t TO STDOUT (FORMAT csv, HEADER);") == "a,b\n1,one\n2,\n"
    assert screen.run("COPY (SELECT a FROM t WHERE a > 1) TO STDOUT;") == "2\n"
    for name in ("t.parquet", "t.jsonl", "t.arrow"):
        assert screen.run(f"\\copy t to {tmp_path / name}") == "COPY 2\n"
        screen.run("DELETE FROM t;")
        assert screen.run(f"\\copy t from '{tmp_path / name}'") == "COPY 2\n"
        assert screen.run("COPY t TO STDOUT (FORMAT csv);") == "1,one\n2,\n", name
    assert screen.run(f"\\copy (select a from t) to {tmp_path / 'a.csv'} csv header") == "COPY 2\n"
    assert (tmp_path / "a.csv").read_text() == "a\n1\n2\n"
    screen.run("DELETE FROM t;")
    assert screen.run(f"\\copy t (a) from {tmp_path / 'a.csv'} (format csv, header match)") == "COPY 2\n"
    assert screen.run("COPY t TO STDOUT (FORMAT csv);") == "1,d\n2,d\n"


def test_a_copy_to_the_output_may_be_binary(local: Screen) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    local.shell.out = out
    local.shell.run_script("COPY (SELECT 7 AS a, 'x' AS b) TO STDOUT (FORMAT parquet);")
    out.flush()
    assert pyarrow.parquet.read_table(io.BytesIO(out.buffer.getvalue())).to_pylist() == [{"a": 7, "b": "x"}]


def test_a_copy_through_the_shell_is_all_or_nothing(screen: Screen, tmp_path: Path) -> None:
    screen.run("CREATE TABLE t (a INT PRIMARY KEY);")
    bad = tmp_path / "bad.txt"
    bad.write_text("".join(f"{i}\n" for i in range(70_000)) + "x\n")
    assert 'column "a", row 70,001: "x" is not a valid integer' in screen.run(f"\\copy t from {bad}")
    out = screen.run("COPY t FROM STDIN;\n1\nx\n3\n\\.\nSELECT 'not run';\n")
    assert 'row 2: "x" is not a valid integer' in out
    assert screen.run("SELECT count(*) FROM t;").splitlines()[2] == "     0"
    assert screen.run("BEGIN;\nCOPY t FROM STDIN;\n1\n\\.\nROLLBACK;\n") == "BEGIN\nCOPY 1\nROLLBACK\n"
    out = screen.run("BEGIN;\nCOPY t FROM STDIN;\nx\n\\.\n")
    assert screen.shell.mark == "!"
    assert screen.run("ROLLBACK;\nSELECT count(*) FROM t;").splitlines()[3] == "     0"
    assert "no file" in screen.run("\\copy t from /nowhere")
    assert "WHERE goes with files on the server only" in screen.run(f"\\copy t from {bad} where a > 1")
    assert "needs what COPY needs" in screen.run("\\copy")
    assert "syntax error" in screen.run("\\copy t")
    assert "cannot come through STDIN" in screen.run("COPY t FROM STDIN (FORMAT parquet);\n\\.\n")


def test_line_numbers_of_a_script_count_the_data_of_a_copy(local: Screen) -> None:
    local.run("CREATE TABLE t (a INT);")
    local.shell.run_script("COPY t FROM STDIN;\n1\n2\n\\.\n\nSELECT nope;\n", name="dump.sql")
    assert local.errors.getvalue().startswith("dump.sql:6: ERROR:")


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("select 1 \\gx", [("select 1", "\\gx")], ""),
        ("select 1\n\\g out.txt\nselect 2", [("select 1", "\\g out.txt")], "select 2"),
        ("\\d", [("", "\\d")], ""),
        ("select '\\g'; \\x on", [("select '\\g'", ""), ("", "\\x on")], ""),
        ("select (1 \\g", [("select (1", "\\g")], ""),
        ("-- \\g\nselect $$\\g$$", [], "select $$\\g$$"),
    ],
)
def test_a_backslash_command_ends_a_statement(text: str, statements: list[tuple[str, str]], rest: str) -> None:
    found = split(text)
    assert [(statement.text, statement.command) for statement in found.statements] == statements
    assert found.rest.text == rest


def test_what_set_sets_holds_for_the_session_and_goes_back_with_its_transaction(screen: Screen) -> None:
    def shown(name: str) -> str:
        return screen.run(f"SHOW {name};").splitlines()[2].strip()

    assert screen.run("SET timezone = 'europe/berlin';") == "SET\n"
    assert shown("timezone") == "Europe/Berlin"
    assert "2026-01-01 13:00:00+01" in screen.run("SELECT TIMESTAMPTZ '2026-01-01 12:00+00';")
    screen.run("BEGIN; SET timezone = 'UTC'; SET LOCAL statement_timeout = '5s';")
    assert (shown("timezone"), shown("statement_timeout")) == ("UTC", "5000")
    screen.run("ROLLBACK;")
    assert (shown("timezone"), shown("statement_timeout")) == ("Europe/Berlin", "0")
    screen.run("BEGIN; SAVEPOINT s; SET timezone = 'UTC'; ROLLBACK TO s; SET statement_timeout = '5s'; COMMIT;")
    assert (shown("timezone"), shown("statement_timeout")) == ("Europe/Berlin", "5000")
    screen.run("BEGIN; SET LOCAL timezone = 'Asia/Kolkata';")
    assert "17:30:00+05:30" in screen.run("SELECT TIMESTAMPTZ '2026-01-01 12:00+00';")
    screen.run("SET statement_timeout = 1; SELECT 1 / 0;")
    assert screen.run("COMMIT;") == "ROLLBACK\n"
    assert shown("statement_timeout") == "5000"
    screen.run("RESET ALL;")
    assert (shown("timezone"), shown("statement_timeout")) == ("UTC", "0")
    assert "unrecognized" in screen.run("SET nothing = 1;")


def test_a_session_says_how_its_transactions_begin(screen: Screen) -> None:
    level = "SHOW transaction_isolation;"
    screen.run("SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on;")
    screen.run("BEGIN;")
    assert "serializable" in screen.run(level)
    assert "read-only" in screen.run("CREATE TABLE t (a INT);")
    screen.run("ROLLBACK; BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;")
    assert "read committed" in screen.run(level)
    assert screen.run("CREATE TABLE t (a INT); COMMIT AND CHAIN;") == "CREATE TABLE\nCOMMIT\n"
    assert "read committed" in screen.run(level)
    assert screen.run("INSERT INTO t VALUES (1); COMMIT;") == "INSERT 0 1\nCOMMIT\n"


def test_notices_are_shown_unless_the_session_wants_none(screen: Screen) -> None:
    text = "CREATE TABLE IF NOT EXISTS t (a INT);"
    screen.run(text)
    assert screen.run(text) == 'CREATE TABLE\nNOTICE:  relation "t" already exists, skipping\n'
    assert screen.run(f"SET client_min_messages = warning; {text}") == "SET\nCREATE TABLE\n"


def test_settings_survive_a_server_that_is_started_again() -> None:
    server = serve(Engine.open(None), port=0)
    port = int(server.address.rpartition(":")[2])
    try:
        with weftdb.connect(server.address) as database:
            screen = Screen(database)
            screen.run("SET timezone = 'Asia/Tokyo';")
            server.stop(grace=5)
            server = serve(Engine.open(None), port=port)
            assert "Asia/Tokyo" in screen.run("SHOW timezone;")
    finally:
        server.stop(grace=5)


def test_a_command_that_runs_the_last_statement_again_does_not_write_to_its_file(local: Screen, tmp_path: Path) -> None:
    local.run(f"SELECT 8 AS eight \\g {tmp_path / 'eight'}")
    assert (tmp_path / "eight").read_text().split() == ["eight", "-------", "8", "(1", "row)"]
    for command in ("\\g", "\\gx"):
        assert "8" in local.run(command)
    shown: list[str] = []

    def stop(seconds: float) -> None:
        shown.append(local.out.getvalue())
        raise KeyboardInterrupt

    local.run(f"SELECT 9 AS nine \\g {tmp_path / 'nine'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weftdb.server.shell.meta.time.sleep", stop)
        assert "ERROR" not in local.run("\\watch 1")
    assert "nine" in shown[0]


@pytest.mark.parametrize("seconds", ["-1", "0", "x", "inf", "nan"])
def test_watch_takes_a_number_of_seconds(local: Screen, seconds: str) -> None:
    assert f"'{seconds}' is not a number of seconds" in local.run(f"SELECT 1 \\watch {seconds}")


def test_indexes_are_listed_and_described(screen: Screen) -> None:
    assert "There are none yet" in screen.run("\\di")
    screen.run("CREATE TABLE t (a INT, b INT); CREATE INDEX ON t (b); CREATE UNIQUE INDEX ON t (a, b);")
    listed = screen.run("\\di")
    assert "t_b_idx" in listed
    assert "CREATE UNIQUE INDEX t_a_b_idx ON t (a, b)" in listed
    assert "t_b_idx" not in screen.run("\\di *a*")
    assert screen.run("\\d t_b_idx").splitlines()[2:] == ["t_b_idx  t      CREATE INDEX t_b_idx ON t (b)"]
    missing = screen.run("\\d tt")
    assert missing == 'ERROR:  there is no table, view or index tt\nHINT:  Did you mean "t"?\n'


def test_commands_of_psql_that_are_not_here_say_what_is(local: Screen) -> None:
    assert "one database" in local.run("\\l")
    assert "weft sql URL" in local.run("\\c other")
    assert "docs/functions.md" in local.run("\\df")
    assert "Usage: \\copy" in local.run("\\copy t")
    assert "CREATE TABLE" in local.run("\\help create table")


def test_the_caret_stands_below_the_place_also_after_wide_characters(local: Screen) -> None:
    for text, before in (
        ("SELECT '日本語', nope", 17),
        ("SELECT 'e\u0301',\tnope", 12),
        ("SELECT '" + "日" * 80 + "', nope", 0),
    ):
        error = local.run(text + ";").splitlines()
        column = text_width(error[1][: error[1].index("nope")])
        assert error[2] == " " * column + "^"
        if before:
            assert column == len(f"LINE 1, column {text.index('nope') + 1}: ") + before


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("SELEC 1", "LINE 1, column 1:", 'Did you mean "SELECT"?'),
        ("-- slect\n/* x */ slect", "LINE 1, column 1:", 'Did you mean "SELECT"?'),
        ("\nUPDAT t SET a = 1", "LINE 1, column 1:", 'Did you mean "UPDATE"?'),
        ("hello world", "LINE 1, column 1:", ""),
    ],
)
def test_a_word_that_begins_no_statement_is_the_error(local: Screen, text: str, place: str, hint: str) -> None:
    word = text.removeprefix("-- slect\n/* x */").split()[0]
    shown = local.run(text + ";")
    assert f'syntax error at or near "{word}"' in shown
    assert place in shown
    assert hint in shown


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        ("SELECT 'x", "'"),
        ("COPY t FROM STDIN;", ""),
        ("COPY t FROM STDIN;\n1\tit's", ""),
        ("COPY t FROM STDIN;\n1\tit's\n\\.", ""),
        ("COPY t (a) FROM stdin (FORMAT csv);\n1,\"it's\n\\.\nSELECT 'x", "'"),
        ("COPY t FROM STDIN;\n(\n\\.\nCOPY t FROM STDIN;\n(\n\\.\nSELECT 1", "-"),
        ("COPY t TO STDOUT; SELECT 'x", "'"),
    ],
)
def test_enter_runs_a_text_with_the_data_of_a_copy(text: str, waits: str) -> None:
    assert waits_for(text) == waits


def test_what_is_prepared_stays_until_the_session_ends(screen: Screen) -> None:
    screen.run("CREATE TABLE t (a INT PRIMARY KEY, b TEXT); PREPARE put (int, text) AS INSERT INTO t VALUES ($1, $2);")
    assert screen.run("EXECUTE put (1, 'x');") == "INSERT 0 1\n"
    assert "already exists" in screen.run("PREPARE put AS SELECT 1;")
    screen.run("BEGIN; PREPARE get AS SELECT b || '!' AS b FROM t WHERE a = $1; EXECUTE put (2, 'y'); ROLLBACK;")
    assert "x!" in screen.run("EXECUTE get (1);")
    assert "(0 rows)" in screen.run("EXECUTE get (2);")
    assert "x!" in screen.run("BEGIN; EXECUTE get (1); EXECUTE get (1); COMMIT;")
    assert "x!" in screen.run("SET timezone = 'Asia/Tokyo'; EXECUTE get (1) \\gx")
    assert "syntax error" in screen.run("PREPARE wrong AS SELECT FROM WHERE;")
    assert "does not exist" in screen.run("EXECUTE wrong;")
    assert screen.run("DEALLOCATE get;") == "DEALLOCATE\n"
    assert "does not exist" in screen.run("EXECUTE get (1);")
    screen.run("DISCARD ALL;")
    assert "does not exist" in screen.run("EXECUTE put (3, 'z');")
    assert "x" in screen.run("TABLE t;")


def test_the_rows_of_a_copy_go_where_results_go(local: Screen, tmp_path: Path) -> None:
    local.run("CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (1, 'é');")
    for ending, file in (("\\g {}", "one"), ("\\g | cat > {}", "two"), ("\\gx {}", "three")):
        path = tmp_path / file
        assert local.run(f"COPY t TO STDOUT {ending.format(path)}") == ""
        assert path.read_text() == "1\té\n"
        local.run(f"COPY t TO STDOUT (FORMAT parquet) {ending.format(path)}")
        assert pyarrow.parquet.read_table(path).to_pylist() == [{"a": 1, "b": "é"}]
    out = tmp_path / "out"
    local.run(f"\\o {out}")
    local.run("COPY t TO STDOUT (FORMAT csv); SELECT a FROM t;")
    assert "a" not in local.run("\\o")
    assert out.read_text().splitlines()[:2] == ["1,é", " a"]
    assert local.run("COPY t TO STDOUT;") == "1\té\n"


def test_completion_is_warmed_beside_a_transaction(local: Screen) -> None:
    local.run("CREATE TABLE t (a INT); BEGIN;")
    completer = SqlCompleter(local.shell)
    local.shell.query = None  # type: ignore[method-assign,assignment]  # it would use the transaction
    completer.warm()
    document = Document("SELECT * FROM t", len("SELECT * FROM t"))
    assert [found.text for found in completer.get_completions(document, CompleteEvent())][:1] == ["t"]


def test_a_commit_of_which_nobody_knows_what_became_may_be_repeated(screen: Screen) -> None:
    screen.run("CREATE TABLE t (a INT); BEGIN; INSERT INTO t VALUES (1); SET timezone = 'Asia/Tokyo';")
    transaction = screen.shell._transaction  # pyright: ignore[reportPrivateUsage]
    assert transaction is not None
    with pytest.MonkeyPatch.context() as patch:
        lost = weftdb.Unavailable("whether the transaction was committed is not known", sqlstate="08007")
        patch.setattr(transaction, "commit", Mock(side_effect=lost))
        assert "COMMIT again" in screen.run("COMMIT;")
        assert screen.shell.mark == "*"
    assert screen.run("COMMIT;") == "COMMIT\n"
    assert "(1 row)" in screen.run("TABLE t;")
    assert "Asia/Tokyo" in screen.run("SHOW timezone;")


def test_a_pager_gets_what_the_terminal_can_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", f"cat > {tmp_path / 'shown'}")
    monkeypatch.setattr("weftdb.server.shell.prompt.shutil.get_terminal_size", lambda: os.terminal_size((20, 5)))
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="replace")
    with weftdb.open() as database:
        shell = Shell(database, address="here", out=terminal, errors=terminal)
        shell.pager = lambda: paged(terminal)
        assert shell.run_script("SELECT 'é日' AS a FROM generate_series(1, 10);")
    assert (tmp_path / "shown").read_bytes().count("é?".encode("latin-1")) == 10
