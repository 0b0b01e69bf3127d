"""Scores of events, which are values of at least a threshold."""
