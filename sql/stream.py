"""A query's result that outlives its statement: it keeps its own snapshot pinned, and the statement's clock running.

A result is handed out after its first two batches: small ones are complete by then and hold nothing any more, and most
errors of a query (``1/0`` in the first rows) are raised by ``execute`` and not by whoever reads. What is forgotten
without being read or closed is released when it is collected.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import chain, islice

import pyarrow as pa

from ..base.result import Result
from ..engine.snapshot import Snapshot
from .block import Running

READ_AHEAD_BATCHES = 2


def streamed(result: Result, *, snapshot: Snapshot, running: Running) -> Result:
    """The same result, which closes ``snapshot`` and stops the clock when it ends. Raises what the query raises."""
    batches = _batches(result)
    first = list(islice(batches, READ_AHEAD_BATCHES))
    if len(first) < READ_AHEAD_BATCHES:
        _end(result, snapshot, running)
        return Result(schema=result.schema, batches=first, version=result.version, tag=result.tag, types=result.types)
    running.streaming = True
    release: Callable[[], object]
    whole = Result(
        schema=result.schema,
        batches=chain(first, batches),
        version=result.version,
        tag=result.tag,
        types=result.types,
        on_close=lambda: release(),
    )
    release = weakref.finalize(whole, _end, result, snapshot, running)
    return whole


def _batches(result: Result) -> Iterator[pa.RecordBatch]:
    yield from result.reader()


def _end(result: Result, snapshot: Snapshot, running: Running) -> None:
    result.close()
    running.finish()
    snapshot.close()
