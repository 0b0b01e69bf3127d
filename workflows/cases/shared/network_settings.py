"""Settings of a sampled network that several cases share."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat

from gfrnn.pipeline.config.section import Section
from gfrnn_core import SampledRNN
from gfrnn_core.sampling import Sampling


class SampledNetworkSettings(Section):
    """Settings of hidden weights and of the ridge."""

    sampling: Sampling
    scale: PositiveFloat = 0.5
    ridge: NonNegativeFloat

    def network(self, width: int, seed: int, delays: int = 1) -> SampledRNN:
        """Return an untrained network with these settings."""
        return SampledRNN(
            width,
            sampling=self.sampling,
            scale=self.scale,
            delays=delays,
            ridge=self.ridge,
            seed=seed,
        )
