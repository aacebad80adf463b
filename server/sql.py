"""The SQL service: a thin encoder over ``Session.execute``."""

from __future__ import annotations

from ..base.errors import LimitExceeded
from ..base.limits import PARAMETERS_MAX, STATEMENT_BYTES_MAX
from ..proto.values import from_values
from ..proto.weftdb.v1.sql_pb2 import ExecuteRequest
from .convert import at_least
from .gate import Call
from .sessions import Sessions


class SqlService:
    """Methods of ``weftdb.v1.Sql``."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def execute(self, request: ExecuteRequest, call: Call) -> bytes:
        """Run the text, and answer with the last result. The statement has happened when the answer goes out."""
        _check(request)
        parameters = from_values(request.parameters)
        settings = dict(request.settings.values) if request.HasField("settings") else None
        with self._sessions.use(request.session, call, settings=settings) as use:
            result = use.session.execute(
                request.sql, parameters, timeout=_timeout(request, call), at_least=at_least(request)
            )
            return self._sessions.answer(result, use, call, definitions=use.session.definitions)


def _check(request: ExecuteRequest) -> None:
    if len(request.sql) > STATEMENT_BYTES_MAX:
        message = f"the SQL text has {len(request.sql):,} characters, the limit is {STATEMENT_BYTES_MAX:,}"
        raise LimitExceeded(message, hint="Send data as parameters, or through a writer.")
    if len(request.parameters) > PARAMETERS_MAX:
        raise LimitExceeded(f"{len(request.parameters):,} parameters were given, the limit is {PARAMETERS_MAX:,}")


def _timeout(request: ExecuteRequest, call: Call) -> float | None:
    """The time-out that was asked for, or the call's own deadline, whichever is first."""
    limits = [request.timeout_seconds] if request.HasField("timeout_seconds") else []
    if call.seconds_left is not None:
        limits.append(call.seconds_left)
    return min(limits, default=None)
