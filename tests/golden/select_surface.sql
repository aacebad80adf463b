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

# Operators and functions of arrays.

SELECT (ARRAY[1, 2, 3, 4])[2:3] AS a, (ARRAY[1, 2, 3])[2:] AS b, (ARRAY[1, 2, 3])[:2] AS c, (ARRAY[1, 2, 3])[:] AS d,
    (ARRAY[1, 2, 3])[5:9] AS e, (ARRAY[1, 2, 3])[-4:1] AS f, (ARRAY[1, 2])[NULL:1] AS g;
-- a integer[] | b integer[] | c integer[] | d integer[] | e integer[] | f integer[] | g integer[]
-- {2,3} | {2,3} | {1,2} | {1,2,3} | {} | {1} | NULL
SELECT ARRAY[1, 2, 3] @> ARRAY[2, 2], ARRAY[1, NULL] @> ARRAY[NULL]::int[], ARRAY[1] <@ ARRAY[1, 2], '{}'::int[] <@ ARRAY[1],
    ARRAY[1, 2] && ARRAY[2, 3], ARRAY[1] && ARRAY[2], ARRAY['a'] @> ARRAY['b'], ARRAY[1] && NULL;
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | f | t | t | t | f | f | NULL
SELECT 0 || ARRAY[1], ARRAY[1] || 2, ARRAY[1] || ARRAY[2, 3], array_append(ARRAY[1], 2), array_prepend(0, ARRAY[1]),
    array_cat(ARRAY[1], ARRAY[2]), array_cat(NULL, ARRAY[2]);
-- ?column? integer[] | ?column? integer[] | ?column? integer[] | array_append integer[] | array_prepend integer[] | array_cat integer[] | array_cat integer[]
-- {0,1} | {1,2} | {1,2,3} | {1,2} | {0,1} | {1,2} | {2}
SELECT array_position(ARRAY['a', 'b', NULL, 'b'], 'b'), array_position(ARRAY[1, NULL], NULL), array_position(ARRAY[1, 2, 1], 1, 2),
    array_positions(ARRAY[1, 2, 1], 1), array_position(ARRAY[1], 9);
-- array_position integer | array_position integer | array_position integer | array_positions integer[] | array_position integer
-- 2 | 2 | 3 | {1,3} | NULL
SELECT array_remove(ARRAY[1, 2, 1, NULL], 1), array_remove(ARRAY[1, NULL], NULL), array_replace(ARRAY[1, 2, 1], 1, 9);
-- array_remove integer[] | array_remove integer[] | array_replace integer[]
-- {2,NULL} | {1} | {9,2,9}
SELECT array_upper(ARRAY[5, 6], 1), array_lower(ARRAY[5, 6], 1), array_upper(ARRAY[5, 6], 2), array_ndims(ARRAY[1]),
    array_upper('{}'::int[], 1), trim_array(ARRAY[1, 2, 3], 2), array_fill(7, ARRAY[3]);
-- array_upper integer | array_lower integer | array_upper integer | array_ndims integer | array_upper integer | trim_array integer[] | array_fill integer[]
-- 2 | 1 | NULL | 1 | NULL | {1} | {7,7,7}
SELECT trim_array(ARRAY[1, 2], 3);
-- ERROR 2202E
SELECT string_to_array('a,b,', ','), string_to_array('abc', NULL), string_to_array('', ','), string_to_array('a,,b', ',', ''),
    string_to_array('abc', ''), string_to_array(NULL, ',');
-- string_to_array text[] | string_to_array text[] | string_to_array text[] | string_to_array text[] | string_to_array text[] | string_to_array text[]
-- {a,b,""} | {a,b,c} | {} | {a,NULL,b} | {abc} | NULL
SELECT regexp_split_to_array('a1b22c', '[0-9]+'), regexp_split_to_array('abc', ''), regexp_match('foobar', '(o+)(b)'),
    regexp_match('foobar', 'x'), regexp_match('FooBar', 'BAR', 'i');
-- regexp_split_to_array text[] | regexp_split_to_array text[] | regexp_match text[] | regexp_match text[] | regexp_match text[]
-- {a,b,c} | {a,b,c} | {oo,b} | NULL | {Bar}
SELECT id FROM people WHERE ARRAY[id] <@ ARRAY[1, 3] ORDER BY id;
-- id integer
-- 1
-- 3
SELECT (date '2024-01-01', date '2024-02-01') OVERLAPS (date '2024-01-15', interval '1 day') AS a,
    (date '2024-01-01', date '2024-02-01') OVERLAPS (date '2024-02-01', date '2024-03-01') AS b,
    (time '10:00', time '09:00') OVERLAPS (time '09:30', time '09:30') AS c,
    (timestamp '2024-01-01', timestamp '2024-01-02') OVERLAPS (NULL, timestamp '2024-01-02') AS d;
-- a boolean | b boolean | c boolean | d boolean
-- t | f | t | NULL

# Operators with signs, functions of Python's computing.

SELECT @ -3 AS a, @ -2.5 + 1 AS b, |/ 9.0 + 16 AS c, ||/ 27 AS d, 1 << 4 AS e, -9 >> 1 AS f, 'abc' ^@ 'ab' AS g;
-- a integer | b numeric | c double precision | d double precision | e integer | f integer | g boolean
-- 3 | 1.5 | 5 | 3.0000000000000004 | 16 | -5 | t
SELECT encode(y, 'hex'), encode(y, 'base64') FROM kinds WHERE id < 4 ORDER BY id;
-- encode text | encode text
-- 00ff | AP8=
--  | 
-- NULL | NULL
SELECT encode(decode(repeat('YWJj', 40), 'base64'), 'base64') = repeat('YWJj', 19) || E'\n' || repeat('YWJj', 19) || E'\n'
    || repeat('YWJj', 2) AS wrapped;
-- wrapped boolean
-- t
SELECT decode(name, 'hex') FROM people;
-- ERROR 22023
SELECT id, to_char(amount, 'S999.0') AS s, to_char(at, 'FMDay DD') AS d FROM orders ORDER BY id;
-- id bigint | s text | d text
-- 1 |  +10.5 | Friday 05
-- 2 | +100.0 | Friday 05
-- 3 |   +5.0 | Wednesday 31
-- 4 |  +20.0 | Thursday 29
-- 5 | NULL | Friday 01
-- 6 |   +7.8 | Sunday 31
-- 7 |   -3.3 | NULL
SELECT to_char(amount, CASE WHEN id > 3 THEN '000.00' ELSE '9.9' END) AS s FROM orders ORDER BY id;
-- s text
--  #.#
--  #.#
--  5.0
--  020.00
-- NULL
--  007.77
-- -003.33
SELECT age(timestamp '2020-01-01') > interval '3 years', make_interval(days => 3, secs => 1.5), make_interval(1, 2);
-- ?column? boolean | make_interval interval | make_interval interval
-- t | 3 days 00:00:01.5 | 1 year 2 mons
SELECT format('%s has %s', name, age) FROM people WHERE id < 3 ORDER BY id;
-- format text
-- Ada has 36
-- Grace has 85
SELECT min(to_char(id, '000')) FROM people WHERE encode(name::bytea, 'hex') < '47';
-- min text
--  001

# FETCH FIRST ... WITH TIES.

SELECT age FROM people ORDER BY age FETCH FIRST 2 ROWS WITH TIES;
-- age smallint
-- 33
-- 36
-- 36
SELECT age, id FROM people ORDER BY age DESC NULLS LAST, id FETCH FIRST ROW WITH TIES;
-- age smallint | id integer
-- 85 | 2
SELECT city FROM people ORDER BY city OFFSET 3 FETCH FIRST 1 ROW WITH TIES;
-- city text
-- Paris
SELECT DISTINCT city FROM people ORDER BY city FETCH NEXT 2 ROWS WITH TIES;
-- city text
-- London
-- New York
SELECT count(*) AS n FROM people GROUP BY city ORDER BY count(*) DESC FETCH FIRST 2 ROWS WITH TIES;
-- n bigint
-- 2
-- 1
-- 1
-- 1
-- 1
SELECT count(*) FROM (SELECT name FROM people ORDER BY age / 40 FETCH FIRST 1 ROW WITH TIES) AS t;
-- count bigint
-- 3
SELECT id FROM people ORDER BY age FETCH FIRST 0 ROWS WITH TIES;
-- id integer
SELECT id FROM people FETCH FIRST 2 ROWS WITH TIES;
-- ERROR 42601
SELECT id FROM people ORDER BY id FETCH FIRST 99 ROWS WITH TIES;
-- id integer
-- 1
-- 2
-- 3
-- 4
-- 5
-- 6

# JSONB: one text for a document; its operators and functions, and those of JSON that build and take apart.

SELECT '{"b":1, "aa":[1,2.50,"x"], "a":null, "b": 2}'::jsonb AS a, ' [ 1 ,"\u00e9\n", 1e2, -0.0, true ] '::jsonb AS b, 'null'::jsonb AS c;
-- a jsonb | b jsonb | c jsonb
-- {"a": null, "b": 2, "aa": [1, 2.50, "x"]} | [1, "é\n", 100, 0.0, true] | null
SELECT '{bad'::jsonb;
-- ERROR 22P02
SELECT '{"a":{"b":[1,{"c":"d"}]}}'::jsonb -> 'a' -> 'b' -> 1 ->> 'c' AS a, '{"a":1}'::jsonb ? 'a' AS b,
    '["x"]'::jsonb ?| ARRAY['x', 'y'] AS c, '{"x":1}'::jsonb ?& ARRAY['x', 'y'] AS d, '{"a":{"b":1,"c":2}}'::jsonb #- '{a,b}' AS e,
    '{"a":{"b":[1,2]}}'::jsonb #> ARRAY['a', 'b', '-1'] AS f, '{"a":{"b":[1,2]}}'::jsonb #>> '{a,b}' AS g;
-- a text | b boolean | c boolean | d boolean | e jsonb | f jsonb | g text
-- d | t | t | f | {"a": {"c": 2}} | 2 | [1, 2]
SELECT '{"a":1}'::jsonb = '{ "a" : 1 }'::jsonb AS a, '{"a":1,"b":2}'::jsonb @> '{"a":1}' AS b, '{"a":1}' <@ '{"a":1,"b":2}'::jsonb AS c,
    '{"a":1}'::jsonb || '{"b":2}' AS d, '[1,2]'::jsonb || '3' AS e, '{"a":1}'::jsonb - 'a' AS f, '["a","b"]'::jsonb - 0 AS g;
-- a boolean | b boolean | c boolean | d jsonb | e jsonb | f jsonb | g jsonb
-- t | t | t | {"a": 1, "b": 2} | [1, 2, 3] | {} | ["b"]
SELECT j ->> 'a' AS a, j::jsonb AS j, j::jsonb::text AS t, j::jsonb::json AS k FROM kinds WHERE id = 1;
-- a text | j jsonb | t text | k json
-- 1 | {"a": 1, "b": [1, "x"]} | {"a": 1, "b": [1, "x"]} | {"a": 1, "b": [1, "x"]}
SELECT j::jsonb AS j, count(*) FROM kinds GROUP BY 1 ORDER BY 2, 1;
-- j jsonb | count bigint
-- [] | 1
-- null | 1
-- {"a": 1, "b": [1, "x"]} | 1
-- NULL | 1
SELECT json_build_object('a', 1, 'b', 'x', 'c', NULL, 'd', ARRAY[1, 2], 'e', da, 'f', ts, 'g', tz, 'h', iv, 'i', u, 'k', b, 'l', n)
    AS o FROM kinds WHERE id = 1;
-- o json
-- {"a" : 1, "b" : "x", "c" : null, "d" : [1,2], "e" : "2024-02-29", "f" : "2024-02-29T12:34:56.789", "g" : "2024-02-29T10:34:56+00:00", "h" : "1 mon 2 days 03:04:05", "i" : "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "k" : true, "l" : 12345678.1234}
SELECT json_build_array(1, 'x', NULL, 1.50, j, y, ti, r, d) AS a FROM kinds WHERE id = 1;
-- a json
-- [1, "x", null, 1.50, {"a": 1, "b": [1, "x"]}, "\\x00ff", "23:59:59.5", 1.5, 1e+300]
SELECT jsonb_build_object('b', 1.50, 'a', j) AS o, jsonb_build_array(j, t) AS a FROM kinds WHERE id = 1;
-- o jsonb | a jsonb
-- {"a": {"a": 1, "b": [1, "x"]}, "b": 1.50} | [{"a": 1, "b": [1, "x"]}, "it's"]
SELECT to_json('it"s'::text) AS a, to_jsonb(ARRAY['a', 'b']) AS b, to_json(1.50) AS c, to_jsonb(true) AS d, to_json(NULL::int) AS e,
    to_jsonb('{"b":1,"a":2}'::json) AS f, to_json(timestamp '2024-01-01 10:00:00.5') AS g;
-- a json | b jsonb | c json | d jsonb | e json | f jsonb | g json
-- "it\"s" | ["a", "b"] | 1.50 | true | NULL | {"a": 2, "b": 1} | "2024-01-01T10:00:00.5"
SELECT json_build_object('a');
-- ERROR 22023
SELECT json_build_object(NULL, 1);
-- ERROR 22023
SELECT json_agg(name ORDER BY id) AS a, jsonb_agg(age ORDER BY id) AS b, json_agg(score ORDER BY id) FILTER (WHERE id < 3) AS c FROM people;
-- a json | b jsonb | c json
-- ["Ada", "Grace", "Edsger", "barbara", "Émile", "Zoë"] | [36, 85, 72, 33, null, 36] | [9.5, 8.25]
SELECT city, json_object_agg(name, age ORDER BY id) AS a, jsonb_object_agg(id, name) AS b FROM people GROUP BY city ORDER BY city;
-- city text | a json | b jsonb
-- London | { "Ada" : 36 } | {"1": "Ada"}
-- New York | { "Grace" : 85 } | {"2": "Grace"}
-- Paris | { "Émile" : null, "Zoë" : 36 } | {"5": "Émile", "6": "Zoë"}
-- Rotterdam | { "Edsger" : 72 } | {"3": "Edsger"}
-- NULL | { "barbara" : 33 } | {"4": "barbara"}
SELECT json_agg(a) AS a, jsonb_agg(a) AS b, json_object_agg(b, a) AS c FROM empty;
-- a json | b jsonb | c json
-- NULL | NULL | NULL
SELECT json_object_agg(city, id) FROM people;
-- ERROR 22023
SELECT key, value FROM json_each('{"a":1,"b":{"c":2},"d":null}') ORDER BY key;
-- key text | value json
-- a | 1
-- b | {"c":2}
-- d | null
SELECT * FROM jsonb_each_text('{"b":{"c":2},"a":"x","d":null}'::jsonb) ORDER BY key DESC;
-- key text | value text
-- d | NULL
-- b | {"c": 2}
-- a | x
SELECT k, v ->> 'x' AS x FROM jsonb_each('{"p":{"x":1},"q":{}}') AS e(k, v) ORDER BY k;
-- k text | x text
-- p | 1
-- q | NULL
SELECT value, value ->> 'a' AS a FROM jsonb_array_elements('[{"a":1},{"a":"x"}]') ORDER BY a;
-- value jsonb | a text
-- {"a": 1} | 1
-- {"a": "x"} | x
SELECT * FROM json_array_elements_text('["a",1,null,{"k":2}]') WITH ORDINALITY ORDER BY ordinality;
-- value text | ordinality bigint
-- a | 1
-- 1 | 2
-- NULL | 3
-- {"k":2} | 4
SELECT id, json_object_keys(j) AS k FROM kinds WHERE id = 1 ORDER BY k;
-- id integer | k text
-- 1 | a
-- 1 | b
SELECT k.id, e.key FROM kinds k, json_each(k.j) e WHERE k.id = 1 ORDER BY 2;
-- id integer | key text
-- 1 | a
-- 1 | b
SELECT json_array_elements('{"a":1}');
-- ERROR 22023
SELECT jsonb_set('{"a":[1,2]}', '{a,0}', '9') AS a, jsonb_set('{"a":1}', '{b}', '2') AS b, jsonb_set('{"a":1}', '{b}', '2', false) AS c,
    jsonb_set('[1]', '{5}', '2') AS d, jsonb_set('{"a":{"b":1}}', ARRAY['a', 'b'], 'null') AS e;
-- a jsonb | b jsonb | c jsonb | d jsonb | e jsonb
-- {"a": [9, 2]} | {"a": 1, "b": 2} | {"a": 1} | [1, 2] | {"a": {"b": null}}
SELECT jsonb_pretty('{"b":[1,{}],"a":{"c":null}}') AS p;
-- p text
-- {\n    "a": {\n        "c": null\n    },\n    "b": [\n        1,\n        {\n        }\n    ]\n}
SELECT * FROM unnest(ARRAY[1, 2, 3], ARRAY['a', 'b']) WITH ORDINALITY AS t(x, y, n) ORDER BY n;
-- x integer | y text | n bigint
-- 1 | a | 1
-- 2 | b | 2
-- 3 | NULL | 3
SELECT * FROM unnest(ARRAY[1], ARRAY[2, 3]) ORDER BY 2;
-- unnest integer | unnest integer
-- 1 | 2
-- NULL | 3
SELECT x FROM string_to_table('a,b,,c', ',') AS x ORDER BY x;
-- x text
-- 
-- a
-- b
-- c
SELECT regexp_split_to_table('a1b22c', '[0-9]+') AS r ORDER BY r;
-- r text
-- a
-- b
-- c
