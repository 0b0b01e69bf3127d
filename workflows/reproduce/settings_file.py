"""The settings of a case: its file, a user's file over it, and the overrides of ``--quick``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import yaml
from pydantic import BaseModel

from gfrnn.pipeline.config.section import Period, Section, checked
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases import SETTINGS
from gfrnn.workflows.reproduce.case import Case, Settings

_EXTRA = ("quick", "candidates")


@dataclass(frozen=True)
class LoadedSettings(Generic[Settings]):
    """Settings as resolved.

    Attributes
    ----------
    settings : Section
        The case's model.
    values : dict
        The same as plain lists and dictionaries.
    candidates : dict
        What ``--choose`` tries, as the file has it.
    where : str
        The file, for messages.
    quick : bool
        Whether the overrides of ``--quick`` are in.
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
    """The settings of a case, checked.

    Parameters
    ----------
    case : Case
    file : Path, optional
        Laid over the case's own file: what it leaves out stays as it is. Its ``candidates``
        replace the case's as a whole.
    quick : bool
        Lay the overrides of ``--quick`` over the values: the case's own below the user's file.
    options : mapping of str to value, optional
        Settings that the command line names, ``--KEY``; laid over everything.

    Raises
    ------
    ConfigError
        If a file is missing or no mapping, a key or value is not allowed, or the settings of the
        case have no key of an option's name.
    """
    options = options or {}
    for key in options:
        if key not in case.settings.model_fields:
            raise ConfigError(
                f"--{key}: the case {case.name} has no such setting, its settings are "
                f"{', '.join(case.settings.model_fields)}; leave it out"
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
    """Settings with some values replaced by their dotted keys.

    Raises
    ------
    ConfigError
        If a key is not there or a value is not allowed.
    """
    tree: Mapping[str, Any] = values
    for key, value in keys.items():
        change: Any = value
        for part in reversed(key.split(".")):
            change = {part: change}
        tree = overlaid(tree, change)
    return checked(case.settings, tree, where)


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping over another; mappings inside are overlaid too, all else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = overlaid(old, value) if both else value  # type: ignore[arg-type]
    return merged


def plain(settings: Section) -> dict[str, Any]:
    """Settings as lists, dictionaries, numbers and texts."""
    return dict(_spelled(settings, settings.model_dump(mode="json")))


def _spelled(value: Any, dumped: Any) -> Any:
    """Periods as a file has them: as plain times they would lose the end of their last day."""
    if isinstance(value, Period):
        return value.as_pair()
    if isinstance(value, BaseModel):
        return {key: _spelled(getattr(value, key), part) for key, part in dumped.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped


def dump(values: Mapping[str, Any]) -> str:
    """Settings as the text of a file that ``--settings`` takes."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the name") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {error}") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: found {type(tree).__name__}, allowed: keys with values")
    for key in _EXTRA:
        if not isinstance(tree.get(key, {}), dict):
            raise ConfigError(f"{path}: {key}: {tree[key]!r} is not allowed: keys with values")
    return tree
