"""CREATE SNAPSHOT and DROP SNAPSHOT: names for versions that are to stay readable (engine/named.py); and DROP FEED.

    CREATE SNAPSHOT [IF NOT EXISTS] name [AS OF …]         the newest version, or what AS OF means in a query
    DROP SNAPSHOT [IF EXISTS] name
    DROP FEED [IF EXISTS] name                             forget the position of a change feed (engine/positions.py)

They take effect at once, and so cannot be part of a transaction: a version is named that is committed already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from .as_of import pinned
from .block import Running
from .execution import EMPTY_SCHEMA
from .resources import Parsed
from .statements import CreateSnapshot, DropFeed, DropSnapshot

if TYPE_CHECKING:
    from ..engine.named import NamedSnapshots
    from ..engine.positions import Positions
    from .session import Session


def create_snapshot(session: Session, statement: CreateSnapshot, running: Running) -> Result:
    """Raises Invalid (42710) for a name that is taken, LimitExceeded (53400) where too many or too much is kept."""
    _check_alone(session, "CREATE SNAPSHOT")
    snapshots = session.engine.named
    if statement.if_not_exists and statement.name in {item.name for item in snapshots.list()}:
        session.notice(f'snapshot "{statement.name}" already exists, skipping')
    elif statement.as_of is None:
        snapshots.create(statement.name)
    else:
        clauses = _only_clause(session.resources.parse(statement.as_of))
        with session.engine.snapshot() as reader:
            past = pinned(clauses, session.execution(reader, running))
            try:
                snapshots.create(statement.name, past.snapshots[0].version)
            finally:
                past.close()
    return _done(session, "CREATE SNAPSHOT")


def drop_snapshot(session: Session, statement: DropSnapshot) -> Result:
    """Raises NotFound (42704)."""
    return _drop(session, "snapshot", statement, session.engine.named)


def drop_feed(session: Session, statement: DropFeed) -> Result:
    """Raises NotFound (42704)."""
    return _drop(session, "feed", statement, session.engine.positions)


def _drop(session: Session, noun: str, statement: DropSnapshot | DropFeed, items: NamedSnapshots | Positions) -> Result:
    _check_alone(session, f"DROP {noun.upper()}")
    if statement.if_exists and statement.name not in {item.name for item in items.list()}:
        session.notice(f'{noun} "{statement.name}" does not exist, skipping')
    else:
        items.drop(statement.name)
    return _done(session, f"DROP {noun.upper()}")


def _only_clause(parsed: Parsed) -> tuple[exp.Version, ...]:
    """The AS OF clause of a query that has nothing else."""
    table = parsed.tree.find(exp.Table)
    parts = [name for node in (parsed.tree, table) if node is not None for name, part in node.args.items() if part]
    if parts != ["from_", "this", "version"]:
        raise Invalid("syntax error: CREATE SNAPSHOT name AS OF … ends with a version or a time", sqlstate="42601")
    return parsed.past


def _check_alone(session: Session, what: str) -> None:
    session.check_writable(what)
    if session.block is not None:
        raise Invalid(
            f"{what} cannot run inside a transaction block",
            hint="Run it by itself: it is about versions that are committed.",
            sqlstate="25001",
        )


def _done(session: Session, tag: str) -> Result:
    return Result(schema=EMPTY_SCHEMA, batches=(), version=session.engine.version, tag=tag)
