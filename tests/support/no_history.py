"""Databases without history, so that only pins and names keep what has ended."""

from __future__ import annotations

from pathlib import Path

import weftdb
from weftdb.sql.embedded import EmbeddedDatabase


def open_database(folder: Path | None, **options: object) -> EmbeddedDatabase:
    """In a folder below ``folder``, or in memory; without maintenance, unless told."""
    place = None if folder is None else folder / "data"
    database = weftdb.open(place, **{"maintenance": False, "history_seconds": 0, **options})
    assert isinstance(database, EmbeddedDatabase)
    return database


def settle(database: EmbeddedDatabase) -> None:
    """Drop all that may be dropped."""
    database.engine.flush()
    database.engine.compact()
    database.engine.maintenance.release()
