"""What a statement is: the session's own statements, read here, and everything else, named by its first words.

sqlglot parses queries and DDL well, but reads ``ABORT`` as a column, ``SAVEPOINT a`` as an alias, and SET, SHOW,
PREPARE and EXPLAIN as opaque text. These few have a simple grammar, so they are read from tokens by ``read``:

    BEGIN | START TRANSACTION [modes]      COMMIT | END        ROLLBACK | ABORT        SET, SHOW, RESET, DISCARD
    SAVEPOINT name                         ROLLBACK TO [SAVEPOINT] name                RELEASE [SAVEPOINT] name
    SHOW TABLES | COLUMNS FROM name | CREATE name
    PREPARE name [(types)] AS statement    EXECUTE name [(values)]                     DEALLOCATE name
    EXPLAIN [ANALYZE | VERIFY | (options)] statement           {REFRESH | VERIFY} MATERIALIZED VIEW name
    COMMENT ON TABLE | VIEW | COLUMN name IS {'text' | NULL}
    CREATE SNAPSHOT [IF NOT EXISTS] name [AS OF …]             DROP SNAPSHOT [IF EXISTS] name

``read`` returns ``Other`` for whatever sqlglot is to parse, and raises Invalid (0A000), naming the statement, for what
WeftDB does not have at all: a wrong answer is worse than none.

Not here: splitting a text into statements, and the grammar of queries (sql/parse.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from ..base.errors import Invalid, nearest
from .copy.statement import Copy, read_copy
from .lexer import Tokens, split_outside
from .refused import REFUSED
from .settings import isolation_name
from .source import Source, first_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """None where the text does not say: the session's defaults count."""

    isolation: str | None
    read_only: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    chain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    chain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Savepoint:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackTo:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTransaction:
    """SET TRANSACTION (of this transaction) or SET SESSION CHARACTERISTICS AS TRANSACTION (of later ones)."""

    isolation: str | None
    read_only: bool | None
    session: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVariable:
    """``value`` None is DEFAULT."""

    name: str
    value: str | None
    local: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCatalog:
    """SHOW TABLES (``name`` None), SHOW COLUMNS FROM name, SHOW CREATE name: WeftDB's own."""

    what: Literal["tables", "columns", "create"]
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """``name`` None is ALL. ``discard``: prepared statements go, too (DISCARD ALL)."""

    name: str | None
    discard: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """``types`` are type names as written; ``source`` is the statement to prepare."""

    name: str
    types: tuple[str, ...]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute:
    """``arguments`` is the text between the parentheses, to be evaluated as one row of VALUES; "" without any."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deallocate:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """``verify``: the query is run by two plans, and their answers are compared."""

    source: Source
    analyze: bool = False
    verify: bool = False
    format: Literal["text", "json"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyView:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSnapshot:
    """``as_of`` is a query with the clause at its place, since it means what it means in a query; None without."""

    name: str
    if_not_exists: bool
    as_of: Source | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSnapshot:
    name: str
    if_exists: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFeed:
    name: str
    if_exists: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """COMMENT ON: ``kind`` is TABLE, VIEW, MATERIALIZED VIEW or COLUMN; ``text`` None takes the comment away."""

    kind: str
    name: str
    column: str | None
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintain:
    """VACUUM, ANALYZE, CHECKPOINT: WeftDB does these by itself, too."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """For sqlglot. ``words`` are the first two, in upper case."""

    words: tuple[str, ...]
    source: Source


Statement = (
    Begin
    | Commit
    | Rollback
    | Savepoint
    | RollbackTo
    | Release
    | SetTransaction
    | SetVariable
    | Show
    | ShowCatalog
    | Reset
    | Prepare
    | Execute
    | Deallocate
    | Explain
    | Refresh
    | VerifyView
    | CreateSnapshot
    | DropSnapshot
    | DropFeed
    | Maintain
    | Comment
    | Copy
    | Other
)


def read(source: Source) -> Statement:
    """Read one statement. Raises Invalid: 42601 for syntax, 0A000 for statements that are not supported."""
    words = first_words(source)
    word = words[0] if words else ""
    if word in REFUSED:
        raise Invalid(f"{word} is not supported", hint=REFUSED[word], sqlstate="0A000", position=0)
    if word == "COPY":
        return read_copy(Tokens(source.rewritten), source)
    if words == ("CREATE", "SNAPSHOT"):
        return _create_snapshot(Tokens(source.rewritten), source)
    if words == ("DROP", "SNAPSHOT"):
        return _drop(Tokens(source.rewritten), "SNAPSHOT", DropSnapshot)
    if words == ("DROP", "FEED"):
        return _drop(Tokens(source.rewritten), "FEED", DropFeed)
    if word not in _READERS:
        return Other(words=words, source=source)
    tokens = Tokens(source.rewritten)
    if not tokens.take(word):
        return Other(words=words, source=source)
    statement = _READERS[word](tokens)
    match statement:
        case Prepare() | Explain():
            return replace(statement, source=replace(source, rewritten=tokens.rest()))
        case _:
            tokens.end()
            return statement


_INNER: Final = Source(text="", script="", offset=0, rewritten="")
"""Stands for the statement inside of PREPARE and EXPLAIN until ``read`` has cut it out."""


def _modes(tokens: Tokens) -> tuple[str | None, bool | None]:
    """Transaction modes, separated by blanks or commas."""
    isolation: str | None = None
    read_only: bool | None = None
    while tokens.peek() is not None:
        if tokens.take("ISOLATION"):
            tokens.expect("LEVEL")
            words = [tokens.value()]
            if words[0].upper() in ("READ", "REPEATABLE"):
                words.append(tokens.value())
            isolation = isolation_name(" ".join(words))
        elif tokens.take("READ"):
            read_only = tokens.take("ONLY")
            if not read_only:
                tokens.expect("WRITE")
        elif tokens.take("NOT"):
            tokens.expect("DEFERRABLE")
        elif not tokens.take("DEFERRABLE", ","):
            tokens.fail()
    return isolation, read_only


def _comment(tokens: Tokens) -> Statement:
    """COMMENT ON {TABLE | [MATERIALIZED] VIEW | COLUMN} name IS {'text' | NULL}."""
    tokens.expect("ON")
    kind = tokens.next().upper
    if kind == "MATERIALIZED":
        tokens.expect("VIEW")
        kind = "MATERIALIZED VIEW"
    if kind not in ("TABLE", "VIEW", "MATERIALIZED VIEW", "COLUMN"):
        hint = "Comments are for tables, views and columns."
        raise Invalid(f"COMMENT ON {kind} is not supported", hint=hint, sqlstate="0A000")
    names = _dotted(tokens)
    column = names.pop() if kind == "COLUMN" and len(names) > 1 else None
    if len(names) > 2 or (kind == "COLUMN") != (column is not None) or (len(names) == 2 and names[0] != "public"):
        raise Invalid(f'relation "{".".join(names)}" does not exist', sqlstate="42P01")
    tokens.expect("IS")
    text = None if tokens.take("NULL") else _string(tokens)
    return Comment(kind=kind, name=names[-1], column=column, text=text)


def _dotted(tokens: Tokens) -> list[str]:
    """``a.b."C"``: the lexer takes plain words with their dots for one."""
    names: list[str] = []
    while True:
        token = tokens.peek()
        plain = token is not None and token.sort == "word"
        name = tokens.name()
        names.extend(name.split(".") if plain else [name])
        if not tokens.take("."):
            return names


def _string(tokens: Tokens) -> str:
    token = tokens.peek()
    if token is None or token.sort != "string":
        tokens.fail()
    return tokens.value()


def _begin(tokens: Tokens) -> Statement:
    tokens.take("TRANSACTION", "WORK")
    isolation, read_only = _modes(tokens)
    return Begin(isolation=isolation, read_only=read_only)


def _start(tokens: Tokens) -> Statement:
    tokens.expect("TRANSACTION")
    isolation, read_only = _modes(tokens)
    return Begin(isolation=isolation, read_only=read_only)


def _chain(tokens: Tokens) -> bool:
    tokens.take("TRANSACTION", "WORK")
    chain = False
    if tokens.take("AND"):
        chain = not tokens.take("NO")
        tokens.expect("CHAIN")
    return chain


def _commit(tokens: Tokens) -> Statement:
    if tokens.peek_word() == "PREPARED":
        raise _no_two_phase("COMMIT PREPARED")
    return Commit(chain=_chain(tokens))


def _rollback(tokens: Tokens) -> Statement:
    if tokens.peek_word() == "PREPARED":
        raise _no_two_phase("ROLLBACK PREPARED")
    tokens.take("TRANSACTION", "WORK")
    if tokens.take("TO"):
        tokens.take("SAVEPOINT")
        return RollbackTo(name=tokens.name())
    return Rollback(chain=_chain(tokens))


def _savepoint(tokens: Tokens) -> Statement:
    return Savepoint(name=tokens.name())


def _release(tokens: Tokens) -> Statement:
    tokens.take("SAVEPOINT")
    return Release(name=tokens.name())


def _no_two_phase(name: str) -> Invalid:
    return Invalid(f"{name} is not supported", hint="There are no prepared transactions.", sqlstate="0A000")


def _set(tokens: Tokens) -> Statement:
    local = False
    if tokens.take("SESSION"):
        if tokens.take("CHARACTERISTICS"):
            tokens.expect("AS")
            tokens.expect("TRANSACTION")
            isolation, read_only = _modes(tokens)
            return SetTransaction(isolation=isolation, read_only=read_only, session=True)
    else:
        local = tokens.take("LOCAL")
    if tokens.take("TRANSACTION"):
        isolation, read_only = _modes(tokens)
        return SetTransaction(isolation=isolation, read_only=read_only, session=False)
    if tokens.take("TIME"):
        tokens.expect("ZONE")
        name = "timezone"
    elif tokens.peek_word() == "NAMES":
        tokens.next()
        name = "client_encoding"
    else:
        name = _variable(tokens)
        tokens.expect("TO", "=")
    return SetVariable(name=name, value=_set_value(tokens, name=name), local=local)


def _variable(tokens: Tokens) -> str:
    """A setting's name, perhaps with a prefix."""
    name = tokens.name()
    while tokens.take("."):
        name += f".{tokens.name()}"
    return name


def _set_value(tokens: Tokens, *, name: str) -> str | None:
    if tokens.peek_word() == "DEFAULT" or (name == "timezone" and tokens.peek_word() == "LOCAL"):
        tokens.next()
        return None
    values = [tokens.value()]
    while tokens.take(","):
        values.append(tokens.value())
    return ", ".join(values)


def _show(tokens: Tokens) -> Statement:
    if tokens.take("TIME"):
        tokens.expect("ZONE")
        name = "timezone"
    elif tokens.take("TRANSACTION"):
        tokens.expect("ISOLATION")
        tokens.expect("LEVEL")
        name = "transaction_isolation"
    elif tokens.take("TABLES"):
        return ShowCatalog(what="tables", name=None)
    elif tokens.take("COLUMNS"):
        tokens.expect("FROM")
        return ShowCatalog(what="columns", name=_relation(tokens))
    elif tokens.take("CREATE"):
        tokens.take("TABLE", "VIEW")
        return ShowCatalog(what="create", name=_relation(tokens))
    else:
        name = _variable(tokens)
    return Show(name=None if name == "all" else name)


def _relation(tokens: Tokens) -> str:
    """The name of a relation; the schema public may be written before it."""
    return tokens.name().removeprefix("public.")


def _reset(tokens: Tokens) -> Statement:
    if tokens.take("TIME"):
        tokens.expect("ZONE")
        name = "timezone"
    else:
        name = _variable(tokens)
    return Reset(name=None if name == "all" else name, discard=False)


def _discard(tokens: Tokens) -> Statement:
    if not tokens.take("ALL"):
        raise Invalid("DISCARD is supported as DISCARD ALL only", hint="Use DISCARD ALL.", sqlstate="0A000")
    return Reset(name=None, discard=True)


def _prepare(tokens: Tokens) -> Statement:
    if tokens.peek_word() == "TRANSACTION":
        raise _no_two_phase("PREPARE TRANSACTION")
    name = tokens.name()
    types: tuple[str, ...] = ()
    if tokens.take("("):
        types = tuple(part.strip() for part in split_outside(tokens.parenthesized()))
    tokens.expect("AS")
    return Prepare(name=name, types=types, source=_INNER)


def _execute(tokens: Tokens) -> Statement:
    name = tokens.name()
    arguments = tokens.parenthesized() if tokens.take("(") else ""
    return Execute(name=name, arguments=arguments)


def _deallocate(tokens: Tokens) -> Statement:
    if tokens.peek_word() == "PREPARE":
        tokens.next()
    name = tokens.name()
    return Deallocate(name=None if name == "all" else name)


def _explain(tokens: Tokens) -> Statement:
    explain = Explain(source=_INNER)
    first = tokens.peek()
    if first is not None and _IN_PARENTHESES.match(tokens.text, first.start):
        return explain
    if tokens.take("("):
        for option in split_outside(tokens.parenthesized()):
            explain = _explain_option(option, explain)
        return explain
    if tokens.take("VERIFY"):
        return replace(explain, verify=True)
    analyze = tokens.take("ANALYZE", "ANALYSE")
    tokens.take("VERBOSE")
    return replace(explain, analyze=analyze)


_IN_PARENTHESES: Final = re.compile(r"\(\s*(?:\(|(?:SELECT|WITH|VALUES|TABLE)\b)", re.IGNORECASE)
"""A query, where options could be."""


def _explain_option(option: str, explain: Explain) -> Explain:
    """``explain`` with an option. COSTS, VERBOSE and the like print nothing more or less here."""
    name, _, value = option.strip().lower().partition(" ")
    value = value.strip().strip("'")
    on = value not in ("off", "false", "0")
    if name in _EXPLAIN_SWITCHES and value not in ("", "on", "true", "1", "off", "false", "0"):
        raise Invalid(f"{name} requires a Boolean value, not {value}", hint="Write on or off.", sqlstate="42601")
    match name:
        case "analyze" | "analyse":
            return replace(explain, analyze=on)
        case "verify":
            return replace(explain, verify=on)
        case "format" if value in ("text", "json"):
            return replace(explain, format=value)
        case "format":
            hint = "Use FORMAT TEXT or FORMAT JSON."
            raise Invalid(f"EXPLAIN (FORMAT {value}) is not supported", hint=hint, sqlstate="0A000")
        case _ if name in _EXPLAIN_SWITCHES:
            return explain
        case _:
            hint = nearest(name, _EXPLAIN_OPTIONS) or f"The options are {', '.join(_EXPLAIN_OPTIONS).upper()}."
            raise Invalid(f'unrecognized EXPLAIN option "{name}"', hint=hint, sqlstate="42601")


_EXPLAIN_OPTIONS: Final = (
    *("analyze", "verify", "format", "verbose", "costs", "buffers", "timing", "summary", "settings"),
)
_EXPLAIN_SWITCHES: Final = (*(name for name in _EXPLAIN_OPTIONS if name != "format"), "analyse", "wal")


def _refresh(tokens: Tokens) -> Statement:
    tokens.expect("MATERIALIZED")
    tokens.expect("VIEW")
    tokens.take("CONCURRENTLY")
    name = tokens.name()
    if tokens.take("WITH"):
        if tokens.take("NO"):
            raise Invalid(
                "REFRESH MATERIALIZED VIEW … WITH NO DATA is not supported",
                hint="A materialized view is exact at every snapshot and cannot be emptied.",
                sqlstate="0A000",
            )
        tokens.expect("DATA")
    return Refresh(name=name.removeprefix("public."))


def _verify(tokens: Tokens) -> Statement:
    tokens.expect("MATERIALIZED")
    tokens.expect("VIEW")
    name = tokens.name()
    tokens.end()
    return VerifyView(name=name.removeprefix("public."))


def _create_snapshot(tokens: Tokens, source: Source) -> Statement:
    tokens.expect("CREATE")
    tokens.expect("SNAPSHOT")
    if_not_exists = tokens.take("IF")
    if if_not_exists:
        tokens.expect("NOT")
        tokens.expect("EXISTS")
    name = tokens.name()
    clause = tokens.peek()
    if clause is None:
        return CreateSnapshot(name=name, if_not_exists=if_not_exists, as_of=None)
    if clause.upper != "AS":
        tokens.fail()
    query = "SELECT FROM t".ljust(clause.start) + tokens.text[clause.start :]
    return CreateSnapshot(name=name, if_not_exists=if_not_exists, as_of=replace(source, rewritten=query))


def _drop(tokens: Tokens, what: str, kind: type[DropSnapshot] | type[DropFeed]) -> Statement:
    tokens.expect("DROP")
    tokens.expect(what)
    if_exists = tokens.take("IF")
    if if_exists:
        tokens.expect("EXISTS")
    name = tokens.name()
    tokens.end()
    return kind(name=name, if_exists=if_exists)


def _maintain(name: str) -> Callable[[Tokens], Statement]:
    def reader(tokens: Tokens) -> Statement:
        while tokens.peek() is not None:  # which tables, and how, makes no difference
            tokens.next()
        return Maintain(name=name)

    return reader


_READERS: Final[Mapping[str, Callable[[Tokens], Statement]]] = {
    "COMMENT": _comment,
    "BEGIN": _begin,
    "START": _start,
    "COMMIT": _commit,
    "END": _commit,
    "ROLLBACK": _rollback,
    "ABORT": _rollback,
    "SAVEPOINT": _savepoint,
    "RELEASE": _release,
    "SET": _set,
    "SHOW": _show,
    "RESET": _reset,
    "DISCARD": _discard,
    "PREPARE": _prepare,
    "EXECUTE": _execute,
    "DEALLOCATE": _deallocate,
    "EXPLAIN": _explain,
    "REFRESH": _refresh,
    "VERIFY": _verify,
    "VACUUM": _maintain("VACUUM"),
    "ANALYZE": _maintain("ANALYZE"),
    "ANALYSE": _maintain("ANALYZE"),
    "CHECKPOINT": _maintain("CHECKPOINT"),
}
