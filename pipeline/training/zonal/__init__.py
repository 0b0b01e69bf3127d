"""Fits of zonal networks: features, rows and passes."""
