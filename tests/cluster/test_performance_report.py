"""Test Dask's performance report of a computation."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from gfrnn.cluster import performance_report as performance
from gfrnn.cluster.performance_report import write_performance_report


@pytest.fixture
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def tasks_in(page: Path) -> int:
    found = re.search(r"number of tasks: (\d+)", page.read_text(encoding="utf-8"))
    assert found
    return int(found[1])


def compute(client: Client, count: int, then: BaseException | None = None) -> None:
    client.gather(client.map(abs, range(count), pure=False))
    if then:
        raise then


def test_the_report_counts_the_tasks_of_the_block_alone(client, tmp_path):
    compute(client, 3)
    with write_performance_report(client, tmp_path / "performance.html", pytest.fail):
        compute(client, 5)
    assert tasks_in(tmp_path / "performance.html") == 5


def test_the_report_needs_no_network(client, tmp_path):
    page = tmp_path / "performance.html"
    with write_performance_report(client, page, pytest.fail):
        compute(client, 1)
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r'<script[^>]*src=|<link[^>]*rel="stylesheet"', text)
    assert "Bokeh" in text


def test_the_report_is_written_if_the_block_fails(client, tmp_path):
    page = tmp_path / "performance.html"
    with pytest.raises(KeyboardInterrupt), write_performance_report(client, page, pytest.fail):
        compute(client, 2, then=KeyboardInterrupt())
    assert tasks_in(page) == 2


def test_a_block_that_computes_nothing_keeps_the_earlier_report(client, tmp_path):
    page = tmp_path / "performance.html"
    page.write_text("earlier")
    with write_performance_report(client, page, pytest.fail):
        pass
    assert page.read_text() == "earlier"


def test_a_missing_folder_is_not_created(client, tmp_path):
    with write_performance_report(client, tmp_path / "run" / "performance.html", pytest.fail):
        compute(client, 1)
    assert list(tmp_path.iterdir()) == []


def test_the_report_draws_the_latest_tasks(client, tmp_path, monkeypatch):
    monkeypatch.setattr(performance, "_TASKS", 20)
    with write_performance_report(client, tmp_path / "performance.html", pytest.fail):
        compute(client, 50)
    assert tasks_in(tmp_path / "performance.html") == 20


def test_a_failed_report_is_a_warning_and_hides_no_error(client, tmp_path, monkeypatch):
    warnings: list[str] = []
    printed: list[logging.LogRecord] = []
    monkeypatch.setattr(logging.getLogger("distributed.core"), "handle", printed.append)

    async def refuse(**_: Any) -> None:
        raise ImportError("no bokeh")

    client.cluster.scheduler.handlers["performance_report"] = refuse
    page = tmp_path / "performance.html"
    with (
        pytest.raises(ValueError, match="mine"),
        write_performance_report(client, page, warnings.append),
    ):
        compute(client, 1, then=ValueError("mine"))
    assert "no bokeh" in warnings[0]
    assert not page.exists()
    assert not printed, "the scheduler has logged a traceback"
