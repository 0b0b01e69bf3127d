"""Forecasts of a trained model, and the store that holds them."""
