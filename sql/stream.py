"""What a result that outlives its statement still holds: the snapshot that it reads, and the statement's clock.

The result lets go when it was read to its end, when it fails, when it is closed, and when it is forgotten: whatever
comes first; all others find nothing left to do. Small results are complete when ``execute`` returns, and hold nothing.
"""

from __future__ import annotations

import weakref

from ..base.result import Result
from ..engine.snapshot import Snapshot
from .block import Running


class Hold:
    """A pin and a clock, let go together by calling it."""

    def __init__(self, snapshot: Snapshot, running: Running) -> None:
        self.snapshot = snapshot
        self._running = running
        self._done = False

    def __call__(self) -> None:
        self._done = True
        self._running.finish()
        self.snapshot.close()

    def follow(self, result: Result) -> Result:
        """Let go, at the latest, when ``result`` is collected. If it has not happened yet, the statement streams."""
        if not self._done:
            self._running.streaming = True
            weakref.finalize(result, self)
        return result
