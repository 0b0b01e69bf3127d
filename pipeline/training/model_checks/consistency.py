"""Check that the parts of a stored model fit each other, before it is used.

A model may be anybody's, and its checksums are made by whoever writes it. What passes here can be
rolled out; forecasts that leave the range are counted, whatever the weights are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.states.harmonics import term_count
from gfrnn.pipeline.states.layouts import Layout
from gfrnn.pipeline.states.zonal_states import ZonalLayout
from gfrnn.pipeline.storage import array_in
from gfrnn.pipeline.training.ensembles.error_archive import SYSTEMS, ErrorArchive
from gfrnn_core import SampledRNN, UnstableRollout
from gfrnn_core.zonal import ZonalNetwork

if TYPE_CHECKING:
    from gfrnn.pipeline.training.model import ForecastModel

Array = NDArray[Any]

_LARGEST = 1e30
"""Largest magnitude of stored numbers: below the range of float32, which fields have, and such that
products of several are finite."""

# Bytes of a history that a model of any size may start from.
_PLAIN_BYTES = 2**26

_MOST_STEPS = 10**6  # of a lead and of delays
_TRIAL = np.array(["2001-01-01"], dtype="datetime64[ns]")
_PRECISIONS = ("float64", "float32")


def check_numbers(name: str, values: Array) -> None:
    """Check that a stored array has numbers, which are finite.

    Raises
    ------
    ValueError
    """
    if values.dtype.kind not in "biufc":
        raise ValueError(f"the array {name} has the type {values.dtype}, not numbers")
    # Errors of the search are infinite where a solve failed.
    if name.startswith("selection/") or not values.size:
        return
    largest = np.abs(values).max()
    if not largest < _LARGEST:  # nor is NaN
        raise ValueError(
            f"the array {name} has values that are not finite (NaN or infinity), or beyond "
            f"{_LARGEST:g}"
        )


def check_fields(grid: Grid, climatology: Climatology) -> None:
    """Check channels, coordinates and mask of a model, and its climatology.

    Raises
    ------
    ValueError
        If something is out of its range, or shapes do not fit each other.
    """
    names = [(channel.variable, channel.level) for channel in grid.channels]
    _require(bool(names) and len(set(names)) == len(names), "channels: none, or one twice")
    for variable, level in names:
        known = isinstance(variable, str) and bool(variable)
        leveled = level is None or (isinstance(level, int | float) and 0 < level < np.inf)
        _require(known and leveled, f"channels: {[variable, level]} is no variable at a level")
    for name, values, low, high in (
        ("latitude", grid.latitude, -90, 90),
        ("longitude", grid.longitude, 0, 360),
    ):
        ascending = values.ndim == 1 and values.size > 0 and bool((np.diff(values) > 0).all())
        inside = ascending and low - 1e-3 <= values[0] and values[-1] <= high + 1e-3
        _require(inside, f"{name}: is not ascending within {low} and {high}")
    if grid.mask is not None:
        _require_shape("mask", grid.mask, (grid.size,))
        _require(grid.mask.dtype == bool, f"mask: has the type {grid.mask.dtype}, not bool")
        empty = ~grid.valid.any(axis=(1, 2))
        _require(not empty.any(), "mask: leaves a channel without any cell")
    for key in ("annual", "diurnal"):
        value = getattr(climatology, key)
        month = key == "annual" and value == "month"
        _require(month or _is_count(value, 1000), f"{key}: {value!r} is no number of harmonics")
    terms = term_count(climatology.annual, climatology.diurnal)
    _require_shape("climatology", climatology.coefficients, (terms, grid.size))
    _require_shape("spread", climatology.std, (len(names),))
    _require((climatology.std > 0).all(), "spread: is not positive")


def check_layout(layout: Layout) -> None:
    """Check the sizes of a layout, before anything is computed with them.

    Raises
    ------
    ValueError
        If something is out of its range, or shapes do not fit each other.
    """
    grid = layout.scaling.grid
    if isinstance(layout, EofLayout):
        vectors, values = layout.vectors, layout.singular_values
        _require(vectors.ndim == 2 and len(vectors) > 0, f"eofs: have the shape {vectors.shape}")
        _require_shape("eofs", vectors, (len(vectors), grid.size))
        _require_shape("singular_values", values, (len(vectors),))
        _require(bool(values[0] > 0 and (values >= 0).all()), "singular_values: are not positive")
        _require(_is_count(layout.times) and layout.times > 0, f"times: {layout.times!r}")
        total = layout.total
        _require(isinstance(total, int | float) and 0 < total < np.inf, f"total: {total!r}")
        return
    if isinstance(layout, ZonalLayout):
        numbers, functions = layout.wavenumbers, layout.functions
        fits = _is_count(numbers) and 0 < 2 * numbers - 1 <= len(grid.longitude)
        _require(fits, f"wavenumbers: {numbers!r} are not resolved by the longitudes")
        fits = _is_count(functions) and 0 < functions <= len(grid.latitude)
        _require(fits, f"functions: {functions!r} are not determined by the latitudes")
        _require(layout.geometry in ("sphere", "channel"), f"geometry: {layout.geometry!r}")


def check_model(model: ForecastModel) -> None:
    """Check that the networks of a model can be rolled out, and all that describes them.

    A forecast of one step is computed from the climatology.

    Raises
    ------
    Exception
        Of whatever kind where something does not fit.
    """
    networks = dict(_networks(model))
    leads = list(model.linear.leads)
    _require_shape("mixture", model.mixture, (len(model.networks), len(leads)))
    for name, network in networks.items():
        stated = network.leads
        _require(all(_is_count(lead, _MOST_STEPS) for lead in stated), f"{name}: leads: {stated}")
        _require(
            _is_count(network.delays, _MOST_STEPS) and network.delays > 0,
            f"{name}: delays: {network.delays!r}",
        )
        if isinstance(network, SampledRNN):
            _check_shapes(name, network, model)
    _check_history(model)
    _check_reference(model)
    if model.errors is not None:
        _check_errors(model.errors, model.layout.scaling.grid)
    _check_selection(model)
    _check_notes(model)
    _try(model)


def _networks(model: ForecastModel) -> Iterator[tuple[str, Any]]:
    yield from ((f"networks/{place}", each) for place, each in enumerate(model.networks))
    yield "linear", model.linear
    if model.quadratic is not None:
        yield "quadratic", model.quadratic


def _check_shapes(name: str, network: SampledRNN, model: ForecastModel) -> None:
    """Check the arrays of a network, before arrays of the sizes that it states are made."""
    hidden, size, inputs = network.hidden, model.layout.size, model.forcing.count
    assert hidden is not None  # set by the loader
    assert network.outer is not None
    _require_shape(f"{name}/biases", hidden.biases, (hidden.width,))
    if network.patches is None:
        own = network.state_size
        _require(0 < own <= size, f"{name}: has {own} values, but a state has {size}")
        joined = inputs if network.joint else 0
        _require(
            hidden.inputs == network.delays * own + joined,
            f"{name}: sees {hidden.inputs} values, but {network.delays} states of {own}",
        )
    else:
        own = network.patches.owned
        _require(
            network.patches.cells == size,
            f"{name}: the patches have {network.patches.cells} cells, but a state has {size}",
        )
        groups = network.groups
        if groups is not None:
            _require_shape(f"{name}/groups", groups, (network.patches.places,))
            _require(groups.dtype.kind in "iu", f"{name}/groups: have the type {groups.dtype}")
    sets = () if network.groups is None else (int(network.groups.max()) + 1,)
    columns = network.columns(size if network.patches is not None else own, inputs).features
    _require_shape(f"{name}/outer", network.outer, (*sets, len(network.leads), columns, own))


def _check_history(model: ForecastModel) -> None:
    """Check that the states which a rollout starts from are about as large as the weights."""
    weights = sum(values.nbytes for network in model.networks for values in _weights(network))
    needed = 8 * model.delays * model.layout.size
    _require(needed <= _PLAIN_BYTES + 64 * weights, f"delays: {model.delays} for such weights")


def _weights(network: SampledRNN | ZonalNetwork) -> list[Array]:
    if isinstance(network, ZonalNetwork):
        return [stage.outer for stage in network.stages]
    return [np.asarray(network.outer)]


def _check_errors(archive: ErrorArchive, grid: Grid) -> None:
    """Check the sizes of the errors that members are made of."""
    group = zarr.open_group(archive.path, mode="r", zarr_format=3, use_consolidated=False)
    shape = archive.valid_time.shape
    channels, cells = grid.shape[0], grid.shape[1] * grid.shape[2]
    _require(len(shape) == 2, f"errors/valid_time: has the shape {shape}")
    _require_shape("errors/unit", archive.unit, (channels,))
    check_numbers("errors/unit", archive.unit)
    _require((archive.unit > 0).all(), "errors/unit: is not positive")
    _require_shape("errors/usable", np.asarray(array_in(group, "usable")[...]), shape[:1])
    _require(len(archive.usable) > 0, "errors/usable: has no forecast")
    terms = 3 if group.attrs["annual"] else 1
    for system in SYSTEMS:
        stored = array_in(group, system).shape
        wanted = (*shape, channels, cells)
        _require(stored == wanted, f"errors/{system}: has the shape {stored}, not {wanted}")
        scale = np.asarray(array_in(group, f"{system}_scale")[...])
        check_numbers(f"errors/{system}_scale", scale)
        _require_shape(f"errors/{system}_scale", scale, (shape[1], terms, channels))
        bias = archive.bias(system)
        check_numbers(f"errors/{system}_bias", bias)
        _require_shape(f"errors/{system}_bias", bias, (shape[1], channels))


def _check_reference(model: ForecastModel) -> None:
    """Check what references and the calibration need."""
    channels, latitudes, _ = model.layout.scaling.grid.shape
    one: tuple[int, ...] = (channels,)
    if isinstance(model.layout, EofLayout):
        one = (model.layout.size,) * 2
    elif isinstance(model.layout, ZonalLayout):
        one = (channels, latitudes)
    _require(len(model.lagged) > 1, "lagged: has fewer than two lags")
    _require_shape("lagged", model.lagged, (len(model.lagged), *one))
    groups = int(model.layout.regression_groups.max()) + 1
    for name in ("calibration", "linear_calibration", "quadratic_calibration"):
        factors = getattr(model, name)
        if factors is not None:
            _require_shape(name, factors, (max(1, len(factors)), groups))


def _check_selection(model: ForecastModel) -> None:
    """Check the results of the search that figures show."""
    found = model.selection
    ridges, leads = found.get("ridges"), len(model.linear.leads)
    for name in ("ridges", "widths", "ridge", "spectrum", "eof_variance"):
        if name in found:
            _require(found[name].ndim == 1 and found[name].size > 0, f"selection/{name}")
    if ridges is not None and "widths" in found:
        size = found["linear_errors"].size
        _require(size > 0 and size % (len(ridges) * leads) == 0, "selection/linear_errors")
    waves = found.get("wavenumber_changes")
    if waves is not None:
        _require_shape(
            "selection/linear_wavenumber_errors", found["linear_wavenumber_errors"], waves.shape
        )
        errors = found["wavenumber_errors"]
        _require_shape("selection/wavenumber_errors", errors, (len(errors), *waves.shape))


def _check_notes(model: ForecastModel) -> None:
    """Check numbers of the notes that other parts rely on."""
    notes, leads = model.notes, len(model.linear.leads)
    if notes.solves:
        _require(
            len(notes.solves) == len(model.networks) and notes.linear_solve is not None,
            f"notes: {len(notes.solves)} solves of {len(model.networks)} networks",
        )
    for own in (notes.sums or {}).values():
        for text in own:
            Duration.parse(text)
    for each in (*notes.solves, notes.linear_solve, notes.quadratic_solve):
        if each is None:
            continue
        _require(
            len(each.ridge) == len(each.balance) == leads,
            f"notes: a solve has {len(each.ridge)} ridges and {len(each.balance)} balances of "
            f"{leads} leads",
        )
        _require(each.candidate >= 0 and each.width >= 0, "notes: a solve has a negative number")
    for one in notes.candidates:
        _require(len(one.shares) == leads, f"notes: {len(one.shares)} shares of {leads} leads")
    precision = notes.precision
    if precision:
        _require(precision.get("chosen") in _PRECISIONS, "notes: precision")
        if "rows" in precision:
            for name in _PRECISIONS:
                numbers = [precision[name][key] for key in ("error", "seconds")]
                _require(all(float(number) > 0 for number in numbers), f"notes: precision: {name}")


def _try(model: ForecastModel) -> None:
    """Compute a forecast of one step with each network, and the other references."""
    history = np.zeros((1, model.delays, model.layout.size))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", UnstableRollout)
        walks = [model.walk(history, _TRIAL, 1), model.linear_walk(history, _TRIAL, 1)]
        if model.quadratic is not None:
            walks.append(model.quadratic_walk(history, _TRIAL, 1))
        for walk in walks:
            ((state, _),) = walk
            _require_shape("the forecast of a step", state, (1, model.layout.size))
        model.layout.decode(state, _TRIAL)
        model.layout.autocorrelation(model.lagged, 1)
    _ = model.leads  # of leads that are too long for a time


def _is_count(value: Any, most: int = 10**9) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _require(true: Any, otherwise: str) -> None:
    if not true:
        raise ValueError(otherwise)


def _require_shape(name: str, values: Array, shape: tuple[int, ...]) -> None:
    _require(values.shape == shape, f"{name}: has the shape {values.shape}, not {shape}")
