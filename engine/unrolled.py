"""A function for each value of one row, applied without a loop: the loop would cost more than the functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

Unrolled: TypeAlias = Callable[[Sequence[Any]], tuple[Any, ...]]


def unrolled(functions: Sequence[Callable[[Any], Any]]) -> Unrolled:
    """What makes ``(functions[0](values[0]), functions[1](values[1]), ...)`` of as many values."""
    return _unroller(len(functions))(*functions)


@cache
def _unroller(count: int) -> Callable[..., Unrolled]:
    parameters = ", ".join([f"f{n}" for n in range(count)])
    items = "".join([f"f{n}(values[{n}]), " for n in range(count)])
    return eval(f"lambda {parameters}: lambda values: ({items})")
