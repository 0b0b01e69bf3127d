"""Test that lines of commands are printed as they are, also with what rich takes for markup."""

from __future__ import annotations

import re

import pytest

from gfrnn.workflows.commands.console import console, print_findings
from gfrnn.workflows.commands.main import main
from gfrnn.workflows.session import printed_lines

TEXTS = ["[/red]", "[bold]x", "runs/[a]/b", "\\[x]\\", "[link=x]y[/link]", ":smile:"]


@pytest.mark.parametrize("text", TEXTS)
def test_products_and_warnings_are_printed_as_they_are(capsys, monkeypatch, text):
    monkeypatch.setattr("gfrnn.cluster.ssh_tunnel.ssh_tunnel_command", lambda *_: None)
    printed_lines.print_product(console, "report", text)
    printed_lines.print_warning(console, text)
    printed_lines.print_dashboard(console, text)
    printed_lines.print_cluster_line(console, text)
    print_findings([("error", text, text)])
    assert capsys.readouterr().out.splitlines() == [
        f"report: {text}",
        f"warning: {text}",
        f"dashboard: {text}",
        f"cluster: {text}",
        f"error {text}: {text}",
    ]


def test_the_dashboard_of_another_machine_is_printed_with_the_way_to_it(capsys):
    """By all commands: those that have no page of their own print it with the same function."""
    printed_lines.print_dashboard(console, "http://10.1.2.3:8787/status")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "dashboard: http://10.1.2.3:8787/status"
    assert second.startswith("from elsewhere: ssh -N -L 8787:10.1.2.3:8787 ")
    printed_lines.print_dashboard(console, None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", TEXTS)
def test_errors_are_printed_as_they_are(capsys, monkeypatch, text):
    monkeypatch.setattr("sys.argv", ["gfrnn", "run", f"{text}.yaml"])
    with pytest.raises(SystemExit, match="2"):
        main()
    found = capsys.readouterr()
    assert found.out == ""
    assert re.fullmatch(rf"error: {re.escape(text)}\.yaml: cannot be read .*\n", found.err)
