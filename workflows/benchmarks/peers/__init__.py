"""Comparison with programs that a user would choose instead."""
