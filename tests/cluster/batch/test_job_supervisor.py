"""Test the supervision of jobs on a fake batch system: failures that are recovered, and errors."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from gfrnn.cluster import ClusterConfig, ClusterError
from gfrnn.cluster.batch import job_supervisor
from gfrnn.cluster.batch.job_supervisor import JobSupervisor
from gfrnn.cluster.batch.systems.base import JobState

RUNNING = JobState("running", "RUNNING")
OVER = JobState("over", "FAILED")
UNKNOWN = JobState("unknown", "not in the queue")
STUCK = JobState("waiting", "PENDING (held)", hopeless=True)


class World:
    """A fake batch system and a scheduler, with the supervisor that connects them."""

    def __init__(self, folder, **keys):
        config = {"kind": "slurm", "workers": 2, "memory": "1GiB", "timeout": 0.6}
        self.config = ClusterConfig(**config | keys)
        self.states: dict[str, JobState] | None = {}
        self.journal: list[str] = []
        self.closed: list[str] = []
        self.said: list[str] = []
        self.trouble: Exception | None = None
        self.submitting = 0.0
        self.supervisor = JobSupervisor(
            self.config,
            make_job=lambda name: Job(self, name),
            scheduler=SimpleNamespace(
                add_plugin=lambda _: None, clients={}, workers={}, address="tls://h:1"
            ),
            journal=SimpleNamespace(
                add=lambda job: self.journal.append(f"+{job}"),
                remove=lambda job: self.journal.append(f"-{job}"),
            ),
            folder=folder,
            report=self.said.append,
        )
        self.activity = self.supervisor.activity

    async def ask(self, _, jobs):
        if self.states is None:
            return None
        return {job: self.states.get(job, UNKNOWN) for job in jobs}

    def come(self, *names):
        for name in names:
            self.activity.present[f"tls://{name}"] = name

    def leave(self, *names):
        for name in names:
            del self.activity.present[f"tls://{name}"]

    async def until(self, true, seconds=60.0):
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.005)

    async def settle(self):
        """Give the supervisor time to act."""
        await asyncio.sleep(0.06)


class Job:
    """A job, with the number in the name of its worker."""

    def __init__(self, world, name):
        self.world, self.job_id = world, name.removeprefix("worker-")

    def __await__(self):
        yield from asyncio.sleep(self.world.submitting).__await__()
        if self.world.trouble:
            raise self.world.trouble
        if self.world.states is not None:
            self.world.states.setdefault(self.job_id, RUNNING)

    async def close(self):
        self.world.closed.append(self.job_id)
        self.world.states[self.job_id] = OVER


@pytest.fixture
def play(monkeypatch, tmp_path):
    """Run a scene in a world whose seconds are short; two workers have connected at its start."""
    monkeypatch.setattr(job_supervisor, "_MIN_PAUSE", 0.005)
    monkeypatch.setattr(job_supervisor, "_MAX_PAUSE", 0.02)
    monkeypatch.setattr(job_supervisor, "_QUEUE_LAG", 0.5)

    def play(scene, *, begun=True, **keys):
        async def act():
            world = World(tmp_path, **keys)
            monkeypatch.setattr(job_supervisor, "query_queue", world.ask)
            if begun:
                world.come("worker-0", "worker-1")
                await world.supervisor.start()
            try:
                await scene(world)
            finally:
                await world.supervisor.stop()
            return world

        return asyncio.run(asyncio.wait_for(act(), 30))

    return play


def test_a_job_that_is_over_is_replaced(play):
    async def scene(world):
        world.activity.finished["worker-0"] = 5
        world.leave("worker-0")
        world.states["0"] = OVER
        await world.until(lambda: "+2" in world.journal)

    world = play(scene)
    assert world.journal == ["+0", "+1", "-0", "+2"]
    assert world.supervisor.error is None


def test_short_jobs_with_finished_tasks_are_always_replaced(play):
    async def scene(world):
        for number in range(2, 8):
            world.activity.finished[f"worker-{number - 2}"] = 1
            world.leave(f"worker-{number - 2}")
            world.states[str(number - 2)] = OVER
            await world.until(lambda job=f"+{number}": job in world.journal)
            world.come(f"worker-{number}")

    assert play(scene, timeout=30).supervisor.error is None


def test_a_batch_system_that_does_not_answer_changes_nothing(play):
    async def scene(world):
        world.states = None
        world.leave("worker-0")
        await world.settle()

    assert play(scene).journal == ["+0", "+1"]


def test_a_job_that_is_not_known_yet_is_waited_for(play):
    async def scene(world):
        del world.states["0"]
        world.leave("worker-0")
        await asyncio.sleep(0.03)
        assert world.journal == ["+0", "+1"]
        await world.until(lambda: "+2" in world.journal)

    # It is replaced, and cancelled at the end, as nothing says that it is over.
    assert "-0" not in play(scene).journal


def test_a_job_that_was_not_listed_stays_when_the_batch_system_does_not_answer(play):
    async def scene(world):
        del world.states["0"]
        world.leave("worker-0")
        await world.until(lambda: world.supervisor._jobs[0].state == UNKNOWN)
        world.states = None
        await asyncio.sleep(0.7)  # more than the lag of the queue
        assert [job.number for job in world.supervisor._jobs] == ["0", "1"]

    world = play(scene, timeout=30)
    assert world.journal == ["+0", "+1"]
    assert world.supervisor.error is None


def test_a_worker_that_reconnects_soon_changes_nothing(play):
    async def scene(world):
        world.leave("worker-0")
        await world.settle()
        world.come("worker-0")
        await asyncio.sleep(2 * world.config.timeout)

    assert play(scene).closed == []


def test_a_job_that_has_lost_its_worker_for_long_is_cancelled_and_replaced(play):
    async def scene(world):
        world.activity.finished["worker-0"] = 1
        world.leave("worker-0")
        await world.until(lambda: "+2" in world.journal)

    world = play(scene)
    assert world.closed == ["0"]
    assert world.supervisor.error is None


def test_a_job_that_is_put_back_into_the_queue_may_wait(play):
    async def scene(world):
        world.leave("worker-0")
        await world.settle()
        world.states["0"] = JobState("waiting", "PENDING")
        await asyncio.sleep(2 * world.config.timeout)

    assert play(scene).closed == []


def test_submission_may_fail_for_a_while_as_long_as_there_is_a_worker(play):
    async def scene(world):
        world.activity.finished["worker-0"] = 1
        world.trouble = RuntimeError("stderr:\nthe controller is away")
        world.leave("worker-0")
        world.states["0"] = OVER
        await asyncio.sleep(2 * world.config.timeout)
        assert world.supervisor.error is None
        world.trouble = None
        await world.until(lambda: "+2" in world.journal)

    play(scene)


def test_failing_submission_without_any_worker_is_an_error(play):
    async def scene(world):
        world.activity.finished.update({"worker-0": 1, "worker-1": 1})
        world.trouble = RuntimeError("stderr:\nthe controller is away")
        world.leave("worker-0", "worker-1")
        world.states.update({"0": OVER, "1": OVER})
        await world.until(lambda: world.supervisor.error is not None)

    message = str(play(scene).supervisor.error)
    assert message.startswith("cluster: no job can be submitted to slurm: the controller is away;")


def test_a_first_submission_that_fails_is_an_error_at_once(play):
    async def scene(world):
        world.trouble = RuntimeError("no such account")
        with pytest.raises(ClusterError, match="no such account"):
            await world.supervisor.start()

    assert play(scene, begun=False).journal == []


def test_three_jobs_without_a_finished_task_are_an_error(play):
    async def scene(world):
        world.leave("worker-0", "worker-1")
        world.states.update({str(number): OVER for number in range(10)})
        await world.until(lambda: world.supervisor.error is not None)

    world = play(scene, timeout=30)
    assert "3 jobs in a row ended" in str(world.supervisor.error)
    assert "FAILED" in str(world.supervisor.error)
    assert world.journal.count("+2") + world.journal.count("+3") <= 2


def test_jobs_without_tasks_do_not_count_as_failures(play):
    async def scene(world):
        for number in range(2, 8):
            await asyncio.sleep(world.config.timeout + 0.05)
            world.leave(f"worker-{number - 2}")
            world.states[str(number - 2)] = OVER
            await world.until(lambda job=f"+{number}": job in world.journal)
            world.come(f"worker-{number}")

    assert play(scene, timeout=0.2).supervisor.error is None


def test_a_job_that_will_never_start_ends_the_wait(play):
    async def scene(world):
        world.states = {"0": STUCK, "1": STUCK}
        with pytest.raises(ClusterError, match=r"job 0 will not start: PENDING \(held\)"):
            await world.supervisor.start()

    play(scene, begun=False)


def test_a_job_that_never_starts_is_tolerated_beside_a_worker(play):
    async def scene(world):
        world.activity.finished["worker-0"] = 1
        world.leave("worker-0")
        world.states |= {"0": OVER, "2": STUCK}
        await world.until(lambda: "+2" in world.journal)
        await world.settle()

    assert play(scene).supervisor.error is None


def test_no_start_within_queue_wait_is_an_error_even_without_job_states(play):
    async def scene(world):
        world.states = None
        with pytest.raises(
            ClusterError, match=r"cluster\.queue_wait: no job has started within 1s"
        ):
            await world.supervisor.start()

    play(scene, begun=False, queue_wait="1s")


@pytest.mark.parametrize(("interrupted", "never_finished"), [(1, True), (3, False)])
def test_a_task_that_no_worker_has_time_for_is_an_error(play, interrupted, never_finished):
    async def scene(world):
        world.activity.interrupted["leaf-7"] = interrupted
        world.activity.never_finished |= {"leaf-7"} if never_finished else set()
        await world.until(lambda: world.supervisor.error is not None)

    message = str(play(scene, walltime="2h").supervisor.error)
    assert message.startswith("cluster.walltime: 2h is too short")
    assert "(leaf-7)" in message


def test_a_task_that_was_lost_twice_is_no_error(play):
    async def scene(world):
        world.activity.interrupted["leaf-7"] = 2
        await world.settle()

    assert play(scene).supervisor.error is None


def test_a_worker_that_starts_again_and_again_is_an_error(play):
    async def scene(world):
        world.activity.starts["worker-1"] = 4
        await world.until(lambda: world.supervisor.error is not None)

    assert str(play(scene).supervisor.error).startswith("cluster.memory: 1GiB may be too little")


def test_an_error_of_the_supervisor_itself_ends_the_run(play):
    async def scene(world):
        world.activity.present = None
        await world.until(lambda: world.supervisor.error is not None)

    assert "supervision of jobs has failed: AttributeError" in str(play(scene).supervisor.error)


def test_a_job_that_is_being_submitted_at_the_end_is_not_forgotten(play):
    async def scene(world):
        world.activity.finished["worker-0"] = 1
        world.submitting = 0.2
        world.leave("worker-0")
        world.states["0"] = OVER
        await world.until(lambda: "-0" in world.journal)

    assert play(scene).journal == ["+0", "+1", "-0", "+2"]


def test_waiting_jobs_are_reported(play):
    async def scene(world):
        waiting = asyncio.create_task(world.supervisor.start())
        world.states |= {
            "0": JobState("waiting", "PENDING (Priority)"),
            "1": JobState("waiting", "PENDING"),
        }
        await world.until(lambda: len(world.said) > 1)
        world.come("worker-0")
        await waiting

    assert play(scene, begun=False).said == [
        "jobs of slurm: 2 submitted",
        "jobs of slurm: 1 PENDING, 1 PENDING (Priority)",
    ]


def test_too_little_memory_is_found_before_the_last_lines_of_a_log(play, tmp_path):
    warning = "distributed.nanny.memory - WARNING - Worker exceeded 95% memory budget\n"
    for job in (0, 1):
        (tmp_path / f"gfrnn-{job}.err").write_text(warning + "INFO - closing\n" * 50)

    async def scene(world):
        world.leave("worker-0", "worker-1")
        await world.until(lambda: world.supervisor.error)

    message = str(play(scene).supervisor.error)
    assert message.startswith("cluster.memory: 1GiB is too little")
