"""How a policy explores: the stochastic sampler of its rollouts. Measures and deployment take the ODE, whatever stands here."""

from __future__ import annotations

from dataclasses import dataclass

from arr_rpo.formulas.dynamics import Dynamics
from arr_rpo.formulas.windows import Window


@dataclass(frozen=True)
class Sampler:
    """Every value stands in `configs/sampler`.

    dynamics: the stochastic step (`formulas.dynamics`).
    eta: its noise level; 0 makes every step the ODE's.
    window: which steps are stochastic (`formulas.windows`).
    shared_noise: whether the candidates of a group start from the same noise.
    """

    dynamics: Dynamics
    eta: float
    window: Window
    shared_noise: bool
