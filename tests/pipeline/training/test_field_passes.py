"""Test that the keys of checkpoints hold all that decides their contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.training.field_passes import FieldPasses
from gfrnn_testing.weather import experiment, make_weather

SHORT = {"train": ["2001-01-01", "2001-07-31"], "validation": ["2002-03-01", "2002-04-30"]}


def passes(store: Path, **sections: Any) -> FieldPasses:
    chosen = experiment(store, climatology={"annual": None}, **sections)
    return FieldPasses(chosen, Fields(open_source(chosen.data)), Checkpoints(store))


def keys(found: FieldPasses) -> list[str]:
    return [
        found.climatology_key,
        found.climatology_pass().key(),
        found.rows_key(found.experiment),
    ]


def test_the_order_of_variables_is_a_part_of_all_keys(tmp_path: Path) -> None:
    """A climatology in another order would be that of other variables."""
    store = make_weather(tmp_path / "a.zarr", times=600).path
    names = "geopotential", "temperature", "mean_sea_level_pressure"
    levels: dict[str, Any] = {name: [850] for name in names[:2]} | {names[2]: None}
    parts: dict[str, Any] = {"periods": SHORT | {"test": ["2002-05-01", "2002-06-30"]}}
    one, same, other = (
        passes(store, data={"variables": {name: levels[name] for name in order}}, **parts)
        for order in (names, names, names[::-1])
    )
    assert [channel.name for channel in one.fields.grid.channels] == [
        channel.name for channel in other.fields.grid.channels
    ][::-1]
    assert keys(one) == keys(same)
    assert not set(keys(one)) & set(keys(other))


def test_rows_depend_on_the_number_of_terms_of_the_climatology(tmp_path: Path) -> None:
    """A test period in other seasons can leave fewer of them."""
    store = make_weather(tmp_path / "a.zarr", times=730).path
    spring, winter = (
        passes(store, periods=SHORT | {"test": test})
        for test in (["2002-05-02", "2002-05-31"], ["2002-11-01", "2002-12-30"])
    )
    assert spring.terms != winter.terms
    assert spring.rows_key(spring.experiment) != winter.rows_key(winter.experiment)
