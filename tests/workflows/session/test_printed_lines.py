"""Test that lines of commands are printed as they are, also with what rich takes for markup."""

from __future__ import annotations

import re

import pytest

from gfrnn.workflows.commands.console import console, print_findings
from gfrnn.workflows.commands.main import main
from gfrnn.workflows.session import printed_lines

TEXTS = ["[/red]", "[bold]x", "runs/[a]/b", "\\[x]\\", "[link=x]y[/link]", ":smile:"]


@pytest.mark.parametrize("text", TEXTS)
def test_products_and_warnings_are_printed_as_they_are(capsys, text):
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


@pytest.mark.parametrize("text", TEXTS)
def test_errors_are_printed_as_they_are(capsys, monkeypatch, text):
    monkeypatch.setattr("sys.argv", ["gfrnn", "run", f"{text}.yaml"])
    with pytest.raises(SystemExit, match="2"):
        main()
    found = capsys.readouterr()
    assert found.out == ""
    assert re.fullmatch(rf"error: {re.escape(text)}\.yaml: cannot be read .*\n", found.err)
