"""WITH (key, time, every, keep, keep_by, shards): how a table is woven by key and event time.

    CREATE TABLE events (…, PRIMARY KEY (device, at, seq)) WITH (key = 'device', time = 'at', every = '7 days')

``cut_options`` takes the clause out of the statement before sqlglot sees it (there, KEEP and TIME are keywords), and
leaves blanks so that positions in error messages stay right. ``layout_of`` checks the values against the columns:

- ``key``      columns of the first dimension, by which rows go to shards; the primary key without ``time`` unless told
- ``time``     the event time: a DATE, TIMESTAMP or TIMESTAMPTZ column; without it the table is one slice
- ``every``    the length of a slice, a fixed one (no months); EVERY_DEFAULT unless told
- ``keep``     how much event time is kept; a year counts 365.25 days and a month 30, as PostgreSQL's epoch of intervals
- ``keep_by``  ``event`` (back from the newest event time) or ``wall`` (back from the wall clock)
- ``shards``   parts of the key dimension, 1 unless told

The primary key begins with ``key`` and contains ``time``; else the table is refused with the clause as it should be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..base.errors import Invalid, nearest
from ..base.limits import SHARDS_MAX
from ..base.rows import literal_value
from ..base.types import INTERVAL, Kind
from ..engine.schema import Column
from .lexer import Tokens

EVERY_DEFAULT: Final = "7 days"

OPTIONS: Final = ("key", "time", "every", "keep", "keep_by", "shards")

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
    shards: int


def cut_options(text: str) -> tuple[str, dict[str, str]]:
    """The statement with blanks in place of its WITH (…) clause, and the options by name, in order.

    Only a clause outside of all parentheses counts, so queries of CREATE TABLE … AS keep theirs (``WITH x AS (…)``
    has no parenthesis after WITH). Raises Invalid (42601) for what is not ``name = value, …``.
    """
    tokens = Tokens(text)
    depth = 0
    while (token := tokens.peek()) is not None:
        tokens.next()
        if token.sort == "sign":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        elif depth == 0 and token.upper == "WITH" and tokens.take("("):
            options, end = _options(tokens)
            blank = "".join(char if char == "\n" else " " for char in text[token.start : end])
            return text[: token.start] + blank + text[end:], options
    return text, {}


def _options(tokens: Tokens) -> tuple[dict[str, str], int]:
    options: dict[str, str] = {}
    while True:
        name = tokens.name()
        if name not in OPTIONS:
            hint = nearest(name, OPTIONS) or f"The options are {', '.join(OPTIONS)}."
            raise Invalid(f'table option "{name}" does not exist', hint=hint, sqlstate="22023")
        if name in options:
            raise Invalid(f'table option "{name}" is given twice', sqlstate="22023")
        tokens.expect("=")
        options[name] = tokens.value()
        if tokens.take(")"):
            return options, tokens.at
        tokens.expect(",")


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
    for name in ("every", "keep", "keep_by"):
        if time is None and name in options:
            raise _wrong(name, options[name], "It needs time = 'the column with the event time'.")
    return Layout(
        key=key,
        time=time,
        every=None if time is None else _every(options.get("every", EVERY_DEFAULT), by_name[time]),
        keep=None if "keep" not in options else _keep(options["keep"]),
        keep_by=_keep_by(options.get("keep_by", "event")),
        shards=_shards(options.get("shards", "1"), key=key),
    )


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
    """(months, microseconds) of an interval text."""
    try:
        value: Any = literal_value(text, INTERVAL)
    except Invalid as error:
        raise _wrong(name, text, "Write an interval, such as '7 days'.") from error
    return value.months, value.days * _DAY + value.nanoseconds // 1000


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


def _keep_by(text: str) -> str:
    if text.lower() not in ("event", "wall"):
        raise _wrong("keep_by", text, "Use 'event' (the newest event time) or 'wall' (the wall clock).")
    return text.lower()


def _shards(text: str, *, key: tuple[str, ...]) -> int:
    shards = int(text) if text.isdigit() else 0
    if not 1 <= shards <= SHARDS_MAX:
        raise _wrong("shards", text, f"Use a whole number from 1 to {SHARDS_MAX}.")
    if shards > 1 and not key:
        raise _wrong("shards", text, "Rows are spread by key: give key = 'columns', or a primary key.")
    return shards
