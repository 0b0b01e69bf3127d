"""Modes of the linear dynamics of a run: from its triangles, as a store."""
