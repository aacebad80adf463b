"""Fused columnar pipelines: scan, visibility, filters and an aggregate in one compiled loop over encoded blocks.

``shape`` (what a kernel depends on) · ``generate`` (its text) · ``kernels`` (known by shape) · ``files`` (kept on
disk) · ``helper``, ``compiler`` (the process that compiles, from outside and from inside) · ``pieces`` (blocks of
segments and stretches of memtables, as kernels are given them) · ``run`` (threads, order of merging, the answer as
Arrow). A pipeline gives the answer that the relational executor gives, or none.
"""
