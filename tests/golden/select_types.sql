# Types of results, rounding, order of NULL and NaN, division, overflow, text, zones, intervals, empty aggregates: more.

SELECT d FROM (VALUES (1.5::float8), ('NaN'), (NULL), ('-Infinity'), ('Infinity'), (-0.0), (0)) AS t(d) ORDER BY d DESC;
-- d double precision
-- NULL
-- NaN
-- Infinity
-- 1.5
-- 0
-- 0
-- -Infinity
SELECT d FROM (VALUES (1.5::float8), ('NaN'), (NULL), ('-Infinity'), ('Infinity')) AS t(d) ORDER BY d NULLS FIRST;
-- d double precision
-- NULL
-- -Infinity
-- 1.5
-- Infinity
-- NaN
SELECT max(d), min(d), count(d), count(*) FROM (VALUES (1.5::float8), ('NaN'), (NULL)) AS t(d);
-- max double precision | min double precision | count bigint | count bigint
-- NaN | 1.5 | 2 | 3
SELECT count(*), count(DISTINCT d) FROM (VALUES ('NaN'::float8), ('NaN'), (0.0), (-0.0), (NULL)) AS t(d);
-- count bigint | count bigint
-- 5 | 2
SELECT sum(i), avg(i), min(i), max(i), count(i), bool_and(i > 0), array_agg(i), string_agg(i::text, ',') FROM (SELECT 1 AS i WHERE false) AS t;
-- sum bigint | avg numeric | min integer | max integer | count bigint | bool_and boolean | array_agg integer[] | string_agg text
-- NULL | NULL | NULL | NULL | 0 | NULL | NULL | NULL
SELECT sum(i) + 1 AS s, coalesce(sum(i), 0) AS c FROM (SELECT 1 AS i WHERE false) AS t GROUP BY ();
-- s bigint | c bigint
-- NULL | 0
SELECT 1 AS one FROM (SELECT 1 AS i WHERE false) AS t GROUP BY i;
-- one integer
SELECT round(0.5), round(1.5), round(-0.5), round(0.5::float8), round(1.5::float8), round(-1.5::float8), round(1234.5678, -2), trunc(-1.9), trunc(1.999, 2);
-- round numeric | round numeric | round numeric | round double precision | round double precision | round double precision | round numeric | trunc numeric | trunc numeric
-- 1 | 2 | -1 | 0 | 2 | -2 | 1200 | -1 | 1.99
SELECT ceil(-0.5), floor(-0.5), ceil(0.1::float8), sign(-2.5), abs(-7), mod(-7, 3), -7 % 3, div(-7, 2), 7.5 % 2;
-- ceil numeric | floor numeric | ceil double precision | sign numeric | abs integer | mod integer | ?column? integer | div numeric | ?column? numeric
-- 0 | -1 | 1 | -1 | 7 | -1 | -1 | -3 | 1.5
SELECT 10 / 4, 10 / 4.0, 10 / 4::float8, -10 / 4, 10 % -4, 2 ^ 10::float8, 2 ^ 0.5::float8;
-- ?column? integer | ?column? numeric | ?column? double precision | ?column? integer | ?column? integer | ?column? double precision | ?column? double precision
-- 2 | 2.5 | 2.5 | -2 | 2 | 1024 | 1.4142135623730951
SELECT 1 / 0.0;
-- ERROR 22012
SELECT 0 / 0::float8;
-- ERROR 22012
SELECT (-2147483648)::int / -1;
-- ERROR 22003
SELECT -(-32768)::smallint;
-- ERROR 22003
SELECT 32767::smallint * 2::smallint;
-- ERROR 22003
SELECT 2147483647 * 2::bigint, 3000000000 - 1, 1::smallint + 1;
-- ?column? bigint | ?column? bigint | ?column? integer
-- 4294967294 | 2999999999 | 2
SELECT 9223372036854775807 - -1;
-- ERROR 22003
SELECT abs((-9223372036854775807 - 1)::bigint);
-- ERROR 22003
SELECT 1e10::int;
-- ERROR 22003
SELECT 2147483647.5::int;
-- ERROR 22003
SELECT 'NaN'::float8::int;
-- ERROR 22003
SELECT 12345678901234567890::numeric + 1, 0.1 + 0.2 = 0.3, 0.1::float8 + 0.2::float8 = 0.3::float8, 1.10 = 1.1;
-- ?column? numeric | ?column? boolean | ?column? boolean | ?column? boolean
-- 12345678901234567891 | t | f | t
SELECT 1.0::float4 / 3, 1.0::float8 / 3, 0.1::float4::float8, 16777217::float4, 1e-10::float8, 123456789012345680::float8;
-- ?column? double precision | ?column? double precision | float8 double precision | float4 real | float8 double precision | float8 double precision
-- 0.3333333333333333 | 0.3333333333333333 | 0.10000000149011612 | 1.6777216e+07 | 1e-10 | 1.2345678901234568e+17
SELECT 'a' < 'B', 'Z' < 'a', 'a ' = 'a', '' < ' ', 'é' > 'z', 'ab' < 'abc', 'a' || NULL IS NULL, '10' < '9';
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- f | t | f | t | t | t | t | t
SELECT upper('ärger'), lower('ÀÉ'), initcap('hello wORLD-x'), length('naïve'), reverse('añb'), octet_length('ñ'), char_length('');
-- upper text | lower text | initcap text | length integer | reverse text | octet_length integer | char_length integer
-- ÄRGER | àé | Hello World-X | 5 | bña | 2 | 0
SELECT left('abc', -1), right('abc', -1), substr('abcdef', 2, 3), substr('abc', 0, 2), substr('abc', 5), strpos('abc', ''), position('c' IN 'abc');
-- left text | right text | substr text | substr text | substr text | strpos integer | position integer
-- ab | bc | bcd | a |  | 1 | 3
SELECT lpad('abc', 5, 'xy'), lpad('abc', 2), rpad('abc', 6, 'xy'), repeat('ab', 3), repeat('a', -1), replace('aaa', 'a', 'ab'), translate('12345', '143', 'ax');
-- lpad text | lpad text | rpad text | repeat text | repeat text | replace text | translate text
-- xyabc | ab | abcxyx | ababab |  | ababab | a2x5
SELECT trim('  a '), trim(BOTH 'x' FROM 'xxaxx'), ltrim('xyxa', 'xy'), split_part('a,b,c', ',', 2), split_part('a,b,c', ',', -1), split_part('a', ',', 3), concat_ws('-', 'a', NULL, 'b');
-- btrim text | btrim text | ltrim text | split_part text | split_part text | split_part text | concat_ws text
-- a | a | a | b | c |  | a-b
SELECT 'abc' LIKE 'a%', 'abc' LIKE '_b_', 'a%c' LIKE 'a\%c', 'ABC' ILIKE 'a%', 'abc' NOT LIKE '%z', 'a.c' ~ 'a\.c', 'ABC' ~* 'b', 'abc' !~ '^b', 'abc' SIMILAR TO '(a|b)%';
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | t | t | t | t | t | t | t | t
SELECT true AND NULL, false AND NULL, true OR NULL, false OR NULL, NOT NULL::bool, NULL = NULL, NULL IS DISTINCT FROM NULL, 1 IN (2, NULL), 1 NOT IN (2, NULL);
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- NULL | f | t | NULL | NULL | NULL | f | NULL | NULL
SELECT date '2024-02-29' + 366, date '2024-03-01' - date '2024-02-01', date '2024-01-31' + interval '1 month', timestamp '2024-03-31' - interval '1 month', date '2024-02-29' - interval '1 year';
-- ?column? date | ?column? integer | ?column? timestamp without time zone | ?column? timestamp without time zone | ?column? timestamp without time zone
-- 2025-03-01 | 29 | 2024-02-29 00:00:00 | 2024-02-29 00:00:00 | 2023-02-28 00:00:00
SELECT timestamp '2024-03-01 12:00' - timestamp '2024-02-28 13:30', age(timestamp '2024-03-31', timestamp '2024-02-29'), timestamptz '2024-01-01 00:00+02' - timestamptz '2024-01-01 00:00+00';
-- ?column? interval | age interval | ?column? interval
-- 1 day 22:30:00 | 1 mon 2 days | -02:00:00
SELECT interval '1 month' = interval '30 days', interval '1 day' = interval '24 hours', interval '1 year 2 months' > interval '425 days', interval '1.5 days', interval '1 mon' * 1.5, interval '1 day' / 7;
-- ?column? boolean | ?column? boolean | ?column? boolean | interval interval | ?column? interval | ?column? interval
-- t | t | f | 1 day 12:00:00 | 1 mon 15 days | 03:25:42.857143
SELECT interval '-1 day 2 hours', -interval '1 mon -2 days', interval 'P1Y2M3DT4H5M6S', interval '3 weeks', interval '90 minutes', interval '1 day' + interval '25 hours';
-- interval interval | ?column? interval | interval interval | interval interval | interval interval | ?column? interval
-- -1 days +02:00:00 | -1 mons +2 days | 1 year 2 mons 3 days 04:05:06 | 21 days | 01:30:00 | 1 day 25:00:00
SELECT extract(epoch FROM interval '1 mon 1 day 1 hour'), extract(dow FROM date '2024-02-04'), extract(isodow FROM date '2024-02-04'), extract(week FROM date '2021-01-03'), extract(century FROM date '2000-12-31'), extract(quarter FROM date '2024-08-01'), date_part('second', time '10:20:30.5');
-- extract numeric | extract numeric | extract numeric | extract numeric | extract numeric | extract numeric | date_part double precision
-- 2682000 | 0 | 7 | 53 | 20 | 3 | 30.5
SELECT date_trunc('week', timestamp '2024-02-29 10:00'), date_trunc('quarter', date '2024-08-15'), date_trunc('decade', timestamp '2024-01-01'), date_trunc('month', timestamptz '2024-02-29 23:30+00');
-- date_trunc timestamp without time zone | date_trunc timestamp with time zone | date_trunc timestamp without time zone | date_trunc timestamp with time zone
-- 2024-02-26 00:00:00 | 2024-07-01 00:00:00+00 | 2020-01-01 00:00:00 | 2024-02-01 00:00:00+00
SELECT timestamp '2024-07-01 12:00' AT TIME ZONE 'Europe/Berlin', timestamptz '2024-07-01 12:00+00' AT TIME ZONE 'America/New_York', timestamptz '2024-12-01 12:00+05:30' AT TIME ZONE 'UTC', timestamp '2024-07-01' AT TIME ZONE 'UTC';
-- timezone timestamp with time zone | timezone timestamp without time zone | timezone timestamp without time zone | timezone timestamp with time zone
-- 2024-07-01 10:00:00+00 | 2024-07-01 08:00:00 | 2024-12-01 06:30:00 | 2024-07-01 00:00:00+00
SELECT time '23:59:59' + interval '2 seconds', time '10:00' - time '12:30', date '2024-01-01' + time '10:30';
-- ?column? time without time zone | ?column? interval | ?column? timestamp without time zone
-- 00:00:01 | -02:30:00 | 2024-01-01 10:30:00
SELECT '2024-02-30'::date;
-- ERROR 22008
SELECT '2024-13-01'::timestamp;
-- ERROR 22008
# differs: there are no infinite dates
SELECT 'infinity'::date;
-- ERROR 22007
SELECT true::int, 1::bool, 'yes'::bool, 't'::bool, 0::bool, 'on'::bool, true::text, false || '';
-- int4 integer | bool boolean | bool boolean | bool boolean | bool boolean | bool boolean | text text | ?column? text
-- 1 | t | t | t | f | t | true | false
SELECT 2::bool::text, '  42 '::int, '1e3'::float8, '1e3'::numeric, '-.5'::numeric, '+7'::int;
-- text text | int4 integer | float8 double precision | numeric numeric | numeric numeric | int4 integer
-- true | 42 | 1000 | 1000 | -0.5 | 7
SELECT ''::int;
-- ERROR 22P02
SELECT 'maybe'::bool;
-- ERROR 22P02
SELECT '12abc'::numeric;
-- ERROR 22P02
SELECT CASE WHEN false THEN 1 ELSE 2.5 END, CASE 1 WHEN 1 THEN 'a' END, coalesce(NULL, 1, 2.5), nullif(1, 1), nullif('a', 'b'), greatest(1, NULL, 2.5), least('b', 'a');
-- case numeric | case text | coalesce numeric | nullif integer | nullif text | greatest numeric | least text
-- 2.5 | a | 1 | NULL | a | 2.5 | a

SELECT ARRAY[1, NULL, 2.5], ARRAY[]::int[], '{a,"b,c",NULL}'::text[], ARRAY[1, 2] = ARRAY[1, 2], ARRAY[1, 2] < ARRAY[1, 3], ARRAY['a', NULL]::text[];
-- array numeric[] | array integer[] | text text[] | ?column? boolean | ?column? boolean | array text[]
-- {1,NULL,2.5} | {} | {a,"b,c",NULL} | t | t | {a,NULL}
SELECT (ARRAY[1, 2, 3])[2], (ARRAY[1, 2, 3])[0], (ARRAY[1, 2, 3])[4], array_length(ARRAY[1, 2], 1), cardinality('{}'::int[]), array_to_string(ARRAY[1, NULL, 3], ',');
-- array integer | array integer | array integer | array_length integer | cardinality integer | array_to_string text
-- 2 | NULL | NULL | 2 | 0 | 1,3
SELECT 1 = ANY (ARRAY[1, 2]), 3 = ANY (ARRAY[1, NULL]), 1 <> ALL (ARRAY[2, 3]), 1 < ALL ('{}'::int[]), NULL = ANY ('{}'::int[]);
-- ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean | ?column? boolean
-- t | NULL | t | t | f
SELECT x, sum(x) OVER (ORDER BY x), sum(x) OVER (ORDER BY x ROWS 1 PRECEDING), lag(x, 1, 0) OVER (ORDER BY x), ntile(2) OVER (ORDER BY x), first_value(x) OVER (ORDER BY x DESC), percent_rank() OVER (ORDER BY x) FROM (VALUES (1), (2), (2), (5)) AS t(x) ORDER BY x, 3;
-- x integer | sum bigint | sum bigint | lag integer | ntile integer | first_value integer | percent_rank double precision
-- 1 | 1 | 1 | 0 | 1 | 5 | 0
-- 2 | 5 | 3 | 1 | 1 | 5 | 0.3333333333333333
-- 2 | 5 | 4 | 2 | 2 | 5 | 0.3333333333333333
-- 5 | 10 | 7 | 2 | 2 | 5 | 1
SELECT g, count(*), sum(v), grouping(g) FROM (VALUES ('a', 1), ('a', 2), (NULL, 3)) AS t(g, v) GROUP BY ROLLUP (g) ORDER BY 4, 1;
-- g text | count bigint | sum bigint | grouping integer
-- a | 2 | 3 | 0
-- NULL | 1 | 3 | 0
-- NULL | 3 | 6 | 1
SELECT count(*) FILTER (WHERE v > 1), sum(DISTINCT v), avg(v), string_agg(v::text, '-' ORDER BY v DESC), mode() WITHIN GROUP (ORDER BY v) FROM (VALUES (1), (2), (2)) AS t(v);
-- count bigint | sum bigint | avg numeric | string_agg text | mode integer
-- 2 | 3 | 1.6666666666666667 | 2-2-1 | 2
SELECT 1 UNION SELECT 1.0 UNION ALL SELECT 2 ORDER BY 1;
-- ?column? numeric
-- 1
-- 2
SELECT NULL UNION SELECT 1;
-- ?column? integer
-- 1
-- NULL
SELECT 'a' UNION SELECT NULL ORDER BY 1;
-- ?column? text
-- a
-- NULL
SELECT 1 UNION SELECT 'x';
-- ERROR 22P02
SELECT x FROM (VALUES (1, 'b'), (2, 'a'), (3, NULL)) AS t(x, y) ORDER BY y DESC, x;
-- x integer
-- 3
-- 1
-- 2
SELECT DISTINCT ON (g) g, v FROM (VALUES ('a', 2), ('a', 1), ('b', 3)) AS t(g, v) ORDER BY g, v;
-- g text | v integer
-- a | 1
-- b | 3
SELECT '\x4142'::bytea || '\x43', length('\x4142'::bytea), 'abc'::bytea, E'\\\\x'::bytea, '\x41'::bytea < '\x4100'::bytea;
-- ?column? bytea | length integer | bytea bytea | bytea bytea | ?column? boolean
-- \x414243 | 2 | \x616263 | \x5c78 | t
SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{a0eebc999c0b4ef8bb6d6bb9bd380a11}'::uuid::text;
-- ?column? boolean | text text
-- t | a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11
SELECT 'xyz'::uuid;
-- ERROR 22P02
SELECT width_bucket(5.35, 0.024, 10.06, 5), gcd(12, 18), lcm(4, 6), factorial(5), pi()::numeric(5,4), degrees(pi()), cbrt(27), log(100), ln(1), exp(0);
-- width_bucket integer | gcd integer | lcm integer | factorial numeric | pi numeric | degrees double precision | cbrt double precision | log double precision | ln double precision | exp double precision
-- 3 | 6 | 12 | 120 | 3.1416 | 180 | 3.0000000000000004 | 2 | 0 | 1
SELECT sqrt(-1);
-- ERROR 2201F
SELECT ln(0);
-- ERROR 2201E
SELECT power(0, -1);
-- ERROR 2201F
