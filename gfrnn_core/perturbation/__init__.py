"""Learning by random perturbations, from forward passes and one scalar (arXiv 2405.08967)."""

from gfrnn_core.perturbation.backpropagation import Backpropagation
from gfrnn_core.perturbation.gradient_estimate import Window
from gfrnn_core.perturbation.learning import DivergedError, Learning, mean_loss
from gfrnn_core.perturbation.perturbation_rules import Perturbation
from gfrnn_core.perturbation.rollout_gradient import RolloutStarts
from gfrnn_core.perturbation.rollout_polish import Polish
from gfrnn_core.perturbation.sequence_tasks import Task
from gfrnn_core.perturbation.weights import Weights

__all__ = [
    "Backpropagation",
    "DivergedError",
    "Learning",
    "Perturbation",
    "Polish",
    "RolloutStarts",
    "Task",
    "Weights",
    "Window",
    "mean_loss",
]
