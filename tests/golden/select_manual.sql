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
