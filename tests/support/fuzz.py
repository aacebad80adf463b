"""Random tables, rows and queries from a seed, for oracles that know the answers (fuzz_oracles.py).

    world = World(seed)          tables, and the statements that fill and change them
    query = world.query(number)  the query of that number: the same one whatever was asked before

Every fifth query is the one before with other constants, since these share a plan.

    fuzz_schema.py       types, values, tables; Query and Step
    fuzz_history.py      tables and what happens to them
    fuzz_expressions.py  expressions by type, so that every query is valid PostgreSQL
    fuzz_queries.py      queries and changes of rows
    fuzz_series.py       questions about time series, asked in two ways
"""

from __future__ import annotations

import random
from typing import Final

from fuzz_expressions import ZONES
from fuzz_history import history_of, tables_of
from fuzz_queries import Maker
from fuzz_schema import Query, Step
from fuzz_series import series_query

__all__ = ["Query", "Step", "World"]

_SAME_SHAPE: Final = 5
_SERIES: Final = 0.05


class World:
    """Everything that follows from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = random.Random(f"world {seed}")
        self.timezone = rng.choice(ZONES)
        self.tables = tables_of(rng)
        self.steps = history_of(rng, self.tables)

    def query(self, number: int) -> Query:
        shape = number - 1 if number % _SAME_SHAPE == _SAME_SHAPE - 1 else number
        rng = random.Random(f"query {self.seed} {shape}")
        values = random.Random(f"values {self.seed} {number}")
        maker = Maker(rng, values, self.tables)
        return (series_query(maker) if rng.random() < _SERIES else None) or maker.query()
