"""What libraries say at the start of each run and no user can act on, silenced where it arises; ours stays to be seen."""

from __future__ import annotations

import logging
import warnings


def quieten() -> None:
    """Call before models are loaded."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    for message in (
        r".*isinstance\(treespec, LeafSpec\).*",  # Lightning and torch 2.13
        r"Found \d+ module\(s\) in eval mode.*",  # frozen parts stay in evaluation mode: it is what replay needs
        r".*FSDP2-wrapped module.*returned a view tensor.*",  # of blocks that return what they split: nobody adds in place
        r".*The `srun` command is available on your system but is not used.*",  # whoever wants it says trainer=ddp
        r".*does not have many workers.*",  # prompts are text
        r".*exclude_modules.* but no modules were excluded.*",  # a pattern for models of several sizes
        r".*Mismatch dtype between input and weight.*rms_norm.*|.*Cannot dispatch to fused implementation.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.distributed", "transformers"):
        for handled in (logging.getLogger(name), *logging.getLogger(name).handlers):
            handled.addFilter(is_of_use)


NOISE = (
    *("GPU available", "TPU available", "HPU available", "`Trainer.fit` stopped"),  # one epoch is over, as it always is
    *("Initializing distributed", "-" * 100),
    "\N{ELECTRIC LIGHT BULB} Tip: For seamless cloud logging",
    "Failed to load CPU gemm_4bit_forward",  # bitsandbytes' faster kernel, from a hub
)


def is_of_use(record: logging.LogRecord) -> bool:
    """Whether a line of Lightning's, transformers' or bitsandbytes' is for the user."""
    said = record.getMessage()
    return not said.startswith(NOISE) and "requires torchvision (not installed); falling back" not in said
