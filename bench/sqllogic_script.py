"""sqllogictest scripts, the format of SQLite's public corpus: statements and queries with the answers they must have.

    statement ok                     query II rowsort label-7           hash-threshold 8
    CREATE TABLE t1(a INTEGER)       SELECT a, b FROM t1                halt
                                     ----
    skipif mysql                     30 values hashing to 3c13dee48d9356ae19af2515e05e6b54
    statement error
    DROP TABLE t2

Records are separated by empty lines. A query says how each column is written (``I`` integer, ``R`` three decimals,
``T`` text), whether rows or values are sorted before they are compared, and may have a label: all queries of a label
have the same answer. An answer is one value per line, or their number and the MD5 of all of them. ``skipif`` and
``onlyif`` before a record say for which systems it is.

The format: https://www.sqlite.org/sqllogictest/doc/trunk/about.wiki
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SORTS: Final = ("nosort", "rowsort", "valuesort")
_COMMENT: Final = "#"


class Malformed(Exception):
    """The script is not in the format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One statement or query. ``types`` is None for a statement; ``expected`` is None where no answer is given.

    ``fails``: the statement must be refused. ``halt``: the script ends here, and there is no statement. ``conditions``:
    pairs such as (``skipif``, ``mysql``).
    """

    line: int
    sql: str = ""
    fails: bool = False
    halt: bool = False
    types: str | None = None
    sort: str = "nosort"
    label: str | None = None
    expected: Answer | None = None
    conditions: tuple[tuple[str, str], ...] = ()

    def is_for(self, system: str) -> bool:
        return all((name == system) == (word == "onlyif") for word, name in self.conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How many values, and their MD5; ``values`` themselves where they are known."""

    count: int
    digest: str
    values: tuple[str, ...] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and (self.count, self.digest) == (other.count, other.digest)

    def __str__(self) -> str:
        if self.values is None or len(self.values) > 8:
            return f"{self.count} values hashing to {self.digest}"
        return " ".join(self.values) or "nothing"


def answer_of(values: Sequence[str]) -> Answer:
    text = "".join([f"{value}\n" for value in values])
    return Answer(count=len(values), digest=hashlib.md5(text.encode()).hexdigest(), values=tuple(values))


def answer(rows: Iterable[Sequence[Any]], *, types: str, sort: str) -> Answer:
    """A system's rows in the format's words. Raises Malformed where there are not as many columns as ``types`` says."""
    written: list[list[str]] = []
    for row in rows:
        if len(row) != len(types):
            raise Malformed(f"the answer has {len(row)} columns, the query says {types}")
        written.append([_WRITE[type](value) for type, value in zip(types, row, strict=True)])
    if sort == "rowsort":
        written.sort()
    values = [value for row in written for value in row]
    if sort == "valuesort":
        values.sort()
    return answer_of(values)


def _integer(value: Any) -> str:
    if value is None:
        return "NULL"
    try:
        return str(int(value)) if not isinstance(value, float) or math.isfinite(value) else str(value)
    except (TypeError, ValueError):
        return "0"  # as SQLite's harness has it: text that is no number counts as 0


def _real(value: Any) -> str:
    return "NULL" if value is None else f"{float(value):.3f}"


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not text:
        return "(empty)"
    return text if text.isascii() and text.isprintable() else "".join(c if " " <= c <= "~" else "@" for c in text)


_WRITE: Final = {"I": _integer, "R": _real, "T": _text}


def read(path: Path) -> Iterator[Record]:
    """The records of a script. Raises Malformed with file and line."""
    conditions: list[tuple[str, str]] = []
    for line, block in _blocks(path):
        words = block[0].split()
        while words[0] in ("skipif", "onlyif"):
            conditions.append((words[0], words[1]))
            line, block = line + 1, block[1:]
            if not block:
                break
            words = block[0].split()
        if not block:  # a condition may stand apart from its record
            continue
        match words:
            case ["statement", ("ok" | "error") as outcome, *_]:
                yield Record(
                    line=line, sql="\n".join(block[1:]), fails=outcome == "error", conditions=tuple(conditions)
                )
            case ["query", types, *rest] if set(types) <= _WRITE.keys():
                yield _query(line, block, types, rest, tuple(conditions))
            case ["hash-threshold", *_]:
                pass  # only says how answers were written down
            case ["halt", *_]:
                yield Record(line=line, halt=True, conditions=tuple(conditions))
            case _:
                raise Malformed(f"{path}:{line}: not a record: {block[0]!r}")
        conditions = []


def _query(line: int, block: list[str], types: str, rest: list[str], conditions: tuple[tuple[str, str], ...]) -> Record:
    rest = [word for word in rest if not word.startswith(_COMMENT)]
    cut = block.index("----") if "----" in block else len(block)
    return Record(
        line=line,
        sql="\n".join(block[1:cut]),
        types=types,
        sort=rest[0] if rest and rest[0] in SORTS else "nosort",
        label=rest[1] if len(rest) > 1 else None,
        expected=_expected(block[cut + 1 :]) if cut < len(block) else None,
        conditions=conditions,
    )


def _expected(lines: list[str]) -> Answer:
    if len(lines) == 1 and " values hashing to " in lines[0]:
        count, digest = lines[0].split(" values hashing to ")
        return Answer(count=int(count), digest=digest.strip())
    return answer_of(lines)


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines between empty ones, without lines that are comments, each with the number of its first line."""
    block: list[str] = []
    first = 0
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            line = line.rstrip()
            if line.startswith(_COMMENT):
                continue
            if line:
                if not block:
                    first = number
                block.append(line)
            elif block:
                yield first, block
                block = []
    if block:
        yield first, block
