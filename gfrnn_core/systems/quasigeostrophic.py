"""Two-layer quasi-geostrophic weather on a beta-plane channel.

The model of Phillips (1956): potential vorticity in two layers of equal depth,

    dq_i/dt + J(psi_i, q_i) + beta dpsi_i/dx
        = -/+ F (S_eq - S) / tau_r  -  delta_i2 lap(psi_2) / tau_d  -  nu (-lap)^p q_i
    q_1 = lap psi_1 - F (psi_1 - psi_2),    q_2 = lap psi_2 + F (psi_1 - psi_2),

with S = psi_1 - psi_2 (the temperature, up to a factor) relaxed to that of an unstable westerly
jet, Ekman drag below, and hyperdiffusion; minus is the upper layer. F = 1 / (2 L_d^2), L_d the
deformation radius of the baroclinic mode.

Walls. Waves (wavenumber k > 0) are sines in y, so psi, and with it v, vanishes at the walls. The
zonal mean is a cosine series, so that its wind vanishes there: with no flow through a wall and no
eddies on it, the mean momentum equation at the wall has nothing that could accelerate the mean
wind (Phillips' condition). The constant of the series is left out, so each layer keeps its mass.

Numerics. Galerkin in y, Fourier in x without aliasing. The advection is in weak form,
<phi_x, u q> + <phi_y, v q>, and all integrals are exact (see `quasigeostrophic_steps`), so that
advection conserves energy and enstrophy to rounding. Time steps are classical Runge-Kutta of order
four.

Sources: Phillips (1956), Q. J. R. Meteorol. Soc. 82, 123-164; Vallis (2017), Atmospheric and
Oceanic Fluid Dynamics, 2nd ed., sections 5.3, 9.5 and 12.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gfrnn_core.systems.quasigeostrophic_steps import ChannelEquations, ChannelSteps

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

EARTH_RADIUS = 6.371e6
"""Mean radius of the Earth in m."""
EARTH_ROTATION = 7.2921e-5
"""Angular velocity of the Earth in s-1."""

_DAY = 86400.0
_ROOT2 = 2.0**0.5


@dataclass(frozen=True)
class TwoLayerQG:
    """Two-layer quasi-geostrophic channel model, with the equations of the module's docstring.

    A state is the potential vorticity without beta*y as coefficients: complex128, shape
    (..., 2, modes_y, modes_x + 1), upper layer first, s-1. Entry [n - 1, k] multiplies
    ``sqrt(2) sin(n pi y / width) exp(2 pi i k x / length)``, with a cosine in y for k = 0, whose
    coefficients are real. Leading axes hold independent members.

    Infinite time scales switch forcing, drag or diffusion off.

    Parameters
    ----------
    modes_x, modes_y : int
        Largest zonal wavenumber and number of meridional modes.
    longitudes, latitudes : int
        Points of the output grid; also ``longitudes >= 3 modes_x + 1``, the grid without aliasing.
    centre_latitude, width_degrees : float
        The channel's centre and width in degrees of latitude.
    deformation_radius : float
        L_d of the baroclinic mode in m.
    jet_shear, jet_width : float
        The relaxation jet: shear between the layers at its core in m s-1, and the e-folding half
        width in m of the Gaussian, tapered by a squared sine so that it vanishes at the walls.
    relaxation_days, drag_days : float
        Time scales of the thermal relaxation and of the Ekman drag in days.
    diffusion_hours, diffusion_order : float, int
        Damping time of the smallest scale in hours, and the power p of the Laplacian.
    dt : float
        Time step in s. Fourth-order Runge-Kutta is unstable if ``k_max * wind * dt`` is above about
        2.8 in a large part of the channel; the default model is stable at 9600 s, not at 10800 s.
        Over five days, steps of 7200 s change a forecast by 0.1 % of what changes in that time.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """

    modes_x: int = 21
    modes_y: int = 16
    longitudes: int = 64
    latitudes: int = 32
    centre_latitude: float = 45.0
    width_degrees: float = 54.0
    deformation_radius: float = 450e3
    jet_shear: float = 40.0
    jet_width: float = 1.6e6
    relaxation_days: float = 15.0
    drag_days: float = 2.0
    diffusion_hours: float = 3.0
    diffusion_order: int = 4
    dt: float = 7200.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("jet_shear", "centre_latitude") and not value > 0:
                raise ValueError(f"{field.name}: {value!r} is not a positive number")
        if self.longitudes < 3 * self.modes_x + 1:
            raise ValueError(
                f"longitudes: {self.longitudes} points alias; modes_x={self.modes_x} needs at "
                f"least {3 * self.modes_x + 1}"
            )
        edge = abs(self.centre_latitude) + self.width_degrees / 2
        if edge > 90:
            raise ValueError(f"width_degrees: the channel reaches {edge} degrees, at most 90")

    @property
    def coriolis(self) -> float:
        """Coriolis parameter f0 at the centre, s-1."""
        return float(2 * EARTH_ROTATION * np.sin(np.radians(self.centre_latitude)))

    @property
    def beta(self) -> float:
        """Meridional gradient of the Coriolis parameter at the centre, m-1 s-1."""
        return float(2 * EARTH_ROTATION * np.cos(np.radians(self.centre_latitude)) / EARTH_RADIUS)

    @property
    def length(self) -> float:
        """Length of the channel in m: the circle of its central latitude."""
        return float(2 * np.pi * EARTH_RADIUS * np.cos(np.radians(self.centre_latitude)))

    @property
    def width(self) -> float:
        """Distance of the walls in m."""
        return float(EARTH_RADIUS * np.radians(self.width_degrees))

    @property
    def longitude(self) -> FloatArray:
        """Output longitudes in degrees east, shape (longitudes,), from 0."""
        return np.arange(self.longitudes, dtype=np.float64) * (360.0 / self.longitudes)

    @property
    def latitude(self) -> FloatArray:
        """Output latitudes in degrees north, ascending, shape (latitudes,): cell centres."""
        cells = (np.arange(self.latitudes, dtype=np.float64) + 0.5) / self.latitudes - 0.5
        return self.centre_latitude + cells * self.width_degrees

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """Shape of the state of one member."""
        return (2, self.modes_y, self.modes_x + 1)

    @cached_property
    def wavenumber_x(self) -> FloatArray:
        """Zonal wavenumbers k in m-1, shape (modes_x + 1,)."""
        return 2 * np.pi * np.arange(self.modes_x + 1, dtype=np.float64) / self.length

    @cached_property
    def wavenumber_y(self) -> FloatArray:
        """Meridional wavenumbers l in m-1, shape (modes_y,)."""
        return np.pi * np.arange(1, self.modes_y + 1, dtype=np.float64) / self.width

    @cached_property
    def laplacian(self) -> FloatArray:
        """The Laplacian's eigenvalues, -(k^2 + l^2) in m-2, shape (modes_y, modes_x + 1)."""
        return -(self.wavenumber_y[:, None] ** 2 + self.wavenumber_x**2)

    @property
    def stretching(self) -> float:
        """F = 1 / (2 L_d^2) in m-2."""
        return 1 / (2 * self.deformation_radius**2)

    def potential_vorticity(self, streamfunction: ComplexArray) -> ComplexArray:
        """Return the state with these streamfunction coefficients (m2 s-1, shape of a state)."""
        shear = self.stretching * (streamfunction[..., 0, :, :] - streamfunction[..., 1, :, :])
        state = self.laplacian * streamfunction
        state[..., 0, :, :] -= shear
        state[..., 1, :, :] += shear
        return state

    def streamfunction(self, state: ComplexArray) -> ComplexArray:
        """Return the streamfunction coefficients of a state, in its shape and basis, in m2 s-1."""
        same, other = self._inverse
        psi = same * state
        psi += other * state[..., ::-1, :, :]
        return psi

    def geopotential(self, state: ComplexArray) -> FloatArray:
        """Return the geopotential anomaly f0 psi of each layer in m2 s-2.

        It is the departure from the mean of the layer over the channel: shape (..., 2, latitudes,
        longitudes).
        """
        psi = self.streamfunction(state)
        y = EARTH_RADIUS * np.radians(self.latitude - self.centre_latitude) + self.width / 2
        phase = np.outer(y, self.wavenumber_y)
        waves = np.matmul(_ROOT2 * np.sin(phase), psi)
        waves[..., 0] = psi[..., 0] @ (_ROOT2 * np.cos(phase)).T
        field: FloatArray = fft.irfft(waves, n=self.longitudes, norm="forward")
        return self.coriolis * field

    def initial(self, seed: int = 0, amplitude: float = 1e4) -> ComplexArray:
        """Return the relaxation jet in the upper layer with random long waves, for one member.

        Parameters
        ----------
        seed : int
            Seed of the random waves; the same seed gives the same weather. Chaos enlarges rounding,
            so another processor or library gives other weather of the same climate after some
            weeks.
        amplitude : float
            Standard deviation of each coefficient of the waves, in m2 s-1.
        """
        rng = np.random.default_rng(seed)
        psi = np.zeros(self.state_shape, np.complex128)
        psi[0, :, 0] = self._jet
        rows, columns = min(8, self.modes_y), min(10, self.modes_x)
        noise = rng.standard_normal((2, 2, rows, columns))
        psi[:, :rows, 1 : columns + 1] = amplitude * (noise[0] + 1j * noise[1])
        return self.potential_vorticity(psi)

    def tendency(self, state: ComplexArray) -> ComplexArray:
        """Return the time derivative of a state in s-2, in its shape."""
        steps = ChannelSteps(self._equations)
        return self._each(steps.tendency, state)

    def step(self, state: ComplexArray, steps: int = 1) -> ComplexArray:
        """Return the state `steps` time steps of ``dt`` later; `state` is not changed."""
        stepper = ChannelSteps(self._equations)
        return self._each(lambda member: stepper.step(member, self.dt, steps), state)

    def _each(
        self, compute: Callable[[ComplexArray], ComplexArray], state: ComplexArray
    ) -> ComplexArray:
        """Compute each member by itself."""
        members = state.reshape(-1, *self.state_shape)
        return np.stack([compute(member) for member in members]).reshape(state.shape)

    def snapshots(self, state: ComplexArray, count: int, every: int = 1) -> Iterator[ComplexArray]:
        """Yield `count` states, the given one first, `every` time steps apart.

        Raises
        ------
        FloatingPointError
            If a state is not finite.
        """
        for number in range(count):
            if number:
                state = self.step(state, every)
            if not np.isfinite(state).all():
                raise FloatingPointError(
                    f"the model blew up within {number * every} steps; dt={self.dt} s is too long "
                    f"for this jet"
                )
            yield state

    def energy(self, state: ComplexArray) -> FloatArray:
        """Return kinetic plus available potential energy per area and layer depth in m2 s-2.

        It is the sum of both layers, shape (...,): -<psi_1 q_1 + psi_2 q_2> / 2, where angle
        brackets are the mean over the channel.
        """
        layers = self._mean_product(self.streamfunction(state), state)
        return np.asarray(-0.5 * layers.sum(axis=-1), np.float64)

    def enstrophy(self, state: ComplexArray) -> FloatArray:
        """Return the potential enstrophy <q_i^2> / 2 of each layer, without beta*y, in s-2.

        The shape is (..., 2). Advection conserves both if beta is zero, otherwise their sum.
        """
        return 0.5 * self._mean_product(state, state)

    def _mean_product(self, a: ComplexArray, b: ComplexArray) -> FloatArray:
        product: FloatArray = (a.conj() * b).real
        total: FloatArray = 2 * product.sum(axis=(-2, -1)) - product[..., 0].sum(axis=-1)
        return total

    @cached_property
    def _jet(self) -> FloatArray:
        """Streamfunction of the relaxation jet's zonal mean, by Gauss-Legendre quadrature."""
        points, weights = np.polynomial.legendre.leggauss(-(-5 * self.modes_y // 2))
        y = (points + 1) / 2 * self.width
        shape = np.exp(-(((y - self.width / 2) / self.jet_width) ** 2))
        wind = self.jet_shear * shape * np.sin(np.pi * y / self.width) ** 2
        sines = _ROOT2 * np.sin(np.outer(self.wavenumber_y, y))
        return np.asarray(sines @ (weights / 2 * wind) / self.wavenumber_y, np.float64)

    @cached_property
    def _inverse(self) -> tuple[FloatArray, FloatArray]:
        barotropic = 1 / self.laplacian
        baroclinic = 1 / (self.laplacian - 2 * self.stretching)
        return (barotropic + baroclinic) / 2, (barotropic - baroclinic) / 2

    @cached_property
    def _linear(self) -> tuple[ComplexArray, ComplexArray]:
        """Return the coefficients of a layer's own and the other layer's state in its tendency."""
        own, cross = self._inverse
        relaxation = self.stretching / (self.relaxation_days * _DAY)
        damping = (self.laplacian / self.laplacian.min()) ** self.diffusion_order
        turning = -1j * self.beta * self.wavenumber_x
        same = np.zeros(self.state_shape, np.complex128)
        other = np.zeros(self.state_shape, np.complex128)
        same += turning * own + relaxation * (own - cross)
        same -= damping / (self.diffusion_hours * 3600.0)
        other += turning * cross - relaxation * (own - cross)
        drag = self.laplacian / (self.drag_days * _DAY)
        same[1] -= drag * own
        other[1] -= drag * cross
        return same, other

    @cached_property
    def _forcing(self) -> FloatArray:
        upper = -self.stretching / (self.relaxation_days * _DAY) * self._jet
        return np.stack([upper, -upper])

    @cached_property
    def _equations(self) -> ChannelEquations:
        return ChannelEquations(
            wavenumber_x=self.wavenumber_x,
            wavenumber_y=self.wavenumber_y,
            inverse=self._inverse,
            linear=self._linear,
            forcing=self._forcing,
        )
