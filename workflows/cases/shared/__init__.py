"""Trajectories, networks and comparisons that several cases share."""
