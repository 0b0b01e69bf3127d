"""Test options that several commands share: precedence of keys, and errors."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.commands.main import app
from gfrnn.workflows.commands.options import ClusterOptions, places_of

EXPERIMENT = {"workers": 3, "memory": "2GiB", "timeout": 7}


def write(path: Path, **keys: object) -> Path:
    path.write_text(yaml.safe_dump(keys))
    return path


def test_without_options_the_experiment_is_used():
    config = ClusterOptions().config(EXPERIMENT, "my.yaml")
    assert (config.workers, config.memory, config.timeout) == (3, "2GiB", 7)


def test_an_option_takes_precedence_over_the_experiment():
    config = ClusterOptions(workers=5).config(EXPERIMENT, "my.yaml")
    assert (config.workers, config.memory) == (5, "2GiB")


def test_a_file_replaces_all_keys_of_the_experiment(tmp_path):
    file = write(tmp_path / "here.yaml", memory="1GiB")
    config = ClusterOptions(file).config(EXPERIMENT, "my.yaml")
    assert (config.workers, config.memory, config.timeout) == (None, "1GiB", 60)


def test_an_option_takes_precedence_over_the_file(tmp_path):
    file = write(tmp_path / "here.yaml", memory="1GiB", workers=2)
    config = ClusterOptions(file, memory="4GiB").config(EXPERIMENT, "my.yaml")
    assert (config.workers, config.memory) == (2, "4GiB")


@pytest.mark.parametrize(
    ("scheduler", "key"), [("tcp://h:1", "address"), ("s.json", "scheduler_file")]
)
def test_a_scheduler_is_an_address_or_a_file(scheduler, key):
    config = ClusterOptions(scheduler=scheduler).config({}, "my.yaml")
    assert config.kind == "existing"
    assert getattr(config, key) == scheduler


def test_options_as_command_line_arguments():
    assert ClusterOptions().arguments == []
    arguments = ClusterOptions(Path("a b.yaml"), workers=2, scheduler="s.json").arguments
    assert arguments == ["--cluster", "a b.yaml", "--workers", "2", "--scheduler", "s.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker: 2\n", "{file}: worker: unknown key; did you mean workers?"),
        ("workers: 0\n", "{file}: workers: 0 is not allowed"),
        ("memory: lots\n", "{file}: memory: 'lots' is not a size; write for example 4GiB"),
        ("- 1\n", "{file}: found a list; write keys and values"),
        ("a: [\n", "{file}: not valid YAML"),
        (None, "{file}: cannot be read (No such file or directory)"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, text, message):
    file = tmp_path / "here.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match="^" + re.escape(message.format(file=file))):
        ClusterOptions(file).config(EXPERIMENT, "my.yaml")


def test_errors_of_an_experiment_name_the_section():
    with pytest.raises(ConfigError, match=r"^my\.yaml: cluster: worker: unknown key"):
        ClusterOptions().config({"worker": 1}, "my.yaml")


@pytest.mark.parametrize("in_file", [False, True])
def test_a_key_that_an_existing_scheduler_does_not_use_is_explained_by_the_option(
    tmp_path, in_file
):
    file = write(tmp_path / "here.yaml", workers=2) if in_file else None
    with pytest.raises(ConfigError) as caught:
        ClusterOptions(file, scheduler="tcp://h:1").config({"workers": 3}, "my.yaml")
    for part in (str(file) if in_file else "my.yaml", "--scheduler", "workers", "leave it out"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers: 0\nkind: local\n", r"c\.yaml: workers: 0 is not .* \(line 1, column 1\)"),
        ("kind: local\nwalltime: 2h\n", r"walltime is allowed with .* \(line 2, column 1\)"),
    ],
)
def test_wrong_keys_of_a_cluster_have_their_line_and_column(tmp_path, text, message):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        ClusterOptions(file).config({}, "my.yaml")
    file.write_text("name: a\ncluster:\n  kind: local\n  threads: 0\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: cluster: threads: .* \(line 4, column 3\)"):
        ClusterOptions().config({"kind": "local", "threads": 0}, str(file))


def test_every_command_that_can_have_workers_takes_a_cluster_file():
    commands = get_command(app).commands
    taking = {
        name: {option.name for option in command.params} for name, command in commands.items()
    }
    assert {name for name, options in taking.items() if "workers" in options} >= {
        *("run", "fit", "forecast", "verify", "refit", "update", "reproduce")
    }
    assert all("cluster" in options for options in taking.values() if "workers" in options)


def test_places_are_names_with_coordinates():
    assert places_of(["Madrid=40.4,-3.7", "the pole=90, 0"]) == {
        "Madrid": (40.4, -3.7),
        "the pole": (90.0, 0.0),
    }
    assert places_of([]) == {}


@pytest.mark.parametrize(
    "word", ["Madrid", "=40,3", "A=40", "A=40;3", "A=91,0", "A=0,361", "A=nan,0", "A=1,2,3"]
)
def test_words_that_are_no_places_are_named(word):
    with pytest.raises(ConfigError, match=f"--place: {re.escape(repr(word))} is not a name"):
        places_of(["ok=1,2", word])


def test_a_name_is_given_to_one_place():
    with pytest.raises(ConfigError, match="--place: the name 'A' is given twice"):
        places_of(["A=1,2", "A=3,4"])


SECTIONS = [
    {"kind": "slurm", "workers": 1, "memory": "1GiB", "setup": ["touch /tmp/x"]},
    {"kind": "existing", "address": "tcp://h:1"},
]


@pytest.fixture(params=["belongs to the user", "can be changed by every user"])
def foreign(request, tmp_path):
    """Return a file that somebody else controls, and the reason."""
    file = tmp_path / "experiment.yaml"
    file.touch()
    if "belongs" in request.param:
        if os.getuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(file, 65534, 65534)
    else:
        file.chmod(0o666)
    return file, request.param


@pytest.mark.parametrize("section", SECTIONS, ids=["slurm", "existing"])
@pytest.mark.parametrize("folder", [False, True])
def test_commands_of_another_user_are_refused(foreign, section, folder):
    file, reason = foreign
    with pytest.raises(ConfigError, match=rf"experiment.yaml: cluster: .*{reason}.*--cluster FILE"):
        ClusterOptions().config(section, str(file.parent if folder else file))


def make_foreign(folder: Path, how: str) -> str:
    """Let others control a folder; return the reason that is expected."""
    if how == "mode":
        folder.chmod(0o777)
        return "can be changed by every user"
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder, 65534, 65534)
    return "belongs to the user"


@pytest.mark.parametrize("how", ["mode", "owner"])
@pytest.mark.parametrize("content", ["file", "link", "nothing"])
def test_ones_own_file_in_a_folder_that_others_control_is_refused(how, content, tmp_path):
    """They can put it there after they have had another one read."""
    folder = tmp_path / "run"
    folder.mkdir()
    file = folder / "experiment.yaml"
    if content == "file":
        file.touch()
    elif content == "link":
        file.symlink_to("/etc/passwd")
    reason = make_foreign(folder, how)
    for place in (file, folder):
        with pytest.raises(ConfigError, match=f"cluster: the folder {folder} {reason}.*--cluster"):
            ClusterOptions().config(SECTIONS[0], str(place))


@pytest.mark.parametrize("how", ["mode", "owner"])
def test_a_link_into_a_folder_that_others_control_is_refused(how, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.yaml").touch()
    (tmp_path / "my.yaml").symlink_to("theirs/a.yaml")
    reason = make_foreign(tmp_path / "theirs", how)
    with pytest.raises(ConfigError, match=rf"my\.yaml: cluster: the folder .*theirs {reason}"):
        ClusterOptions().config(SECTIONS[0], str(tmp_path / "my.yaml"))


def test_ones_own_file_may_be_in_a_sticky_folder_and_behind_a_link(tmp_path):
    (tmp_path / "a.yaml").touch()
    (tmp_path / "my.yaml").symlink_to("a.yaml")
    tmp_path.chmod(0o1777)
    for name in ("a.yaml", "my.yaml"):
        assert ClusterOptions().config(SECTIONS[0], str(tmp_path / name)).kind == "slurm"
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert ClusterOptions().config(SECTIONS[0], str(tmp_path / "loop.yaml")).kind == "slurm"


@pytest.mark.parametrize("section", [{}, {"kind": "local", "workers": 3}, {"kind": "srun"}])
def test_a_section_that_cannot_run_commands_may_be_of_another_user(foreign, section):
    assert ClusterOptions().config(section, str(foreign[0])).kind == section.get("kind", "local")


@pytest.mark.parametrize("section", SECTIONS, ids=["slurm", "existing"])
def test_options_replace_the_section_of_another_user(foreign, section, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(section))
    assert ClusterOptions(own).config(section, str(foreign[0])).kind == section["kind"]
    options = ClusterOptions(scheduler="tcp://h:1")
    assert options.config({}, str(foreign[0])).kind == "existing"


@pytest.mark.parametrize("section", SECTIONS, ids=["slurm", "existing"])
def test_ones_own_section_is_used(section, tmp_path):
    file = tmp_path / "my.yaml"
    file.touch()
    file.chmod(0o664)
    assert ClusterOptions().config(section, str(file)).kind == section["kind"]
