"""SQL texts are cut and parsed as PostgreSQL reads them, and errors point to the right place."""

from __future__ import annotations

import pytest
from sqlglot import exp
from weftdb.base.errors import Invalid, LimitExceeded
from weftdb.base.limits import STATEMENT_BYTES_MAX
from weftdb.sql.parse import first_words, parse, parse_expression, place, pointing, split


def texts(script: str) -> list[str]:
    return [source.text.strip() for source in split(script)]


def error_of(script: str) -> Invalid:
    with pytest.raises(Invalid) as caught:
        [parse(source) for source in split(script)]
    return caught.value


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        (";; SELECT 1;;", ["SELECT 1"]),
        ("", []),
        ("  -- nothing\n /* at /* all */ */ ;", []),
        ("SELECT ';' ; SELECT \";\"", ["SELECT ';'", 'SELECT ";"']),
        ("SELECT 'it''s;' ; x", ["SELECT 'it''s;'", "x"]),
        ("SELECT E'\\';' ; x", ["SELECT E'\\';'", "x"]),
        ("SELECT $$;$$; SELECT $a$ $$;$$ $a$", ["SELECT $$;$$", "SELECT $a$ $$;$$ $a$"]),
        ("SELECT 1 -- ; no\n; SELECT 2", ["SELECT 1 -- ; no", "SELECT 2"]),
        ("SELECT /* ; /* ; */ ; */ 1", ["SELECT /* ; /* ; */ ; */ 1"]),
        ("SELECT a$1 FROM t; x", ["SELECT a$1 FROM t", "x"]),
    ],
)
def test_a_script_is_cut_at_semicolons_outside_of_quotes_and_comments(script: str, expected: list[str]) -> None:
    assert texts(script) == expected


@pytest.mark.parametrize("script", ["SELECT 'x", 'SELECT "x', "SELECT $a$ x $b$", "SELECT /* x", "SELECT E'x\\'"])
def test_what_is_not_closed_is_refused(script: str) -> None:
    error = error_of(script)
    assert error.sqlstate == "42601"
    assert "unterminated" in error.message
    assert error.position == script.index(" ") + 2


@pytest.mark.parametrize("text", ["select $1,$2", "select $1,$2,$3", "select $1::int,$2::text", "select f($1,$2)"])
def test_parameters_need_no_blank_after_the_comma(text: str) -> None:
    assert {int(node.name) for node in parse(text).find_all(exp.Parameter)} >= {1, 2}


@pytest.mark.parametrize("text", ["select $1 = ''", "select $1, '', ''", "select $1, ''; "])
def test_a_text_with_parameters_may_end_with_an_empty_literal(text: str) -> None:
    """The parser looks for the end of a dollar quote, beyond the end of the text."""
    assert parse(text).find(exp.Parameter)


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("'back\\slash'", "back\\slash"),
        ("'it''s'", "it's"),
        ("E'a\\tb\\\\c\\'d''e'", "a\tb\\c'd'e"),
        ("E'\\x41\\101\\u00e9\\U0001F600'", "AAé😀"),
        ("E'\\303\\251'", "é"),
        ("$$it's$$", "it's"),
        ("$x$a $$ b$x$", "a $$ b"),
        ("'line\nbreak'", "line\nbreak"),
    ],
)
def test_string_literals_mean_what_postgresql_says(literal: str, value: str) -> None:
    found = parse(f"SELECT {literal}").find(exp.Literal)
    assert found is not None
    assert found.name == value


@pytest.mark.parametrize("literal", ["E'\\xff'", "E'\\u0000'", "B'101'", "X'1F'", "U&'\\0041'"])
def test_other_string_literals_are_refused(literal: str) -> None:
    assert error_of(f"SELECT {literal}").sqlstate in ("22021", "0A000")


@pytest.mark.parametrize(
    ("script", "line", "column", "near"),
    [
        ("SELECT 1 +", 1, 11, "end of input"),
        ("SELECT a FROM t WHERE", 1, 22, "end of input"),
        ("SELECT\n  a b c", 2, 7, '"c"'),
        ("SELECT a, FROM t", 1, 11, '"FROM"'),
        ("SELECT $1,,2", 1, 11, '","'),
        ("SELECT E'\\t', b FROM", 1, 21, "end of input"),
        ("SELECT 1; SELECT 2 2", 1, 20, '"2"'),
        ("explode", 1, 1, '"explode"'),
    ],
)
def test_a_syntax_error_has_line_column_and_caret(script: str, line: int, column: int, near: str) -> None:
    error = error_of(script)
    message, where, caret = error.message.split("\n")[:3]
    assert error.sqlstate == "42601"
    assert near in message
    assert where.startswith(f"LINE {line}, column {column}: ")
    assert caret.strip() == "^"
    shown = where.removeprefix(f"LINE {line}, column {column}: ")
    assert caret.index("^") - (len(where) - len(shown)) == column - 1
    lines = script.split("\n")
    assert error.position == sum(len(text) + 1 for text in lines[: line - 1]) + column


def test_a_place_in_a_long_line_is_shown_with_its_neighbourhood() -> None:
    error = error_of("SELECT " + "a, " * 200 + "b c d" + ", e" * 100)
    where, caret = error.message.split("\n")[1:3]
    assert len(where) < 160
    assert where[caret.index("^")] == "d"


@pytest.mark.parametrize("text", ["SELECT * FROM a JOIN b", "SELECT * FROM a LEFT JOIN b WHERE true"])
def test_a_join_without_a_condition_is_no_cross_join(text: str) -> None:
    assert error_of(text).sqlstate == "42601"


def test_ordinary_calls_keep_their_names() -> None:
    tree = parse("SELECT now(), count(*), to_char(x, 'YYYY'), string_agg(a, ',' ORDER BY b), generate_series(1, 2)")
    names = [node.name for node in tree.find_all(exp.Anonymous)]
    assert sorted(names) == ["count", "generate_series", "now", "string_agg", "to_char"]


def test_words_of_other_dialects_are_plain_names() -> None:
    tree = parse("SELECT semi, anti, pivot, struct, string FROM qualify")
    assert [column.name for column in tree.find_all(exp.Column)] == ["semi", "anti", "pivot", "struct", "string"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/* x */ begin  work", ("BEGIN", "WORK")),
        ("-- c\nSELECT 1", ("SELECT",)),
        ("(select 1)", ("SELECT",)),
        ("42", ()),
    ],
)
def test_the_first_words_say_what_a_statement_is(text: str, expected: tuple[str, ...]) -> None:
    assert first_words(split(text)[0]) == expected


def test_an_expression_stands_alone() -> None:
    assert isinstance(parse_expression("a > 5 AND b IS NULL"), exp.And)
    for text in ("a > 5 6", "SELECT 1", "", "a; b"):
        with pytest.raises(Invalid):
            parse_expression(text)


def test_a_place_found_later_points_into_the_script() -> None:
    script = "SELECT 1;\nSELECT E'\\t', $1,$2, nosuch"
    source = split(script)[1]
    column = parse(source).find(exp.Column)
    with pytest.raises(Invalid) as caught, pointing(source):
        raise Invalid("here", position=place(column))
    assert caught.value.position == script.index("nosuch") + 1
    assert caught.value.message.endswith(" " * (len("LINE 2, column 21: ") + 20) + "^")


def test_a_text_over_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        split("SELECT '" + "x" * STATEMENT_BYTES_MAX + "'")


def test_deep_nesting_is_refused_in_words() -> None:
    assert error_of("SELECT " + "(" * 5000 + "1" + ")" * 5000).sqlstate == "54001"


def test_a_zero_byte_is_refused() -> None:
    assert error_of("SELECT '\0'").sqlstate == "22021"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INTERVAL '90' DAY", "90 DAY"),
        ("INTERVAL '3' month", "3 month"),
        ("INTERVAL '1.5' DAY", "1 DAY"),
        ("INTERVAL '-1.5' SECOND", "-1.5 SECOND"),
        ("INTERVAL '1 day'", "1 day"),
    ],
)
def test_the_field_after_an_interval_is_its_unit(text: str, expected: str) -> None:
    for script in (f"SELECT {text} AS x", f"SELECT d - {text}", f"SELECT ({text})::text"):
        cast = next(node for node in parse(script).find_all(exp.Cast) if node.to.this == exp.DType.INTERVAL)
        assert cast.this.name == expected
        assert not isinstance(parse(f"SELECT {text}").selects[0], exp.Alias), "the field is no name"


def test_intervals_that_are_not_there_are_refused_where_they_stand() -> None:
    assert error_of("SELECT INTERVAL '1-2' YEAR TO MONTH").sqlstate == "0A000"
    assert error_of("SELECT INTERVAL '1 day' DAY").sqlstate == "0A000"
