"""The experiment file: its keys, defaults and limits, checked before any work starts."""
