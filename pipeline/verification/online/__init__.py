"""Scores of forecasts while they are made, of which no fields are kept."""
