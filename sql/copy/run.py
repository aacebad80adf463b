"""COPY in a session: a file into a table, all or nothing; a table or query into a file.

COPY FROM outside of a transaction is a load (``engine/load.py``): streamed, blind, of any size. Inside of one its rows
are written like those of INSERT. Either way rows whose primary key exists are an error, as in PostgreSQL.

How far each is stands in ``weft_copies``. STDIN and STDOUT are the client's: its shell reads and writes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ...base.errors import Invalid, WeftError
from ...base.result import Result
from ...base.types import BOOLEAN
from ...engine.changes import Change
from ...engine.clock import wall_clock
from ...engine.expression.context import Context
from ...engine.expression.evaluate import evaluate_filter
from ...engine.expression.node import Column as ColumnNode
from ...engine.expression.node import Expression
from ...engine.expression.tree import walk
from ...engine.schema import Table
from ...engine.transaction import Transaction
from ..bind import bind_expression
from ..block import Running
from ..execution import EMPTY_SCHEMA
from ..parse import parse_expression
from ..source import Source
from .decode import Piece, chosen_schema, located, read_pieces
from .encode import write_result
from .files import created, opened, size_of
from .options import Header
from .progress import CopyFacts, copies_of
from .statement import Copy, check_query, copied_query

if TYPE_CHECKING:
    from ..session import Session


def run_copy(session: Session, statement: Copy, running: Running, query: Callable[[Source], Result]) -> Result:
    """Run COPY with a file. ``query`` runs a statement that gives rows. Raises Invalid, Denied, NotFound."""
    if statement.path is None:
        where = "`weft sql` has it at its prompt and in scripts; COPY with a file runs here."
        if statement.writes:
            message = "COPY TO STDOUT means the output of a shell"
            hint = f"A program reads a query: execute('SELECT …').rows(), .arrow() or .reader(). {where}"
        else:
            message = "COPY FROM STDIN means the input of a shell"
            hint = f"A program writes rows: table('{statement.table}').insert(rows), or a .writer() for many. {where}"
        raise Invalid(message, hint=hint, sqlstate="0A000")
    path = session.files.resolve(statement.path)
    facts = CopyFacts(
        principal=session.principal,
        command="COPY TO" if statement.writes else "COPY FROM",
        table=statement.table,
        file=str(path),
        since=wall_clock(),
    )

    def progress(rows: int) -> None:
        facts.rows = rows
        running.cancel.check()

    with copies_of(session.engine).listed(facts):
        if statement.options.guessed:
            text = "is in PostgreSQL's text format, a line of values with tabs between them: FORMAT says another"
            session.notice(f"the file {path} {text}")
        if statement.writes:
            with query(copied_query(statement)) as result:
                check_query(result)
                with created(path, statement.options.format) as file:
                    count = write_result(result, statement.options, file, progress=progress)
                version = result.version
        else:
            table = session.describe(statement.table or "")
            facts.bytes_total = size_of(path)
            with opened(path, statement.options.format) as file:
                source = _Counted(file, facts) if not statement.options.format.is_columnar else file
                pieces = read_table(source, statement, table, session=session)
                with _naming(path, statement):
                    count, version = _write(session, table, _told(pieces, progress), running)
    return Result(schema=EMPTY_SCHEMA, batches=(), version=version, tag=f"COPY {count}", rows_affected=count)


@contextmanager
def _naming(path: Path, statement: Copy) -> Generator[None]:
    """Say in errors about a row of which file it is."""
    try:
        yield
    except WeftError as error:
        if error.sqlstate == "22P04" or re.search(r"\brow \d", error.message):
            beside = "" if statement.options.header is Header.NONE else ", its rows counted without the header"
            error.message = f"{error.message} (file {path}{beside})"
            error.args = (error.message,)
        raise


def read_table(source: Any, statement: Copy, table: Table, *, session: Session) -> Iterator[Piece]:
    """The rows of a file for ``table``, those that WHERE keeps."""
    schema = chosen_schema(table.arrow_schema, statement.columns, statement.options)
    condition = None if statement.where is None else _condition(statement.where, table, schema.names, session=session)
    pieces = read_pieces(source, statement.options, schema, chosen=statement.columns is not None)
    if condition is None:
        return pieces
    return _filtered(pieces, condition, table)


def _condition(where: Source, table: Table, names: list[str], *, session: Session) -> Expression:
    condition = bind_expression(
        parse_expression(where.rewritten), table, type=BOOLEAN, settings=session.binder_settings
    )
    for node in walk(condition):
        if isinstance(node, ColumnNode) and table.by_id[node.id].name not in names:
            raise Invalid(
                f'column "{table.by_id[node.id].name}" in WHERE is not copied',
                hint="Name columns of the file.",
                sqlstate="42703",
            )
    return condition


def _filtered(pieces: Iterator[Piece], condition: Expression, table: Table) -> Iterator[Piece]:
    for piece in pieces:
        ids = [table.column(name).id for name in piece.batch.schema.names]
        absent = {node.id for node in walk(condition) if isinstance(node, ColumnNode)} - set(ids)
        batch = piece.batch
        for id in absent:  # a key that a JSON object lacks
            column = table.by_id[id]
            batch = batch.append_column(column.name, pa.nulls(batch.num_rows, column.type.arrow))
        try:
            kept = evaluate_filter(condition, batch, column_ids=[*ids, *absent], context=Context(now=wall_clock()))
        except WeftError as error:
            raise located(error, piece) from None
        numbers = piece.numbers or list(range(piece.first + 1, piece.first + 1 + batch.num_rows))
        numbers = [number for number, keep in zip(numbers, kept.to_pylist(), strict=True) if keep]
        yield Piece(batch=piece.batch.filter(kept), first=piece.first, numbers=numbers)


def _write(session: Session, table: Table, pieces: Iterator[Piece], running: Running) -> tuple[int, int]:
    """How many rows were written, and the version that has them."""
    session.check_writable("COPY FROM")
    if session.block is None:
        with session.engine.load(table.name, Change.INSERT, overriding=True) as load:
            for piece in pieces:
                with _located(piece):
                    load.add(piece.batch)
            commit = load.commit()
        return commit.rows, commit.version

    def work(transaction: Transaction) -> int:
        count = 0
        for piece in pieces:
            with _located(piece):
                count += transaction.insert(table, piece.batch, overriding=True)
        return count

    return session.transact("COPY FROM", work, running)


@contextmanager
def _located(piece: Piece) -> Generator[None]:
    try:
        yield
    except WeftError as error:
        raise located(error, piece) from None


def _told(pieces: Iterator[Piece], progress: Callable[[int], None]) -> Iterator[Piece]:
    count = 0
    for piece in pieces:
        yield piece
        count += piece.batch.num_rows
        progress(count)


class _Counted:
    """A file that tells how far it was read."""

    def __init__(self, file: Any, facts: CopyFacts) -> None:
        self._file = file
        self._facts = facts

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._facts.bytes = (self._facts.bytes or 0) + len(data)
        return data
