"""Test that no key but ``setup`` can add a command or a line to the script of a job."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gfrnn.cluster import ClusterConfig
from gfrnn.cluster.batch.script_words import check_name, check_path, expand_path

LEAST = {"kind": "slurm", "workers": 1, "memory": "1GiB"}
WORDS = ("queue", "account", "interface", "scheduler_interface", "spill", "python")

BAD = [
    "a\nrm -rf ~",
    "a\r\nb",
    "a b",
    "a;b",
    "a&b",
    "a|b",
    "a>b",
    "$(id)",
    "`id`",
    "a'b",
    'a"b',
    "a\\b",
    "a#b",
    "a*",
    "{a,b}",
    "${x@P}",
    "${x:-$(id)}",
    "${x:-`id`}",
    "$((1))",
    "${",
    "-option",
    "",
    "\x00",
    "é",
    "a\u2028b",
]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("key", WORDS)
def test_shell_signs_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        ClusterConfig(**LEAST | {key: value})


@pytest.mark.parametrize("key", ["queue", "account", "interface", "scheduler_interface"])
def test_names_have_no_variables(key):
    with pytest.raises(ValidationError, match=key):
        ClusterConfig(**LEAST | {key: "$HOME"})


@pytest.mark.parametrize("value", ["--exclusive\ntouch x", "a\rb", "", "  ", "\x00", "a\x1bb"])
def test_a_directive_is_one_line(value):
    with pytest.raises(ValidationError, match="directives"):
        ClusterConfig(**LEAST | {"directives": [value]})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("queue", "batch"),
        ("queue", "short,long"),
        ("queue", "workq@server.example.org"),
        ("account", "p_weather-2024"),
        ("account", "/group/sub"),
        ("interface", "ib0.8001"),
        ("interface", "eth0:1"),
        ("spill", "$TMPDIR"),
        ("spill", "${SCRATCH:-/tmp}/gfrnn"),
        ("spill", "~/scratch"),
        ("python", "/opt/gfrnn-0.1/bin/python3.11"),
        ("directives", ["--constraint='[a&b]'", "-R 'rusage[mem=36GB]'", '-p "memcore>=4600"']),
    ],
)
def test_what_sites_have_is_allowed(key, value):
    found = getattr(ClusterConfig(**LEAST | {key: value}), key)
    assert found == (tuple(value) if isinstance(value, list) else value)


@given(st.text(max_size=30))
def test_a_shell_reads_an_accepted_name_as_one_word(value):
    try:
        check_name(value)
    except ValueError:
        return
    done = subprocess.run(
        ["/bin/sh", "-fc", f"printf '<%s>' {value}"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"<{value}>", "")


@given(st.text(alphabet="$(){}`;|&<>!\\'\"@:-=+?#%/~ aA0_\n*[]^", max_size=30))
def test_a_shell_runs_no_command_in_an_accepted_path(value):
    try:
        check_path(value)
    except ValueError:
        return
    # With no PATH, a command would be an error.
    done = subprocess.run(
        ["/bin/sh", "-c", f"printf x >/dev/null {value}"],
        capture_output=True,
        text=True,
        env={"PATH": "", "HOME": "/home/me"},
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(
    "value",
    [
        "/scratch/a_b.c-d",
        "$SET/x",
        "${SET}/x",
        "${SET:-/tmp}/$USER",
        "${UNSET:-/tmp}/x",
        "${EMPTY:-/tmp}",
        "$SET.$USER-1",
        "~/spill",
        "~",
    ],
)
def test_paths_are_expanded_as_by_a_shell(value, monkeypatch):
    known = {"SET": "/data", "EMPTY": "", "USER": "ada", "HOME": "/home/ada"}
    monkeypatch.setenv("HOME", known["HOME"])
    shell = subprocess.run(
        ["/bin/sh", "-c", f"printf %s {check_path(value)}"],
        env=known, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert expand_path(value, known) == shell.stdout


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("$UNSET/x", "has the variable UNSET, which is not set here; .*UNSET:-/tmp"),
        ("/a/${EMPTY}", "has the variable EMPTY"),
        ("spill", "'spill' is 'spill' here, which is not an absolute path"),
        ("${UNSET:-tmp}/x", "is 'tmp/x' here"),
        ("/a/$", "not an absolute path"),
    ],
)
def test_paths_that_are_not_known_here_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        expand_path(value, {"EMPTY": ""})
