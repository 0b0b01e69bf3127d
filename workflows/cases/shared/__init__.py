"""Trajectories, comparison methods and tables that several cases share."""
