"""The backslash commands: what the shell itself does, apart from SQL.

Each is one function that takes the shell and the ``Call``, listed in ``COMMANDS`` with its help line. Some may end a
statement, and then run it in their way: ``SELECT … \\gx``; by themselves they run the last one again. What they show of
the catalog comes from SHOW statements, so it works on a server, and inside a transaction it shows what that sees.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO, cast

from ...base.errors import Invalid, WeftError
from ...base.result import Result
from ...engine.clock import wall_clock
from .chart import print_chart
from .copying import read_client_copy
from .output import Format
from .shell import Shell
from .statements import Statement
from .words import STATEMENTS


class Quit(Exception):
    """``\\q``: leave the shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A command as typed. ``text`` is everything after its name, ``arguments`` the same cut at blanks.

    ``statement`` is the one that it ended, if any; ``folder`` is what ``\\i`` is relative to.
    """

    text: str
    arguments: Sequence[str]
    statement: Statement | None
    folder: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``usage`` is what the help shows; ``arguments_max`` refuses the rest, None takes any text.

    ``ends``: it may end a statement.
    """

    usage: str
    help: str
    run: Callable[[Shell, Call], bool]
    arguments_max: int | None = 0
    ends: bool = False


def run_meta(shell: Shell, typed: Statement, *, folder: Path | None = None) -> bool:
    """Run the backslash command that ended ``typed``. False after an error; raises Quit."""
    match = re.match(r"\\(?:[?!]|\w*\+?)", typed.command)
    assert match is not None, "a command begins with a backslash"
    name, text = match[0], typed.command[match.end() :].strip()
    command = COMMANDS.get(name) or COMMANDS.get(name.removesuffix("+"))
    try:
        if command is None:
            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.7)
            hint = _ELSEWHERE.get(name) or f"{f'Try {near[0]}, or ' if near else ''}\\? for all."
            raise Invalid(f"unknown command {name}", hint=hint)
        if typed.text and not command.ends:
            raise Invalid(f"{name} stands on a line of its own", hint="End the statement with a semicolon first.")
        text = text if command.arguments_max is None else text.rstrip(";")
        arguments = [] if command.arguments_max is None else _cut(text)
        if command.arguments_max is not None and len(arguments) > command.arguments_max:
            raise Invalid("too many arguments", hint=f"Usage: {command.usage}")
        statement = Statement(text=typed.text, offset=typed.offset) if typed.text else None
        return command.run(shell, Call(text=text, arguments=arguments, statement=statement, folder=folder))
    except WeftError as error:
        shell.print_error(error)
        return False


def _cut(text: str) -> list[str]:
    try:
        return shlex.split(text.replace("\\", "\\\\"))
    except ValueError as error:
        raise Invalid(f"{text}: {error}") from None


# -- help, catalog ---------------------------------------------------------------------------------------------------


def _help(shell: Shell, call: Call) -> bool:
    width = max(len(command.usage) for command in COMMANDS.values())
    for command in dict.fromkeys(COMMANDS.values()):
        shell.out.write(f"  {command.usage:<{width}}   {command.help}\n")
    shell.out.write(
        "\nA statement ends with a semicolon, on any line. \\g, \\gx, \\chart, \\watch and \\e end it, too."
        "\nTab completes. Ctrl-R searches the history. Ctrl-C cancels, Ctrl-D quits.\n"
    )
    return True


def _syntax(shell: Shell, call: Call) -> bool:
    wanted = " ".join(call.text.upper().split())
    found = [name for name in STATEMENTS if name == wanted] or [name for name in STATEMENTS if name.startswith(wanted)]
    found = found or [name for name in STATEMENTS if wanted.startswith(name)]
    if not wanted:
        shell.out.write("\\h STATEMENT shows its syntax:\n\n")
        names = list(STATEMENTS)
        for begin in range(0, len(names), 3):
            shell.out.write("  " + "".join(f"{name:<26}" for name in names[begin : begin + 3]).rstrip() + "\n")
        return True
    if not found:
        near = difflib.get_close_matches(wanted, STATEMENTS, n=1)
        raise Invalid(
            f"there is no help for {call.text}", hint=f"Try \\h {near[0]}." if near else "\\h lists what there is."
        )
    shell.out.write("\n\n".join(STATEMENTS[name] for name in found) + "\n")
    return True


def _quit(shell: Shell, call: Call) -> bool:
    raise Quit


def _describe(shell: Shell, call: Call) -> bool:
    if not call.arguments:
        return _relations(shell, call)
    name = _quote_name(call.arguments[0])
    try:
        columns = shell.query(f"SHOW COLUMNS FROM {name}")
    except WeftError as error:
        if error.sqlstate != "42P01":
            raise
        if _print_indexes(shell, call.arguments[0]):
            return True
        message = f"there is no table, view or index {call.arguments[0]}"
        raise Invalid(message, hint=error.hint, sqlstate=error.sqlstate) from None
    rows = [
        (str(column), str(type), "" if nullable else "not null", "" if default is None else str(default))
        for column, type, nullable, default, *_ in columns
    ]
    _print_grid(shell, ("Column", "Type", "Nullable", "Default"), rows)
    definition = cast(str, shell.query(f"SHOW CREATE {name}")[0][0])
    shell.out.write(f"\n{definition.rstrip(';')};\n")
    return True


def _relations(shell: Shell, call: Call, *, kinds: Sequence[str] = ()) -> bool:
    rows = [(str(name), str(kind)) for name, kind, *_ in shell.query("SHOW TABLES") if not kinds or kind in kinds]
    if call.arguments:
        rows = [row for row in rows if _fits(row[0], call.arguments[0])]
    if rows:
        _print_grid(shell, ("Name", "Kind"), rows)
    else:
        shell.out.write("There is none of that name.\n" if call.arguments else "There are none yet. \\h CREATE TABLE\n")
    return True


def _tables(shell: Shell, call: Call) -> bool:
    return _relations(shell, call, kinds=("table",))


def _views(shell: Shell, call: Call) -> bool:
    return _relations(shell, call, kinds=("view",))


def _materialized_views(shell: Shell, call: Call) -> bool:
    return _relations(shell, call, kinds=("materialized view",))


def _indexes(shell: Shell, call: Call) -> bool:
    if not _print_indexes(shell, call.arguments[0] if call.arguments else "*"):
        shell.out.write("There is none of that name.\n" if call.arguments else "There are none yet. CREATE INDEX\n")
    return True


def _print_indexes(shell: Shell, pattern: str) -> bool:
    """The indexes whose names fit; False where there is none."""
    found = shell.query("SELECT index_name, table_name, definition FROM weft_indexes ORDER BY index_name")
    rows = [tuple(map(str, row)) for row in found if _fits(str(row[0]), pattern)]
    if rows:
        _print_grid(shell, ("Name", "Table", "Definition"), rows)
    return bool(rows)


def _fits(name: str, pattern: str) -> bool:
    """Whether a name is what was typed, where ``*`` stands for any letters."""
    folded = pattern.strip('"') if pattern.startswith('"') else pattern.lower()
    return re.fullmatch(re.escape(folded).replace("\\*", ".*").replace("\\?", "."), name) is not None


def _connection(shell: Shell, call: Call) -> bool:
    shell.out.write(f"{shell.address} at version {shell.version}\n")
    return True


# -- how results look ------------------------------------------------------------------------------------------------


def _timing(shell: Shell, call: Call) -> bool:
    shell.timing = _switch(call.arguments, shell.timing)
    shell.out.write(f"Timing is {'on' if shell.timing else 'off'}.\n")
    return True


def _expanded(shell: Shell, call: Call) -> bool:
    if [argument.lower() for argument in call.arguments] == ["auto"]:
        shell.layout.expanded = None
        shell.out.write("Expanded display is used where a table is too wide.\n")
        return True
    shell.layout.expanded = _switch(call.arguments, bool(shell.layout.expanded))
    shell.out.write(f"Expanded display is {'on' if shell.layout.expanded else 'off'}.\n")
    return True


def _format(shell: Shell, call: Call) -> bool:
    if call.arguments:
        try:
            shell.layout.format = Format(call.arguments[0].lower())
        except ValueError:
            raise Invalid(f"unknown format {call.arguments[0]!r}", hint="Formats are table, csv and json.") from None
    shell.out.write(f"Output format is {shell.layout.format.value}.\n")
    return True


def _output(shell: Shell, call: Call) -> bool:
    shell.close_file()
    if call.text:
        shell.file = _opened(call.text)
    return True


def _echo(shell: Shell, call: Call) -> bool:
    (shell.file or shell.out).write(call.text + "\n")
    return True


# -- running statements ----------------------------------------------------------------------------------------------


def _go(shell: Shell, call: Call) -> bool:
    return _run_into(shell, call, expanded=shell.layout.expanded)


def _go_expanded(shell: Shell, call: Call) -> bool:
    return _run_into(shell, call, expanded=True)


def _run_into(shell: Shell, call: Call, *, expanded: bool | None) -> bool:
    layout = replace(shell.layout, expanded=expanded)
    statement = _statement(shell, call)
    with shell.redirected(_opened(call.text)) if call.text else contextlib.nullcontext():
        return shell.run(statement, show=lambda result: shell.print_to(result, shell.file, layout))


def _chart(shell: Shell, call: Call) -> bool:
    return shell.run(_statement(shell, call), show=lambda result: _show_chart(shell, result))


def _show_chart(shell: Shell, result: Result) -> None:
    if shell.file is not None:
        print_chart(result, shell.file, width=80)
        return
    with shell.pager() if shell.pager else contextlib.nullcontext(shell.out) as out:
        print_chart(result, out, width=shutil.get_terminal_size().columns, coloured=shell.coloured)


def _watch(shell: Shell, call: Call) -> bool:
    again = shell.last_show if call.statement is None else None
    statement = _statement(shell, call)
    try:
        seconds = float(call.arguments[0]) if call.arguments else 2.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _WATCH_SECONDS_MAX:
        raise Invalid(f"{call.arguments[0]!r} is not a number of seconds", hint="\\watch 0.5") from None
    pager, shell.pager = shell.pager, None
    try:
        while True:
            shell.out.write(f"{_now():%Y-%m-%d %H:%M:%S} UTC, every {seconds:g} s\n")
            if not shell.run(statement, show=again):
                return False
            shell.out.write("\n")
            shell.out.flush()
            time.sleep(seconds)
    except KeyboardInterrupt:
        shell.out.write("\n")
    finally:
        shell.pager = pager
    return True


_WATCH_SECONDS_MAX: Final = 86_400.0


def _now() -> datetime:
    return datetime.fromtimestamp(wall_clock() // 1_000_000, UTC)


def _statement(shell: Shell, call: Call) -> Statement:
    """The statement that the command ended, or the last one."""
    if call.statement is not None:
        return call.statement
    if shell.last is None:
        raise Invalid("there is no statement to run again", hint="Write one before the command: SELECT … \\gx")
    return shell.last


def _include(shell: Shell, call: Call) -> bool:
    if not call.arguments:
        raise Invalid("\\i needs a file", hint="\\i schema.sql")
    path = Path(call.arguments[0]).expanduser()
    path = path if call.folder is None else call.folder / path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return shell.run_script(text, name=str(path))


_COPY_USAGE: Final = "\\copy events FROM events.csv (FORMAT csv, HEADER)"


def _copy(shell: Shell, call: Call) -> bool:
    if not call.text:
        raise Invalid("\\copy needs what COPY needs", hint=f"Usage: {_COPY_USAGE}")
    try:
        copy = read_client_copy(call.text.rstrip(";"))
    except Invalid as error:
        raise Invalid(f"\\copy: {error.message}", hint=error.hint or f"Usage: {_COPY_USAGE}") from None
    try:
        shell.out.write(shell.copy(copy) + "\n")
    except KeyboardInterrupt:
        shell.errors.write("\nCancelled.\n")
        return False
    return True


def _edit(shell: Shell, call: Call) -> bool:
    """An editor on the statement that was typed before, on the last one, or on a file; then run what is complete."""
    statement = call.statement or shell.last
    with tempfile.TemporaryDirectory(prefix="weft") as folder:
        path = Path(call.arguments[0]).expanduser() if call.arguments else Path(folder) / "statement.sql"
        if not call.arguments:
            path.write_text(f"{statement.text};\n" if statement is not None else "\n", encoding="utf-8")
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or shutil.which("nano") or "vi"
        try:
            code = subprocess.call([*shlex.split(editor), str(path)])
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"{editor}: {getattr(error, 'strerror', None) or error}", hint="Set EDITOR.") from None
    if code:
        raise Invalid(f"{editor} ended with {code}; nothing was run")
    if not text:
        return True
    if shell.edit is not None:
        shell.edit(text)
        return True
    return shell.run_script(text)


def _system(shell: Shell, call: Call) -> bool:
    shell.out.flush()
    return subprocess.call(call.text or os.environ.get("SHELL", "sh"), shell=True) == 0


# -- helpers ---------------------------------------------------------------------------------------------------------


def _opened(name: str) -> TextIO:
    """A file to write to, or ``|command``'s input. Raises Invalid."""
    if name.startswith("|"):
        return cast(TextIO, _Pipe(name[1:]))
    try:
        return Path(name.strip("'\"")).expanduser().open("w", encoding="utf-8")
    except OSError as error:
        raise Invalid(f"cannot write {name}: {error.strerror or error}") from None


class _Pipe:
    """The input of a command, whose end is waited for."""

    def __init__(self, command: str) -> None:
        self._process = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE)

    def write(self, text: str) -> int:
        self.write_bytes(text.encode())
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        assert self._process.stdin is not None, "the command was started with a pipe"
        with contextlib.suppress(BrokenPipeError):  # it has seen enough
            self._process.stdin.write(data)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        assert self._process.stdin is not None, "the command was started with a pipe"
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def _switch(arguments: Sequence[str], before: bool) -> bool:
    match [argument.lower() for argument in arguments]:
        case []:
            return not before
        case ["on"]:
            return True
        case ["off"]:
            return False
        case _:
            raise Invalid(f"{arguments[0]!r} is neither on nor off")


def _quote_name(name: str) -> str:
    """As typed where it is a plain or quoted name, else in quotes."""
    return name if name.startswith('"') or name.isidentifier() else '"' + name.replace('"', '""') + '"'


def _print_grid(shell: Shell, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    for line in lines:
        shell.out.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


_COMMANDS: Final = (
    Command(usage="\\?", help="show this help", run=_help),
    Command(usage="\\h [STATEMENT]", help="show the syntax of a statement", arguments_max=None, run=_syntax),
    Command(usage="\\q", help="quit", run=_quit),
    Command(usage="\\d [NAME]", help="list tables and views, or describe one", arguments_max=1, run=_describe),
    Command(usage="\\dt [PATTERN]", help="list tables; * stands for any letters", arguments_max=1, run=_tables),
    Command(usage="\\di [PATTERN]", help="list indexes", arguments_max=1, run=_indexes),
    Command(usage="\\dv [PATTERN]", help="list views", arguments_max=1, run=_views),
    Command(usage="\\dm [PATTERN]", help="list materialized views", arguments_max=1, run=_materialized_views),
    Command(
        usage="\\g [FILE | |COMMAND]",
        help="run, into a file or another program",
        arguments_max=None,
        ends=True,
        run=_go,
    ),
    Command(
        usage="\\gx [FILE | |COMMAND]",
        help="the same, a line per value",
        arguments_max=None,
        ends=True,
        run=_go_expanded,
    ),
    Command(usage="\\chart", help="run, and draw names and numbers as bars", ends=True, run=_chart),
    Command(usage="\\watch [SECONDS]", help="run again and again until Ctrl-C", arguments_max=1, ends=True, run=_watch),
    Command(usage="\\e [FILE]", help="edit in $EDITOR, and run", arguments_max=1, ends=True, run=_edit),
    Command(usage="\\i FILE", help="run the statements of a file", arguments_max=1, run=_include),
    Command(usage="\\copy … FROM | TO FILE …", help="COPY with a file of this machine", arguments_max=None, run=_copy),
    Command(usage="\\o [FILE | |COMMAND]", help="all results go there; back without", arguments_max=None, run=_output),
    Command(usage="\\x [on|off|auto]", help="one line per value instead of a table", arguments_max=1, run=_expanded),
    Command(usage="\\format [table|csv|json]", help="how results are printed", arguments_max=1, run=_format),
    Command(usage="\\timing [on|off]", help="show how long statements take", arguments_max=1, run=_timing),
    Command(usage="\\echo TEXT", help="print a text", arguments_max=None, run=_echo),
    Command(usage="\\! COMMAND", help="run a command of the system", arguments_max=None, run=_system),
    Command(usage="\\conninfo", help="show the database and its version", run=_connection),
)
_ELSEWHERE: Final = {
    "\\a": "\\format csv, or \\x.",
    "\\c": "One database a session: leave, and start weft sql URL.",
    "\\connect": "One database a session: leave, and start weft sql URL.",
    "\\df": "docs/functions.md lists the functions.",
    "\\dn": "There is one schema, public.",
    "\\du": "There are no users yet.",
    "\\l": "A server has one database; \\conninfo shows it.",
    "\\pset": "\\x and \\format; weft sql --null TEXT says what stands for NULL.",
    "\\set": "The shell has no variables; SET changes settings, SHOW ALL lists them.",
    "\\t": "\\format csv, or json.",
}
"""Commands of psql that are not here, and what is."""

COMMANDS: Final[dict[str, Command]] = {command.usage.split()[0]: command for command in _COMMANDS}
COMMANDS.update({"\\quit": COMMANDS["\\q"], "\\help": COMMANDS["\\h"]})
