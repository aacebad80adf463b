"""The embedded change feed: the engine's (engine/feed.py), waited for."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from ..base import interface
from ..base.errors import Closed
from ..base.values import version_of
from ..engine.clock import monotonic
from ..engine.feed import Feed

LOOK_SECONDS: Final = 0.5
"""How often it looks, while it waits, whether another thread has closed it."""


class EmbeddedChanges(interface.Changes):
    """See ``base.interface.Changes``."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._closed = False

    @property
    def position(self) -> int:
        return self._feed.position

    def poll(self, timeout: float | None = None) -> pa.RecordBatch | None:
        until = None if timeout is None else monotonic() + timeout
        while True:
            self._check_open()
            batch = self._feed.read()
            if batch is not None:
                return batch
            left = LOOK_SECONDS if until is None else until - monotonic()
            if not left > 0:
                return None
            self._feed.wait(min(left, LOOK_SECONDS))

    def acknowledge(self, version: int | None = None) -> None:
        self._check_open()
        self._feed.acknowledge(None if version is None else version_of(version, "version"))

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the feed is closed", hint="Open it again with db.changes.")

    def abandon(self) -> None:
        """The database closes."""
        self.close()

    def close(self) -> None:
        self._closed = True
