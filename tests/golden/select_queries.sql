# Whole queries over the tables of support/shop.py.

SELECT * FROM people ORDER BY id;
-- id integer | name character varying | city text | age smallint | score double precision
-- 1 | Ada | London | 36 | 9.5
-- 2 | Grace | New York | 85 | 8.25
-- 3 | Edsger | Rotterdam | 72 | NULL
-- 4 | barbara | NULL | 33 | 7
-- 5 | Émile | Paris | NULL | NaN
-- 6 | Zoë | Paris | 36 | -0
SELECT id, name FROM people WHERE age > 35 ORDER BY name;
-- id integer | name character varying
-- 1 | Ada
-- 3 | Edsger
-- 2 | Grace
-- 6 | Zoë
SELECT p.name, o.amount FROM people p JOIN orders o ON o.person_id = p.id ORDER BY o.id;
-- name character varying | amount numeric
-- Ada | 10.5
-- Ada | 99.99
-- Grace | 5
-- Grace | 20
-- Edsger | NULL
-- barbara | -3.33
SELECT name, score FROM people ORDER BY score, id;
-- name character varying | score double precision
-- Zoë | -0
-- barbara | 7
-- Grace | 8.25
-- Ada | 9.5
-- Émile | NaN
-- Edsger | NULL
SELECT name, score FROM people ORDER BY score DESC, id DESC;
-- name character varying | score double precision
-- Edsger | NULL
-- Émile | NaN
-- Ada | 9.5
-- Grace | 8.25
-- barbara | 7
-- Zoë | -0
SELECT city FROM people ORDER BY city NULLS FIRST, id;
-- city text
-- NULL
-- London
-- New York
-- Paris
-- Paris
-- Rotterdam
SELECT city FROM people ORDER BY city DESC NULLS LAST, id;
-- city text
-- Rotterdam
-- Paris
-- Paris
-- New York
-- London
-- NULL
SELECT name FROM people ORDER BY name;
-- name character varying
-- Ada
-- Edsger
-- Grace
-- Zoë
-- barbara
-- Émile
SELECT count(*), count(age), count(DISTINCT age), sum(age), avg(age), min(age), max(city) FROM people;
-- count bigint | count bigint | count bigint | sum bigint | avg numeric | min smallint | max text
-- 6 | 5 | 4 | 262 | 52.4 | 33 | Rotterdam
SELECT count(*), sum(a), avg(a), min(b), max(a), bool_and(a > 1), array_agg(a), string_agg(b, ',') FROM empty;
-- count bigint | sum bigint | avg numeric | min text | max integer | bool_and boolean | array_agg integer[] | string_agg text
-- 0 | NULL | NULL | NULL | NULL | NULL | NULL | NULL
SELECT sum(i), sum(l), avg(s), sum(r), sum(n), avg(n), sum(d) FROM kinds WHERE id IN (1, 2);
-- sum bigint | sum numeric | avg numeric | sum real | sum numeric | avg numeric | sum double precision
-- -1 | -1 | -0.5 | 1.4 | 12345678.1233 | 6172839.06165 | 1e+300
SELECT avg(score), sum(score), min(score), max(score) FROM people;
-- avg double precision | sum double precision | min double precision | max double precision
-- NaN | NaN | -0 | NaN
SELECT city, count(*) AS n, avg(age) FROM people GROUP BY city HAVING count(*) > 0 ORDER BY n DESC, city;
-- city text | n bigint | avg numeric
-- Paris | 2 | 36
-- London | 1 | 36
-- New York | 1 | 85
-- Rotterdam | 1 | 72
-- NULL | 1 | 33
SELECT upper(city) AS c, count(*) FROM people GROUP BY c ORDER BY 1;
-- c text | count bigint
-- LONDON | 1
-- NEW YORK | 1
-- PARIS | 2
-- ROTTERDAM | 1
-- NULL | 1
SELECT upper(city), count(*) FROM people GROUP BY upper(city) ORDER BY upper(city);
-- upper text | count bigint
-- LONDON | 1
-- NEW YORK | 1
-- PARIS | 2
-- ROTTERDAM | 1
-- NULL | 1
SELECT age % 2 AS odd, sum(score) FROM people WHERE age IS NOT NULL GROUP BY 1 ORDER BY 1;
-- odd integer | sum double precision
-- 0 | 9.5
-- 1 | 15.25
SELECT city, name FROM people GROUP BY city;
-- ERROR 42803
SELECT p.id, p.name, count(o.id) FROM people p LEFT JOIN orders o ON o.person_id = p.id GROUP BY p.id ORDER BY p.id;
-- id integer | name character varying | count bigint
-- 1 | Ada | 2
-- 2 | Grace | 2
-- 3 | Edsger | 1
-- 4 | barbara | 1
-- 5 | Émile | 0
-- 6 | Zoë | 0
SELECT sum(amount) FILTER (WHERE paid), count(*) FILTER (WHERE NOT paid), sum(amount) FROM orders;
-- sum numeric | count bigint | sum numeric
-- 12.17 | 2 | 139.93
SELECT string_agg(name, ', ' ORDER BY name DESC), array_agg(id ORDER BY age DESC, id) FROM people;
-- string_agg text | array_agg integer[]
-- Émile, barbara, Zoë, Grace, Edsger, Ada | {5,2,3,1,6,4}
SELECT string_agg(DISTINCT city, ',' ORDER BY city) FROM people;
-- string_agg text
-- London,New York,Paris,Rotterdam
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY age), percentile_disc(0.5) WITHIN GROUP (ORDER BY age), mode() WITHIN GROUP (ORDER BY age) FROM people;
-- percentile_cont double precision | percentile_disc smallint | mode smallint
-- 36 | 36 | 36
SELECT stddev_pop(score), var_samp(score) FROM people WHERE id < 5;
-- stddev_pop double precision | var_samp double precision
-- 1.0206207261596576 | 1.5625
# differs: deviations of integers are DOUBLE PRECISION
SELECT round(stddev(age)::numeric, 6), stddev(age) > 0, variance(age) > 0 FROM people WHERE id < 5;
-- round numeric | ?column? boolean | ?column? boolean
-- 25.980762 | t | t
SELECT city, age, count(*), grouping(city, age) FROM people GROUP BY ROLLUP (city, age) ORDER BY 4, 1, 2;
-- city text | age smallint | count bigint | grouping integer
-- London | 36 | 1 | 0
-- New York | 85 | 1 | 0
-- Paris | 36 | 1 | 0
-- Paris | NULL | 1 | 0
-- Rotterdam | 72 | 1 | 0
-- NULL | 33 | 1 | 0
-- London | NULL | 1 | 1
-- New York | NULL | 1 | 1
-- Paris | NULL | 2 | 1
-- Rotterdam | NULL | 1 | 1
-- NULL | NULL | 1 | 1
-- NULL | NULL | 6 | 3
SELECT city, age, count(*) FROM people GROUP BY GROUPING SETS ((city), (age), ()) ORDER BY 1, 2, 3;
-- city text | age smallint | count bigint
-- London | NULL | 1
-- New York | NULL | 1
-- Paris | NULL | 2
-- Rotterdam | NULL | 1
-- NULL | 33 | 1
-- NULL | 36 | 2
-- NULL | 72 | 1
-- NULL | 85 | 1
-- NULL | NULL | 1
-- NULL | NULL | 1
-- NULL | NULL | 6
SELECT paid, person_id, count(*) FROM orders GROUP BY CUBE (paid, person_id) ORDER BY 1, 2, 3;
-- paid boolean | person_id integer | count bigint
-- f | 1 | 1
-- f | 9 | 1
-- f | NULL | 2
-- t | 1 | 1
-- t | 2 | 1
-- t | 3 | 1
-- t | 4 | 1
-- t | NULL | 4
-- NULL | 1 | 2
-- NULL | 2 | 1
-- NULL | 2 | 2
-- NULL | 3 | 1
-- NULL | 4 | 1
-- NULL | 9 | 1
-- NULL | NULL | 1
-- NULL | NULL | 7
SELECT person_id, paid, count(*) FROM orders GROUP BY person_id, ROLLUP (paid) ORDER BY 1, 2, 3;
-- person_id integer | paid boolean | count bigint
-- 1 | f | 1
-- 1 | t | 1
-- 1 | NULL | 2
-- 2 | t | 1
-- 2 | NULL | 1
-- 2 | NULL | 2
-- 3 | t | 1
-- 3 | NULL | 1
-- 4 | t | 1
-- 4 | NULL | 1
-- 9 | f | 1
-- 9 | NULL | 1
SELECT 1 FROM people HAVING count(*) > 100;
-- ?column? integer
SELECT count(*) FROM people HAVING count(*) > 1;
-- count bigint
-- 6
SELECT name, row_number() OVER (ORDER BY id), rank() OVER (ORDER BY age), dense_rank() OVER (ORDER BY age NULLS FIRST) FROM people ORDER BY id;
-- name character varying | row_number bigint | rank bigint | dense_rank bigint
-- Ada | 1 | 2 | 3
-- Grace | 2 | 5 | 5
-- Edsger | 3 | 4 | 4
-- barbara | 4 | 1 | 2
-- Émile | 5 | 6 | 1
-- Zoë | 6 | 2 | 3
SELECT id, sum(age) OVER (PARTITION BY city), lag(name) OVER (ORDER BY id), lead(id, 2, -1) OVER (ORDER BY id) FROM people ORDER BY id;
-- id integer | sum bigint | lag character varying | lead integer
-- 1 | 36 | NULL | 3
-- 2 | 85 | Ada | 4
-- 3 | 72 | Grace | 5
-- 4 | 33 | Edsger | 6
-- 5 | 36 | barbara | -1
-- 6 | 36 | Émile | -1
SELECT id, sum(id) OVER w, avg(id) OVER (w ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING), first_value(name) OVER w FROM people WINDOW w AS (ORDER BY id) ORDER BY id;
-- id integer | sum bigint | avg numeric | first_value character varying
-- 1 | 1 | 1.5 | Ada
-- 2 | 3 | 2 | Ada
-- 3 | 6 | 3 | Ada
-- 4 | 10 | 4 | Ada
-- 5 | 15 | 5 | Ada
-- 6 | 21 | 5.5 | Ada
SELECT id, count(*) OVER (ORDER BY at RANGE BETWEEN interval '30 days' PRECEDING AND CURRENT ROW) FROM orders WHERE at IS NOT NULL ORDER BY id;
-- id bigint | count bigint
-- 1 | 2
-- 2 | 3
-- 3 | 3
-- 4 | 2
-- 5 | 3
-- 6 | 1
SELECT id, ntile(3) OVER (ORDER BY id), cume_dist() OVER (ORDER BY age), percent_rank() OVER (ORDER BY age), nth_value(name, 2) OVER (ORDER BY id) FROM people ORDER BY id;
-- id integer | ntile integer | cume_dist double precision | percent_rank double precision | nth_value character varying
-- 1 | 1 | 0.5 | 0.2 | NULL
-- 2 | 1 | 0.8333333333333334 | 0.8 | Grace
-- 3 | 2 | 0.6666666666666666 | 0.6 | Grace
-- 4 | 2 | 0.16666666666666666 | 0 | Grace
-- 5 | 3 | 1 | 1 | Grace
-- 6 | 3 | 0.5 | 0.2 | Grace
SELECT city, sum(count(*)) OVER (ORDER BY city) FROM people GROUP BY city ORDER BY city;
-- city text | sum numeric
-- London | 1
-- New York | 2
-- Paris | 4
-- Rotterdam | 5
-- NULL | 6
SELECT id, count(*) OVER (ORDER BY age GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) FROM people ORDER BY id;
-- id integer | count bigint
-- 1 | 2
-- 2 | 1
-- 3 | 2
-- 4 | 0
-- 5 | 1
-- 6 | 2
SELECT DISTINCT city FROM people ORDER BY city;
-- city text
-- London
-- New York
-- Paris
-- Rotterdam
-- NULL
SELECT DISTINCT ON (city) city, name FROM people ORDER BY city, age DESC, id;
-- city text | name character varying
-- London | Ada
-- New York | Grace
-- Paris | Émile
-- Rotterdam | Edsger
-- NULL | barbara
SELECT DISTINCT age % 2 AS x FROM people ORDER BY x;
-- x integer
-- 0
-- 1
-- NULL
SELECT name FROM people ORDER BY id LIMIT 2 OFFSET 1;
-- name character varying
-- Grace
-- Edsger
SELECT name FROM people ORDER BY id OFFSET 4;
-- name character varying
-- Émile
-- Zoë
SELECT name FROM people ORDER BY id FETCH FIRST 2 ROWS ONLY;
-- name character varying
-- Ada
-- Grace
SELECT name FROM people ORDER BY id LIMIT ALL;
-- name character varying
-- Ada
-- Grace
-- Edsger
-- barbara
-- Émile
-- Zoë
SELECT name FROM people ORDER BY id LIMIT 1 + 1;
-- name character varying
-- Ada
-- Grace
SELECT name FROM people LIMIT 0;
-- name character varying
SELECT p.name, o.id FROM people p LEFT JOIN orders o ON o.person_id = p.id AND o.paid ORDER BY p.id, o.id;
-- name character varying | id bigint
-- Ada | 1
-- Grace | 3
-- Edsger | 5
-- barbara | 7
-- Émile | NULL
-- Zoë | NULL
SELECT p.name, o.id FROM people p RIGHT JOIN orders o ON o.person_id = p.id ORDER BY o.id;
-- name character varying | id bigint
-- Ada | 1
-- Ada | 2
-- Grace | 3
-- Grace | 4
-- Edsger | 5
-- NULL | 6
-- barbara | 7
SELECT p.name, o.id FROM people p FULL JOIN orders o ON o.person_id = p.id ORDER BY p.id NULLS LAST, o.id;
-- name character varying | id bigint
-- Ada | 1
-- Ada | 2
-- Grace | 3
-- Grace | 4
-- Edsger | 5
-- barbara | 7
-- Émile | NULL
-- Zoë | NULL
-- NULL | 6
SELECT p.name, o.id FROM people p LEFT JOIN orders o ON o.person_id = p.id WHERE o.id IS NULL ORDER BY p.id;
-- name character varying | id bigint
-- Émile | NULL
-- Zoë | NULL
SELECT p.name, o.amount FROM people p LEFT JOIN orders o ON o.person_id = p.id WHERE o.amount > 6 ORDER BY o.id;
-- name character varying | amount numeric
-- Ada | 10.5
-- Ada | 99.99
-- Grace | 20
SELECT count(*) FROM people CROSS JOIN orders;
-- count bigint
-- 42
SELECT count(*) FROM people, orders WHERE people.id = orders.person_id;
-- count bigint
-- 6
SELECT * FROM people JOIN orders USING (id) ORDER BY id;
-- id bigint | name character varying | city text | age smallint | score double precision | person_id integer | amount numeric | at timestamp without time zone | paid boolean
-- 1 | Ada | London | 36 | 9.5 | 1 | 10.5 | 2024-01-05 10:00:00 | t
-- 2 | Grace | New York | 85 | 8.25 | 1 | 99.99 | 2024-01-05 23:59:59.999999 | f
-- 3 | Edsger | Rotterdam | 72 | NULL | 2 | 5 | 2024-01-31 00:00:00 | t
-- 4 | barbara | NULL | 33 | 7 | 2 | 20 | 2024-02-29 12:30:00 | NULL
-- 5 | Émile | Paris | NULL | NaN | 3 | NULL | 2024-03-01 00:00:00 | t
-- 6 | Zoë | Paris | 36 | -0 | 9 | 7.77 | 2023-12-31 08:15:00 | f
SELECT id, people.id, orders.id FROM people FULL JOIN orders USING (id) ORDER BY id;
-- ERROR 42702
SELECT id FROM people RIGHT JOIN orders USING (id) ORDER BY id;
-- id bigint
-- 1
-- 2
-- 3
-- 4
-- 5
-- 6
-- 7
SELECT a, b FROM empty NATURAL JOIN loose;
-- a integer | b text
SELECT x.id, y.id FROM people x JOIN people y ON x.age = y.age AND x.id < y.id;
-- id integer | id integer
-- 1 | 6
SELECT p.name, t.n FROM people p, LATERAL (SELECT count(*) AS n FROM orders o WHERE o.person_id = p.id) t ORDER BY p.id;
-- name character varying | n bigint
-- Ada | 2
-- Grace | 2
-- Edsger | 1
-- barbara | 1
-- Émile | 0
-- Zoë | 0
SELECT p.name, t.amount FROM people p LEFT JOIN LATERAL (SELECT amount FROM orders o WHERE o.person_id = p.id ORDER BY amount DESC LIMIT 1) t ON true ORDER BY p.id;
-- name character varying | amount numeric
-- Ada | 99.99
-- Grace | 20
-- Edsger | NULL
-- barbara | -3.33
-- Émile | NULL
-- Zoë | NULL
SELECT name FROM people WHERE id IN (SELECT person_id FROM orders WHERE paid) ORDER BY id;
-- name character varying
-- Ada
-- Grace
-- Edsger
-- barbara
SELECT name FROM people WHERE id NOT IN (SELECT person_id FROM orders) ORDER BY id;
-- name character varying
-- Émile
-- Zoë
SELECT name FROM people WHERE age NOT IN (SELECT age FROM people WHERE id = 5) ORDER BY id;
-- name character varying
SELECT name FROM people p WHERE EXISTS (SELECT 1 FROM orders o WHERE o.person_id = p.id) ORDER BY id;
-- name character varying
-- Ada
-- Grace
-- Edsger
-- barbara
SELECT name FROM people p WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.person_id = p.id) ORDER BY id;
-- name character varying
-- Émile
-- Zoë
SELECT name, (SELECT max(amount) FROM orders o WHERE o.person_id = p.id) FROM people p ORDER BY id;
-- name character varying | max numeric
-- Ada | 99.99
-- Grace | 20
-- Edsger | NULL
-- barbara | -3.33
-- Émile | NULL
-- Zoë | NULL
SELECT (SELECT name FROM people);
-- ERROR 21000
SELECT name FROM people WHERE age >= ALL (SELECT age FROM people WHERE age IS NOT NULL);
-- name character varying
-- Grace
SELECT name FROM people WHERE age > ANY (SELECT age FROM people WHERE city = 'Paris') ORDER BY id;
-- name character varying
-- Grace
-- Edsger
SELECT name FROM people WHERE (id, age) IN (SELECT 1, 36) ORDER BY id;
-- name character varying
-- Ada
SELECT (1, NULL::int) IN (SELECT id, age FROM people), (99, 1) NOT IN (SELECT id, age FROM people);
-- ?column? boolean | ?column? boolean
-- NULL | t
SELECT ARRAY(SELECT id FROM people ORDER BY id DESC), ARRAY(SELECT id FROM people WHERE false);
-- array integer[] | array integer[]
-- {6,5,4,3,2,1} | {}
SELECT sum(t.n) FROM (SELECT count(*) AS n FROM orders GROUP BY person_id) AS t;
-- sum numeric
-- 7
SELECT t.a, t.b FROM (VALUES (1, 'x'), (2, NULL)) AS t(a, b) ORDER BY a;
-- a integer | b text
-- 1 | x
-- 2 | NULL
VALUES (1, 'a'), (2.5, 'b');
-- column1 numeric | column2 text
-- 1 | a
-- 2.5 | b
VALUES (3), (1), (2) ORDER BY 1 DESC LIMIT 2;
-- column1 integer
-- 3
-- 2
WITH big AS (SELECT * FROM orders WHERE amount > 10) SELECT count(*), (SELECT max(amount) FROM big) FROM big;
-- count bigint | max numeric
-- 3 | 99.99
WITH a AS (SELECT 1 AS x), b(y) AS (SELECT x + 1 FROM a) SELECT x, y FROM a, b;
-- x integer | y integer
-- 1 | 2
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n, sum(n) OVER (ORDER BY n) FROM t ORDER BY n;
-- n integer | sum bigint
-- 1 | 1
-- 2 | 3
-- 3 | 6
-- 4 | 10
-- 5 | 15
WITH RECURSIVE t(n) AS (VALUES (1) UNION SELECT (n * 2) % 10 FROM t) SELECT n FROM t ORDER BY n;
-- n integer
-- 1
-- 2
-- 4
-- 6
-- 8
WITH q AS MATERIALIZED (SELECT id FROM people) SELECT count(*) FROM q a JOIN q b ON a.id = b.id;
-- count bigint
-- 6
SELECT id FROM people UNION SELECT person_id FROM orders ORDER BY 1;
-- id integer
-- 1
-- 2
-- 3
-- 4
-- 5
-- 6
-- 9
SELECT id FROM people UNION ALL SELECT person_id FROM orders ORDER BY id LIMIT 4;
-- id integer
-- 1
-- 1
-- 1
-- 2
SELECT id FROM people INTERSECT SELECT person_id FROM orders ORDER BY id;
-- id integer
-- 1
-- 2
-- 3
-- 4
SELECT id FROM people EXCEPT SELECT person_id FROM orders ORDER BY id;
-- id integer
-- 5
-- 6
SELECT a FROM loose INTERSECT ALL SELECT a FROM loose ORDER BY a;
-- a integer
-- 1
-- 1
-- NULL
SELECT 1 AS x UNION SELECT 2.5 UNION SELECT NULL ORDER BY x;
-- x numeric
-- 1
-- 2.5
-- NULL
SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 2 ORDER BY 1;
-- ?column? integer
-- 1
-- 2
(SELECT id FROM people ORDER BY id DESC LIMIT 1) UNION ALL (SELECT id FROM people ORDER BY id LIMIT 1) ORDER BY 1;
-- id integer
-- 1
-- 6
SELECT 'a' UNION SELECT NULL ORDER BY 1;
-- ?column? text
-- a
-- NULL
SELECT 1 UNION SELECT 'x';
-- ERROR 22P02
SELECT 1, 2 UNION SELECT 1;
-- ERROR 42601
SELECT * FROM big_orders ORDER BY person_id;
-- person_id integer | n bigint | total numeric
-- 1 | 2 | 110.49
-- 2 | 1 | 20
SELECT name, total FROM rich WHERE total > 50 ORDER BY name;
-- name character varying | total numeric
-- Ada | 110.49
SELECT r.* FROM rich r JOIN people p ON p.name = r.name WHERE p.id = 1;
-- name character varying | total numeric
-- Ada | 110.49
SELECT * FROM generate_series(1, 5, 2) AS g;
-- g integer
-- 1
-- 3
-- 5
SELECT g.n FROM generate_series(3, 1, -1) AS g(n);
-- n integer
-- 3
-- 2
-- 1
SELECT d::date FROM generate_series(timestamp '2024-01-30', timestamp '2024-02-02', interval '1 day') AS d;
-- d date
-- 2024-01-30
-- 2024-01-31
-- 2024-02-01
-- 2024-02-02
SELECT p.id, g FROM people p, generate_series(1, p.id) g WHERE p.id < 4 ORDER BY 1, 2;
-- id integer | g integer
-- 1 | 1
-- 2 | 1
-- 2 | 2
-- 3 | 1
-- 3 | 2
-- 3 | 3
SELECT u.v, u.o FROM unnest(ARRAY['x', 'y']) WITH ORDINALITY AS u(v, o) ORDER BY o;
-- v text | o bigint
-- x | 1
-- y | 2
SELECT * FROM generate_series(1, 2, 0);
-- ERROR 22023
SELECT * FROM kinds WHERE id = 1;
-- id integer | b boolean | s smallint | i integer | l bigint | r real | d double precision | n numeric | t text | v character varying | y bytea | da date | ti time without time zone | ts timestamp without time zone | tz timestamp with time zone | iv interval | u uuid | j json
-- 1 | t | 32767 | 2147483647 | 9223372036854775807 | 1.5 | 1e+300 | 12345678.1234 | it's | abc | \x00ff | 2024-02-29 | 23:59:59.5 | 2024-02-29 12:34:56.789 | 2024-02-29 10:34:56+00 | 1 mon 2 days 03:04:05 | a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 | {"a": 1, "b": [1, "x"]}
SELECT * FROM kinds WHERE id IN (2, 3, 4) ORDER BY id;
-- id integer | b boolean | s smallint | i integer | l bigint | r real | d double precision | n numeric | t text | v character varying | y bytea | da date | ti time without time zone | ts timestamp without time zone | tz timestamp with time zone | iv interval | u uuid | j json
-- 2 | f | -32768 | -2147483648 | -9223372036854775808 | -0.1 | -2.5 | -0.0001 | back\slash |  | \x | 1999-12-31 | 00:00:00 | 1970-01-01 00:00:00 | 2024-07-01 00:00:00+00 | -1 days | 00000000-0000-0000-0000-000000000000 | []
-- 3 | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL
-- 4 | t | 0 | 0 | 0 | 0 | Infinity | 2.5 | Ünï\ncode | 5 | \x616263 | 2000-01-03 | 12:00:00 | 2000-01-03 00:00:00 | 2000-01-03 00:00:00+00 | 00:00:00.000001 | ffffffff-ffff-ffff-ffff-ffffffffffff | null
SELECT id FROM kinds ORDER BY d DESC, id;
-- id integer
-- 3
-- 4
-- 1
-- 2
SELECT id, d > 1, n * 2, t || '!', v = '5', b IS TRUE FROM kinds ORDER BY id;
-- id integer | ?column? boolean | ?column? numeric | ?column? text | ?column? boolean | ?column? boolean
-- 1 | t | 24691356.2468 | it's! | f | t
-- 2 | f | -0.0002 | back\slash! | f | f
-- 3 | NULL | NULL | NULL | NULL | f
-- 4 | t | 5 | Ünï\ncode! | t | t
SELECT id FROM kinds WHERE ts >= '2000-01-03' AND tz < '2024-12-31' ORDER BY id;
-- id integer
-- 1
-- 4
SELECT id FROM kinds WHERE u = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' OR y = '\x' ORDER BY id;
-- id integer
-- 1
-- 2
SELECT id FROM kinds WHERE da BETWEEN '1999-01-01' AND '2024-02-29' ORDER BY id;
-- id integer
-- 1
-- 2
-- 4
SELECT id FROM kinds WHERE n = -0.0001 OR n = 2.5 ORDER BY id;
-- id integer
-- 2
-- 4
SELECT id, j -> 'a', j -> 'b' ->> 1 FROM kinds WHERE id = 1;
-- id integer | ?column? json | ?column? text
-- 1 | 1 | x
# differs: parts of a JSON text lose their blanks
SELECT j ->> 'b' FROM kinds WHERE id = 1;
-- ?column? text
-- [1,"x"]
SELECT count(*) FROM orders WHERE amount * 2 > 20.999;
-- count bigint
-- 3
SELECT time_bucket('7 days', at) AS week, count(*) FROM orders WHERE at IS NOT NULL GROUP BY 1 ORDER BY 1;
-- week timestamp without time zone | count bigint
-- 2023-12-25 00:00:00 | 1
-- 2024-01-01 00:00:00 | 2
-- 2024-01-29 00:00:00 | 1
-- 2024-02-26 00:00:00 | 2
SELECT date_trunc('month', at) AS m, sum(amount) FROM orders GROUP BY m ORDER BY m;
-- m timestamp without time zone | sum numeric
-- 2023-12-01 00:00:00 | 7.77
-- 2024-01-01 00:00:00 | 115.49
-- 2024-02-01 00:00:00 | 20
-- 2024-03-01 00:00:00 | NULL
-- NULL | -3.33
SELECT weekday, n FROM (SELECT extract(dow FROM at) AS weekday, count(*) AS n FROM orders GROUP BY 1) q WHERE weekday IS NOT NULL ORDER BY weekday;
-- weekday numeric | n bigint
-- 0 | 1
-- 3 | 1
-- 4 | 1
-- 5 | 3
SELECT name FROM people WHERE name LIKE 'G%' OR name ILIKE 'ED%' ORDER BY id;
-- name character varying
-- Grace
-- Edsger
SELECT id FROM people WHERE name > 'Z' ORDER BY id;
-- id integer
-- 4
-- 5
-- 6
SELECT max(city), min(city) FROM people;
-- max text | min text
-- Rotterdam | London
# differs: the greatest VARCHAR is a VARCHAR, not TEXT
SELECT max(name), min(name) FROM people;
-- max character varying | min character varying
-- Émile | Ada
SELECT id FROM people WHERE NOT (age > 40) ORDER BY id;
-- id integer
-- 1
-- 4
-- 6
SELECT id FROM people WHERE age > 40 IS NOT TRUE ORDER BY id;
-- id integer
-- 1
-- 4
-- 5
-- 6
SELECT id FROM orders WHERE paid ORDER BY id;
-- id bigint
-- 1
-- 3
-- 5
-- 7
SELECT every(age > 10), bool_or(age > 80), bit_and(id) FROM people;
-- every boolean | bool_or boolean | bit_and integer
-- t | t | 0
SELECT name, CASE WHEN age > 50 THEN 'old' WHEN age IS NULL THEN NULL ELSE 'young' END AS kind FROM people ORDER BY id;
-- name character varying | kind text
-- Ada | young
-- Grace | old
-- Edsger | old
-- barbara | young
-- Émile | NULL
-- Zoë | young
SELECT id + 1 AS id FROM people ORDER BY id DESC LIMIT 2;
-- id integer
-- 7
-- 6
SELECT id AS x FROM people ORDER BY -id LIMIT 2;
-- x integer
-- 6
-- 5
SELECT count(*) FROM (SELECT DISTINCT ON (city) * FROM people ORDER BY city, id) q;
-- count bigint
-- 5
SELECT t.city, t.n FROM (SELECT city, count(*) AS n FROM people GROUP BY city) t WHERE t.city = 'Paris';
-- city text | n bigint
-- Paris | 2
SELECT s.r FROM (SELECT id, rank() OVER (ORDER BY age) AS r FROM people) s WHERE s.id = 1;
-- r bigint
-- 2
SELECT l.id FROM (SELECT id FROM people ORDER BY id LIMIT 2) l WHERE l.id > 1;
-- id integer
-- 2
SELECT max(x) FROM (SELECT id AS x FROM people UNION ALL SELECT person_id FROM orders) u WHERE x > 2;
-- max integer
-- 9
SELECT round(covar_pop(id, age)::numeric, 6), corr(id, age) IS NULL, regr_count(id, age) FROM people;
-- round numeric | ?column? boolean | regr_count bigint
-- -13.68 | f | 5

SELECT id FROM people WHERE score > 8 ORDER BY id;
-- id integer
-- 1
-- 2
-- 5
SELECT id FROM people WHERE score = 'NaN' ORDER BY id;
-- id integer
-- 5
SELECT id FROM people WHERE score = 0;
-- id integer
-- 6
SELECT id FROM people WHERE score < 'NaN' ORDER BY id;
-- id integer
-- 1
-- 2
-- 4
-- 6
SELECT id FROM people WHERE score IN (0, 'NaN') ORDER BY id;
-- id integer
-- 5
-- 6
SELECT name FROM people WHERE id = 3;
-- name character varying
-- Edsger
SELECT name, id, name FROM people WHERE id IN (1, 3) AND (age > 40 OR city = 'London');
-- name character varying | id integer | name character varying
-- Ada | 1 | Ada
-- Edsger | 3 | Edsger
SELECT id FROM people WHERE id = 1 AND id = 2;
-- id integer
SELECT id FROM people WHERE id = NULL;
-- id integer
SELECT v FROM kinds WHERE v = 'abc';
-- v character varying
-- abc
SELECT * FROM kinds WHERE id = 4;
-- id integer | b boolean | s smallint | i integer | l bigint | r real | d double precision | n numeric | t text | v character varying | y bytea | da date | ti time without time zone | ts timestamp without time zone | tz timestamp with time zone | iv interval | u uuid | j json
-- 4 | t | 0 | 0 | 0 | 0 | Infinity | 2.5 | Ünï\ncode | 5 | \x616263 | 2000-01-03 | 12:00:00 | 2000-01-03 00:00:00 | 2000-01-03 00:00:00+00 | 00:00:00.000001 | ffffffff-ffff-ffff-ffff-ffffffffffff | null
SELECT i FROM kinds WHERE l = 9223372036854775807;
-- i integer
-- 2147483647
SELECT id FROM kinds WHERE s = 32767.0;
-- id integer
-- 1
SELECT id FROM kinds WHERE r = 1.5;
-- id integer
-- 1
SELECT id FROM kinds WHERE r < 0;
-- id integer
-- 2
SELECT id FROM kinds WHERE d >= 1e300;
-- id integer
-- 1
-- 4
SELECT id FROM kinds WHERE da = '2000-01-03' AND ts = da;
-- id integer
-- 4
SELECT id FROM kinds WHERE da < '2000-01-01'::timestamp;
-- id integer
-- 2
SELECT id FROM kinds WHERE iv > '1 day';
-- id integer
-- 1
SELECT id FROM kinds WHERE t = 'it''s' AND y = '\x00ff';
-- id integer
-- 1
SELECT id FROM kinds WHERE b;
-- id integer
-- 1
-- 4
SELECT id FROM kinds WHERE b = false;
-- id integer
-- 2
SELECT id FROM kinds WHERE ti >= '12:00';
-- id integer
-- 1
-- 4
SELECT count(*), min(c.age) FROM ((people a JOIN people b ON a.id = b.id) JOIN people c ON c.id = b.id);
-- count bigint | min smallint
-- 6 | 33
SELECT q, r FROM ((VALUES (1), (2)) AS v(q) CROSS JOIN (VALUES (3)) AS w(r)) ORDER BY q;
-- q integer | r integer
-- 1 | 3
-- 2 | 3
SELECT s.name FROM (((SELECT id, name FROM people) s JOIN people p USING (id)) LEFT JOIN people o USING (id)) ORDER BY id LIMIT 2;
-- name character varying
-- Ada
-- Grace
SELECT (SELECT count(*) FROM orders o WHERE o.person_id = p.id) AS n, count(*) FROM people p GROUP BY (SELECT count(*) FROM orders x WHERE x.person_id = p.id) ORDER BY 1;
-- ERROR 42803
SELECT (SELECT count(*) FROM orders o WHERE o.person_id = p.id) AS n, count(*) FROM people p GROUP BY (SELECT count(*) FROM orders o WHERE o.person_id = p.id) ORDER BY 1;
-- n bigint | count bigint
-- 0 | 2
-- 1 | 2
-- 2 | 2
SELECT 1 + (SELECT max(o.id) FROM orders o WHERE o.id < p.id) AS n FROM people p GROUP BY (SELECT max(o.id) FROM orders o WHERE o.id < p.id) ORDER BY 1;
-- n bigint
-- 2
-- 3
-- 4
-- 5
-- 6
-- NULL
SELECT (SELECT max(o.id) FROM orders o WHERE o.id < p.id) AS n FROM people p GROUP BY (SELECT max(o.id) FROM orders o WHERE o.id < p.age) ORDER BY 1;
-- ERROR 42803
SELECT (SELECT max(o.id) FROM orders o WHERE o.id < 2) AS n FROM people p GROUP BY (SELECT max(o.id) FROM orders o WHERE o.id < 3), p.id ORDER BY 1;
-- n bigint
-- 1
-- 1
-- 1
-- 1
-- 1
-- 1
SELECT DISTINCT ON ((SELECT count(*) FROM orders o WHERE o.person_id = p.id)) name FROM people p ORDER BY (SELECT count(*) FROM orders o WHERE o.person_id = p.id) DESC, name;
-- name character varying
-- Ada
-- Edsger
-- Zoë
SELECT DISTINCT ON ((SELECT count(*) FROM orders o WHERE o.person_id = p.id)) name FROM people p ORDER BY (SELECT count(*) FROM orders o WHERE o.person_id = p.age) DESC, name;
-- ERROR 42P10
SELECT DISTINCT id IN (SELECT person_id FROM orders) AS has FROM people ORDER BY id IN (SELECT person_id FROM orders);
-- has boolean
-- f
-- t
SELECT EXISTS (SELECT 1 FROM orders o WHERE o.person_id = p.id) AS has, count(*) FROM people p GROUP BY EXISTS (SELECT 1 FROM orders o WHERE o.person_id = p.id) HAVING count(*) > 0 ORDER BY 1;
-- has boolean | count bigint
-- f | 2
-- t | 4
WITH w AS (SELECT 2 AS n) SELECT (SELECT max(n) FROM w) + p.id AS s FROM people p GROUP BY (SELECT max(n) FROM w) + p.id ORDER BY (SELECT max(n) FROM w) + p.id LIMIT 2;
-- s integer
-- 3
-- 4
