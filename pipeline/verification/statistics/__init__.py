"""Statistics of pairs of forecast and truth, and the metrics that are functions of their means.

A statistic is an area mean for each initial time, channel and region. A metric is computed from
means of statistics over initial times, so that any choice of initial times, such as a season, and
any region give it without reading the fields again. All functions take and return numpy arrays.

Fields have shape (starts, channels, cells), those of an ensemble (starts, members, channels,
cells). Weights have shape (regions, channels, cells): they sum to 1 over cells and are 0 in the
mask and outside of the region. Fields are finite where all weights are 0: fill masked cells with 0.
A value that is NaN, in the forecast or in the truth, makes the statistics of its initial time and
channel NaN, in all regions.
"""
