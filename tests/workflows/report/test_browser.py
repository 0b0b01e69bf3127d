"""Test the pages of a run in a real browser: numbers change, links work."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gfrnn.pipeline.runs.run import Run as PipelineRun
from gfrnn_testing.paths import ROOT
from gfrnn_testing.waves import make_run
from gfrnn_testing.weather import experiment, finish, make_weather

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")

pytestmark = pytest.mark.cluster

_BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

# Leaves of one time each, so that the passes take seconds rather than moments.
_SLOW = {"data.chunk": 2, "fit.rows": 4}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if _BROWSER is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox: tests may run as root.
        browser = playwright.chromium.launch(executable_path=_BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class Run:
    """The process of ``gfrnn run`` on a small experiment."""

    def __init__(self, folder: Path) -> None:
        prepared = make_run(folder)
        tree = yaml.safe_load((prepared.folder / "experiment.yaml").read_text(encoding="utf-8"))
        for key, value in _SLOW.items():
            section, name = key.split(".")
            tree.setdefault(section, {})[name] = value
        tree["cluster"] = {"workers": 1, "dashboard": "127.0.0.1:0"}
        file = folder / "waves.yaml"
        file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        self.folder = folder / "result"
        command = [
            sys.executable,
            "-u",
            "-c",
            "from gfrnn.workflows.commands.main import main; main()",
        ]
        self.process = subprocess.Popen(
            [*command, "run", str(file), "-o", str(self.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        self.said: list[str] = []
        self.address = self._read_until(r"dashboard: (\S+)")

    def _read_until(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError("".join(self.said))

    def finish(self) -> None:
        assert self.process.stdout is not None
        self.said += self.process.stdout
        assert self.process.wait(60) == 0, "".join(self.said)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("browser"))
    yield run
    with contextlib.suppress(ProcessLookupError):
        run.process.kill()
    run.process.communicate()


class Tab:
    """A page of the browser, and the errors that it logs."""

    def __init__(self, browser: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1366, "height": 768})
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        # Dask's own report has an icon that is on the web.
        if message.type == "error" and "favicon" not in message.location["url"]:
            self.complaints.append(message.text)

    def done(self, stage: str) -> int:
        """Return the number of finished chunks of a stage on the page; 0 if it is not shown."""
        shown = self.page.locator(f'tr[data-stage="{stage}"]')
        return int(shown.get_attribute("data-done")) if shown.count() else 0

    def all_done(self) -> int:
        """Return the number of finished chunks of all stages on the page."""
        count = "rows => rows.reduce((sum, row) => sum + Number(row.dataset.done), 0)"
        return int(self.page.eval_on_selector_all("tr[data-stage]", count))

    def wait(self, true: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, what
            self.page.wait_for_timeout(50)


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    tab = Tab(browser)
    yield tab
    tab.page.close()


@pytest.mark.slow
def test_the_numbers_move_while_a_run_goes_on_and_the_page_ends_with_it(run: Run, tab: Tab) -> None:
    assert urlsplit(run.address).path == "/gfrnn"  # a token follows
    assert tab.page.goto(run.address).status == 200
    tab.wait(lambda: tab.done("climatology") > 0, "the first pass")
    for words in ("waves", str(run.folder), "1 worker, 1 thread", "running", "solve", "forecast"):
        tab.page.get_by_text(words).first.wait_for()
    seen = {tab.all_done()}

    def moved() -> bool:
        seen.add(tab.all_done())
        return len(seen) > 2

    tab.wait(moved, "more of the passes")
    assert tab.page.get_by_text("Gfrnn").get_attribute("href") == "gfrnn"
    tab.wait(lambda: tab.done("rows") > 0, "the training pass")
    tile = tab.page.locator(".tile").filter(has_text="rows a second").locator("b")
    tab.wait(lambda: bool(re.search(r"\d", tile.inner_text())), "a rate")
    assert re.search(r"[\d.]+ [MG]iB of", tab.page.locator(".memory").inner_text())
    canvas = tab.page.locator("canvas").first
    tab.wait(lambda: (canvas.bounding_box() or {"width": 0})["width"] > 400, "a wide figure")
    tab.page.set_viewport_size({"width": 390, "height": 844})
    width = "document.documentElement.scrollWidth"
    tab.wait(lambda: tab.page.evaluate(width) == 390, "a page as narrow as a phone")
    last = tab.page.locator("tr[data-stage]").last

    def below() -> bool:
        # Elements have no place while the page draws them anew.
        drawn, stage = canvas.bounding_box(), last.bounding_box()
        return bool(drawn and stage) and drawn["y"] > stage["y"] + stage["height"]

    tab.wait(below, "the figures below the stages")
    tab.page.set_viewport_size({"width": 1366, "height": 768})
    assert tab.complaints == []
    tab.wait(lambda: tab.page.locator("table.results").count() == 1, "the skill table", 120)
    assert "damped persistence" in tab.page.locator("table.results").inner_text()
    run.finish()
    tab.wait(lambda: tab.page.locator(".state.over").count() == 1, "the end")
    with pytest.raises(sync_api.Error, match="ERR_CONNECTION_REFUSED"):
        tab.page.goto(run.address)


@pytest.mark.slow
def test_the_report_of_the_run_leads_to_the_one_of_dask(run: Run, tab: Tab) -> None:
    run.finish()
    assert tab.page.goto((run.folder / "report.html").as_uri())
    pictures = tab.page.locator("img")
    assert pictures.count() >= 4
    widths = pictures.evaluate_all("all => all.map(each => each.naturalWidth)")
    assert min(widths) > 100
    assert tab.complaints == []
    tab.page.get_by_role("link", name="gfrnn run").click()
    tab.page.wait_for_url("**/performance-run.html")
    tab.page.get_by_text("number of tasks").wait_for()
    tab.page.get_by_text("Task Stream", exact=True).click()
    tab.page.locator("canvas").first.wait_for()
    assert tab.complaints == []


@pytest.fixture(scope="module")
def report(finished: Any) -> str:
    from gfrnn.workflows.report.page import write_report

    return write_report(finished).as_uri()


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a run of ensembles, with events and spectra."""
    folder = tmp_path_factory.mktemp("ensemble")
    source = make_weather(folder / "w.zarr", damping=0.9, noise=0.4, times=700, cycle=True).path
    keys = experiment(
        source,
        forecast={"horizon": "3d", "members": 30},
        verification={"thresholds": {"mean_sea_level_pressure": [101000]}, "spectra": True},
        climatology={"annual": 1},
        state={"modes": 5, "delays": 2},
    )
    return finish(
        PipelineRun(keys, folder / "runs" / "a_run_with_a_name_that_is_rather_long_indeed")
    )


@pytest.fixture(scope="module", params=["single", "ensemble", "index"])
def page_address(request: pytest.FixtureRequest) -> str:
    """Return the address of a report, or of an index of runs."""
    if request.param == "single":
        return str(request.getfixturevalue("report"))
    from gfrnn.workflows.comparison.run_index import write_index
    from gfrnn.workflows.report.page import write_report

    run = request.getfixturevalue("ensemble")
    path = write_report(run, {"Somewhere in the south": (35.0, 10.0)})
    if request.param == "index":
        path, _ = write_index(run.folder.parent)
    return path.as_uri()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_the_width_of_a_phone(browser: Any, page_address: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(page_address)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """width => [...document.querySelectorAll('table')].filter(each =>
           each.getBoundingClientRect().right > width && !each.closest('.scroll')).length"""
    )
    assert outside == 0
    # No text of a cell reaches into the next one.
    wide = (
        "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.innerText)"
    )
    assert page.locator("th, td").evaluate_all(wide) == []
    sizes = page.locator(".panels img").evaluate_all("all => all.map(each => each.clientWidth)")
    assert min(sizes, default=300) > 220
    # Figures of equal sizes stand beside or below each other, and none covers another.
    overlaps = page.evaluate(
        """() => {
          const boxes = [...document.querySelectorAll('main img:not(.window img), main table')]
            .map(each => each.getBoundingClientRect());
          const covers = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 &&
            a.top < b.bottom - 1 && b.top < a.bottom - 1;
          return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => covers(a, b))).length;
        }"""
    )
    assert overlaps == 0
    page.close()


@pytest.mark.slow
def test_the_animation_moves_and_stops_at_a_lead(browser: Any, report: str) -> None:
    page = browser.new_page()
    page.goto(report)
    image = page.locator(".window img")
    top = "each => each.getBoundingClientRect().top"
    frame = page.locator(".window").evaluate("each => each.clientHeight")
    assert image.evaluate("each => getComputedStyle(each).animationName") == "film"
    page.locator("label[for=lead-2]").click()
    assert image.evaluate("each => getComputedStyle(each).animationName") == "none"
    window = page.locator(".window").evaluate(top)
    assert window - image.evaluate(top) == pytest.approx(2 * frame, abs=2)
    page.keyboard.press("ArrowRight")
    assert window - image.evaluate(top) == pytest.approx(3 * frame, abs=2)
    page.close()


@pytest.mark.slow
def test_nothing_moves_for_those_who_want_less_motion(browser: Any, report: str) -> None:
    page = browser.new_page(reduced_motion="reduce")
    page.goto(report)
    image = page.locator(".window img")
    assert image.evaluate("each => getComputedStyle(each).animationName") == "none"
    assert not page.locator("label.play").is_visible()
    page.locator("label[for=lead-1]").click()
    assert image.evaluate("each => getComputedStyle(each).transform") != "none"
    page.close()
