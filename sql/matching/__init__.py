"""View matching: queries over tables, answered from the groups of materialized views if that is provably the same.

    select.py    which SELECTs of a query, and what is left of it
    match.py     whether one view answers one SELECT: the proof, or what is missing
    known.py     what that asks of a view again and again, made once
    said.py      what it says to people, written out when it is read
    implied.py   whether a condition follows from others
    buckets.py   buckets of time, and windows over them
    sides.py     what a table is joined with, looked up by the groups
    run.py       the cheapest view, its groups, the rows beside them
    explained.py what EXPLAIN says of it
    would.py     the view that would do

The query is planned both ways; ``SET weft.match_views = off`` leaves views out of it.
"""
