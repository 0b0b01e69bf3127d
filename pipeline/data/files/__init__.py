"""Files of an experiment: search, opening, and the coordinates of each."""
