"""The command line, the report, the cases of the papers and the benchmarks."""
