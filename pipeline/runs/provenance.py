"""Provenance of a result: versions of the software, and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from functools import cache
from typing import Any

from threadpoolctl import threadpool_info


def provenance(libraries: Sequence[str]) -> dict[str, Any]:
    """Return the ``versions`` of Python and of these distributions, and the ``machine``.

    The machine has the libraries of linear algebra of this process (``blas``) with the processor
    that their kernels are for: others round otherwise.
    """
    versions = {"python": platform.python_version()}
    for library in libraries:
        versions[library] = _version(library)
    return {
        "versions": versions,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": len(os.sched_getaffinity(0)),
            "blas": blas_kernels(),
        },
    }


@cache  # reading the metadata of a distribution takes milliseconds, and each stage asks for all
def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def blas_kernels() -> list[str]:
    """Return the libraries of linear algebra of this process, such as ``openblas 0.3.27 Zen``."""
    found = [each for each in threadpool_info() if each.get("user_api") == "blas"]
    words = ("internal_api", "version", "architecture")
    return sorted({" ".join(str(each.get(word) or "unknown") for word in words) for each in found})


def software(libraries: Sequence[str]) -> dict[str, str]:
    """Return what decides how results are rounded: versions of libraries, and the BLAS kernels."""
    found = provenance(libraries)
    return {**found["versions"], "blas": ", ".join(found["machine"]["blas"])}
