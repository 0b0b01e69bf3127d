"""Test the report page of a tiny run."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.data_config import ClimatologyConfig
from gfrnn.pipeline.data.grid import Channel, contiguous_longitudes
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import CandidateScore
from gfrnn.workflows.report import example_forecast
from gfrnn.workflows.report.display_units import displayed_scores
from gfrnn.workflows.report.facts import precision_line, run_facts
from gfrnn.workflows.report.labels import (
    channel_label,
    lead_label,
    number,
    unit_label,
)
from gfrnn.workflows.report.maps import MapField, map_pictures
from gfrnn.workflows.report.page import write_report
from gfrnn.workflows.report.run_contents import RunContents

SECTIONS = {"scorecard", "setup", "skill", "leads", "ridge", "spectrum", "maps", "record"}


class Page(HTMLParser):
    """Parsed page: ids, images, links, and the cells of tables of each class."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.cells: dict[str, list[str]] = {}
        self.details = 0
        self._open = False
        self._table = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.add(tag)
        self.ids |= {known["id"] or ""} if "id" in known else set()
        self.addresses += [known[key] or "" for key in ("href", "src") if key in known]
        if tag == "img":
            self.images.append(known)
        self.details += tag == "details"
        if tag == "table":
            self._table = known.get("class") or ""
        self._open = tag == "td"
        if self._open:
            self.cells.setdefault(self._table, []).append("")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[self._table][-1] += data.strip()

    def handle_endtag(self, tag: str) -> None:
        self._open = False


@pytest.fixture(scope="module")
def text(finished: Run) -> str:
    return write_report(finished).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_section_is_there_and_every_link_of_the_page_leads_to_one(page: Page) -> None:
    assert page.ids >= SECTIONS
    inner = {address[1:] for address in page.addresses if address.startswith("#")}
    assert inner == SECTIONS


def test_figures_are_in_the_page_and_described(page: Page) -> None:
    kinds = [str(image["src"]).split(",")[0] for image in page.images]
    # Four scores of two fields, the ridge path, the spectrum, the animation and the maps.
    assert kinds == ["data:image/svg+xml;base64"] * 10 + ["data:image/png;base64"] * 2
    for image in page.images:
        assert len(str(image["alt"])) > 40
        content = base64.b64decode(str(image["src"]).split(",")[1])
        assert b"</svg>" in content or content.startswith(b"\x89PNG")


def test_nothing_is_fetched_from_anywhere(text: str, page: Page) -> None:
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"https?://|url\(|@import", text)
    assert not page.tags & {"script", "link", "iframe"}
    assert len(text) < 3e6


def test_text_of_the_user_is_only_text(text: str, finished: Run) -> None:
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;a &amp; b&#39;)" in text


def test_the_table_holds_the_scores(page: Page, finished: Run) -> None:
    scores = displayed_scores(
        xr.open_zarr(finished.score_store, chunks=None, decode_timedelta=True)
    )
    systems = len(scores.system)
    cells = iter(page.cells["skill"])
    for channel in ("2m_temperature", "mean_sea_level_pressure"):  # in the order of forecasters
        for days in (1, 3, 5):
            lead = np.timedelta64(days, "D")
            values = scores.rmse.sel(channel=channel, prediction_timedelta=lead).values
            assert [next(cells) for _ in range(systems)] == [number(value) for value in values]
            change, _, mark = next(cells).partition("\N{NO-BREAK SPACE}%")
            assert float(change.replace("\N{MINUS SIGN}", "-")) == pytest.approx(
                100 * (values[0] / values[1] - 1), abs=0.051
            )
            low, high = (
                float(
                    scores[f"rmse_change_{end}"].sel(
                        channel=channel, prediction_timedelta=lead, system="linear"
                    )
                )
                for end in ("low", "high")
            )
            assert mark == ("*" if low > 0 or high < 0 else "")


def test_the_scorecard_comes_first_and_holds_the_changes(text: str, finished: Run) -> None:
    assert text.index('id="scorecard"') < text.index('id="setup"') < text.index('id="skill"')
    cells = iter(Page(text).cells["card"])
    scores = xr.open_zarr(finished.score_store, chunks=None, decode_timedelta=True)
    for channel in ("2m_temperature", "mean_sea_level_pressure"):
        own = scores.sel(channel=channel, system="linear")
        for lead in range(scores.sizes["prediction_timedelta"]):
            cell = next(cells).replace("\N{MINUS SIGN}", "-")
            at = own.isel(prediction_timedelta=lead)
            change = 100 * float(at.rmse_change)
            digit = 0.1 if abs(change) < 9.95 else 1.0
            assert float(cell.rstrip("*")) == pytest.approx(change, abs=0.51 * digit)
            significant = at.rmse_change_low > 0 or at.rmse_change_high < 0
            assert cell.endswith("*") == bool(significant)
    assert text.index("Against the linear model</caption>") < text.index("Against climatology<")
    folded = text[text.index("<summary>Against persistence") :]
    assert "Against damped persistence</caption>" in folded[: folded.index("</details>")]
    # All forecasts of this run are for one season and one hour of the day.
    assert "By season" not in text
    assert "By hour of the day" not in text


def test_further_fields_are_folded(
    finished: Run, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "more fields" not in text
    monkeypatch.setattr("gfrnn.workflows.report.page._OPEN_CHANNELS", 1)
    page = write_report(finished).read_text(encoding="utf-8")
    assert page.count("<summary>1 more fields</summary>") == 2  # the table and the figures
    assert Page(page).details == Page(text).details + 2
    for part in re.findall(r"<summary>1 more fields.*?</details>", page, re.S):
        assert "Mean sea level pressure" in part
        assert "2m temperature</h3>" not in part


def test_the_chosen_candidate_is_marked(text: str, finished: Run) -> None:
    rows = re.findall(r'<tr class="chosen">(.*?)</tr>', text, re.S)
    assert len(rows) == 1
    candidates = RunContents.open(finished).model.notes.candidates
    assert f"{min(entry.score for entry in candidates):.4f}" in rows[0]


def test_the_first_round_of_a_search_is_shown(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    run = Run.reopen(tmp_path / "run")
    model = ForecastModel.load(run.model)
    values = model.notes.candidates[0].values
    scores = [CandidateScore(values, score, 1.0, []) for score in (0.98765, 0.12345)]
    replace(model, notes=replace(model.notes, first_round=scores)).save(run.model)
    text = write_report(run).read_text(encoding="utf-8")
    assert text.index("0.1235") < text.index("0.9877")
    assert "0.1235" not in write_report(finished).read_text(encoding="utf-8")


def test_the_experiment_and_the_record_are_shown(text: str, finished: Run) -> None:
    assert finished.fingerprint in text
    for words in ("model.scale", "name: waves", "numpy", "2001-12-01 to 2002-01-31"):
        assert words in text


def test_the_description_of_the_cluster_has_units(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    run = Run.reopen(tmp_path / "run")
    with run.changing_record() as record:
        record.cluster = {"kind": "local", "memory_gib": 21.02}
    assert "kind local, memory (GiB) 21.02" in write_report(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("annual", "diurnal", "calendar"),
    [(None, None, True), (0, None, True), (2, 0, True), ("month", 0, True), (0, 0, False)],
)
def test_only_a_climatology_without_cycles_means_data_without_a_calendar(
    annual: int | str | None, diurnal: int | None, calendar: bool
) -> None:
    climatology = ClimatologyConfig(annual=annual, diurnal=diurnal)
    run: Any = SimpleNamespace(experiment=SimpleNamespace(climatology=climatology))
    assert RunContents(run, xr.Dataset()).calendar == calendar


def test_dask_reports_are_linked_where_there_are_some(finished: Run, text: str) -> None:
    assert "performance-" not in text
    beside = [finished.folder / f"performance-{command}.html" for command in ("fit", "run")]
    for path in beside:
        path.write_text("")
    try:
        page = write_report(finished).read_text(encoding="utf-8")
    finally:
        for path in beside:
            path.unlink()
    assert '<a href="performance-fit.html">gfrnn fit</a>, ' in page
    assert '<a href="performance-run.html">gfrnn run</a>.' in page


def test_simulated_data_are_marked(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    origins = [
        {"title": "Nature <run>", "source": "gfrnn_core.systems.QG", "comment": "Dry."},
        {"title": "Reanalysis", "source": "ECMWF"},
    ]
    monkeypatch.setitem(finished.ds.attrs, "origins", origins)
    drawn = []

    def maps(*words, coast: bool):
        drawn.append(coast)
        return map_pictures(*words, coast=coast)

    monkeypatch.setattr(example_forecast, "map_pictures", maps)
    page = write_report(finished).read_text(encoding="utf-8")
    assert page.count('class="notice"') == 1
    assert drawn == [False]
    assert "Nature &lt;run&gt;. Dry." in re.sub(r"\s+", " ", page)
    assert "Reanalysis" not in page


def test_data_that_are_not_used_are_shown(
    finished: Run, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert "Data not used" not in text
    loss = "times: 89 of up to 120 are common to all variables"
    contents = RunContents.open(finished)
    monkeypatch.setitem(contents.run.ds.attrs, "losses", [loss])
    assert ("Data not used", loss) in run_facts(contents)


@pytest.mark.slow
def test_the_page_is_replaced_whole_or_not_at_all(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(finished)
    before = path.read_text(encoding="utf-8")

    def fail(source: Path, target: Path) -> None:
        assert Path(source).name == "report.html.partial"
        assert Path(source).read_text(encoding="utf-8").endswith("</html>")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write_report(finished)
    assert path.read_text(encoding="utf-8") == before
    write_report(finished)
    assert not list(finished.folder.glob("report.html.*"))


def test_without_scores_the_error_names_the_command(untouched: Run) -> None:
    with pytest.raises(RunError, match="run `gfrnn verify` first"):
        write_report(untouched)
    assert not (untouched.folder / "report.html").exists()


def test_labels_read_as_scientists_write() -> None:
    assert channel_label(Channel("geopotential", 500.0)) == "geopotential 500 hPa"
    assert unit_label("m2 s-2") == "m² s⁻²"
    assert unit_label("kg kg-1") == "kg kg⁻¹"
    assert unit_label("1") == "1"
    assert lead_label(np.timedelta64(6, "h")) == "+6\N{NO-BREAK SPACE}h"
    assert lead_label(np.timedelta64(36, "h")) == "+36\N{NO-BREAK SPACE}h"
    assert lead_label(np.timedelta64(72, "h").astype("timedelta64[ns]")) == "+3\N{NO-BREAK SPACE}d"
    for months in (np.int64(3), np.timedelta64(3, "M")):
        assert lead_label(months) == "+3\N{NO-BREAK SPACE}mo"
    assert [number(v) for v in (471.2, 1234.5, 2.3051, 10.0, 0.00123, np.nan)] == [
        "471", "1234", "2.31", "10.0", "0.00123", "\N{EN DASH}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("longitude", "expected"),
    [
        ([0.0, 2, 352, 356], [-8, -4, 0, 2]),
        ([10.0, 12, 14], [10, 12, 14]),
        (np.arange(0, 360, 1.5), np.arange(0, 360, 1.5)),
        ([7.0], [7]),
    ],
)
def test_a_box_across_greenwich_is_drawn_in_one_piece(longitude, expected) -> None:
    order, degrees = contiguous_longitudes(np.asarray(longitude))
    np.testing.assert_allclose(degrees, expected)
    np.testing.assert_allclose(np.asarray(longitude)[order], degrees % 360)


def pixels(picture: str) -> np.ndarray:
    """Return the colours of an embedded PNG: shape (lines, columns, 3)."""
    data = base64.b64decode(picture.removeprefix("data:image/png;base64,"))
    return np.asarray(matplotlib.image.imread(io.BytesIO(data))[..., :3])


def grey(colours: np.ndarray) -> np.ndarray:
    """Return which pixels have the colour of a mask."""
    return np.isclose(colours, 0.82, atol=0.005).all(axis=-1)


@pytest.mark.slow
def test_a_masked_variable_is_drawn_on_grey(masked: Run) -> None:
    """A masked run is reported without warnings, and masked cells are grey."""
    masked.fit(), masked.forecast(), masked.verify()
    text = write_report(masked).read_text(encoding="utf-8")
    assert "17 % of the cells masked" in text
    maps = grey(pixels(str(Page(text).images[-1]["src"])))
    # Temperature comes first; pressure has no mask. Forecast, truth and difference stand abreast.
    temperature, pressure = np.array_split(maps, 2)
    for part in np.array_split(temperature, 3, axis=1):
        assert part.mean() > 0.08
    assert pressure.mean() < 0.001


def test_a_mask_leaves_colours_and_contours_beside_it() -> None:
    """Check with fields of latitude alone that a mask in the east does not change the west."""
    latitude, longitude = np.linspace(40, 50, 11), np.linspace(0, 20, 11)
    wave = 3 * np.sin(latitude)[:, None] * np.ones(11)
    east = np.broadcast_to(longitude > 11, wave.shape)

    def drawn(mask: np.ndarray) -> np.ndarray:
        truth = np.where(mask, np.nan, 285 + wave)
        forecast = np.where(mask, np.nan, 285 - wave)
        field = MapField(
            Channel("2m_temperature"), "K", forecast, truth, np.full(wave.shape, 285.0)
        )
        (picture,) = map_pictures([field], latitude, longitude, np.datetime64("2001-01-01"))
        return pixels(picture.uri)

    whole, half = drawn(np.zeros_like(east)), drawn(east)
    assert whole.shape == half.shape
    assert grey(whole).mean() < 0.001
    assert grey(half).mean() > 0.15
    changed = (np.abs(whole - half) > 0.02).any(axis=-1) & ~grey(half)
    assert changed.mean() < 0.04  # labels of contours move
    dark = (half < 0.25).all(axis=-1)
    assert dark.mean() > 0.4 * (whole < 0.25).all(axis=-1).mean()


def test_a_single_map_of_a_wide_domain_is_not_magnified() -> None:
    """Texts of a figure are as large as those of the page only in a width of its own."""
    latitude, longitude = np.linspace(-20, 20, 5), np.linspace(130, 280, 16)
    field = MapField(Channel("2m_temperature"), "K", *np.random.default_rng(0).random((3, 5, 16)))
    when = np.datetime64("2001-01-01")
    widths = [
        map_pictures([field] * count, latitude, longitude, when)[-1].width for count in (1, 2, 3)
    ]
    assert widths[0] == widths[2] < 600
    assert 900 < widths[1] <= 1026  # as wide as the text of the page


def test_the_cost_of_the_precision_is_described() -> None:
    sample = {
        "chosen": "float64",
        "rows": 4000,
        "float32": {"error": 0.505, "seconds": 1.0},
        "float64": {"error": 0.5, "seconds": 2.0},
    }
    assert precision_line(sample) == (
        "float64; on a sample of 4000 rows float32 takes 0.50 of its time, and the mean squared "
        "error of the model of these rows changes by +1 %"
    )
    assert "float64 takes 2.00 of its time" in precision_line(sample | {"chosen": "float32"})
    few = precision_line({"chosen": "float32"})
    assert few == "float32; not compared, there are too few rows for a sample"


def test_the_page_describes_the_precision(text: str) -> None:
    assert re.search(r"float64; on a sample of \d+ rows float32 takes \d+\.\d\d of its time", text)
