"""Text to syntax tree: one statement at a time, with errors that point into the text.

    for source in split(script):
        with pointing(source):
            tree = parse(source)

``parse`` raises Invalid (42601) with line, column and a caret. The tree is sqlglot's; identifiers, literals and calls
carry their place (``meta["start"]``, in the rewritten text), which the binder puts into its own errors and ``pointing``
turns into a place in the script.
"""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from ..base.errors import Invalid, nearest
from .dialect import DIALECT
from .source import Source, first_word, first_words, point, pointing, split

__all__ = ["Source", "first_words", "parse", "parse_expression", "place", "pointing", "split"]


def parse(source: Source | str) -> exp.Expr:
    """The syntax tree of one statement. Raises Invalid (42601)."""
    if isinstance(source, str):
        sources = split(source)
        if len(sources) != 1:
            raise Invalid(f"expected one statement, got {len(sources)}", sqlstate="42601")
        source = sources[0]
    return _parse(source, None)


def parse_expression(text: str) -> exp.Expr:
    """The syntax tree of a scalar expression such as ``a > 5 AND b IS NULL``. Raises Invalid (42601)."""
    sources = split(text)
    if len(sources) != 1:
        raise Invalid("expected an expression", sqlstate="42601", hint="Give one expression, such as: amount > 5")
    return _parse(sources[0], exp.Condition)


def place(tree: exp.Expr | None) -> int | None:
    """The 0-based place of a node in the rewritten text: the leftmost place known inside it."""
    if tree is None:
        return None
    starts = [node.meta["start"] for node in tree.walk() if "start" in node.meta]
    return min(starts, default=None)


def _parse(source: Source, into: Any) -> Any:
    try:
        if into is None:
            trees = DIALECT.parse(source.rewritten)
        else:
            trees = DIALECT.parse_into(into, source.rewritten)
    except ParseError as error:
        raise (_no_statement(source) if into is None else None) or _syntax_error(source, error) from None
    except TokenError:
        error = Invalid("syntax error: this text cannot be cut into words", sqlstate="42601")
        point(error, source, 0)
        raise error from None
    except RecursionError:
        raise Invalid(
            "the statement is nested too deeply", hint="Use fewer nested parentheses or subqueries.", sqlstate="54001"
        ) from None
    found = [tree for tree in trees if tree is not None]
    if len(found) != 1:
        error = Invalid("syntax error: expected one statement", sqlstate="42601")
        point(error, source, 0)
        raise error
    tree = found[0]
    if into is None and isinstance(tree, exp.Condition | exp.Alias) and not isinstance(tree, exp.Query | exp.Values):
        # The parser takes any expression for a statement.
        start = place(tree) or 0
        word = source.rewritten[start:].split(maxsplit=1)[0]
        error = Invalid(f'syntax error at or near "{word}"', sqlstate="42601")
        point(error, source, start)
        raise _no_statement(source) or error
    if isinstance(tree, exp.Command):
        words = first_words(source)
        hint = nearest(words[1], _KINDS) if len(words) > 1 and words[1] not in _KINDS else None
        error = Invalid(f"{tree.name.upper()} is not supported in this form", hint=hint, sqlstate="0A000")
        point(error, source, 0)
        raise error
    return tree


FIRST_WORDS: Final = (
    "ALTER", "ANALYZE", "BEGIN", "CHECKPOINT", "COMMENT", "COMMIT", "COPY", "CREATE", "DEALLOCATE", "DELETE", "DISCARD",
    "DROP", "EXECUTE", "EXPLAIN", "INSERT", "MERGE", "PREPARE", "REFRESH", "RELEASE", "RESET", "ROLLBACK", "SAVEPOINT",
    "SELECT", "SET", "SHOW", "START", "TABLE", "TRUNCATE", "UPDATE", "VACUUM", "VALUES", "VERIFY", "WITH",
)  # fmt: skip


_KINDS: Final = ("TABLE", "VIEW", "INDEX", "SNAPSHOT", "MATERIALIZED", "UNIQUE")


def _no_statement(source: Source) -> Invalid | None:
    """What is wrong where no statement begins with the first word: the parser stumbles later, if at all."""
    first = first_word(source)
    if first is None or first[0].upper() in FIRST_WORDS:
        return None
    word, start = first
    hint = nearest(word.upper(), FIRST_WORDS)
    error = Invalid(f'syntax error at or near "{word}"', hint=hint, sqlstate="42601")
    point(error, source, start)
    return error


def _syntax_error(source: Source, error: ParseError) -> Invalid:
    """PostgreSQL's words: ``syntax error at or near "from"``; the parser's own come as the hint."""
    detail = error.errors[0] if error.errors else {}
    text = source.rewritten
    near = str(detail.get("highlight") or "")
    start = len(str(detail.get("start_context") or ""))
    line, column = detail.get("line"), detail.get("col")
    if isinstance(line, int) and isinstance(column, int):
        # sqlglot counts the column of a token's last character.
        begin = 0
        for _ in range(line - 1):
            begin = text.find("\n", begin) + 1
        start = max(0, min(begin + column - max(len(near), 1), len(text)))
        if near and text[start : start + len(near)] != near:
            start = max(text.rfind(near, 0, begin + column + len(near)), 0)
    description = str(detail.get("description") or "")
    at_end = not text[start + len(near) :].strip() and ("SENTINEL" in description or "Required" in description)
    message = "syntax error at end of input" if at_end or not near else f'syntax error at or near "{near}"'
    if description.endswith("is not supported"):
        message = description
    invalid = Invalid(message, sqlstate="0A000" if message == description else "42601")
    point(invalid, source, start + len(near) if at_end else start)
    return invalid
