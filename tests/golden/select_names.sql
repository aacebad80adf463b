# Names: folding, output names, ambiguity, and what is refused.

SELECT NAME, "name", People.Name FROM PEOPLE ORDER BY ID LIMIT 1;
-- name character varying | name character varying | name character varying
-- Ada | Ada | Ada
SELECT "NAME" FROM people;
-- ERROR 42703
SELECT "A", "a", "b c" FROM "Mixed Case" ORDER BY "A";
-- A integer | a integer | b c text
-- 1 | 10 | x
-- 2 | 20 | y
SELECT A FROM "Mixed Case" ORDER BY 1;
-- a integer
-- 10
-- 20
SELECT * FROM "mixed case";
-- ERROR 42P01
SELECT id AS "Id", id AS ID, id "x y" FROM people WHERE id = 1;
-- Id integer | id integer | x y integer
-- 1 | 1 | 1
SELECT 1, 'a', 1 + 1, -id, id::text, name || 'x', id IS NULL, NOT true FROM people WHERE id = 1;
-- ?column? integer | ?column? text | ?column? integer | ?column? integer | id text | ?column? text | ?column? boolean | ?column? boolean
-- 1 | a | 2 | -1 | 1 | Adax | f | f
SELECT count(*), sum(id), upper('x'), coalesce(1), now() IS NULL, current_date IS NULL, greatest(1, 2) FROM people;
-- count bigint | sum bigint | upper text | coalesce integer | ?column? boolean | ?column? boolean | greatest integer
-- 6 | 21 | X | 1 | f | f | 2
SELECT CASE WHEN true THEN 1 END, CASE WHEN true THEN 1 ELSE id END, (SELECT 1), (SELECT id), EXISTS (SELECT 1), ARRAY[1] FROM people WHERE id = 1;
-- case integer | id integer | ?column? integer | id integer | exists boolean | array integer[]
-- 1 | 1 | 1 | 1 | t | {1}
SELECT '1'::int, '1'::numeric(5,2), cast('x' AS varchar), interval '1 day', date '2024-01-01', true FROM people WHERE id = 1;
-- int4 integer | numeric numeric | varchar character varying | interval interval | date date | ?column? boolean
-- 1 | 1 | x | 1 day | 2024-01-01 | t
SELECT extract(year FROM at), substring('x' FROM 1), trim('x'), position('a' IN 'b'), overlay('a' PLACING 'b' FROM 1) FROM orders WHERE id = 1;
-- extract numeric | substring text | btrim text | position integer | overlay text
-- 2024 | x | x | 0 | b
SELECT row_number() OVER (), sum(id) FILTER (WHERE true), (id), nullif(1, 2) FROM people WHERE id = 1 GROUP BY id;
-- row_number bigint | sum bigint | id integer | nullif integer
-- 1 | 1 | 1 | 1
SELECT nosuch FROM people;
-- ERROR 42703
SELECT people.nosuch FROM people;
-- ERROR 42703
SELECT nosuch.id FROM people;
-- ERROR 42P01
SELECT id FROM people, orders;
-- ERROR 42702
SELECT people.id FROM people p;
-- ERROR 42P01
SELECT * FROM nosuch;
-- ERROR 42P01
SELECT nosuch(1);
-- ERROR 42883
SELECT upper(1, 2);
-- ERROR 42883
SELECT * FROM people p, orders p;
-- ERROR 42712
SELECT id FROM people WHERE count(*) > 1;
-- ERROR 42803
SELECT id FROM people GROUP BY id HAVING name = 'x' AND nosuch > 1;
-- ERROR 42703
SELECT sum(sum(id)) FROM people;
-- ERROR 42803
SELECT id FROM people WHERE row_number() OVER () = 1;
-- ERROR 42P20
SELECT name, count(*) FROM people;
-- ERROR 42803
SELECT id FROM people ORDER BY 5;
-- ERROR 42P10
SELECT id FROM people GROUP BY 5;
-- ERROR 42P10
SELECT id FROM people ORDER BY nosuch;
-- ERROR 42703
SELECT DISTINCT city FROM people ORDER BY id;
-- ERROR 42P10
SELECT DISTINCT ON (city) city FROM people ORDER BY id;
-- ERROR 42P10
SELECT id FROM people UNION SELECT id FROM orders ORDER BY id + 1;
-- ERROR 0A000
SELECT id AS a, age AS a FROM people ORDER BY a;
-- ERROR 42702
SELECT id FROM people WHERE id;
-- ERROR 42804
SELECT id FROM people LIMIT -1;
-- ERROR 2201W
SELECT id FROM people LIMIT id;
-- ERROR 42P10
SELECT id FROM people LIMIT 'x';
-- ERROR 22P02
SELECT * FROM people JOIN orders USING (nosuch);
-- ERROR 42703
SELECT (SELECT id, name FROM people);
-- ERROR 42601
SELECT 1 IN (SELECT 1, 2);
-- ERROR 42601
SELECT * FROM (SELECT 1);
-- ERROR 42601
SELECT * FROM (VALUES (1, 2), (3)) v;
-- ERROR 42601
SELECT * FROM (VALUES (1)) AS v(a, b);
-- ERROR 42P10
WITH a AS (SELECT 1), a AS (SELECT 2) SELECT 1;
-- ERROR 42712
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 0.5 FROM t) SELECT n FROM t;
-- ERROR 42804
SELECT *;
-- ERROR 42601
SELECT 1 FROM people WHERE;
-- ERROR 42601
SELECT FROM WHERE;
-- ERROR 42601
SELECT 1 +;
-- ERROR 42601
SELECT id, FROM people;
-- ERROR 42601
SELECT * FROM people JOIN orders;
-- ERROR 42601
SELECT id FROM people WHERE id = 'abc';
-- ERROR 22P02
SELECT rank() FROM people;
-- ERROR 42809
SELECT upper('x') OVER ();
-- ERROR 42809
SELECT upper(DISTINCT 'x');
-- ERROR 42809
SELECT sum(*) FROM people;
-- ERROR 42883
SELECT count() FROM people;
-- ERROR 42809
SELECT 'x'::nosuch;
-- ERROR 42704
SELECT 1::text::int::date;
-- ERROR 42846
SELECT list_value(1), read_csv('x');
-- ERROR 42883
SELECT grouping(id) FROM people;
-- ERROR 42803
SELECT sum(id) OVER w FROM people;
-- ERROR 42704
SELECT id FROM people p WHERE id = (SELECT p.id) AND p.id = 2;
-- id integer
-- 2
SELECT p.* FROM people AS p(a, b) WHERE a = 1;
-- a integer | b character varying | city text | age smallint | score double precision
-- 1 | Ada | London | 36 | 9.5
SELECT p.a, p.city FROM people AS p(a) WHERE p.a = 1;
-- a integer | city text
-- 1 | London
SELECT q.id FROM people q WHERE public.people.id = 1;
-- ERROR 42P01
SELECT id FROM public.people WHERE id = 1;
-- id integer
-- 1
SELECT pg_catalog.upper('x');
-- upper text
-- X
SELECT id/* a /* nested */ comment */FROM people -- end
WHERE id = 1;
-- id integer
-- 1
SELECT 1 AS select_, 2 AS "select", 3 value;
-- select_ integer | select integer | value integer
-- 1 | 2 | 3
SELECT id FROM people WHERE age = NULL;
-- id integer
SELECT id FROM people WHERE name = ANY (ARRAY['Ada', 'Zoë']) ORDER BY id;
-- id integer
-- 1
-- 6

FROM people;
-- ERROR 42601
SELECT 1 UNION FROM people;
-- ERROR 42601
SELECT * FROM (FROM people) q;
-- ERROR 42601
