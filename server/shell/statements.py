"""Cut typed text into statements, also while it is incomplete.

A statement ends at a semicolon that stands outside of quotes, comments and parentheses, or at a backslash outside of
quotes and comments: that begins a command of the shell, which goes to the end of its line (``SELECT 1 \\gx``). What
follows the last one is
the rest: an incomplete statement, and ``waiting`` says what the reader waits for, as the prompt shows it:

    ``-``  a semicolon     ``'`` ``"`` ``$``  the end of a quotation     ``*``  the end of a comment     ``(``  a ``)``

Not here: the meaning of the text. This is the shell's own reader because the parser in ``sql`` takes whole statements
only, and a shell that talks to a server should not need it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

_SPECIAL: Final = re.compile(r"""--|/\*|(?<!\w)[eE]'|'|"|(?<![\w$])\$(?:[^\W\d]\w*)?\$|[;()\\]""")
_BLOCK: Final = re.compile(r"/\*|\*/")
_ENDS: Final = {
    "'": re.compile(r"(?:[^']|'')*'(?!')"),
    "E'": re.compile(r"(?:[^'\\]|\\.|'')*'(?!')", re.DOTALL),
    '"': re.compile(r'(?:[^"]|"")*"(?!")'),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement without its semicolon; ``offset`` is where it begins in the text, in characters from 0.

    ``command`` is the backslash command that ended it, "" where a semicolon did; then ``text`` may be empty.
    """

    text: str
    offset: int
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """``statements`` are complete; ``rest`` is not, and is empty if nothing but blanks and comments is left."""

    statements: tuple[Statement, ...]
    rest: Statement
    waiting: str


def split(text: str) -> Split:
    """The complete statements of ``text``, and what is left after them."""
    statements: list[Statement] = []
    begin = at = depth = 0
    waiting = ""
    while not waiting and (found := _SPECIAL.search(text, at)):
        token, at = found[0], found.end()
        if token == "(":
            depth += 1
        elif token == ")":
            depth = max(depth - 1, 0)
        elif token == "\\":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end + 1
            statements.append(replace(_statement(text, begin, found.start()), command=text[found.start() : at].strip()))
            begin, depth = at, 0
        elif token == ";":
            if depth == 0:
                statements.append(_statement(text, begin, found.start()))
                begin = at
        elif (end := _skip(text, token, at)) is None:
            waiting = "*" if token == "/*" else token.lstrip("eE")[0]
        else:
            at = end
    rest = _statement(text, begin, len(text))
    if not waiting and rest.text:
        waiting = "(" if depth else "-"
    return Split(
        statements=tuple(statement for statement in statements if statement.text or statement.command),
        rest=rest,
        waiting=waiting,
    )


def waits_for(text: str) -> str:
    """What the reader of a typed text waits for, as ``Split.waiting``; data after COPY FROM STDIN are no statements."""
    found = split(text)
    for statement in found.statements:
        if not statement.command and _FROM_STDIN.match(statement.text):
            begin = text.find("\n", statement.offset + len(statement.text))
            end = _END_OF_DATA.search(text, begin) if begin >= 0 else None
            return "" if end is None else waits_for(text[end.end() :])
    return found.waiting


_FROM_STDIN: Final = re.compile(r"COPY\b.*\bFROM\s+STDIN\b", re.IGNORECASE | re.DOTALL)
_END_OF_DATA: Final = re.compile(r"^\\\.$", re.MULTILINE)


def _skip(text: str, token: str, at: int) -> int | None:
    """The place after the comment or quotation that ``token`` opened just before ``at``; None if it does not end."""
    if token == "--":
        end = text.find("\n", at)
        return len(text) if end < 0 else end
    if token == "/*":
        depth = 1
        for mark in _BLOCK.finditer(text, at):
            depth += 1 if mark[0] == "/*" else -1
            if depth == 0:
                return mark.end()
        return None
    if token.startswith("$"):
        end = text.find(token, at)
        return None if end < 0 else end + len(token)
    match = _ENDS[token.upper()].match(text, at)
    return match.end() if match else None


def _statement(text: str, begin: int, end: int) -> Statement:
    """The text in ``[begin, end)`` without blanks and comments around it."""
    while begin < end:
        if text[begin].isspace():
            begin += 1
        elif text.startswith(("--", "/*"), begin) and (after := _skip(text, text[begin : begin + 2], begin + 2)):
            begin = after
        else:
            break
    return Statement(text=text[begin:end].rstrip(), offset=begin)
