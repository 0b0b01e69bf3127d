"""Benchmarks of reading, writing and scoring stores of forecasts."""
