"""Benchmarks: ``gfrnn bench NAME`` measures this machine beside references of the same run."""
