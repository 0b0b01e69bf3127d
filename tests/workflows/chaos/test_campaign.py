"""A campaign judges ends rightly, and small runs survive a few of its faults."""

import random
import re

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.workflows.chaos.campaign import BAD, judge, run_campaign
from gfrnn.workflows.chaos.command_process import EndedCommand
from gfrnn.workflows.chaos.comparable_contents import contents
from gfrnn.workflows.chaos.faults import DAMAGES, KINDS, UndisturbedCommand, damage, draw_fault
from gfrnn.workflows.chaos.small_runs import COMMANDS, SmallCommand
from gfrnn.workflows.commands.main import app

# Faults of different kinds, the same each time: a campaign by hand draws others.
FIRST_SEED, TRIALS = 765530, 4

GOOD_END, KILLED = EndedCommand(0, "fit: done\n"), EndedCommand(-9, "")
REFUSED = EndedCommand(2, "error: model.zarr is damaged\n")
TRACED = EndedCommand(1, "Traceback (most recent call last):\n  ...\nKeyError: 'x'\n")


@pytest.mark.parametrize(
    ("attempts", "anew", "gone", "difference", "end"),
    [
        ([GOOD_END], [], (), "", "went on"),
        ([KILLED, GOOD_END], [], (), "", "repeated"),
        ([REFUSED] * 3, [GOOD_END] * 2, (), "", "made anew"),
        ([KILLED, GOOD_END], [], ("run: fit",), "", "lost"),
        ([KILLED, REFUSED, REFUSED], [], (), "", "dead end"),
        ([REFUSED] * 3, [GOOD_END, REFUSED], (), "", "dead end"),
        ([GOOD_END], [], (), "run/model.zarr/c/0 differs", "unnoticed"),
        ([TRACED, GOOD_END], [], (), "", "traceback"),
        ([EndedCommand(None, "no end")] * 3, [], (), "", "dead end"),
        ([EndedCommand(None, "no end"), GOOD_END], [], (), "", "hung"),
    ],
)
def test_ends_are_judged(attempts, anew, gone, difference, end):
    found, detail = judge(attempts, anew, gone, difference)
    assert found == end
    assert bool(detail) == (end in BAD)


def undisturbed(_: SmallCommand) -> UndisturbedCommand:
    return UndisturbedCommand(5.0, 40, 12)


@given(st.integers(0, 10**6))
def test_a_seed_repeats_its_fault(seed):
    fault = draw_fault(seed, undisturbed)
    assert fault == draw_fault(seed, undisturbed)
    assert fault.kind in KINDS
    assert 1 <= fault.operation <= (12 if fault.in_worker else 40)
    assert 0 <= fault.moment <= 5
    assert fault.delay * (12 if fault.in_worker else 40) <= 60  # ends before it counts as hung
    assert fault.command.name in fault.describe()
    assert fault.kind not in DAMAGES or fault.command.reads


def test_every_kind_is_drawn_for_every_command():
    drawn = {(f.kind, f.command.name) for f in (draw_fault(i, undisturbed) for i in range(5000))}
    for kind in KINDS:
        names = {each.name for each in COMMANDS if each.reads or kind not in DAMAGES}
        assert {name for found, name in drawn if found == kind} == names


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_arguments_of_small_commands_are_those_of_gfrnn(command):
    name, *words = command.arguments
    parser = typer.main.get_command(app).commands[name]
    assert parser.make_context(name, words).params
    assert command.after in (None, *(each.name for each in COMMANDS))


@pytest.fixture
def small_run(tmp_path):
    """Folder like that of a run, with the stores that commands read."""
    run = tmp_path / "run"
    (run / "summaries.zarr").mkdir(parents=True)
    (run / "summaries.zarr" / "key.npz").write_bytes(random.Random(1).randbytes(100))
    for store in ("model.zarr", "forecast.zarr", "scores.zarr"):
        (run / store).mkdir(parents=True)
        (run / store / "zarr.json").write_text('{"attributes": {"units": ["K", 1]}}')
        (run / store / "c").write_bytes(random.Random(0).randbytes(100))
    (run / "run.json").write_text('{"stages": {"fit": {"finished": "2020"}}}')
    (run / "experiment.yaml").write_text("name: small\n")
    return run


@given(seed=st.integers(0, 10**6))
def test_damage_changes_one_file_and_is_seen(tmp_path_factory, seed):
    run = small_run.__wrapped__(tmp_path_factory.mktemp("damage"))
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    before = contents([run])
    fault = next(f for f in (draw_fault(seed + i, undisturbed) for i in range(999))
                 if f.kind in DAMAGES)  # fmt: skip
    path = damage(fault, run)
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {p for p in files if after.get(p) != files[p]} == {path}
    if fault.kind == "flipped byte":
        (changed,) = [i for i, byte in enumerate(files[path]) if after[path][i] != byte]
        assert bin(files[path][changed] ^ after[path][changed]).count("1") == 1
    if re.search("model|forecast|scores", str(path.relative_to(run))):
        assert contents([run]) != before


def test_contents_name_entries_stages_files_and_values(small_run):
    found = contents([small_run])
    assert found["run/run.json"] == "entry"
    assert found["run: fit"] == "finished"
    assert found["run/model.zarr/zarr.json attributes units 0"] == "K"
    assert "run/model.zarr/c" in found
    assert not any("summaries.zarr/" in key for key in found)


@pytest.mark.slow
@pytest.mark.cluster
def test_a_short_campaign_ends_well(tmp_path):
    lines = []
    folder = tmp_path / "new" / "folder"
    table, failed = run_campaign(60.0, FIRST_SEED, TRIALS, lines.append, folder)
    assert not failed, "\n".join(lines)
    assert len(lines) == 1 + TRIALS
    assert table.row_count == len(KINDS) + 1
    assert not list(folder.iterdir())
