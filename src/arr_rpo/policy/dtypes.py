"""In which numbers a policy may compute."""

from __future__ import annotations

import torch

from arr_rpo.types import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def policy_dtype(name: str) -> torch.dtype:
    """torch's dtype of `policy.dtype`.

    Raises:
        UserError: nothing is trained in it.
    """
    if name == "float16":  # small gradients become 0 in it, and nothing here scales the loss
        raise UserError("policy.dtype=float16 trains without loss scaling: take bfloat16 (or float32)")
    if name not in DTYPES:
        raise UserError(f"policy.dtype={name}: known are {', '.join(DTYPES)}")
    return DTYPES[name]
