"""The recurrent network without its training: settings, arrays, one step and rollouts.

Source: Bolager et al., 'Gradient-free training of recurrent neural networks', arXiv 2410.23467.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.gapless_series import paired, unmasked
from gfrnn_core.lead_combination import LeadCombination
from gfrnn_core.lifting import Columns, activate
from gfrnn_core.local_features import LatticeFeatures
from gfrnn_core.patches import Patches
from gfrnn_core.regression_rows import Target, row_columns
from gfrnn_core.rollout import RolloutLoop
from gfrnn_core.sampling import Activation, HiddenWeights, Sampling
from gfrnn_core.triangles.rfactor import RFactor
from gfrnn_core.value_checks import check_count, check_seed

Array = NDArray[Any]
Precision = Literal["float32", "float64"]


@dataclass(frozen=True, eq=False)
class RecurrentNetwork:
    """A recurrent network with a linear part: ``h' = C [h, 1, sigma(W h + b)]``.

    With inputs x, ``C_x [x, sigma(W_x x + b_x)]`` is added, and with modulators m among these
    ``C_m [m_1 h_0, m_2 h_0, ...]``; h holds delayed states, of which h_0 is the present one.
    :class:`gfrnn_core.SampledRNN` trains it.

    Parameters
    ----------
    width : int
        Number of hidden features, with those of ``lattice_features``; 0 is the linear model.
    activation : {"tanh", "relu"}
        Not used by ``centres`` and ``quadratic``.
    sampling : {"pairs", "uniform_pairs", "normal", "centres", "quadratic"}
        How hidden weights are drawn, see :func:`gfrnn_core.sample_weights`.
    scale : float
        Standard deviation of normal weights, or factor of the squares of ``quadratic``, for
        standardised states; with ``centres``, length of the Gaussian features relative to the
        spread of the states.
    delays : int
        Number of successive states that the features see, the present one included.
    leads : tuple of int
        Leads, in steps, that have outer weights of their own, ascending from 1; a rollout builds
        every other lead from these.
    combine_leads : {"mean", "longest"}
        Rule that combines predictions of several leads in rollouts, see :meth:`rollout`. Training
        does not depend on it.
    target : {"state", "increment", "lifted"}
        Values that the outer weights predict. Increments suit small steps of smooth systems. Lifted
        targets are the next linear terms, constant and hidden features, so that the outer weights
        are the Koopman matrix, with twice the columns; they allow one lead only, and no patches.
    ridge : float
        Ridge relative to the largest singular value of the features.
    input_width : int
        Number of hidden features of the inputs alone.
    joint : bool
        Whether hidden features see the inputs together with the states. This is useful if an input
        (latitude, orography, season) changes the dynamics of a state; inputs should then be of
        order one, as normal weights on inputs have the scale of those on states.
    modulators : tuple of int
        Indices of inputs that multiply the present state; the products are further linear terms,
        which hidden features do not see. With the cosine and the sine of the year as modulators,
        the linear model is x' = (A + B cos + C sin) x, a cyclostationary linear inverse model.
    noise : float, or ndarray, shape (d,); with patches shape (channels,)
        Standard deviation of normal noise on the (scaled) states that features see in training,
        one for all coordinates or one for each; targets have no noise. If states vary in few
        directions only, as smooth fields do, the noise keeps rollouts from leaving them.
    share : float
        Share of all rows that training uses, drawn at random; below 1 if patches give more rows
        than are needed.
    patches : Patches, optional
        Patches that share one set of weights; by default features see the whole state.
    lattice_features : LatticeFeatures, optional
        Nonlinear features of the (scaled) present state, computed on its grid. A row has those at
        the cells of its patch as its first hidden features.
    precision : {"float64", "float32"}
        Precision of lifted rows, their factorisation and rollouts. float32 is about twice as fast
        and enough for noisy data; noise-free dynamics lose half of their predictability.
    standardise : bool
        Whether ``fit`` shifts and scales each coordinate to mean 0 and standard deviation 1; with
        patches each channel.
    seed : int
        The same seed and data give the same network bit for bit.

    Attributes
    ----------
    shift, std : ndarray, shape (d,), or None
        Mean and standard deviation of each coordinate; None if states are not standardised.
    low, high : ndarray, shape (d,), or None
        Least and largest scaled states in training. A rollout that leaves this range by more than
        the extent of the range is stopped and reported.
    hidden, input_hidden : HiddenWeights or None
        Hidden layers of the states and of the inputs; set by :meth:`prepare`.
    factor : RFactor or None
        R factor of all rows so far, which :meth:`partial_fit` merges into.
    times : int
        Number of times used in training so far.
    inputs : int or None
        Number of inputs, set by :meth:`prepare`; None if it is not known.
    outer : ndarray, shape (leads, features, own values), or None
        Outer weights, set by :meth:`solve`; with groups (groups, leads, features, own values).
    groups : ndarray of int, shape (places,), or None
        Index of the set of outer weights of each patch; None if all patches share one set.
    mask : ndarray of bool, shape (d,), or None
        Coordinates without a value, such as sea surface temperature on land: they are 0 in training
        and in rollouts.
    limit : ndarray, shape () or (d,), or None
        Magnitude to which rollouts limit each scaled state, so that none runs away; None for no
        limit.
    """

    width: int = 1000
    activation: Activation = "tanh"
    sampling: Sampling = "pairs"
    scale: float = 0.5
    delays: int = 1
    leads: tuple[int, ...] = (1,)
    combine_leads: LeadCombination = "mean"
    target: Target = "increment"
    ridge: float = 1e-15
    input_width: int = 0
    joint: bool = False
    modulators: tuple[int, ...] = ()
    noise: float | Array = 0.0
    share: float = 1.0
    patches: Patches | None = None
    lattice_features: LatticeFeatures | None = field(default=None, repr=False)
    precision: Precision = "float64"
    standardise: bool = True
    seed: int = 0
    shift: Array | None = field(default=None, repr=False)
    std: Array | None = field(default=None, repr=False)
    low: Array | None = field(default=None, repr=False)
    high: Array | None = field(default=None, repr=False)
    hidden: HiddenWeights | None = field(default=None, repr=False)
    input_hidden: HiddenWeights | None = field(default=None, repr=False)
    factor: RFactor | None = field(default=None, repr=False)
    times: int = field(default=0, repr=False)
    outer: Array | None = field(default=None, repr=False)
    inputs: int | None = field(default=None, repr=False)
    groups: Array | None = field(default=None, repr=False)
    mask: Array | None = field(default=None, repr=False)
    limit: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_count("delays", self.delays)
        for name in ("leads", "modulators"):
            given = getattr(self, name)
            if not isinstance(given, (list, tuple)):
                raise ValueError(f"{name}: {given!r} is not a tuple of integers, such as (1,)")
            object.__setattr__(self, name, tuple(given))
            for each in getattr(self, name):
                check_count(name, each, 0)
        if self.limit is not None:
            object.__setattr__(self, "limit", np.asarray(self.limit, dtype=float))
        if tuple(self.leads[:1]) != (1,) or list(self.leads) != sorted(set(self.leads)):
            raise ValueError(f"leads: {self.leads} is not an ascending series of steps from 1 on")
        choices = {"target": Target, "precision": Precision, "combine_leads": LeadCombination}
        for name, kind in choices.items():
            allowed = get_args(kind)
            if getattr(self, name) not in allowed:
                found, options = getattr(self, name), ", ".join(map(repr, allowed))
                raise ValueError(f"{name}: {found!r} is not one of {options}")
        if self.target == "lifted" and (self.patches is not None or self.leads != (1,)):
            raise ValueError("target: 'lifted' allows neither patches nor leads other than (1,)")
        if self.limit is not None and (self.target == "lifted" or not np.all(self.limit > 0)):
            raise ValueError("limit: needs positive values, and targets other than 'lifted'")
        if self.joint and (self.input_width or self.target == "lifted"):
            raise ValueError("joint: allows neither input_width nor target 'lifted'")
        if len(set(self.modulators)) < len(self.modulators):
            raise ValueError(f"modulators: {self.modulators} are not different indices of inputs")
        if self.modulators and self.target == "lifted":
            raise ValueError("modulators: are not allowed with target 'lifted'")
        for name in ("ridge", "noise"):
            values = np.asarray(getattr(self, name))
            if not ((values >= 0) & (values < np.inf)).all():
                raise ValueError(f"{name}: {getattr(self, name)} is negative or not finite")
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share} is not within (0, 1]")
        for name in ("width", "input_width"):
            check_count(name, getattr(self, name), 0)
        if self.lattice_features is not None:
            if self.lattice_features.lattice.patches != self.patches:
                raise ValueError("lattice_features: are of other patches than the network's")
            if self.width < self.lattice_columns:
                raise ValueError(
                    f"width: {self.width} is less than the {self.lattice_columns} features of a "
                    "patch that lattice_features gives, which are part of it"
                )

    @property
    def noisy(self) -> bool:
        """Whether states that features see in training have noise."""
        return bool(np.any(self.noise))

    @property
    def overlap(self) -> int:
        """Number of states that a series must repeat of the one before, to lose no rows."""
        return self.delays - 1 + max(self.leads)

    @property
    def lattice_columns(self) -> int:
        """Number of hidden features in a row that are computed on the grid."""
        return 0 if self.lattice_features is None else self.lattice_features.columns

    def columns(self, size: int, inputs: int = 0) -> Columns:
        """Return the columns of a row, for states of this size and this number of inputs."""
        own = size if self.patches is None else self.patches.owned
        driven = inputs + self.input_width if inputs and not self.joint else 0
        products = len(self.modulators) * (size if self.patches is None else self.patches.window)
        leads, lattice = len(self.leads), self.lattice_columns
        return row_columns(self._sampled(), driven, leads, own, self.target, products, lattice)

    def scaled(self, states: Array) -> Array:
        """Return states in the standardised units of the network."""
        if self.shift is None or self.std is None:
            return np.asarray(states, dtype=float)
        return np.asarray((states - self.shift) / self.std)

    def unscaled(self, states: Array) -> Array:
        """Convert standardised states back to their own units."""
        if self.shift is None or self.std is None:
            return states
        return np.asarray(states * self.std + self.shift)

    def rollout(
        self, history: Array, steps: int, inputs: Array | None = None, *, linear: bool = False
    ) -> Array:
        """Forecast a batch of starts.

        The state is lifted again at every step. A prediction of the state at lead L with the outer
        weights of lead j starts from the state at lead L - j. The longest j that is not above L
        needs fewest steps, so that little error accumulates. With ``combine_leads="longest"`` it is
        used alone. With "mean", up to the longest of ``leads``, it has half of the weight, and the
        predictions with all shorter ones share the other half: means have smaller errors.

        Parameters
        ----------
        history : ndarray, shape (starts, at least delays, d)
            Latest states, oldest first, in their own units. The network needs the last ``delays``
            states; earlier ones are ignored.
        steps : int
        inputs : ndarray, shape (starts, steps, p), optional
            Inputs at steps 1 to ``steps`` after the start; with patches also
            (starts, steps, places, p).
        linear : bool
            Whether to lift the start only and continue in the lifted space, ``C K^t phi``; this
            needs lifted targets. It suits decaying and periodic motion, and is much worse than
            lifting at every step for chaos.

        Returns
        -------
        ndarray, shape (starts, steps, d)
            Forecasts; NaN from the step at which one left the range of the training data, or had
            NaN in its start or inputs, which an :class:`gfrnn_core.rollout.UnstableRollout` warning
            reports. The range of a coordinate that was constant in training is not checked.

        Raises
        ------
        ValueError
            If shapes do not fit, the network is not solved yet, or ``linear`` is set without lifted
            targets.
        """
        if linear and self.target != "lifted":
            raise ValueError(f"linear: needs target 'lifted', but the network's is {self.target!r}")
        outer = self._solved()
        history = self._history(history)
        check_count("steps", steps, 0)
        driven = self._driven(self._given(inputs, (len(history), steps), self._trained_with()))
        start = self.scaled(history[:, -self.delays :]).transpose(1, 0, 2)
        start = start.astype(self.precision)
        driven = None if driven is None else driven.astype(self.precision)
        loop = self._loop(outer if linear else outer[..., : self._own()])
        path = (loop.run_linear if linear else loop.run)(start, steps, driven)
        return self.unscaled(path.transpose(1, 0, 2))

    def walk(
        self, history: Array, steps: int, inputs: Iterable[Array] | None = None
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the steps of :meth:`rollout` one by one: memory does not grow with their number.

        Parameters
        ----------
        history : ndarray, shape (starts, at least delays, d)
        steps : int
        inputs : iterable of ndarray, shape (starts, p) or (starts, places, p), optional
            Inputs of each step.

        Yields
        ------
        states : ndarray, shape (starts, d)
        limited : ndarray, shape (starts,)
            Share of the values of each state that were beyond :attr:`limit` and set to it.
        """
        outer = self._solved()[..., : self._own()]
        history = self._history(history)
        check_count("steps", steps, 0)
        start = self.scaled(history[:, -self.delays :]).transpose(1, 0, 2)
        forcing = self._each_driven(inputs, len(history))
        walk = self._loop(outer).walk(start.astype(self.precision), steps, forcing)
        for state, limited in walk:
            yield self.unscaled(state), limited

    def _each_driven(self, inputs: Iterable[Array] | None, starts: int) -> Iterator[Array] | None:
        known = self._trained_with()
        if inputs is None:
            self._given(None, (), known)
            return None

        def each() -> Iterator[Array]:
            for one in inputs:
                driven = self._driven(self._given(one, (starts,), known))
                assert driven is not None
                yield driven.astype(self.precision)

        return each()

    def predict(self, states: Array, inputs: Array | None = None) -> Array:
        """Forecast each state of an observed series by one step from the states before it.

        Parameters
        ----------
        states : ndarray, shape (times, d)
            States in their own units.
        inputs : ndarray, shape (times, p), optional
            With patches also (times, places, p).

        Returns
        -------
        ndarray, shape (times - delays, d)
            Forecasts of the times ``delays`` to the last; their range is not checked.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is not finite, or the network is not solved yet.
        """
        outer = self._solved()[..., : self._own()]
        forced = None if inputs is None else unmasked(inputs)
        states, forcing = next(paired(unmasked(states), forced))
        self._check_size(states)
        forcing = self._given(forcing, (len(states),), self._trained_with())
        count = len(states) - self.delays
        if count < 1:
            raise ValueError(f"states: {len(states)} times are too few for {self.delays} delays")
        window = np.stack([self.scaled(states)[j : j + count] for j in range(self.delays)])
        driven = self._driven(None if forcing is None else forcing[self.delays :])
        driven = None if driven is None else driven.astype(self.precision)
        loop = self._loop(outer)
        return self.unscaled(loop.step(window.astype(self.precision), driven))

    def _driven(self, inputs: Array | None) -> Array | None:
        """Return inputs with their hidden features: shape (..., p) to (..., p + input_width)."""
        if inputs is None or self.input_hidden is None:
            return None if inputs is None else np.asarray(inputs, dtype=float)
        hidden = self.input_hidden
        features = inputs @ hidden.weights + hidden.biases
        activate(features, hidden.activation)
        return np.concatenate([inputs, features], axis=-1)

    def _loop(self, outer: Array) -> RolloutLoop:
        low, high = self.low, self.high
        if low is not None and high is not None:
            extent = np.where(high > low, high - low, np.inf)
            # Rounding alone moves a forecast off a constant value, so these need only be finite.
            largest = np.finfo(self.precision).max
            low, high = np.maximum(low - extent, -largest), np.minimum(high + extent, largest)
        precision = np.dtype(self.precision)
        return RolloutLoop(
            self._sampled().astype(precision),
            np.ascontiguousarray(outer, dtype=precision),
            self.leads,
            self.delays,
            self.target == "increment",
            self.patches,
            low,
            high,
            self.joint,
            self.groups,
            self.mask,
            self.modulators,
            self.lattice_features,
            None if self.limit is None else self.limit.astype(precision),
            self.combine_leads,
        )

    def _own(self) -> int:
        """Return the number of values that the outer weights predict at a place."""
        if self.patches is not None:
            return self.patches.owned
        joined = (self.inputs or 0) if self.joint else 0
        return (self._sampled().inputs - joined) // self.delays

    @property
    def state_size(self) -> int:
        """Length of a state; known once hidden weights are drawn."""
        return self._own() if self.patches is None else self.patches.cells

    def _check_size(self, states: Array) -> None:
        if states.ndim != 2 or states.shape[1] != self.state_size:
            raise ValueError(f"states: shape {states.shape} is not (times, {self.state_size})")

    def _history(self, history: Array) -> Array:
        history, size = np.asarray(unmasked(history), dtype=float), self.state_size
        if history.ndim != 3 or history.shape[1] < self.delays or history.shape[2] != size:
            raise ValueError(
                f"history: shape {history.shape} is not (starts, {self.delays}, {size})"
            )
        return history

    def _given(
        self, inputs: Array | None, leading: tuple[int, ...], known: int | None
    ) -> Array | None:
        """Check inputs against these leading axes and the known number of inputs."""
        if inputs is None:
            if self.modulators or (self.input_width if known is None else known):
                raise ValueError(f"inputs: none, but the network needs {known or 'some'}")
            return None
        values = np.asarray(unmasked(inputs), dtype=float)
        if known == 0:
            raise ValueError(f"inputs: shape {values.shape}, but the network has no inputs")
        count = values.shape[-1:] if known is None else (known,)
        expected = [(*leading, *count)]
        if self.patches is not None:
            expected.append((*leading, self.patches.places, *count))
        if values.shape not in expected:
            options = " or ".join(map(str, expected))
            raise ValueError(f"inputs: shape {values.shape} is not {options}")
        if max(self.modulators, default=-1) >= values.shape[-1]:
            raise ValueError(
                f"modulators: {self.modulators} are not all among the {values.shape[-1]} inputs"
            )
        return values

    def _trained_with(self) -> int:
        """Return the number of inputs that the outer weights were solved with."""
        if self.joint:
            return self.inputs or 0
        more = self._solved().shape[-2] - self.columns(self._own()).features
        return more - self.input_width if more else 0

    def _sampled(self) -> HiddenWeights:
        if self.hidden is None:
            raise ValueError(
                "the network has no hidden weights yet; call prepare, sample or fit first"
            )
        return self.hidden

    def _solved(self) -> Array:
        if self.outer is None:
            raise ValueError("the network has no outer weights yet; call fit or solve first")
        return self.outer
