"""Comparison on the hourly temperature of stations."""
