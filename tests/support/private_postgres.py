"""A PostgreSQL of the test's own, where one is installed; else the test is skipped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from weftdb.bench.postgres import PostgresStore
from weftdb.bench.systems import Missing


@contextmanager
def private_postgres(factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address, for psycopg."""
    folder = factory.mktemp("postgres")
    for above in (folder, *folder.parents):
        if above == Path(tempfile.gettempdir()):
            break
        above.chmod(0o755)  # it runs as another user where we are root
    try:
        store = PostgresStore()
    except Missing as error:
        pytest.skip(str(error))
    try:
        store.open_database(folder)
        yield f"host=127.0.0.1 port={store.port} user=bench dbname=postgres"
    finally:
        store.close()
