"""A session's settings: SET, SHOW and RESET, under PostgreSQL's names.

Three sorts. *Own*: they change what the session does (``timezone``, ``statement_timeout``, …). *Fixed*: PostgreSQL has
them, WeftDB works in one way only; setting them to that way is accepted, since drivers do so when they connect, and any
other value is refused by name. *Reported*: read-only facts that clients ask for.

SET is transactional: what a transaction set is undone when it rolls back, also to a savepoint; SET LOCAL lasts until
its end. ``mark``, ``commit`` and ``rollback`` are called by the session at the borders of a transaction, ``saved`` and
``restore`` at those of what is undone alone.

``values`` is what was SET and not RESET since. It is all that a later session needs to go on with these settings: a
client that wants SET to last gives it with its next call. It is never changed in place, so ``is`` shows a change.

Not here: limits of the engine (base/limits.py), options of the database (engine/options.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from ..base.errors import Invalid, nearest
from ..engine.changes import Isolation
from .bind.system import SERVER_VERSION
from .pipeline import TIERS

IDLE: Final = "idle_in_transaction_session_timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. ``check`` turns the text given into the text stored, or raises Invalid; None: read-only."""

    name: str
    default: str
    doc: str
    check: Callable[[str], str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The settings of one moment of a transaction."""

    values: Mapping[str, str]
    local: Mapping[str, str]


class Settings:
    """The values of one session. Names are folded to lower case, values are text."""

    def __init__(self, given: Mapping[str, str] | None = None, *, idle_seconds: float = 0) -> None:
        """``given`` are set. ``idle_seconds``: the default of idle_in_transaction_session_timeout."""
        self._idle_default = str(round(idle_seconds * 1000))
        self._values: Mapping[str, str] = {}
        self._local: Mapping[str, str] = {}
        self._before: Mapping[str, str] | None = None
        for name, value in (given or {}).items():
            self.set(name, value)

    @property
    def values(self) -> Mapping[str, str]:
        """What was set for the session, without what is LOCAL to the transaction."""
        return self._values

    def get(self, name: str) -> str:
        """The value in force. Raises Invalid (42704) for a name that does not exist."""
        setting = _setting(name)
        for values in (self._local, self._values):
            if setting.name in values:
                return values[setting.name]
        return self._default(setting)

    def set(self, name: str, value: str | None, *, local: bool = False) -> None:
        """Give a setting a value; None is DEFAULT. Raises Invalid for unknown names and values that cannot be."""
        setting = _setting(name)
        checked = self._default(setting) if value is None else _checked(name, value)
        if local:
            self._local = {**self._local, setting.name: checked}
        else:
            self.reset(name)
            if value is not None:
                self._values = {**self._values, setting.name: checked}

    def reset(self, name: str | None = None) -> None:
        """Back to the default: one setting, or all of them. Raises Invalid (42704) for a name that does not exist."""
        if name is None:
            self._values = self._local = {}
        else:
            folded = _setting(name).name
            self._values = {known: value for known, value in self._values.items() if known != folded}
            self._local = {known: value for known, value in self._local.items() if known != folded}

    def all(self) -> list[tuple[str, str, str]]:
        """(name, value, description) of every setting, by name: SHOW ALL."""
        return [(name, self.get(name), setting.doc) for name, setting in sorted(SETTINGS.items())]

    def mark(self) -> None:
        """A transaction begins."""
        self._before = self._values

    def saved(self) -> Saved:
        """What ``restore`` brings back."""
        return Saved(values=self._values, local=self._local)

    def restore(self, saved: Saved) -> None:
        """Everything as it was, inside of one transaction."""
        self._values, self._local = saved.values, saved.local

    def commit(self) -> None:
        """It ended well: what it set stays, what it set LOCAL goes."""
        self._before = None
        self._local = {}

    def rollback(self) -> None:
        """It ended badly: everything it set goes."""
        if self._before is not None:
            self._values = self._before
        self.commit()

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.get("timezone"))

    @property
    def match_views(self) -> bool:
        """Whether materialized views answer queries of their tables."""
        return self.get("weft.match_views") == "on"

    @property
    def statement_timeout_seconds(self) -> float | None:
        """None where there is no limit."""
        return int(self.get("statement_timeout")) / 1000 or None

    @property
    def idle_seconds(self) -> float | None:
        """For how long an open transaction may idle; None where there is no limit."""
        return int(self.get(IDLE)) / 1000 or None

    def _default(self, setting: Setting) -> str:
        return self._idle_default if setting.name == IDLE else setting.default


def _setting(name: str) -> Setting:
    found = SETTINGS.get(name.lower())
    if found is None:
        raise Invalid(
            f'unrecognized configuration parameter "{name}"',
            hint=nearest(name.lower(), SETTINGS) or "SHOW ALL lists the settings.",
            sqlstate="42704",
        )
    return found


def _checked(name: str, value: str) -> str:
    setting = _setting(name)
    if setting.check is None:
        raise Invalid(f'parameter "{setting.name}" cannot be changed', sqlstate="55P02")
    return setting.check(value)


def _refuse(name: str, value: str, hint: str) -> Invalid:
    return Invalid(f'invalid value for parameter "{name}": "{value}"', hint=hint, sqlstate="22023")


_ZONES_BY_LOWER: dict[str, str] = {}


def _zone(value: str) -> str:
    if not _ZONES_BY_LOWER:
        _ZONES_BY_LOWER.update({zone.lower(): zone for zone in available_timezones()})
    found = _ZONES_BY_LOWER.get(value.lower())
    if found is None:
        hint = nearest(value.lower(), _ZONES_BY_LOWER) or "Use a name such as UTC or Europe/Berlin."
        raise _refuse("timezone", value, hint)
    return found


_UNITS_MS: Final = {"": 1, "us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIMEOUT_MS_MAX: Final = 2**31 - 1


def _milliseconds(name: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", value)
        if match is None or match[2] not in _UNITS_MS:
            raise _refuse(name, value, "Use milliseconds, or a number with ms, s, min, h or d; 0 is no limit.")
        number = round(float(match[1]) * _UNITS_MS[match[2]])
        if number > _TIMEOUT_MS_MAX:
            raise _refuse(name, value, f"The largest value is {_TIMEOUT_MS_MAX} ms.")
        return str(number)

    return check


def _text(value: str) -> str:
    return value


def _only(name: str, *accepted: str) -> Callable[[str], str]:
    """A setting that has one way of working: the first of ``accepted``, by any of its spellings."""

    def check(value: str) -> str:
        if value.replace(" ", "").lower() not in {item.replace(" ", "").lower() for item in accepted}:
            raise Invalid(
                f'"{name}" = "{value}" is not supported',
                hint=f"WeftDB works with {accepted[0]} only.",
                sqlstate="0A000",
            )
        return accepted[0]

    return check


def _one_of(name: str, *accepted: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value.lower() not in accepted:
            raise _refuse(name, value, f"Use one of {', '.join(accepted)}.")
        return value.lower()

    return check


_TRUE: Final = ("on", "true", "yes", "1")
_FALSE: Final = ("off", "false", "no", "0")


def _switch(name: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value.lower() in _TRUE:
            return "on"
        if value.lower() in _FALSE:
            return "off"
        raise _refuse(name, value, "Use on or off.")

    return check


def _isolation(value: str) -> str:
    return isolation_name(value)


ISOLATION: Final[Mapping[str, Isolation]] = {
    "repeatable read": Isolation.SNAPSHOT,  # PostgreSQL's name for snapshot isolation
    "read committed": Isolation.READ_COMMITTED,
    "serializable": Isolation.SERIALIZABLE,
}
"""The isolation levels that there are, by the names that SHOW prints."""

_SYNONYMS: Final[Mapping[str, str]] = {"snapshot": "repeatable read", "read uncommitted": "read committed"}


@lru_cache(maxsize=32)
def isolation_name(value: str) -> str:
    """The level's name in ISOLATION. Raises Invalid (22023) for what is no level at all."""
    given = " ".join(value.lower().split())
    name = _SYNONYMS.get(given, given)
    if name in ISOLATION:
        return name
    raise Invalid(
        f'isolation level "{value}" does not exist',
        hint="Use snapshot (or its name REPEATABLE READ), SERIALIZABLE or READ COMMITTED.",
        sqlstate="22023",
    )


def _own(name: str, default: str, check: Callable[[str], str], doc: str) -> Setting:
    return Setting(name=name, default=default, check=check, doc=doc)


def _fixed(name: str, *accepted: str) -> Setting:
    return Setting(name=name, default=accepted[0], check=_only(name, *accepted), doc="accepted; has this value only")


def _reported(name: str, value: str) -> Setting:
    return Setting(name=name, default=value, check=None, doc="read-only")


_LEVELS: Final = (
    "debug5",
    "debug4",
    "debug3",
    "debug2",
    "debug1",
    "debug",
    "log",
    "notice",
    "info",
    "warning",
    "error",
)

_SETTINGS: Final = (
    _own("timezone", "UTC", _zone, "time zone of TIMESTAMPTZ in text and of date functions"),
    _own("statement_timeout", "0", _milliseconds("statement_timeout"), "milliseconds per statement; 0: no limit"),
    _own("application_name", "", _text, "name of the program, for lists of sessions"),
    _own("search_path", '"$user", public', _text, "accepted and kept; there is one schema, public"),
    _own("client_min_messages", "notice", _one_of("client_min_messages", *_LEVELS), "kept for the client"),
    _own("extra_float_digits", "1", _text, "accepted; floats are always printed so that they read back exactly"),
    _own("lock_timeout", "0", _milliseconds("lock_timeout"), "accepted; nothing waits for locks"),
    _own(IDLE, "0", _milliseconds(IDLE), "milliseconds an open transaction may idle; 0: no limit"),
    _own("default_transaction_isolation", "repeatable read", _isolation, "level that BEGIN takes"),
    _own(
        "weft.tier",
        "auto",
        _one_of("weft.tier", *TIERS),
        "who groups tables: auto, pipeline, relational",
    ),
    _own("weft.match_views", "on", _switch("weft.match_views"), "may materialized views answer for their tables?"),
    _own("default_transaction_read_only", "off", _switch("default_transaction_read_only"), "is BEGIN READ ONLY?"),
    _fixed("bytea_output", "hex"),
    _fixed("client_encoding", "UTF8", "utf-8", "unicode"),
    _fixed("datestyle", "ISO, MDY", "ISO", "ISO, DMY", "ISO, YMD"),
    _fixed("intervalstyle", "postgres"),
    _fixed("row_security", "on", *_TRUE),
    _fixed("standard_conforming_strings", "on", *_TRUE),
    _fixed("synchronize_seqscans", "on", *_TRUE, *_FALSE),
    _fixed("xmloption", "content"),
    _reported("integer_datetimes", "on"),
    _reported("max_identifier_length", "63"),
    _reported("server_encoding", "UTF8"),
    _reported("server_version", SERVER_VERSION),
    _reported("server_version_num", "150000"),
    _reported("transaction_isolation", "repeatable read"),
    _reported("transaction_read_only", "off"),
)

SETTINGS: Final[Mapping[str, Setting]] = {setting.name: setting for setting in _SETTINGS}
