"""The subcommands of ``weft``: their arguments are described here, what they do is in the module of each.

Adding one is a function below that describes it, an entry in ``COMMANDS``, and a module with ``run(arguments)``.
"""

from __future__ import annotations

import argparse
import importlib
import textwrap
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from ...base.limits import GIB, KIB, MIB

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage]

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7401
DEFAULT_URL: Final = f"weft://{DEFAULT_HOST}:{DEFAULT_PORT}"


def _add_serve(commands: Subparsers) -> None:
    parser = _add(
        commands,
        "serve",
        help="serve a database over the network",
        description="Serve the database in a folder. Prints one line when it is ready; SIGTERM and Ctrl-C finish what "
        "is running and stop. There is no password yet: listen on other addresses than this machine's own only in a "
        "network that you trust.",
        epilog="examples:\n  weft serve --data ./data\n  weft serve --data ./data --port 0      any free port\n"
        "  weft serve --data /var/lib/weftdb --memory-limit 8GB",
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of the database; made if it is missing")
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", default=DEFAULT_PORT, type=_port, help="port; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--memory-limit",
        type=_bytes,
        metavar="SIZE",
        help="memory for all that grows with data and load: newest rows, indexes, caches, queries; beyond it rows are "
        "flushed, queries spill, writers wait (default: 1/4 of the machine)",
    )
    parser.add_argument(
        "--history",
        type=_seconds,
        metavar="SECONDS",
        help="how long AS OF can look back at rows that were changed or deleted (default: 600)",
    )
    parser.add_argument(
        "--flush-size",
        type=_bytes,
        metavar="SIZE",
        help="write the newest rows into segments when they take more memory than this (default: 1/8 of the memory "
        "limit, 8MB to 512MB)",
    )
    parser.add_argument(
        "--log-size",
        type=_bytes,
        metavar="SIZE",
        help="make a checkpoint when the log since the last one is larger; a restart replays as much (default: 256MB)",
    )
    parser.add_argument(
        "--checkpoint-interval",
        type=_positive_seconds,
        metavar="SECONDS",
        help="make a checkpoint at least so often, where there is anything new (default: 600)",
    )
    parser.add_argument(
        "--compaction-rate",
        type=_bytes,
        metavar="SIZE",
        help="how much compaction may write in a second (default: 128MB)",
    )
    parser.add_argument(
        "--max-transaction",
        type=_bytes,
        metavar="SIZE",
        help="what one transaction may write in all (default: 64GB)",
    )
    parser.add_argument(
        "--named-snapshots",
        type=_bytes,
        metavar="SIZE",
        help="old rows that named snapshots may keep in all (default: 64GB)",
    )
    parser.add_argument(
        "--feeds",
        type=_bytes,
        metavar="SIZE",
        help="old rows that named change feeds may keep in all (default: 64GB)",
    )
    parser.add_argument(
        "--idle-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="roll a transaction back that its client has not used for so long; 0: never (default: 600)",
    )
    parser.add_argument(
        "--stall-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long a commit waits for memory before it is refused (default: 30)",
    )
    parser.add_argument(
        "--verify-rows",
        type=_count_or_none,
        metavar="N",
        help="rows a second that are read in the background to verify groups of materialized views; 0: none "
        "(default: 10000)",
    )
    parser.add_argument(
        "--threads", type=_count, metavar="N", help="threads for queries (default: one for each processor)"
    )
    parser.add_argument(
        "--temp",
        metavar="DIR",
        help="folder for what queries and transactions spill (default: tmp in the folder of the database)",
    )
    parser.add_argument(
        "--archive",
        metavar="DIR",
        help="keep the log in this folder before it is trimmed, so that weft restore can go to any version after a "
        "backup; nothing is trimmed while it cannot be written",
    )
    parser.add_argument(
        "--copy-folder",
        metavar="DIR",
        help="let COPY read and write the files of this folder, for every client (default: none; \\copy needs none)",
    )
    parser.add_argument(
        "--no-fsync",
        action="store_true",
        help="acknowledge before the disk has it: faster, but a crash of the machine may lose the newest commits",
    )
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for what is running when asked to stop (default: 10)",
    )


def _add_sql(commands: Subparsers) -> None:
    parser = _add(
        commands,
        "sql",
        help="run SQL: a prompt, a script, a statement",
        description="Run SQL on a server or on a folder. Without -c and -f it prompts, or reads a script from standard "
        "input. A script stops at the first error with exit code 1.",
        epilog="examples:\n  weft sql\n  weft sql weft://db.example:7401\n  weft sql ./data -f schema.sql\n"
        "  weft sql -c 'SELECT * FROM spend' --format csv > spend.csv\n  echo 'SELECT 1;' | weft sql",
    )
    parser.add_argument(
        "target", nargs="?", default=DEFAULT_URL, metavar="URL | DIR", help="server or folder (default: %(default)s)"
    )
    parser.add_argument(
        "-c", "--command", dest="scripts", action=_Script, const="command", metavar="SQL", help="run this; repeatable"
    )
    parser.add_argument(
        "-f", "--file", dest="scripts", action=_Script, const="file", metavar="FILE", help="run this file; repeatable"
    )
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: %(default)s")
    parser.add_argument("-x", "--expanded", action="store_true", help="one line per value instead of a table")
    parser.add_argument("--null", default="NULL", metavar="TEXT", help="what stands for NULL in tables")
    parser.add_argument("--timing", action="store_true", help="print how long each statement takes")


def _add_load(commands: Subparsers) -> None:
    parser = _add(
        commands,
        "load",
        help="load a Parquet, CSV or Arrow file into a table",
        description="Load a file into a table that exists. Columns are matched by name. Rows replace rows with the "
        "same primary key, so a load that was interrupted can be run again. A file of any size is streamed.",
        epilog="examples:\n  weft load transactions transactions.parquet\n"
        "  weft load products products.csv --url weft://db.example:7401\n  weft load events events.arrow --url ./data",
    )
    parser.add_argument("table", metavar="TABLE")
    parser.add_argument(
        "file", metavar="FILE", help=".parquet .pq | .csv .tsv, also .gz .bz2 .zst | .arrow .feather .ipc .arrows"
    )
    parser.add_argument(
        "--url", default=DEFAULT_URL, metavar="URL | DIR", help="server or folder (default: %(default)s)"
    )
    parser.add_argument(
        "--columns", metavar="A,B,C", help="load only these columns of the file (default: all, and all must fit)"
    )
    parser.add_argument("--insert", action="store_true", help="refuse rows whose primary key exists")
    parser.add_argument(
        "--delimiter", metavar="CHAR", help="between the values of a CSV file (default: , or tab for .tsv)"
    )
    parser.add_argument(
        "--null", default="", metavar="TEXT", help="what stands for NULL in a CSV file (default: nothing)"
    )


def _add_export(commands: Subparsers) -> None:
    parser = _add(
        commands,
        "export",
        help="write a table into a Parquet, CSV or Arrow file",
        description="Write all rows of a table at one version into a file: in the order of event time's slices, shards "
        "and primary keys, so that two exports of one snapshot are the same bytes. CREATE SNAPSHOT gives a version a "
        "name, and keeps it. The file appears when it is complete.",
        epilog="examples:\n  weft export transactions transactions.parquet\n"
        "  weft export events events.arrow --snapshot month_end --url weft://db.example:7401\n"
        "  weft export events events.csv --time '2026-11-22 09:41:00' --url ./data",
    )
    parser.add_argument("table", metavar="TABLE")
    parser.add_argument(
        "file", metavar="FILE", help=".parquet .pq | .csv | .arrow .feather .ipc .arrows; replaced if it exists"
    )
    parser.add_argument(
        "--url", default=DEFAULT_URL, metavar="URL | DIR", help="server or folder (default: %(default)s)"
    )
    parser.add_argument("--columns", metavar="A,B,C", help="only these columns, in this order (default: all)")
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--snapshot", metavar="NAME", help="a named snapshot (default: the newest version)")
    point.add_argument("--version", type=_version, metavar="N", help="a version that history still has")
    point.add_argument(
        "--time", type=_moment, metavar="T", help="the last version at or before this moment, UTC unless it says else"
    )


def _add_check(commands: Subparsers) -> None:
    parser = _add(
        commands,
        "check",
        help="look for damage, and say what is not affected",
        description="Read everything that a database keeps on the disk, and say what is damaged or does not fit "
        "together, what that affects, and what not: checksums, order, zones, filters, cells, versions of rows, counts, "
        "files. Nothing is changed. A folder must not be in use (then name its server), and may be damaged in any way. "
        "Also prints what each column takes, and the write amplification. Of a folder of backups, verifies them all. "
        "Exit code 1 if there are problems.",
        epilog="examples:\n  weft check weft://db.example:7401     a running server, beside its work\n"
        "  weft check ./data                     a folder that nobody has open\n"
        "  weft check /backups/weft              a folder of backups",
    )
    parser.add_argument(
        "target", nargs="?", default=DEFAULT_URL, metavar="URL | DIR", help="server or folder (default: %(default)s)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print problems alone")


def _add_backup(commands: Subparsers) -> None:
    parser = _add(
        commands,
        "backup",
        help="back a database up while it runs",
        description="Make a consistent backup of one version in FOLDER, which may hold many: what is there already is "
        "not copied again. The server goes on meanwhile, and writes nothing for this but a checkpoint. Everything is "
        "verified on the way. A run that was cut short is continued by the next one.",
        epilog="examples:\n  weft backup weft://db.example:7401 /backups/weft\n"
        "  weft backup ./data /backups/weft --keep 7     and forget all but the newest seven\n"
        "  weft backup --list /backups/weft",
    )
    parser.add_argument(
        "source", nargs="?", default=DEFAULT_URL, metavar="URL | DIR", help="server or folder (default: %(default)s)"
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of the backups; made if it is missing")
    parser.add_argument("--list", action="store_true", help="show what is in FOLDER, and make nothing")
    parser.add_argument("--keep", type=_count, metavar="N", help="forget all but the newest N backups afterwards")
    parser.add_argument(
        "--link",
        action="store_true",
        help="of a folder on the same disk: hard links instead of copies. Takes no time and no room, and helps against "
        "mistakes, not against a broken disk",
    )


def _add_restore(commands: Subparsers) -> None:
    parser = _add(
        commands,
        "restore",
        help="make a database of a backup",
        description="Make the new folder NEWDIR of the newest backup in FOLDER, or of the one that is asked for. With "
        "--archive (see weft serve --archive) commits after the backup are replayed, up to the version or time, or all "
        "that the archive has. Everything is verified; nothing is ever overwritten.",
        epilog="examples:\n  weft restore /backups/weft ./restored\n"
        "  weft restore /backups/weft ./restored --version 1234\n"
        "  weft restore /backups/weft ./restored --archive /backups/log --time '2026-11-22 09:41:00'",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of the backups")
    parser.add_argument("target", metavar="NEWDIR", help="folder of the new database; must not exist, or be empty")
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--version", type=_version, metavar="N", help="the version that is wanted")
    point.add_argument(
        "--time", type=_moment, metavar="T", help="the last version at or before this moment, UTC unless it says else"
    )
    parser.add_argument(
        "--archive", metavar="DIR", help="folder of the archived log: replay what came after the backup"
    )


def _add_bench(commands: Subparsers) -> None:
    """Arguments and help are those of ``weftdb.bench``: nothing is an option here, so all of it goes there."""
    parser = commands.add_parser(
        "bench", help="measure this machine, beside the peers that are installed", add_help=False, prefix_chars="\0"
    )
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(run=_run_module("bench"))


def _add_warm(commands: Subparsers) -> None:
    parser = _add(
        commands,
        "warm",
        help="compile kernels ahead of their first use",
        description="Compile the kernels that all databases share, some minutes for the first time. It is the last "
        "step of the installation; where they are compiled it does nothing. With a database and files of SQL, a log of "
        "queries for example, ask the queries in them and compile kernels for those that are worth it. Nothing is "
        "written to the database: statements that are no queries are passed over.",
        epilog="examples:\n  weft warm\n  weft warm ./data dashboard.sql\n"
        "  weft warm weft://db.example:7401 queries.sql     the server's kernels",
    )
    parser.add_argument("target", nargs="?", metavar="URL | DIR", help="server or folder")
    parser.add_argument("files", nargs="*", metavar="FILE", help="SQL, separated by semicolons; - is standard input")


COMMANDS: Final[tuple[Callable[[Subparsers], None], ...]] = (
    _add_serve,
    _add_sql,
    _add_load,
    _add_export,
    _add_check,
    _add_backup,
    _add_restore,
    _add_bench,
    _add_warm,
)


def _add(commands: Subparsers, name: str, *, help: str, description: str, epilog: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=textwrap.fill(description, 78),
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run_module(name))
    return parser


def _run_module(name: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        return importlib.import_module(f".{name}", __name__).run(arguments)

    return run


class _Script(argparse.Action):
    """Keeps -c and -f in the order in which they were given, as (kind, text or path)."""

    def __init__(self, option_strings: list[str], dest: str, const: str, **options: object) -> None:
        super().__init__(option_strings, dest, **options)  # pyright: ignore[reportArgumentType]
        self.const = const

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        scripts: list[tuple[str, str]] = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*scripts, (str(self.const), str(values))])


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: use 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _positive_seconds(text: str) -> float:
    seconds = _seconds(text)
    if seconds < 1:
        raise argparse.ArgumentTypeError("it takes 1 second at least")
    return seconds


def _version(text: str) -> int:
    if not text.replace(",", "").isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no version: use a number")
    return int(text.replace(",", ""))


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: use 2026-11-22 09:41:00, or with +01:00") from None


def _count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def _count_or_none(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
    return int(text)


def _bytes(text: str) -> int:
    number = text.upper().removesuffix("B").removesuffix("I")
    units = {"K": KIB, "M": MIB, "G": GIB}
    unit = units.get(number[-1:], 1)
    digits = number[:-1] if number[-1:] in units else number
    if not digits.isdigit() or int(digits) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: use a number with KB, MB or GB, such as 8GB")
    return int(digits) * unit
