"""Numerical comparisons: least squares, EOFs, modes and chaotic systems."""
