"""Random tables, and the statements that fill and change them: the same to WeftDB, PostgreSQL and DuckDB.

Nothing in a history fails or depends on the order of rows: what is updated from another table has one row there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from fuzz_schema import ARRAYS, INTEGERS, OTHERS, TYPES, VALUES, Column, Step, Table, literal


def tables_of(rng: random.Random) -> list[Table]:
    return [_table(rng, f"t{number}") for number in range(rng.randint(2, 3))]


def _table(rng: random.Random, name: str) -> Table:
    types = [*rng.sample(TYPES, rng.randint(3, 6)), rng.choice(INTEGERS)]
    types += [type for type in OTHERS if rng.random() < 0.25]
    columns = [Column(f"c{number}", type) for number, type in enumerate(types)]
    unique = "u" if rng.random() < 0.3 else ""
    if unique:
        columns.append(Column(unique, "INTEGER"))
    kind = rng.random()
    if kind < 0.3:
        return Table(name, columns, unique=unique)
    key = Column("k", rng.choice(("INTEGER", "BIGINT", "TEXT")))
    if kind < 0.7:
        return Table(name, [key, *columns], ("k",), f" WITH (shards = {rng.randint(1, 3)})", unique)
    time = Column("moment", "TIMESTAMP")
    every = rng.choice(("1 day", "30 days"))
    options = f" WITH (key = 'k', time = 'moment', every = '{every}', shards = {rng.randint(1, 2)})"
    return Table(name, [key, time, *columns], ("k", "moment"), options, unique)


def history_of(rng: random.Random, tables: Sequence[Table]) -> list[Step]:
    """Inserts, updates and deletes, with moments to look back to, segments and indexes in between."""
    steps = [Step(table.ddl(), table.options) for table in tables]
    for round in range(rng.randint(2, 4)):
        for table in tables:
            steps.append(Step(insert(rng, table)))
            if round:
                steps.extend(Step(_change(rng, table, tables, round)) for _ in range(rng.randint(0, 2)))
        if rng.random() < 0.5:
            steps.append(Step(rng.choice(("CHECKPOINT", "VACUUM")), ours=True))
        table = rng.choice(tables)
        indexed = [column.name for column in table.columns if column.type in TYPES]
        columns = ", ".join(rng.sample(indexed, rng.randint(1, 2)))
        steps.append(Step(f"CREATE INDEX i{round} ON {table.name} ({columns})", ours=True))
        if rng.random() < 0.5:
            steps.append(Step(moment=round))
            for table in tables:
                table.pasts.append(round)
    if rng.random() < 0.3:
        steps.append(Step("BEGIN", begins=True))
        steps.extend(Step(_change(rng, table, tables, 9)) for table in tables for _ in range(2))
    return steps


def insert(rng: random.Random, table: Table) -> str:
    """Rows of values; those whose key is there are left out, or take its place."""
    rows: dict[tuple[str, ...] | int, str] = {}
    for number in range(rng.choice((3, 8, 20))):
        values = {column.name: value(rng, table, column) for column in table.columns}
        if table.unique:
            values[table.unique] = "NULL" if rng.random() < 0.2 else str(table.inserted)
        table.inserted += 1
        key = tuple(values[name] for name in table.primary_key)
        rows[tuple(text.strip("'") for text in key) or number] = "(" + ", ".join(values.values()) + ")"
        if key:
            table.keys.append(key)
    if not table.primary_key:
        conflict = ""
    elif table.free and not table.unique and rng.random() < 0.5:
        column = rng.choice(table.free).name
        conflict = f" ON CONFLICT ({', '.join(table.primary_key)}) DO UPDATE SET {column} = excluded.{column}"
    else:
        conflict = f" ON CONFLICT ({', '.join(table.primary_key)}) DO NOTHING"
    return f"INSERT INTO {table.name} VALUES {', '.join(rows.values())}{conflict}"


def value(rng: random.Random, table: Table, column: Column) -> str:
    """A value to insert."""
    if column.name not in table.primary_key:
        return "NULL" if rng.random() < 0.2 else rng.choice(VALUES[column.type])
    if column.type == "TIMESTAMP":
        return f"'2024-0{rng.randint(1, 3)}-1{rng.randint(0, 4)} 0{rng.randint(0, 2)}:00:00'"
    return rng.choice(VALUES[column.type]) if rng.random() < 0.3 else f"'{rng.randint(0, 30)}'"


def _change(rng: random.Random, table: Table, tables: Sequence[Table], round: int) -> str:
    match rng.randrange(8):
        case 0 | 1 | 2:
            return _update(rng, table)
        case 3:
            return f"DELETE FROM {table.name} WHERE {simple(rng, table)}"
        case 4:
            return joined_change(rng, table, rng.choice(tables))
        case 5 if not table.unique and table.primary_key:
            return _merge(rng, table, rng.choice(tables))
        case 6 if table.primary_key and table.type_of("k") in INTEGERS:
            return f"UPDATE {table.name} SET k = k + {(round + 1) * 1000} WHERE k BETWEEN 3 AND {rng.randint(4, 30)}"
        case 7:
            return f"INSERT INTO {table.name} SELECT * FROM {table.name} WHERE false"
        case _:
            return insert(rng, table)


def _update(rng: random.Random, table: Table) -> str:
    column = rng.choice(table.free)
    same = [other.name for other in table.columns if other.type == column.type]
    value = rng.choice((*same, "NULL", literal(column.type, rng.choice(VALUES[column.type]))))
    if column.type in ARRAYS and rng.random() < 0.5:
        item = literal(column.type[:-2], rng.choice(VALUES[column.type[:-2]]))
        value = rng.choice((f"array_append({column.name}, {item})", f"{column.name} || {column.name}"))
    return f"UPDATE {table.name} SET {column.name} = {value} WHERE {simple(rng, table)}"


def joined_change(rng: random.Random, table: Table, other: Table) -> str:
    """UPDATE … FROM, or DELETE … USING."""
    on, grouped, found = _one_each(rng, table, other)
    if found is None or rng.random() < 0.4:
        return f"DELETE FROM {table.name} USING {grouped} WHERE {table.name}.{on} = s.x AND {simple(rng, table, True)}"
    return f"UPDATE {table.name} SET {found} = s.y FROM {grouped} WHERE {table.name}.{on} = s.x"


def _merge(rng: random.Random, table: Table, other: Table) -> str:
    on, grouped, found = _one_each(rng, table, other)
    update = f"UPDATE SET {found} = s.y" if found else "DO NOTHING"
    whens = [f"WHEN MATCHED AND {simple(rng, table, True)} THEN DELETE", f"WHEN MATCHED THEN {update}"]
    rng.shuffle(whens)
    if "AND" in whens[1]:
        whens.pop()  # nothing comes to it
    return f"MERGE INTO {table.name} USING {grouped} ON {table.name}.{on} = s.x {' '.join(whens)}"


def _one_each(rng: random.Random, table: Table, other: Table) -> tuple[str, str, str | None]:
    """A column, a source with one row at most for each of its values, and a column that it has a value for."""
    sortable = [column for column in other.columns if column.type in TYPES and column.type != "BOOLEAN"]
    pairs = [(a, b) for a in table.columns for b in sortable if a.type == b.type]
    if not pairs:
        return _one_each(rng, table, table)
    on, key = rng.choice(pairs)
    values = [(a.name, b.name) for a in table.free for b in sortable if a.type == b.type]
    found, of = rng.choice(values) if values else (None, key.name)
    return on.name, f"(SELECT {key.name} AS x, max({of}) AS y FROM {other.name} GROUP BY {key.name}) AS s", found


def simple(rng: random.Random, table: Table, qualified: bool = False) -> str:
    """A condition that every system reads alike."""
    column = rng.choice([column for column in table.columns if column.type in TYPES])
    name = f"{table.name}.{column.name}" if qualified else column.name
    value = literal(column.type, rng.choice(VALUES[column.type]))
    return rng.choice(
        (
            f"{name} {rng.choice(('=', '<', '>=', '<>'))} {value}",
            f"{name} IS {rng.choice(('', 'NOT '))}NULL",
            f"{name} IN ({value}, {literal(column.type, rng.choice(VALUES[column.type]))})",
        )
    )
