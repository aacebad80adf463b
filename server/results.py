"""Results on their way out: whole in the answer to their call, or held for a moment until their rows are fetched.

    call ──► answer: schema, version, tag, and all rows     at most ANSWER_BYTES
                  or schema, version, tag, and a name ──► Fetch ──► its rows, part by part

One answer costs half of what a stream of one part does. Rows that are there as tuples go as values, without Arrow: for
one row that is most of the work.

What always holds: a result is closed when it was answered whole, when it was fetched, when its call was cancelled, and
when nobody fetched it within RESULT_WAIT_SECONDS; at most RESULTS_WAITING_MAX wait, and the oldest gives way, since a
client fetches at once. What is fetched was run by the same principal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa

from ..base.errors import Closed
from ..base.limits import (
    ANSWER_BYTES,
    ANSWER_VALUES,
    LATER_CHUNK_BYTES,
    RESULT_WAIT_SECONDS,
    RESULTS_WAITING_MAX,
    SCHEMAS_KEPT_MAX,
)
from ..base.result import Result
from ..base.types import METADATA_TYPE, Type
from ..engine.clock import monotonic, new_uuid
from ..proto.frames import cut, pack, write_schema
from ..proto.values import to_value
from ..proto.weftdb.v1.results_pb2 import FetchRequest, ResultAnswer, ResultPart
from ..proto.weftdb.v1.types_pb2 import Settings
from .ahead import made_ahead
from .gate import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """A result whose rows wait. ``cancel`` reaches the statement that makes them."""

    result: Result
    batches: Iterator[pa.RecordBatch]
    cancel: Callable[[], object]
    principal: str
    expires: float


class Results:
    """Methods of ``weftdb.v1.Results``, and the answers that lead to them. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: dict[str, _Rest] = {}
        self._schemas: dict[int, tuple[pa.Schema, tuple[Type, ...], bytes]] = {}

    def answer(self, result: Result, call: Call, *, cancel: Callable[[], object], definitions: int) -> bytes:
        """The answer of a call that has this result, serialized. The result is closed, or held for Fetch."""
        head = ResultAnswer(
            schema=self._schema(result),
            version=result.version,
            tag=result.tag,
            rows_affected=result.rows_affected,
            definitions=definitions,
            notices=result.notices,
            settings=None if result.settings is None else Settings(values=result.settings),
        )
        try:
            rows = result.values
            if rows is not None and len(rows) * len(result.schema) <= ANSWER_VALUES:
                head.values.extend([to_value(value) for row in rows for value in row])
                result.close()
                return head.SerializeToString()
            batches = cut(result.reader(), later_bytes_max=LATER_CHUNK_BYTES)
            first = next(batches, None)
            second = next(batches, None) if first is not None and first.nbytes <= ANSWER_BYTES else None
            if first is None or (second is None and first.nbytes <= ANSWER_BYTES):
                result.close()
                return pack(head, first)
            begun = (first,) if second is None else (first, second)
            rest = _Rest(
                result=result,
                batches=chain(begun, batches),
                cancel=cancel,
                principal=call.principal,
                expires=monotonic() + RESULT_WAIT_SECONDS,
            )
        except BaseException:
            result.close()
            raise
        head.rest = self._hold(rest)
        return head.SerializeToString()

    def fetch(self, request: FetchRequest, call: Call) -> Iterator[bytes]:
        """The rows of a result, once. Raises Closed where they are not here."""
        with self._mutex:
            rest = self._waiting.get(request.rest)
            if rest is not None and rest.principal == call.principal:
                del self._waiting[request.rest]
            else:
                rest = None
        if rest is None:
            raise Closed("the rows of this result are not here (any more)", hint="Run the statement again.")
        with rest.result, call.while_running(rest.cancel):
            yield from made_ahead(pack(ResultPart(), batch) for batch in rest.batches)

    def reap(self, now: float) -> None:
        """Close what nobody has fetched in time."""
        with self._mutex:
            over = [name for name, rest in self._waiting.items() if rest.expires < now]
            rests = [self._waiting.pop(name) for name in over]
        for rest in rests:
            rest.result.close()

    def close_all(self) -> None:
        """For the end of the server."""
        self.reap(float("inf"))

    def _hold(self, rest: _Rest) -> str:
        name = new_uuid()
        with self._mutex:
            self._waiting[name] = rest
            oldest = next(iter(self._waiting)) if len(self._waiting) > RESULTS_WAITING_MAX else None
            dropped = None if oldest is None else self._waiting.pop(oldest)
        if dropped is not None:
            dropped.result.close()
        return name

    def _schema(self, result: Result) -> bytes:
        """The result's schema on the wire, with the SQL type in every field's metadata: Arrow alone does not tell
        VARCHAR from TEXT. That of a plan is the same object each time, and known by it.
        """
        known = self._schemas.get(id(result.schema))
        if known is not None and known[0] is result.schema and known[1] == result.types:
            return known[2]
        fields = zip(result.schema, result.types, strict=True)
        typed = [field.with_metadata({METADATA_TYPE: str(type).encode()}) for field, type in fields]
        data = write_schema(pa.schema(typed))
        if len(self._schemas) >= SCHEMAS_KEPT_MAX:
            self._schemas.clear()
        self._schemas[id(result.schema)] = result.schema, result.types, data
        return data
