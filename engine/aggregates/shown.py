"""Groups as their view shows them: the columns of a change feed, over rows of the internal table."""

from __future__ import annotations

import pyarrow as pa

from ...base.types import arrow_field
from ..expression.evaluate import evaluate
from ..expression.node import Cast
from ..schema import View


class Shown:
    """What a view that is kept shows of batches of its groups."""

    def __init__(self, view: View) -> None:
        assert view.maintained is not None, "the view is kept"
        pairs = list(zip(view.maintained.outputs, view.columns, strict=True))
        self._outputs = [
            output if output.type == type else Cast(argument=output, type=type) for output, (_, type) in pairs
        ]
        self._fields = [arrow_field(name, type) for _, (name, type) in pairs]
        self._ids = {str(column.id): column.id for column in view.maintained.table.columns}

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows: the columns that are no group's, then those of the view. Raises Invalid (22003)."""
        names = batch.schema.names
        labels = [place for place, name in enumerate(names) if name not in self._ids]
        groups = batch.select([name for name in names if name in self._ids])
        ids = [self._ids[name] for name in groups.schema.names]
        columns = [evaluate(output, groups, column_ids=ids) for output in self._outputs]
        schema = pa.schema([*(batch.schema.field(place) for place in labels), *self._fields])
        return pa.RecordBatch.from_arrays([*(batch.column(place) for place in labels), *columns], schema=schema)
