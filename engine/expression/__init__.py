"""Expressions: the tree, the function table, and their evaluation. See node.py and functions/."""
