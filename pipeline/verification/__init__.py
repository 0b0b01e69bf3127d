"""Scores of forecasts and of reference forecasts."""
