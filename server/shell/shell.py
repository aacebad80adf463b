"""Run statements and print what they give: one ``Shell`` per terminal or script.

A shell is a user of the public interface and nothing else, so it works the same on a folder and on a server. Every
statement goes to ``Database.execute`` unread, but for the few that begin and end a transaction: those the shell turns
into ``Database.transaction``, and runs the statements in between inside it.

What SET sets holds for the shell's session, as in psql, though the database has none: the shell keeps the settings that
a result tells of, and gives them to each statement and transaction. So a server that was started again has them, too.
Those that a transaction set are kept when it has committed. What PREPARE named is kept by its text, and prepared with
each EXECUTE.

COPY with STDIN and STDOUT is the shell's as well (copying.py). A statement may end in a backslash command, which then
says what becomes of it (meta.py).

Always true: an error is printed once, with the place it points at, and leaves the shell usable. Ctrl-C cancels the
statement that runs, not the shell. After an error a transaction waits for ROLLBACK or ROLLBACK TO, as in PostgreSQL.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, TextIO

from ...base.errors import Invalid, LimitExceeded, Unavailable, WeftError
from ...base.interface import Database, Transaction
from ...base.limits import PREPARED_MAX
from ...base.result import Result
from ...base.types import Kind
from ...engine.changes import UNKNOWN_OUTCOME
from ...sql.source import split as split_sql
from ...sql.statements import (
    Begin,
    Commit,
    Copy,
    Deallocate,
    Execute,
    Prepare,
    Reset,
    Rollback,
    RollbackTo,
    read,
)
from .copying import copy_stream, watched
from .output import Format, Layout, Output, print_result
from .statements import Statement, split


class Shell:
    """Runs text against ``database``; prints to ``out`` and ``errors``.

    ``address`` is what ``\\conninfo`` shows. ``pager`` gives what a result is written to instead of ``out``, ``edit``
    puts a text into the next prompt; the interactive prompt sets them.
    """

    def __init__(
        self,
        database: Database,
        *,
        address: str,
        out: TextIO,
        errors: TextIO,
        layout: Layout | None = None,
    ) -> None:
        self.database = database
        self.address = address
        self.out = out
        self.errors = errors
        self.layout = layout or Layout()
        self.timing = False
        self.coloured = False
        self.last: Statement | None = None
        self.last_show: Callable[[Result], None] | None = None
        self.statements_run = 0
        self.pager: Callable[[], contextlib.AbstractContextManager[Output]] | None = None
        self.edit: Callable[[str], None] | None = None
        self.file: TextIO | None = None  # where results go instead, after \\o
        self._data: Iterator[str] = iter(())
        self._transaction: Transaction | None = None
        self._modes = _BEGIN  # what the open transaction's BEGIN said
        self._failed = False
        self._prepared: dict[str, str] = {}
        self._settings: Mapping[str, str] = {}
        self._settings_within: Mapping[str, str] = {}  # those of the open transaction, for after its commit

    @property
    def mark(self) -> str:
        """``*`` inside a transaction, ``!`` inside one that failed; for the prompt."""
        if self._transaction is None:
            return ""
        return "!" if self._failed else "*"

    def execute(self, text: str) -> Result:
        """Run a text in the transaction if there is one, else by itself; with the session's settings."""
        if self._transaction is not None:
            result = self._transaction.execute(text)
            if result.settings is not None:
                self._settings_within = result.settings
        else:
            result = self.database.execute(text, settings=self._settings)
            if result.settings is not None:
                self._settings = result.settings
        return result

    @property
    def version(self) -> int:
        """The version that statements see."""
        return (self._transaction or self.database).version

    def run_script(self, text: str, *, name: str | None = None, data: Iterator[str] | None = None) -> bool:
        """Run statements and backslash commands until the first error. ``name`` is the file's, for messages.

        ``data``: where COPY FROM STDIN reads its lines; the text itself unless told, as in a dump.
        """
        return self.run_lines(iter(text.splitlines(keepends=True)), name=name, data=data)

    def run_lines(self, lines: Iterator[str], *, name: str | None = None, data: Iterator[str] | None = None) -> bool:
        """As ``run_script``, reading no further than the statement that runs: a script may come through a pipe."""
        buffer = ""
        line_of_buffer = number = 0
        outer, self._data = self._data, _Counting(lines) if data is None else data
        try:
            for line in lines:
                number += 1
                if number == 1:
                    line = line.removeprefix("\ufeff")  # some editors begin a file with it
                if not buffer.strip():
                    buffer, line_of_buffer = "", number
                buffer += line
                # Splitting is linear in the buffer: only a line with one of these can complete a statement.
                if ";" not in line and "\\" not in line:
                    continue
                found = split(buffer)
                for statement in found.statements:
                    where = _where(name, line_of_buffer, buffer, statement)
                    if not self._run_any(statement, where=where, folder=Path(name).parent if name else None):
                        return False
                if found.statements:
                    line_of_buffer += buffer.count("\n", 0, found.rest.offset)
                    buffer = found.rest.text and buffer[found.rest.offset :]
                if isinstance(self._data, _Counting):
                    number += self._data.take()
            rest = split(buffer).rest
            return not rest.text or self.run(rest, where=_where(name, line_of_buffer, buffer, rest))
        finally:
            self._data = outer

    def _run_any(self, statement: Statement, *, where: str, folder: Path | None) -> bool:
        """A statement, or the backslash command that ended it."""
        from .meta import run_meta

        return run_meta(self, statement, folder=folder) if statement.command else self.run(statement, where=where)

    def run(self, statement: Statement, *, where: str = "", show: Callable[[Result], None] | None = None) -> bool:
        """Run one statement and print its result or its error. False after an error. ``show`` prints it otherwise."""
        self.last, self.last_show = statement, show
        self.statements_run += 1
        begin = time.perf_counter()
        try:
            if (said := self._run_own_statement(statement, show or self._print)) is not None:
                self._say(said)
            else:
                self._execute(statement, show or self._print)
        except WeftError as error:
            self.print_error(error, where=where)
            return False
        except KeyboardInterrupt:
            self.out.flush()
            self.errors.write("\nCancelled.\n")
            return False
        if self.timing:
            self.out.write(f"Time: {(time.perf_counter() - begin) * 1000:,.3f} ms\n")
        self.out.flush()
        return True

    def copy(self, statement: Copy) -> str:
        """COPY with the client's input, output or files: the tag. A transaction has failed if that did."""
        with self._failing():
            return copy_stream(
                statement,
                self.execute,
                self._open_or_own,
                out=self.file or self.out,
                errors=self.errors,
                data=self._data,
            )

    def query(self, text: str) -> list[tuple[object, ...]]:
        """The rows of a query of the shell's own; for the backslash commands."""
        return self.execute(text).rows()

    def print_error(self, error: WeftError, *, where: str = "") -> None:
        """Print message and hint; the message of an SQL error says where it is, with a caret."""
        self.out.flush()
        error_label, hint_label = (
            ("\x1b[1;31mERROR:\x1b[0m", "\x1b[1mHINT:\x1b[0m") if self.coloured else ("ERROR:", "HINT:")
        )
        lines = [f"{where}{error_label}  {error.message}"]
        if error.hint:
            lines.append(f"{hint_label}  {error.hint}")
        self.errors.write("\n".join(lines) + "\n")
        self.errors.flush()

    @contextlib.contextmanager
    def redirected(self, file: TextIO) -> Generator[None]:
        """Results go to ``file`` inside of the block, which closes it."""
        before, self.file = self.file, file
        try:
            yield
        finally:
            self.file = before
            file.close()

    def close_file(self) -> None:
        """Results go to the screen again."""
        file, self.file = self.file, None
        if file is not None:
            file.close()

    def close(self) -> None:
        """Roll back what was not committed, and say so."""
        self.close_file()
        if self._transaction is not None:
            self.errors.write("The open transaction was rolled back.\n")
            with contextlib.suppress(WeftError):
                self._transaction.close()
            self._transaction = None

    def _execute(self, statement: Statement, show: Callable[[Result], None]) -> None:
        """Run a statement for the database, and show what it gives."""
        with self._failing():
            with watched(statement.text, self.database, errors=self.errors):
                result = self.execute(statement.text)
            self._print_notices(result)
            show(result)

    @contextlib.contextmanager
    def _failing(self) -> Generator[None]:
        """A transaction has failed if what is run inside did."""
        try:
            yield
        except (WeftError, KeyboardInterrupt):
            self._failed = self._transaction is not None
            raise

    def _print_notices(self, result: Result) -> None:
        if self._settings.get("client_min_messages") in ("warning", "error"):
            return
        for notice in result.notices:
            self.out.flush()
            self.errors.write(f"NOTICE:  {notice}\n")

    def _print(self, result: Result) -> None:
        self.print_to(result, self.file, self.layout)

    def print_to(self, result: Result, file: Output | None, layout: Layout) -> None:
        """Print a result to ``file``, or to the screen."""
        if not result.schema.names and result.tag != "SELECT":
            self._say(result.tag)
            return
        layout = replace(layout, zone=self._zone_of(result))
        if file is not None:
            print_result(result, layout, file)
        else:
            with self.pager() if self.pager else contextlib.nullcontext(self.out) as out:
                print_result(result, layout, out)
        if not result.tag.startswith(("SELECT", "SHOW", "EXPLAIN", "VALUES")):
            self._say(result.tag)

    def _zone_of(self, result: Result) -> str:
        """The time zone in which the result's moments are shown."""
        if all((type.element or type).kind is not Kind.TIMESTAMPTZ for type in result.types):
            return "UTC"
        if self._transaction is not None:  # it may be LOCAL, which nobody tells
            return str(self._transaction.execute("SHOW timezone").scalar())
        return self._settings.get("timezone", "UTC")

    def _say(self, tag: str) -> None:
        """A command's tag; not in CSV and JSON, which are for programs."""
        if tag and self.layout.format is Format.TABLE:
            self.out.write(tag + "\n")

    def _run_own_statement(self, statement: Statement, show: Callable[[Result], None]) -> str | None:
        """Do what BEGIN, COMMIT, ROLLBACK, PREPARE and COPY with STDIN say, and return the tag; None for every other
        statement.

        Raises Invalid (25P02) for those in a transaction that failed.
        """
        match read(split_sql(statement.text)[0]):
            case Begin() as begin:
                self._begin(begin)
                return "BEGIN"
            case Commit(chain=chain):
                tag = self._commit()
            case Rollback(chain=chain):
                self._end().rollback()
                tag = "ROLLBACK"
            case RollbackTo():
                self._failed = self._transaction is not None  # until it has gone back
                tag = self.execute(statement.text).tag
                self._failed = False
                return tag
            case _ if self._failed:
                raise Invalid(
                    "current transaction is aborted, commands ignored until end of transaction block",
                    hint="ROLLBACK, and begin again; or ROLLBACK TO a savepoint.",
                    sqlstate="25P02",
                )
            case Prepare(name=name):
                self._prepare(name, statement.text)
                return "PREPARE"
            case Execute(name=name) if name in self._prepared:
                text = f"DEALLOCATE ALL;\n{self._prepared[name]};\n{statement.text}"
                self._execute(replace(statement, text=text), show)
                return ""
            case Deallocate(name=str(name)) if name in self._prepared:
                del self._prepared[name]
                return "DEALLOCATE"
            case Deallocate(name=None):
                self._prepared.clear()
                return "DEALLOCATE ALL"
            case Reset(discard=True):
                self._prepared.clear()
                return None
            case Copy(path=None) as copy:
                tag = self.copy(copy)
                return "" if copy.writes else tag  # the rows are the answer
            case _:
                return None
        if chain:
            self._begin(self._modes)
        return tag

    def _prepare(self, name: str, text: str) -> None:
        if name in self._prepared:
            message = f'prepared statement "{name}" already exists'
            raise Invalid(message, hint="DEALLOCATE it first.", sqlstate="42P05")
        if len(self._prepared) >= PREPARED_MAX:
            raise LimitExceeded(f"a session has at most {PREPARED_MAX} prepared statements", hint="DEALLOCATE some.")
        with self._failing():
            self.execute(f"DEALLOCATE ALL;\n{text};\nSHOW server_version")  # it raises for what cannot be prepared
        self._prepared[name] = text

    def _begin(self, begin: Begin) -> None:
        if self._transaction is not None:
            raise Invalid("there is a transaction already", hint="COMMIT or ROLLBACK it first.", sqlstate="25001")
        self._transaction = self._begun(begin)
        self._modes, self._failed, self._settings_within = begin, False, self._settings

    def _begun(self, begin: Begin) -> Transaction:
        """A transaction with the session's settings, and what these say of it where BEGIN does not."""
        isolation, read_only = begin.isolation, begin.read_only
        if read_only is None:
            read_only = self._settings.get("default_transaction_read_only") == "on"
        if isolation is None:
            isolation = self._settings.get("default_transaction_isolation", "snapshot")
        return self.database.transaction(isolation=isolation, read_only=read_only, settings=self._settings)

    def _open_or_own(self) -> contextlib.AbstractContextManager[Transaction]:
        """The open transaction, which stays open; else one that ends with the block."""
        return self._begun(_BEGIN) if self._transaction is None else contextlib.nullcontext(self._transaction)

    def _commit(self) -> str:
        failed = self._failed
        transaction = self._end()
        if failed:
            transaction.rollback()
            return "ROLLBACK"
        try:
            transaction.commit()
        except WeftError as error:
            if error.sqlstate == UNKNOWN_OUTCOME:  # it may be asked for again, and is done once
                self._transaction = transaction
                raise Unavailable(error.message, hint="COMMIT again, to find out.", sqlstate=error.sqlstate) from None
            transaction.close()
            raise
        transaction.close()
        self._settings = self._settings_within
        return "COMMIT"

    def _end(self) -> Transaction:
        transaction, self._transaction, self._failed = self._transaction, None, False
        if transaction is None:
            raise Invalid("there is no transaction", hint="BEGIN starts one.", sqlstate="25P01")
        return transaction


_BEGIN: Final = Begin(isolation=None, read_only=None)


class _Counting(Iterator[str]):
    """Lines as they are taken by somebody else meanwhile, and how many."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._count = 0

    def __next__(self) -> str:
        line = next(self._lines)
        self._count += 1
        return line

    def take(self) -> int:
        """How many were taken since this was asked last."""
        count, self._count = self._count, 0
        return count


def _where(name: str | None, line_of_buffer: int, buffer: str, statement: Statement) -> str:
    return f"{name}:{line_of_buffer + buffer.count(chr(10), 0, statement.offset)}: " if name else ""
