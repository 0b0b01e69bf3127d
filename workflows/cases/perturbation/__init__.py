"""Case of the second paper: learning by random perturbations."""

from gfrnn.workflows.cases.perturbation.perturbation_case import CASE

__all__ = ["CASE"]
