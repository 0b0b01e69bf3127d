"""Test the dashboard page of a run: its texts and figures, and when it opens and closes."""

from __future__ import annotations

import asyncio
import logging
import math
import re
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
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from gfrnn.cluster.dashboard import (
    Metric,
    ResultTable,
    RunSnapshot,
    StageSnapshot,
    open_page,
    publisher,
)
from gfrnn.cluster.dashboard.page_html import head, memory, stages, table, tiles
from gfrnn.cluster.dashboard.page_state import PageState
from gfrnn.cluster.dashboard.snapshot import WorkerMemory
from gfrnn_testing.waiting import eventually

GIB = 2**30

SNAPSHOT = RunSnapshot(
    title="europe <1>",
    place="/runs/europe",
    stages=(
        StageSnapshot("eofs", 8, 8, 12.0, 0.0),
        StageSnapshot("rows", 3, 12, 60.0, 180.0),
        StageSnapshot("solve", 0, 2),
    ),
    metrics=(Metric("rows a second", 12345.0), Metric("left", 180.0, "s", ticks=-1)),
    lines=(Metric("rows a second", 12345.0), Metric("of the rate", 30e9, "%", of_thread=20e9)),
    needed=GIB,
)


class Clock:
    """A clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (12345.6, "", "12\N{THIN SPACE}346"),
        (0, "", "0"),
        (7.25, "%", "7.2 %"),
        (0.034, "", "0.034"),
        (100.4, "%", "100 %"),
        (50.4, "s", "50 s"),
        (90.4, "s", "1m 30s"),
        (2028, "s", "33m 48s"),
        (None, "%", "\N{EN DASH}"),
    ],
)
def test_numbers_have_few_digits(value, unit, text):
    snapshot = RunSnapshot("run", "folder", metrics=(Metric("metric", value, unit),))
    assert f"<b>{text}</b>" in tiles(PageState(snapshot, 1))


# --- state of the page ---------------------------------------------------------------------------


def test_a_snapshot_survives_the_conversion_to_plain_values():
    snapshot = replace(
        SNAPSHOT, table=ResultTable("RMSE", ("system", "+1d"), (("msl, Pa",), ("linear", "1.5")))
    )
    assert RunSnapshot.from_dict(snapshot.to_dict()) == snapshot
    assert RunSnapshot.from_dict(SNAPSHOT.to_dict()) == SNAPSHOT


def test_ages_grow_and_remaining_times_shrink_between_snapshots():
    clock = Clock()
    state = PageState(SNAPSHOT, 2, clock=clock)
    clock.now += 30
    assert state.current(Metric("age", 10.0, "s", ticks=1)) == 40
    assert state.current(Metric("left", 50.0, "s", ticks=-1)) == 20
    assert state.current(Metric("left", 10.0, "s", ticks=-1)) == 0
    assert state.current(Metric("rows", 7.0)) == 7
    state.end = "finished"
    assert state.current(Metric("age", 10.0, "s", ticks=1)) == 10


def test_a_share_counts_the_threads_of_all_workers():
    state = PageState(SNAPSHOT, 2)
    assert state.current(SNAPSHOT.lines[1]) == 75
    state.update(SNAPSHOT, 3)
    assert state.current(SNAPSHOT.lines[1]) == 50
    assert state.current(replace(SNAPSHOT.lines[1], of_thread=None, value=None)) is None
    state.update(SNAPSHOT, 0)
    assert math.isnan(state.lines[1][-1])
    assert state.lines[1][:2] == [75, 50]


@given(st.integers(1, 5000))
def test_the_points_of_a_long_run_are_thinned_out_but_span_all_of_it(count):
    wall = iter(range(count))
    state = PageState(SNAPSHOT, 1, wall=lambda: float(next(wall)))
    for _ in range(count - 1):
        state.update(SNAPSHOT, 1)
    assert state.times[0] == 0
    assert state.times[-1] == count - 1
    assert state.times == sorted(set(state.times))
    assert min(count, 500) <= len(state.times) <= 1000
    assert {len(line) for line in state.lines} == {len(state.times)}


# --- the text of the page ------------------------------------------------------------------------


def test_the_head_names_the_run_its_folder_its_workers_and_its_end():
    state = PageState(SNAPSHOT, 4)
    text = head(state, 2, {"client-2": "other"})
    for words in ("europe &lt;1&gt;", "/runs/europe", "2 workers, 4 threads", "running"):
        assert words in text
    assert '<a href="?run=client-2">other</a>' in text
    state.end = "gone"
    assert "gone" in head(state, 2, {})
    assert "running" not in head(state, 2, {})


def test_the_bar_of_a_stage_has_the_length_of_its_done_part():
    done, going, coming = stages(SNAPSHOT.stages, age=20.0).split("<tr ")[1:]
    assert 'class="done"' in done
    assert "width:100.0%" in done
    assert "12 s" in done
    assert 'class="going"' in going
    assert "width:25.0%" in going
    assert "3 / 12" in going
    assert ">1m 20s<" in going  # 60 s and the age of the snapshot
    assert ">2m 40s<" in going  # 180 s less the age
    assert 'class="coming"' in coming
    assert "width:0.0%" in coming
    assert "0 / 2" in coming
    assert " s<" not in coming


def test_metrics_are_displayed_with_their_labels():
    text = tiles(PageState(SNAPSHOT, 1))
    assert "<b>12\N{THIN SPACE}345</b><span>rows a second</span>" in text
    assert "<b>3m 0s</b><span>left</span>" in text


def test_memory_is_displayed_with_limit_and_plan():
    calm = WorkerMemory("a", 1, GIB, 4 * GIB)
    full = WorkerMemory("b", 2, 3 * GIB, 4 * GIB)
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
    text = memory([WorkerMemory("a", 1, GIB, 0), WorkerMemory("b", 1, 2 * GIB, 0)], 0)
    assert "width:50.0%" in text
    assert "width:100.0%" in text
    assert " of " not in text.split("<tr>")[1]


def test_of_many_workers_the_fullest_are_displayed():
    workers = [WorkerMemory(f"w{number:03d}", 1, number * GIB, 200 * GIB) for number in range(100)]
    text = memory(workers, 0)
    assert "the 12 fullest of 100" in text
    assert text.count("<tr>") == 12
    assert "w099" in text
    assert "w087" not in text


def test_results_are_a_table_with_subheadings():
    found = table(ResultTable("RMSE", ("system", "+1d"), (("msl, Pa",), ("<linear>", "1.5"))))
    assert '<tr class="subject"><th>msl, Pa</th></tr>' in found
    assert "<tr><th>&lt;linear&gt;</th><td>1.5</td></tr>" in found
    assert table(None) == ""


# --- on a scheduler ------------------------------------------------------------------------------


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
        with urllib.request.urlopen(address, timeout=180) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def menu(client: Client) -> str:
    with urllib.request.urlopen(client.dashboard_link, timeout=180) as response:
        return str(response.read().decode())


def opened(
    client: Client, snapshot: Callable[[], RunSnapshot] = lambda: SNAPSHOT, warn: Any = pytest.fail
):
    return open_page(client, client.dashboard_link, snapshot, warn)


def runs(client: Client) -> dict[str, PageState]:
    found: dict[str, PageState] = client.cluster.scheduler.plugins["gfrnn-page"].runs
    return found


def test_the_page_is_served_while_a_run_lasts(client):
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


def test_many_changes_are_published_in_few_messages(client):
    calls = iter(range(10**6))
    now = [0]

    def snapshot() -> RunSnapshot:
        next(calls)
        return replace(SNAPSHOT, stages=(StageSnapshot("rows", now[0], 9999),))

    with opened(client, snapshot) as page:
        assert page is not None
        (state,) = runs(client).values()
        for now[0] in range(1, 5001):
            page.request_update()
        assert eventually(lambda: state.snapshot.stages[0].done == 5000)
        messages = next(calls)
        assert messages < 6  # for thousands of changes at once
        time.sleep(1.2)
        assert next(calls) == messages + 1  # none without a change
    assert state.end == "finished"


def test_a_closed_browser_does_not_affect_the_others(client):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    with opened(client):
        (state,) = runs(client).values()
        plugin = client.cluster.scheduler.plugins["gfrnn-page"]
        assert answer(address) == 200
        assert answer(address) == 200
        gone, stays = plugin.page.application.get_sessions("/gfrnn")

        async def leave() -> None:
            gone.destroy()

        client.sync(leave)
    assert state.end == "finished"
    assert answer(address) == 404
    assert plugin.page is None
    head = stays.document.roots[0].children[0]
    assert eventually(lambda: "finished" in head.text)


@pytest.fixture
def complaints() -> Iterator[list[logging.LogRecord]]:
    """Messages that the web server logs as errors."""
    found: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = found.append  # type: ignore[method-assign]
    logger = logging.getLogger("tornado.application")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


async def connect(address: str, token: str, query: str = "") -> WebSocketClientConnection:
    origin = {"Origin": address.rpartition("/")[0]}
    request = HTTPRequest(f"{address.replace('http', 'ws')}/ws{query}", headers=origin)
    return await websocket_connect(request, subprotocols=["bokeh", token])


def token_of(address: str) -> str:
    with urllib.request.urlopen(address, timeout=180) as response:
        found = re.search(r'"token":"([^"]+)"', response.read().decode())
    assert found is not None
    return found[1]


@pytest.mark.parametrize("query", ["", "?run=Client-abc"])  # a page hands its own query on
@pytest.mark.parametrize("cause", ["no session", "old page"])
def test_a_closed_or_outdated_page_is_not_logged(cause, query, client, complaints, monkeypatch):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    with opened(client):
        application = client.cluster.scheduler.plugins["gfrnn-page"].page.application
        token = token_of(address)
        if cause == "old page":
            from bokeh.server.views import ws

            payload = ws.get_token_payload
            monkeypatch.setattr(
                ws, "get_token_payload", lambda text: {**payload(text), "session_expiry": 0}
            )

        async def visit() -> None:
            connection = await connect(address, token, query)
            assert await connection.read_message() is not None or cause == "old page"
            if cause == "no session":
                application.get_sessions("/gfrnn")[0].destroy()
            connection.close()
            await asyncio.sleep(0.5)

        client.sync(visit)
    assert complaints == []


def test_other_errors_of_websockets_are_logged(client, complaints, monkeypatch):
    from bokeh.server.views import ws

    def fail(*_: Any) -> None:
        raise AttributeError("no such method")

    monkeypatch.setattr(ws, "get_token_payload", fail)
    address = client.dashboard_link.replace("/status", "/gfrnn")
    with opened(client):
        token = token_of(address)

        async def visit() -> None:
            connection = await connect(address, token)
            assert await connection.read_message() is None  # the server has closed it
            connection.close()

        client.sync(visit)
    (record,) = complaints
    assert record.getMessage().startswith("Uncaught exception GET /gfrnn/ws (127.0.0.1)")


def test_the_box_of_a_lost_connection_does_not_cover_the_head(client):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    with opened(client):
        assert answer(address) == 200
        plugin = client.cluster.scheduler.plugins["gfrnn-page"]
        (session,) = plugin.page.application.get_sessions("/gfrnn")
        assert not session.document.config.notify_connection_status


def test_two_runs_share_the_page(cluster, client):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    with opened(client), Client(cluster, set_as_default=False) as second:
        with opened(second, lambda: replace(SNAPSHOT, title="second")):
            assert [state.snapshot.title for state in runs(client).values()] == [
                "europe <1>",
                "second",
            ]
        assert answer(address) == 200
    assert answer(address) == 404


def test_the_page_of_a_run_that_fails_ends_early(client):
    seen: list[PageState] = []

    def fail() -> None:
        seen.extend(runs(client).values())
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), opened(client):
        fail()
    assert [state.end for state in seen] == [publisher.EARLY]


_DRIVER = """
import sys
from distributed import Client
from gfrnn.cluster.dashboard import RunSnapshot, open_page
client = Client(sys.argv[1])
with open_page(client, client.dashboard_link, lambda: RunSnapshot("doomed", "/runs"), print):
    print("there", flush=True)
    sys.stdin.read()
"""


def test_the_page_of_a_killed_driver_is_closed(cluster, client):
    address = client.dashboard_link.replace("/status", "/gfrnn")
    command = [sys.executable, "-c", _DRIVER, cluster.scheduler_address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"there\n"
        (state,) = runs(client).values()
        assert answer(address) == 200
        driver.kill()
    assert eventually(lambda: state.end is not None)
    assert "gone" in str(state.end)
    assert eventually(lambda: answer(address) == 404)


def test_a_snapshot_of_a_client_that_has_left_is_ignored(client):
    plugin_of = client.cluster.scheduler.plugins
    with opened(client):
        pass
    plugin_of["gfrnn-page"].update("client-gone", SNAPSHOT.to_dict())
    assert runs(client) == {}


def test_a_scheduler_without_the_package_gives_a_warning_and_no_page(client, monkeypatch):
    async def refuse(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'cluster'")

    monkeypatch.setattr(client.cluster.scheduler, "register_scheduler_plugin", refuse)
    client.cluster.scheduler.handlers["register_scheduler_plugin"] = refuse
    warnings: list[str] = []
    with opened(client, warn=warnings.append) as page:
        assert page is None
    (line,) = warnings
    assert "no page" in line
    assert "No module named 'cluster'" in line


def test_a_scheduler_that_does_not_answer_does_not_block_the_run(client, monkeypatch):
    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(publisher, "_CLOSE_TIMEOUT", 0.1)
    with opened(client) as page:
        assert page is not None
        client.cluster.scheduler.handlers |= {"gfrnn_update_page": never, "gfrnn_end_page": never}
        page.request_update()
    assert client.submit(abs, -1).result() == 1


# --- bokeh models --------------------------------------------------------------------------------


def test_the_models_follow_the_snapshots():
    bokeh_page = pytest.importorskip("gfrnn.cluster.dashboard.bokeh_page")
    wall = iter([0.0, 10.0, 3600.0])
    state = PageState(SNAPSHOT, 2, wall=lambda: next(wall))
    workers = [WorkerMemory("a", 1, GIB, 4 * GIB)]
    picture = bokeh_page.BokehPage(state, lambda: workers, {})
    picture.update()
    times = picture.points.data["time"]
    assert picture.points.data["0"] == [12345.0]
    assert picture.points.data["1"] == [75.0]
    assert picture.lines[1].y_range.end == pytest.approx(82.5)
    assert picture.times.end - picture.times.start == 10_000  # the shortest range
    state.update(
        replace(SNAPSHOT, lines=(replace(SNAPSHOT.lines[0], value=20_000.0), SNAPSHOT.lines[1])), 4
    )
    workers[0] = replace(workers[0], used=3 * GIB)
    picture.update()
    assert picture.points.data["0"] == [12345.0, 20_000.0]
    assert picture.points.data["1"] == [75.0, 37.5]
    assert picture.points.data["time"][1] - times[0] == 10_000
    assert picture.lines[0].y_range.end == pytest.approx(22_000)
    assert "3.00 GiB of 4.00 GiB" in picture.memory.text
    state.update(SNAPSHOT, 4)
    picture.update()
    assert picture.times.end - picture.times.start == 3_600_000


def test_only_changed_models_are_sent():
    bokeh_page = pytest.importorskip("gfrnn.cluster.dashboard.bokeh_page")
    document_of = pytest.importorskip("bokeh.document").Document
    clock = Clock()
    picture = bokeh_page.BokehPage(PageState(SNAPSHOT, 2, clock=clock), list, {})
    document = document_of()
    document.add_root(picture.root)
    picture.update()
    sent: list[Any] = []
    document.on_change(sent.append)
    picture.update()
    assert sent == []
    clock.now += 5
    picture.update()
    assert {event.model for event in sent} == {picture.stages, picture.tiles}  # those with times
