"""Ensembles: errors of forecasts of held-out data, of which members are made."""
