"""Nonlinear features of fields at the points of a grid: advection, products, activations."""

from gfrnn_core.local_features.grid_features import BASE_FIELDS, GridFeatures
from gfrnn_core.local_features.lattice import Lattice
from gfrnn_core.local_features.lattice_features import LatticeFeatures

__all__ = ["BASE_FIELDS", "GridFeatures", "Lattice", "LatticeFeatures"]
