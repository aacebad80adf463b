"""What every layer speaks: errors, limits, types, rows, results, and the public interface.

The bottom of the import order. Embedded and remote databases raise one exception tree, turn Python rows into Arrow
by one function, and hand out one ``Result``; so these live below both, and import nothing of ours.
"""
