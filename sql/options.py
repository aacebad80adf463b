"""WITH (key, time, every, keep, keep_by, late, shards): how a table is woven by key and event time.

    CREATE TABLE events (…, PRIMARY KEY (device, at, seq)) WITH (key = 'device', time = 'at', every = '7 days')
    ALTER TABLE events SET (keep = '2 years', late = 'ignore'), RESET (keep_by)

``cut_options`` takes the clauses out of the statement before sqlglot sees it (there, KEEP and TIME are keywords), and
leaves blanks so that positions in error messages stay right; ``SET (0)`` in an ALTER stands for its first clause.
``layout_of`` checks the values of a CREATE against the columns, ``with_options`` those of an ALTER against the table:

- ``key``      columns of the first dimension, by which rows go to shards; the primary key without ``time`` unless told
- ``time``     the event time: a DATE, TIMESTAMP or TIMESTAMPTZ column; without it the table is one slice
- ``every``    the length of a slice, a fixed one (no months); EVERY_DEFAULT unless told
- ``keep``     how much event time is kept; a year counts 365.25 days and a month 30, as PostgreSQL's epoch of intervals
- ``keep_by``  ``event`` (back from the newest event time) or ``wall`` (back from the wall clock)
- ``late``     what becomes of rows that come when their slice is not kept any more: ``refuse`` or ``ignore``
- ``shards``   parts of the key dimension, 1 unless told

The primary key begins with ``key`` and contains ``time``; else the table is refused with the clause as it should be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..base.errors import Invalid, nearest
from ..base.limits import SHARDS_MAX
from ..base.rows import literal_value
from ..base.types import INTERVAL, Kind
from ..engine.schema import Column, Table
from .lexer import Token, Tokens

EVERY_DEFAULT: Final = "7 days"

OPTIONS: Final = ("key", "time", "every", "keep", "keep_by", "late", "shards")

VIEW_OPTIONS: Final = ("retain",)
"""Of materialized views, see views.py."""

OF_EVENT_TIME: Final = ("every", "keep", "keep_by", "late")
"""Options that say nothing where there is no event time."""

CHANGEABLE: Final = ("keep", "keep_by", "late")
"""Options that ALTER TABLE may change: the others say in which cell a row lies."""

Clause = Mapping[str, str | None]
"""The options of one clause by name; None stands for RESET."""

_DAY: Final = 86_400_000_000
_TIME_KINDS: Final = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The checked options; columns by name, ``every`` and ``keep`` in microseconds."""

    key: tuple[str, ...]
    time: str | None
    every: int | None
    keep: int | None
    keep_by: str
    late: str
    shards: int


def cut_options(text: str, *words: str, known: Sequence[str] = OPTIONS) -> tuple[str, list[Clause]]:
    """The statement without its option clauses, and these, in order: what follows one of ``words`` in parentheses.

    ``WITH`` leaves blanks in the place of its clause; ``SET`` and ``RESET`` leave ``SET (n)``, which stands for clause
    number n. Only a clause outside of all parentheses counts, so queries of CREATE TABLE … AS keep theirs (``WITH x AS
    (…)`` has no parenthesis after WITH). Raises Invalid (42601) for what is not ``name = value, …``, 22023 for names
    that are not ``known``.
    """
    tokens = Tokens(text)
    clauses: list[Clause] = []
    depth = 0
    while (token := tokens.peek()) is not None:
        tokens.next()
        if token.sort == "sign":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        elif depth == 0 and token.upper in words and _begins_clause(tokens, token, known):
            clauses.append(_clause(tokens, known, reset=token.upper == "RESET"))
            text = _without(text, token.start, tokens.at, stands_for=_PLACE[token.upper].format(len(clauses) - 1))
    return text, clauses


def _begins_clause(tokens: Tokens, word: Token, known: Sequence[str]) -> bool:
    """Take the parenthesis that opens a clause. Raises Invalid where an option stands there without it."""
    bare = _BARE.match(tokens.text, word.end)
    if bare is not None and bare[1].lower() in known:
        raise Invalid(
            f'syntax error at or near "{bare[1]}"',
            hint=f"Options stand in parentheses: {word.upper} ({bare[1].lower()} = …).",
            sqlstate="42601",
            position=bare.start(1),
        )
    return tokens.take("(")


_BARE: Final = re.compile(r"\s+(\w+)\s*=")
_PLACE: Final = {"WITH": "", "SET": "SET ({})", "RESET": "SET ({})"}


def _without(text: str, start: int, stop: int, *, stands_for: str) -> str:
    blanks = "".join(char if char == "\n" else " " for char in text[start + len(stands_for) : stop])
    return text[:start] + stands_for + blanks + text[stop:]


def _clause(tokens: Tokens, known: Sequence[str], *, reset: bool) -> Clause:
    """``name = value, …)``, or ``name, …)`` of a RESET; the parenthesis that opens is taken."""
    options: dict[str, str | None] = {}
    kind = "table" if known is OPTIONS else "view"
    while True:
        name = tokens.name()
        if name not in known:
            hint = nearest(name, known) or f"The options are {', '.join(known)}."
            raise Invalid(f'{kind} option "{name}" does not exist', hint=hint, sqlstate="22023")
        if name in options:
            raise Invalid(f'{kind} option "{name}" is given twice', sqlstate="22023")
        options[name] = None if reset else _value(tokens, name)
        if tokens.take(")"):
            return options
        tokens.expect(",")


def _value(tokens: Tokens, name: str) -> str:
    """What stands after the name. ``keep = 30 days`` is told apart from other errors: the quotes are missing."""
    if not tokens.take("="):
        token = tokens.peek()
        if token is not None and token.text in (",", ")"):
            raise Invalid(
                f'table option "{name}" has no value',
                hint=f"Write {name} = '…'.",
                sqlstate="42601",
                position=token.start,
            )
        tokens.fail()
    first = tokens.peek()
    value = tokens.value()
    following: list[Token] = []
    while (token := tokens.peek()) is not None and token.sort in ("word", "number", "string"):
        following.append(tokens.next())
    if not following:
        return value
    assert first is not None, "a value was taken"
    written = tokens.text[first.start : following[-1].end].replace("'", "")
    raise Invalid(
        f'syntax error at or near "{following[0].text}"',
        hint=f"Write {name} = '{written}'.",
        sqlstate="42601",
        position=following[0].start,
    )


def layout_of(
    options: Mapping[str, str], *, table: str, columns: Sequence[Column], primary_key: Sequence[str]
) -> Layout:
    """Check the options of one CREATE TABLE. ``columns`` with types, ``primary_key`` as declared (may be empty)."""
    by_name = {column.name: column for column in columns}
    time = _time(options, table=table, by_name=by_name)
    if "key" in options:
        key = tuple(_column_name(part, table=table, by_name=by_name) for part in options["key"].split(","))
        if len(set(key)) < len(key):
            raise _wrong("key", options["key"], "Name each column once.")
    else:
        key = tuple(name for name in primary_key if name != time)
    if time in key:
        raise _wrong("key", options["key"], f'"{time}" is the event time; leave it out of the key.')
    if primary_key:
        _check_primary_key(table, primary_key=tuple(primary_key), key=key, time=time)
    for name in OF_EVENT_TIME:
        if time is None and name in options:
            raise _wrong(name, options[name], "It needs time = 'the column with the event time'.")
    return Layout(
        key=key,
        time=time,
        every=None if time is None else _every(options.get("every", EVERY_DEFAULT), by_name[time]),
        keep=None if "keep" not in options else _keep(options["keep"]),
        keep_by=_one_of("keep_by", options.get("keep_by", "event")),
        late=_one_of("late", options.get("late", "refuse")),
        shards=_shards(options.get("shards", "1"), key=key),
    )


def with_options(table: Table, clause: Clause) -> Table:
    """The table with options changed by SET, or taken back by RESET. Rows stay where they are: no new schema version.

    Raises Invalid for an option that says where rows lie (0A000), and for values that CREATE TABLE would refuse.
    """
    for name, value in clause.items():
        if name not in CHANGEABLE:
            raise Invalid(
                f'table option "{name}" of a table that exists cannot be changed: it says where rows lie',
                hint=f"Create a table WITH ({name} = …), and copy with INSERT … SELECT. "
                f"ALTER TABLE changes {', '.join(CHANGEABLE)}.",
                sqlstate="0A000",
            )
        if table.time is None:
            raise _wrong(name, value or "", f'Table "{table.name}" has no event time (time = …).')
        match name:
            case "keep":
                table = replace(table, keep=None if value is None else _keep(value))
            case "keep_by":
                table = replace(table, keep_by=_one_of("keep_by", value or "event"))
            case _:
                table = replace(table, late=_one_of("late", value or "refuse"))
    given = {**dict(table.options_text), **clause}
    return replace(table, options_text=tuple((name, value) for name, value in given.items() if value is not None))


def _wrong(name: str, value: str, hint: str) -> Invalid:
    return Invalid(f"table option {name} = '{value}' cannot be", hint=hint, sqlstate="22023")


def _column_name(text: str, *, table: str, by_name: Mapping[str, Column]) -> str:
    """A column named in an option: folded unless it exists as written or is quoted."""
    name = text.strip()
    for candidate in (name.strip('"'), name.lower()):
        if candidate in by_name:
            return candidate
    raise Invalid(
        f'column "{name}" named in WITH does not exist in table "{table}"',
        hint=nearest(name, by_name),
        sqlstate="42703",
    )


def _time(options: Mapping[str, str], *, table: str, by_name: Mapping[str, Column]) -> str | None:
    if "time" not in options:
        return None
    name = _column_name(options["time"], table=table, by_name=by_name)
    if by_name[name].type.kind not in _TIME_KINDS:
        raise _wrong("time", name, f"It is of type {by_name[name].type}; take a DATE, TIMESTAMP or TIMESTAMPTZ column.")
    return name


def _check_primary_key(table: str, *, primary_key: tuple[str, ...], key: tuple[str, ...], time: str | None) -> None:
    begins = primary_key[: len(key)] == key
    contains = time is None or time in primary_key
    if begins and contains:
        return
    rest = (*(() if time is None else (time,)), *(name for name in primary_key if name not in key and name != time))
    why = f"begin with the key ({', '.join(key)})" if not begins else f'contain the event time "{time}"'
    raise Invalid(
        f'the primary key of table "{table}" must {why}',
        hint=f"Write PRIMARY KEY ({', '.join((*key, *rest))}).",
        sqlstate="42P16",
    )


def _interval(name: str, text: str) -> tuple[int, int]:
    """(months, microseconds) of an interval text. A bare number would be seconds, which nobody means here."""
    if text.strip().replace(".", "", 1).isdigit():
        raise _wrong(name, text, f"Write its unit: {name} = '{text.strip()} days'.")
    try:
        value: Any = literal_value(text, INTERVAL)
    except Invalid as error:
        raise _wrong(name, text, f"Write an interval, such as {name} = '7 days'.{_LEFT_OUT[name]}") from error
    return value.months, value.days * _DAY + value.nanoseconds // 1000


_LEFT_OUT: Final = {"every": "", "keep": " A table without keep keeps everything."}


def _every(text: str, time: Column) -> int:
    months, micros = _interval("every", text)
    if months:
        raise _wrong("every", text, "Slices have a fixed length, months have not: use days, such as '28 days'.")
    if micros < 1_000_000:
        raise _wrong("every", text, "The shortest slice is one second.")
    if time.type.kind is Kind.DATE and micros % _DAY:
        raise _wrong("every", text, f'"{time.name}" is a DATE: use whole days.')
    return micros


def _keep(text: str) -> int:
    months, micros = _interval("keep", text)
    total = (months // 12) * (_DAY * 1461 // 4) + (months % 12) * 30 * _DAY + micros
    if total <= 0:
        raise _wrong("keep", text, "It must be longer than nothing.")
    return total


_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "keep_by": {"event": "the newest event time", "wall": "the wall clock"},
    "late": {"refuse": "late rows are errors", "ignore": "late rows are left out, and counted"},
}


def _one_of(name: str, text: str) -> str:
    """One of the words that an option takes."""
    words = _WORDS[name]
    if text.lower() not in words:
        choices = " or ".join(f"'{word}' ({meaning})" for word, meaning in words.items())
        raise _wrong(name, text, f"Use {choices}.")
    return text.lower()


def _shards(text: str, *, key: tuple[str, ...]) -> int:
    shards = int(text) if text.isdigit() else 0
    if not 1 <= shards <= SHARDS_MAX:
        raise _wrong("shards", text, f"Use a whole number from 1 to {SHARDS_MAX}.")
    if shards > 1 and not key:
        raise _wrong("shards", text, "Rows are spread by key: give key = 'columns', or a primary key.")
    return shards
