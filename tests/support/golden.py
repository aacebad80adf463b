"""Golden scripts: SQL with the answers that PostgreSQL 15 gave, stored in the file below each statement.

    # a comment
    SELECT 7 / 2 AS x;
    -- x integer
    -- 3

    SELECT 1 / 0;
    -- ERROR 22012

The answers are made by PostgreSQL, never by WeftDB:

    python tests/support/golden.py "psql -h 127.0.0.1 -p 5432 -U postgres" tests/golden/select.sql

A statement after ``# differs: why`` keeps the answer written by hand; docs/sql.md says the same. NUMERIC is compared by
value: PostgreSQL's scale varies by row where ours is the type's. Rows are compared in order if the text says ORDER BY.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from weftdb.base.intervals import interval_text
from weftdb.base.types import Kind, Type


@dataclass
class Case:
    line: int
    sql: str
    expected: list[str] = field(default_factory=list)
    differs: bool = False


def read(path: Path) -> list[Case]:
    cases: list[Case] = []
    text: list[str] = []
    start, differs = 0, False
    for number, line in enumerate(path.read_text().split("\n"), start=1):
        if line.startswith("#"):
            differs = differs or line.startswith("# differs:")
        elif line.startswith("-- ") or line == "--":
            cases[-1].expected.append(line[3:])
        elif line.strip():
            start = start or number
            text.append(line)
            if line.rstrip().endswith(";"):
                cases.append(Case(start, "\n".join(text).rstrip().removesuffix(";"), differs=differs))
                text, start, differs = [], 0, False
    return cases


def header(names: tuple[str, ...], types: tuple[Any, ...]) -> str:
    return " | ".join(f"{name} {type_name(str(type))}" for name, type in zip(names, types, strict=True))


def type_name(name: str) -> str:
    """Without precision and length: PostgreSQL gives most expressions none."""
    return re.sub(r"\(.*\)", "", name)


def row_text(row: tuple[Any, ...], types: tuple[Type, ...]) -> str:
    return " | ".join(value_text(value, type) for value, type in zip(row, types, strict=True))


def value_text(value: Any, type: Type) -> str:
    """As psql prints it, with NUMERIC's trailing zeros cut and line breaks shown."""
    if value is None:
        return "NULL"
    match type.kind:
        case Kind.BOOLEAN:
            return "t" if value else "f"
        case Kind.REAL | Kind.DOUBLE:
            return float_text(value, type)
        case Kind.NUMERIC:
            return plain_number(str(value))
        case Kind.BYTEA:
            return "\\x" + value.hex()
        case Kind.TIMESTAMP:
            return value.isoformat(" ").rstrip("0").rstrip(".") if value.microsecond else value.isoformat(" ")
        case Kind.TIMESTAMPTZ:
            naive = value.replace(tzinfo=None)
            return value_text(naive, Type(kind=Kind.TIMESTAMP)) + "+00"
        case Kind.TIME:
            return value.isoformat().rstrip("0").rstrip(".") if value.microsecond else value.isoformat()
        case Kind.INTERVAL:
            return interval_text(value.months, value.days, value.nanoseconds // 1000)
        case Kind.ARRAY:
            assert type.element is not None
            return "{" + ",".join(_quoted_item(value_text(item, type.element), item) for item in value) + "}"
        case _:
            return str(value).replace("\n", "\\n")


def _quoted_item(text: str, item: Any) -> str:
    """An element as an array's text has it."""
    plain = item is None or not isinstance(item, str) or not re.search(r'[\s,{}"\\]|^$|^null$', text, re.IGNORECASE)
    return text if plain else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def float_text(value: float, type: Type) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if type.kind is Kind.REAL:
        import numpy as np

        text = str(np.float32(value))
    else:
        text = repr(value)
    return text.removesuffix(".0")


def plain_number(text: str) -> str:
    number = Decimal(text)
    if not number.is_finite():
        return text
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


# Making the answers


def setup_sql() -> str:
    """The tables of ``shop`` for PostgreSQL, from the same definitions."""
    import shop
    from weftdb.engine.schema import Table

    lines = ["DROP SCHEMA public CASCADE; CREATE SCHEMA public; SET client_min_messages = warning;"]
    for relation in shop.RELATIONS:
        if not isinstance(relation, Table):
            lines.append(f"CREATE VIEW {relation.name} AS {relation.query};")
            continue
        columns = [f'"{column.name}" {column.type}' for column in relation.columns]
        if relation.primary_key:
            columns.append("PRIMARY KEY (" + ", ".join(f'"{c.name}"' for c in relation.primary_key_columns) + ")")
        lines.append(f'CREATE TABLE "{relation.name}" ({", ".join(columns)});')
        for row in shop.ROWS[relation.name]:
            values = ", ".join(_quoted(value) for value in row)
            lines.append(f'INSERT INTO "{relation.name}" VALUES ({values});')
    lines.append(
        "CREATE FUNCTION time_bucket(interval, timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS "
        "$$ SELECT date_bin($1, $2, timestamp '2000-01-03') $$;"
    )
    return "\n".join(lines)


def _quoted(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return "'" + str(value).replace("'", "''") + "'"


def ask(psql: list[str], sql: str) -> list[str]:
    """PostgreSQL's answer to one statement."""
    options = ["-X", "-q", "-v", "VERBOSITY=sqlstate", "-v", "ON_ERROR_STOP=1"]
    described = subprocess.run(
        [*psql, *options, "-A", "-t", "-F", "\x1f"], input=f"{sql} \\gdesc\n", capture_output=True, text=True
    )
    if described.returncode:
        return [_error(described.stderr)]
    columns = [line.split("\x1f") for line in described.stdout.rstrip("\n").split("\n")]
    answer = subprocess.run(
        [*psql, *options, "-A", "-t", "-F", "\x1f", "-R", "\x1e", "-P", "null=NULL"],
        input=f"{sql};\n",
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        return [_error(answer.stderr)]
    lines = [" | ".join(f"{name} {type_name(type)}" for name, type in columns)]
    body = answer.stdout.removesuffix("\n")
    for record in body.split("\x1e") if body else []:
        cells = record.split("\x1f")
        shown = [_shown(cell, type) for cell, (_, type) in zip(cells, columns, strict=True)]
        lines.append(" | ".join(shown))
    return lines


def _shown(cell: str, type: str) -> str:
    if not type.startswith("numeric") or cell == "NULL":
        return cell.replace("\n", "\\n")
    if type.endswith("[]"):
        return "{" + ",".join(item if item == "NULL" else plain_number(item) for item in cell[1:-1].split(",")) + "}"
    return plain_number(cell)


def _error(stderr: str) -> str:
    return "ERROR " + stderr.strip().rsplit(" ", 1)[-1]


def regenerate(psql: list[str], path: Path) -> None:
    subprocess.run([*psql, "-X", "-q", "-v", "ON_ERROR_STOP=1"], input=setup_sql(), text=True, check=True)
    cases = {case.line: case for case in read(path)}
    out: list[str] = []
    current: Case | None = None
    for number, line in enumerate(path.read_text().split("\n"), start=1):
        if number in cases:
            current = cases[number]
        if line.startswith("-- ") or line == "--":
            continue
        out.append(line)
        if current is not None and line.rstrip().endswith(";"):
            answer = current.expected if current.differs else ask(psql, current.sql)
            out.extend(f"-- {item}" for item in answer)
            current = None
    path.write_text("\n".join(out))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    for name in sys.argv[2:]:
        regenerate(sys.argv[1].split(), Path(name))
