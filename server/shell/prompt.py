"""The interactive shell: a prompt with history, several lines, completion, colours, and a pager for long results.

Enter runs the text once its last statement is complete, and otherwise starts a new line. Lines of data may be pasted
with their COPY FROM STDIN; those that are not there are asked for. The history is in ``$XDG_STATE_HOME/weftdb/history``
(``~/.local/state`` if unset); without a place to write it is kept in memory.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.filters import completion_is_selected
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from . import colours
from .completion import SqlCompleter
from .meta import Quit
from .output import Output
from .shell import Shell
from .statements import waits_for


def interact(shell: Shell, *, banner: str) -> None:
    """Read and run until ``\\q`` or Ctrl-D."""
    completer = SqlCompleter(shell)
    shell.coloured = colours.wanted()
    session: PromptSession[str] = PromptSession(
        history=_history(),
        multiline=True,
        key_bindings=_keys(),
        completer=completer,
        complete_while_typing=False,
        lexer=colours.SqlLexer() if shell.coloured else None,
        style=colours.STYLE,
        prompt_continuation=lambda width, number, soft: "" if soft else f"weft{_waiting(session)}> ".rjust(width),
        enable_open_in_editor=True,
    )
    print(banner)
    threading.Thread(target=completer.warm, name="weftdb-completion", daemon=True).start()
    edited: list[str] = []
    shell.edit = edited.append
    while True:
        try:
            while _turn(shell, session, edited):  # Ctrl-C may come between two turns, too
                pass
            return
        except KeyboardInterrupt:
            print()


def _turn(shell: Shell, session: PromptSession[str], edited: list[str]) -> bool:
    """Read and run one text; False at the end. What was ``edited`` is run if it is complete, else it is typed on."""
    text = edited.pop() if edited else ""
    try:
        if text and not waits_for(text):
            print(text)
            session.history.append_string(text)
        else:
            prompt: StyleAndTextTuples = [("", "weft="), ("class:mark", shell.mark), ("", "> ")]
            text = session.prompt(prompt, default=text)
    except KeyboardInterrupt:
        return True
    except EOFError:
        return False
    try:
        shell.layout.width = shutil.get_terminal_size().columns
        lines = iter(_SPELT.get(_word(text), text).splitlines(keepends=True))
        shell.run_lines(lines, data=itertools.chain(lines, _typed_data()))
    except Quit:
        return False
    except Exception:
        # A bug of ours must not cost the user the open transaction and what is on the screen.
        traceback.print_exc()
    return True


_SPELT: Final = {"exit": "\\q", "quit": "\\q", "help": "\\?"}
"""Words that newcomers type instead of commands."""


def _word(text: str) -> str:
    return text.strip().removesuffix(";").lower()


def _typed_data() -> Iterator[str]:
    """The lines of COPY FROM STDIN, asked for one by one."""
    print("Type the data, a row a line; a line of \\. ends it, and so does Ctrl-D.")
    keys = KeyBindings()
    keys.add("tab")(lambda event: event.current_buffer.insert_text("\t"))  # it separates columns
    session: PromptSession[str] = PromptSession(key_bindings=keys)
    with contextlib.suppress(EOFError):
        while True:
            yield session.prompt(">> ") + "\n"


@contextlib.contextmanager
def paged(out: TextIO) -> Generator[Output]:
    """What a result is written to: ``out`` if it fits the screen, else ``$PAGER`` or ``less``, where there is one."""
    pager = _Pager(out)
    try:
        yield pager
    except BrokenPipeError:
        pass  # The reader has seen enough and left the pager.
    finally:
        pager.finish()


class _Pager:
    """Holds text back until it is more than a screen; from then on it goes to the pager's process."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._held: list[str] = []
        self._lines = 0
        self._wide = False
        self._size = shutil.get_terminal_size()
        command = os.environ.get("PAGER") or "less -SRFX"
        self._command = command if shutil.which(command.split()[0]) else None
        self._process: subprocess.Popen[str] | None = None

    def write(self, text: str, /) -> None:
        if self._process is not None:
            assert self._process.stdin is not None, "the pager was started with a pipe"
            self._process.stdin.write(text)
        elif self._command is None:
            self._out.write(text)
        else:
            self._held.append(text)
            self._lines += text.count("\n")
            self._wide = self._wide or len(text) > self._size.columns
            if self._lines > self._size.lines - 2 or (self._wide and self._lines > 2):
                self._process = subprocess.Popen(
                    self._command,
                    shell=True,
                    stdin=subprocess.PIPE,
                    encoding=self._out.encoding or "utf-8",
                    errors="replace",
                )
                self.write("".join(self._held))

    def finish(self) -> None:
        """Hand out what is held, or wait until the reader leaves the pager; Ctrl-C is the pager's meanwhile."""
        if self._process is None:
            self._out.write("".join(self._held))
            return
        with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
            assert self._process.stdin is not None, "the pager was started with a pipe"
            self._process.stdin.close()
        while self._process.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):
                self._process.wait()


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=~completion_is_selected)
    def _(event: KeyPressEvent) -> None:  # pyright: ignore[reportUnusedFunction]
        text = event.current_buffer.text
        if not text.strip() or _word(text) in _SPELT or not waits_for(text):
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    @keys.add("enter", filter=completion_is_selected)
    def _(event: KeyPressEvent) -> None:  # pyright: ignore[reportUnusedFunction]
        event.current_buffer.complete_state = None

    return keys


def _waiting(session: PromptSession[str]) -> str:
    return _waits_for(session.default_buffer.text) or "-"


_waits_for = lru_cache(maxsize=1)(waits_for)
"""For the prompt of every line of one text."""


def _history() -> History:
    folder = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "weftdb"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "history").touch(mode=0o600)
    except OSError as error:
        print(f"no history: {error}", file=sys.stderr)
        return InMemoryHistory()
    return FileHistory(str(folder / "history"))
