"""Objectives on the forward process: a finished picture's latent x_0 is noised again, and the model's velocity there is
compared.

They need no log-probability, and so no stochastic sampler. Velocities and latents are (B, ...), errors (B,) and averaged
over the latent's dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class ForwardLoss(NamedTuple):
    """loss: scalar to minimise; log: detached scalars, by name."""

    loss: Tensor
    log: dict[str, Tensor]


def noised(x_0: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """x_t = (1 - sigma) x_0 + sigma noise; the velocity there is noise - x_0 (rectified flow, arXiv 2209.03003)."""
    return (1 - sigma) * x_0 + sigma * noise


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """(B,) mean over dimensions of the squared difference, in float32."""
    return ((prediction.float() - target.float()) ** 2).flatten(1).mean(1)


def flow_dpo(
    winner_error_B: Tensor, winner_reference_B: Tensor, loser_error_B: Tensor, loser_reference_B: Tensor, beta: float
) -> ForwardLoss:
    """Flow-DPO (arXiv 2501.13918; Diffusion-DPO, arXiv 2311.12908, for a flow): the winner's velocity error must fall
    more, against the reference model's, than the loser's.

        L = -mean log sigmoid(-beta/2 [(e_w - e_w,ref) - (e_l - e_l,ref)])

    with each pair's errors (`squared_error`) at the same sigma and noise. beta is in units of 1 / error.
    """
    margin = (winner_error_B - winner_reference_B) - (loser_error_B - loser_reference_B)
    loss = -logsigmoid(-beta / 2 * margin).mean()
    return ForwardLoss(
        loss, {"policy/implicit_accuracy": (margin.detach() < 0).float().mean(), "policy/margin": margin.detach().mean()}
    )


def optimality(advantages_B: Tensor, scale: float) -> Tensor:
    """(B,) probability that a candidate is a good one: r = 1/2 + clip(A / scale, -1, 1) / 2 (arXiv 2509.16117)."""
    return 0.5 + 0.5 * (advantages_B / scale).clamp(-1, 1)


def diffusion_nft(
    x_t: Tensor, sigma: float, x_0: Tensor, velocity: Tensor, old_velocity: Tensor, optimality_B: Tensor, beta: float
) -> ForwardLoss:
    """DiffusionNFT (arXiv 2509.16117): a positive and an implicit negative policy, both made of one network.

        v+ = (1 - beta) v_old + beta v,    v- = (1 + beta) v_old - beta v
        L = mean [r |x_0(v+) - x_0|^2 + (1 - r) |x_0(v-) - x_0|^2] / beta,    x_0(v) = x_t - sigma v

    each square divided by its own mean absolute error (the paper's adaptive weighting, no gradient through it). Good candidates
    (r = 1) pull the network to what they are, bad ones (r = 0) push it away, relative to the policy that drew them.
    """
    old = old_velocity.detach()
    good = _adaptive(x_t - sigma * ((1 - beta) * old + beta * velocity), x_0)
    bad = _adaptive(x_t - sigma * ((1 + beta) * old - beta * velocity), x_0)
    loss = ((optimality_B * good + (1 - optimality_B) * bad) / beta).mean()
    return ForwardLoss(loss, {"policy/old_deviation": squared_error(velocity.detach(), old).mean()})


def _adaptive(prediction: Tensor, x_0: Tensor) -> Tensor:
    error = (prediction.float() - x_0.float()).flatten(1)
    with torch.no_grad():
        scale = error.abs().mean(1).clamp(min=1e-5)
    return (error**2).mean(1) / scale
