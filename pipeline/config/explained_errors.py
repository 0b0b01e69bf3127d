"""Sentences on values of settings that are not allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError

from gfrnn.pipeline.config.hidden_values import hide_secrets
from gfrnn.pipeline.errors import HIDDEN

_NEEDED = {
    "string_type": "text",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "list_type": "a list",
    "tuple_type": "a list",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "literal_error": "{expected}",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "below {lt:g}",
    "less_than_equal": "{le:g} or less",
    "string_pattern_mismatch": "text that matches the pattern {pattern}",
    "string_too_long": "text of at most {max_length} characters",
    "too_short": "a list of at least {min_length} values",
    "too_long": "a list of at most {max_length} values",
}
"""Requirement that each kind of error of pydantic stands for, with the values of its context."""

_MEMBER = re.compile(r"(str|float|int|bool|constrained-str|(list|tuple|dict|function-\w+)\[.*\])")
"""Parts of the place of an error that name a type of a union, and no key."""

_PLAIN_WORD = re.compile(r"[\w.*/-]{1,60}")
"""Values that can stand in a list of YAML as they are."""


def explain_errors(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one line for each value that is not allowed: the key, what was found, what is allowed.

    Where several kinds of values are allowed, their errors make one line together.
    """
    details = error.errors()
    lines: list[str] = []
    several: dict[str, list[Any]] = {}
    for detail in details:
        key = _key(detail["loc"])
        if any(_names_member(part) for part in detail["loc"]):
            several.setdefault(key, []).append(detail)
    for detail in details:
        key = _key(detail["loc"])
        if not any(_names_member(part) for part in detail["loc"]):
            lines.append(_explain(detail, model))
        elif key in several:
            # An error of an item says more than that the list is no text.
            alternatives = several.pop(key)
            if not any(other.startswith(f"{key}[") for other in several):
                lines.append(_explain_alternatives(key, alternatives, model))
    return [_in_one_line(line) for line in lines]


def _in_one_line(text: str) -> str:
    """Return the text with line breaks and control characters, of keys for example, escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _names_member(part: Any) -> bool:
    return isinstance(part, str) and _MEMBER.fullmatch(part) is not None


def _key(location: tuple[int | str, ...]) -> str:
    """Return the place of an error as in messages: ``data.sources[0].level``."""
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        elif not _names_member(part):
            key += f".{part}" if key else part
    return key


def _explain_alternatives(key: str, details: list[Any], model: type[BaseModel]) -> str:
    for detail in details:
        if len(details) == 1 or detail["type"] not in _NEEDED:
            return _explain(detail, model)
    needed = list(dict.fromkeys(map(_needed, details)))
    return _refused(key, details[0], " or ".join(needed))


def _needed(detail: Mapping[str, Any]) -> str:
    needed = _NEEDED[detail["type"]].format(**detail.get("ctx", {}))
    found = detail.get("input")
    if detail["type"] == "list_type" and isinstance(found, (str, int, float)):
        item = str(hide_secrets(found))
        if _PLAIN_WORD.fullmatch(item):
            return f"{needed}, such as [{item}]"
    return needed


def _refused(key: str, detail: Mapping[str, Any], needed: str) -> str:
    found = hide_secrets(detail.get("input"))
    if "storage_options" in detail["loc"]:
        found = HIDDEN
    return f"{key}: {found!r} is not allowed; it must be {needed}"


def _explain(detail: Any, model: type[BaseModel]) -> str:
    """Describe one error in one line: the key, what was found, what is allowed."""
    key, kind = _key(detail["loc"]), detail["type"]
    if kind == "extra_forbidden":
        *section, name = [str(part) for part in detail["loc"] if not _names_member(part)]
        allowed = _keys_at(model, section)
        near = difflib.get_close_matches(name, allowed, 1)
        hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(allowed)}"
        return f"{key}: unknown key; {hint}"
    if kind == "missing":
        return f"{key}: missing; it has no default and must be given"
    if kind == "value_error":
        message = str(detail["ctx"]["error"])
        # Errors of several keys of a section begin with the whole name of one of them.
        return f"{key}: {message}" if key and not message.startswith(f"{key}.") else message
    if kind in _NEEDED:
        return _refused(key, detail, _needed(detail))
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return f"{key}: {hide_secrets(detail.get('input'))!r} is not allowed: {message}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Return the keys of the section at this place."""
    section: Any = model
    parts = iter(location)
    for part in parts:
        if part.isdigit():
            continue
        field = section.model_fields.get(part)
        if field is None:
            return []
        section = _section_of(field.annotation)
        if section is None:
            return []
        if get_origin(field.annotation) is dict:
            next(parts, None)  # a name that the user chose
    return list(section.model_fields)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section class inside ``Section | None`` or ``list[Section]``, if any."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    for part in getattr(annotation, "__args__", ()):
        section = _section_of(part)
        if section is not None:
            return section
    return None
