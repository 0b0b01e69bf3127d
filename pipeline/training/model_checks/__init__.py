"""Checks of models that anybody may have written."""
