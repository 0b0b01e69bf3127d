"""Forecasts in files and stores of any model, and the truth that they are scored with."""
