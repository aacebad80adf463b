"""How far a CREATE has come that reads all rows of a table: for people who wait, and for whether to go on waiting.

A transaction notes it while it makes an index or a materialized view (made.py); anybody may read it meanwhile, without
a lock (``weft_builds``). It is gone when the transaction ends. Each step asks whether the statement was cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from . import interrupts
from .clock import wall_clock

Phase = Literal["reading rows", "writing groups", "waiting for the commit", "catching up"]


@dataclass(slots=True, kw_only=True)
class Progress:
    """``kind``: what is made, called ``name``, of the rows of ``table``. ``rows_total`` is an upper bound;
    ``rows_after`` were changed by others meanwhile, and caught up with. ``since`` is wall clock.
    """

    kind: Literal["index", "materialized view"]
    name: str
    table: str
    rows_total: int
    rows_done: int = 0
    rows_after: int = 0
    phase: Phase = "reading rows"
    since: int = field(default_factory=wall_clock)

    def read(self, rows: int) -> None:
        """So many more rows were read. Raises what ``interrupts.check`` does."""
        interrupts.check()
        self.rows_done += rows

    def enter(self, phase: Phase) -> None:
        interrupts.check()
        self.phase = phase
