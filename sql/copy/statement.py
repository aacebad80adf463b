"""The COPY statement as written, in its present and its older syntax.

COPY table [(columns)]             FROM {'file' | STDIN}  [[WITH] (option [value], …)] [WHERE condition]
COPY {table [(columns)] | (query)} TO   {'file' | STDOUT} [[WITH] (option [value], …)]
COPY … [WITH] [DELIMITER 'c'] [NULL 's'] [CSV [HEADER] [QUOTE 'c'] [ESCAPE 'c'] [FORCE QUOTE columns | *] …]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...base.errors import Invalid
from ...base.result import Result
from ..lexer import Tokens
from ..source import Source, split
from .options import CopyOptions, copy_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """``table`` None: ``query`` is copied. ``columns`` None: all. ``path`` None: STDIN or STDOUT.

    ``where`` is the condition of COPY FROM, at its place in the statement.
    """

    table: str | None
    columns: tuple[str, ...] | None
    query: Source | None
    writes: bool
    path: str | None
    options: CopyOptions
    where: Source | None


def read_copy(tokens: Tokens, source: Source) -> Copy:
    """Read COPY. ``writes``: it is COPY TO. Raises Invalid."""
    tokens.expect("COPY")
    table: str | None = None
    columns: tuple[str, ...] | None = None
    query: Source | None = None
    if tokens.take("("):
        begin = tokens.peek()
        text = tokens.parenthesized()
        if begin is None or not text:
            tokens.fail()
        query = replace(source, rewritten=" " * begin.start + text)
    else:
        table = tokens.name().removeprefix("public.")
        columns = _names(tokens) if tokens.take("(") else None
    if query is None and tokens.take("FROM"):
        writes = False
    else:
        tokens.expect("TO")
        writes = True
    path = _place(tokens, "STDOUT" if writes else "STDIN", "STDIN" if writes else "STDOUT")
    given = _options(tokens)
    where = None
    if not writes and tokens.take("WHERE"):
        where = replace(source, rewritten=tokens.rest())
    else:
        tokens.end()
    options = copy_options(given, path=path, writes=writes)
    return Copy(table=table, columns=columns, query=query, writes=writes, path=path, options=options, where=where)


def copied_query(statement: Copy) -> Source:
    """What COPY TO runs."""
    if statement.query is not None:
        return statement.query
    columns = "*" if statement.columns is None else ", ".join(map(_quoted, statement.columns))
    return split(f"SELECT {columns} FROM {_quoted(statement.table or '')}")[0]


def check_query(result: Result) -> None:
    """Raise Invalid for a statement that gives no rows."""
    if not result.schema.names and result.tag != "SELECT":
        raise Invalid("COPY query must have a RETURNING clause", sqlstate="0A000")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _place(tokens: Tokens, stream: str, other: str) -> str | None:
    if tokens.take(stream, other):  # PostgreSQL takes either word
        return None
    token = tokens.peek()
    if tokens.take("PROGRAM"):
        raise Invalid(
            "COPY with PROGRAM is not supported",
            hint="Use a pipe: weft sql -c 'COPY … TO STDOUT' | program.",
            sqlstate="0A000",
            position=token.start if token else 0,
        )
    if token is None or token.sort != "string":
        tokens.fail()
    path = tokens.value()
    if not path:
        raise Invalid("the name of the file is empty", hint="Write COPY … 'file'.", position=token.start)
    return path


def _options(tokens: Tokens) -> dict[str, str | tuple[str, ...] | None]:
    tokens.take("WITH")
    given: dict[str, str | tuple[str, ...] | None] = {}
    if tokens.take("("):
        while True:
            _add(given, tokens.name(), _value(tokens), tokens)
            if tokens.take(")"):
                return given
            tokens.expect(",")
    while (word := tokens.peek_word()) not in ("", "WHERE"):
        _old_option(given, word, tokens)
    return given


def _value(tokens: Tokens) -> str | tuple[str, ...] | None:
    token = tokens.peek()
    if token is None or token.text in (",", ")"):
        return None
    if tokens.take("("):
        return _names(tokens)
    return ("*",) if tokens.take("*") else tokens.value()


def _old_option(given: dict[str, str | tuple[str, ...] | None], word: str, tokens: Tokens) -> None:
    """One option of the syntax before PostgreSQL 9.0, which scripts still use."""
    match word:
        case "CSV":
            tokens.next()
            _add(given, "format", "csv", tokens)
        case "HEADER":
            tokens.next()
            _add(given, "header", None, tokens)
        case "DELIMITER" | "DELIMITERS" | "NULL" | "QUOTE" | "ESCAPE" | "ENCODING":
            tokens.next()
            tokens.take("AS")
            _add(given, "delimiter" if word == "DELIMITERS" else word.lower(), tokens.value(), tokens)
        case "FORCE":
            tokens.next()
            if tokens.take("QUOTE"):
                name = "force_quote"
            else:
                name = "force_not_null" if tokens.take("NOT") else "force_null"
                tokens.expect("NULL")
            _add(given, name, ("*",) if tokens.take("*") else _bare_names(tokens), tokens)
        case _:
            tokens.fail()


def _add(
    given: dict[str, str | tuple[str, ...] | None], name: str, value: str | tuple[str, ...] | None, tokens: Tokens
) -> None:
    if name in given:
        raise Invalid(f'conflicting or redundant options: "{name}" is given twice', sqlstate="42601")
    given[name] = value


def _names(tokens: Tokens) -> tuple[str, ...]:
    """Names up to the parenthesis that closes the one just taken."""
    names = _bare_names(tokens)
    tokens.expect(")")
    return names


def _bare_names(tokens: Tokens) -> tuple[str, ...]:
    names = [tokens.name()]
    while tokens.take(","):
        names.append(tokens.name())
    return tuple(names)
