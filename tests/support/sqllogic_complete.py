"""Puts PostgreSQL's answers into sqllogictest scripts of our own:

python tests/support/sqllogic_complete.py "host=127.0.0.1 port=5432 user=postgres" tests/golden/sqllogic/*.test

Whatever stands below ``----`` is replaced, but of records that are not for PostgreSQL. A statement that PostgreSQL
refuses where the script says ``ok``, or runs where it says ``error``, ends it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from weftdb.bench.sqllogic_script import Record, answer, read
from weftdb.bench.sqllogic_systems import Postgres, Refused, System


def completed(path: Path, system: System) -> str:
    """The script with the system's answers."""
    records = {record.line: record for record in read(path) if not record.halt}
    system.reset()
    out: list[str] = []
    dropping = False
    answers: list[str] | None = []
    for number, line in enumerate(path.read_text().split("\n"), start=1):
        record = records.get(number)
        if record is not None:
            answers = _run(record, system, path) if record.is_for(system.name) else None
        if dropping and line:
            continue
        dropping = line == "----" and answers is not None
        out.extend([line, *(answers or ())] if dropping else [line])
    return "\n".join(out)


def _run(record: Record, system: System, path: Path) -> list[str]:
    try:
        rows = system.execute(record.sql)
    except Refused as error:
        if record.fails:
            return []
        raise SystemExit(f"{path}:{record.line}: {error}") from None
    if record.fails:
        raise SystemExit(f"{path}:{record.line}: not refused")
    if record.types is None:
        return []
    found = answer(rows, types=record.types, sort=record.sort)
    return list(found.values or ()) if found.count <= 40 else [f"{found.count} values hashing to {found.digest}"]


if __name__ == "__main__":
    postgres = Postgres(sys.argv[1])
    for name in sys.argv[2:]:
        Path(name).write_text(completed(Path(name), postgres))
