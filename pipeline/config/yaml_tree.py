"""Keys and values of YAML files: plain text, numbers, lists and mappings, within bounds.

Files may come from strangers. YAML lets a short file describe a huge value, by aliases within
aliases, and a nesting that exhausts the stack; it also has binary values, dates and sets, and keys
that are given twice, of which the last one counts. All of these are refused with their line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.composer import ComposerError

from gfrnn.pipeline.errors import ConfigError

MOST_BYTES = 2**20
"""Largest size of a file in bytes."""

MOST_LEVELS = 30
"""Most levels of lists and mappings within each other."""

MOST_VALUES = 50_000
"""Most values of a file, where those of aliases count each time."""

_MOST_INTEGER = 2**63 - 1

_TAG = "tag:yaml.org,2002:"
_TEXT, _KEYS = _TAG + "str", _TAG + "map"
_ALLOWED = {_TEXT, _KEYS} | {_TAG + name for name in ("seq", "int", "float", "bool", "null")}
_MERGE = _TAG + "merge"

_FOUND = {type(None): "no content", list: "a list"}


class YamlTree(dict[str, Any]):
    """Keys and values of a YAML file, with the place of each key.

    Attributes
    ----------
    places : dict
        Line and column, counted from 1, of keys such as ``model.width`` and ``data.sources[0]``.
    """

    def __init__(
        self, values: Mapping[str, Any], places: Mapping[str, tuple[int, int]] | None = None
    ) -> None:
        super().__init__(values)
        self.places = dict(places or {})

    def places_in(self, section: str) -> dict[str, tuple[int, int]]:
        """Return the places of the keys of a section, by their names in it."""
        begin = f"{section}."
        return {
            name.removeprefix(begin): place
            for name, place in self.places.items()
            if name.startswith(begin)
        }

    def updated(self, values: Mapping[str, Any]) -> YamlTree:
        """Return the tree with other values of some keys, which are in no file."""
        places = {name: place for name, place in self.places.items() if name not in values}
        return YamlTree({**self, **values}, places)


def read_tree(path: Path) -> YamlTree:
    """Read the keys and values of a YAML file.

    Raises
    ------
    ConfigError
        If it cannot be read; the message names the file and, where there is one, the line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({reason}); check the path") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"{path}: has more than {MOST_BYTES >> 20} MiB, so it is no file of settings; use "
            "globs for long lists of data files"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; give a YAML file") from None
    return parse_tree(text, str(path))


def parse_tree(text: str, where: str) -> YamlTree:
    """Parse the keys and values of YAML text; ``where`` is named in errors."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            places = {} if node is None else dict(_places(node))
            tree = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        context = f" {error.context}" if error.context else ""
        raise ConfigError(f"{where}: not valid YAML: {line}{error.problem}{context}") from None
    except yaml.YAMLError as error:  # a character that YAML does not have
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        found = _FOUND.get(type(tree), "a single value")
        raise ConfigError(f"{where}: found {found}; write keys and values, as in `name: my_run`")
    return YamlTree(tree, places)


def _places(node: yaml.Node, key: str = "") -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the keys in a node, and the line and the column where each begins."""
    inner: list[tuple[str, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        inner = [
            (f"{key}.{name.value}" if key else str(name.value), name, value)
            for name, value in node.value
        ]
    elif isinstance(node, yaml.SequenceNode):
        inner = [(f"{key}[{index}]", each, each) for index, each in enumerate(node.value)]
    for name, begin, value in inner:
        yield name, (begin.start_mark.line + 1, begin.start_mark.column + 1)
        yield from _places(value, name)


class _Size(NamedTuple):
    """Values in a node and in all below it, and levels."""

    values: int
    levels: int


class _Loader(yaml.SafeLoader):
    """YAML loader with bounds. Dates are text, so that a wrong one is reported with its key."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = 0
        self._sizes: dict[int, _Size] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node with all below it, and check it before anything is made of it."""
        event = self.peek_event()
        mark = event.start_mark
        if self._level >= MOST_LEVELS:  # before Python's own limit of recursion
            raise _refusal(f"there are more than {MOST_LEVELS} levels of lists and mappings", mark)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if id(node) not in self._sizes:
            if isinstance(event, yaml.AliasEvent):
                raise _refusal("an alias stands for a value that contains it", mark)
            self._sizes[id(node)] = self._measure(node, mark)
        return node

    def _measure(self, node: Any, mark: Any) -> _Size:
        """Return the size of a node whose parts have been measured.

        An alias is the node that it stands for, so that its size counts again.
        """
        if node.tag not in _ALLOWED | {_MERGE}:
            tag = node.tag.replace(_TAG, "!!")
            raise _refusal(f"{tag} is not allowed; write text, numbers, lists or mappings", mark)
        if isinstance(node, yaml.ScalarNode):
            _check_text(node.value, mark)
            return _Size(1, 0)
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            parts = [part for pair in parts for part in pair]
        sizes = [self._sizes[id(part)] for part in parts]
        size = _Size(
            1 + sum(each.values for each in sizes),
            1 + max((each.levels for each in sizes), default=0),
        )
        if size.values > MOST_VALUES:
            raise _refusal(f"there are more than {MOST_VALUES} values, with those of aliases", mark)
        if size.levels > MOST_LEVELS:
            raise _refusal(f"there are more than {MOST_LEVELS} levels of lists and mappings", mark)
        return size

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make the value of a node."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError):  # such as 0x_, or more digits than Python converts
            raise _refusal(f"{node.value[:40]!r} is not a number", node.start_mark) from None
        if isinstance(value, int) and abs(value) > _MOST_INTEGER:
            raise _refusal("the number has more than 64 bits", node.start_mark)
        return value


_Loader.yaml_implicit_resolvers = {
    first: [each for each in found if each[0] not in (_TAG + "timestamp", _TAG + "value")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _check_keys(node: yaml.MappingNode) -> None:
    """Check that the keys of a mapping are different texts."""
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refusal("a key is a list or a mapping; write a name", key.start_mark)
        if key.tag not in (_TEXT, _MERGE):
            kind = key.tag.removeprefix(_TAG)
            raise _refusal(f"the key {key.value} is read as {kind}; quote it", key.start_mark)
        if key.value in seen:
            raise _refusal(f"the key {key.value} is given twice", key.start_mark)
        seen.add(key.value)


def _check_text(text: str, mark: Any) -> None:
    """Refuse what cannot be part of a path or be printed, such as NUL and half surrogates."""
    for character in text:
        if (character < " " and character not in "\n\t") or "\x7f" <= character < "\xa0":
            raise _refusal(f"there is a control character, {character!a}", mark)
        if "\ud800" <= character <= "\udfff":
            raise _refusal(f"there is half of a character, {character!a}", mark)


def _refusal(problem: str, mark: Any) -> ComposerError:
    return ComposerError(None, None, problem, mark)
