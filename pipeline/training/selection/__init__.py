"""Choice of ridge, width and candidate from triangles alone."""
