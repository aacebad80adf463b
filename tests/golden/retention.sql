# What a SQL user sees of retention. The answers are WeftDB's own (PostgreSQL has no such thing): they are written anew by
#
#     WEFT_GOLDEN=write python -m pytest -c tests/pytest.ini tests/test_retention.py -k golden
#
# and then read. Whatever is due to be dropped is dropped after each statement, as the background would do a moment later.

CREATE TABLE readings (device BIGINT, at TIMESTAMP, celsius INT, PRIMARY KEY (device, at)) WITH (time = 'at', every = '1 day', keep = '2 days');
-- CREATE TABLE

INSERT INTO readings VALUES (1, '2026-01-05 10:00', 5), (1, '2026-01-06 10:00', 6), (1, '2026-01-07 10:00', 7);
-- INSERT 0 3

SELECT count(*) AS n, min(at) AS oldest FROM readings;
-- n bigint | oldest timestamp without time zone
-- 3 | 2026-01-05 10:00:00
-- SELECT

# Two days back from the newest, and what is left of that day.
INSERT INTO readings VALUES (1, '2026-01-08 09:00', 8);
-- INSERT 0 1

SELECT at, celsius FROM readings ORDER BY at;
-- at timestamp without time zone | celsius integer
-- 2026-01-06 10:00:00 | 6
-- 2026-01-07 10:00:00 | 7
-- 2026-01-08 09:00:00 | 8
-- SELECT

INSERT INTO readings VALUES (2, '2026-01-08 09:30', 80), (2, '2026-01-05 10:00', 50);
-- ERROR 23514
-- row 2 of "readings" comes too late: its event time 2026-01-05 10:00:00 lies below 2026-01-06 00:00:00, the boundary of what the table keeps (keep = '2 days')
-- Hint: Leave it out, or change the table: ALTER TABLE readings SET (keep = …) keeps more, SET (late = 'ignore') leaves such rows out by itself.

INSERT INTO readings VALUES (1, '2026-01-05 10:00', 5);
-- ERROR 23514
-- row 1 of "readings" comes too late: its event time 2026-01-05 10:00:00 lies below 2026-01-06 00:00:00, the boundary of what the table keeps (keep = '2 days')
-- Hint: Leave it out, or change the table: ALTER TABLE readings SET (keep = …) keeps more, SET (late = 'ignore') leaves such rows out by itself.

SELECT count(*) AS n FROM readings;
-- n bigint
-- 3
-- SELECT

UPDATE readings SET at = '2026-01-01' WHERE celsius = 8;
-- ERROR 23514
-- row 1 of "readings" comes too late: its event time 2026-01-01 00:00:00 lies below 2026-01-06 00:00:00, the boundary of what the table keeps (keep = '2 days')
-- Hint: Leave it out, or change the table: ALTER TABLE readings SET (keep = …) keeps more, SET (late = 'ignore') leaves such rows out by itself.

UPDATE readings SET celsius = celsius + 100;
-- UPDATE 3

DELETE FROM readings WHERE at < '2026-01-06';
-- DELETE 0

# Rows that come too late are left out where the table says so; the others are written.
ALTER TABLE readings SET (late = 'ignore');
-- ALTER TABLE

INSERT INTO readings VALUES (2, '2026-01-08 09:30', 80), (2, '2026-01-05 10:00', 50);
-- INSERT 0 1

INSERT INTO readings SELECT 3, at - INTERVAL '2 days', celsius FROM readings WHERE device = 1 RETURNING at, celsius;
-- at timestamp without time zone | celsius integer
-- 2026-01-06 09:00:00 | 108
-- INSERT 0 1

INSERT INTO readings VALUES (4, '2026-01-05', 1) ON CONFLICT DO NOTHING RETURNING *;
-- device bigint | at timestamp without time zone | celsius integer
-- INSERT 0 0

SELECT device, at, celsius FROM readings ORDER BY device, at;
-- device bigint | at timestamp without time zone | celsius integer
-- 1 | 2026-01-06 10:00:00 | 106
-- 1 | 2026-01-07 10:00:00 | 107
-- 1 | 2026-01-08 09:00:00 | 108
-- 2 | 2026-01-08 09:30:00 | 80
-- 3 | 2026-01-06 09:00:00 | 108
-- SELECT

# A longer keep lets old rows in again, and brings none back.
ALTER TABLE readings SET (keep = '1 year');
-- ALTER TABLE

INSERT INTO readings VALUES (1, '2025-06-01', 1);
-- INSERT 0 1

SELECT device, at FROM readings ORDER BY at LIMIT 2;
-- device bigint | at timestamp without time zone
-- 1 | 2025-06-01 00:00:00
-- 3 | 2026-01-06 09:00:00
-- SELECT

# A shorter one drops at once.
ALTER TABLE readings SET (keep = '1 hour');
-- ALTER TABLE

SELECT device, at FROM readings ORDER BY device;
-- device bigint | at timestamp without time zone
-- 1 | 2026-01-08 09:00:00
-- 2 | 2026-01-08 09:30:00
-- SELECT

ALTER TABLE readings RESET (keep, late);
-- ALTER TABLE

SHOW CREATE readings;
-- definition text
-- CREATE TABLE readings (\n    device BIGINT NOT NULL,\n    at TIMESTAMP NOT NULL,\n    celsius INTEGER,\n    PRIMARY KEY (device, at)\n) WITH (time = 'at', every = '1 day');
-- SHOW

INSERT INTO readings VALUES (1, '2020-06-01', 1);
-- INSERT 0 1

# One bad clock drops nothing.
ALTER TABLE readings SET (keep = '1 day');
-- ALTER TABLE

INSERT INTO readings VALUES (9, '2199-01-01', 9);
-- INSERT 0 1

SELECT device, at FROM readings ORDER BY device, at;
-- device bigint | at timestamp without time zone
-- 1 | 2026-01-08 09:00:00
-- 2 | 2026-01-08 09:30:00
-- 9 | 2199-01-01 00:00:00
-- SELECT

TRUNCATE readings;
-- TRUNCATE TABLE

INSERT INTO readings VALUES (1, '1999-01-01', 1);
-- INSERT 0 1

SELECT device, at FROM readings;
-- device bigint | at timestamp without time zone
-- 1 | 1999-01-01 00:00:00
-- SELECT

# Options that cannot be.
ALTER TABLE readings SET (keep = 30 days);
-- ERROR 42601
-- syntax error at or near "days"
-- LINE 1, column 37: ALTER TABLE readings SET (keep = 30 days)
--                                                        ^
-- Hint: Write keep = '30 days'.

ALTER TABLE readings SET (keep = '30');
-- ERROR 22023
-- table option keep = '30' cannot be
-- Hint: Write its unit: keep = '30 days'.

ALTER TABLE readings SET (kep = '30 days');
-- ERROR 22023
-- table option "kep" does not exist
-- Hint: Did you mean "keep"?

ALTER TABLE readings SET (every = '30 days');
-- ERROR 0A000
-- table option "every" of a table that exists cannot be changed: it says where rows lie
-- Hint: Create a table WITH (every = …), and copy with INSERT … SELECT. ALTER TABLE changes keep, keep_by, late.
