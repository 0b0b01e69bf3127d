"""Benchmarks: ``gfrnn bench NAME`` measures this machine, side by side with references."""
