"""Checks of the data and the text that ``gfrnn inspect`` prints."""
