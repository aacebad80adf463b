"""How far the COPY statements of an engine are: what the relation ``weft_copies`` shows."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...engine.database import Engine


@dataclass(slots=True, kw_only=True)
class CopyFacts:
    """One COPY under way. ``bytes`` of the file were read, of ``bytes_total``; None where nobody knows."""

    principal: str
    command: str
    table: str | None
    file: str
    since: int
    rows: int = 0
    bytes: int | None = None
    bytes_total: int | None = None


class Copies:
    """The COPY statements that run now. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[CopyFacts] = []

    def facts(self) -> list[CopyFacts]:
        with self._lock:
            return list(self._running)

    @contextmanager
    def listed(self, facts: CopyFacts) -> Generator[CopyFacts]:
        with self._lock:
            self._running.append(facts)
        try:
            yield facts
        finally:
            with self._lock:
                self._running.remove(facts)


def copies_of(engine: Engine) -> Copies:
    """The engine's list, made at first use."""
    found = engine.shared.setdefault(Copies, Copies())
    assert isinstance(found, Copies), found
    return found
