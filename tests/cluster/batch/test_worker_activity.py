"""Count of finished tasks, and of those that the end of a worker interrupts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gfrnn.cluster.batch.worker_activity import WorkerActivity

LONG = 100.0


class FakeScheduler:
    """A scheduler that only has tasks, workers and a clock that is set by hand."""

    def __init__(self):
        self.now, self.workers, self.tasks = 0.0, {}, {}
        self.activity = WorkerActivity(self, long_task=LONG, clock=lambda: self.now)

    def come(self, name, address=None):
        address = address or name
        self.workers[address] = SimpleNamespace(name=name, address=address)
        self.activity.add_worker(self, address)

    def begin(self, key, address, finished_before=True):
        self.tasks[key] = SimpleNamespace(
            processing_on=self.workers[address],
            prefix=SimpleNamespace(duration_average=1.0 if finished_before else -1),
        )
        self.activity.transition(key, "waiting", "processing", stimulus_id="s")

    def end(self, key, finish="memory"):
        self.activity.transition(key, "processing", finish, stimulus_id="s", worker="w")

    def leave(self, address):
        worker = self.workers.pop(address)
        for key, task in self.tasks.items():
            if task.processing_on is worker:
                self.activity.transition(key, "processing", "released", stimulus_id="s")
        self.activity.remove_worker(self, address, stimulus_id="s")


@pytest.fixture
def scheduler():
    return FakeScheduler()


def test_workers_are_known_by_address_and_name(scheduler):
    scheduler.come("worker-0-1", "tls://a")
    assert scheduler.activity.present == {"tls://a": "worker-0-1"}
    scheduler.leave("tls://a")
    assert scheduler.activity.present == {}


def test_starts_count_until_something_is_finished(scheduler):
    for address in "abc":
        scheduler.come("worker-0", address)
        scheduler.leave(address)
    assert scheduler.activity.starts == {"worker-0": 3}
    scheduler.come("worker-0", "d")
    scheduler.begin("x", "d")
    scheduler.end("x")
    assert scheduler.activity.starts == {}
    assert scheduler.activity.finished == {"worker-0": 1}


@pytest.mark.parametrize("finished_before", [True, False])
def test_a_worker_that_leaves_in_the_middle_of_a_long_task_has_lost_it(scheduler, finished_before):
    scheduler.come("w")
    scheduler.begin("x", "w", finished_before)
    scheduler.now = LONG
    scheduler.leave("w")
    assert scheduler.activity.interrupted == {"x": 1}
    assert scheduler.activity.never_finished == (set() if finished_before else {"x"})


def test_a_task_interrupted_early_is_not_counted(scheduler):
    scheduler.come("w")
    scheduler.begin("x", "w")
    scheduler.now = LONG - 1
    scheduler.leave("w")
    assert not scheduler.activity.interrupted


def test_a_task_that_waited_for_others_on_its_worker_is_no_loss(scheduler):
    scheduler.come("w")
    scheduler.begin("x", "w")
    scheduler.begin("y", "w")
    scheduler.now = LONG
    scheduler.end("x")
    scheduler.now = 1.5 * LONG
    scheduler.leave("w")
    assert not scheduler.activity.interrupted


def test_a_task_that_is_finished_later_is_not_counted_as_lost(scheduler):
    for name in "ab":
        scheduler.come(name)
        scheduler.begin("x", name)
        scheduler.now += LONG
        scheduler.leave(name)
    assert scheduler.activity.interrupted == {"x": 2}
    scheduler.come("c")
    scheduler.begin("x", "c")
    scheduler.end("x")
    assert not scheduler.activity.interrupted


def test_a_task_that_is_released_while_its_worker_stays_is_no_loss(scheduler):
    scheduler.come("w")
    scheduler.begin("x", "w")
    scheduler.now = LONG
    scheduler.end("x", "released")
    assert not scheduler.activity.interrupted
    assert not scheduler.activity.finished


def test_an_error_counts_as_finished(scheduler):
    scheduler.come("w")
    scheduler.begin("x", "w")
    scheduler.end("x", "erred")
    assert scheduler.activity.finished == {"w": 1}


def test_a_task_that_never_started_on_the_worker_is_not_counted(scheduler):
    scheduler.end("x")
    assert not scheduler.activity.finished
