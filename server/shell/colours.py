"""Syntax colours for the prompt: keywords, texts, numbers, comments, backslash commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from .words import COLOURED

STYLE: Final = Style.from_dict(
    {
        "sql.keyword": "bold ansiblue",
        "sql.text": "ansigreen",
        "sql.number": "ansicyan",
        "sql.comment": "ansibrightblack italic",
        "sql.quoted": "ansiyellow",
        "sql.command": "bold ansimagenta",
        "mark": "bold ansired",
    }
)

_TOKEN: Final = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<text>(?<!\w)[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)|'(?:[^']|'')*(?:'|\Z)
               |(?<![\w$])(?P<tag>\$\w*\$).*?(?:(?P=tag)|\Z))
      | (?P<quoted>"(?:[^"]|"")*(?:"|\Z))
      | (?P<number>(?<![\w.])\d[\d.]*(?:[eE][-+]?\d+)?)
      | (?P<command>\\(?:[?!]|\w+\+?))
      | (?P<word>[^\W\d]\w*)""",
    re.VERBOSE | re.DOTALL,
)


def wanted() -> bool:
    """Whether this terminal is to have colours."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class SqlLexer(Lexer):
    """The colours of a text, line by line."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        lines: list[StyleAndTextTuples] = [[]]
        for style, text in coloured(document.text):
            first, *others = text.split("\n")
            lines[-1].append((style, first))
            lines.extend([(style, other)] for other in others)
        return lambda number: lines[number] if number < len(lines) else []


def coloured(text: str) -> list[tuple[str, str]]:
    """The text in pieces, each with its style."""
    pieces: list[tuple[str, str]] = []
    at = 0
    for match in _TOKEN.finditer(text):
        kind = "text" if match["tag"] is not None else match.lastgroup
        if kind == "word":
            kind = "keyword" if match[0].upper() in COLOURED else None
        if match.start() > at:
            pieces.append(("", text[at : match.start()]))
        pieces.append((f"class:sql.{kind}" if kind else "", match[0]))
        at = match.end()
    if at < len(text):
        pieces.append(("", text[at:]))
    return pieces
