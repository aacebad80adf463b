"""SQL text as the client sent it: statements, places, carets.

A script is cut into statements by one scanner that knows PostgreSQL's quoting and nothing else. The same scanner
rewrites the few spellings that the parser reads wrongly, and keeps a map of positions, so that every error still points
into the text that the client wrote:

    $1,$2            a dollar quote for the parser         →  $1 ,$2
    E'a\\tb'          escapes, decoded here exactly         →  'a	b'
    $tag$it's$tag$   a quoted string                       →  'it''s'
    /* a /* b */ */  comments nest                         →  blanks
    $1 = ''          at the end: the parser looks beyond   →  $1 = '' and a blank

Always true: the positions in ``Source.moved`` ascend; ``Source.position(i)`` of a place in the rewritten text is the
1-based place in the whole script.

Not done here: grammar. Unbalanced brackets and the like are the parser's to report.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ..base.errors import Invalid, LimitExceeded, WeftError
from ..base.limits import STATEMENT_BYTES_MAX
from ..base.text import text_width


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One statement of a script. ``offset`` is where it starts in ``script``, counted from 0, in characters.

    ``rewritten`` is what the parser is given; ``moved`` holds (place in ``rewritten``, place in ``text``) wherever the
    distance between the two changes.
    """

    text: str
    script: str
    offset: int
    rewritten: str
    moved: tuple[tuple[int, int], ...] = field(default=())

    def position(self, index: int) -> int:
        """The 1-based place in the script of the 0-based ``index`` into ``rewritten``."""
        at = bisect.bisect_right(self.moved, (index, len(self.text) + 1)) - 1
        base, original = self.moved[at] if at >= 0 else (0, 0)
        return self.offset + min(original + index - base, len(self.text)) + 1


def split(script: str) -> list[Source]:
    """The statements of ``script``, cut at semicolons; empty ones are left out.

    Raises Invalid (42601) for a quote or comment that does not end, LimitExceeded for a text that is too long.
    """
    if len(script) > STATEMENT_BYTES_MAX or len(script.encode(errors="replace")) > STATEMENT_BYTES_MAX:
        raise LimitExceeded(
            f"the SQL text has {len(script)} characters, the limit is {STATEMENT_BYTES_MAX} bytes",
            hint="Send rows with a writer or as parameters, not as literals.",
        )
    if "\0" in script:
        raise _error("a SQL text cannot contain a zero byte", script, script.index("\0"), sqlstate="22021")
    sources: list[Source] = []
    pieces: list[str] = []
    moved: list[tuple[int, int]] = []
    start = length = 0
    empty = True
    for kind, begin, end, replacement in _scan(script):
        if kind == ";":
            if not empty:
                sources.append(_source(script, start, begin, pieces, moved))
            pieces, moved, start, length, empty = [], [], end, 0, True
            continue
        empty = empty and kind == "blank"
        pieces.append(replacement)
        length += len(replacement)
        if len(replacement) != end - begin:
            moved.append((length, end - start))
    if not empty:
        sources.append(_source(script, start, len(script), pieces, moved))
    return sources


def first_words(source: Source | str, n: int = 2) -> tuple[str, ...]:
    """The first ``n`` words in upper case, comments left out; fewer where something else comes first."""
    text = source if isinstance(source, str) else source.rewritten
    words: list[str] = []
    at = 0
    while len(words) < n:
        match = _WORD.match(text, at)
        if match is None:
            break
        words.append(match[1].upper())
        at = match.end()
    return tuple(words)


def first_word(source: Source) -> tuple[str, int] | None:
    """The first word as it is written, and its place in the rewritten text; None where something else is first."""
    match = _WORD.match(source.rewritten)
    return None if match is None else (match[1], match.start(1))


@contextmanager
def pointing(source: Source) -> Generator[None]:
    """Give errors raised inside their line, column and caret, once: those that carry a ``position``, and those about a
    name that the statement has once."""
    try:
        yield
    except WeftError as error:
        if not getattr(error, "_pointed", False):
            place = _place_of_name(error, source) if error.position is None else error.position
            if place is not None:
                point(error, source, place)
        raise


_ABOUT_NAMES: Final = frozenset(
    ("42601", "42701", "42703", "42704", "42710", "42712", "42809", "42P01", "42P07", "42P10", "26000")
)


def _place_of_name(error: WeftError, source: Source) -> int | None:
    """Where the first name in quotes of the message stands, if it stands in the statement exactly once."""
    quoted = re.search(r'"([^"\n]+)"', error.message) if error.sqlstate in _ABOUT_NAMES else None
    if quoted is None:
        return None
    word = rf"(?<![\w'$]){re.escape(quoted[1])}(?![\w'])"
    places = [match.start() for match in re.finditer(word, source.rewritten, re.IGNORECASE)]
    if len(places) != 1:
        return None
    return places[0] - (source.rewritten[: places[0]].endswith('"'))


def point(error: WeftError, source: Source, index: int) -> None:
    """Let ``error`` point at the 0-based ``index`` into the rewritten text of ``source``."""
    error.position = source.position(index)
    error.message = f"{error.message}\n{caret(source.script, error.position)}"
    error.args = (error.message,)
    error._pointed = True  # pyright: ignore[reportAttributeAccessIssue]


def caret(script: str, position: int) -> str:
    """The line of the 1-based ``position`` and a caret below it, as psql prints them: ``LINE 2: SELECT x`` ..."""
    index = position - 1
    begin = script.rfind("\n", 0, index) + 1
    end = script.find("\n", index)
    line = script[begin : end if end >= 0 else len(script)].replace("\t", " ")
    column = index - begin
    shift = max(0, column - _LINE_WIDTH // 2) if len(line) > _LINE_WIDTH else 0
    shown = ("..." if shift else "") + line[shift : shift + _LINE_WIDTH].rstrip()
    head = f"LINE {script.count(chr(10), 0, index) + 1}, column {column + 1}: "
    return f"{head}{shown}\n{' ' * text_width(head + ('...' if shift else '') + line[shift:column])}^"


_LINE_WIDTH: Final = 100

_WORD: Final = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|\()*([A-Za-z_][A-Za-z_0-9]*)")

# Everything between the special starts is "text"; a name is taken whole, so that the $ in ``a$1`` starts nothing.
_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<line>--[^\n]*)
    | (?P<block>/\*)
    | (?P<escape>[eE]')
    | (?P<unicode>[uU]&['"])
    | (?P<bits>[bBxX]')
    | (?P<string>')
    | (?P<quoted>")
    | (?P<name>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<parameter>\$[0-9]+)
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<semicolon>;)
    | (?P<number>[0-9]+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_STRING_END: Final = re.compile(r"(?:[^']|'')*'")
_ESCAPE_END: Final = re.compile(r"(?:[^'\\]|''|\\.)*'", re.DOTALL)
_QUOTED_END: Final = re.compile(r'(?:[^"]|"")*"')
_COMMENT: Final = re.compile(r"/\*|\*/")


def _scan(script: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield (kind, begin, end, what the parser shall read); kind is ";", "blank" or "text"."""
    at = 0
    while at < len(script):
        match = _TOKEN.match(script, at)
        assert match is not None, "the last alternative takes any character"
        end = match.end()
        match match.lastgroup:
            case "space":
                yield "blank", at, end, match[0]
            case "line":
                yield "blank", at, end, " " * (end - at)
            case "block":
                end = _comment_end(script, at)
                yield "blank", at, end, re.sub(r"[^\n]", " ", script[at:end])
            case "semicolon":
                yield ";", at, end, ""
            case "parameter":
                yield "text", at, end, match[0] + " "
            case "string":
                end = _end(_STRING_END, script, at, end, "quoted string")
                yield "text", at, end, script[at:end]
            case "quoted":
                end = _end(_QUOTED_END, script, at, end, "quoted identifier")
                if end - at == 2:
                    raise _error("zero-length delimited identifier", script, at)
                yield "text", at, end, script[at:end]
            case "escape":
                end = _end(_ESCAPE_END, script, at, end, "quoted string")
                yield "text", at, end, _quote(_unescape(script, at + 2, end - 1))
            case "unicode" | "bits":
                what = "U& strings" if match.lastgroup == "unicode" else "bit strings (B'' and X'')"
                raise _error(f"{what} are not supported", script, at, sqlstate="0A000")
            case "dollar":
                close = script.find(match[0], end)
                if close < 0:
                    raise _error("unterminated dollar-quoted string", script, at)
                value, end = script[end:close], close + len(match[0])
                yield "text", at, end, _quote(value)
            case _:
                yield "text", at, end, match[0]
        at = end


def _end(pattern: re.Pattern[str], script: str, begin: int, at: int, what: str) -> int:
    match = pattern.match(script, at)
    if match is None:
        raise _error(f"unterminated {what}", script, begin)
    return match.end()


def _comment_end(script: str, begin: int) -> int:
    depth = 0
    for match in _COMMENT.finditer(script, begin):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    raise _error("unterminated /* comment", script, begin)


def _quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE: Final = re.compile(
    r"''|\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9A-Fa-f]{1,2})|u(?P<u4>[0-9A-Fa-f]{4})"
    r"|U(?P<u8>[0-9A-Fa-f]{8})|(?P<other>.))",
    re.DOTALL,
)


def _unescape(script: str, begin: int, end: int) -> str:
    """The value of an E'' string between its quotes. Bytes above 127 by octal or hex must make up UTF-8."""

    def decode(match: re.Match[str]) -> str:
        if match[0] == "''":
            return "'"
        if match["octal"] or match["hex"]:
            code = int(match["octal"], 8) & 255 if match["octal"] else int(match["hex"], 16)
            # A lone surrogate stands for the byte until the whole text is decoded.
            value = chr(code) if code < 128 else chr(0xDC00 + code)
        elif match["u4"] or match["u8"]:
            value = chr(int(match["u4"] or match["u8"], 16)) if int(match["u4"] or match["u8"], 16) < 0x110000 else "\0"
        else:
            value = _ESCAPES.get(match["other"], match["other"])
        if value == "\0":
            raise _error("invalid Unicode escape value", script, begin + match.start(), sqlstate="22021")
        return value

    value = _ESCAPE.sub(decode, script[begin:end])
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise _error("invalid byte sequence for encoding UTF8", script, begin, sqlstate="22021") from None


def _source(script: str, start: int, end: int, pieces: list[str], moved: list[tuple[int, int]]) -> Source:
    rewritten = "".join(pieces)
    if rewritten.endswith("'") and "$" in rewritten:
        rewritten += " "
    return Source(text=script[start:end], script=script, offset=start, rewritten=rewritten, moved=tuple(moved))


def _error(message: str, script: str, index: int, *, sqlstate: str = "42601") -> Invalid:
    error = Invalid(f"{message}\n{caret(script, index + 1)}", sqlstate=sqlstate, position=index + 1)
    error._pointed = True  # pyright: ignore[reportAttributeAccessIssue]
    return error
