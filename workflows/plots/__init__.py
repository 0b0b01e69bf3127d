"""Figures of the forecasts of a run that a user asks for: maps, series at places, indices."""
