# Set-returning functions in select lists: side by side, after grouping and windows, before DISTINCT and ORDER BY.

SELECT generate_series(1, 3);
-- generate_series integer
-- 1
-- 2
-- 3
SELECT generate_series(1, 3) AS x, generate_series(1, 2) AS y, 7 AS z;
-- x integer | y integer | z integer
-- 1 | 1 | 7
-- 2 | 2 | 7
-- 3 | NULL | 7
SELECT id, generate_series(1, age / 30) AS g FROM people ORDER BY 1, 2;
-- id integer | g integer
-- 1 | 1
-- 2 | 1
-- 2 | 2
-- 3 | 1
-- 3 | 2
-- 4 | 1
-- 6 | 1
SELECT id, unnest(ARRAY[name, city]) AS t FROM people ORDER BY id, t;
-- id integer | t character varying
-- 1 | Ada
-- 1 | London
-- 2 | Grace
-- 2 | New York
-- 3 | Edsger
-- 3 | Rotterdam
-- 4 | barbara
-- 4 | NULL
-- 5 | Paris
-- 5 | Émile
-- 6 | Paris
-- 6 | Zoë
SELECT generate_series(1, 3) * 2 + id AS x FROM people WHERE id < 3 ORDER BY x DESC;
-- x integer
-- 8
-- 7
-- 6
-- 5
-- 4
-- 3
SELECT DISTINCT generate_series(1, 4) % 2 AS m ORDER BY m;
-- m integer
-- 0
-- 1
SELECT city, unnest(array_agg(name ORDER BY name)) AS n FROM people GROUP BY city ORDER BY 1, 2;
-- city text | n character varying
-- London | Ada
-- New York | Grace
-- Paris | Zoë
-- Paris | Émile
-- Rotterdam | Edsger
-- NULL | barbara
SELECT id, generate_series(1, row_number() OVER (ORDER BY id)) AS g FROM people WHERE id < 4 ORDER BY 1, 2;
-- id integer | g bigint
-- 1 | 1
-- 2 | 1
-- 2 | 2
-- 3 | 1
-- 3 | 2
-- 3 | 3
SELECT count(*), sum(g) FROM (SELECT generate_series(1, 100) AS g) AS t WHERE g % 3 = 0;
-- count bigint | sum bigint
-- 33 | 1683
SELECT count(*) FROM (SELECT generate_series(1, 100), id FROM people) AS t;
-- count bigint
-- 600
SELECT unnest('{}'::int[]);
-- unnest integer
SELECT unnest(NULL::int[]), 1;
-- unnest integer | ?column? integer
SELECT generate_series(1, 0), unnest(ARRAY[1, 2]);
-- generate_series integer | unnest integer
-- NULL | 1
-- NULL | 2
SELECT generate_series(5, 1, -2) AS x ORDER BY x;
-- x integer
-- 1
-- 3
-- 5
SELECT generate_series(1, 3, 0);
-- ERROR 22023
SELECT generate_series(timestamp '2024-01-30', '2024-02-02', '1 day') AS d ORDER BY d;
-- d timestamp without time zone
-- 2024-01-30 00:00:00
-- 2024-01-31 00:00:00
-- 2024-02-01 00:00:00
-- 2024-02-02 00:00:00
SELECT generate_subscripts(ARRAY['a', 'b', 'c'], 1) AS i ORDER BY i;
-- i integer
-- 1
-- 2
-- 3
SELECT generate_series(1, 10) AS x ORDER BY x LIMIT 3 OFFSET 2;
-- x integer
-- 3
-- 4
-- 5
SELECT generate_series(1, 2) UNION ALL SELECT 9 ORDER BY 1;
-- generate_series integer
-- 1
-- 2
-- 9
SELECT id FROM people WHERE id IN (SELECT generate_series(2, 4)) ORDER BY id;
-- id integer
-- 2
-- 3
-- 4
SELECT id FROM people WHERE generate_series(1, 2) = id;
-- ERROR 0A000
SELECT count(generate_series(1, 2));
-- ERROR 0A000
SELECT CASE WHEN true THEN generate_series(1, 2) END;
-- ERROR 0A000
SELECT id, generate_series(1, 2) AS g, count(*) FROM people WHERE id < 3 GROUP BY id ORDER BY id, g DESC;
-- id integer | g integer | count bigint
-- 1 | 2 | 1
-- 1 | 1 | 1
-- 2 | 2 | 1
-- 2 | 1 | 1
SELECT date_trunc('day', timestamptz '2024-10-27 22:30:00+00', 'Europe/Berlin') AS d,
    date_trunc('hour', timestamptz '2024-10-27 00:30:00+00', 'Europe/Berlin') AS h,
    date_trunc('month', timestamptz '2024-03-31 22:30:00+00', 'Europe/Berlin') AS m;
-- d timestamp with time zone | h timestamp with time zone | m timestamp with time zone
-- 2024-10-26 22:00:00+00 | 2024-10-27 00:00:00+00 | 2024-03-31 22:00:00+00
SELECT date_bin('15 minutes', at, '2024-01-01') AS b, count(*) FROM orders WHERE at IS NOT NULL GROUP BY b ORDER BY b;
-- b timestamp without time zone | count bigint
-- 2023-12-31 08:15:00 | 1
-- 2024-01-05 10:00:00 | 1
-- 2024-01-05 23:45:00 | 1
-- 2024-01-31 00:00:00 | 1
-- 2024-02-29 12:30:00 | 1
-- 2024-03-01 00:00:00 | 1
SELECT percentile_cont(ARRAY[0.25, 0.5, 1]) WITHIN GROUP (ORDER BY age) AS c,
    percentile_disc(ARRAY[0, 0.5, 0.75]) WITHIN GROUP (ORDER BY age DESC) AS d FROM people;
-- c double precision[] | d smallint[]
-- {36,36,85} | {85,36,36}
SELECT percentile_cont(0.3) WITHIN GROUP (ORDER BY age DESC) AS c,
    percentile_disc(0.3) WITHIN GROUP (ORDER BY name DESC) AS d FROM people;
-- c double precision | d character varying
-- 64.8 | barbara
SELECT percentile_cont(ARRAY[0.5, 1.5]) WITHIN GROUP (ORDER BY age) FROM people;
-- ERROR 22003
