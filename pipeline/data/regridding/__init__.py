"""Values on another grid than that of the file: interpolated, or means over larger cells."""
