"""Settings of the documentation site: pip install '.[docs]' && sphinx-build -W docs build/site."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx

project = "GFRNN"
copyright = "the authors of GFRNN"
release = metadata.version("gfrnn")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
suppress_warnings = ["ref.python"]  # two attributes of the same name

html_theme = "furo"
html_title = "GFRNN"
html_show_sphinx = False
html_show_copyright = False

myst_heading_anchors = 4  # links to headings work as they do where the repository is browsed
myst_enable_extensions = ["fieldlist"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings state types and shapes
autoclass_content = "class"
napoleon_google_docstring = False
napoleon_use_rtype = False

_COMMANDS = Path(__file__).parent / "reference" / "commands.md"


def setup(app: Sphinx) -> None:
    """Make the page on commands before pages are read."""
    app.connect("builder-inited", lambda _: _write_commands())


def _write_commands() -> None:
    """Write the help of every command as a page."""
    words = ["typer", "gfrnn.workflows.commands.main", "utils", "docs", "--name", "gfrnn"]
    found = subprocess.run(
        [sys.executable, "-m", *words, "--title", "Commands"],
        capture_output=True,
        text=True,
        check=True,
    )
    page = re.sub(r'<span style="font-weight: bold">(.*?)</span>', r"`\1`", found.stdout)
    page = page.replace("```console\n$ ", "```text\n")
    if not _COMMANDS.exists() or _COMMANDS.read_text(encoding="utf-8") != page:
        _COMMANDS.write_text(page, encoding="utf-8")
