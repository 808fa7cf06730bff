"""A vision-language model and its processor, from a folder or the local hub cache; whole, or quantized by bitsandbytes."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig
from transformers.utils import cached_file

from arr_rpo import ranks
from arr_rpo.judge.local.qwen_processors import PROCESSORS
from arr_rpo.types import UserError

_WEIGHTS = Path(__file__).parents[2] / "shapes" / "weights"
EMBEDDED = {"shapes": _WEIGHTS / "judge", "shapes_tastes": _WEIGHTS / "judge_tastes"}
LOADS = ("none", "int8", "nf4")


def load_model(checkpoint: str, dtype: str, device: str, load: str) -> tuple[Any, Any]:
    """The frozen model, in evaluation mode on `device`, and its processor.

    device: as torch names it; `auto` is this process's GPU, or the CPU where there is none.
    load: `none`; `int8` (arXiv 2208.07339) or `nf4` (arXiv 2305.14314) for the weights of linear layers.

    Raises:
        UserError: there is no such model, or it cannot be loaded like this.
    """
    source = str(EMBEDDED.get(checkpoint, checkpoint))
    device = ranks.device(device)
    how = {} if load == "none" else {"quantization_config": _quantized(load, dtype), "device_map": {"": device}}
    try:
        model = AutoModelForImageTextToText.from_pretrained(source, dtype=getattr(torch, dtype), local_files_only=True, **how)
        model = model if how else model.to(device)
        processor = PROCESSORS.get(model.config.model_type, AutoProcessor).from_pretrained(source, local_files_only=True)
    except Exception as error:
        raise UserError(
            f"judge.model.checkpoint={checkpoint!r}: no readable image-text-to-text model in {source}, or none that loads with "
            f"load={load} on {device} ({type(error).__name__}: {error}). Give a model folder, download the checkpoint into the "
            "local cache first (`hf download ...`), set judge.model.device=cpu or load=none, or restore the embedded weights "
            "with `git checkout -- src/arr_rpo/shapes/weights`."
        ) from error
    processor.tokenizer.padding_side = "left"
    return model.requires_grad_(False).eval(), processor


def weights_folder(name: str) -> Path:
    """Where the weights of a model folder or of a hub id in the local cache lie."""
    path = Path(name)
    return path if path.is_dir() else Path(cached_file(name, "config.json", local_files_only=True)).parent


def _quantized(load: str, dtype: str) -> BitsAndBytesConfig:
    if load not in LOADS:
        raise UserError(f"judge.model.load={load!r} is none of {', '.join(LOADS)}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"judge.model.load={load} needs bitsandbytes: `pip install bitsandbytes`, or set judge.model.load=none")
    if load == "int8":  # it computes in float16, and says so in a line a matrix product
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
