"""The shell's reader of typed text: where statements end, and what an incomplete one waits for."""

from __future__ import annotations

import pytest
from weftdb.server.shell.statements import split

CASES = [
    ("select 1; select 2;", ["select 1", "select 2"], ""),
    ("select 1", [], "-"),
    ("select ';' ; x", ["select ';'"], "-"),
    ("select 'it''s;';", ["select 'it''s;'"], ""),
    ("select 'open", [], "'"),
    ("select 'a''", [], "'"),
    (r"select E'\';';", [r"select E'\';'"], ""),
    ('select "a;""b";', ['select "a;""b"'], ""),
    ('select "a', [], '"'),
    ("select $$ ; ' $$;", ["select $$ ; ' $$"], ""),
    ("select $x$ ; $$ ; $x$;", ["select $x$ ; $$ ; $x$"], ""),
    ("select $1 + a$b;", ["select $1 + a$b"], ""),
    ("select $x$ ;", [], "$"),
    ("-- a;\nselect 1; -- b;", ["select 1"], ""),
    ("/* ; /* nested ; */ */ select 1;", ["select 1"], ""),
    ("/* ; /* */ select 1;", [], "*"),
    ("select (1; 2", [], "("),
    ("select (';)');", ["select (';)')"], ""),
    (";;", [], ""),
    ("", [], ""),
    ("-- only a comment", [], ""),
]


@pytest.mark.parametrize(("text", "statements", "waiting"), CASES)
def test_statements_end_at_semicolons_outside_of_quotes(text: str, statements: list[str], waiting: str) -> None:
    found = split(text)
    assert [statement.text for statement in found.statements] == statements
    assert found.waiting == waiting
    assert all(text[statement.offset :].startswith(statement.text) for statement in found.statements)


@pytest.mark.parametrize(("text", "statements", "waiting"), CASES)
def test_text_that_arrives_in_pieces_is_cut_alike(text: str, statements: list[str], waiting: str) -> None:
    found: list[str] = []
    rest = ""
    for character in text:
        rest += character
        cut = split(rest)
        found += [statement.text for statement in cut.statements]
        rest = rest[cut.rest.offset :] if cut.statements else rest
    assert found == statements
