"""The command ``weft``: what each subcommand takes, and how a run ends.

    0    done
    1    an error that was printed: a statement, a file, a port, a folder
    2    the command line itself is wrong (argparse)
    130  interrupted by Ctrl-C

Each subcommand is a module of ``commands`` with ``add_parser`` and ``run``; a module is imported when its command runs,
so that ``weft sql`` on a server starts without engine and compiler.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..base.errors import Internal, WeftError
from .commands import COMMANDS

_EPILOG = """\
examples:
  weft serve --data ./data              keep a database in ./data and serve it on port 7401
  weft sql                              a prompt on the server of this machine
  weft sql -c 'SELECT count(*) FROM t'  one statement, for scripts
  weft load transactions july.parquet   load a file into a table
  weft export transactions all.parquet  write a table into a file

A database can also be used without a server: weft sql ./data
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    # gRPC's own log lines say once more, and less clearly, what our errors say. It reads this when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) is gone. Nothing may be flushed to it when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Internal:
        raise
    except WeftError as error:
        print(f"weft: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weft",
        description="WeftDB: one engine for events, transactions, analytics and training data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"weftdb {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for add_parser in COMMANDS:
        add_parser(commands)
    return parser


def _version() -> str:
    from .. import __version__

    return __version__
