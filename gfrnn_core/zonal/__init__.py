"""Recurrent networks of zonal waves, for fields that close in longitude."""

from gfrnn_core.zonal.latitude_functions import LatitudeFunctions
from gfrnn_core.zonal.solve_stage import (
    assemble_stage,
    column_sizes,
    column_squares,
    row_factors,
    solve_stage,
    solve_wavenumber,
)
from gfrnn_core.zonal.zonal_basis import ZonalBasis
from gfrnn_core.zonal.zonal_network import Stage, ZonalNetwork

__all__ = [
    "LatitudeFunctions",
    "Stage",
    "ZonalBasis",
    "ZonalNetwork",
    "assemble_stage",
    "column_sizes",
    "column_squares",
    "row_factors",
    "solve_stage",
    "solve_wavenumber",
]
