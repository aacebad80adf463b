"""The engine's configuration: one object with its defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


def _memory_of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``durable``: a commit is on the disk before it is acknowledged. ``memory_limit``: bytes that tables may hold.

    ``history_seconds``: how long ended row versions stay readable without a pin.
    """

    durable: bool = True
    memory_limit: int = field(default_factory=lambda: _memory_of_machine() * 3 // 4)
    history_seconds: int = 600
