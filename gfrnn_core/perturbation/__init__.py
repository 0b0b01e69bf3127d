"""Learning by random perturbations, from forward passes and one scalar (arXiv 2405.08967)."""

from gfrnn_core.perturbation.backpropagation import Backpropagation
from gfrnn_core.perturbation.estimate import Window
from gfrnn_core.perturbation.learning import DivergedError, Learning, mean_loss
from gfrnn_core.perturbation.polish import Polish
from gfrnn_core.perturbation.polish_chunk import Starts
from gfrnn_core.perturbation.rules import Perturbation
from gfrnn_core.perturbation.tasks import Task
from gfrnn_core.perturbation.weights import Weights

__all__ = [
    "Backpropagation",
    "DivergedError",
    "Learning",
    "Perturbation",
    "Polish",
    "Starts",
    "Task",
    "Weights",
    "Window",
    "mean_loss",
]
