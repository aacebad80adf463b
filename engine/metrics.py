"""Metrics: numbers that say how the engine is doing, for people, for SQL (``weft_metrics``) and for monitoring.

Whoever knows a number registers it once, with its unit and a sentence; a gauge is read when somebody asks, a counter is
added to where things happen. Names are ``weft_`` and what is measured, whole words, units last, as in
``weft_stall_seconds``; what only grows says so in its description. Reading never waits for a commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number at one moment. ``unit`` is a plural noun: bytes, seconds, rows, commits."""

    name: str
    value: float
    unit: str
    description: str


class Counter:
    """A number that only grows, from 0 when the engine was opened. Thread-safe."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0.0

    @property
    def value(self) -> float:
        return self._value

    def add(self, amount: float = 1) -> None:
        with self._lock:
            self._value += amount


class Meters:
    """All metrics of one engine. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: list[Callable[[], Iterable[Metric]]] = []

    def counter(self, name: str, unit: str, description: str) -> Counter:
        """A counter under ``weft_<name>``."""
        counter = Counter()
        self.gauge(name, unit, description, lambda: counter.value)
        return counter

    def gauge(self, name: str, unit: str, description: str, read: Callable[[], float]) -> Callable[[], None]:
        """What ``read`` says, under ``weft_<name>``; it is called from any thread. Returns what takes it out again."""

        def source() -> list[Metric]:
            return [Metric(name=f"weft_{name}", value=read(), unit=unit, description=description)]

        return self.include(source)

    def include(self, source: Callable[[], Iterable[Metric]]) -> Callable[[], None]:
        """Metrics whose number varies, with their full names. Returns what takes them out again."""
        with self._lock:
            self._sources.append(source)

        def remove() -> None:
            with self._lock:
                if source in self._sources:
                    self._sources.remove(source)

        return remove

    def read(self) -> list[Metric]:
        """All of them now, by name."""
        with self._lock:
            sources = list(self._sources)
        return sorted((metric for source in sources for metric in source()), key=lambda metric: metric.name)
