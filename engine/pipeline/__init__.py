"""Fused columnar pipelines: scan, visibility, filters and an aggregate in one compiled loop over encoded blocks.

``shape`` (what a kernel depends on) · ``generate`` (its text) · ``kernels`` (compiled by a helper process, kept on
disk) · ``pieces`` (blocks of segments and stretches of memtables, as kernels are given them) · ``run`` (threads, order
of merging, the answer as Arrow). A pipeline gives the answer that the relational executor gives, or none.
"""
