"""Data, models and services that tests of several packages share."""
