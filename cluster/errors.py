"""The errors of starting and reaching a cluster."""

from __future__ import annotations


class ClusterError(Exception):
    """A cluster does not start or does not answer; the message says what to do."""
