"""Copies of fields in chunks that suit the passes of a fit."""
