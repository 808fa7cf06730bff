"""What other programs load, each written from the LoRA folder of a run (docs/export.md)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file

from arr_rpo.export.kohya_flux import kohya_tensors
from arr_rpo.export.lora_file import PREFIX, of_a_pipeline, read_lora
from arr_rpo.policy.adapter import as_readable_as_others
from arr_rpo.policy.dtypes import policy_dtype
from arr_rpo.policy.loading import EMBEDDED, load_pipeline
from arr_rpo.types import UserError

HEADER = {"format": "pt"}  # no configuration in it: what is in the tensors is all


class Format(Protocol):
    """name: as on the command line. usage: how it is loaded, for the card; a template of `base`."""

    name: str
    usage: str

    def write(self, lora: Path, policy: Mapping[str, Any], folder: Path) -> None:
        """Writes a run's LoRA folder, trained on `policy` (its config), into `folder`.

        Raises:
            UserError: this LoRA or this policy cannot be written so.
        """


class Diffusers:
    """As it was saved: for the stock pipeline's `load_lora_weights`."""

    name = "diffusers"
    usage_of_transformer = """\
```python
import torch
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{base}", torch_dtype=torch.bfloat16)
pipe.transformer.load_lora_adapter(".", prefix=None, use_safetensors=True)
```
"""  # of a pipeline that loads none itself
    usage = """\
```python
import torch
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{base}", torch_dtype=torch.bfloat16)
pipe.load_lora_weights(".")
```
"""

    def write(self, lora: Path, policy: Mapping[str, Any], folder: Path) -> None:
        shutil.copytree(lora, folder, dirs_exist_ok=True)
        if not of_a_pipeline(lora):
            self.usage = self.usage_of_transformer


class ComfyUI:
    """diffusers' names with scales folded in, and no alpha.

    ComfyUI (comfy/lora.py, comfy/weight_adapter/lora.py) maps `transformer.<layer>` for the models that it knows, takes
    `lora_A` and `lora_B` as factors and `<layer>.alpha` over the rank as their scale, 1 where there is none. It reads no
    header, so that diffusers' own files of alpha / rank = 2 run at half strength there (Comfy-Org/ComfyUI#12191). diffusers,
    too, takes a scale of 1 where neither is there, and refuses `.alpha` tensors of all models but a few.
    """

    name = "comfyui"
    file = "lora_comfyui.safetensors"
    usage = """\
Put `lora_comfyui.safetensors` into ComfyUI's `models/loras` and take the node LoraLoaderModelOnly, at strength 1.
"""

    def write(self, lora: Path, policy: Mapping[str, Any], folder: Path) -> None:
        tensors = {}
        for layer, factors in read_lora(lora).layers.items():
            folded = factors.folded()
            tensors[f"{PREFIX}{layer}.lora_A.weight"] = folded.down
            tensors[f"{PREFIX}{layer}.lora_B.weight"] = folded.up
        _save(tensors, folder / self.file)


class Kohya:
    """The names of kohya's scripts, for FLUX.1 and FLUX.1-Kontext (`kohya_flux`)."""

    name = "kohya"
    file = "lora_kohya.safetensors"
    usage = """\
`lora_kohya.safetensors` has the key names of kohya's scripts: load it at strength 1 in ComfyUI or Forge, or give it to
`networks/flux_merge_lora.py`.
"""

    def write(self, lora: Path, policy: Mapping[str, Any], folder: Path) -> None:
        config = _transformer_config(policy)
        if config.get("_class_name") != "FluxTransformer2DModel":
            raise UserError(
                f"format=kohya writes LoRAs of FLUX.1, and this is one of {config.get('_class_name')}: take format=comfyui"
            )
        width = config["num_attention_heads"] * config["attention_head_dim"]
        _save(kohya_tensors(read_lora(lora).layers, width, 4 * width), folder / self.file)


class Peft:
    """A folder for `peft.PeftModel.from_pretrained(transformer, folder)`."""

    name = "peft"
    usage = """\
```python
import torch
from diffusers import DiffusionPipeline
from peft import PeftModel

pipe = DiffusionPipeline.from_pretrained("{base}", torch_dtype=torch.bfloat16)
pipe.transformer = PeftModel.from_pretrained(pipe.transformer, ".")
```
"""

    def write(self, lora: Path, policy: Mapping[str, Any], folder: Path) -> None:
        from peft import LoraConfig

        found = read_lora(lora)
        known = {key: value for key, value in found.peft.items() if key in LoraConfig.__dataclass_fields__}
        config = LoraConfig(**{**known, "base_model_name_or_path": policy["checkpoint"], "inference_mode": True})
        config.save_pretrained(folder)
        tensors = {}
        for layer, factors in found.layers.items():
            tensors[f"base_model.model.{layer}.lora_A.weight"] = factors.down
            tensors[f"base_model.model.{layer}.lora_B.weight"] = factors.up
        _save(tensors, folder / "adapter_model.safetensors")


class Merged:
    """A pipeline folder, with the LoRA's product added to the weights of its base in float32, and rounded once to the policy's
    dtype: in bfloat16 a change of less than 1/512 of a weight is lost."""

    name = "merged"
    usage = """\
```python
import torch
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained(".", torch_dtype=torch.bfloat16)
```
"""

    def write(self, lora: Path, policy: Mapping[str, Any], folder: Path) -> None:
        from arr_rpo.policy.pictures_only import pictures_only

        pipe = load_pipeline(policy["checkpoint"], policy_dtype(policy["dtype"]), policy.get("load") or {})
        with torch.no_grad():
            for name, factors in read_lora(lora).layers.items():
                weight = pipe.transformer.get_submodule(name).weight
                if not weight.is_floating_point():
                    raise UserError(
                        f"format=merged: {name} was loaded quantised (policy.load), where there is nothing to add to. Take "
                        "another format, which loads beside the quantised base"
                    )
                weight.copy_(weight.float() + factors.scale * factors.up.float() @ factors.down.float())
        with torch.no_grad(), pictures_only():
            pipe.save_pretrained(folder)
        as_readable_as_others(folder)


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=HEADER)
    as_readable_as_others(path.parent)


def _transformer_config(policy: Mapping[str, Any]) -> Mapping[str, Any]:
    from diffusers import FluxTransformer2DModel

    source = str(EMBEDDED.get(policy["checkpoint"], policy["checkpoint"]))
    try:
        config: Mapping[str, Any] = FluxTransformer2DModel.load_config(source, subfolder="transformer", local_files_only=True)
    except OSError as error:
        raise UserError(f"policy.checkpoint={source}: its transformer/config.json cannot be read ({error})") from error
    return config
