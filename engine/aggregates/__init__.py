"""Aggregates that are kept: what a materialized view has of each group, so that rows can come and go exactly.

``accumulators`` (states of counts and sums, added and taken away) · ``rest`` (what of doubles is not in their window).
"""
