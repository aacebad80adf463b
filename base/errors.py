"""The exception tree, grouped by what the caller must do next.

    WeftError
    ├── Conflict        retry the transaction: another one committed first
    ├── Invalid         fix the request: syntax, names, types, constraints, duplicate primary keys
    ├── NotFound        the row or snapshot that was asked for does not exist
    ├── Denied          the principal may not do this
    ├── Unavailable     retry later: the engine cannot do this at the moment; also an unknown commit outcome
    ├── LimitExceeded   ask for less, or raise the limit that the message names
    ├── Corrupt         stop, and restore: stored bytes are not what was written
    ├── Closed          the object was closed; open a new one
    └── Internal        a bug of ours: report it

Each error carries a SQLSTATE (five characters); a subclass's default may be overridden where PostgreSQL has a finer
code that drivers and ORMs branch on. ``server.convert`` maps classes to gRPC codes; a test proves both maps total.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, Literal, TypeAlias

ConflictKind: TypeAlias = Literal["write", "read", "bound", "definition"]
"""What the other transaction has done: written a row that this one wrote, or one that it read (SERIALIZABLE), used up
the bound of an ``add``, changed the definition of a table."""


class WeftError(Exception):
    """Base of all errors that WeftDB raises on purpose.

    ``hint`` says what to do, where the message alone does not. ``position`` is the 1-based character offset into the
    SQL text where there is one.
    """

    default_sqlstate: ClassVar[str] = "XX000"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        sqlstate: str | None = None,
        position: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.sqlstate = sqlstate or self.default_sqlstate
        self.position = position

    def __str__(self) -> str:
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message


class Conflict(WeftError):
    """Another transaction committed a change that this one cannot follow. Retry the transaction.

    With the SQLSTATE 23514 it is a bound of ``Table.add`` that others have used up: a retry helps when the row has
    changed again.

    ``kind`` says what met what. ``table`` and ``key`` name one row that is concerned, of perhaps many: Python values in
    primary-key order. ``key`` is None where it is no single row, or one without a primary key; ``table`` where it is no
    single table. Of a bound there are also the ``column``, its ``bound``, and the ``value`` that it would have.
    """

    default_sqlstate = "40001"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        sqlstate: str | None = None,
        position: int | None = None,
        kind: ConflictKind = "write",
        table: str | None = None,
        key: tuple[object, ...] | None = None,
        column: str | None = None,
        bound: object = None,
        value: object = None,
    ) -> None:
        super().__init__(message, hint=hint, sqlstate=sqlstate, position=position)
        self.kind: ConflictKind = kind
        self.table = table
        self.key = key
        self.column = column
        self.bound = bound
        self.value = value


class Invalid(WeftError):
    """The request is wrong as it stands. Fix it; a retry gives the same answer."""

    default_sqlstate = "22000"


class NotFound(WeftError):
    """The row, snapshot or object asked for does not exist."""

    default_sqlstate = "02000"


class Denied(WeftError):
    """The principal lacks the right for this."""

    default_sqlstate = "42501"


class Unavailable(WeftError):
    """Not possible now. Retry later."""

    default_sqlstate = "57P03"


class LimitExceeded(WeftError):
    """A limit named in the message was hit."""

    default_sqlstate = "54000"


class Corrupt(WeftError):
    """Stored bytes are damaged. Stop, and restore from a backup."""

    default_sqlstate = "XX001"


class Closed(WeftError):
    """The database, session, transaction or writer was closed."""

    default_sqlstate = "08003"


class Internal(WeftError):
    """A bug in WeftDB."""

    default_sqlstate = "XX000"


ERRORS: tuple[type[WeftError], ...] = (
    Conflict,
    Invalid,
    NotFound,
    Denied,
    Unavailable,
    LimitExceeded,
    Corrupt,
    Closed,
    Internal,
)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return a hint ``Did you mean "x"?`` for the candidate closest to ``name``, or None if none is close."""
    folded = {candidate.lower(): candidate for candidate in candidates}  # "DAILY" is close to "daily"
    matches = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return f'Did you mean "{folded[matches[0]]}"?' if matches else None
