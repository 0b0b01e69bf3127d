"""Train the sampled recurrent network: sample, factorise, solve.

Source: Bolager et al., 'Gradient-free training of recurrent neural networks', arXiv 2410.23467.
The hidden layer is sampled; the outer weights are one linear least-squares problem (extended
dynamic mode decomposition), solved from the R factor of the lifted rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.gapless_series import Series, gapless, paired
from gfrnn_core.recurrent_network import RecurrentNetwork
from gfrnn_core.regression import RidgePath
from gfrnn_core.regression_rows import pooled, row_blocks
from gfrnn_core.sampling import UNPOOLED, sample_weights
from gfrnn_core.triangles.rfactor import RFactor

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class SampledRNN(RecurrentNetwork):
    """A network whose hidden weights are sampled and whose outer weights are solved for.

    Settings and attributes are those of
    :class:`gfrnn_core.recurrent_network.RecurrentNetwork`. A network is never changed: every
    method that trains returns a new one.
    """

    def fit(
        self, states: Series | RFactor, inputs: Series | None = None, *, consecutive: bool = False
    ) -> SampledRNN:
        """Standardise, sample, factorise and solve.

        Parameters
        ----------
        states : ndarray, shape (times, d), or iterable of them, or RFactor
            One gapless series, or several; no row extends from one series to the next. Scales and
            hidden weights are computed from all of an array, list or tuple. Any other iterable is
            read once, block by block, and they are computed from its first block, which should be
            typical. An R factor of this network's rows is only solved.
        inputs : ndarray, shape (times, p), or iterable of them, optional
            Inputs at the times of the states; with patches also (times, places, p).
        consecutive : bool
            Whether the series follow each other without a gap, so that rows may extend from one
            to the next.

        Returns
        -------
        SampledRNN
            A new network, ready for rollouts.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is not finite, a coordinate is constant, or there are
            fewer rows than feature columns.
        """
        if isinstance(states, RFactor):
            if inputs is not None:
                raise ValueError("inputs: an R factor holds those of its rows; leave them out")
            return replace(self.solve(states), factor=states)
        pairs = iter(paired(states, inputs))
        whole = hasattr(states, "ndim") or isinstance(states, (list, tuple))
        first = list(pairs) if whole else list(islice(pairs, 1))
        forcing = None if inputs is None else [one for _, one in first if one is not None]
        prepared = self.prepare([one for one, _ in first], forcing, consecutive=consecutive)
        return prepared._merged(chain(first, pairs), consecutive)

    def prepare(
        self, states: Series, inputs: Series | None = None, *, consecutive: bool = False
    ) -> SampledRNN:
        """Set scales, the range of the data and hidden weights, which all rows depend on.

        Followed by :meth:`partial_fit` on each of many parts, this trains on data that do not fit
        into memory. Parameters and errors are those of :meth:`fit`.
        """
        pairs = list(paired(states, inputs))
        series = [one for one, _ in pairs]
        if not series:
            raise ValueError("states: no series at all")
        for name in ("input_width", "joint"):
            if getattr(self, name) and pairs[0][1] is None:
                raise ValueError(f"{name}: {getattr(self, name)}, but there are no inputs")
        network = replace(self, factor=None, times=0, inputs=_count(pairs[0][1]))
        for one, forcing in pairs:
            network._given(forcing, (len(one),), network.inputs)
        together = series[0] if len(series) == 1 else np.concatenate(series)
        if self.patches is not None and together.shape[1] != self.patches.cells:
            raise ValueError(
                f"states: {together.shape[1]} coordinates, but the patches cut {self.patches.cells}"
            )
        if self.standardise:
            network = network._standardised(together)
        together = network.scaled(together)
        network = replace(network, low=together.min(axis=0), high=together.max(axis=0))
        scaled = [together] if consecutive else [network.scaled(one) for one in series]
        if max(map(len, scaled)) <= self.delays:
            longest = max(map(len, scaled))
            raise ValueError(f"states: {longest} times are too few for {self.delays} delays")
        seen = None
        if self.patches is not None:
            seen = np.tile(self.patches.seen_by_hidden, self.delays)
        joined = None
        if self.joint:
            forcings = [one for _, one in pairs if one is not None]
            joined = [np.concatenate(forcings)] if consecutive else forcings
            seen = (
                None
                if seen is None
                else np.pad(seen, (0, network.inputs or 0), constant_values=True)
            )
        if self.sampling in UNPOOLED:
            place = int(np.argmax([len(one) for one in scaled]))
            few = slice(self.delays + 1)  # one delayed state and its next one
            scaled = [scaled[place][few]]
            joined = None if joined is None else [joined[place][few]]
        network = network.sample(
            *pooled(scaled, self.delays, self.patches, self.seed, joined or None), seen
        )
        if self.input_width:
            forcings = [one.reshape(-1, one.shape[-1]) for _, one in pairs if one is not None]
            network = network._input_sampled(np.concatenate(forcings))
        return network

    def sample(
        self, pool: Array, following: Array | None = None, seen: Array | None = None
    ) -> SampledRNN:
        """Draw the hidden weights.

        Parameters
        ----------
        pool : ndarray, shape (states, delays * d)
            Scaled, delayed states; with patches (states, delays * window). Joint inputs follow.
        following : ndarray, shape (states, d), optional
            The scaled state one step after each; needed by sampling ``pairs``.
        seen : ndarray of bool, shape (delays * d,), or of float, (delays * d, values), optional
            The entries that hidden features see, or the weights of the linear combinations that
            they see; the linear terms always see all.
        """
        seen = np.ones(pool.shape[1], dtype=bool) if seen is None else seen
        hidden = sample_weights(
            pool[:, seen] if seen.dtype == bool else pool @ seen,
            self.width - self.lattice_columns,
            sampling=self.sampling,
            activation=self.activation,
            scale=self.scale,
            following=following,
            seed=self.seed,
        )
        return replace(self, hidden=hidden.seen_from(seen), outer=None)

    def partial_fit(
        self,
        states: Series,
        inputs: Series | None = None,
        *,
        consecutive: bool = False,
        continues: bool = False,
    ) -> SampledRNN:
        """Merge the rows of more data into the triangle and solve again; no data are read twice.

        Other parameters and errors are those of :meth:`fit`; the network must be prepared.

        Parameters
        ----------
        continues : bool
            Whether the first series continues the earlier data without a gap: it must begin with
            their last :attr:`overlap` states. They are not counted twice, so that noise and share
            are drawn as in one fit to all data.
        """
        self._sampled()
        return self._merged(paired(states, inputs), consecutive, continues)

    def forget(self, gamma: float) -> SampledRNN:
        """Weight all earlier rows by ``gamma`` relative to rows merged later.

        Parameters
        ----------
        gamma : float
            Weight in (0, 1].
        """
        if self.factor is None:
            raise ValueError("the network has no rows to forget yet; call fit first")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma: {gamma} is not within (0, 1]")
        return replace(self, factor=self.factor.scale(float(np.sqrt(gamma))))

    def factorise(
        self,
        states: Series,
        inputs: Series | None = None,
        first: int = 0,
        *,
        places: Array | None = None,
        weights: Array | None = None,
    ) -> RFactor:
        """Compute the R factor of the rows of gapless series of scaled states.

        Parameters
        ----------
        states : ndarray, shape (times, d), or iterable of them
            States; no row extends from one series to the next.
        inputs : ndarray, shape (times, p) or (times, places, p), or iterable of them, optional
        first : int
            Index of the first time in the whole record, which decides the draws of noise and share.
        places : ndarray of int, optional
            Patches that give rows, if outer weights differ between groups of patches.
        weights : ndarray, shape (places of the patches,), optional
            Weight of the rows of each place, for example the area of a cell; 0 leaves a place out.

        Raises
        ------
        ValueError
            If shapes do not fit the network, or a value is not finite.
        """
        pairs = paired(states, inputs)
        begun = next(pairs, None)
        if begun is None:
            raise ValueError("states: no series at all")

        def blocks() -> Iterator[Array]:
            place = first
            for one, forcing in chain([begun], pairs):
                yield from self._rows(one, forcing, place, places, weights)
                place += len(one)

        columns = self.columns(begun[0].shape[1], _count(begun[1]))
        return RFactor.from_blocks(blocks(), columns.total, self._row_count(begun[0], places))

    def solve(self, factor: RFactor, ridge: ArrayLike | None = None) -> SampledRNN:
        """Solve for the outer weights from an R factor.

        The weights come from an SVD, or with precision "float32" as
        :meth:`gfrnn_core.RidgePath.from_float32_rows` tells.

        Parameters
        ----------
        factor : RFactor
        ridge : float, or array of shape (leads,), optional
            Ridge relative to the largest singular value, one for all leads or one per lead; by
            default that of the network.

        Raises
        ------
        ValueError
            If the factor's columns are not those of this network's rows (where the number of inputs
            is not known, because the hidden layer was drawn by :meth:`sample`, surplus columns pass
            for inputs), or there are fewer rows than feature columns.
        """
        targets = self.columns(self._own()).targets
        features = factor.columns - targets
        self._check_columns(features, targets)
        given = self.ridge if ridge is None else ridge
        if self.precision == "float32":
            path = RidgePath.from_float32_rows(factor, features, targets, given)
        else:
            path = RidgePath.from_factor(factor, features, targets)
        return self.with_weights(path, given)

    def with_weights(self, path: RidgePath, ridge: ArrayLike) -> SampledRNN:
        """Set the outer weights from a decomposed R factor, with one ridge or one per lead.

        A path of fewer features belongs to the network :meth:`narrowed` to them.

        Raises
        ------
        ValueError
            If the path's features or targets are not this network's, or the ridge is negative, not
            finite, or neither one nor one a lead.
        """
        features, targets = path.projected.shape
        self._check_columns(features, targets)
        size = targets // len(self.leads)
        given = np.asarray(ridge, dtype=float)
        if given.shape not in ((), (1,), (len(self.leads),)):
            raise ValueError(f"ridge: shape {given.shape} is not one or one for each lead")
        if not ((given >= 0) & (given < np.inf)).all():
            raise ValueError(f"ridge: {given} is negative or not finite")
        strengths = np.broadcast_to(given, (len(self.leads),))
        weights = path.weights(np.repeat(strengths, size))
        outer = weights.reshape(features, len(self.leads), size).transpose(1, 0, 2)
        return replace(self, outer=np.ascontiguousarray(outer))

    def narrowed(self, width: int) -> SampledRNN:
        """Return the network of the first ``width`` hidden features, without outer weights.

        These include all of those that are computed on the grid, or none at all. Its features are
        the leading columns of the wider network's triangle. With lifted targets, its targets are
        not the trailing columns, so select columns of the triangle first.
        """
        lattice, features = self.lattice_columns, self.lattice_features
        widest = lattice + self._sampled().width
        if width != 0 and not lattice <= width <= widest:
            allowed = f"{lattice}..{widest}" + " or 0" * (lattice > 0)
            raise ValueError(f"width: {width} is not within {allowed}")
        hidden = self._sampled().narrowed(width - lattice if width else 0)
        features = features if width else None
        known = self._known() if self.outer is None else self._trained_with()
        return replace(
            self,
            width=width,
            lattice_features=features,
            hidden=hidden,
            outer=None,
            factor=None,
            inputs=known,
        )

    def _known(self) -> int | None:
        """Return the number of inputs; None if it is not known."""
        if self.inputs is None and self.input_hidden is not None:
            return self.input_hidden.inputs
        return self.inputs

    def _check_columns(self, features: int, targets: int) -> None:
        known = self._known()
        least = self.columns(self._own(), known or int(self.input_width > 0))
        fits = features >= least.features if known is None else features == least.features
        if not fits or targets != least.targets:
            expected = f"{'at least ' if known is None else ''}{least.features}"
            raise ValueError(
                f"factor: {features} feature and {targets} target columns, but the rows of this "
                f"network of width {self.width} have {expected} and {least.targets}; it comes from "
                "another network"
            )

    def _rows(
        self,
        states: Array,
        inputs: Array | None,
        first: int,
        places: Array | None = None,
        weights: Array | None = None,
    ) -> Iterator[Array]:
        """Yield blocks of rows of one series of scaled states."""
        self._check_size(states)
        return row_blocks(
            states,
            self._driven(self._given(inputs, (len(states),), self._known())),
            self._sampled(),
            delays=self.delays,
            leads=self.leads,
            target=self.target,
            patches=self.patches,
            joint=self.joint,
            modulators=self.modulators,
            lattice_features=self.lattice_features,
            places=places,
            weights=weights,
            noise=self._noise_of(states.shape[1]),
            share=self.share,
            seed=self.seed,
            first=first,
            dtype=np.dtype(self.precision),
        )

    def _row_count(self, states: Array, places: Array | None = None) -> float:
        """Return about how many rows a series of states has."""
        everywhere = 1 if self.patches is None else self.patches.places
        return self.share * len(states) * (everywhere if places is None else len(places))

    def _noise_of(self, size: int) -> float | Array:
        """Return the standard deviation of the noise of each value of a state, or one for all.

        Raises
        ------
        ValueError
            If there is not one for each coordinate, or with patches for each channel.
        """
        if np.ndim(self.noise) == 0:
            return self.noise
        noise, expected = np.asarray(self.noise), size
        if self.patches is not None:
            expected = self.patches.channels
        if noise.shape != (expected,):
            raise ValueError(f"noise: shape {noise.shape} is not () or ({expected},)")
        return np.tile(noise, size // expected)

    def _merged(
        self,
        pairs: Iterable[tuple[Array, Array | None]],
        consecutive: bool,
        continues: bool = False,
    ) -> SampledRNN:
        """Fold the rows of series of states and inputs into the present triangle, and solve."""
        low, high = self.low, self.high
        reached = self.times - self.overlap if continues else self.times
        if reached < 0:
            raise ValueError(
                f"continues: the network was fitted to {self.times} times, fewer than the "
                f"{self.overlap} that a continuation begins with"
            )
        series = gapless(pairs, self.overlap if consecutive else 0)
        begun = next(series, None)
        if begun is None:
            raise ValueError("states: no series at all")

        def blocks() -> Iterator[Array]:
            nonlocal low, high, reached
            for states, inputs, repeated in chain([begun], series):
                self._check_size(states)
                scaled = self.scaled(states)
                least, most = scaled.min(axis=0), scaled.max(axis=0)
                low = least if low is None else np.minimum(low, least)
                high = most if high is None else np.maximum(high, most)
                yield from self._rows(scaled, inputs, reached - repeated)
                reached += len(states) - repeated

        columns = self.columns(begun[0].shape[1], _count(begun[1]))
        expected = self._row_count(begun[0])
        factor = RFactor.from_blocks(blocks(), columns.total, expected)
        factor = factor if self.factor is None else self.factor.merge(factor)
        merged = replace(self, factor=factor, times=reached, low=low, high=high)
        return merged.solve(factor)

    def _standardised(self, states: Array) -> SampledRNN:
        channels = states.shape[1] if self.patches is None else self.patches.channels
        cells = states.reshape(-1, channels)
        # Compare values: by rounding, the standard deviation of equal numbers may be above zero.
        varies = cells.max(axis=0) > cells.min(axis=0)
        if not varies.all():
            constant = int(np.flatnonzero(~varies)[0])
            kind = "coordinate" if self.patches is None else "channel"
            raise ValueError(f"states: {kind} {constant} is constant; leave it out")
        repeats = states.shape[1] // channels
        shift, std = np.tile(cells.mean(axis=0), repeats), np.tile(cells.std(axis=0), repeats)
        return replace(self, shift=shift, std=std)

    def _input_sampled(self, inputs: Array) -> SampledRNN:
        """Return the network with hidden weights drawn for the standardised inputs."""
        if self.sampling != "normal" and not (inputs != inputs[0]).any():
            raise ValueError(
                "inputs: all are constant, there is no pair to draw hidden features from; take "
                "input_width 0 or sampling 'normal'"
            )
        mean, deviation = inputs.mean(axis=0), inputs.std(axis=0)
        deviation = np.where(inputs.max(axis=0) > inputs.min(axis=0), deviation, 1.0)
        hidden = sample_weights(
            (inputs - mean) / deviation,
            self.input_width,
            # The next state depends more on the state than on the input: pairs are drawn uniformly.
            sampling="normal" if self.sampling == "normal" else "uniform_pairs",
            activation=self.activation,
            scale=self.scale,
            seed=int(np.random.SeedSequence([self.seed, 3]).generate_state(1)[0]),
        )
        weights = hidden.weights / deviation[:, None]
        return replace(
            self,
            input_hidden=replace(hidden, weights=weights, biases=hidden.biases - mean @ weights),
        )


def _count(inputs: Array | None) -> int:
    return 0 if inputs is None else int(inputs.shape[-1])
