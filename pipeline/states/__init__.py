"""Transforms between fields and the states of a network."""
