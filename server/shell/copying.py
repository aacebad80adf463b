"""COPY as the shell does it: with its own input and output (STDIN, STDOUT), and with the client's files (``\\copy``).

The rows go through the public interface: a query's result into a file's bytes, a file's rows into a transaction (the
open one, or one of their own, so that a copy is all or nothing). So it works the same on a folder and on a server, and
the server touches no file.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, TextIO

from ...base.errors import Invalid, WeftError
from ...base.interface import Database, Transaction
from ...base.result import Result
from ...sql.copy.decode import chosen_schema, located, read_pieces
from ...sql.copy.encode import write_result
from ...sql.copy.files import ANYWHERE, created, opened
from ...sql.copy.statement import Copy, check_query, copied_query, read_copy
from ...sql.lexer import Tokens
from ...sql.source import split
from ..progress import Progress

_WATCH_SECONDS: Final = 0.3
_COPY: Final = re.compile(r"\s*COPY\b", re.IGNORECASE)


def copy_stream(
    statement: Copy,
    execute: Callable[[str], Result],
    transaction: Callable[[], contextlib.AbstractContextManager[Transaction]],
    *,
    out: TextIO,
    errors: TextIO,
    data: Iterator[str],
) -> str:
    """Run COPY with the client's input, output or file, and return its tag. ``data``: the lines of STDIN.

    ``execute`` runs the query that is copied from, ``transaction`` gives that in which rows are inserted.

    Raises Invalid, NotFound, Unavailable, Conflict.
    """
    progress = Progress(statement.table or "query", total=None, out=errors, brief=True)
    with progress if errors.isatty() else contextlib.nullcontext():
        if statement.writes:
            return f"COPY {_copy_out(statement, execute, out=out, progress=progress.update)}"
        with transaction() as writes:
            return f"COPY {_copy_in(statement, writes, data=data, progress=progress.update)}"


def read_client_copy(text: str) -> Copy:
    """``\\copy``'s arguments, where the name of the file needs no quotes. Raises Invalid."""
    statement = f"COPY {text}"
    tokens = Tokens(split(statement)[0].rewritten) if text else Tokens("")
    tokens.expect("COPY")
    if tokens.take("("):
        tokens.parenthesized()
    else:
        tokens.name()
        if tokens.take("("):
            tokens.parenthesized()
    tokens.expect("FROM", "TO")
    begin = tokens.peek()
    if begin is not None and begin.sort != "string" and begin.upper not in ("STDIN", "STDOUT", "PROGRAM"):
        name = re.match(r"[^\s;]+", tokens.text[begin.start :])
        assert name is not None, "a token begins where no blank is"
        quoted = "'" + name[0].replace("'", "''") + "'"
        statement = tokens.text[: begin.start] + quoted + tokens.text[begin.start + name.end() :]
    source = split(statement)[0]
    return read_copy(Tokens(source.rewritten), source)


@contextlib.contextmanager
def watched(text: str, database: Database, *, errors: TextIO) -> Generator[None]:
    """While COPY with a file runs at the server: how far it is, on a terminal."""
    if not _COPY.match(text) or not errors.isatty():
        yield
        return
    over = threading.Event()
    progress = Progress("COPY", total=None, out=errors, brief=True)

    def watch() -> None:
        with contextlib.suppress(WeftError):
            while not over.wait(_WATCH_SECONDS):
                rows = database.execute("SELECT rows FROM weft_copies ORDER BY since DESC LIMIT 1").rows()
                for (count,) in rows:
                    progress.update(int(count))

    watcher = threading.Thread(target=watch, name="weftdb-copy-progress", daemon=True)
    with progress:
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def _copy_out(
    statement: Copy, execute: Callable[[str], Result], *, out: TextIO, progress: Callable[[int], None]
) -> int:
    with execute(copied_query(statement).rewritten.strip()) as result:
        check_query(result)
        if statement.path is not None:
            with created(ANYWHERE.resolve(statement.path), statement.options.format) as file:
                return write_result(result, statement.options, file, progress=progress)
        if statement.options.format.is_columnar and out.isatty():
            raise Invalid("a terminal cannot show this format", hint="Write to a file: \\copy … TO file.")
        out.flush()
        return write_result(result, statement.options, _Text(out), progress=progress)


def _copy_in(statement: Copy, transaction: Transaction, *, data: Iterator[str], progress: Callable[[int], None]) -> int:
    if statement.where is not None:
        raise Invalid(
            "WHERE goes with files on the server only",
            hint="Copy into a table, and INSERT … SELECT … WHERE from it.",
            sqlstate="0A000",
        )
    table = transaction.table(statement.table or "")
    schema = chosen_schema(table.schema, statement.columns, statement.options)
    with _input(statement, data) as source:
        count = 0
        for piece in read_pieces(source, statement.options, schema, chosen=statement.columns is not None):
            try:
                count += table.insert(piece.batch).rows
            except WeftError as error:
                raise located(error, piece) from None
            progress(count)
        return count


def _input(statement: Copy, data: Iterator[str]) -> contextlib.AbstractContextManager[Any]:
    if statement.path is not None:
        return opened(ANYWHERE.resolve(statement.path), statement.options.format)
    if statement.options.format.is_columnar:
        raise Invalid(
            "this format cannot come through STDIN", hint="Read a file: \\copy … FROM file.", sqlstate="0A000"
        )
    return contextlib.closing(_Lines(data))


class _Lines:
    """Lines up to one of ``\\.`` alone, as bytes. Closing it reads up to that line, so that no data is run as SQL."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._ended = False

    def read(self, size: int) -> bytes:
        taken: list[str] = []
        length = 0
        while length < size and not self._ended:
            line = next(self._lines, None)
            self._ended = line is None or line.rstrip("\r\n") == "\\."
            if line is not None and not self._ended:
                taken.append(line)
                length += len(line)
        return "".join(taken).encode(errors="surrogateescape")  # bytes that are no text are refused with their row

    def close(self) -> None:
        while not self._ended:
            self.read(1 << 20)


class _Text(io.RawIOBase):
    """A text stream, or a pipe to a command, that takes bytes, as a file that was begun with them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, data: Any, /) -> int:
        taken = bytes(data)
        if (write_bytes := getattr(self._out, "write_bytes", None)) is not None:
            write_bytes(taken)
        elif (buffer := getattr(self._out, "buffer", None)) is not None:
            buffer.write(taken)
        else:
            self._out.write(taken.decode())
        self._length += len(taken)
        return len(taken)
