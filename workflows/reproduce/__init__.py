"""Reproduction of cases: settings and their choice, the run, its table and page."""
