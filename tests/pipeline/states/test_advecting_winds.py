"""Winds that advect each channel."""

from __future__ import annotations

import pytest

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.states.advecting_winds import advection_terms

U, V = "u_component_of_wind", "v_component_of_wind"


def channels(*names):
    return tuple(Channel(*name) if isinstance(name, tuple) else Channel(name) for name in names)


def test_two_layers_have_the_five_jacobians_of_quasi_geostrophy():
    jacobians, winds = advection_terms(
        channels(("geopotential", 250.0), ("geopotential", 750.0)), None
    )
    assert {tuple(each) for each in jacobians.tolist()} == {
        (1, 0, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1),
    }  # fmt: skip
    assert winds.shape == (0, 4)


def test_a_channel_is_advected_by_the_winds_next_to_its_level():
    found = channels(
        ("geopotential", 200.0), ("geopotential", 500.0), ("geopotential", 850.0),
        ("geopotential", 1000.0), ("temperature", 850.0), "mean_sea_level_pressure",
    )  # fmt: skip
    jacobians, _ = advection_terms(found, None)
    streams = {advected: set() for advected in range(6)}
    for stream, advected, laplacian in jacobians.tolist():
        if laplacian:
            streams[advected].add(stream)
    assert streams[0] == {0, 1}
    assert streams[1] == {0, 1, 2}
    assert streams[4] == {1, 2, 3}
    assert streams[5] == {3}  # the lowest level


def test_no_jacobian_is_there_twice_or_zero():
    found = channels(*[("geopotential", level) for level in (100.0, 300.0, 500.0, 850.0)])
    jacobians, _ = advection_terms(found, "geostrophic")
    plain = [tuple(sorted((a, b))) for a, b, laplacian in jacobians.tolist() if not laplacian]
    assert len(plain) == len(set(plain)) == 3
    assert all(a != b for a, b in plain)


def test_components_are_taken_where_the_data_have_them():
    found = channels((U, 500.0), (V, 500.0), ("geopotential", 500.0), "2m_temperature")
    jacobians, winds = advection_terms(found, None)
    assert jacobians.shape == (0, 3)
    assert winds.tolist() == [[0, 1, a, laplacian] for a in range(4) for laplacian in (0, 1)]
    jacobians, winds = advection_terms(found, "geostrophic")
    assert len(jacobians)
    assert not len(winds)


@pytest.mark.parametrize(
    ("found", "wind", "parts"),
    [
        (channels("2m_temperature"), None, ("geostrophic", "geopotential", "2m_temperature")),
        (channels(("geopotential", 500.0)), "components", (U, V, "geopotential_500")),
        (channels((U, 500.0), (V, 850.0)), "components", (U, V)),
    ],
)
def test_a_wind_that_is_not_there_is_named(found, wind, parts):
    with pytest.raises(ConfigError) as caught:
        advection_terms(found, wind)
    for part in ("model.features: advection", "data.variables", *parts):
        assert part in str(caught.value)
