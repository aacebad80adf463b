"""Tokens of the few things that the session reads itself: its own statements, and the WITH options of CREATE TABLE.

A lexer of five sorts of token, for PostgreSQL's simple lexical rules: words (dots included, ``a.b``), quoted
identifiers, strings, numbers, signs. Blanks are skipped. It reads on demand, so that a statement that is
for sqlglot is not read beyond its first word.

It reads the text that ``source`` rewrote, so dollar quotes, E'' strings and comments are gone. A ``position`` in its
errors is a 0-based place in that text; ``pointing`` turns it into line, column and caret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from ..base.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    sort: str  # word, quoted, string, number, sign
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        return self.text.upper() if self.sort == "word" else ""


_LEXER: Final = re.compile(
    r"""(?P<blank>\s+)
      | (?P<word>[A-Za-z_\u0080-\U0010ffff][\w$]*(?:\.[A-Za-z_]\w*)*)
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<string>'(?:[^']|'')*')
      | (?P<number>[-+]?\d+(?:\.\d+)?)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


class Tokens:
    """The tokens of one statement, from the left."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._at = 0
        self._next: Token | None = None

    @property
    def at(self) -> int:
        """Where the last token taken ends, while none is peeked."""
        assert self._next is None, "a token that was only looked at is not taken"
        return self._at

    def peek(self) -> Token | None:
        while self._next is None and self._at < len(self.text):
            match = _LEXER.match(self.text, self._at)
            assert match is not None, "the lexer's last branch takes any character"
            assert match.lastgroup is not None, "every branch has a name"
            self._at = match.end()
            if match.lastgroup != "blank":
                self._next = Token(sort=match.lastgroup, text=match[0], start=match.start(), end=match.end())
        return self._next

    def peek_word(self) -> str:
        token = self.peek()
        return token.upper if token else ""

    def next(self) -> Token:
        token = self.peek()
        if token is None:
            self.fail()
        self._next = None
        return token

    def take(self, *words: str) -> bool:
        """Take the next token if it is one of ``words``."""
        token = self.peek()
        if token is not None and (token.upper in words or (token.sort == "sign" and token.text in words)):
            self._next = None
            return True
        return False

    def expect(self, *words: str) -> None:
        if not self.take(*words):
            self.fail()

    def name(self) -> str:
        """An identifier, folded unless quoted."""
        token = self.peek()
        if token is None or token.sort not in ("word", "quoted"):
            self.fail()
        self._next = None
        return token.text[1:-1].replace('""', '"') if token.sort == "quoted" else token.text.lower()

    def value(self) -> str:
        """A string, number or word, as its text."""
        token = self.next()
        if token.sort == "sign":
            self._next = token
            self.fail()
        return token.text[1:-1].replace("''", "'") if token.sort == "string" else token.text

    def rest(self) -> str:
        """Everything from the next token on, at its old place: what was before becomes blanks."""
        token = self.peek()
        if token is None:
            self.fail()
        return " " * token.start + self.text[token.start :]

    def parenthesized(self) -> str:
        """The text up to the parenthesis that closes the one just taken."""
        depth, first, last = 1, self.peek(), None
        while True:
            token = self.next()
            depth += {"(": 1, ")": -1}.get(token.text, 0) if token.sort == "sign" else 0
            if depth == 0:
                return self.text[first.start : last.end].strip() if first and last else ""
            last = token

    def end(self) -> None:
        if self.peek() is not None:
            self.fail()

    def fail(self) -> NoReturn:
        token = self.peek()
        what = f'at or near "{token.text}"' if token else "at end of input"
        raise Invalid(f"syntax error {what}", sqlstate="42601", position=token.start if token else len(self.text))


def split_outside(text: str) -> list[str]:
    """Split at commas that stand in no parentheses: ``numeric(10,2), text``."""
    return re.split(r",(?![^(]*\))", text) if text else []
