"""Fused columnar pipelines: scan, visibility, filters and an aggregate in one compiled loop over encoded blocks.

``describe`` (from expressions) · ``shape`` (what a kernel depends on) · ``bounds`` (what integers can become) ·
``order`` (which condition is asked first) · ``program`` (what one kernel for all goes through) · ``generate`` (a
kernel's text) · ``kernels`` (known by shape) · ``files`` (kept on disk) · ``helper``, ``compiler`` (the process that
compiles, from outside and from inside) · ``pieces`` (blocks of segments and stretches of memtables, as kernels are
given them) · ``sides`` (what is joined) · ``run`` (from pieces to lanes) · ``work`` (threads) · ``packing`` (keys as
words) · ``states`` and ``parts`` (groups with places, groups that are looked up) · ``bits`` (different values) ·
``answers`` (as Arrow) · ``metadata`` (counts, least and greatest values), ``top``, ``newest`` and ``passing`` (the
first rows in an order, those of each group, those for which a condition is true: ``ranks``, ``condition``, ``late``),
which need no kernel. A pipeline answers as the relational executor does, or not at all.
"""
