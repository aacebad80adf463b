"""``weft sql``: decides between prompt, script and statement; the work is the shell's."""

from __future__ import annotations

import argparse
import io
import sys

from ..shell import Format, Layout, Shell
from ..shell.meta import Quit
from .script import read_script
from .target import open_target


def run(arguments: argparse.Namespace) -> int:
    scripts: list[tuple[str, str]] | None = arguments.scripts
    interactive = not scripts and sys.stdin.isatty()
    layout = Layout(format=Format(arguments.format), expanded=arguments.expanded, null=arguments.null)
    _speak_utf8()
    texts = _read(scripts or [])
    with open_target(arguments.target) as database:
        shell = Shell(database, address=arguments.target, out=sys.stdout, errors=sys.stderr, layout=layout)
        shell.timing = arguments.timing
        try:
            if interactive:
                _interact(shell)
                return 0
            return 0 if _run_scripts(shell, texts) else 1
        except Quit:
            return 0
        finally:
            shell.close()


def _speak_utf8() -> None:
    """Whatever the locale says: files and pipes are UTF-8, and a terminal shows what it can.

    Bytes that are none come through as surrogates, so that the statement or row that has them is named.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def _read(scripts: list[tuple[str, str]]) -> list[tuple[str, str | None]]:
    """The text of each -c and -f, with its file's name. All files are read before the first statement runs."""
    return [(value, None) if kind == "command" else (read_script(value), value) for kind, value in scripts]


def _run_scripts(shell: Shell, texts: list[tuple[str, str | None]]) -> bool:
    if not texts:
        return shell.run_lines(iter(sys.stdin), name="stdin")
    return all(shell.run_script(text, name=name, data=None if name else iter(sys.stdin)) for text, name in texts)


def _interact(shell: Shell) -> None:
    from ... import __version__
    from ..shell.prompt import interact, paged

    shell.pager = lambda: paged(sys.stdout)
    interact(shell, banner=f"weftdb {__version__} on {shell.address}. \\? shows help, \\q quits.")
