"""Statements that WeftDB does not have, by their first word, and what to use instead.

Any other unknown word is a syntax error. What DDL refuses is in sql/ddl.py and sql/definition.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NO_CURSORS: Final = "Read the result as a stream: it is fetched as the client asks for it."
_NO_RIGHTS: Final = "There are no roles and rights yet."
_NO_LOCKS: Final = "Transactions read a snapshot and never wait; a write-write conflict is raised as Conflict (40001)."

REFUSED: Final[Mapping[str, str]] = {
    "CALL": "There are no stored procedures.",
    "CLOSE": _NO_CURSORS,
    "CLUSTER": "Rows are kept in primary-key order by themselves.",
    "DECLARE": _NO_CURSORS,
    "DO": "There are no stored procedures.",
    "FETCH": _NO_CURSORS,
    "GRANT": _NO_RIGHTS,
    "LISTEN": "There are no notifications yet.",
    "LOAD": "There are no extensions.",
    "LOCK": _NO_LOCKS,
    "MOVE": _NO_CURSORS,
    "NOTIFY": "There are no notifications yet.",
    "REASSIGN": _NO_RIGHTS,
    "REINDEX": "Indexes are exact and merged by themselves; leave it out.",
    "REVOKE": _NO_RIGHTS,
    "SECURITY": _NO_RIGHTS,
    "UNLISTEN": "There are no notifications yet.",
    # Other systems' statements, which sqlglot would read.
    "ATTACH": "One database is open at a time.",
    "DESCRIBE": "Use \\d in `weft sql`, or information_schema.columns.",
    "DETACH": "One database is open at a time.",
    "KILL": "Cancel the statement at its own connection.",
    "PRAGMA": "Settings are changed by SET.",
    "REPLACE": "Use INSERT … ON CONFLICT DO UPDATE, or the client's put.",
    "USE": "There is one database and one schema.",
}
