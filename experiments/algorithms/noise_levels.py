"""Standard deviation of the latent over the scheduled noise level, after each stochastic step, for one picture as data.

With one picture at 0 the latent is noise and nothing else, so a sampler that keeps to the schedule has a latent of standard
deviation sigma at every step. The exact velocity is x / sigma and every step is linear: the numbers are exact, nothing is
sampled.

    python experiments/algorithms/noise_levels.py   # prints the table and writes noise_levels.png beside this file
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import torch

from arr_rpo.formulas.dynamics import Dynamics, cps, dance_sde, flow_sde

SAMPLERS: dict[str, tuple[Dynamics, float]] = {
    "Flow-GRPO's SDE, eta 0.7": (flow_sde, 0.7),
    "DanceGRPO's SDE, eta 0.3": (dance_sde, 0.3),
    "DanceGRPO's SDE, eta 0.7": (dance_sde, 0.7),
    "CPS, eta 0.7": (cps, 0.7),
}


def ratios(dynamics: Dynamics, eta: float, sigmas: list[float]) -> list[float]:
    """std / sigma after each step of a schedule that starts at 1."""
    one, std, found = torch.tensor(1.0, dtype=torch.float64), 1.0, []
    for sigma, following in itertools.pairwise(sigmas):
        gain, fresh = dynamics(one, one / sigma, torch.tensor(sigma), torch.tensor(following), eta)
        std = math.hypot(float(gain) * std, fresh)
        found.append(std / following)
    return found


def main() -> None:
    steps, shift = 8, 4.0  # the embedded policy's schedule, without its last, deterministic step
    sigmas = [shift * s / (1 + (shift - 1) * s) for s in (1 - i / steps for i in range(steps))]
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    print("| sampler | " + " | ".join(f"sigma {sigma:.2f}" for sigma in sigmas[1:]) + " |")
    print("|---" * steps + "|")
    for name, (dynamics, eta) in SAMPLERS.items():
        found = ratios(dynamics, eta, sigmas)
        print(f"| {name} | " + " | ".join(f"{ratio:.3f}" for ratio in found) + " |")
        axes.plot(sigmas[1:], found, marker="o", label=name)
    axes.invert_xaxis()
    axes.set(xlabel="scheduled noise level (sigma)", ylabel="std of the latent / sigma")
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.legend(frameon=False)
    figure.savefig(Path(__file__).with_name("noise_levels.png"), dpi=120)


if __name__ == "__main__":
    main()
