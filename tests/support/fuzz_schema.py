"""What random worlds are made of: types with their values, columns, tables, queries, and steps of a history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

INTEGERS: Final = ("SMALLINT", "INTEGER", "BIGINT")
LIMITS: Final = {"SMALLINT": 2**15, "INTEGER": 2**31, "BIGINT": 2**63}
NUMBER: Final = "NUMERIC(12,4)"
DOUBLE: Final = "DOUBLE PRECISION"
TYPES: Final = (*INTEGERS, NUMBER, DOUBLE, "TEXT", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ")
"""Values of these have one order, and equal ones look alike."""

ARRAYS: Final = ("INTEGER[]", "TEXT[]")
OTHERS: Final = ("JSONB", "INTERVAL", *ARRAYS)
"""Equal intervals may look otherwise, and JSONB has an order of its own: never sorted, grouped or made distinct."""

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "SMALLINT": ("0", "1", "-1", "2", "3", "7", "32767", "-32768"),
    "INTEGER": ("0", "1", "-1", "2", "3", "10", "2147483647", "-2147483648"),
    "BIGINT": ("0", "1", "-1", "2", "5", "9223372036854775807", "-9223372036854775808"),
    NUMBER: ("0", "1", "-1", "0.5", "2.25", "-0.0001", "9999999.9999", "-9999999.9999"),
    DOUBLE: ("0", "'-0'", "1", "-1", "0.25", "2.5", "-1000.75", "'NaN'", "'Infinity'", "'-Infinity'"),
    "TEXT": ("''", "'a'", "'A'", "'ab'", "'b'", "' a'", "'é'", "'aé😀'", "'%'", "'a_b'", "'0'", "'12'", "'it''s'"),
    "BOOLEAN": ("true", "false"),
    "DATE": ("'2024-02-29'", "'2024-03-01'", "'1999-12-31'", "'0001-01-01'", "'9999-12-31'", "'2000-01-03'"),
    "TIMESTAMP": (
        "'2024-02-29 12:30:00'", "'2024-03-01'", "'1969-12-31 23:59:59.999999'", "'2000-01-03'",
        "'2024-03-01 00:00:01'", "'2024-03-31 02:30:00'", "'2024-10-27 02:30:00'",
    ),
    "TIMESTAMPTZ": (
        "'2024-02-29 12:30:00+00'", "'2024-03-31 00:59:59.5+00'", "'2024-03-31 01:00:00+00'", "'2024-10-27 00:30:00Z'",
        "'2024-10-27 02:30:00+01'", "'1969-12-31 23:59:59.999999-05'", "'2024-03-10 02:30:00-05'",
    ),
    "INTERVAL": (
        "'1 day'", "'-1 month'", "'36 hours'", "'1 year 2 months'", "'0.5 seconds'", "'00:00:00'", "'-3 days 04:05:06'",
    ),
    "JSONB": (
        "'{}'", "'[]'", "'null'", "'true'", "'-1'", "'\"é\"'", "'[1, \"a\", null, true]'",
        "'{\"a\": {\"b\": \"x\"}, \"é\": 1.5}'",
        "'{\"a\": 1, \"b\": [1, 2, {\"c\": null}]}'", "'{\"b\": [3], \"aa\": null}'",
    ),
    "INTEGER[]": (
        "ARRAY[]::INTEGER[]", "ARRAY[1, 2, 3]", "ARRAY[7, NULL]", "ARRAY[1, 1]", "ARRAY[NULL]::INTEGER[]",
        "ARRAY[2147483647, -1, 0, 10]",
    ),
    "TEXT[]": (
        "ARRAY[]::TEXT[]", "ARRAY['a', 'b']", "ARRAY['a', NULL, '']", "ARRAY['é', 'a b', 'x\"y']", "ARRAY['12']",
    ),
}  # fmt: skip


def literal(type: str, text: str) -> str:
    return f"CAST({text} AS {type})"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str


@dataclass(slots=True)
class Table:
    """A table or a view. ``options`` are WeftDB's alone; ``pasts``: moments that it can be read at.

    ``unique``: a column besides the primary key with no value twice. ``keys``: primary keys that were inserted once;
    ``inserted``: how many rows.
    """

    name: str
    columns: list[Column]
    primary_key: tuple[str, ...] = ()
    options: str = ""
    unique: str = ""
    pasts: list[int] = field(default_factory=list)
    keys: list[tuple[str, ...]] = field(default_factory=list)
    inserted: int = 0

    def ddl(self) -> str:
        columns = ", ".join(f"{column.name} {column.type}" for column in self.columns)
        key = f", PRIMARY KEY ({', '.join(self.primary_key)})" if self.primary_key else ""
        unique = f", UNIQUE ({self.unique})" if self.unique else ""
        return f"CREATE TABLE {self.name} ({columns}{key}{unique})"

    def type_of(self, name: str) -> str:
        return next(column.type for column in self.columns if column.name == name)

    @property
    def free(self) -> list[Column]:
        """The columns that may be anything."""
        return [column for column in self.columns if column.name not in (*self.primary_key, self.unique)]


@dataclass(frozen=True, slots=True)
class Query:
    """``sql`` has table references such as ``{t0}`` and, as it was at moment 2, ``{t0@2}``.

    ``ordered``: rows come in this order. ``may_fail``: on some values, which row by row evaluation may or may not meet.
    ``where``: a condition that can be put after ``sql`` (which has none), or nothing; ``source`` is then its FROM.
    ``slow``: the same question in PostgreSQL's words, where ``sql`` is not in them.
    ``changed``: the table that this statement writes; it is looked at afterwards, and all is undone. It may be refused,
    but by all or none.
    """

    sql: str
    ordered: bool = False
    may_fail: bool = False
    where: str = ""
    source: str = ""
    slow: str = ""
    changed: str = ""

    @property
    def text(self) -> str:
        return self.sql + (f" WHERE {self.where}" if self.where else "")


@dataclass(frozen=True, slots=True)
class Step:
    """A statement of the history, with what WeftDB alone gets to read behind it.

    ``moment``: remember the tables as they are now instead. ``ours``: the statement is for WeftDB alone. ``view``: it
    makes a view, of which plain tables know nothing. ``begins``: a transaction begins, which the queries are then in.
    """

    sql: str = ""
    options: str = ""
    moment: int | None = None
    ours: bool = False
    view: bool = False
    begins: bool = False
