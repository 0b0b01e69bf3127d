"""Dynamical systems that serve as the truth in tests, cases and nature runs."""

from gfrnn_core.systems.integration import integrate, runge_kutta_step, trusted_time
from gfrnn_core.systems.kuramoto_sivashinsky import (
    KURAMOTO_SIVASHINSKY_LYAPUNOV_EXPONENT,
    KuramotoSivashinsky,
)
from gfrnn_core.systems.mackey_glass import MACKEY_GLASS_LYAPUNOV_EXPONENT, MackeyGlass
from gfrnn_core.systems.ordinary_systems import (
    LORENZ63,
    LORENZ63_LYAPUNOV_EXPONENT,
    LORENZ96,
    LORENZ96_LYAPUNOV_EXPONENT,
    ROESSLER,
    ROESSLER_LYAPUNOV_EXPONENT,
    VAN_DER_POL,
    System,
    lorenz63_tendency,
    lorenz96,
    lorenz96_tendency,
    roessler_tendency,
    van_der_pol_tendency,
)
from gfrnn_core.systems.quasigeostrophic import TwoLayerQG

__all__ = [
    "KURAMOTO_SIVASHINSKY_LYAPUNOV_EXPONENT",
    "LORENZ63",
    "LORENZ63_LYAPUNOV_EXPONENT",
    "LORENZ96",
    "LORENZ96_LYAPUNOV_EXPONENT",
    "MACKEY_GLASS_LYAPUNOV_EXPONENT",
    "ROESSLER",
    "ROESSLER_LYAPUNOV_EXPONENT",
    "VAN_DER_POL",
    "KuramotoSivashinsky",
    "MackeyGlass",
    "System",
    "TwoLayerQG",
    "integrate",
    "lorenz63_tendency",
    "lorenz96",
    "lorenz96_tendency",
    "roessler_tendency",
    "runge_kutta_step",
    "trusted_time",
    "van_der_pol_tendency",
]
