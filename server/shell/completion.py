"""What Tab offers: what may stand there. Tables after FROM, columns of the statement's tables, keywords, files.

The catalog is asked once and again after each statement that ran. What a statement is about is guessed from its words,
whole or not, on both sides of the cursor; a guess that is wrong offers too much.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from ...base.errors import WeftError
from .meta import COMMANDS
from .output import Format
from .shell import Shell
from .statements import split
from .words import KEYWORDS, STARTS, STATEMENTS, TYPES

_WORD: Final = re.compile(r'(?:"[^"]*"?|[\w$])*(?:\.(?:"[^"]*"?|[\w$])*)?$')
_BEFORE: Final = re.compile(r"([A-Za-z_]+|[,(.=<>*+/-])\s*$")
_AFTER_TABLE: Final = ("SET", "NATURAL", "TABLESAMPLE", "WINDOW", "FETCH", "FOR")
_NO_ALIAS: Final = "|".join(sorted({word for phrase in (*KEYWORDS, *_AFTER_TABLE) for word in phrase.split()} - {"AS"}))
_REFERENCE: Final = re.compile(
    r'(?:\b(?:FROM|JOIN|UPDATE|INTO|TABLE|COPY)|,)\s+(?:ONLY\s+)?("[^"]+"|[\w$.]+)'
    rf'(?:\s+(?:AS\s+)?(?!(?:{_NO_ALIAS})\b)("[^"]+"|[^\W\d][\w$]*))?',
    re.IGNORECASE,
)
_TABLE_FOLLOWS: Final = ("FROM", "JOIN", "INTO", "UPDATE", "TABLE", "TRUNCATE", "COPY", "VIEW", "EXISTS")
_LIST_OF_TABLES: Final = re.compile(r"\bFROM\s+[\w\s.,\"$]*,\s*$", re.IGNORECASE)
_DEFINES: Final = re.compile(r"\b(?:CREATE\s+TABLE\b[^(]*\(|ADD\s+(?:COLUMN\s+)?|,)\s*\w+\s+$|::\s*$", re.IGNORECASE)
_FILE_COMMANDS: Final = ("\\i", "\\o", "\\g", "\\e", "\\w")


class SqlCompleter(Completer):
    """Completes for one shell."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._seen: int | None = None
        self._relations: Mapping[str, Sequence[str]] = {}
        self._settings: Sequence[str] = ()
        self._functions: Mapping[str, str] = {}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = split(document.text_before_cursor).rest.text if document.text_before_cursor.strip() else ""
        command = re.search(r"\\[\w?!+]*[^\n]*$", document.text_before_cursor)
        if command is not None and split(document.text_before_cursor).statements:
            yield from self._command(command[0])
            return
        if document.text_before_cursor[-1:].isspace():
            before += " "
        match = _WORD.search(before)
        word = match[0] if match else ""
        yield from self._sql(before[: len(before) - len(word)], word, document.text)

    def warm(self) -> None:
        """Ask for the catalog, and load what completion needs, ahead of the first Tab. From any thread."""
        self._ask(lambda text: self._shell.database.execute(text).rows())

    def _sql(self, before: str, word: str, whole: str) -> Iterator[Completion]:
        relations = self._catalog()
        previous = _BEFORE.search(before)
        last = previous[1].upper() if previous else ""
        if not before.strip():
            yield from _keywords(STARTS, word)
        elif "." in word:
            qualifier, _, part = word.rpartition(".")
            table = _aliases(whole).get(_folded(qualifier), _folded(qualifier))
            yield from _names(relations.get(table, ()), part, meta=f"column of {table}")
            if table == "information_schema":
                inner = [name.partition(".")[2] for name in relations if name.startswith("information_schema.")]
                yield from _names(inner, part, meta="table")
        elif last in _TABLE_FOLLOWS or _LIST_OF_TABLES.search(before):
            yield from _names(relations, word, meta="table")
            yield from _keywords([phrase for phrase in ("IF EXISTS", "IF NOT EXISTS", "LATERAL") if word], word)
        elif last in ("SET", "SHOW", "RESET") and "UPDATE" not in before.upper():
            yield from _names(self._settings, word, meta="setting")
            yield from _keywords(("ALL", "TABLES", "COLUMNS FROM", "CREATE") if last == "SHOW" else ("LOCAL",), word)
        elif _DEFINES.search(before) and re.match(r"\s*(CREATE|ALTER)\b", before, re.IGNORECASE):
            yield from _keywords(TYPES, word)
        else:
            yield from self._expression(word, whole, relations)

    def _expression(self, word: str, whole: str, relations: Mapping[str, Sequence[str]]) -> Iterator[Completion]:
        aliases = _aliases(whole)
        tables = [table for table in dict.fromkeys(aliases.values()) if table in relations]
        for table in tables:
            yield from _names(relations[table], word, meta=f"column of {table}")
        if not word:
            return
        if not tables:
            columns = {column: table for table, names in relations.items() for column in names if "." not in table}
            for column, table in columns.items():
                yield from _names([column], word, meta=f"column of {table}")
        named = [alias for alias, table in aliases.items() if alias not in (table, word.lower())]
        yield from _names(named, word, meta="alias")
        yield from _names(relations, word, meta="table")
        yield from _keywords(KEYWORDS, word)
        if len(word) > 1:
            for name, doc in self._functions.items():
                if name.startswith(word.lower()):
                    yield Completion(f"{name}(", -len(word), display=f"{name}()", display_meta=doc or "function")

    def _command(self, text: str) -> Iterator[Completion]:
        """A backslash command, or its argument."""
        name, blank, arguments = text.partition(" ")
        if not blank:
            yield from (
                Completion(known, -len(text), display_meta=command.help)
                for known, command in COMMANDS.items()
                if known.startswith(text)
            )
            return
        word = arguments.rpartition(" ")[2]
        if name.rstrip("+") in ("\\d", "\\dt", "\\di", "\\dv", "\\dm"):
            yield from _names(self._catalog(), word, meta="table")
        elif name in _FILE_COMMANDS or re.search(r"\b(?:from|to)\s+\S*$", arguments, re.IGNORECASE):
            yield from _files(word)
        elif name == "\\copy":
            yield from (
                _names(self._catalog(), word, meta="table") if word == arguments else _keywords(("from", "to"), word)
            )
        elif name in _CHOICES:
            yield from (Completion(choice, -len(word)) for choice in _CHOICES[name] if choice.startswith(word))
        elif name == "\\h":
            yield from _keywords(tuple(STATEMENTS), arguments)

    def _catalog(self) -> Mapping[str, Sequence[str]]:
        """Column names by relation, as of the last statement."""
        if self._seen != self._shell.statements_run:
            self._ask(self._shell.query)
        return self._relations

    def _ask(self, query: Callable[[str], list[tuple[object, ...]]]) -> None:
        asked_at, first = self._shell.statements_run, self._seen is None
        with contextlib.suppress(WeftError):
            found: dict[str, list[str]] = {}
            for table, column in query(_COLUMNS):
                found.setdefault(str(table), []).append(str(column))
            self._relations = {**found, **_own_relations()}
        if first:
            with contextlib.suppress(WeftError):
                self._settings = [str(name) for name, *_ in query("SHOW ALL")]
            self._functions = _functions()
        self._seen = asked_at


_COLUMNS: Final = """
    SELECT table_name, column_name FROM information_schema.columns ORDER BY table_name, ordinal_position"""
_CHOICES: Final[Mapping[str, Sequence[str]]] = {
    "\\format": [format.value for format in Format],
    "\\x": ["on", "off", "auto"],
    "\\timing": ["on", "off"],
}


def _own_relations() -> Mapping[str, Sequence[str]]:
    """The relations that stand in no catalog: weft_metrics and its like, information_schema."""
    from ...sql.virtual import VIRTUAL_SCHEMAS

    return {name: schema.names for name, schema in VIRTUAL_SCHEMAS.items()}


def _functions() -> Mapping[str, str]:
    """What can be called by name, and what it does."""
    from ...engine.expression.functions import FUNCTIONS

    return {name: found.doc for name, found in sorted(FUNCTIONS.items()) if found.operator is None}


def _aliases(text: str) -> dict[str, str]:
    """What the statement calls its tables, whole or not: alias or name → table."""
    found: dict[str, str] = {}
    for match in _REFERENCE.finditer(text):
        table = _folded(match[1])
        found[_folded(match[2] or match[1])] = table
    return found


def _folded(name: str) -> str:
    return name.strip('"') if name.startswith('"') else name.lower().removeprefix("public.")


def _names(names: Iterable[str], word: str, *, meta: str) -> Iterator[Completion]:
    part = word.strip('"')
    for name in names:
        if name.startswith(part if word.startswith('"') else part.lower()):
            plain = re.fullmatch(r"[a-z_][a-z0-9_$]*(?:\.[a-z_]+)?", name) is not None
            text = name if plain and not word.startswith('"') else '"' + name.replace('"', '""') + '"'
            yield Completion(text, -len(word), display_meta=meta)


def _keywords(phrases: Sequence[str], word: str) -> Iterator[Completion]:
    """Phrases in the case in which the word was begun."""
    for phrase in phrases:
        if phrase.upper().startswith(word.upper()):
            yield Completion(phrase.lower() if word and word == word.lower() else phrase, -len(word))


def _files(word: str) -> Iterator[Completion]:
    given = Path(word).expanduser()
    folder, begin = (given, "") if word.endswith("/") or not word else (given.parent, given.name)
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.name.startswith(begin) and (begin.startswith(".") or not path.name.startswith(".")):
                yield Completion(path.name + "/" * path.is_dir(), -len(begin))
