"""Writes that are done once, however often a client sends them because it lost the answer.

    first     id ──► write ──► log: rows and id ──► answer ✗ (connection, or server, is gone)
    again     id ──► wait until the first is over ──► is the id in the log? its outcome, else write

Outside a transaction the id is that of a transaction in the log, so it also holds over a crash of the server. Inside
one the session keeps the answer to its last write: its client sends nothing else before it has that, and when the
server crashes the transaction is gone as a whole.

What always holds: of the calls with one id one at a time is looked at, so "not in the log" stays true until the write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..base.errors import Invalid
from ..base.interface import Written
from ..base.limits import NAME_BYTES_MAX
from ..engine.database import Engine
from ..proto.weftdb.v1.kv_pb2 import Once, WriteResponse
from ..sql.session import Session
from .gate import Call
from .sessions import Sessions


class Repeats:
    """The writes under way that have an id. Thread-safe."""

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self._engine = engine
        self._sessions = sessions
        self._changed = threading.Condition()
        self._under_way: set[str] = set()

    def write(
        self, once: Once, session: str, call: Call, work: Callable[[Session], Written], *, one_row: bool = False
    ) -> WriteResponse:
        """Do ``work`` in the session called ``session``, or the outcome of the call that did it before.

        ``one_row``: it is the change of one row, which the log may count as a deletion and a put.
        """
        if not once.id:
            with self._sessions.use(session, call) as use:
                return _answer(work(use.session))
        if len(once.id.encode()) > NAME_BYTES_MAX:
            raise Invalid(f"the id of a write has {len(once.id)} characters", hint="Make up a UUID.", sqlstate="08P01")
        with self._alone(once.id):
            if once.again and call.outside(session):
                commit = self._engine.outcome_of(once.id, since=once.since)
                if commit is not None:
                    return WriteResponse(version=commit.version, rows=1 if one_row else commit.rows)
            with self._sessions.use(session, call) as use:
                if use.held is None:
                    use.session.commit_id = once.id
                    return _answer(work(use.session))
                id, answer = use.held.answered
                if id != once.id:
                    answer = _answer(work(use.session))
                    use.held.answered = once.id, answer
                return answer

    @contextmanager
    def _alone(self, id: str) -> Generator[None]:
        """Nobody else is in here with this id."""
        with self._changed:
            self._changed.wait_for(lambda: id not in self._under_way)
            self._under_way.add(id)
        try:
            yield
        finally:
            with self._changed:
                self._under_way.remove(id)
                self._changed.notify_all()


def _answer(written: Written) -> WriteResponse:
    return WriteResponse(version=written.version, rows=written.rows)
