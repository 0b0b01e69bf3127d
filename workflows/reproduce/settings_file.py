"""Settings of a case from its file, a user's file, the quick settings and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import yaml
from pydantic import BaseModel

from gfrnn.pipeline.config.section import Period, Section, checked
from gfrnn.pipeline.config.yaml_tree import read_tree
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases import SETTINGS
from gfrnn.workflows.reproduce.case import Case, Settings

_EXTRA = ("quick", "candidates")


@dataclass(frozen=True)
class LoadedSettings(Generic[Settings]):
    """Resolved settings of a case.

    Attributes
    ----------
    settings : Section
        Instance of the model of the case.
    values : dict
        The settings as plain lists and dictionaries.
    candidates : dict
        Section ``candidates`` of the file: values that ``--choose`` tries.
    where : str
        Name of the file, for messages.
    quick : bool
        Whether the section ``quick`` was applied.
    """

    settings: Settings
    values: dict[str, Any]
    candidates: dict[str, Any]
    where: str
    quick: bool = False


def load_settings(
    case: Case[Settings],
    file: Path | None = None,
    *,
    quick: bool = False,
    options: Mapping[str, Any] | None = None,
) -> LoadedSettings[Settings]:
    """Load and check the settings of a case.

    Parameters
    ----------
    case : Case
    file : Path, optional
        File of a user. Its values replace those of the case's own file, one by one; its section
        ``candidates`` replaces that of the case as a whole.
    quick : bool
        Apply the section ``quick`` of each file. Values of the user's file take precedence over
        the quick settings of the case.
    options : mapping of str to value, optional
        Settings from the command line, ``--KEY``, which take precedence over all files.

    Raises
    ------
    ConfigError
        If a file is missing or no mapping, a key or value is not allowed, or an option is no
        setting of the case.
    """
    options = options or {}
    for key in options:
        if key not in case.settings.model_fields:
            raise ConfigError(
                f"--{key}: not a setting of the case {case.name}; allowed: "
                f"{', '.join(case.settings.model_fields)}; leave the option out"
            )
    own = SETTINGS / f"{case.name}.yaml"
    tree: dict[str, Any] = {}
    candidates: dict[str, Any] = {}
    for path in (own, file):
        if path is None:
            continue
        layer = _read(path)
        candidates = layer.get("candidates", candidates)
        tree = overlaid(tree, {key: layer[key] for key in layer if key not in _EXTRA})
        if quick:
            tree = overlaid(tree, layer.get("quick", {}))
    tree = overlaid(tree, options)
    where = str(file) if file is not None else own.name
    settings = checked(case.settings, tree, where)
    return LoadedSettings(settings, plain(settings), candidates, where, quick)


def with_values(
    case: Case[Settings], values: Mapping[str, Any], keys: Mapping[str, Any], where: str
) -> Settings:
    """Return settings with some values replaced.

    Parameters
    ----------
    case : Case
    values : mapping
        All settings as plain values.
    keys : mapping of str to value
        New values by dotted keys.
    where : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        If a key or a value is not allowed.
    """
    tree: Mapping[str, Any] = values
    for key, value in keys.items():
        change: Any = value
        for part in reversed(key.split(".")):
            change = {part: change}
        tree = overlaid(tree, change)
    return checked(case.settings, tree, where)


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings recursively; values of `above` take precedence."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = overlaid(old, value) if both else value  # type: ignore[arg-type]
    return merged


def plain(settings: Section) -> dict[str, Any]:
    """Convert settings to lists, dictionaries, numbers and texts."""
    return dict(_spelled(settings, settings.model_dump(mode="json")))


def _spelled(value: Any, dumped: Any) -> Any:
    """Write periods as pairs of dates; plain times would lose the end of the last day."""
    if isinstance(value, Period):
        return value.as_pair()
    if isinstance(value, BaseModel):
        return {key: _spelled(getattr(value, key), part) for key, part in dumped.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped


def dump(values: Mapping[str, Any]) -> str:
    """Return settings as YAML text for ``--settings``."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> dict[str, Any]:
    tree = read_tree(path)
    for key in _EXTRA:
        if not isinstance(tree.get(key, {}), dict):
            raise ConfigError(
                f"{path}: {key}: {tree[key]!r} is not allowed; write keys with values"
            )
    return tree
