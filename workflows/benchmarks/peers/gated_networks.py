"""LSTM and GRU networks of PyTorch, trained by Adam with early stopping or a falling rate.

The networks see a window of a series and forecast either all targets at once ("direct") or the
next state, which they get as their next input ("rollout"). A linear layer from the last input to
the output is trained with the rest, so that a network need not represent persistence by its gates.
After the search, a network is trained again on all data, for the number of epochs that early
stopping found. On series without noise, many epochs and a learning rate that falls to 0 along a
cosine forecast longer than early stopping (Loshchilov and Hutter, 'SGDR: stochastic gradient
descent with warm restarts', 2017, without restarts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cell = Literal["LSTM", "GRU"]
Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class GatedSettings:
    """Settings of a network and its training.

    Attributes
    ----------
    cell : {"LSTM", "GRU"}
    head : {"direct", "rollout"}
    hidden : int
        Number of hidden units of the one layer.
    dropout : float
        Share of hidden units that are dropped before the output layer, in training.
    rate : float
        Learning rate of Adam.
    batch : int
        Number of windows of a step.
    epochs : int
        Largest number of epochs, or the number itself if there are no validation windows.
    patience : int
        Number of epochs without a smaller validation error after which training stops.
    schedule : {"constant", "cosine"}
        Learning rate during training. It falls from ``rate`` to 0 with "cosine", which is for
        training without validation windows.
    """

    cell: Cell
    head: Literal["direct", "rollout"] = "direct"
    hidden: int = 64
    dropout: float = 0.0
    rate: float = 1e-3
    batch: int = 64
    epochs: int = 100
    patience: int = 6
    schedule: Schedule = "constant"


@dataclass(frozen=True)
class Windows:
    """Windows of a series and their targets, float32.

    Attributes
    ----------
    inputs : ndarray, shape (rows, steps, inputs)
    targets : ndarray, shape (rows, leads, outputs)
        With a rollout, the states at all steps after the window.
    later : ndarray, shape (rows, leads, inputs - outputs)
        Inputs at these steps that are known in advance, such as the season; used in rollouts.
    """

    inputs: Array
    targets: Array
    later: Array

    def tensors(self) -> list[Any]:
        """Return the arrays as tensors."""
        import torch

        arrays = (self.inputs, self.targets, self.later)
        return [torch.from_numpy(np.ascontiguousarray(one, np.float32)) for one in arrays]


def build(settings: GatedSettings, inputs: int, leads: int, outputs: int) -> Any:
    """Return an untrained network of PyTorch that maps windows and later inputs to forecasts."""
    from torch import Tensor, cat, nn, stack

    class GatedNetwork(nn.Module):
        """Recurrent layer, dropout, output layer, and a linear layer beside them."""

        def __init__(self) -> None:
            super().__init__()
            layer = {"LSTM": nn.LSTM, "GRU": nn.GRU}[settings.cell]
            self.recurrent = layer(inputs, settings.hidden, batch_first=True)
            self.dropout = nn.Dropout(settings.dropout)
            size = outputs * (leads if settings.head == "direct" else 1)
            self.output = nn.Linear(settings.hidden, size)
            self.beside = nn.Linear(inputs, size, bias=False)

        def forward(self, window: Tensor, later: Tensor) -> Tensor:
            hidden, state = self.recurrent(window)
            found = self.output(self.dropout(hidden[:, -1])) + self.beside(window[:, -1])
            if settings.head == "direct":
                return found.reshape(len(window), leads, outputs)
            steps = [found]
            for step in range(1, leads):
                given = cat([steps[-1], later[:, step - 1]], dim=1)
                hidden, state = self.recurrent(given[:, None], state)
                steps.append(self.output(self.dropout(hidden[:, -1])) + self.beside(given))
            return stack(steps, dim=1)

    return GatedNetwork()


def train(
    settings: GatedSettings, windows: Windows, seed: int, validation: Windows | None = None
) -> tuple[Any, int, float]:
    """Train a network on windows.

    Parameters
    ----------
    settings : GatedSettings
    windows : Windows
    seed : int
    validation : Windows, optional
        If given, training stops early, and the network of the best epoch is returned.

    Returns
    -------
    network : torch.nn.Module
    epochs : int
        Number of epochs of the network.
    error : float
        Its mean squared error on the validation windows; NaN if there are none.
    """
    import torch

    torch.manual_seed(seed)
    shape = windows.targets.shape
    network = build(settings, windows.inputs.shape[2], shape[1], shape[2])
    adam = torch.optim.Adam(network.parameters(), lr=settings.rate)
    inputs, targets, later = windows.tensors()
    falling = None
    if settings.schedule == "cosine":
        steps = settings.epochs * -(-len(inputs) // settings.batch)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    best: tuple[float, int, dict[str, Any] | None] = (float("nan"), settings.epochs, None)
    for epoch in range(1, settings.epochs + 1):
        network.train()
        for rows in torch.randperm(len(inputs)).split(settings.batch):
            adam.zero_grad()
            loss = torch.square(network(inputs[rows], later[rows]) - targets[rows]).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adam.step()
            if falling is not None:
                falling.step()
        if validation is not None:
            error = float(np.square(predict(network, validation) - validation.targets).mean())
            if not best[0] <= error:
                best = (error, epoch, {k: v.clone() for k, v in network.state_dict().items()})
            elif epoch - best[1] >= settings.patience:
                break
    if best[2] is not None:
        network.load_state_dict(best[2])
    return network, best[1], best[0]


def predict(network: Any, windows: Windows, batch: int = 1024) -> Array:
    """Return the forecasts of all windows, shape (rows, leads, outputs)."""
    import torch

    network.eval()
    inputs, _, later = windows.tensors()
    with torch.no_grad():
        parts = zip(inputs.split(batch), later.split(batch), strict=True)
        return np.concatenate([network(*part).numpy() for part in parts])
