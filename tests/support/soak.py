"""How long the long runs are. `make soak` sets WEFT_SOAK, the factor on what `make test` does, and WEFT_SEED."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("WEFT_SOAK", "1"))
SEED = int(os.environ.get("WEFT_SEED", "1"))


def many(test: int, long: int) -> int:
    """How many of something: ``test`` in `make test`, ``long`` times the factor in `make soak`."""
    return test if FACTOR == 1 else long * FACTOR
