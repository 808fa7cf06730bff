"""A pipeline without weights: all its components on torch's meta device, built from configurations alone."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from huggingface_hub import try_to_load_from_cache
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from arr_rpo.policy.live_bytes import META
from arr_rpo.policy.loading import EMBEDDED, component_folder
from arr_rpo.policy.scheduler import PolicyScheduler
from arr_rpo.types import UserError

ARCHITECTURES = Path(__file__).parent / "architectures"
PROMPT_SHAPES = Path(__file__).parent / "prompt_shapes.json"


@dataclass(frozen=True)
class Architecture:
    """What a pipeline is made of.

    source: where that was read. pipeline: its class in diffusers. components: name -> ("library.Class", its config).
    arguments: of the pipeline's constructor, besides components.
    """

    source: str
    pipeline: str
    components: Mapping[str, tuple[str, Mapping[str, Any]]]
    arguments: Mapping[str, Any]


class CpuTimesteps(PolicyScheduler):
    """Keeps its timesteps where they have values: some pipelines compute with them."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: list[float] | None = None,
        mu: float | None = None,
        timesteps: list[float] | None = None,
    ) -> None:
        super().set_timesteps(num_inference_steps, "cpu", sigmas, mu, timesteps)


def read_architecture(checkpoint: str) -> Architecture:
    """From the checkpoint's folder, the local hub cache, or the descriptions in `architectures/`, whichever is there first.

    Raises:
        UserError: none of them is.
    """
    folder = Path(EMBEDDED.get(checkpoint, checkpoint))
    if not folder.is_dir() and isinstance(cached := _cached(checkpoint), str):
        folder = Path(cached).parent
    if (folder / "model_index.json").is_file():
        return _of_folder(folder)
    for path in sorted(ARCHITECTURES.glob("*.json")):
        described = json.loads(path.read_text())
        if checkpoint in described["checkpoints"]:
            components = {name: (part["class"], part["config"]) for name, part in described["components"].items()}
            return Architecture(f"architectures/{path.name}", described["pipeline"], components, described["arguments"])
    raise UserError(
        f"policy.checkpoint={checkpoint!r}: no such pipeline folder, not in the local hub cache, and not described in "
        f'{ARCHITECTURES}. Fetch its configurations (some kilobytes): hf download {checkpoint} --include "*.json"'
    )


def skeleton(architecture: Architecture, dtype: torch.dtype) -> Any:
    """The pipeline in evaluation mode, on the meta device, with our scheduler. It has no tokenizers.

    Raises:
        UserError: the installed libraries cannot build it.
    """
    try:
        parts = {name: _component(path, config, dtype) for name, (path, config) in architecture.components.items()}
        pipeline = getattr(diffusers, architecture.pipeline)
        wanted = inspect.signature(pipeline.__init__).parameters
        missing = {name: None for name, p in wanted.items() if p.default is p.empty and name != "self" and name not in parts}
        pipe = pipeline(**{**missing, **parts, **architecture.arguments, "scheduler": CpuTimesteps()})
        pipe.transformer.register_forward_pre_hook(_inputs_to_meta, with_kwargs=True)
    except Exception as error:
        raise UserError(
            f"{architecture.source} describes no pipeline that can be built ({type(error).__name__}: {error}). If "
            'configurations are missing there, fetch them: hf download <checkpoint> --include "*.json"'
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call_arguments(pipe: Any, call: Mapping[str, Any], prompt_tokens: int | None, n: int) -> dict[str, Any]:
    """Of the pipeline's call for n candidates: `call`, with embeddings of prompts in place of prompts.

    `prompt_shapes.json` has for each class of pipeline the shapes of its embeddings: sums of numbers, "batch", "tokens" and
    attributes of the pipeline (without "batch" they are a list, one a candidate); whether they have a negative version always,
    or only if a negative prompt is given; and whether it edits a picture, which is taken to have the size of the result.
    """
    described = json.loads(PROMPT_SHAPES.read_text()).get(type(pipe).__name__)
    if described is None:
        raise UserError(
            f"{type(pipe).__name__} cannot be planned: the shapes of its prompt embeddings are not known, or it takes none. "
            f"{PROMPT_SHAPES} has those that are; docs/models.md says which policies can be planned"
        )
    arguments = dict(call)
    known = inspect.signature(type(pipe).__call__).parameters
    default = known["max_sequence_length"].default if "max_sequence_length" in known else None
    numbers = {"batch": n, "tokens": prompt_tokens or call.get("max_sequence_length", default) or 512}
    given = arguments.get("negative_prompt") is not None
    if "negative_prompt" in known:
        arguments["negative_prompt"] = None
    prefixes = ["", "negative_"] if given or described["negative"] == "always" else [""]
    for name, shape in described["shapes"].items():
        sizes = [sum(_number(pipe, numbers, term) for term in str(size).split("+")) for size in shape]
        for prefix in prefixes:
            rows = [torch.empty(sizes, dtype=pipe.transformer.dtype, device=META) for _ in range(1 if "batch" in shape else n)]
            arguments[prefix + name] = rows[0] if "batch" in shape else rows
    if described.get("edits"):
        picture = Image.new("RGB", (call.get("width", 1024), call.get("height", 1024)))
        arguments["image"] = [picture] * n if n > 1 else picture
    return arguments


def _number(pipe: Any, numbers: Mapping[str, int], term: str) -> int:
    """A number, one of `numbers`, or an attribute of the pipeline."""
    if term in numbers:
        return numbers[term]
    return int(term) if term.isdigit() else int(functools.reduce(getattr, term.split("."), pipe))


def _cached(checkpoint: str) -> Any:
    try:
        return try_to_load_from_cache(checkpoint, "model_index.json")
    except ValueError:  # no hub id: a path that is not there
        return None


def _of_folder(folder: Path) -> Architecture:
    index = json.loads((folder / "model_index.json").read_text())
    components: dict[str, tuple[str, Mapping[str, Any]]] = {}
    arguments: dict[str, Any] = {}
    for name, value in index.items():
        if isinstance(value, list):  # [library, class]; those without a config.json have no weights
            if (config := component_folder(folder, name) / "config.json").is_file():
                components[name] = (f"{value[0]}.{value[1]}", json.loads(config.read_text()))
        elif not name.startswith("_"):
            arguments[name] = value
    return Architecture(str(folder), index["_class_name"], components, arguments)


def _component(path: str, config: Mapping[str, Any], dtype: torch.dtype) -> nn.Module:
    library, name = path.split(".")
    model: Any = getattr(importlib.import_module(library), name)
    with META:
        module = model.from_config(config) if library == "diffusers" else model(model.config_class.from_dict(dict(config)))
    module.requires_grad_(False).eval()
    nn.Module.to(module, dtype)  # diffusers' own `to` warns of models that are not among these
    return cast("nn.Module", module)


def _inputs_to_meta(module: nn.Module, args: Any, kwargs: Any) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.to(META), (args, kwargs))
