"""Cases of the papers, which ``gfrnn reproduce NAME`` runs."""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import Any

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.reproduce.case import Case

SETTINGS = Path(__file__).with_name("settings")
"""Folder of the settings files; each registers the case with its name."""


def case_names() -> list[str]:
    """Return the names of all cases in alphabetical order."""
    return sorted(path.stem for path in SETTINGS.glob("*.yaml"))


def load_case(name: str) -> Case[Any]:
    """Import the module of a case and return its definition.

    Raises
    ------
    ConfigError
        If there is no case of this name.
    """
    names = case_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(names)}"
        raise ConfigError(f"reproduce: no case {name!r}; {hint}")
    module = import_module(f"gfrnn.workflows.cases.{name.replace('-', '_')}_case")
    case: Case[Any] = module.CASE
    return case
