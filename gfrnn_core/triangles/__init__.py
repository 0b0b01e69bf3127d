"""Triangles of tall matrices: their R factors, how rows are folded into them, and products."""
