# Everyday statements by the chapters of PostgreSQL's manual: what they found wanting once.

# 9.7 Pattern matching

SELECT 'foobaz' ~ 'foo(?!bar)', 'abab' ~ '^(ab)\1$', 'the cat' ~ '\mcat\M', 'concat' ~ '\ycat\y', 'concat' ~ '\Ycat';
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | t | t | f | t
SELECT p, v ~ p FROM (VALUES ('a', '\ma'), ('a b', 'a\sb'), ('a1', '^\w\d$'), ('q', '[[:alpha:]]')) AS t (v, p);
-- p text | ?column? boolean
-- \ma | t
-- a\sb | t
-- ^\w\d$ | t
-- [[:alpha:]] | t
SELECT regexp_replace('a1b22', '\d+', '<\&>', 'g'), regexp_replace('a1b22', '(\d)', '\1\1', 'g'), regexp_replace('Hello', 'l', 'L', 'gi');
-- regexp_replace text | regexp_replace text | regexp_replace text
-- a<1>b<22> | a11b2222 | HeLLo
SELECT regexp_replace('a b  c', '\s*', '-', 'g'), regexp_replace('hello', '', '.', 'g'), regexp_replace('hello', 'l*', '.', 'g');
-- regexp_replace text | regexp_replace text | regexp_replace text
-- -a--b--c- | .h.e.l.l.o. | .h.e..o.
SELECT regexp_replace('John Smith', '(\w+) (\w+)', '\2, \1'), substring('foobar', 'o(.)b'), substring('foobar' from '\mfoo');
-- regexp_replace text | substring text | substring text
-- Smith, John | o | foo
SELECT 'a b' ~ '\bb', '\' ~ '\\', 'x-y' ~ '[\w-]+', 'ab' ~ 'a\Z', E'a\nb' ~ 'a.b', 'ABC' ~* '^a\w+$';
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- f | t | t | f | t | t
SELECT 'abc' !~ '\mb', 'abc' !~* '\MC', regexp_like('the Cat', '\mcat', 'i'), regexp_substr('number of cats', '\mc\w*'), regexp_count('a cat at', '\ma');
-- ?column? boolean | ?column? boolean | regexp_like boolean | regexp_substr text | regexp_count integer
-- t | t | t | cats | 2
SELECT regexp_split_to_array('the quick brown', '\s+'), regexp_matches('foobarbequebaz', '(b[^b]+)(b[^b]+)', 'g');
-- regexp_split_to_array text[] | regexp_matches text[]
-- {the,quick,brown} | {bar,beque}
SELECT regexp_instr('ABCDEF', 'c(.)(..)', 1, 1, 0, 'i'), regexp_replace('A PostgreSQL function', 'a|e|i|o|u', 'X', 1, 0, 'i'), regexp_replace('A PostgreSQL function', 'a|e|i|o|u', 'X', 1, 3, 'i');
-- regexp_instr integer | regexp_replace text | regexp_replace text
-- 3 | X PXstgrXSQL fXnctXXn | A PostgrXSQL function
SELECT regexp_substr('ABCDEF', 'c(.)(..)', 1, 1, 'i'), regexp_substr('ABCDEF', 'c(.)(..)', 1, 1, 'i', 2), regexp_count('123456789012', '\d\d\d', 2);
-- regexp_substr text | regexp_substr text | regexp_count integer
-- CDEF | EF | 3
SELECT name ~ '\mA', regexp_substr(name, '[a-c].'), substring(name, '\Aa.*\Z') FROM people;
-- ?column? boolean | regexp_substr text | substring text
-- t | NULL | NULL
-- f | ac | NULL
-- f | NULL | NULL
-- f | ba | NULL
-- f | NULL | NULL
-- f | NULL | NULL

# 9.16.2 The SQL/JSON path language

SELECT jsonb_path_query_array(j, '$'), jsonb_path_query_array(j, '$.a[0]'), jsonb_path_query_array(j, '$.a[last]'), jsonb_path_query_array(j, '$.a[last - 1].k') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [{"a": [1, 2.5, "x", null, true, {"k": "v"}, [7, 8]], "b": {"c": "Abc", "d": 10}, "e": -3.7}] | [1] | [[7, 8]] | ["v"]
SELECT jsonb_path_query_array(j, '$.a[1 to 3]'), jsonb_path_query_array(j, '$.a[0,2]'), jsonb_path_query_array(j, '$.*'), jsonb_path_query_array(j, '$.b.*') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [2.5, "x", null] | [1, "x"] | [[1, 2.5, "x", null, true, {"k": "v"}, [7, 8]], {"c": "Abc", "d": 10}, -3.7] | ["Abc", 10]
SELECT jsonb_path_query_array(j, '$."b"."c"'), jsonb_path_query_array(j, '$.a[*].type()'), jsonb_path_query_array(j, '$.a.size()'), jsonb_path_query_array(j, '$.b.size()') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- ["Abc"] | ["number", "number", "string", "null", "boolean", "object", "array"] | [7] | [1]
SELECT jsonb_path_query_array(j, '$.e.abs()'), jsonb_path_query_array(j, '$.e.floor()'), jsonb_path_query_array(j, '$.e.ceiling()'), jsonb_path_query_array(j, '$.b.d / 3') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [3.7] | [-4] | [-3] | [3.3333333333333333]
SELECT jsonb_path_query_array(j, '$.b.d * 2.5'), jsonb_path_query_array(j, '$.b.d % 3'), jsonb_path_query_array(j, '$.b.d - 1 + 2 * 3'), jsonb_path_query_array(j, '-$.b.d') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [25.0] | [1] | [15] | [-10]
SELECT jsonb_path_query_array(j, '$.a[*] ? (@ == null)'), jsonb_path_query_array(j, '$.a[*] ? (@ != null)'), jsonb_path_query_array(j, '$.a[*] ? (@ == "x" || @ == true)'), jsonb_path_query_array(j, '$.b.c ? (@ like_regex "^a" flag "i")') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [null] | [1, 2.5, "x", true, {"k": "v"}, 7, 8] | ["x", true] | ["Abc"]
SELECT jsonb_path_query_array(j, '$.b.c ? (@ starts with "Ab")'), jsonb_path_query_array(j, '$.a[*] ? (!(@ == 1))'), jsonb_path_query_array(j, '$.a[*] ? ((@ > 1) is unknown)'), jsonb_path_query_array(j, '$.** ? (@ == 8)') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- ["Abc"] | [2.5, null, 7, 8] | ["x", true, {"k": "v"}] | [[7, 8], 8, 8]
SELECT jsonb_path_query_array(j, '$.b ? (exists (@.d)).c'), jsonb_path_query_array(j, '$.b ? (@.d > 5 && @.c == "Abc")'), jsonb_path_query_array(j, 'lax $.b[*].d'), jsonb_path_query_array(j, '$.e == -3.7') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- ["Abc"] | [{"c": "Abc", "d": 10}] | [10] | [true]
SELECT jsonb_path_query_array(j, '$.b.d > 3'), jsonb_path_query_array(j, '$.nope > 3'), jsonb_path_query_array(j, '$.a ? (@ > 1)') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [true] | [false] | [2.5, [7, 8]]
SELECT jsonb_path_query_array(j, '"10".double()'), jsonb_path_query_array(j, '1 + 2'), jsonb_path_query_array(j, '$.a[*] ? (@ > 1 && @ < 3)') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [10] | [3] | [2.5]
SELECT jsonb_path_query_array(j, '$.b.d / 7'), jsonb_path_query_array(j, '7 / $.b.d'), jsonb_path_query_array(j, '$.b.d <> 10'), jsonb_path_query_array(j, '$.a[5 to 9]') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [1.4285714285714286] | [0.70000000000000000000] | [false] | [{"k": "v"}, [7, 8]]
SELECT jsonb_path_query_array(j, '$.a[6][0]'), jsonb_path_query_array(j, '$.e * -1') FROM (SELECT '{"a":[1,2.5,"x",null,true,{"k":"v"},[7,8]],"b":{"c":"Abc","d":10},"e":-3.7}'::jsonb) AS t (j);
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [7] | [3.7]
SELECT * FROM jsonb_path_query('{"a":[1,2,3,4,5]}', '$.a[*] ? (@ >= 2 && @ <= 4)');
-- jsonb_path_query jsonb
-- 2
-- 3
-- 4
SELECT * FROM jsonb_path_query('{"a":[1,2,3,4,5]}', '$.a[*] ? (@ >= $min && @ <= $max)', '{"min":2,"max":4}') AS t(x);
-- x jsonb
-- 2
-- 3
-- 4
SELECT jsonb_path_query('{"a":[{"b":1},{"b":"x"},{"c":2}]}', '$.a.b'), 1;
-- jsonb_path_query jsonb | ?column? integer
-- 1 | 1
-- "x" | 1
SELECT jsonb_path_exists('{"a":[1,2,3]}', '$.a[*] ? (@ > 2)'), jsonb_path_match('{"a":[1,2]}', 'exists($.a[*] ? (@ >= 2))'), jsonb_path_query_array('{"a":[1,2]}', '$.a[*]'), jsonb_path_query_first('{"a":[1,2]}', '$.a[*]'), jsonb_path_query_first('{}', '$.a');
-- jsonb_path_exists boolean | jsonb_path_match boolean | jsonb_path_query_array jsonb | jsonb_path_query_first jsonb | jsonb_path_query_first jsonb
-- t | t | [1, 2] | 1 | NULL
SELECT '{"a":[1,2]}'::jsonb @? '$.a[*] ? (@ > 1)', '{"a":[1,2]}'::jsonb @@ '$.a[*] > 1', '{"a":[1,2]}'::jsonb @@ '$.a', '{"a":1}'::jsonb @? 'strict $.b', '{"a":"x"}'::jsonb @@ '$.a > 1';
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | t | NULL | NULL | NULL
SELECT jsonb_path_query('{"a":1}', 'strict $.b');
-- ERROR 2203A
SELECT jsonb_path_query('{"a":1}', 'strict $.b', '{}', true);
-- jsonb_path_query jsonb
SELECT jsonb_path_query('{"a":"x"}', '$.a + 1');
-- ERROR 22038
SELECT jsonb_path_query('{"a":1}', '$.a / 0');
-- ERROR 22012
SELECT jsonb_path_query('{"a":1}', '$.a +');
-- ERROR 42601
SELECT jsonb_path_query('{"a":1}', '$.a ? (@ > $x)');
-- ERROR 42704
SELECT jsonb_path_match('{"a":1}', '$.a');
-- ERROR 22038
SELECT jsonb_path_match('{"a":1}', '$.a', '{}', true), jsonb_path_match('{"a":1}', '$.a == "x"');
-- jsonb_path_match boolean | jsonb_path_match boolean
-- NULL | NULL
SELECT jsonb_path_query_array('{"n":[{"p":1.50,"q":"z"},{"p":20}]}', '$.n[*] ? (@.p > 10).p'), jsonb_path_query_array('{"t":"a\"b"}', '$.t ? (@ == "a\"b")');
-- jsonb_path_query_array jsonb | jsonb_path_query_array jsonb
-- [20] | ["a\"b"]

# Other functions of chapter 9, and rows

SELECT (p).name, (p).*, (p).age + 1 AS next FROM people p WHERE id = 1;
-- name character varying | id integer | name character varying | city text | age smallint | score double precision | next integer
-- Ada | 1 | Ada | London | 36 | 9.5 | 37
SELECT array_agg(DISTINCT city), string_agg(DISTINCT city, ','), array_agg(DISTINCT age) FROM people;
-- array_agg text[] | string_agg text | array_agg smallint[]
-- {London,"New York",Paris,Rotterdam,NULL} | London,New York,Paris,Rotterdam | {33,36,72,85,NULL}
SELECT city, array_agg(DISTINCT age) FROM people GROUP BY city ORDER BY city;
-- city text | array_agg smallint[]
-- London | {36}
-- New York | {85}
-- Paris | {36,NULL}
-- Rotterdam | {72}
-- NULL | {33}
SELECT to_number('12,454.8-', '99G999D9S'), to_number('1234', '9999'), to_number('$1,234.50', 'L9,999.99'), to_number('-34,338,492', '99G999G999'), to_number('5.01-', '9.99S'), to_number('<12.5>', '99.9PR'), to_number('0012', '9999'), to_number('.5', '9.9'), to_number('1 234', '9999');
-- to_number numeric | to_number numeric | to_number numeric | to_number numeric | to_number numeric | to_number numeric | to_number numeric | to_number numeric | to_number numeric
-- -12454.8 | 1234 | 1234.5 | -34338492 | -5.01 | -12.5 | 12 | 0.5 | 1234
SELECT to_number('abc', '999');
-- ERROR 22P02
SELECT acosh(1), atanh(0.5), acosh(2.5), scale(8.4100), min_scale(8.4100);
-- acosh double precision | atanh double precision | acosh double precision | scale integer | min_scale integer
-- 0 | 0.5493061443340548 | 1.566799236972411 | 4 | 2
SELECT acosh(0.5);
-- ERROR 22003
SELECT atanh(1.5);
-- ERROR 22003
SELECT width_bucket(7, ARRAY[1, 5, 10]), width_bucket(0.5::float8, ARRAY[1, 5]::float8[]), width_bucket(date '2024-02-02', ARRAY['2024-01-01', '2024-02-02', '2024-03-01']::date[]);
-- width_bucket integer | width_bucket integer | width_bucket integer
-- 2 | 0 | 2
SELECT get_byte('\x1234567890'::bytea, 4), set_byte('\x1234'::bytea, 1, 64), bit_count('\x1234567890'::bytea), length('\x1234'::bytea), substring('\x1234567890'::bytea from 3 for 2), substring('\x1234567890'::bytea, 4), position('\x56'::bytea in '\x123456'::bytea);
-- get_byte integer | set_byte bytea | bit_count bigint | length integer | substring bytea | substring bytea | position integer
-- 144 | \x1240 | 15 | 2 | \x5678 | \x7890 | 3
SELECT get_byte('\x12'::bytea, 4);
-- ERROR 2202E
SELECT unistr('\00g');
-- ERROR 42601
