# What DuckDB alone would answer differently: arithmetic, types of literals, casts, text, time.

SELECT 1/0;
-- ERROR 22012
SELECT 1.0/0;
-- ERROR 22012
SELECT 1::float8/0;
-- ERROR 22012
SELECT 7/2, -7/2, 7/-2;
-- ?column? integer | ?column? integer | ?column? integer
-- 3 | -3 | -3
SELECT -7%3, 7 % -3, 7.5%2;
-- ?column? integer | ?column? integer | ?column? numeric
-- -1 | 1 | 1.5
SELECT 5/2.0, 10/4.0, 1.5*2.25, 0.1+0.2, 3-5.55;
-- ?column? numeric | ?column? numeric | ?column? numeric | ?column? numeric | ?column? numeric
-- 2.5 | 2.5 | 3.375 | 0.3 | -2.55
SELECT 2147483647 + 1;
-- ERROR 22003
SELECT 9223372036854775807 + 1;
-- ERROR 22003
SELECT 32767::smallint + 1::smallint;
-- ERROR 22003
SELECT 1::smallint + 1, 1 + 1::bigint, 1 + 1.5, 1 + 1::real, 1::real + 1.5, 1.5 + 1::float8;
-- ?column? integer | ?column? bigint | ?column? numeric | ?column? double precision | ?column? double precision | ?column? double precision
-- 2 | 2 | 2.5 | 2 | 2.5 | 2.5
SELECT 2147483647 AS i, 2147483648 AS l, 9223372036854775808 AS n, -2147483648 AS m;
-- i integer | l bigint | n numeric | m integer
-- 2147483647 | 2147483648 | 9223372036854775808 | -2147483648
SELECT 1.50 AS a, .5 AS b, 1e3 AS c, 1.5e-3 AS d;
-- a numeric | b numeric | c numeric | d numeric
-- 1.5 | 0.5 | 1000 | 0.0015
SELECT round(2.5), round(3.5), round(-2.5), round(2.5::float8), round(3.5::float8), round(2.345, 2);
-- round numeric | round numeric | round numeric | round double precision | round double precision | round numeric
-- 3 | 4 | -3 | 2 | 4 | 2.35
SELECT 2.5::int, 3.5::int, -2.5::int, 2.5::float8::int, 3.5::float8::int, (-2.5)::int;
-- int4 integer | int4 integer | ?column? integer | int4 integer | int4 integer | int4 integer
-- 3 | 4 | -3 | 2 | 4 | -3
SELECT 1.005::numeric(10,2), '1.23456'::numeric, '1.23456'::numeric(10,3), 12345.678::numeric(7,1);
-- numeric numeric | numeric numeric | numeric numeric | numeric numeric
-- 1.01 | 1.23456 | 1.235 | 12345.7
SELECT 99999::numeric(4,1);
-- ERROR 22003
SELECT '12'::int, ' 12 '::int, '-5'::smallint;
-- int4 integer | int4 integer | int2 smallint
-- 12 | 12 | -5
SELECT 'x'::int;
-- ERROR 22P02
SELECT '1.5'::int;
-- ERROR 22P02
SELECT '99999999999'::int;
-- ERROR 22003
SELECT ''::int;
-- ERROR 22P02
SELECT 300000::smallint;
-- ERROR 22003
SELECT 1e20::bigint;
-- ERROR 22003
SELECT 'NaN'::float8 = 'NaN'::float8 AS eq, 'NaN'::float8 > 'Infinity'::float8 AS gt;
-- eq boolean | gt boolean
-- t | t
SELECT 'Infinity'::float8, '-Infinity'::float8, 'NaN'::float8, 1e308::float8 * 0.1;
-- float8 double precision | float8 double precision | float8 double precision | ?column? double precision
-- Infinity | -Infinity | NaN | 1.0000000000000001e+307
SELECT 1e308::float8 * 10;
-- ERROR 22003
SELECT 'abcdef'::varchar(3), 'abc'::varchar(5) || 'x', cast('x' AS text);
-- varchar character varying | ?column? text | text text
-- abc | abcx | x
SELECT 'it''s', 'back\slash', E'tab\there', E'\x41\u00e9\\', '';
-- ?column? text | ?column? text | ?column? text | ?column? text | ?column? text
-- it's | back\slash | tab	here | Aé\ | 
SELECT 'a' 'b';
-- ERROR 42601
SELECT $$dollar 'quoted'$$, $tag$with $$ inside$tag$;
-- ?column? text | ?column? text
-- dollar 'quoted' | with $$ inside
SELECT 'a' || NULL, concat('a', NULL, 1, true), concat_ws('-', 'a', NULL, 'b'), 'n=' || 5;
-- ?column? text | concat text | concat_ws text | ?column? text
-- NULL | a1t | a-b | n=5
SELECT NULL, NULL::int, 'x' IS NULL, NULL IS NULL;
-- ?column? text | int4 integer | ?column? boolean | ?column? boolean
-- NULL | NULL | f | t
SELECT true, false, 't'::boolean, 'no'::boolean, 1::boolean, true::int;
-- ?column? boolean | ?column? boolean | bool boolean | bool boolean | bool boolean | int4 integer
-- t | f | t | f | t | 1
SELECT 'maybe'::boolean;
-- ERROR 22P02
SELECT upper('strasse'), lower('AB'), length('héllo'), char_length('日本'), reverse('abc');
-- upper text | lower text | length integer | char_length integer | reverse text
-- STRASSE | ab | 5 | 2 | cba
SELECT substring('hello' FROM 2 FOR 3), substring('hello', 2), substring('hello' FROM -1 FOR 3), substring('foobar' FROM 'o.b');
-- substring text | substring text | substring text | substring text
-- ell | ello | h | oob
SELECT position('l' IN 'hello'), strpos('hello', 'z'), left('hello', 2), left('hello', -2), right('hello', 3);
-- position integer | strpos integer | left text | left text | right text
-- 3 | 0 | he | hel | llo
SELECT trim('  x '), trim(BOTH 'x' FROM 'xxaxx'), trim(LEADING 'x' FROM 'xa'), ltrim('xxa', 'x'), btrim('  a ');
-- btrim text | btrim text | ltrim text | ltrim text | btrim text
-- x | a | a | a | a
SELECT replace('abcabc', 'b', 'X'), repeat('ab', 3), lpad('7', 3, '0'), rpad('7', 3, '*'), split_part('a,b,c', ',', 2);
-- replace text | repeat text | lpad text | rpad text | split_part text
-- aXcaXc | ababab | 007 | 7** | b
SELECT overlay('Txxxxas' PLACING 'hom' FROM 2 FOR 4), initcap('hello world'), ascii('A'), chr(66);
-- overlay text | initcap text | ascii integer | chr text
-- Thomas | Hello World | 65 | B
SELECT 'abc' LIKE 'a%', 'abc' LIKE '_b_', 'a%c' LIKE 'a\%c', 'ABC' ILIKE 'abc', 'abc' NOT LIKE 'b%', 'a_c' LIKE 'a!_c' ESCAPE '!';
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | t | t | t | t | t
SELECT 'abc' ~ '^a', 'abc' ~* 'B', 'abc' !~ 'z', 'foobar' SIMILAR TO '(foo|bar)+';
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | t | t | t
SELECT 'a' < 'B', 'Z' < 'a', 'é' > 'z', 'abc' = 'abc ';
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- f | t | t | f
SELECT greatest(1, NULL, 3), least('b', 'a'), coalesce(NULL, NULL, 5), nullif(1, 1), nullif(2, 1);
-- greatest integer | least text | coalesce integer | nullif integer | nullif integer
-- 3 | a | 5 | NULL | 2
SELECT 1 BETWEEN 0 AND 2, 3 BETWEEN SYMMETRIC 5 AND 1, 3 NOT BETWEEN 1 AND 2, NULL BETWEEN 1 AND 2;
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | t | t | NULL
SELECT 1 IN (1, 2), 3 IN (1, NULL), 3 NOT IN (1, 2), NULL IN (1), '1' IN (1, 2);
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | NULL | t | NULL | t
SELECT 1 IS DISTINCT FROM NULL, NULL IS DISTINCT FROM NULL, 1 IS NOT DISTINCT FROM 1;
-- ?column? boolean | ?column? boolean | ?column? boolean
-- t | f | t
SELECT (1, 2) = (1, 2), (1, 2) < (1, 3), (2, 1) < (1, 3), (1, NULL) = (2, 3), (1, NULL) = (1, 3), (1, 2) IN ((1, 2), (3, 4));
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | t | f | f | NULL | t
SELECT NOT NULL::boolean, true AND NULL, false AND NULL, true OR NULL, NULL::boolean IS TRUE, NULL::boolean IS NOT FALSE;
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- NULL | NULL | f | t | f | t
SELECT CASE WHEN 1 = 1 THEN 'a' ELSE 'b' END, CASE 2 WHEN 1 THEN 'x' WHEN 2 THEN 'y' END, CASE WHEN false THEN 1 END;
-- case text | case text | case integer
-- a | y | NULL
SELECT CASE WHEN true THEN 1 ELSE 2.5 END AS x;
-- x numeric
-- 1
SELECT CASE WHEN false THEN 1/0 ELSE 5 END;
-- case integer
-- 5
SELECT CASE WHEN true THEN 1 ELSE 'x' END;
-- ERROR 22P02
SELECT date '2024-02-29' + 1, date '2024-03-01' - date '2024-02-28', date '2024-01-31' + interval '1 month';
-- ?column? date | ?column? integer | ?column? timestamp without time zone
-- 2024-03-01 | 2 | 2024-02-29 00:00:00
SELECT timestamp '2024-01-31 12:00' + interval '1 month', timestamp '2024-03-31' - interval '1 mon 1 day';
-- ?column? timestamp without time zone | ?column? timestamp without time zone
-- 2024-02-29 12:00:00 | 2024-02-28 00:00:00
SELECT timestamp '2024-03-01' - timestamp '2024-02-28 12:00', age(timestamp '2024-03-01', timestamp '2023-01-15');
-- ?column? interval | age interval
-- 1 day 12:00:00 | 1 year 1 mon 17 days
SELECT interval '1 day' * 2, interval '1 hour' / 2, interval '1 mon' + interval '1 day', -interval '1 day 2 hours';
-- ?column? interval | ?column? interval | ?column? interval | ?column? interval
-- 2 days | 00:30:00 | 1 mon 1 day | -1 days -02:00:00
SELECT interval '1 day', interval '90 minutes', interval '1 year 2 months', interval '-3 days 04:05:06.789', interval '1.5 days';
-- interval interval | interval interval | interval interval | interval interval | interval interval
-- 1 day | 01:30:00 | 1 year 2 mons | -3 days +04:05:06.789 | 1 day 12:00:00
SELECT interval '1 month' = interval '30 days', interval '1 day' > interval '23 hours', interval '24 hours' = interval '1 day';
-- ?column? boolean | ?column? boolean | ?column? boolean
-- t | t | t
SELECT extract(year FROM timestamp '2024-02-29 12:34:56.789'), extract(dow FROM date '2024-02-29'), extract(epoch FROM timestamp '2000-01-01');
-- extract numeric | extract numeric | extract numeric
-- 2024 | 4 | 946684800
SELECT date_part('month', date '2024-02-29'), date_part('second', time '12:34:56.5'), extract(isodow FROM date '2024-03-03');
-- date_part double precision | date_part double precision | extract numeric
-- 2 | 56.5 | 7
SELECT date_trunc('month', timestamp '2024-02-29 12:34'), date_trunc('week', timestamp '2024-02-29');
-- date_trunc timestamp without time zone | date_trunc timestamp without time zone
-- 2024-02-01 00:00:00 | 2024-02-26 00:00:00
SELECT date_trunc('hour', interval '1 day 02:30');
-- date_trunc interval
-- 1 day 02:00:00
SELECT to_char(timestamp '2024-02-29 15:04:05', 'YYYY-MM-DD HH24:MI:SS'), to_char(timestamp '2024-02-09 15:04:05', 'FMDD Mon YYYY HH12:MI AM');
-- to_char text | to_char text
-- 2024-02-29 15:04:05 | 9 Feb 2024 03:04 PM
SELECT to_char(1234.5, '9999.99'), to_char(-5, '999'), to_char(0.5, 'FM0.00');
-- to_char text | to_char text | to_char text
--  1234.50 |   -5 | 0.50
SELECT to_date('2024-02-29', 'YYYY-MM-DD'), to_timestamp(0), make_date(2024, 2, 29);
-- to_date date | to_timestamp timestamp with time zone | make_date date
-- 2024-02-29 | 1970-01-01 00:00:00+00 | 2024-02-29
SELECT timestamptz '2024-07-01 12:00+02' AT TIME ZONE 'UTC', timestamp '2024-07-01 12:00' AT TIME ZONE 'Europe/Berlin';
-- timezone timestamp without time zone | timezone timestamp with time zone
-- 2024-07-01 10:00:00 | 2024-07-01 10:00:00+00
SELECT timestamptz '2024-07-01 12:00+02', timestamptz '2024-01-01 00:00'::text, '2024-07-01'::date::timestamptz;
-- timestamptz timestamp with time zone | text text | timestamptz timestamp with time zone
-- 2024-07-01 10:00:00+00 | 2024-01-01 00:00:00+00 | 2024-07-01 00:00:00+00
SELECT time '23:59' + interval '2 minutes', time '12:00' < time '13:00', '2024-02-30'::date;
-- ERROR 22008
SELECT date '2024-02-30';
-- ERROR 22008
SELECT 'tomorrow-ish'::date;
-- ERROR 22007
SELECT '25:00'::time;
-- ERROR 22008
SELECT timestamp '2024-01-01 12:00'::date, timestamp '2024-01-01 12:34:56'::time, date '2024-01-01'::timestamp;
-- date date | time time without time zone | timestamp timestamp without time zone
-- 2024-01-01 | 12:34:56 | 2024-01-01 00:00:00
SELECT date '2024-01-01' < timestamp '2024-01-01 00:00:01', date '2024-01-01' = timestamp '2024-01-01';
-- ?column? boolean | ?column? boolean
-- t | t
SELECT 'a0eebc999c0b4ef8bb6d6bb9bd380a11'::uuid, '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'::uuid::text;
-- uuid uuid | text text
-- a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 | a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11
SELECT 'zz'::uuid;
-- ERROR 22P02
SELECT '\x00ff'::bytea, length('\x0102'::bytea), '\x01'::bytea || '\x02'::bytea;
-- bytea bytea | length integer | ?column? bytea
-- \x00ff | 2 | \x0102
SELECT encode('\x01ab'::bytea, 'hex');
-- encode text
-- 01ab
SELECT '{"a": {"b": [1, 2]}}'::json -> 'a' -> 'b' -> 1, '{"a": "x"}'::json ->> 'a', '{"a": {"b": 5}}'::json #>> '{a,b}';
-- ?column? json | ?column? text | ?column? text
-- 2 | x | 5
SELECT '{bad'::json;
-- ERROR 22P02
SELECT abs(-5), sign(-2.5), ceil(1.2), floor(-1.2), ceil(1.2::float8), trunc(-1.7), trunc(1.567, 2), mod(7, 3), power(2, 10), sqrt(16);
-- abs integer | sign numeric | ceil numeric | floor numeric | ceil double precision | trunc numeric | trunc numeric | mod integer | power double precision | sqrt double precision
-- 5 | -1 | 2 | -2 | 2 | -1 | 1.56 | 1 | 1024 | 4
SELECT sqrt(-1);
-- ERROR 2201F
SELECT ln(0);
-- ERROR 2201E
SELECT 2 ^ 10, 5 & 3, 5 | 3, 5 # 3, ~5;
-- ?column? double precision | ?column? integer | ?column? integer | ?column? integer | ?column? integer
-- 1024 | 1 | 7 | 6 | -6
# differs: powers of NUMERIC are DOUBLE PRECISION
SELECT 2 ^ 0.5;
-- ?column? double precision
-- 1.4142135623730951
SELECT 1 << 4;
-- ?column? integer
-- 16
SELECT - 5, + 5, - -5, -(2 + 3);
-- ?column? integer | ?column? integer | ?column? integer | ?column? integer
-- -5 | 5 | 5 | -5
SELECT 'a'::text::varchar, 5::text, true::text, 1.50::text, 1e0::float8::text, '2024-01-01'::date::text;
-- varchar character varying | text text | text text | text text | text text | text text
-- a | 5 | true | 1.50 | 1 | 2024-01-01
SELECT ARRAY[1, 2, 3], ARRAY['a', NULL], (ARRAY[10, 20, 30])[2], (ARRAY[1])[5], ARRAY[1, 2.5];
-- array integer[] | array text[] | array integer | array integer | array numeric[]
-- {1,2,3} | {a,NULL} | 20 | NULL | {1,2.5}
SELECT 2 = ANY (ARRAY[1, 2]), 3 = ANY (ARRAY[1, NULL]), 1 < ALL (ARRAY[2, 3]), 1 <> ALL (ARRAY[1, 2]), 5 = ANY ('{1,5}');
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | NULL | t | f | t
SELECT 1 + 'x';
-- ERROR 22P02
SELECT 'a' + 'b';
-- ERROR 42725
SELECT 1 || 2;
-- ERROR 42883
SELECT true + 1;
-- ERROR 42883
SELECT 'x' > 1;
-- ERROR 22P02
SELECT current_date = now()::date;
-- ?column? boolean
-- t
SELECT 0.1::float8 + 0.2::float8, 0.1::real, 1::float8/3, 100000000000000000000::float8, 1e-7::float8;
-- ?column? double precision | float4 real | ?column? double precision | float8 double precision | float8 double precision
-- 0.30000000000000004 | 0.1 | 0.3333333333333333 | 1e+20 | 1e-07
SELECT 1::int2, 1::int4, 1::int8, 1.5::float4;
-- int2 smallint | int4 integer | int8 bigint | float4 real
-- 1 | 1 | 1 | 1.5
