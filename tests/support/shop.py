"""The tables that the golden scripts query: small, with NULLs, ties, every type, and names that need quotes."""

from __future__ import annotations

from typing import Any

from oracle_reader import OracleReader
from weftdb.base.types import (
    BIGINT,
    BOOLEAN,
    BYTEA,
    DATE,
    DOUBLE,
    INTEGER,
    INTERVAL,
    JSON,
    REAL,
    SMALLINT,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    Type,
    numeric,
    varchar,
)
from weftdb.engine.schema import Column, Table, View


def table(id: int, name: str, columns: list[tuple[str, Type]], primary_key: tuple[int, ...] = ()) -> Table:
    return Table(
        id=id,
        name=name,
        columns=tuple(
            Column(id=number, name=column, type=type, nullable=number not in primary_key)
            for number, (column, type) in enumerate(columns, start=1)
        ),
        primary_key=primary_key,
        key=primary_key[:1],
        next_column_id=len(columns) + 1,
    )


PEOPLE = table(
    1, "people", [("id", INTEGER), ("name", varchar(20)), ("city", TEXT), ("age", SMALLINT), ("score", DOUBLE)], (1,)
)
ORDERS = table(
    2,
    "orders",
    [("id", BIGINT), ("person_id", INTEGER), ("amount", numeric(10, 2)), ("at", TIMESTAMP), ("paid", BOOLEAN)],
    (1,),
)
KINDS = table(
    3,
    "kinds",
    [
        ("id", INTEGER), ("b", BOOLEAN), ("s", SMALLINT), ("i", INTEGER), ("l", BIGINT), ("r", REAL), ("d", DOUBLE),
        ("n", numeric(12, 4)), ("t", TEXT), ("v", varchar(5)), ("y", BYTEA), ("da", DATE), ("ti", TIME),
        ("ts", TIMESTAMP), ("tz", TIMESTAMPTZ), ("iv", INTERVAL), ("u", UUID), ("j", JSON),
    ],
    (1,),
)  # fmt: skip
EMPTY_TABLE = table(4, "empty", [("a", INTEGER), ("b", TEXT)])
MIXED = table(5, "Mixed Case", [("A", INTEGER), ("a", INTEGER), ("b c", TEXT)])
ROWS_TABLE = table(6, "loose", [("a", INTEGER), ("b", TEXT)])

BIG_ORDERS = View(
    id=7,
    name="big_orders",
    query="SELECT person_id, count(*) AS n, sum(amount) AS total FROM orders WHERE amount > 10 GROUP BY person_id",
    columns=(("person_id", INTEGER), ("n", BIGINT), ("total", numeric(38, 2))),
)
RICH = View(
    id=8,
    name="rich",
    query="SELECT p.name, o.total FROM people p JOIN big_orders o ON o.person_id = p.id",
    columns=(("name", varchar(20)), ("total", numeric(38, 2))),
)

RELATIONS = [PEOPLE, ORDERS, KINDS, EMPTY_TABLE, MIXED, ROWS_TABLE, BIG_ORDERS, RICH]

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "people": [
        (1, "Ada", "London", 36, 9.5),
        (2, "Grace", "New York", 85, 8.25),
        (3, "Edsger", "Rotterdam", 72, None),
        (4, "barbara", None, 33, 7.0),
        (5, "Émile", "Paris", None, float("nan")),
        (6, "Zoë", "Paris", 36, -0.0),
    ],
    "orders": [
        (1, 1, "10.50", "2024-01-05 10:00:00", True),
        (2, 1, "99.99", "2024-01-05 23:59:59.999999", False),
        (3, 2, "5.00", "2024-01-31 00:00:00", True),
        (4, 2, "20.00", "2024-02-29 12:30:00", None),
        (5, 3, None, "2024-03-01 00:00:00", True),
        (6, 9, "7.77", "2023-12-31 08:15:00", False),
        (7, 4, "-3.33", None, True),
    ],
    "kinds": [
        (1, True, 32767, 2147483647, 9223372036854775807, 1.5, 1e300, "12345678.1234", "it's", "abc", b"\x00\xff",
         "2024-02-29", "23:59:59.5", "2024-02-29 12:34:56.789", "2024-02-29 12:34:56+02", "1 mon 2 days 03:04:05",
         "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", '{"a": 1, "b": [1, "x"]}'),
        (2, False, -32768, -2147483648, -9223372036854775808, -0.1, -2.5, "-0.0001", "back\\slash", "", b"",
         "1999-12-31", "00:00:00", "1970-01-01 00:00:00", "2024-07-01 00:00:00+00", "-1 days",
         "00000000-0000-0000-0000-000000000000", "[]"),
        (3, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None),
        (4, True, 0, 0, 0, 0.0, float("inf"), "2.5000", "Ünï\ncode", "5", b"abc", "2000-01-03", "12:00:00",
         "2000-01-03 00:00:00", "2000-01-03 00:00:00+00", "00:00:00.000001", "ffffffff-ffff-ffff-ffff-ffffffffffff",
         "null"),
    ],
    "empty": [],
    "Mixed Case": [(1, 10, "x"), (2, 20, "y")],
    "loose": [(1, "a"), (1, "a"), (None, None)],
}  # fmt: skip


def reader(*, ignore_filters: bool = False) -> OracleReader:
    return OracleReader(relations=RELATIONS, rows=ROWS, ignore_filters=ignore_filters)
