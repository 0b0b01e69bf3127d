"""What ``gfrnn reproduce`` does with any case: settings, choice, run, table, page."""
