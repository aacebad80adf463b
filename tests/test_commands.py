"""The commands as their user runs them: on a folder, on a server in its own process, at a prompt in a terminal."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
import weftdb
from server_child import ForkedServer, Zygote
from weftdb.bench.main import WORKLOADS
from weftdb.engine.options import Options
from weftdb.server.commands.serve import _options, _start
from weftdb.server.main import _parser, main
from weftdb.server.shell.output import Format, Layout
from weftdb.server.shell.shell import Shell
from weftdb.server.shell.statements import split
from weftdb.sql import parts
from weftdb.storage.folder import format_line

WEFT = [sys.executable, "-m", "weftdb"]

EVENTS = """
CREATE TABLE events (
    device BIGINT, at TIMESTAMP, reading DOUBLE PRECISION NOT NULL, note VARCHAR(5),
    PRIMARY KEY (device, at)
) WITH (key = 'device', time = 'at');
"""


def test_warm_compiles_kernels_for_the_queries_of_a_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parts, "PIPELINE_ROWS_MANY", 1)
    with weftdb.open(str(folder)) as database:
        database.execute("CREATE TABLE t AS SELECT i AS a, i % 7 AS b FROM generate_series(1, 20000) AS s (i)")
    log = tmp_path / "log.sql"
    log.write_text("SELECT b, sum(a) FROM t GROUP BY b;\nDELETE FROM t;\nSELECT\n  x FROM t;\nSELECT 1")
    code, out, errors = weft(capsys, "warm", folder, log)
    assert (code, errors.splitlines()[0]) == (1, f'{log}:3: column "x" does not exist')
    assert out.startswith("queries asked: 2, failed: 1, other statements: 1; kernels compiled: 1 in "), out
    log.write_text("SELECT b, sum(a) FROM t GROUP BY b")
    code, out, errors = weft(capsys, "warm", folder, log)
    assert (code, out) == (
        0,
        "queries asked: 1, failed: 0, other statements: 0; kernels compiled: 0 in 0.0 s, known: 1\n",
    )
    with weftdb.open(str(folder)) as database:
        assert database.execute("SELECT count(*) FROM t").scalar() == 20_000
    code, _, errors = weft(capsys, "warm", folder)
    assert (code, errors) == (1, "weft: no queries are given\nHint: weft warm ./data queries.sql\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def weft(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command in this process: exit code, standard output, standard error."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``weft serve`` in a process of its own, and its URL."""
    command = [*WEFT, "serve", "--data", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"weftdb ready on (weft://\S+) \(data in .*\)$", line)
        assert found, line or process.communicate()
        yield process, found[1]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


SUBCOMMANDS = ["serve", "sql", "load", "export", "check", "backup", "restore", "bench", "warm"]


@pytest.mark.parametrize("arguments", [[], *([name] for name in SUBCOMMANDS)], ids=str)
def test_help_shows_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = weft(capsys, *arguments, "--help")
    assert code == 0
    assert out.startswith(f"usage: {' '.join(['weft', *arguments])} ")
    assert "examples:" in out


def test_help_names_every_command_and_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = weft(capsys, "--help")
    assert re.findall(r"^    ([a-z]+) ", out, re.MULTILINE) == SUBCOMMANDS
    for arguments in (["bench", "--help"], ["bench", "ingest", "--help"]):
        _, out, _ = weft(capsys, *arguments)
        for kind in WORKLOADS:
            assert re.search(rf"^  {kind.name} +\w.{{20}}", out, re.MULTILINE), kind.name
    code, _, err = weft(capsys, "bench", "--rows", "5", "nothing")
    assert code == 2
    assert "invalid choice: 'nothing'" in err


def test_a_wrong_command_line_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [],
        ["serve"],
        ["srve"],
        ["serve", "--data", "x", "--port", "99999"],
        ["serve", "--data", "x", "--threads", "0"],
        ["serve", "--data", "x", "--memory-limit", "much"],
        ["serve", "--data", "x", "--checkpoint-interval", "0"],
        ["load", "t"],
        ["export", "t", "t.csv", "--snapshot", "s", "--version", "1"],
    ):
        code, _, err = weft(capsys, *arguments)
        assert code == 2, arguments
        assert "usage: weft" in err


# -- serve -----------------------------------------------------------------------------------------------------------


def test_serve_says_when_it_is_ready_and_stops_in_order_on_sigterm(folder: Path) -> None:
    with server(folder) as (process, url):
        with weftdb.connect(url) as database:
            database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
            database.table("t").insert({"id": 1})
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.strip(), err) == (0, "weftdb stopped", "")
    with weftdb.open(str(folder)) as database:
        assert database.execute("SELECT id FROM t").scalar() == 1


def test_serve_hands_its_options_to_the_engine(folder: Path, tmp_path: Path) -> None:
    options = (
        "--memory-limit 512MB --history 60 --flush-size 16MB --log-size 32MB --checkpoint-interval 5 "
        "--compaction-rate 1GB --max-transaction 2GB --named-snapshots 3GB --feeds 5GB --archive /a "
        f"--stall-timeout 2.5 --threads 3 --temp {tmp_path} --no-fsync"
    )
    parsed = _parser().parse_args(["serve", "--data", str(folder), *options.split()])
    assert _options(parsed) == Options(
        memory_limit=512 << 20,
        history_seconds=60,
        flush_bytes=16 << 20,
        log_bytes=32 << 20,
        checkpoint_seconds=5,
        compaction_rate=1 << 30,
        max_transaction_bytes=2 << 30,
        named_snapshots_bytes=3 << 30,
        feed_positions_bytes=5 << 30,
        archive="/a",
        stall_seconds=2.5,
        threads=3,
        temp_directory=str(tmp_path),
        durable=False,
    )
    assert _options(_parser().parse_args(["serve", "--data", str(folder)])) == Options()


def test_what_a_server_has_loaded_is_not_collected_again(folder: Path) -> None:
    """A collection of all of it holds up every call."""
    gc.unfreeze()
    try:
        with _start(_parser().parse_args(["serve", "--data", str(folder), "--port", "0"])):
            assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        gc.freeze()  # as in conftest.py


def test_the_memory_of_a_server_is_seen_by_its_clients(folder: Path, zygote: Zygote) -> None:
    child = ForkedServer(folder, zygote, arguments=("--memory-limit", "300MB", "--threads", "1"))
    with child, weftdb.connect(child.url) as database:
        found = dict(
            database.execute(
                "SELECT name, value FROM weft_metrics "
                "WHERE name IN ('weft_memory_limit_bytes', 'weft_executor_threads')"
            ).rows()
        )
        assert found == {"weft_memory_limit_bytes": 300 << 20, "weft_executor_threads": 1}


def test_serve_refuses_a_port_in_use_and_leaves_the_folder_free(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        code, out, err = weft(capsys, "serve", "--data", folder, "--port", port)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert (code, out) == (1, "")
    assert f"port {port}" in err
    assert "--port" in err
    weftdb.open(str(folder)).close()


def test_a_folder_in_use_is_refused_with_the_process_that_has_it(folder: Path, zygote: Zygote) -> None:
    with ForkedServer(folder, zygote) as child:
        second = subprocess.run(
            [*WEFT, "serve", "--data", str(folder), "--port", "0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert child.process is not None
        assert str(child.process.pid) in second.stderr
        assert "Traceback" not in second.stderr


def test_a_folder_of_a_newer_format_and_a_folder_of_something_else_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weftdb.open(str(folder)).close()
    (folder / "format").write_bytes(format_line(999))
    code, _, err = weft(capsys, "sql", folder, "-c", "SELECT 1")
    assert code == 1
    assert "999" in err
    other = folder.parent / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    code, _, err = weft(capsys, "sql", other, "-c", "SELECT 1")
    assert code == 1
    assert "letter.txt" in err
    assert sorted(path.name for path in other.iterdir()) == ["letter.txt"]


# -- sql -------------------------------------------------------------------------------------------------------------


def test_sql_prints_tables_csv_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT 7 AS n, 'a,b' AS t, NULL::text AS z"
    assert weft(capsys, "sql", folder, "-c", query) == (
        0,
        " n |  t  |  z\n---+-----+------\n 7 | a,b | NULL\n(1 row)\n",
        "",
    )
    code, out, _ = weft(capsys, "sql", folder, "-c", query, "--format", "csv")
    assert list(csv.reader(io.StringIO(out))) == [["n", "t", "z"], ["7", "a,b", ""]]
    code, out, _ = weft(capsys, "sql", folder, "-c", query, "--format", "json")
    assert (code, json.loads(out)) == (0, [{"n": 7, "t": "a,b", "z": None}])
    code, out, _ = weft(capsys, "sql", folder, "-c", query, "-x", "--null", "-")
    assert out == "-[ record 1 ]\nn | 7\nt | a,b\nz | -\n"


def test_several_commands_run_in_order_and_the_first_error_ends_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = weft(
        capsys,
        *("sql", folder, "-c", "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)", "-c", "INSERT INTO t VALUES (1, 'x')"),
        *("-c", "SELECT vv FROM t", "-c", "INSERT INTO t VALUES (2, 'y')"),
    )
    assert code == 1
    assert out.splitlines() == ["CREATE TABLE", "INSERT 0 1"]
    lines = err.splitlines()
    assert lines[0] == 'ERROR:  column "vv" does not exist'
    assert lines[1].endswith("SELECT vv FROM t")
    assert lines[2].index("^") == lines[1].index("vv")
    assert weft(capsys, "sql", folder, "-c", "SELECT count(*) FROM t", "--format", "csv")[1] == "count\n1\n"


def test_a_script_names_file_and_line_and_transactions_span_statements(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = folder.parent / "script.sql"
    script.write_text(
        "-- a comment;\nCREATE TABLE t (id INT PRIMARY KEY);\nBEGIN; INSERT INTO t VALUES (1);\n"
        "INSERT INTO t\nVALUES (2); COMMIT;\nBEGIN;\nDELETE FROM t; ROLLBACK;\n\\x\nSELECT count(*) AS n FROM t;\n"
        "SELECT *\nFROM nothing;\n"
    )
    code, out, err = weft(capsys, "sql", folder, "-f", script)
    assert code == 1
    assert "n | 2" in out
    assert err.startswith(f'{script}:10: ERROR:  relation "nothing" does not exist')


def test_what_a_script_did_not_commit_is_rolled_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weft(capsys, "sql", folder, "-c", "CREATE TABLE t (id INT PRIMARY KEY)")
    code, _, err = weft(capsys, "sql", folder, "-c", "BEGIN; INSERT INTO t VALUES (1);")
    assert (code, err) == (0, "The open transaction was rolled back.\n")
    assert weft(capsys, "sql", folder, "-c", "SELECT count(*) FROM t", "--format", "csv")[1] == "count\n0\n"


def test_after_an_error_a_transaction_waits_for_a_way_back(folder: Path) -> None:
    text = (
        "CREATE TABLE t (id INT PRIMARY KEY);\nBEGIN;\nINSERT INTO t VALUES (1);\nSAVEPOINT a;\n"
        "INSERT INTO t VALUES (2), (1);\nINSERT INTO t VALUES (3);\nRELEASE a;\nROLLBACK TO nowhere;\n"
        "ROLLBACK TO a;\nINSERT INTO t VALUES (4);\nCOMMIT;\nSELECT id FROM t ORDER BY id;\n"
        "BEGIN;\nDELETE FROM t;\nROLLBACK TO nowhere;\nSELECT 1;\nCOMMIT;\nSELECT count(*) FROM t;\n"
    )
    out, errors = io.StringIO(), io.StringIO()
    with weftdb.open(folder) as database:
        shell = Shell(database, address="", out=out, errors=errors, layout=Layout(format=Format.CSV))
        for statement in split(text).statements:
            shell.run(statement)
    assert out.getvalue() == "id\n1\n4\ncount\n2\n"
    said = [line for line in errors.getvalue().splitlines() if line.startswith("ERROR")]
    assert [("aborted" in line, "does not exist" in line) for line in said] == [
        (False, False), (True, False), (True, False), (False, True), (False, True), (True, False)
    ]  # fmt: skip


def test_a_script_comes_through_standard_input(folder: Path) -> None:
    text = "SELECT 1 AS a;\nSELECT 'x;\ny' AS b"
    run = subprocess.run(
        [*WEFT, "sql", str(folder)], input=text, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == " a\n---\n 1\n(1 row)\n b\n----\n x;+\n y\n(1 row)\n"


def test_scripts_and_results_are_utf8_whatever_the_locale_is(folder: Path, tmp_path: Path) -> None:
    def run(*arguments: str, given: bytes = b"") -> tuple[int, bytes, bytes]:
        done = subprocess.run(
            [*WEFT, "sql", str(folder), *arguments],
            input=given,
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "latin-1"},
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    code, out, _ = run(given="\ufeffCREATE TABLE t (a TEXT);\nSELECT '日本' AS a;".encode())
    assert code == 0
    assert "日本".encode() in out
    (tmp_path / "bom.sql").write_bytes("\ufeffSELECT '日本' AS a;".encode())
    code, out, _ = run("--format", "csv", "-f", str(tmp_path / "bom.sql"))
    assert (code, out) == (0, "a\n日本\n".encode())
    code, _, err = run(given=b"SELECT 1;\nSELECT '\xff';")
    assert code == 1
    assert b"stdin:2: " in err
    assert b"not valid UTF-8" in err
    code, _, err = run("-c", "COPY t FROM STDIN", given=b"a\ncaf\xe9\n")
    assert code == 1
    assert b"row 2: invalid byte sequence" in err
    for output in (out, err):
        assert b"Traceback" not in output


def test_backslash_commands_describe_tables_and_refuse_nonsense(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weft(capsys, "sql", folder, "-c", EVENTS, "-c", "CREATE VIEW calm AS SELECT * FROM events WHERE reading < 1")
    code, out, _ = weft(capsys, "sql", folder, "-c", "\\d")
    assert code == 0
    assert [line.split() for line in out.splitlines()[2:]] == [["calm", "view"], ["events", "table"]]
    code, out, _ = weft(capsys, "sql", folder, "-c", "\\d events")
    assert code == 0
    assert re.search(r"^reading +double precision +not null$", out, re.MULTILINE)
    assert re.search(r"^note +character varying\(5\)$", out, re.MULTILINE)
    assert "PRIMARY KEY" in out
    assert weft(capsys, "sql", folder, "-c", "\\timing on\nSELECT 1;")[1].splitlines()[-1].startswith("Time: ")
    code, _, err = weft(capsys, "sql", folder, "-c", "\\d evnts")
    assert code == 1
    assert 'Did you mean "events"?' in err
    code, _, err = weft(capsys, "sql", folder, "-c", "\\tmiing")
    assert (code, "\\timing" in err) == (1, True)
    code, _, err = weft(capsys, "sql", folder, "-c", "\\i missing.sql")
    assert (code, err) == (1, "ERROR:  cannot read missing.sql: No such file or directory\n")


def test_sql_says_where_nobody_listens_and_what_is_no_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, _, err = weft(capsys, "sql", f"weft://127.0.0.1:{port}", "-c", "SELECT 1")
    assert code == 1
    assert f"127.0.0.1:{port}" in err
    code, _, err = weft(capsys, "sql", tmp_path / "nowhere", "-c", "SELECT 1")
    assert code == 1
    assert "neither a URL nor a folder" in err
    assert not (tmp_path / "nowhere").exists()


class Terminal:
    """A command at a pseudo-terminal, and what the screen has shown so far."""

    def __init__(self, *arguments: str, history: Path) -> None:
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", XDG_STATE_HOME=str(history), COLUMNS="100", LINES="40")
            os.execv(sys.executable, [*WEFT, *arguments])
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait_for(self, text: str, *, seconds: float = 30.0) -> str:
        """Everything shown up to ``text``, which is then forgotten. Control sequences are left out."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            ready, _, _ = select.select([self._file], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"{text!r} is not in {self.shown!r}"
            try:
                data = os.read(self._file, 65_536).decode(errors="replace")
            except OSError:
                data = ""
            assert data, f"the end came before {text!r}: {self.shown!r}"
            if "\x1b[6n" in data:
                self.type("\x1b[1;1R")
            self.shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r", "", data)
        before, _, self.shown = self.shown.partition(text)
        return before

    def wait_for_end(self) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            select.select([self._file], [], [], 0.05)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"it did not end: {self.shown!r}")


def test_the_prompt_takes_several_lines_survives_errors_and_keeps_history(folder: Path, tmp_path: Path) -> None:
    terminal = Terminal("sql", str(folder), history=tmp_path)
    terminal.wait_for("weft=>")
    terminal.type("SELECT 40 +\r")
    terminal.wait_for("weft->")
    terminal.type("2 AS answer;\r")
    terminal.wait_for("(1 row)")
    terminal.type("SELECT * FROM nothing;\r")
    terminal.wait_for('relation "nothing" does not exist')
    terminal.type(
        "\x1b[200~CREATE TABLE p (a INT, b TEXT);\nCOPY p FROM STDIN;\n1\tit's\n\\.\nSELECT b || '!' FROM p;\x1b[201~\r"
    )
    terminal.wait_for("it's!")
    terminal.type("COPY p FROM STDIN;\r")
    terminal.wait_for(">>")
    terminal.type("2\ttyped\r")
    terminal.wait_for(">>")
    terminal.type("\\.\r")
    terminal.wait_for("COPY 1")
    terminal.type("half a statement\x03")
    terminal.type("BEGIN;\r")
    terminal.wait_for("weft=*>")
    terminal.type("exit\r")
    terminal.wait_for("rolled back")
    assert terminal.wait_for_end() == 0
    history = (tmp_path / "weftdb" / "history").read_text()
    assert "+2 AS answer;" in history
    assert (tmp_path / "weftdb" / "history").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("where", ["folder", "server"])
def test_ctrl_c_cancels_the_statement_and_not_the_shell(
    where: str, folder: Path, tmp_path: Path, zygote: Zygote
) -> None:
    with ForkedServer(folder, zygote) if where == "server" else nullcontext() as child:
        terminal = Terminal("sql", child.url if child else str(folder), history=tmp_path)
        terminal.wait_for("weft=>")
        endless = (
            "SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) WHERE x < y"
        )
        terminal.type(endless + ";\r")
        terminal.wait_for("x < y;")
        time.sleep(1.5)
        terminal.type("\x03")
        terminal.wait_for("Cancelled.", seconds=10)
        terminal.type("SELECT 'still ' || 'here';\r")
        terminal.wait_for("still here")
        terminal.type("\\q\r")
        assert terminal.wait_for_end() == 0


# -- load ------------------------------------------------------------------------------------------------------------


def events(rows: int = 1000) -> pa.Table:
    return pa.table(
        {
            "device": pa.array([row % 10 for row in range(rows)], pa.int64()),
            "at": pa.array([row * 1_000_000 for row in range(rows)], pa.timestamp("us")),
            "reading": pa.array([row / 7 for row in range(rows)], pa.float64()),
            "note": pa.array([None if row % 3 else f"n{row % 100}" for row in range(rows)], pa.utf8()),
        }
    )


def write(table: pa.Table, path: Path) -> None:
    match path.suffix:
        case ".parquet":
            pyarrow.parquet.write_table(table, path, row_group_size=300)
        case ".arrow":
            pyarrow.feather.write_feather(table, str(path), chunksize=300)
        case ".arrows":
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(table, max_chunksize=300)
        case _:
            with pa.output_stream(str(path), compression="detect") as file:
                pyarrow.csv.write_csv(table, file)


@pytest.mark.parametrize("name", ["e.parquet", "e.arrow", "e.arrows", "e.csv", "e.csv.gz"])
def test_load_brings_every_value_of_a_file_into_the_table(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(events(), tmp_path / name)
    weft(capsys, "sql", folder, "-c", EVENTS)
    for _ in range(2):
        code, out, err = weft(capsys, "load", "events", tmp_path / name, "--url", folder)
        assert code == 0, err
        assert out.startswith(f"1,000 rows of {name} loaded into events in ")
    with weftdb.open(str(folder)) as database:
        found = database.execute("SELECT * FROM events ORDER BY at").arrow()
    assert found.cast(events().schema).equals(events())


def test_load_goes_through_a_server_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], zygote: Zygote
) -> None:
    write(events(), tmp_path / "e.parquet")
    with ForkedServer(folder, zygote) as child:
        url = child.url
        weft(capsys, "sql", url, "-c", EVENTS)
        assert weft(capsys, "load", "events", tmp_path / "e.parquet", "--url", url)[0] == 0
        assert weft(capsys, "sql", url, "-c", "SELECT count(*) FROM events", "--format", "csv")[1] == "count\n1000\n"


def test_load_reads_csv_as_text_that_the_table_s_types_explain(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weft(
        capsys,
        *("sql", folder, "-c"),
        "CREATE TABLE t (id UUID PRIMARY KEY, n NUMERIC(10,2), zip TEXT, b BOOLEAN, d DATE, i INTERVAL, z TIMESTAMPTZ)",
    )
    rows = [
        ("id", "n", "zip", "b", "d", "i", "z"),
        (f"{UUID(int=1)}", "1.50", "00712", "t", "2024-02-29", "1 day 02:00", "2024-01-01 02:00:00+02"),
        (f"{UUID(int=2)}", "", '""', "", "", "", ""),
    ]
    (tmp_path / "t.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    code, _, err = weft(capsys, "load", "t", tmp_path / "t.tsv", "--url", folder)
    assert code == 0, err
    _, out, _ = weft(capsys, "sql", folder, "-c", "SELECT n, zip, b, d, i, z FROM t ORDER BY id", "--format", "csv")
    assert out == 'n,zip,b,d,i,z\n1.50,00712,t,2024-02-29,1 day 02:00:00,2024-01-01 00:00:00+00\n,"",,,,\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1970-01-01 00:00:05,high,x", r"row 61,005 of bad\.csv"),
        ("1,1970-01-01 00:00:05,,x", r"row 61,005 of bad\.csv"),
        ("1,1970-01-01 00:00:05,1.5,too long", r"row 61,005 of bad\.csv"),
        ("1,1970-13-01 00:00:05,1.5,x", r"row 61,005 of bad\.csv"),
        (
            "1,1970-01-01 00:00:05,1.5",
            r"bad\.csv cannot be read after row [\d,]+: CSV parse error: row 61,005: Expected 4",
        ),
    ],
)
def test_load_names_the_row_in_the_file_that_the_table_refuses(
    line: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weft(capsys, "sql", folder, "-c", EVENTS)
    good = [f"{row % 10},1970-01-02 {row // 3600:02}:{row // 60 % 60:02}:{row % 60:02},0.5," for row in range(61_004)]
    (tmp_path / "bad.csv").write_text("\n".join(["device,at,reading,note", *good, line, *good[:5]]) + "\n")
    code, _, err = weft(capsys, "load", "events", tmp_path / "bad.csv", "--url", folder)
    assert code == 1
    assert re.search(message, err), err
    found = re.search(r"([1-9][\d,]+) rows before it are in the table", err)
    assert found, err
    _, out, _ = weft(capsys, "sql", folder, "-c", "SELECT count(*) FROM events", "--format", "csv")
    assert int(out.split()[1]) == int(found[1].replace(",", ""))


def test_load_refuses_what_does_not_fit_before_anything_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weft(capsys, "sql", folder, "-c", EVENTS)
    write(events().append_column("extra", pa.array(range(1000))), tmp_path / "wide.parquet")
    code, _, err = weft(capsys, "load", "events", tmp_path / "wide.parquet", "--url", folder)
    assert (code, "extra" in err, "--columns device,at,reading,note" in err) == (1, True, True)
    wide = tmp_path / "wide.parquet"
    assert weft(capsys, "load", "events", wide, "--url", folder, "--columns", "device,at,reading,note")[0] == 0
    code, _, err = weft(capsys, "load", "events", wide, "--url", folder, "--columns", "devise")
    assert (code, 'Did you mean "device"?' in err) == (1, True)
    code, _, err = weft(capsys, "load", "evnts", wide, "--url", folder)
    assert (code, 'Did you mean "events"?' in err) == (1, True)
    (tmp_path / "torn.parquet").write_bytes(wide.read_bytes()[:1000])
    code, _, err = weft(capsys, "load", "events", tmp_path / "torn.parquet", "--url", folder)
    assert (code, "torn.parquet cannot be read" in err) == (1, True)
    (tmp_path / "data.xls").write_text("")
    code, _, err = weft(capsys, "load", "events", tmp_path / "data.xls", "--url", folder)
    assert (code, ".parquet" in err) == (1, True)
    code, _, err = weft(capsys, "load", "events", tmp_path / "missing.csv", "--url", folder)
    assert (code, "there is no file" in err) == (1, True)
    code, _, err = weft(capsys, "load", "events", tmp_path, "--url", folder)
    assert (code, "is a folder" in err) == (1, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Empty CSV file"),
        (b"device,at,reading,note\n1,1970-01-01,1,x\n2,1970-01-01,1\n", "row 2: Expected 4 columns, got 3"),
        (b"device,at,reading,note\n1,1970-01-01,1,\xff\n", "row 1: CSV conversion error to string: invalid UTF8 data"),
        (b"device,at,reading,n\xff\n1,1970-01-01,1,x\n", "iconv -f LATIN1"),
        ("device,at,reading,note\n1,1970-01-01,1,x\n".encode("utf-16"), "iconv -f UTF-16"),
        (b"device;at;reading;note\n1;1970-01-01;1,5;x\n", "--delimiter"),
        (b"device,at,at\n1,1970-01-01,1970-01-01\n", "given more than once"),
    ],
)
def test_load_says_what_is_wrong_with_a_csv_file(
    content: bytes, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weft(capsys, "sql", folder, "-c", EVENTS)
    (tmp_path / "bad.csv").write_bytes(content)
    code, _, err = weft(capsys, "load", "events", tmp_path / "bad.csv", "--url", folder)
    assert (code, message in err) == (1, True), err
    assert weft(capsys, "sql", folder, "-c", "SELECT count(*) FROM events", "--format", "csv")[1] == "count\n0\n"


def test_load_insert_refuses_rows_that_exist(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(events(), tmp_path / "e.parquet")
    weft(capsys, "sql", folder, "-c", EVENTS)
    arguments = ("load", "events", tmp_path / "e.parquet", "--url", folder, "--insert")
    assert weft(capsys, *arguments)[0] == 0
    code, _, err = weft(capsys, *arguments)
    assert code == 1
    assert "duplicate" in err
