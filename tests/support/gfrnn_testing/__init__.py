"""Data, models and services that the tests of several packages share."""
