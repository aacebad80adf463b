# Queries as analysts, ORMs and tools for dashboards write them: rows as JSON, LIKE ANY, spellings of every day.

SELECT row_to_json(p) FROM people p WHERE id < 3 ORDER BY id;
-- row_to_json json
-- {"id":1,"name":"Ada","city":"London","age":36,"score":9.5}
-- {"id":2,"name":"Grace","city":"New York","age":85,"score":8.25}
SELECT to_jsonb(p), to_json(p) FROM people p WHERE id = 4;
-- to_jsonb jsonb | to_json json
-- {"id": 4, "age": 33, "city": null, "name": "barbara", "score": 7} | {"id":4,"name":"barbara","city":null,"age":33,"score":7}
SELECT row_to_json(x) FROM (SELECT 1 AS a, 'x' AS b, ARRAY[1, 2] AS c, NULL::int AS d) x;
-- row_to_json json
-- {"a":1,"b":"x","c":[1,2],"d":null}
SELECT row_to_json(1);
-- ERROR 42883
SELECT json_agg(x) FROM (SELECT id, city FROM people ORDER BY id LIMIT 2) x;
-- json_agg json
-- [{"id":1,"city":"London"}, \n {"id":2,"city":"New York"}]
SELECT jsonb_agg(o.* ORDER BY o.id) FROM orders o WHERE person_id = 1;
-- jsonb_agg jsonb
-- [{"at": "2024-01-05T10:00:00", "id": 1, "paid": true, "amount": 10.50, "person_id": 1}, {"at": "2024-01-05T23:59:59.999999", "id": 2, "paid": false, "amount": 99.99, "person_id": 1}]
SELECT json_agg(ARRAY[1, id] ORDER BY id) FROM people WHERE id < 3;
-- json_agg json
-- [[1,1], \n [1,2]]
SELECT p.id, json_agg(o ORDER BY o.id) AS os FROM people p LEFT JOIN orders o ON o.person_id = p.id GROUP BY p.id ORDER BY p.id;
-- id integer | os json
-- 1 | [{"id":1,"person_id":1,"amount":10.50,"at":"2024-01-05T10:00:00","paid":true}, \n {"id":2,"person_id":1,"amount":99.99,"at":"2024-01-05T23:59:59.999999","paid":false}]
-- 2 | [{"id":3,"person_id":2,"amount":5.00,"at":"2024-01-31T00:00:00","paid":true}, \n {"id":4,"person_id":2,"amount":20.00,"at":"2024-02-29T12:30:00","paid":null}]
-- 3 | [{"id":5,"person_id":3,"amount":null,"at":"2024-03-01T00:00:00","paid":true}]
-- 4 | [{"id":7,"person_id":4,"amount":-3.33,"at":null,"paid":true}]
-- 5 | [null]
-- 6 | [null]
SELECT p.id, coalesce(jsonb_agg(o ORDER BY o.id) FILTER (WHERE o.id IS NOT NULL), '[]') AS os FROM people p LEFT JOIN orders o ON o.person_id = p.id GROUP BY p.id ORDER BY p.id;
-- id integer | os jsonb
-- 1 | [{"at": "2024-01-05T10:00:00", "id": 1, "paid": true, "amount": 10.50, "person_id": 1}, {"at": "2024-01-05T23:59:59.999999", "id": 2, "paid": false, "amount": 99.99, "person_id": 1}]
-- 2 | [{"at": "2024-01-31T00:00:00", "id": 3, "paid": true, "amount": 5.00, "person_id": 2}, {"at": "2024-02-29T12:30:00", "id": 4, "paid": null, "amount": 20.00, "person_id": 2}]
-- 3 | [{"at": "2024-03-01T00:00:00", "id": 5, "paid": true, "amount": null, "person_id": 3}]
-- 4 | [{"at": null, "id": 7, "paid": true, "amount": -3.33, "person_id": 4}]
-- 5 | []
-- 6 | []
SELECT json_build_object('p', row_to_json(p), 'n', (SELECT count(*) FROM orders o WHERE o.person_id = p.id)) FROM (SELECT id, name FROM people WHERE id = 1) p;
-- json_build_object json
-- {"p" : {"id":1,"name":"Ada"}, "n" : 2}
SELECT to_jsonb(p) - 'score' - 'age' AS j FROM people p ORDER BY p.id;
-- j jsonb
-- {"id": 1, "city": "London", "name": "Ada"}
-- {"id": 2, "city": "New York", "name": "Grace"}
-- {"id": 3, "city": "Rotterdam", "name": "Edsger"}
-- {"id": 4, "city": null, "name": "barbara"}
-- {"id": 5, "city": "Paris", "name": "Émile"}
-- {"id": 6, "city": "Paris", "name": "Zoë"}
SELECT p.id, to_jsonb(o) IS NULL AS none, o IS NULL AS a, o IS NOT NULL AS b FROM people p LEFT JOIN orders o ON o.person_id = p.id AND o.id < 3 ORDER BY p.id, o.id;
-- id integer | none boolean | a boolean | b boolean
-- 1 | f | f | t
-- 1 | f | f | t
-- 2 | t | t | f
-- 3 | t | t | f
-- 4 | t | t | f
-- 5 | t | t | f
-- 6 | t | t | f
SELECT o.id, to_jsonb(b) AS j FROM orders o LEFT JOIN big_orders b ON b.person_id = o.person_id ORDER BY o.id;
-- id bigint | j jsonb
-- 1 | {"n": 2, "total": 110.49, "person_id": 1}
-- 2 | {"n": 2, "total": 110.49, "person_id": 1}
-- 3 | {"n": 1, "total": 20.00, "person_id": 2}
-- 4 | {"n": 1, "total": 20.00, "person_id": 2}
-- 5 | NULL
-- 6 | NULL
-- 7 | NULL
SELECT count(o), count(o.*), count(*) FROM people p LEFT JOIN orders o ON o.person_id = p.id;
-- count bigint | count bigint | count bigint
-- 6 | 6 | 8
SELECT count(l), count(DISTINCT (l.a, l.b)) FROM loose l;
-- count bigint | count bigint
-- 3 | 2
SELECT count(DISTINCT (person_id, paid)) FROM orders;
-- count bigint
-- 7
SELECT (p).name, (p).city FROM people p WHERE id = 1;
-- name character varying | city text
-- Ada | London
SELECT jsonb_build_object('r', ROW(1, 'x'), 'p', p) FROM people p WHERE id = 1;
-- jsonb_build_object jsonb
-- {"p": {"id": 1, "age": 36, "city": "London", "name": "Ada", "score": 9.5}, "r": {"f1": 1, "f2": "x"}}
SELECT people FROM (SELECT 1 AS people) people;
-- people integer
-- 1
SELECT (1, NULL) IS NULL AS a, (NULL, NULL) IS NULL AS b, ROW(1, 2) IS NOT NULL AS c, (1, NULL) IS NOT NULL AS d, (1, 'a') IS DISTINCT FROM (1, 'b') AS e;
-- a boolean | b boolean | c boolean | d boolean | e boolean
-- f | t | t | f | t
SELECT id FROM people WHERE name LIKE ANY (ARRAY['A%', '%a']) ORDER BY id;
-- id integer
-- 1
-- 4
SELECT id FROM people WHERE name NOT LIKE ALL (ARRAY['A%', '%a']) ORDER BY id;
-- id integer
-- 2
-- 3
-- 5
-- 6
SELECT id FROM people WHERE city ILIKE ANY (string_to_array('PAR%|lon%', '|')) ORDER BY id;
-- id integer
-- 1
-- 5
-- 6
SELECT 'abc' LIKE ANY ('{a%,z}') AS a, 'abc' LIKE ALL (ARRAY['a%', NULL]) AS b, 'x' NOT LIKE ANY (ARRAY['x', 'y']) AS c, NULL LIKE ANY (ARRAY['a']) AS d, 'a' LIKE ANY (ARRAY[]::text[]) AS e, 'a' LIKE ALL (NULL::text[]) AS f, 'a' LIKE ALL (ARRAY[]::text[]) AS g;
-- a boolean | b boolean | c boolean | d boolean | e boolean | f boolean | g boolean
-- t | NULL | t | NULL | f | NULL | t
SELECT id FROM people WHERE city LIKE ANY (SELECT left(city, 3) || '%' FROM people WHERE id < 3) ORDER BY id;
-- id integer
-- 1
-- 2
SELECT id FROM people WHERE name ~ ANY (ARRAY['^A', 'e$']) ORDER BY id;
-- id integer
-- 1
-- 2
-- 5
SELECT p.id FROM people p WHERE NOT EXISTS (SELECT FROM orders o WHERE o.person_id = p.id) ORDER BY p.id;
-- id integer
-- 5
-- 6
SELECT jsonb_typeof(j::jsonb -> 'a') AS a, jsonb_array_length(j::jsonb -> 'b') AS b FROM kinds WHERE id = 1;
-- a text | b integer
-- number | 2
SELECT substring(name from position('d' in name) + 1), '@' AS at, position('@' in 'a@b') FROM people WHERE id = 1;
-- substring text | at text | position integer
-- a | @ | 2
SELECT (date '2024-01-01', date '2024-02-01') OVERLAPS (date '2024-01-15', date '2024-03-01');
-- overlaps boolean
-- t
SELECT interval '1-2' AS a, interval '-1-2 3 4:05' AS b, interval '1-2 3' AS c, interval '1 day -2-3' AS d, interval '0-11' AS e;
-- a interval | b interval | c interval | d interval | e interval
-- 1 year 2 mons | -1 years -2 mons +3 days 04:05:00 | 1 year 2 mons 00:00:03 | -2 years -3 mons +1 day | 11 mons
SELECT json_agg(city) OVER (ORDER BY id) AS a, jsonb_agg(id) OVER (PARTITION BY city ORDER BY id) AS b FROM people WHERE id > 3 ORDER BY id;
-- a json | b jsonb
-- [null] | [4]
-- [null, "Paris"] | [5]
-- [null, "Paris", "Paris"] | [5, 6]
SELECT id, json_object_agg(name, id) OVER (ORDER BY id ROWS 1 PRECEDING) FROM people ORDER BY id LIMIT 3;
-- id integer | json_object_agg json
-- 1 | { "Ada" : 1 }
-- 2 | { "Ada" : 1, "Grace" : 2 }
-- 3 | { "Grace" : 2, "Edsger" : 3 }
# aggregates in a subquery that are of the query around it
SELECT p.city, (SELECT count(p.id)) AS n, (SELECT max(o.amount) FROM orders o WHERE o.id <= count(p.id)) AS m FROM people p GROUP BY p.city ORDER BY p.city;
-- city text | n bigint | m numeric
-- London | 1 | 10.5
-- New York | 1 | 10.5
-- Paris | 2 | 99.99
-- Rotterdam | 1 | 10.5
-- NULL | 1 | 10.5
SELECT city FROM people p GROUP BY city HAVING EXISTS (SELECT 1 FROM orders o WHERE o.id = count(p.id) + 1) ORDER BY city;
-- city text
-- London
-- New York
-- Paris
-- Rotterdam
-- NULL
SELECT (SELECT sum(p.age) + max(o.id) FROM orders o) FROM people p;
-- ?column? bigint
-- 269
SELECT (SELECT sum(p.age + o.id) FROM orders o) AS s FROM people p WHERE p.id < 4 ORDER BY p.id;
-- s numeric
-- 280
-- 623
-- 532
SELECT (SELECT (SELECT count(p.id) + count(o.id)) FROM orders o) FROM people p;
-- ?column? bigint
-- 13
SELECT city, (SELECT string_agg(o.id::text, ',' ORDER BY o.id) FROM orders o WHERE o.id BETWEEN min(p.id) AND max(p.id)) AS ids FROM people p GROUP BY city ORDER BY city;
-- city text | ids text
-- London | 1
-- New York | 2
-- Paris | 5,6
-- Rotterdam | 3
-- NULL | 4
SELECT city FROM people p GROUP BY city ORDER BY (SELECT count(p.id)) DESC, city;
-- city text
-- Paris
-- London
-- New York
-- Rotterdam
-- NULL
SELECT count(*) FILTER (WHERE id > 3) AS a, (SELECT sum(p.id) FILTER (WHERE p.id > 3)) AS b FROM people p;
-- a bigint | b bigint
-- 3 | 15
SELECT id FROM people p WHERE id = (SELECT count(p.id));
-- ERROR 42803
SELECT city, (SELECT o.id FROM orders o WHERE o.id = (SELECT count(p.age))) AS o FROM people p GROUP BY city ORDER BY city;
-- city text | o bigint
-- London | 1
-- New York | 1
-- Paris | 1
-- Rotterdam | 1
-- NULL | 1
# functions
SELECT pg_typeof(1)::text AS a, pg_typeof('a')::text AS b, pg_typeof(now())::text AS c, pg_typeof(1.5::numeric(4, 2))::text AS d, pg_typeof(ARRAY[1])::text AS e, pg_typeof(name)::text AS f FROM people WHERE id = 1;
-- a text | b text | c text | d text | e text | f text
-- integer | unknown | timestamp with time zone | numeric | integer[] | character varying
SELECT n, pg_size_pretty(n) FROM (VALUES (0::bigint), (10239), (10240), (-10240), (20479), (10485247), (10485248), (123456789012), (9223372036854775807), (-1)) v(n) ORDER BY n;
-- n bigint | pg_size_pretty text
-- -10240 | -10 kB
-- -1 | -1 bytes
-- 0 | 0 bytes
-- 10239 | 10239 bytes
-- 10240 | 10 kB
-- 20479 | 20 kB
-- 10485247 | 10239 kB
-- 10485248 | 10 MB
-- 123456789012 | 115 GB
-- 9223372036854775807 | 8192 PB
SELECT ('{"a":[1,{"b":null}]}'::jsonb)['a'][0] AS a, ('{"a":[1]}'::jsonb)['x'] AS b, ('[7,8]'::jsonb)[-1] AS c;
-- a jsonb | b jsonb | c jsonb
-- 1 | NULL | 8
SELECT jsonb_object('{a,1,b,2}') AS a, jsonb_object(ARRAY['a', 'b'], ARRAY['1', NULL]) AS b, json_object('{a,1}') AS c, json_object('{a,b}', '{1,2}') AS d, json_object('{}') AS e;
-- a jsonb | b jsonb | c json | d json | e json
-- {"a": "1", "b": "2"} | {"a": "1", "b": null} | {"a" : "1"} | {"a" : "1", "b" : "2"} | {}
SELECT jsonb_object('{a}');
-- ERROR 2202E
SELECT jsonb_insert('{"a":[0,1,2]}', '{a,1}', '"new"') AS a, jsonb_insert('{"a":[0,1]}', '{a,1}', '9', true) AS b, jsonb_insert('{"a":1}', '{b}', '2') AS c, jsonb_insert('[1]', '{-1}', '0') AS d, jsonb_insert('[1]', '{-1}', '0', true) AS e, jsonb_insert('[1]', '{9}', '0') AS f;
-- a jsonb | b jsonb | c jsonb | d jsonb | e jsonb | f jsonb
-- {"a": [0, "new", 1, 2]} | {"a": [0, 1, 9]} | {"a": 1, "b": 2} | [0, 1] | [1, 0] | [1, 0]
SELECT jsonb_insert('{"a":1}', '{a}', '2');
-- ERROR 22023
SELECT array_dims(ARRAY[1, 2]) AS a, array_dims(ARRAY[]::int[]) AS b, array_to_string(ARRAY[1, NULL, 3], ',', '*') AS c, array_to_string(ARRAY[1, NULL, 3], ',', NULL) AS d;
-- a text | b text | c text | d text
-- [1:2] | NULL | 1,*,3 | 1,3
SELECT regexp_matches('foobarbequebaz', '(bar)(beque)') AS m;
-- m text[]
-- {bar,beque}
SELECT id, (regexp_matches(name, '[aeiou]', 'gi'))[1] AS vowel FROM people WHERE id < 4 ORDER BY id, vowel;
-- id integer | vowel text
-- 1 | A
-- 1 | a
-- 2 | a
-- 2 | e
-- 3 | E
-- 3 | e
SELECT m[1] AS m FROM people, regexp_matches(name, '([a-z]+)') AS m WHERE id = 2;
-- m text
-- race
SELECT regexp_like('Abc', 'abc', 'i') AS a, regexp_like('Abc', 'abc') AS b;
-- a boolean | b boolean
-- t | f
SELECT * FROM jsonb_to_recordset('[{"a":1,"b":"x"},{"a":2,"c":3}]'::jsonb) AS x(a int, b text) ORDER BY a;
-- a integer | b text
-- 1 | x
-- 2 | NULL
SELECT * FROM json_to_recordset('[{"a":1,"b":{"z":1}},{"a":"2","b":[1]}]') AS x(a bigint, b json) ORDER BY a;
-- a bigint | b json
-- 1 | {"z":1}
-- 2 | [1]
SELECT * FROM json_to_record('{"a":1,"b":[1,2],"d":"2024-01-02","n":1.50,"t":true,"u":null}') AS x(a int, b text, d date, n numeric(6, 2), t boolean, u text);
-- a integer | b text | d date | n numeric | t boolean | u text
-- 1 | [1,2] | 2024-01-02 | 1.5 | t | NULL
SELECT k.id, r.a FROM kinds k CROSS JOIN LATERAL jsonb_to_record(k.j::jsonb) AS r(a int) WHERE k.id = 1;
-- id integer | a integer
-- 1 | 1
SELECT * FROM jsonb_to_recordset('[{"a":"x"}]') AS x(a int);
-- ERROR 22P02
SELECT * FROM jsonb_to_recordset('[{"a":"x"}]') AS x;
-- ERROR 42601
SELECT * FROM jsonb_to_recordset('{"a":"x"}') AS x(a int);
-- ERROR 22023
SELECT timestamp(0) '2024-01-01 10:00:00.6' AS a, '2024-01-01 10:00:00.4567'::timestamp(3) AS b, '1999-01-01 10:00:00.5'::timestamp(0) AS c, '10:00:00.55'::time(1) AS d, ts::timestamp(2) AS e FROM kinds WHERE id = 1;
-- a timestamp without time zone | b timestamp without time zone | c timestamp without time zone | d time without time zone | e timestamp without time zone
-- 2024-01-01 10:00:01 | 2024-01-01 10:00:00.457 | 1999-01-01 10:00:00 | 10:00:00.6 | 2024-02-29 12:34:56.79
SELECT CAST('2024-01-01 10:00:00.55+00' AS timestamptz(1)), current_timestamp(0) <= now() + interval '1 second' AS b;
-- timestamptz timestamp with time zone | b boolean
-- 2024-01-01 10:00:00.6+00 | t
SELECT '{1,2}'::int[][];
-- int4 integer[]
-- {1,2}
# functions in FROM by their names, and what VARCHAR sorts as
SELECT * FROM json_array_elements('[{"x":1}]'::json) e;
-- value json
-- {"x":1}
SELECT e.value ->> 'x' AS a, e ->> 'x' AS b, value ->> 'x' AS c FROM json_array_elements('[{"x":1}]'::json) e;
-- a text | b text | c text
-- 1 | 1 | 1
SELECT elem ->> 'a' AS a FROM kinds k CROSS JOIN LATERAL jsonb_array_elements(jsonb_build_array(k.j)) AS elem WHERE k.id = 1;
-- a text
-- 1
SELECT to_jsonb(e) AS j, pg_typeof(e)::text AS t, count(e) OVER () AS n FROM jsonb_array_elements_text('["a","b"]') e ORDER BY 1;
-- j jsonb | t text | n bigint
-- "a" | text | 2
-- "b" | text | 2
SELECT count(e), max(e) FROM jsonb_array_elements_text('["a","b"]') e;
-- count bigint | max text
-- 2 | b
SELECT x FROM jsonb_array_elements('[1,2]') AS e(x) ORDER BY x;
-- x jsonb
-- 1
-- 2
SELECT value, ordinality FROM jsonb_array_elements('[1,2]') WITH ORDINALITY AS e ORDER BY 2;
-- value jsonb | ordinality bigint
-- 1 | 1
-- 2 | 2
SELECT g, g.g FROM generate_series(1, 2) g ORDER BY 1;
-- g integer | g integer
-- 1 | 1
-- 2 | 2
SELECT k FROM jsonb_object_keys('{"a":1}') k;
-- k text
-- a
SELECT m, m[1] AS f FROM regexp_matches('abc', 'b') m;
-- m text[] | f text
-- {b} | b
SELECT string_agg(DISTINCT name, '>' ORDER BY name DESC) AS a FROM people;
-- a text
-- Émile>barbara>Zoë>Grace>Edsger>Ada
SELECT '{"a":1,"b":2,"c":3}'::jsonb - ARRAY['a', 'c'] AS a, '["a","b"]'::jsonb - ARRAY['a'] AS b;
-- a jsonb | b jsonb
-- {"b": 2} | ["b"]
SELECT make_timestamptz(2024, 1, 2, 3, 4, 5) AS a, make_timestamptz(2024, 7, 2, 3, 4, 5.5, 'Europe/Berlin') AS b;
-- a timestamp with time zone | b timestamp with time zone
-- 2024-01-02 03:04:05+00 | 2024-07-02 01:04:05.5+00
