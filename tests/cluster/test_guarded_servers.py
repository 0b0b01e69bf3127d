"""Test that the web pages of a scheduler need its token, and that workers have none."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator, Mapping
from contextlib import closing
from urllib.parse import urlsplit

import psutil
import pytest

from gfrnn.cluster import Cluster, ClusterConfig, open_cluster
from gfrnn.cluster.guarded_servers import GuardedScheduler
from gfrnn.cluster.host_address import LOOPBACK, dashboard_options

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_cluster(ClusterConfig(workers=1, memory="300MiB", dashboard=":0")) as cluster:
        yield cluster


@pytest.fixture
def page(cluster) -> str:
    assert cluster.dashboard is not None
    return cluster.dashboard


def ask(
    page: str, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> http.client.HTTPResponse:
    """Request a path of the server of a page, without following where it leads."""
    place = urlsplit(page)
    assert place.hostname
    with closing(http.client.HTTPConnection(place.hostname, place.port, timeout=180)) as connection:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        answer.read()
    return answer


def entry(page: str) -> str:
    """Return the path of a page with the token."""
    place = urlsplit(page)
    return f"{place.path}?{place.query}"


def cookie_of(page: str) -> str:
    return str(ask(page, entry(page)).headers["Set-Cookie"]).partition(";")[0]


PATHS = [
    "/",
    "/status",
    "/status?token=",
    "/status?token=wrong",
    "/status/ws",
    "/gfrnn",
    "/info/main/workers.html",
    "/json/counts.json",
    "/sitemap.json",
    "/metrics",
    "/health",
    "/statics/css/base.css",
    "/api/v1/get_workers",
    "/nowhere",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_no_path_is_served_without_the_token(page, path, method):
    assert ask(page, path, method=method).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "gfrnn=wrong"},
        {"Cookie": ';=;=="; x'},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer \xe9"},
    ],
)
def test_other_headers_are_no_token(page, headers):
    assert ask(page, "/status", headers).status == 403


def test_the_address_with_the_token_sets_a_cookie_that_opens_all_pages(page):
    first = ask(page, entry(page) + "&theme=dark")
    assert first.status == 302
    assert first.headers["Location"] == "/status?theme=dark"
    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert "SameSite=Lax" in first.headers["Set-Cookie"]
    for path in ("/status", "/info/main/workers.html", "/json/counts.json", "/metrics"):
        assert ask(page, path, {"Cookie": cookie_of(page)}).status == 200


def test_the_token_leads_to_no_other_host(page):
    answer = ask(page, f"//example.org/status?{urlsplit(page).query}")
    assert answer.headers["Location"] == "/example.org/status"


def test_programs_send_the_token_as_a_header(page):
    token = urlsplit(page).query.removeprefix("token=")
    assert ask(page, "/metrics", {"Authorization": f"Bearer {token}"}).status == 200


def test_the_token_of_another_cluster_opens_nothing(page):
    with open_cluster(ClusterConfig(workers=1, memory="300MiB", dashboard=":0")) as other:
        assert other.dashboard is not None
        assert ask(page, f"/status?{urlsplit(other.dashboard).query}").status == 403
        assert ask(page, "/status", {"Cookie": cookie_of(other.dashboard)}).status == 403


@pytest.mark.parametrize(("known", "status"), [(False, 403), (True, 101)])
def test_websockets_need_the_token(page, known, status):
    pytest.importorskip("bokeh")
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }
    if known:
        headers["Cookie"] = cookie_of(page)
    # Bokeh closes what has no session, but after it has accepted the connection.
    assert ask(page, "/status/ws", headers).status == status


def test_requests_of_others_print_nothing(page, capfd):
    ask(page, "/status")
    ask(page, "/status", method="POST")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("dashboard", "host"),
    [("0.0.0.0:0", "127.0.0.1"), ("127.0.0.2:0", "127.0.0.2")],
)
def test_the_printed_address_is_one_that_can_be_opened(dashboard, host):
    async def printed() -> str | None:
        options = dashboard_options(dashboard)
        async with GuardedScheduler(host=LOOPBACK, protocol="tcp", port=0, **options) as scheduler:
            return scheduler.page

    page = asyncio.run(printed())
    assert page is not None
    assert urlsplit(page).hostname == host


def test_without_a_dashboard_no_port_serves_pages():
    own = psutil.Process()

    def ports() -> set[int]:
        pids = {each.pid for each in (own, *own.children(recursive=True))}
        found = psutil.net_connections("tcp")
        return {each.laddr.port for each in found if each.pid in pids and each.status == "LISTEN"}

    before = ports()
    with open_cluster(ClusterConfig(workers=1, memory="300MiB", dashboard=False)) as cluster:
        assert cluster.dashboard is None
        assert cluster.client.submit(pow, 2, 10).result() == 1024
        opened = ports() - before
    assert len(opened) == 3  # scheduler, nanny, worker
