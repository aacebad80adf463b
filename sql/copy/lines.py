"""PostgreSQL's text and CSV formats, read exactly, a value at a time.

This is how the formats are defined; ``decode`` has the quick way for blocks of the usual kind, and comes here for all
others and to name what is wrong. A block begins at a row and holds whole rows (``record_end``).

    text   \\N is NULL before escapes are looked at; these are \\b \\f \\n \\r \\t \\v \\digits \\xdigits
    csv    a quote may begin and end anywhere in a value; only a value without quotes can be NULL; a row ends at a line
           end outside of quotes
    both   a line of \\. alone ends the data
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ...base.errors import Invalid
from .options import CopyFormat, CopyOptions

Row = list[str | None]

END_OF_DATA: Final = re.compile(rb"^\\\.\r?$", re.MULTILINE)

_BACKSLASH: Final = ord("\\")
_CORRUPT_MARK: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\\.")
_ESCAPE: Final = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.)|\Z)", re.DOTALL)
_ESCAPES: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def record_end(data: bytes, options: CopyOptions) -> int:
    """The place after the last row that ends in ``data``, which begins at a row; 0 if none does."""
    end = len(data)
    if options.format is CopyFormat.TEXT:
        while (end := data.rfind(b"\n", 0, end)) >= 0:
            first = end
            while first and data[first - 1] == _BACKSLASH:
                first -= 1
            if not (end - first) % 2:
                return end + 1
        return 0
    quote = options.quote.encode()
    if options.escape != options.quote:
        return _escaped_record_end(data, options)
    open_quotes = data.count(quote) % 2
    while True:
        at = data.rfind(b"\n", 0, end)
        if at < 0:
            return 0
        open_quotes ^= data.count(quote, at, end) % 2
        if not open_quotes:
            return at + 1
        end = at


def _escaped_record_end(data: bytes, options: CopyOptions) -> int:
    """The same where the escape is another character: only from the left is it known what a quote means."""
    quote, escape = re.escape(options.quote.encode()), re.escape(options.escape.encode())
    last = 0
    inside = False
    for token in re.finditer(rb"%b[%b%b]|%b|\n" % (escape, escape, quote, quote), data, re.DOTALL):
        if token[0] == b"\n":
            last = last if inside else token.end()
        elif len(token[0]) == 1:
            inside = not inside
        elif not inside and token[0][1:] == options.quote.encode():
            inside = True
    return last


def rows_of(data: bytes, options: CopyOptions, *, names: Sequence[str], first: int) -> Iterator[Row]:
    """The rows of a block; ``first`` rows come before it. A row without values is the end of the data.

    Raises Invalid (22P04) with the row's number.
    """
    csv = options.format is CopyFormat.CSV
    rows = _csv_rows(data, options, names, first) if csv else _text_rows(data, options, first)
    for number, row in enumerate(rows, first + 1):
        if row and len(row) < len(names):
            raise bad_file(f'missing data for column "{names[len(row)]}"', row=number)
        if len(row) > len(names):
            raise bad_file("extra data after last expected column", row=number)
        yield row


def first_row(data: bytes, options: CopyOptions) -> Row:
    """The values of the first row of a block, however many: the header."""
    rows = _text_rows(data, options, 0) if options.format is CopyFormat.TEXT else _csv_rows(data, options, (), 0)
    return next(rows, [])


def bad_file(message: str, *, row: int, hint: str | None = None) -> Invalid:
    return Invalid(f"row {row:,}: {message}", hint=hint, sqlstate="22P04")


def _encoding(value: bytes) -> str:
    """What a text may be that is not UTF-8, for a hint."""
    return "UTF-16" if value.startswith((b"\xff\xfe", b"\xfe\xff")) else "LATIN1"


def decoded(value: bytes, *, row: int) -> str:
    """A value's text. Raises Invalid (22021) for what is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Invalid(
            f'row {row:,}: invalid byte sequence for encoding "UTF8": 0x{value[error.start]:02x}',
            hint=f"Convert the file: iconv -f {_encoding(value)} -t UTF-8.",
            sqlstate="22021",
        ) from None


def _text_rows(data: bytes, options: CopyOptions, first: int) -> Iterator[Row]:
    null, delimiter = options.null.encode(), re.escape(options.delimiter.encode())
    field = re.compile(rb"((?:[^\\\n%b]|\\.|\\\Z)*)(%b|\r?\n|\Z)" % (delimiter, delimiter), re.DOTALL)
    at, number = 0, first + 1
    values: Row = []
    while at < len(data):
        match = field.match(data, at)
        assert match is not None, "a field may be empty"
        at = match.end()
        raw, end = match[1], match[2]
        if end == b"\n" and raw.endswith(b"\r") and not raw.endswith(b"\\\r"):
            raw = raw[:-1]
        if raw == b"\\." and not values and end != options.delimiter.encode():
            yield []
            return
        if _CORRUPT_MARK.search(raw):
            raise bad_file("end-of-copy marker corrupt", row=number, hint="A backslash before a point is written \\\\.")
        if b"\r" in raw.replace(b"\\\r", b""):
            hint = 'Use "\\r" to represent a carriage return.'
            raise bad_file("literal carriage return found in data", row=number, hint=hint)
        values.append(None if raw == null else decoded(unescaped(raw), row=number))
        if end != options.delimiter.encode():
            yield values
            values, number = [], number + 1
    if values:
        values.append(None if not null else "")
        yield values


def unescaped(raw: bytes) -> bytes:
    """A value of the text format without its escapes."""
    return _ESCAPE.sub(_escape, raw) if b"\\" in raw else raw


def _escape(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes([int(match[1], 8) & 255])
    if match[2]:
        return bytes([int(match[2], 16)])
    return _ESCAPES.get(match[3], match[3]) if match[3] else b""


def _csv_rows(data: bytes, options: CopyOptions, names: Sequence[str], first: int) -> Iterator[Row]:
    delimiter, quote, escape = options.delimiter.encode(), options.quote.encode(), options.escape.encode()
    null = options.null.encode()
    not_null = set(options.force_not_null or ())
    force_null = set(options.force_null or ())
    token = re.compile(rb"[^%b\r\n]+|\r\n|.|\n" % re.escape(delimiter + quote + escape), re.DOTALL)
    values: Row = []
    value = bytearray()
    was_quoted = inside = False
    number = first + 1

    def finished() -> str | None:
        name = names[len(values)] if len(values) < len(names) else ""
        found = bytes(value)
        is_null = found == null and ((not was_quoted and name not in not_null) or (was_quoted and name in force_null))
        return None if is_null else decoded(found, row=number)

    at = 0
    while at < len(data):
        match = token.match(data, at)
        assert match is not None, "the last alternatives take any byte"
        piece = match[0]
        at = match.end()
        if inside:
            if piece == escape and data[at : at + 1] in (escape, quote) and at < len(data):
                value += data[at : at + 1]
                at += 1
            elif piece == quote:
                inside = False
            else:
                value += piece
        elif piece == quote:
            inside = was_quoted = True
        elif piece == delimiter:
            values.append(finished())
            value, was_quoted = bytearray(), False
        elif piece in (b"\n", b"\r\n"):
            if not values and not was_quoted and bytes(value) == b"\\.":
                yield []
                return
            values.append(finished())
            yield values
            values, value, was_quoted, number = [], bytearray(), False, number + 1
        elif piece == b"\r":
            hint = "Use a quoted CSV field to represent a carriage return."
            raise bad_file("unquoted carriage return found in data", row=number, hint=hint)
        else:
            value += piece
    if inside:
        raise bad_file("unterminated CSV quoted field", row=number)
    if values or value or was_quoted:
        values.append(finished())
        yield values
