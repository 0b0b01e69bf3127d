"""Values of an experiment that are not shown: passwords in URLs, and storage options."""

from __future__ import annotations

from typing import Any

from gfrnn.pipeline.errors import HIDDEN, without_passwords

_OPTIONS = "storage_options"

_PUBLIC = ("", "anon")
"""Values of storage options that are no secrets, besides numbers and true or false."""


def hide_secrets(tree: Any) -> Any:
    """Return lists and dictionaries of an experiment with ``***`` in the place of secrets."""
    if isinstance(tree, dict):
        return {
            key: _hide_all(value) if key == _OPTIONS else hide_secrets(value)
            for key, value in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        return [hide_secrets(value) for value in tree]
    return without_passwords(tree) if isinstance(tree, str) else tree


def _hide_all(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hide_all(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide_all(each) for each in value]
    if value is None or isinstance(value, (bool, int, float)) or value in _PUBLIC:
        return value
    return HIDDEN


def secret_texts(value: Any) -> list[str]:
    """Return the texts in storage options that must not be shown, the longest first."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        texts = {text for each in value for text in secret_texts(each)}
        return sorted(texts, key=len, reverse=True)
    return [value] if isinstance(value, str) and value not in _PUBLIC else []
