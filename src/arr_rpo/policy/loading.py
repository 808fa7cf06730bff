"""A pipeline from a folder or from the local hub cache, and our scheduler with its settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from torch import nn

from arr_rpo.policy.dtypes import policy_dtype
from arr_rpo.policy.pictures_only import pictures_only
from arr_rpo.policy.scheduler import PolicyScheduler
from arr_rpo.types import UserError

WEIGHTS = Path(__file__).parents[1] / "shapes" / "weights"
SHAPES_POLICY = WEIGHTS / "policy"
EMBEDDED = {"shapes": SHAPES_POLICY, "shapes_edit": WEIGHTS / "edit_policy"}  # they have one VAE, stored with the first


def load_pipeline(checkpoint: str, dtype: torch.dtype, load: Mapping[str, Any]) -> Any:
    """The pipeline of a folder or of the local hub cache, with a clear error where there is none."""
    source = str(EMBEDDED.get(checkpoint, checkpoint))
    try:
        shared = {"vae": _embedded_vae(dtype)} if checkpoint in EMBEDDED else {}
        with pictures_only():
            return DiffusionPipeline.from_pretrained(source, dtype=dtype, local_files_only=True, **shared, **load)
    except Exception as error:
        raise UserError(
            f"policy.checkpoint={checkpoint!r}: no readable diffusers pipeline in {source} ({type(error).__name__}: {error}). "
            "Give a pipeline folder, download the checkpoint into the local cache first (`hf download ...`), take "
            "policy/load=plain where there is no GPU, or restore the embedded weights with "
            "`git checkout -- src/arr_rpo/shapes/weights`."
        ) from error


def frozen_pipeline(
    checkpoint: str,
    dtype: torch.dtype,
    load: Mapping[str, Any],
    after_load: Sequence[Callable[[Any], None]],
    scheduler: Mapping[str, Any],
) -> Any:
    """A pipeline with our scheduler, of which nothing is trained yet; see `PipelinePolicy`, whose arguments these are.

    It turns cuDNN's attention off for the whole process: its gradients are NaN in bfloat16 on Hopper (pytorch/pytorch#196678;
    experiments/gpu). Other kernels take over.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
    pipe = load_pipeline(checkpoint, dtype, load)
    for mend in after_load:
        mend(pipe)
    pipe.scheduler = flow_scheduler(pipe, scheduler)
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False).eval()
    return pipe


def single_file_transformer(file: str, checkpoint: str, dtype: str) -> Any:
    """The transformer of a pipeline with the weights of one file, as ComfyUI and model sites have them; what it is, and all
    other components, are those of `checkpoint`.

    Raises:
        UserError: there is no such file, it is none of this transformer, or diffusers has no reader of single files for it.
    """
    source = str(EMBEDDED.get(checkpoint, checkpoint))
    told = f"policy.load.transformer.file={file}"
    if not Path(file).is_file():
        raise UserError(f"{told}: no such file")
    try:
        name = DiffusionPipeline.load_config(source, local_files_only=True)["transformer"][1]
        model = getattr(diffusers, name)
        if not hasattr(model, "from_single_file"):
            raise UserError(f"{told}: diffusers reads no single files of {name}")
        return model.from_single_file(
            file, config=source, subfolder="transformer", torch_dtype=policy_dtype(dtype), local_files_only=True
        )
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise UserError(f"{told}: not read as the transformer of {checkpoint} ({type(error).__name__}: {error})") from error


def component_folder(pipeline: Path, name: str) -> Path:
    """Where a component of a pipeline folder lies."""
    return SHAPES_POLICY / name if name == "vae" and pipeline in EMBEDDED.values() else pipeline / name


def _embedded_vae(dtype: torch.dtype) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(SHAPES_POLICY, subfolder="vae", dtype=dtype, local_files_only=True)


def flow_scheduler(pipe: Any, overrides: Mapping[str, Any]) -> PolicyScheduler:
    """Our scheduler with the settings of the pipeline's own.

    Raises:
        UserError: the pipeline's scheduler is not one of flow matching, or has no such setting.
    """
    config = pipe.scheduler.config
    flow = "FlowMatch" in type(pipe.scheduler).__name__ or config.get("prediction_type") == "flow_prediction"
    if not flow:
        raise UserError(
            f"{type(pipe).__name__} denoises with {type(pipe.scheduler).__name__}, which is not flow matching: this program "
            "trains flow-matching pipelines (docs/models.md has a list)"
        )
    known = set(PolicyScheduler._get_init_keys(PolicyScheduler))
    if unknown := sorted(set(overrides) - known):
        raise UserError(f"policy.scheduler: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    scheduler: PolicyScheduler = PolicyScheduler.from_config(config, **overrides)
    return scheduler


def compile_blocks(transformer: Any) -> None:
    """Compiles the blocks that the model names as repeated, at their first call.

    Raises:
        UserError: there is nothing to compile, or nothing to compile with.
    """
    name = type(transformer).__name__
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise UserError(
            "policy.compile=true: torch.compile found no C++ compiler (g++ or clang++): install one, or set it to false"
        )
    try:
        transformer.compile_repeated_blocks()
    except (AttributeError, ValueError) as error:
        raise UserError(f"policy.compile=true: {name} cannot be compiled by its blocks ({error}); set it to false") from error
