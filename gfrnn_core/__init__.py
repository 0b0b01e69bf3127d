"""Sampled recurrent networks and the R factor they are trained with: numpy and scipy only."""

from gfrnn_core.regression import RidgePath
from gfrnn_core.rfactor import RFactor, merge_all
from gfrnn_core.rnn import SampledRNN
from gfrnn_core.sampling import HiddenWeights, sample_weights

__all__ = ["HiddenWeights", "RFactor", "RidgePath", "SampledRNN", "merge_all", "sample_weights"]
