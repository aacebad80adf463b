"""What is computed of one row that is found by its primary key: by the engine, the same as by the executor."""

from __future__ import annotations

from typing import Any

import pytest
from weftdb.base.errors import Invalid

ROWS = """(1, 7, 32767, 9223372036854775807, 12.34, 0.1, 1.5, 'Äpfel', 'x ', true, '2024-02-29 23:59:59.5',
'2024-02-29 23:59:59+00', '1999-12-31', '{"a": [1, 2]}', '{1,NULL,3}'),
(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(3, 0, -1, -9223372036854775808, -0.01, 'NaN', '-Infinity', '', 'b', false, '1969-12-31 00:00', '0001-01-01 00:00+00',
'2026-11-23', '[]', '{}')"""
VALUES = (
    "i + 1", "i * 2.5", "i % 2", "-i", "i / 2", "i / nullif(i, 0)", "n * n", "round(n, 1)", "n / 3", "d + r", "d * 2",
    "sqrt(abs(i))", "s || v", "upper(s)", "length(s)", "substr(s, 2)", "s LIKE '%f%'", "coalesce(s, 'none')", "NOT b",
    "b AND i > 0", "CASE WHEN i > 0 THEN s ELSE v END", "i::text", "n::int", "at::date", "date_trunc('month', at)",
    "at + interval '1 month'", "extract(dow FROM at)", "z AT TIME ZONE 'UTC'", "day + 1", "day - '2000-01-01'::date",
    "j -> 'a'", "j ->> 0", "a[1]", "i IN (1, 7)", "i IS NULL", "greatest(i, k)", "i::double precision / 3", "md5(s)",
    "i, s, i + k", "k", "1", "NULL", "i = i", "concat(s, i, b)", "to_char(at, 'YYYY-MM-DD')", "b::int",
)  # fmt: skip


@pytest.fixture
def one(database: Any) -> Any:
    database.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, i INT, k SMALLINT, big BIGINT, n NUMERIC(10,2), d DOUBLE PRECISION, "
        "r REAL, s TEXT, v VARCHAR(9), b BOOLEAN, at TIMESTAMP, z TIMESTAMPTZ, day DATE, j JSONB, a INT[])"
    )
    database.execute(f"INSERT INTO t VALUES {ROWS}")
    return database


def test_values_of_one_row_are_those_that_the_executor_computes(one: Any) -> None:
    direct = 0
    for value in VALUES:
        for id in (1, 2, 3, 4):
            found, right = (
                _answer(one, f"SELECT {value} FROM {source}", id)
                for source in ("t WHERE id = $1", "(SELECT * FROM t WHERE id = $1 OFFSET 0) AS t")
            )
            assert repr(found) == repr(right), (value, id)
        plan = one.execute(f"EXPLAIN SELECT {value} FROM t WHERE id = $1", [1]).rows()
        direct += any(line.startswith("Choice: Primary Key Get") for (line,) in plan)
    assert direct > 30


def _answer(on: Any, text: str, id: int) -> Any:
    try:
        result = on.execute(text, [id])
        return [field.type for field in result.schema], result.rows()
    except Invalid as error:
        return error.sqlstate


def test_what_cannot_be_computed_is_an_error_of_the_row_that_is_there(one: Any) -> None:
    for value, state in (("i / (i - 7)", "22012"), ("big + 1", "22003"), ("s::int", "22P02")):
        with pytest.raises(Invalid) as error:
            one.execute(f"SELECT {value} FROM t WHERE id = $1", [1])
        assert error.value.sqlstate == state
        assert "row" not in error.value.message
        assert one.execute(f"SELECT {value} FROM t WHERE id = $1", [77]).rows() == []
