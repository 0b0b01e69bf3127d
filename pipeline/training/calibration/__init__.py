"""Calibration of forecasts: at each lead, a regression of the truth on rollouts."""
