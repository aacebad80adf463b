"""``weft warm``: compile kernels ahead of their first use, as the last step of an installation; those of queries, too.

The first are cached beside the source, or in the user's cache where the package cannot be written to. With a database
and files of SQL, its queries are asked as users ask them, so that what is worth a kernel has one: who opens a folder
makes those of this user on this machine, a server makes its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from typing import Final

from ...base.errors import Invalid, WeftError
from ...base.interface import Database
from ...engine.kernels.warm import warm_up, warm_up_questions
from ..shell.statements import Statement, split
from .script import read_script
from .target import open_target

ASKED: Final = 2
"""Times: a shape that is asked for again is compiled."""
_POLL_SECONDS: Final = 0.1
_NOT_READ: Final = ("25006", "0A000")
"""What a snapshot refuses: statements that write, and COPY."""


def run(arguments: argparse.Namespace) -> int:
    if arguments.target is not None and not arguments.files:
        raise Invalid("no queries are given", hint="weft warm ./data queries.sql")
    texts = [(name, read_script(name)) for name in arguments.files]
    if arguments.target is None:
        return _compile()
    warm_up()
    with open_target(arguments.target) as database:
        return _warm(database, texts)


def _compile() -> int:
    """A part in a process of its own, which compiles while this one does: on two cores it takes little more than half.

    It then finds there what the other has made, and makes what the other has not, whatever became of it.
    """
    beside = multiprocessing.get_context("spawn").Process(target=warm_up_questions)
    beside.start()
    try:
        warm_up()
    finally:
        beside.join()
    return 0


def _warm(database: Database, texts: list[tuple[str, str]]) -> int:
    before = {name for name, state, _ in _kernels(database) if state == "ready"}
    answered = skipped = failed = 0
    for name, text in texts:
        parts = split(text)
        for statement in (*parts.statements, *([parts.rest] if parts.rest.text else [])):
            if not statement.text:
                continue
            try:
                _ask(database, statement)
                answered += 1
            except WeftError as error:
                if error.sqlstate in _NOT_READ:
                    skipped += 1
                    continue
                failed += 1
                line = text.count("\n", 0, statement.offset) + 1
                print(f"{name}:{line}: {error.message}", file=sys.stderr)
    while any(state in ("waiting", "compiling") for _, state, _ in _kernels(database)):
        time.sleep(_POLL_SECONDS)
    ready = {name: seconds for name, state, seconds in _kernels(database) if state == "ready"}
    made = [seconds for name, seconds in ready.items() if name not in before and seconds]
    print(
        f"queries asked: {answered}, failed: {failed}, other statements: {skipped};"
        f" kernels compiled: {len(made)} in {sum(made):.1f} s, known: {len(ready) - len(made)}"
    )
    return 1 if failed else 0


def _ask(database: Database, statement: Statement) -> None:
    for _ in range(ASKED):
        with database.snapshot() as snapshot, snapshot.execute(statement.text) as result:
            for _ in result.reader():
                pass


def _kernels(database: Database) -> list[tuple[str, str, float]]:
    return database.execute("SELECT name, state, compile_seconds FROM weft_kernels").rows()
