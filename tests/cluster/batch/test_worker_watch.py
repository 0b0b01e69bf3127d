"""What counts as a task that no worker has time for, and what as bad luck."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gfrnn.cluster.batch.worker_watch import WorkerWatch

LONG = 100.0


class Play:
    """A scheduler that only knows who is here, with a clock that is set by hand."""

    def __init__(self):
        self.now, self.workers, self.tasks = 0.0, {}, {}
        self.watch = WorkerWatch(self, long=LONG, clock=lambda: self.now)

    def come(self, name, address=None):
        address = address or name
        self.workers[address] = SimpleNamespace(name=name, address=address)
        self.watch.add_worker(self, address)

    def begin(self, key, address, heard=True):
        self.tasks[key] = SimpleNamespace(
            processing_on=self.workers[address],
            prefix=SimpleNamespace(duration_average=1.0 if heard else -1),
        )
        self.watch.transition(key, "waiting", "processing", stimulus_id="s")

    def end(self, key, finish="memory"):
        self.watch.transition(key, "processing", finish, stimulus_id="s", worker="w")

    def leave(self, address):
        worker = self.workers.pop(address)
        for key, task in self.tasks.items():
            if task.processing_on is worker:
                self.watch.transition(key, "processing", "released", stimulus_id="s")
        self.watch.remove_worker(self, address, stimulus_id="s")


@pytest.fixture
def play():
    return Play()


def test_workers_are_known_by_address_and_name(play):
    play.come("worker-0-1", "tls://a")
    assert play.watch.present == {"tls://a": "worker-0-1"}
    play.leave("tls://a")
    assert play.watch.present == {}


def test_starts_count_until_something_is_finished(play):
    for address in "abc":
        play.come("worker-0", address)
        play.leave(address)
    assert play.watch.starts == {"worker-0": 3}
    play.come("worker-0", "d")
    play.begin("x", "d")
    play.end("x")
    assert play.watch.starts == {}
    assert play.watch.finished == {"worker-0": 1}


@pytest.mark.parametrize("heard", [True, False])
def test_a_worker_that_leaves_in_the_middle_of_a_long_task_has_lost_it(play, heard):
    play.come("w")
    play.begin("x", "w", heard)
    play.now = LONG
    play.leave("w")
    assert play.watch.lost == {"x": 1}
    assert play.watch.unheard == (set() if heard else {"x"})


def test_a_short_time_is_no_loss(play):
    play.come("w")
    play.begin("x", "w")
    play.now = LONG - 1
    play.leave("w")
    assert not play.watch.lost


def test_a_task_that_waited_for_others_on_its_worker_is_no_loss(play):
    play.come("w")
    play.begin("x", "w")
    play.begin("y", "w")
    play.now = LONG
    play.end("x")
    play.now = 1.5 * LONG
    play.leave("w")
    assert not play.watch.lost


def test_a_task_that_is_finished_later_is_lost_no_more(play):
    for name in "ab":
        play.come(name)
        play.begin("x", name)
        play.now += LONG
        play.leave(name)
    assert play.watch.lost == {"x": 2}
    play.come("c")
    play.begin("x", "c")
    play.end("x")
    assert not play.watch.lost


def test_a_task_that_is_released_while_its_worker_stays_is_no_loss(play):
    play.come("w")
    play.begin("x", "w")
    play.now = LONG
    play.end("x", "released")
    assert not play.watch.lost
    assert not play.watch.finished


def test_an_error_counts_as_finished(play):
    play.come("w")
    play.begin("x", "w")
    play.end("x", "erred")
    assert play.watch.finished == {"w": 1}


def test_what_was_never_begun_here_is_nothing(play):
    play.end("x")
    assert not play.watch.finished
