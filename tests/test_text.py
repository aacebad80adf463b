"""Values as PostgreSQL prints them, and results as tables, CSV and JSON."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from weftdb.base import types
from weftdb.base.result import Result
from weftdb.base.text import format_column
from weftdb.server.shell.output import Format, Layout, print_result

NAN, INFINITY = float("nan"), float("inf")

PRINTED = [
    (types.BOOLEAN, [True, False, None], ["t", "f", None]),
    (types.BIGINT, [-(2**63), 0, None], ["-9223372036854775808", "0", None]),
    (types.DOUBLE, [1.0, 0.1, 100.0, -0.0], ["1", "0.1", "100", "-0"]),
    (types.DOUBLE, [1e14, 1e15, 123456789012345.0], ["100000000000000", "1e+15", "123456789012345"]),
    (types.DOUBLE, [1e-4, 1.5e-5, 1 / 3, 12345.678], ["0.0001", "1.5e-05", "0.3333333333333333", "12345.678"]),
    (types.DOUBLE, [NAN, INFINITY, -INFINITY], ["NaN", "Infinity", "-Infinity"]),
    (types.REAL, [0.1, 123456.0, 1e6, 1234567.0, 3.4e38], ["0.1", "123456", "1e+06", "1.234567e+06", "3.4e+38"]),
    (types.numeric(10, 2), [Decimal("1.50"), Decimal("-0.01"), None], ["1.50", "-0.01", None]),
    (types.numeric(38, 0), [Decimal(10) ** 37], ["1" + "0" * 37]),
    (types.TEXT, ["", "ä\n", None], ["", "ä\n", None]),
    (types.BYTEA, [b"\x00\xff", b""], ["\\x00ff", "\\x"]),
    (types.DATE, [date(2017, 1, 1), date(1, 1, 1)], ["2017-01-01", "0001-01-01"]),
    (types.TIME, [time(1, 2, 3), time(23, 59, 59, 999_999)], ["01:02:03", "23:59:59.999999"]),
    (types.TIMESTAMP, [datetime(2017, 1, 1, 11, 53, 26, 500_000)], ["2017-01-01 11:53:26.5"]),
    (types.TIMESTAMPTZ, [datetime(2017, 1, 1, tzinfo=UTC)], ["2017-01-01 00:00:00+00"]),
    (types.INTERVAL, [pa.MonthDayNano((14, 3, 0))], ["1 year 2 mons 3 days"]),
    (types.INTERVAL, [pa.MonthDayNano((0, -1, 10**9))], ["-1 days +00:00:01"]),
    (types.array_of(types.TEXT), [["a", "b c", None, "", 'q"', "null"]], ['{a,"b c",NULL,"","q\\"","null"}']),
]  # fmt: skip


@pytest.mark.parametrize(("type", "values", "printed"), PRINTED, ids=lambda value: str(value)[:30])
def test_values_are_printed_as_postgresql_prints_them(type: types.Type, values: list, printed: list) -> None:
    assert format_column(pa.array(values, type.arrow), type) == printed


def test_years_outside_of_what_python_s_datetime_knows_are_printed() -> None:
    days = pa.array([-719_529, 2_932_897], pa.int32()).cast(pa.date32())
    assert format_column(days, types.DATE) == ["0002-12-31 BC", "10000-01-01"]


def printed(columns: dict[str, tuple[types.Type, list]], **layout: object) -> str:
    schema = pa.schema([types.arrow_field(name, type) for name, (type, _) in columns.items()])
    arrays = [pa.array(values, type.arrow) for type, values in columns.values()]
    out = io.StringIO()
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    print_result(Result(schema=schema, batches=[batch], version=1), Layout(**layout), out)  # type: ignore[arg-type]
    return out.getvalue()


def test_a_table_has_numbers_at_the_right_and_counts_its_rows() -> None:
    text = printed({"id": (types.BIGINT, [1, 200]), "name": (types.TEXT, ["Zoë", None])})
    assert text == " id  | name\n-----+------\n   1 | Zoë\n 200 | NULL\n(2 rows)\n"


def test_wide_characters_line_breaks_and_control_characters_keep_a_table_in_shape() -> None:
    text = printed({"a": (types.TEXT, ["日本", "x\ny", "\x1b[2J"]), "b": (types.INTEGER, [1, 2, 3])})
    assert text == ("    a    | b\n---------+---\n 日本    | 1\n x      +| 2\n y       |\n \\x1b[2J | 3\n(3 rows)\n")


def test_an_empty_result_shows_its_columns() -> None:
    assert printed({"a": (types.TEXT, [])}) == " a\n---\n(0 rows)\n"


def test_expanded_output_has_a_line_for_each_value() -> None:
    text = printed({"id": (types.BIGINT, [1]), "name": (types.TEXT, ["x"])}, expanded=True)
    assert text == "-[ record 1 ]\nid   | 1\nname | x\n"


def test_csv_tells_null_from_the_empty_text_and_quotes_what_must_be() -> None:
    text = printed(
        {"a": (types.TEXT, [None, "", 'say "x", y']), "b,c": (types.DOUBLE, [0.5, None, NAN])}, format=Format.CSV
    )
    assert text == 'a,"b,c"\n,0.5\n"",\n"say ""x"", y",NaN\n'


def test_json_is_json_with_exact_numbers() -> None:
    text = printed(
        {
            "n": (types.numeric(38, 2), [Decimal("12345678901234567890.10"), None]),
            "d": (types.DOUBLE, [1e300, NAN]),
            "t": (types.TIMESTAMPTZ, [datetime(2017, 1, 1, tzinfo=UTC), None]),
            "b": (types.BOOLEAN, [True, False]),
            "j": (types.JSON, ['{"x": [1]}', None]),
            "a": (types.array_of(types.INTEGER), [[1, None], []]),
            "s": (types.TEXT, ["é\n", None]),
        },
        format=Format.JSON,
    )  # fmt: skip
    assert "12345678901234567890.10" in text
    first, second = json.loads(text)
    assert first["d"] == 1e300
    assert first["t"] == "2017-01-01T00:00:00+00:00"
    assert (first["b"], first["j"], first["a"], first["s"]) == (True, {"x": [1]}, [1, None], "é\n")
    assert (second["n"], second["d"], second["a"]) == (None, "NaN", [])


def test_json_of_nothing_is_an_empty_array() -> None:
    assert printed({"a": (types.TEXT, [])}, format=Format.JSON) == "[]\n"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "UTC"])
def test_moments_are_shown_by_the_clock_of_a_zone(zone: str) -> None:
    days = [datetime(year, month, 1, 12, 30, 5, 250_000, tzinfo=UTC) for year in (1950, 2026) for month in (1, 7)]
    days.append(datetime(1880, 1, 1, tzinfo=UTC))  # by the sun: seconds in the offset
    texts = format_column(pa.array(days, types.TIMESTAMPTZ.arrow), types.TIMESTAMPTZ, zone=zone)
    for moment, text in zip(days, texts, strict=True):
        assert text is not None
        local = moment.astimezone(ZoneInfo(zone))
        assert text.startswith(f"{local:%Y-%m-%d %H:%M:%S}")
        sign, digits = re.fullmatch(r".*([+-])([\d:]+)", text).groups()  # type: ignore[union-attr]
        parts = [int(part) for part in digits.split(":")] + [0, 0]
        offset = timedelta(hours=parts[0], minutes=parts[1], seconds=parts[2]) * (-1 if sign == "-" else 1)
        assert offset == local.utcoffset()
    assert format_column(pa.array([None], types.TIMESTAMPTZ.arrow), types.TIMESTAMPTZ, zone=zone) == [None]
