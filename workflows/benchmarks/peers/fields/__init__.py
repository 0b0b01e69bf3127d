"""Comparisons on gridded fields, whose states are principal components."""
