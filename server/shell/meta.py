"""The backslash commands: what the shell itself does, apart from SQL.

Each is one function that takes the shell and the command's arguments, listed in ``COMMANDS`` with its help line.
What they show of the catalog comes from SHOW statements, so it works on a server, and inside a transaction it shows
what the transaction sees.
"""

from __future__ import annotations

import difflib
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from ...base.errors import Invalid, WeftError
from .output import Format
from .shell import Shell


class Quit(Exception):
    """``\\q``: leave the shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``usage`` is what the help shows; ``arguments_max`` refuses the rest."""

    usage: str
    help: str
    arguments_max: int
    run: Callable[[Shell, Sequence[str], Path | None], bool]


def run_meta(shell: Shell, line: str, *, folder: Path | None = None) -> bool:
    """Run one backslash command. ``folder`` is what ``\\i`` is relative to. False after an error; raises Quit."""
    try:
        name, *arguments = shlex.split(line.rstrip(";").replace("\\", "\\\\"))
    except ValueError as error:
        shell.errors.write(f"ERROR:  {line}: {error}\n")
        return False
    command = COMMANDS.get(name)
    if command is None:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        shell.errors.write(
            f"ERROR:  unknown command {name}\nHINT:  {f'Try {near[0]}, or ' if near else ''}\\? for all.\n"
        )
        return False
    if len(arguments) > command.arguments_max:
        shell.errors.write(f"ERROR:  too many arguments\nHINT:  Usage: {command.usage}\n")
        return False
    try:
        return command.run(shell, arguments, folder)
    except WeftError as error:
        shell.print_error(error)
        return False


def _help(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    width = max(len(command.usage) for command in COMMANDS.values())
    for command in dict.fromkeys(COMMANDS.values()):
        shell.out.write(f"  {command.usage:<{width}}   {command.help}\n")
    shell.out.write("\nA statement ends with a semicolon and may take several lines. Ctrl-C cancels, Ctrl-D quits.\n")
    return True


def _quit(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    raise Quit


def _describe(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    if not arguments:
        return _relations(shell, arguments, folder)
    name = _quote_name(arguments[0])
    columns = shell.query(f"SHOW COLUMNS FROM {name}")
    rows = [
        (str(column), str(type), "" if nullable else "not null", "" if default is None else str(default))
        for column, type, nullable, default, *_ in columns
    ]
    _print_grid(shell, ("Column", "Type", "Nullable", "Default"), rows)
    definition = cast(str, shell.query(f"SHOW CREATE {name}")[0][0])
    shell.out.write(f"\n{definition.rstrip(';')};\n")
    return True


def _relations(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    rows = [(str(name), str(kind)) for name, kind, *_ in shell.query("SHOW TABLES")]
    if rows:
        _print_grid(shell, ("Name", "Kind"), rows)
    else:
        shell.out.write("There are no tables yet. CREATE TABLE makes one.\n")
    return True


def _timing(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    shell.timing = _switch(arguments, shell.timing)
    shell.out.write(f"Timing is {'on' if shell.timing else 'off'}.\n")
    return True


def _expanded(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    shell.layout.expanded = _switch(arguments, shell.layout.expanded)
    shell.out.write(f"Expanded display is {'on' if shell.layout.expanded else 'off'}.\n")
    return True


def _format(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    if arguments:
        try:
            shell.layout.format = Format(arguments[0].lower())
        except ValueError:
            raise Invalid(f"unknown format {arguments[0]!r}", hint="Formats are table, csv and json.") from None
    shell.out.write(f"Output format is {shell.layout.format.value}.\n")
    return True


def _include(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    if not arguments:
        raise Invalid("\\i needs a file", hint="\\i schema.sql")
    path = Path(arguments[0]).expanduser()
    path = path if folder is None else folder / path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return shell.run_script(text, name=str(path))


def _connection(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    shell.out.write(f"{shell.address} at version {shell.reads.version}\n")
    return True


def _watch(shell: Shell, arguments: Sequence[str], folder: Path | None) -> bool:
    if shell.last is None:
        raise Invalid("there is no statement to repeat", hint="Run a query first, then \\watch.")
    try:
        seconds = float(arguments[0]) if arguments else 2.0
    except ValueError:
        raise Invalid(f"{arguments[0]!r} is not a number of seconds", hint="\\watch 0.5") from None
    try:
        while shell.run(shell.last):
            time.sleep(max(seconds, 0.05))
    except KeyboardInterrupt:
        shell.out.write("\n")
    return True


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


COMMANDS: Final[dict[str, Command]] = {
    "\\?": Command(usage="\\?", help="show this help", arguments_max=0, run=_help),
    "\\q": Command(usage="\\q", help="quit", arguments_max=0, run=_quit),
    "\\d": Command(usage="\\d [NAME]", help="list tables and views, or describe one", arguments_max=1, run=_describe),
    "\\dt": Command(usage="\\dt", help="list tables and views", arguments_max=0, run=_relations),
    "\\timing": Command(usage="\\timing [on|off]", help="show how long statements take", arguments_max=1, run=_timing),
    "\\x": Command(usage="\\x [on|off]", help="one line per value instead of a table", arguments_max=1, run=_expanded),
    "\\format": Command(
        usage="\\format [table|csv|json]", help="how results are printed", arguments_max=1, run=_format
    ),
    "\\i": Command(usage="\\i FILE", help="run the statements of a file", arguments_max=1, run=_include),
    "\\watch": Command(
        usage="\\watch [SECONDS]", help="repeat the last statement until Ctrl-C", arguments_max=1, run=_watch
    ),
    "\\conninfo": Command(
        usage="\\conninfo", help="show the database and its version", arguments_max=0, run=_connection
    ),
}
