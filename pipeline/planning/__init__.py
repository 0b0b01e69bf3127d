"""Estimates of what a fit costs before it starts."""
