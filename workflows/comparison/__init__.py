"""Scores of forecasts that need no run, and comparisons of runs with each other."""
