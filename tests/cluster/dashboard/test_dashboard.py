"""The page of a run: what it says, and that it comes and goes with the run."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.cluster.dashboard import Reading, Shown, Stage, Table, open_page
from gfrnn.cluster.dashboard import publisher as telling
from gfrnn.cluster.dashboard.html import head, memory, stages, table, tiles
from gfrnn.cluster.dashboard.messages import Worker
from gfrnn.cluster.dashboard.number_format import amount, duration, gibibytes
from gfrnn.cluster.dashboard.page_state import PageState
from gfrnn_testing.waiting import eventually

GIB = 2**30

SHOWN = Shown(
    title="europe <1>",
    place="/runs/europe",
    stages=(
        Stage("eofs", 8, 8, 12.0, 0.0),
        Stage("rows", 3, 12, 60.0, 180.0),
        Stage("solve", 0, 2),
    ),
    readings=(Reading("rows a second", 12345.0), Reading("left", 180.0, "s", ticks=-1)),
    lines=(Reading("rows a second", 12345.0), Reading("of the rate", 30e9, "%", of_thread=20e9)),
    needed=GIB,
)


class Clock:
    """Shows what it is set to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (86400 + 4 * 3600, "1 d 04 h"),
    ],
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (12345.6, "", "12\N{THIN SPACE}346"),
        (0, "", "0"),
        (7.25, "%", "7.2 %"),
        (100.4, "%", "100 %"),
        (90, "s", "1 min 30 s"),
        (None, "%", "\N{EN DASH}"),
    ],
)
def test_numbers_have_few_digits(value, unit, text):
    assert amount(value, unit) == text


def test_memory_has_binary_units():
    assert gibibytes(1.5 * GIB) == "1.50 GiB"
    assert gibibytes(GIB / 2) == "512 MiB"


# --- the story ----------------------------------------------------------------------------------


def test_what_is_told_is_what_was_meant():
    shown = replace(
        SHOWN, table=Table("RMSE", ("system", "+1d"), (("msl, Pa",), ("linear", "1.5")))
    )
    assert Shown.of(shown.plain()) == shown
    assert Shown.of(SHOWN.plain()) == SHOWN


def test_ages_grow_and_what_is_left_shrinks_while_nothing_is_told():
    clock = Clock()
    story = PageState(SHOWN, 2, clock=clock)
    clock.now += 30
    assert story.now(Reading("age", 10.0, "s", ticks=1)) == 40
    assert story.now(Reading("left", 50.0, "s", ticks=-1)) == 20
    assert story.now(Reading("left", 10.0, "s", ticks=-1)) == 0
    assert story.now(Reading("rows", 7.0)) == 7
    story.end = "finished"
    assert story.now(Reading("age", 10.0, "s", ticks=1)) == 10


def test_a_share_is_of_all_threads_that_are_there():
    story = PageState(SHOWN, 2)
    assert story.now(SHOWN.lines[1]) == 75
    story.tell(SHOWN, 3)
    assert story.now(SHOWN.lines[1]) == 50
    assert story.now(replace(SHOWN.lines[1], of_thread=None, value=None)) is None
    story.tell(SHOWN, 0)
    assert math.isnan(story.lines[1][-1])
    assert story.lines[1][:2] == [75, 50]


@given(st.integers(1, 5000))
def test_a_long_run_keeps_few_points_from_its_begin_to_its_end(count):
    wall = iter(range(count))
    story = PageState(SHOWN, 1, wall=lambda: float(next(wall)))
    for _ in range(count - 1):
        story.tell(SHOWN, 1)
    assert story.times[0] == 0
    assert story.times[-1] == count - 1
    assert story.times == sorted(set(story.times))
    assert min(count, 500) <= len(story.times) <= 1000
    assert {len(line) for line in story.lines} == {len(story.times)}


# --- the text of the page -----------------------------------------------------------------------


def test_the_head_says_what_runs_where_and_how_it_ended():
    story = PageState(SHOWN, 4)
    text = head(story, 2, {"client-2": "other"})
    for words in ("europe &lt;1&gt;", "/runs/europe", "2 workers, 4 threads", "running"):
        assert words in text
    assert '<a href="?run=client-2">other</a>' in text
    story.end = "gone"
    assert "gone" in head(story, 2, {})
    assert "running" not in head(story, 2, {})


def test_a_stage_is_as_long_as_it_is_done():
    done, going, coming = stages(SHOWN.stages, silence=20.0).split("<tr ")[1:]
    assert 'class="done"' in done
    assert "width:100.0%" in done
    assert "12 s" in done
    assert 'class="going"' in going
    assert "width:25.0%" in going
    assert "3 / 12" in going
    assert "1 min 20 s" in going  # 60 s and the silence
    assert "2 min 40 s" in going  # 180 s without it
    assert 'class="coming"' in coming
    assert "width:0.0%" in coming
    assert "0 / 2" in coming
    assert " s<" not in coming


def test_numbers_stand_over_their_labels():
    text = tiles(PageState(SHOWN, 1))
    assert "<b>12\N{THIN SPACE}345</b><span>rows a second</span>" in text
    assert "<b>3 min 00 s</b><span>left</span>" in text


def test_memory_is_shown_against_limit_and_plan():
    calm = Worker("a", 1, GIB, 4 * GIB)
    full = Worker("b", 2, 3 * GIB, 4 * GIB)
    text = memory([full, calm], GIB)
    first, second = text.split("<tr>")[1:]
    assert "<td>a</td>" in first
    assert '"fill" style="width:25.0%"' in first
    assert '"plan" style="left:25.0%"' in first  # one thread
    assert "1.00 GiB of 4.00 GiB" in first
    assert '"fill full" style="width:75.0%"' in second
    assert '"plan" style="left:50.0%"' in second  # two threads
    assert "plan" not in memory([calm], 0)


def test_workers_without_a_limit_are_compared_with_each_other():
    text = memory([Worker("a", 1, GIB, 0), Worker("b", 1, 2 * GIB, 0)], 0)
    assert "width:50.0%" in text
    assert "width:100.0%" in text
    assert " of " not in text.split("<tr>")[1]


def test_of_many_workers_the_fullest_are_shown():
    workers = [Worker(f"w{number:03d}", 1, number * GIB, 200 * GIB) for number in range(100)]
    text = memory(workers, 0)
    assert "the 12 fullest of 100" in text
    assert text.count("<tr>") == 12
    assert "w099" in text
    assert "w087" not in text


def test_results_are_a_table_with_headings_between():
    found = table(Table("RMSE", ("system", "+1d"), (("msl, Pa",), ("<linear>", "1.5"))))
    assert '<tr class="subject"><th>msl, Pa</th></tr>' in found
    assert "<tr><th>&lt;linear&gt;</th><td>1.5</td></tr>" in found
    assert table(None) == ""


# --- on a scheduler -----------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


def answer(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def menu(client: Client) -> str:
    with urllib.request.urlopen(client.dashboard_link, timeout=10) as response:
        return str(response.read().decode())


def opened(client: Client, shown: Callable[[], Shown] = lambda: SHOWN, warn: Any = pytest.fail):
    return open_page(client, client.dashboard_link, shown, warn)


def runs(client: Client) -> dict[str, PageState]:
    found: dict[str, PageState] = client.cluster.scheduler.plugins["gfrnn-page"].runs
    return found


def test_the_page_comes_with_a_run_and_goes_with_it(client):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    assert answer(address) == 404
    for _ in range(2):  # the second run on the same scheduler
        with opened(client) as page:
            assert page is not None
            assert page.address == address
            assert answer(address) == 200
            assert 'href="gfrnn"' in menu(client)
        assert answer(address) == 404
        assert 'href="gfrnn"' not in menu(client)
    assert answer(client.dashboard_link) == 200


def test_the_last_that_happened_is_told_soon(client):
    said = iter(range(10**6))
    now = [0]

    def shown() -> Shown:
        next(said)
        return replace(SHOWN, stages=(Stage("rows", now[0], 9999),))

    with opened(client, shown) as page:
        assert page is not None
        (story,) = runs(client).values()
        for now[0] in range(1, 5001):
            page.changed()
        assert eventually(lambda: story.shown.stages[0].done == 5000, 10)
        messages = next(said)
        assert messages < 6  # thousands of changes at once, and few messages
        time.sleep(1.2)
        assert next(said) == messages + 1  # nothing happens, nothing is said
    assert story.end == "finished"


def test_a_viewer_who_has_left_does_no_harm(client):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    with opened(client):
        (story,) = runs(client).values()
        plugin = client.cluster.scheduler.plugins["gfrnn-page"]
        assert answer(address) == 200
        assert answer(address) == 200
        gone, stays = plugin.page.application.get_sessions("/gfrnn")

        async def leave() -> None:
            gone.destroy()

        client.sync(leave)
    assert story.end == "finished"
    assert answer(address) == 404
    assert plugin.page is None
    head = stays.document.roots[0].children[0]
    assert eventually(lambda: "finished" in head.text, 10)


def test_two_runs_share_the_page(cluster, client):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    with opened(client), Client(cluster, set_as_default=False) as second:
        with opened(second, lambda: replace(SHOWN, title="second")):
            assert [story.shown.title for story in runs(client).values()] == [
                "europe <1>",
                "second",
            ]
        assert answer(address) == 200
    assert answer(address) == 404


def test_a_run_that_fails_is_said_to_have_ended_early(client):
    seen: list[PageState] = []

    def fail() -> None:
        seen.extend(runs(client).values())
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), opened(client):
        fail()
    assert [story.end for story in seen] == [telling.EARLY]


_DRIVER = """
import sys
from distributed import Client
from gfrnn.cluster.dashboard import Shown, open_page
client = Client(sys.argv[1])
with open_page(client, client.dashboard_link, lambda: Shown("doomed", "/runs"), print):
    print("there", flush=True)
    sys.stdin.read()
"""


def test_a_killed_driver_takes_its_page_with_it(cluster, client):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    command = [sys.executable, "-c", _DRIVER, cluster.scheduler_address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"there\n"
        (story,) = runs(client).values()
        assert answer(address) == 200
        driver.kill()
    assert eventually(lambda: story.end is not None, 10)
    assert "gone" in str(story.end)
    assert eventually(lambda: answer(address) == 404, 10)


def test_who_is_gone_says_nothing_any_more(client):
    plugin_of = client.cluster.scheduler.plugins
    with opened(client):
        pass
    plugin_of["gfrnn-page"].show("client-gone", SHOWN.plain())
    assert runs(client) == {}


def test_a_scheduler_without_the_package_gets_no_page_but_a_word(client, monkeypatch):
    async def refuse(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'cluster'")

    monkeypatch.setattr(client.cluster.scheduler, "register_scheduler_plugin", refuse)
    client.cluster.scheduler.handlers["register_scheduler_plugin"] = refuse
    said: list[str] = []
    with opened(client, warn=said.append) as page:
        assert page is None
    (line,) = said
    assert "no page" in line
    assert "No module named 'cluster'" in line


def test_a_scheduler_that_answers_no_more_does_not_hold_up_the_run(client, monkeypatch):
    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(telling, "_GOODBYE", 0.1)
    with opened(client) as page:
        assert page is not None
        client.cluster.scheduler.handlers |= {"gfrnn_show": never, "gfrnn_end": never}
        page.changed()
    assert client.submit(abs, -1).result() == 1


# --- bokeh's side -------------------------------------------------------------------------------


def test_the_drawing_follows_the_story():
    drawing = pytest.importorskip("gfrnn.cluster.dashboard.bokeh_page")
    wall = iter([0.0, 10.0, 3600.0])
    story = PageState(SHOWN, 2, wall=lambda: next(wall))
    workers = [Worker("a", 1, GIB, 4 * GIB)]
    picture = drawing.Drawing(story, lambda: workers, {})
    picture.update()
    times = picture.points.data["time"]
    assert picture.points.data["0"] == [12345.0]
    assert picture.points.data["1"] == [75.0]
    assert picture.lines[1].y_range.end == pytest.approx(82.5)
    assert picture.times.end - picture.times.start == 10_000  # at least some seconds
    story.tell(replace(SHOWN, lines=(replace(SHOWN.lines[0], value=20_000.0), SHOWN.lines[1])), 4)
    workers[0] = replace(workers[0], used=3 * GIB)
    picture.update()
    assert picture.points.data["0"] == [12345.0, 20_000.0]
    assert picture.points.data["1"] == [75.0, 37.5]
    assert picture.points.data["time"][1] - times[0] == 10_000
    assert picture.lines[0].y_range.end == pytest.approx(22_000)
    assert "3.00 GiB of 4.00 GiB" in picture.memory.text
    story.tell(SHOWN, 4)
    picture.update()
    assert picture.times.end - picture.times.start == 3_600_000


def test_what_has_not_changed_is_not_sent():
    drawing = pytest.importorskip("gfrnn.cluster.dashboard.bokeh_page")
    document_of = pytest.importorskip("bokeh.document").Document
    clock = Clock()
    picture = drawing.Drawing(PageState(SHOWN, 2, clock=clock), list, {})
    document = document_of()
    document.add_root(picture.root)
    picture.update()
    sent: list[Any] = []
    document.on_change(sent.append)
    picture.update()
    assert sent == []
    clock.now += 5
    picture.update()
    assert {event.model for event in sent} == {picture.stages, picture.tiles}  # what ticks
