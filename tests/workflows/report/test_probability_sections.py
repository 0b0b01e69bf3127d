"""Test figures and scorecards of ensembles, events and power along longitude."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.workflows.report.labels import heading
from gfrnn.workflows.report.page import write_report
from gfrnn.workflows.report.run_contents import RunContents
from gfrnn.workflows.report.score_figures.ensemble_figures import (
    ensemble_pictures,
    ensemble_systems,
    rank_bars,
)
from gfrnn.workflows.report.score_figures.event_figures import event_label, event_pictures
from gfrnn.workflows.report.score_figures.power_figures import power_pictures, scale_bands
from gfrnn.workflows.report.score_figures.probability_sections import (
    ensemble_section,
    ensemble_sentence,
    event_section,
    power_section,
)
from gfrnn_testing.weather import experiment, finish, make_weather

CHANNEL = Channel("temperature", 850.0)
LEADS = np.arange(1, 5) * np.timedelta64(1, "D").astype("timedelta64[ns]")
MEMBERS = 10


OWN = ("channel", "prediction_timedelta")


def plain(text: str) -> str:
    """Return a text with plain signs and spaces."""
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")


def ensemble_scores() -> xr.Dataset:
    """Return scores of ensembles whose CRPS is half of that of the linear ensemble."""
    field = ("system", *OWN)
    own = OWN
    shape = 4, 1, 4
    crps = np.full(shape, 2.0)
    crps[0] = 1.0
    mae = np.full(shape, 2.5)
    mae[3] = 2.0  # persistence is a single forecast
    ends = np.full((2, *shape), np.nan)
    ends[:, 1:3] = np.array([-0.55, -0.45])[:, None, None, None]
    ratio = np.array([[1.0, 0.9, 0.8, 0.5]])
    ranks = np.full((MEMBERS + 1, 1, 4), 1 / (MEMBERS + 1))
    return xr.Dataset(
        {
            "rmse": (field, np.full(shape, 3.0)),
            "mae": (field, mae),
            "fair_crps": (field, crps),
            "crps_change_low": (field, ends[0]),
            "crps_change_high": (field, ends[1]),
            "spread": (own, 3.0 * ratio),
            "spread_skill_ratio": (own, ratio),
            "spread_skill_ratio_low": (own, ratio - 0.1),
            "spread_skill_ratio_high": (own, ratio + 0.1),
            "rank_histogram": (("rank", *own), ranks),
            "rank_histogram_low": (("rank", *own), 0.8 * ranks),
            "rank_histogram_high": (("rank", *own), 1.3 * ranks),
        },
        {
            "system": ["forecast", "linear", "climatology", "persistence"],
            "channel": [CHANNEL.name],
            "units": ("channel", ["K"]),
            "prediction_timedelta": LEADS,
        },
    )


def test_references_that_are_single_forecasts_are_no_ensembles() -> None:
    scores = ensemble_scores()
    assert ensemble_systems(scores) == ["forecast", "linear", "climatology"]
    scores["fair_crps"][:] = scores["mae"].values  # as with one member
    assert ensemble_systems(scores) == ["forecast"]


def test_pictures_of_an_ensemble_give_its_scores() -> None:
    texts = [plain(each.alt) for each in ensemble_pictures(ensemble_scores(), CHANNEL, [0, 2, 3])]
    assert len(texts) == 7
    assert "Fair CRPS (K) of temperature 850 hPa against lead. Forecast: 1 at +1 d" in texts[0]
    assert "-50.0 % at +1 d (95 % interval -55.0 to -45.0 %)" in texts[1]
    assert texts[2].endswith("Forecast: 3 at +1 d, 3 at +4 d; spread: 3 and 1.5.")
    assert "1 at +1 d, 0.5 at +4 d; 95 % interval of the first: 0.9 to 1.1." in texts[3]
    for text, lead in zip(texts[4:], ("+1 d", "+3 d", "+4 d"), strict=True):
        assert (
            f"hPa, {lead}: lowest bin 1.00 (0.80 to 1.30), highest bin 1.00 (0.80 to 1.30)." in text
        )


def test_scores_of_earlier_versions_have_no_interval() -> None:
    scores = ("spread_skill_ratio", "rank_histogram")
    ends = [f"{score}_{end}" for score in scores for end in ("low", "high")]
    pictures = ensemble_pictures(ensemble_scores().drop_vars(ends), CHANNEL, [0])
    assert len(pictures) == 5
    assert "interval" not in pictures[3].alt
    assert pictures[4].alt.endswith("lowest bin 1.00, highest bin 1.00.")


@pytest.mark.parametrize("members", [10, 50])
def test_bars_of_a_single_rank_have_intervals(
    members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(
        Axes, "vlines", lambda self, x, low, high, **_: drawn.extend((x, low, high))
    )
    scores = ensemble_scores().drop_dims("rank")
    flat = xr.DataArray(np.full((members + 1, 1, 4), 1 / (members + 1)), dims=("rank", *OWN))
    for name, factor in (("", 1.0), ("_low", 0.8), ("_high", 1.3)):
        scores[f"rank_histogram{name}"] = factor * flat
    ensemble_pictures(scores, CHANNEL, [0])
    heights, edges = rank_bars(flat.values[:, 0, 0])
    single = np.diff(edges) < 1.5 / (members + 1)
    assert 2 <= single.sum() < len(heights) or members == 10
    x, low, high = drawn
    np.testing.assert_allclose(x, (0.5 * (edges[1:] + edges[:-1]))[single])
    np.testing.assert_allclose(low, 0.8)
    np.testing.assert_allclose(high, 1.3)


def test_without_another_ensemble_there_is_nothing_to_compare_with() -> None:
    scores = ensemble_scores().isel(system=[0, 3])
    assert len(ensemble_pictures(scores, CHANNEL, [0])) == 4
    section = ensemble_section(scores, [CHANNEL], [0], [0])
    assert section is not None
    assert section.cards == []
    assert ensemble_sentence(scores, CHANNEL, 1) == plain(
        "Temperature 850 hPa at +2\N{NO-BREAK SPACE}d: the ratio of spread to error is 0.90."
    ).replace("+2 d", "+2\N{NO-BREAK SPACE}d")


def test_forecasts_without_finite_values_are_drawn() -> None:
    scores = ensemble_scores()
    for name in scores.data_vars:
        scores[name][:] = np.nan
    assert len(ensemble_pictures(scores, CHANNEL, [0, 3])) == 5
    assert ensemble_sentence(scores, CHANNEL, 0) == ""


def test_the_scorecard_is_that_of_the_crps() -> None:
    section = ensemble_section(ensemble_scores(), [CHANNEL], [0], [0, 3])
    assert section is not None
    assert section.members == MEMBERS
    assert [card.title for card in section.cards] == [
        "Against the linear model with its own errors",
        "Against climatology with its own errors",
    ]
    assert {card.score for card in section.cards} == {"Fair CRPS"}
    (_, cells), *_ = section.cards[0].rows
    assert [(plain(cell.text), cell.kind) for cell in cells] == [("-50*", "better s4 sure")] * 2
    assert "Fair CRPS 1.00 K against 2.00 K" in cells[0].title
    names = [line["name"] for line in section.legend]
    assert names == ["forecast", "linear", "climatology", "spread"]
    styles = {(line["color"], line["dashes"]) for line in section.legend}
    assert len(styles) == len(names)


@pytest.mark.parametrize("members", [1, 2, 20, 21, 50, 1000])
def test_a_flat_rank_histogram_has_bars_of_height_one(members: int) -> None:
    heights, edges = rank_bars(np.full(members + 1, 1 / (members + 1)))
    np.testing.assert_allclose(heights, 1.0)
    assert (edges[0], edges[-1]) == (0, 1)
    assert len(heights) <= 21
    assert (np.diff(edges) > 0).all()


def test_ranks_beyond_all_members_keep_bars_of_their_own() -> None:
    frequencies = np.zeros(51)
    frequencies[[0, 10, 50]] = 0.5, 0.2, 0.3
    heights, edges = rank_bars(frequencies)
    assert heights[[0, -1]] == pytest.approx([51 * 0.5, 51 * 0.3])
    np.testing.assert_allclose(edges[[1, -2]], [1 / 51, 50 / 51])
    assert heights @ np.diff(edges) == pytest.approx(1.0)


def event_scores(table: np.ndarray, area: float) -> xr.Dataset:
    """Return scores of an event whose table, (observed, members with the event), is the same."""
    rate = table[1].sum()
    shares = np.linspace(0, 1, table.shape[-1])
    brier = table[0] @ shares**2 + table[1] @ (1 - shares) ** 2
    skill = 1 - brier / (rate * (1 - rate)) if 0 < rate < 1 else np.nan
    lead = "prediction_timedelta"
    return xr.Dataset(
        {
            "event_table": (
                ("event", lead, "observed", "members_with_event"),
                np.broadcast_to(table, (1, 4, *table.shape)).copy(),
            ),
            "roc_area": (("event", lead), np.full((1, 4), area)),
            "brier_skill_score": (("event", lead), np.full((1, 4), skill)),
        },
        {
            "event": ["temperature_850 >= 273.15"],
            "event_channel": ("event", [CHANNEL.name]),
            "threshold": ("event", [273.15]),
            "channel": [CHANNEL.name],
            "units": ("channel", ["K"]),
            lead: LEADS,
        },
    )


@pytest.mark.parametrize("members", [1, 10, 50])
def test_pictures_of_perfect_forecasts_of_an_event(members: int) -> None:
    table = np.zeros((2, members + 1))
    table[0, 0], table[1, -1] = 0.75, 0.25
    scores = event_scores(table, 1.0)
    section = event_section(scores, [CHANNEL], [0, 3])
    assert section is not None
    assert section.members == members
    ((label, pictures),) = section.panels
    assert label == "Temperature 850 hPa of at least 273.15 K"
    reliability, sharpness, roc, skill = (plain(each.alt) for each in pictures)
    assert "at +1 d, +4 d" in reliability
    assert "happens in 25 %, 25 % of the cases" in reliability
    assert "forecast in 100 %, 100 % of the cases" in sharpness
    assert "1.000, 1.000" in roc
    assert "Forecast: 1 at +1 d, 1 at +4 d" in skill


def test_events_of_quantiles_are_named_by_their_level() -> None:
    scores = event_scores(np.full((2, 4), 0.125), 0.5)
    scores = scores.assign_coords(event=["temperature_850 >= q97.5"], threshold=("event", [np.nan]))
    label = event_label(scores.isel(event=0), CHANNEL)
    assert label == "Temperature 850 hPa of at least its 97.5 % quantile"


@pytest.mark.parametrize("happens", [0, 1])
def test_events_that_happen_never_or_always_are_drawn(happens: int) -> None:
    table = np.zeros((2, 4))
    table[happens] = 0.25
    own = event_scores(table, np.nan).isel(event=0)
    assert len(event_pictures(own, event_label(own, CHANNEL), [0])) == 4


def power_scores(power: np.ndarray) -> xr.Dataset:
    """Return spectra of forecasts with half of the power of the truth."""
    dims = ("wavenumber", "channel", "prediction_timedelta")
    own = np.broadcast_to(power[:, None, None], (len(power), 1, 4)).copy()
    return xr.Dataset(
        {
            "truth_power": (dims, own),
            "forecast_power": (dims, own / 2),
            "log_spectral_distance": (dims[1:], np.full((1, 4), 10 * np.log10(2))),
        },
        {"channel": [CHANNEL.name], "units": ("channel", ["K"]), "prediction_timedelta": LEADS},
    )


def test_wavenumbers_that_have_no_power_but_that_of_rounding_are_left_out() -> None:
    scores = power_scores(np.array([8e4, 4.0, 2.0, 1.0, 1e-11, 1e-12]))
    power, ratio, bands, distance = power_pictures(scores, CHANNEL, [0, 3])
    assert "temperature 850 hPa at" in power.alt
    assert "At wavenumber 3: 0.50, 0.50." in ratio.alt
    assert "0.50 and 0.50 at wavenumbers 2; " in bands.alt
    assert "Forecast: 3.01 at" in distance.alt


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (1, [(1, 1)]),
        (2, [(1, 1), (2, 2)]),
        (7, [(1, 1), (2, 3), (4, 7)]),
        (26, [(1, 2), (3, 8), (9, 26)]),
    ],
)
def test_bands_of_wavenumbers_have_equal_ratios(last: int, expected: list[tuple[int, int]]) -> None:
    bands = scale_bands(np.arange(1, last + 1))
    assert [(band[0], band[-1]) for band in bands] == expected
    np.testing.assert_array_equal(np.concatenate(bands), np.arange(1, last + 1))


def test_the_power_of_a_band_is_that_of_the_longest_waves_in_it() -> None:
    """Forecasts lose the short waves with the lead, and keep the long ones."""
    scores = power_scores(np.array([8e4, 4.0, 2.0, 1.0]))
    scores["forecast_power"][:] = scores["truth_power"].values
    scores["forecast_power"][3, 0, -1] = 0.1
    alt = power_pictures(scores, CHANNEL, [0])[2].alt
    assert "1.00 and 1.00 at wavenumbers 1; 1.00 and 1.00 at wavenumbers 2; " in alt
    assert "1.00 and 0.10 at wavenumbers 3." in alt


def test_channels_without_spectrum_have_no_panels() -> None:
    assert power_section(power_scores(np.full(5, np.nan)), [CHANNEL], [0]) == []
    assert power_section(ensemble_scores(), [CHANNEL], [0]) is None
    assert event_section(ensemble_scores(), [CHANNEL], [0]) is None
    assert ensemble_section(power_scores(np.ones(3)), [CHANNEL], [0], [0]) is None


MSL = "mean_sea_level_pressure"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weather")
    path = make_weather(folder / "w.zarr", damping=0.9, noise=0.4, times=700, cycle=True).path
    return Path(path)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param({"members": None}, id="single", marks=pytest.mark.slow),
        pytest.param({"members": 8}, id="ensemble"),
        pytest.param({"members": 8, "store": False}, id="online", marks=pytest.mark.slow),
    ],
)
def run(request, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    keys = experiment(
        source,
        forecast={"horizon": "3d", **request.param},
        verification={"thresholds": {MSL: [101000]}, "spectra": True},
        climatology={"annual": 1},
        state={"modes": 5, "delays": 2},
    )
    return finish(Run(keys, tmp_path_factory.mktemp("probabilities") / "run"))


def test_the_page_of_a_run_has_the_sections_that_it_has_scores_for(run: Run) -> None:
    members = "rank_histogram" in open_scores(run.score_store)
    stored = run.experiment.forecast.store
    places = {"Somewhere": (45.0, 0.0)} if members and stored else {}
    text = write_report(run, places).read_text(encoding="utf-8")
    ids = set(re.findall(r'<section id="(\w+)"', text))
    links = set(re.findall(r'<a href="#(\w+)"', text))
    assert ids == links
    assert {"events", "power"} <= ids
    assert not re.search(r"https?://|url\(|@import|<script", text)
    scores = open_scores(run.score_store)
    if not (members and stored):
        reason = "this run keeps no fields" if members else "these are single forecasts"
        with pytest.raises(ConfigError, match=f"--place: allowed for stored .*{reason}"):
            write_report(run, {"Somewhere": (45.0, 0.0)})
    if not members:
        assert "ensemble" not in ids
        assert "Fair CRPS" not in text
        assert "0 or 1 for single forecasts" in text
        return
    assert "ensemble" in ids
    cards = text[text.index("Against the linear model with its own errors</caption>") :]
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", cards, re.S)
    own = scores["crps_change"].sel(system="linear")
    channels = RunContents.open(run).channels
    labels = {heading(channel): channel.name for channel in channels}
    for label, row in rows[: scores.sizes["channel"]]:
        cells = [plain(html.unescape(cell)) for cell in re.findall(r">([^<>]+)</td>", row)]
        expected = 100 * own.sel(channel=labels[label]).values
        np.testing.assert_allclose(
            [float(cell.rstrip("*")) for cell in cells], expected, atol=0.51, rtol=0
        )
    alts = [plain(html.unescape(each)) for each in re.findall(r'alt="([^"]*)"', text)]
    ratio = scores["spread_skill_ratio"].sel(channel=MSL).values
    said = next(each for each in alts if each.startswith("Spread / error of mean sea level"))
    assert f"Forecast: {ratio[0]:.3g} at" in said
    assert "the fair CRPS of its 8 members is" in plain(html.unescape(text))
    if not stored:
        assert "Probabilities at a place" not in text
        return
    place = text[text.index("<h3>Somewhere, ") :]
    alts = [plain(html.unescape(each)) for each in re.findall(r'alt="([^"]*)"', place)]
    assert alts[0].startswith("Geopotential 500 hPa in dam against lead: median")
    event = next(each for each in alts if each.startswith("Probability of "))
    assert "Mean sea level pressure of at least 1010 hPa: " in event
