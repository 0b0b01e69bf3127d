"""Test that passwords and storage options are in nothing that a run shows or shares."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml
from fsspec.implementations.local import LocalFileSystem

from gfrnn.pipeline.config.experiment import (
    Experiment,
    dump_experiment,
    parse_experiment,
    shown_experiment,
)
from gfrnn.pipeline.errors import ConfigError, DataError, GfrnnError, RunError, without_passwords
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.waves import make_run

PASSWORD, TOKEN, SIGNATURE = "hunter2-password", "ghp-token-value", "signature-value"
SECRETS = (PASSWORD, TOKEN, SIGNATURE)


class VaultFileSystem(LocalFileSystem):
    """Local files by URLs with a password, opened with a token."""

    protocol = "vault"

    def __init__(self, token: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.token = token

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        plain = path.partition("@")[2] if path.startswith("vault://") else path
        return super()._strip_protocol(plain.partition("?")[0])

    def open(self, path: str, *arguments: Any, **options: Any) -> Any:
        """Open a file; a token that is wrong is part of the message, as that of some libraries."""
        if self.token != TOKEN:
            raise PermissionError(f"the token {self.token} is refused")
        return super().open(path, *arguments, **options)


@pytest.fixture(autouse=True)
def vault():
    fsspec.register_implementation("vault", VaultFileSystem, clobber=True)


def url(path: Path) -> str:
    return f"vault://ada:{PASSWORD}@{path}?sig={SIGNATURE}"


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    """Return an experiment whose source needs secrets."""
    tree = yaml.safe_load(dump_experiment(make_run(tmp_path).experiment))
    tree["data"]["sources"] = [
        {"path": url(tmp_path / "waves.nc"), "storage_options": {"token": TOKEN}}
    ]
    tree["cluster"] = {"setup": [f"export MY_TOKEN={TOKEN}"], "kind": "slurm"}
    return parse_experiment(yaml.safe_dump(tree))


def found_in(folder: Path) -> list[str]:
    """Return the files in a folder that hold a secret."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(each.encode() in path.read_bytes() for each in SECRETS)
    ]


def test_one_file_of_a_run_has_the_secrets_and_only_its_owner_reads_it(experiment, tmp_path):
    report = pytest.importorskip("gfrnn.workflows.report.page")
    run = Run(experiment, tmp_path / "secret")
    run.fit()
    run.forecast()
    run.verify()
    report.write_report(run)
    assert found_in(run.folder) == ["experiment.yaml"]
    file = run.folder / "experiment.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Run.reopen(run.folder).experiment == experiment
    file.chmod(0o644)
    Run(experiment, run.folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_secrets_the_file_has_the_usual_mode(tmp_path):
    run = make_run(tmp_path)
    (tmp_path / "usual").touch()
    modes = {path.stat().st_mode for path in (run.folder / "experiment.yaml", tmp_path / "usual")}
    assert len(modes) == 1


def test_what_is_shown_has_the_keys_and_no_secrets(experiment):
    shown = shown_experiment(experiment)
    assert not any(each in shown for each in SECRETS)
    (source,) = yaml.safe_load(shown)["data"]["sources"]
    assert source["storage_options"] == {"token": "***"}
    assert source["path"].startswith("vault://***@/")


def test_renewed_credentials_are_the_same_experiment(experiment, tmp_path):
    folder = RunFolder(tmp_path / "again")
    folder.claim(experiment, force=False)
    folder.summaries.mkdir()
    assert folder.begun
    text = dump_experiment(experiment)
    for old, new in ((TOKEN, "renewed"), (PASSWORD, "changed"), (SIGNATURE, "other")):
        text = text.replace(old, new)
    folder.claim(parse_experiment(text), force=False)
    assert "renewed" in folder.experiment_file.read_text()


def test_messages_of_refused_credentials_have_none(experiment, tmp_path):
    wrong = parse_experiment(dump_experiment(experiment).replace(TOKEN, "wrong-token-value"))
    with pytest.raises(DataError, match=r"vault://\*\*\*@.*the token \*\*\* is refused") as caught:
        Run(wrong, tmp_path / "refused").check()
    for secret in ("wrong-token-value", *SECRETS):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        {"path": "a.nc", "storage_options": TOKEN},
        {"path": "a.nc", "storage_options": [TOKEN]},
        {"path": {"x": "y"}, "storage_options": {"token": TOKEN}},
        {"path": f"s3://ada:{PASSWORD}@host/x", "level": -1, "units": {"a": [1]}},
        {"storage_options": {"token": TOKEN}},
        [f"https://{TOKEN}@host/x"],
    ],
)
def test_messages_of_wrong_keys_have_none(source, experiment):
    tree = yaml.safe_load(dump_experiment(experiment))
    tree["data"]["sources"] = [source]
    with pytest.raises(ConfigError) as caught:
        parse_experiment(yaml.safe_dump(tree))
    assert not any(each in str(caught.value) for each in SECRETS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:pw@host/a.zarr is missing", "https://***@host/a.zarr is missing"),
        ("https://token@host/a", "https://***@host/a"),
        ("s3://u:p@ss@h/a, s3://v:q@h/b", "s3://***@h/a, s3://***@h/b"),
        ("https://h/a?sig=abc%2F&x=1", "https://h/a?sig=***&x=1"),
        ("https://h/a?x=1&X-Amz-Security-Token=abc", "https://h/a?x=1&X-Amz-Security-Token=***"),
        ("export AWS_SECRET_ACCESS_KEY=abc", "export AWS_SECRET_ACCESS_KEY=***"),
        ("tcp://10.0.0.1:8786", "tcp://10.0.0.1:8786"),
        ("gs://bucket/era5.zarr", "gs://bucket/era5.zarr"),
        ("ada@host: model.width: 3 (key = value)", "ada@host: model.width: 3 (key = value)"),
        ("a.nc?b=1", "a.nc?b=1"),
    ],
)
def test_passwords_in_texts_are_hidden(text, shown):
    assert without_passwords(text) == shown
    for kind in (GfrnnError, ConfigError, DataError, RunError):
        assert str(kind(text)) == shown
