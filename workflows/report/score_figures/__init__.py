"""Scores of a report: figures against lead, and scorecards."""
