"""Parts that all long commands share: cluster, display of progress, graceful stop."""
