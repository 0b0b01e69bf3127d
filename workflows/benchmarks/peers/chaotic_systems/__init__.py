"""Forecasts of chaotic systems, compared by valid prediction times."""
