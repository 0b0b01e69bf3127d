"""What every long command shares: cluster, progress display, stopping and monitoring."""
