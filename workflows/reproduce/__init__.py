"""Reproduction of any case: settings, their choice, the run, its table and page."""
