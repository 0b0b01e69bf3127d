"""Benchmarks of this machine (``gfrnn bench NAME``), with references measured in the same run."""
