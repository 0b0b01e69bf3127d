"""Tasks to compare recurrent networks on, with sequences to train and to test on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.gradient_estimate import Window
from gfrnn_core.systems import LORENZ63, MackeyGlass
from gfrnn_core.value_checks import check_count

Array = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """A task: sequences to train and to test on, each starting from the state zero.

    Attributes
    ----------
    name : str
    train, test : tuple of Window
    references : dict of str to float
        Test losses of simple reference forecasts.
    """

    name: str
    train: tuple[Window, ...]
    test: tuple[Window, ...]
    references: dict[str, float]

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of inputs and outputs."""
        return self.train[0].inputs.shape[2], self.train[0].targets.shape[2]


def forecasting(
    name: str,
    inputs: Array,
    targets: Array,
    ahead: int,
    split: int,
    *,
    warm_up: int = 100,
    lags: int = 20,
) -> Task:
    """Return the task to forecast a series some steps ahead from the inputs so far.

    Parameters
    ----------
    name : str
    inputs : ndarray, shape (times, inputs)
    targets : ndarray, shape (times, outputs)
        Targets at the same times; the target of a step is the value ``ahead`` steps later.
    ahead : int
    split : int
        Targets before this time are for training, later ones for the test.
    warm_up : int
        Number of steps at the start of either part that do not count, until the effect of the
        initial state zero has decayed. Those of the test part are the last ones of training.
    lags : int
        Number of lags of the linear reference.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is out of its range, or there are too few times for the
        split.
    """
    times = len(inputs)
    for key, series in (("inputs", inputs), ("targets", targets)):
        if series.ndim != 2:
            raise ValueError(f"{key}: shape {series.shape} is not (times, variables)")
    check_count("ahead", ahead)
    check_count("lags", lags)
    if warm_up < 0:
        raise ValueError(f"warm_up: {warm_up} is negative")
    if len(targets) != times or not warm_up + ahead + lags < split < times:
        raise ValueError(
            f"split: {split} does not leave {warm_up + ahead + lags} times before it and one after "
            f"it in {times} times of inputs and {len(targets)} of targets"
        )
    known, later = inputs[: times - ahead], targets[ahead:]
    border = split - ahead  # present times before it have their target before the split

    def part(begin: int, end: int) -> Window:
        begin = max(begin - warm_up, 0)
        counted = np.arange(end - begin) >= warm_up
        return Window(known[begin:end, None], later[begin:end, None], counted, "squared")

    train, test = part(warm_up, border), part(border, len(known))
    truth = later[border:]

    def error(forecast: Array) -> float:
        return float(np.square(forecast - truth).mean())

    rows = np.concatenate(
        [np.ones((len(known) - lags, 1))] + [known[lags - j : len(known) - j] for j in range(lags)],
        axis=1,
    )
    solution = np.linalg.lstsq(rows[: border - lags], later[lags:border], rcond=None)[0]
    references = {
        "mean": error(later[:border].mean(axis=0)),
        f"linear, {lags} lags": error(rows[border - lags :] @ solution),
    }
    present = targets[: times - ahead][border:]
    references["persistence"] = error(present)
    return Task(name, (train,), (test,), references)


def mackey_glass(steps: int = 5000, ahead: int = 15, test: int = 1000) -> Task:
    """Return the task to forecast Mackey-Glass, delay 17, squashed by ``tanh(x - 1)``.

    Parameters
    ----------
    steps : int
        Steps, of one unit of time, before the split; training has the targets among them, less a
        warm-up.
    test : int
        Initial times after the split; ``test + ahead + 1`` targets are tested, as the first have
        their initial time before it.
    ahead : int
    """
    path = MackeyGlass().trajectory(steps + test + ahead, spinup=1000)
    squashed = np.tanh(path.reshape(-1, 1) - 1.0)
    return forecasting("mackey-glass", squashed, squashed, ahead, steps)


def sine(steps: int = 600, period: float = 25.0, ahead: int = 5) -> Task:
    """Return the task to forecast a sine, small enough for tests."""
    wave = np.sin(2 * np.pi * np.arange(steps + 200) / period)[:, None]
    return forecasting("sine", wave, wave, ahead, steps)


def lorenz(steps: int = 2000, dt: float = 0.05, ahead: int = 1) -> Task:
    """Return the task to forecast standardised Lorenz 63, all three variables."""
    path = LORENZ63.trajectory(dt, steps + 500, spinup=200)
    scaled = (path - path[:steps].mean(axis=0)) / path[:steps].std(axis=0)
    return forecasting("lorenz", scaled, scaled, ahead, steps)


def copying(
    symbols: int = 100,
    alphabet: int = 10,
    delay: int = 10,
    sequences: int = 500,
    batch: int = 50,
    seed: int = 0,
) -> Task:
    """Return the task to output the symbol shown ``delay`` steps ago, with cross entropy as loss.

    Parameters
    ----------
    symbols : int
        Length of a sequence; ``delay`` steps without a symbol follow it.
    alphabet : int
        Number of symbols, one-hot inputs and outputs.
    delay : int
    sequences : int
        Number of training sequences; there are a fifth as many test sequences.
    batch : int
    seed : int

    Raises
    ------
    ValueError
        If a size is not positive.
    """
    sizes = {"symbols": symbols, "alphabet": alphabet, "sequences": sequences, "batch": batch}
    for key, value in sizes.items():
        check_count(key, value)
    if delay < 0:
        raise ValueError(f"delay: {delay} is negative")
    rng = np.random.default_rng(seed)
    steps = symbols + delay
    eye = np.eye(alphabet)

    def windows(count: int) -> tuple[Window, ...]:
        parts = []
        for start in range(0, count, batch):
            shown = rng.integers(0, alphabet, (symbols, min(batch, count - start)))
            inputs = np.zeros((steps, shown.shape[1], alphabet))
            targets = np.zeros_like(inputs)
            inputs[:symbols], targets[delay:] = eye[shown], eye[shown]
            parts.append(Window(inputs, targets, np.arange(steps) >= delay, "cross_entropy"))
        return tuple(parts)

    train, test = windows(sequences), windows(-(-sequences // 5))
    return Task("copying", train, test, {"guess": float(np.log(alphabet))})
