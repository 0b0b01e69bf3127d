"""Systems that are scored: the forecasts and the references, and the truth."""
