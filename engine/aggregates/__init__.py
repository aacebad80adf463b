"""Aggregates that are kept: what a materialized view has of each group, so that rows can come and go exactly.

``definition`` (what is kept, and the internal table of groups) · ``groups`` (from rows to changes of groups) ·
``maintain`` (inside of apply) · ``build`` (of the rows that there are) · ``accumulators`` (states of counts and sums,
added and taken away) · ``rest`` (what of doubles is not in their window).
"""
