"""What stands in COPY's WITH: PostgreSQL's options, and the formats that it lacks.

    FORMAT              text, csv (PostgreSQL's), parquet, arrow, json (an object a line); from the file's extension,
                        where it is one of the last three; else text
    HEADER              csv and text: names in the first line; MATCH: they must be the columns
    DELIMITER, NULL     csv and text
    QUOTE, ESCAPE, FORCE_QUOTE, FORCE_NOT_NULL, FORCE_NULL     csv
    ENCODING            UTF8

A file that is called .csv is not read or written as text in silence: the statement has to say which it is.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from ...base.errors import Invalid, nearest


class CopyFormat(enum.Enum):
    TEXT = "text"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    JSON = "json"

    @property
    def has_names(self) -> bool:
        """Whether the file itself says which column is which."""
        return self.is_columnar or self is CopyFormat.JSON

    @property
    def is_columnar(self) -> bool:
        """Whether Arrow reads and writes it as a whole."""
        return self in (CopyFormat.PARQUET, CopyFormat.ARROW)


class Header(enum.Enum):
    NONE = "none"
    SKIP = "skip"
    MATCH = "match"


Names = tuple[str, ...] | None
"""Columns by name; None for ``*``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """Checked options of one COPY. ``guessed``: neither FORMAT nor the file's name says that it is text."""

    guessed: bool = False
    format: CopyFormat = CopyFormat.TEXT
    header: Header = Header.NONE
    delimiter: str = "\t"
    null: str = "\\N"
    quote: str = '"'
    escape: str = '"'
    force_quote: Names = ()
    force_not_null: Names = ()
    force_null: Names = ()


Given = Mapping[str, str | tuple[str, ...] | None]
"""Options as written, names in lower case; None without a value, ("*",) for all columns."""

EXTENSIONS: Final[Mapping[str, CopyFormat]] = {
    ".parquet": CopyFormat.PARQUET,
    ".pq": CopyFormat.PARQUET,
    ".arrow": CopyFormat.ARROW,
    ".arrows": CopyFormat.ARROW,
    ".feather": CopyFormat.ARROW,
    ".ipc": CopyFormat.ARROW,
    ".jsonl": CopyFormat.JSON,
    ".ndjson": CopyFormat.JSON,
}

_OF_TEXT: Final = ("header", "delimiter", "null")
_OF_CSV: Final = ("quote", "escape", "force_quote", "force_not_null", "force_null")
_KNOWN: Final = ("format", "encoding", "freeze", *_OF_TEXT, *_OF_CSV)
_FORMATS: Final = {**{format.value: format for format in CopyFormat}, "jsonl": CopyFormat.JSON}


def copy_options(given: Given, *, path: str | None, writes: bool) -> CopyOptions:
    """Check options as they were written. ``writes``: COPY TO. Raises Invalid."""
    for name in given:
        if name not in _KNOWN:
            raise Invalid(
                f'option "{name}" not recognized',
                hint=nearest(name, _KNOWN) or f"The options are {', '.join(_KNOWN)}.",
                sqlstate="42601",
            )
    format = _format(given, path)
    for name in given:
        if name in _OF_TEXT and format not in (CopyFormat.TEXT, CopyFormat.CSV):
            raise _wrong(f"COPY {name.upper()} goes with the formats text and csv, not with {format.value}")
        if name in _OF_CSV and format is not CopyFormat.CSV:
            raise _wrong(f"COPY {name.replace('_', ' ')} available only in CSV mode", "Write (FORMAT csv, …).")
    if _flag(given, "freeze"):
        raise _wrong("COPY FREEZE is not supported", "Leave it out: rows need no freezing.")
    encoding = _text(given, "encoding", "utf8")
    if encoding.lower().replace("-", "").replace("_", "") not in ("utf8", "unicode", "sqlascii"):
        raise _wrong(f'COPY ENCODING "{encoding}" is not supported', "Files are UTF-8: convert it with iconv.")
    csv = format is CopyFormat.CSV
    quote = _character(given, "quote", '"')
    options = CopyOptions(
        guessed="format" not in given and format is CopyFormat.TEXT and _extension(path) not in _TEXTS,
        format=format,
        header=_header(given, writes=writes),
        delimiter=_character(given, "delimiter", "," if csv else "\t"),
        null=_text(given, "null", "" if csv else "\\N"),
        quote=quote,
        escape=_character(given, "escape", quote),
        force_quote=_columns(given, "force_quote", allowed=writes, star=True),
        force_not_null=_columns(given, "force_not_null", allowed=not writes, star=False),
        force_null=_columns(given, "force_null", allowed=not writes, star=False),
    )
    _check(options)
    return options


def _format(given: Given, path: str | None) -> CopyFormat:
    extension = _extension(path)
    if "format" in given:
        name = _text(given, "format", "")
        if name.lower() not in _FORMATS:
            hint = nearest(name.lower(), _FORMATS) or f"The formats are {', '.join(_FORMATS)}."
            raise Invalid(f'COPY format "{name}" not recognized', hint=hint, sqlstate="22023")
        return _FORMATS[name.lower()]
    if extension in (".csv", ".tsv", ".json"):
        raise Invalid(
            f"COPY without a FORMAT means PostgreSQL's text format, and the file is called {extension}",
            hint=f"Write WITH (FORMAT {'json' if extension == '.json' else 'csv'}), or (FORMAT text).",
            sqlstate="22023",
        )
    return EXTENSIONS.get(extension, CopyFormat.TEXT)


def _extension(path: str | None) -> str:
    """What the file is called by, a compression aside."""
    file = PurePath(path or "")
    return (file.with_suffix("") if file.suffix.lower() in COMPRESSIONS else file).suffix.lower()


_TEXTS: Final = ("", ".txt", ".text", ".dat", ".copy")
COMPRESSIONS: Final = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


def _check(options: CopyOptions) -> None:
    """PostgreSQL's own checks of what cannot be told apart."""
    csv = options.format is CopyFormat.CSV
    if "\n" in options.null or "\r" in options.null:
        raise _wrong("COPY null representation cannot use newline or carriage return")
    if options.delimiter in "\r\n":
        raise _wrong("COPY delimiter cannot be newline or carriage return")
    if not csv and options.delimiter in "\\.abcdefghijklmnopqrstuvwxyz0123456789":
        raise _wrong(f'COPY delimiter cannot be "{options.delimiter}"')
    if options.delimiter in options.null:
        raise _wrong("COPY delimiter must not appear in the NULL specification")
    if csv and options.quote == options.delimiter:
        raise _wrong("COPY delimiter and quote must be different")
    if csv and options.quote in options.null:
        raise _wrong("CSV quote character must not appear in the NULL specification")


def _header(given: Given, *, writes: bool) -> Header:
    value = given.get("header")
    if isinstance(value, str) and value.lower() == "match":
        if writes:
            raise _wrong('cannot use "match" with HEADER in COPY TO', "Write HEADER.")
        return Header.MATCH
    return Header.SKIP if _flag(given, "header") else Header.NONE


def _flag(given: Given, name: str) -> bool:
    if name not in given:
        return False
    value = given[name]
    word = "true" if value is None else str(value).lower()
    if word not in ("true", "false", "on", "off", "1", "0"):
        raise _wrong(f"{name} requires a Boolean value" + (' or "match"' if name == "header" else ""))
    return word in ("true", "on", "1")


def _text(given: Given, name: str, default: str) -> str:
    if name not in given:
        return default
    value = given[name]
    if not isinstance(value, str):
        raise _wrong(f"{name} requires a parameter")
    return value


def _character(given: Given, name: str, default: str) -> str:
    value = _text(given, name, default)
    if len(value.encode()) != 1:
        raise _wrong(f"COPY {name} must be a single one-byte character", "A tab is E'\\t'.")
    return value


def _columns(given: Given, name: str, *, allowed: bool, star: bool) -> Names:
    if name not in given:
        return ()
    if not allowed:
        where = "COPY TO" if star else "COPY FROM"
        raise _wrong(f"COPY {name.replace('_', ' ')} only available using {where}")
    value = given[name]
    if not isinstance(value, tuple) or (value == ("*",) and not star):
        raise _wrong(f"argument to option {name} must be a list of column names", f"Write {name} (a, b).")
    return None if value == ("*",) else value


def _wrong(message: str, hint: str | None = None) -> Invalid:
    return Invalid(message, hint=hint, sqlstate="0A000")
