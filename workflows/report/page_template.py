"""Fill in the template of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def render_page(module: str, name: str, **content: Any) -> str:
    """Return a page from a template, with all text that is filled in escaped.

    Parameters
    ----------
    module : str
        File of the module whose folder ``templates`` has the template, its ``__file__``.
    name : str
        Name of the file of the template, which may include others of the folder.
    **content
        Values of its variables.

    Raises
    ------
    jinja2.UndefinedError
        If the template uses a variable that is not given.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(module).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**content)
