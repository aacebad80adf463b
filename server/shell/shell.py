"""Run statements and print what they give: one ``Shell`` per terminal or script.

A shell is a user of the public interface and nothing else, so it works the same on a folder and on a server. Every
statement goes to ``Database.execute`` unread, but for the few that begin and end a transaction: those the shell turns
into ``Database.transaction``, and runs the statements in between inside it.

Always true: an error is printed once, with the place it points at, and leaves the shell usable. Ctrl-C cancels the
statement that runs, not the shell. After an error a transaction waits for ROLLBACK or ROLLBACK TO, as in PostgreSQL.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from ...base.errors import Invalid, WeftError
from ...base.interface import Database, Reads, Transaction
from ...base.result import Result
from ...sql.source import split as split_sql
from ...sql.statements import Begin, Commit, Rollback, RollbackTo, read
from .output import Format, Layout, Output, print_result
from .statements import Statement, split


class Shell:
    """Runs text against ``database``; prints to ``out`` and ``errors``.

    ``address`` is what ``\\conninfo`` shows. ``pager`` gives what a result is written to instead of ``out``; the
    interactive prompt sets it.
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
        self.last: Statement | None = None
        self.pager: Callable[[], contextlib.AbstractContextManager[Output]] | None = None
        self._transaction: Transaction | None = None
        self._failed = False

    @property
    def mark(self) -> str:
        """``*`` inside a transaction, ``!`` inside one that failed; for the prompt."""
        if self._transaction is None:
            return ""
        return "!" if self._failed else "*"

    @property
    def reads(self) -> Reads:
        """What statements run on: the transaction if there is one, else the database."""
        return self._transaction or self.database

    def run_script(self, text: str, *, name: str | None = None) -> bool:
        """Run statements and backslash commands until the first error. ``name`` is the file's, for messages."""
        return self.run_lines(iter(text.splitlines(keepends=True)), name=name)

    def run_lines(self, lines: Iterator[str], *, name: str | None = None) -> bool:
        """As ``run_script``, reading no further than the statement that runs: a script may come through a pipe."""
        from .meta import run_meta

        buffer = ""
        line_of_buffer = 1
        for number, line in enumerate(lines, start=1):
            if not buffer.strip() and line.lstrip().startswith("\\"):
                if not run_meta(self, line.strip(), folder=Path(name).parent if name else None):
                    return False
                buffer = ""
                continue
            line_of_buffer = line_of_buffer if buffer.strip() else number
            buffer += line
            # Splitting is linear in the buffer: only a line with a semicolon can complete a statement.
            if ";" not in line:
                continue
            found = split(buffer)
            for statement in found.statements:
                if not self.run(statement, where=_where(name, line_of_buffer, buffer, statement)):
                    return False
            if found.statements:
                line_of_buffer += buffer.count("\n", 0, found.rest.offset)
                buffer = found.rest.text and buffer[found.rest.offset :]
        rest = split(buffer).rest
        return not rest.text or self.run(rest, where=_where(name, line_of_buffer, buffer, rest))

    def run(self, statement: Statement, *, where: str = "") -> bool:
        """Run one statement and print its result or its error. False after an error."""
        self.last = statement
        begin = time.perf_counter()
        try:
            if (said := self._run_transaction_statement(statement)) is not None:
                self._say(said)
            else:
                self._execute(statement)
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

    def query(self, text: str) -> list[tuple[object, ...]]:
        """The rows of a query of the shell's own; for the backslash commands."""
        return self.reads.execute(text).rows()

    def print_error(self, error: WeftError, *, where: str = "") -> None:
        """Print message and hint; the message of an SQL error says where it is, with a caret."""
        self.out.flush()
        lines = [f"{where}ERROR:  {error.message}"]
        if error.hint:
            lines.append(f"HINT:  {error.hint}")
        self.errors.write("\n".join(lines) + "\n")
        self.errors.flush()

    def close(self) -> None:
        """Roll back what was not committed, and say so."""
        if self._transaction is not None:
            self.errors.write("The open transaction was rolled back.\n")
            with contextlib.suppress(WeftError):
                self._transaction.close()
            self._transaction = None

    def _execute(self, statement: Statement) -> None:
        """Run a statement for the database, and print what it gives. A transaction has failed if that did."""
        try:
            self._print(self.reads.execute(statement.text))
        except (WeftError, KeyboardInterrupt):
            self._failed = self._transaction is not None
            raise

    def _print(self, result: Result) -> None:
        if not result.schema.names and result.tag != "SELECT":
            self._say(result.tag)
            return
        with self.pager() if self.pager else contextlib.nullcontext(self.out) as out:
            print_result(result, self.layout, out)
        if not result.tag.startswith(("SELECT", "SHOW", "EXPLAIN", "VALUES")):
            self._say(result.tag)

    def _say(self, tag: str) -> None:
        """A command's tag; not in CSV and JSON, which are for programs."""
        if self.layout.format is Format.TABLE:
            self.out.write(tag + "\n")

    def _run_transaction_statement(self, statement: Statement) -> str | None:
        """Do what BEGIN, COMMIT and ROLLBACK say, and return the tag; None for every other statement.

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
                tag = self.reads.execute(statement.text).tag
                self._failed = False
                return tag
            case _ if self._failed:
                raise Invalid(
                    "current transaction is aborted, commands ignored until end of transaction block",
                    hint="ROLLBACK, and begin again; or ROLLBACK TO a savepoint.",
                    sqlstate="25P02",
                )
            case _:
                return None
        if chain:
            self._begin(Begin(isolation=None, read_only=None))
        return tag

    def _begin(self, begin: Begin) -> None:
        if self._transaction is not None:
            raise Invalid("there is a transaction already", hint="COMMIT or ROLLBACK it first.", sqlstate="25001")
        self._transaction = self.database.transaction(
            isolation=begin.isolation or "snapshot", read_only=begin.read_only or False
        )
        self._failed = False

    def _commit(self) -> str:
        failed = self._failed
        transaction = self._end()
        if failed:
            transaction.rollback()
            return "ROLLBACK"
        try:
            transaction.commit()
        finally:
            transaction.close()
        return "COMMIT"

    def _end(self) -> Transaction:
        transaction, self._transaction, self._failed = self._transaction, None, False
        if transaction is None:
            raise Invalid("there is no transaction", hint="BEGIN starts one.", sqlstate="25P01")
        return transaction


def _where(name: str | None, line_of_buffer: int, buffer: str, statement: Statement) -> str:
    return f"{name}:{line_of_buffer + buffer.count(chr(10), 0, statement.offset)}: " if name else ""
