"""Sampled recurrent networks and the R factor they are trained with: numpy and scipy only."""

from gfrnn_core.patches import Patches
from gfrnn_core.regression import RidgePath
from gfrnn_core.rollout import UnstableRollout
from gfrnn_core.sampled_rnn import SampledRNN
from gfrnn_core.sampling import HiddenWeights, sample_weights
from gfrnn_core.triangles.rfactor import RFactor, merge_all

__all__ = [
    "HiddenWeights",
    "Patches",
    "RFactor",
    "RidgePath",
    "SampledRNN",
    "UnstableRollout",
    "merge_all",
    "sample_weights",
]
