"""Values over intervals of time: means, extremes and sums of several times of the files."""
