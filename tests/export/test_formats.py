"""Each format read by the program that it is for, or by its rules written anew: pictures of the same strength."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from hydra.utils import instantiate
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn

from arr_rpo.export.kohya_flux import kohya_tensors
from arr_rpo.export.lora_file import Factors, read_lora
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Prompt, UserError
from tests.conftest import configure, make_policy, small_lora

POLICY = {"checkpoint": "shapes", "dtype": "float32"}
PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))
LAYERS = configure(["experiment=t2i_rpo"]).policy.adapter.target_modules  # also of the last layer, and of all fused ones


def trained(layers: list[str], alpha: int = 8) -> PipelinePolicy:
    policy = make_policy(adapter=small_lora(alpha=alpha, target_modules=layers))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.copy_(0.08 * torch.randn(p.shape, generator=generator))
    return policy


def drawn(policy: PipelinePolicy) -> np.ndarray:
    return np.stack([np.asarray(image, float) for image in policy.generate(PROMPTS, seed=5)])


def written(name: str, policy: PipelinePolicy, folder: Path, **changes: str) -> Path:
    policy.adapter.save(folder / "lora")
    out = folder / name
    out.mkdir()
    instantiate(configure([f"format={name}", "run=none"], command="export").format).write(
        folder / "lora", {**POLICY, **changes}, out
    )
    return out


def by_diffusers(file: str) -> Callable[[Path, Any], None]:
    return lambda folder, pipe: pipe.load_lora_weights(folder, **({"weight_name": file} if file else {}))


def by_peft(folder: Path, pipe: FluxPipeline) -> None:
    pipe.transformer = PeftModel.from_pretrained(pipe.transformer, folder)


def by_kohyas_rule(folder: Path, pipe: FluxPipeline) -> None:
    """Adds alpha / rank * up @ down to a model in FLUX.1's own naming, row by row."""
    tensors = load_file(folder / "lora_kohya.safetensors")
    theirs = in_their_naming(pipe.transformer)
    for key in {key.split(".")[0] for key in tensors}:
        down, up, alpha = (tensors.pop(f"{key}.{part}") for part in ("lora_down.weight", "lora_up.weight", "alpha"))
        change, start = float(alpha) / len(down) * up @ down, 0
        for weight in theirs[key.removeprefix("lora_unet_")]:
            weight.data += change[start : start + len(weight)]
            start += len(weight)
        assert start == len(change), key
    assert not tensors


def in_their_naming(model: FluxTransformer2DModel) -> dict[str, list[nn.Parameter]]:
    """The weights that are rows of each layer of theirs, from Black Forest Labs' `flux/modules/layers.py`, by hand."""
    found: dict[str, list[nn.Parameter]] = {
        "txt_in": [model.context_embedder.weight],
        "final_layer_linear": [model.proj_out.weight],
    }
    half = len(model.norm_out.linear.weight) // 2
    scale, shift = model.norm_out.linear.weight.data.split(half)
    found["final_layer_adaLN_modulation_1"] = [nn.Parameter(shift), nn.Parameter(scale)]  # views of the same memory
    for n, block in enumerate(model.transformer_blocks):
        a = block.attn
        for side, parts in (
            ("img", (a.to_q, a.to_k, a.to_v, a.to_out[0], block.ff, block.norm1)),
            ("txt", (a.add_q_proj, a.add_k_proj, a.add_v_proj, a.to_add_out, block.ff_context, block.norm1_context)),
        ):
            q, k, v, out, feed, norm = parts
            name = f"double_blocks_{n}_{side}"
            found[f"{name}_attn_qkv"] = [q.weight, k.weight, v.weight]
            found[f"{name}_attn_proj"] = [out.weight]
            found[f"{name}_mlp_0"], found[f"{name}_mlp_2"] = [feed.net[0].proj.weight], [feed.net[2].weight]
            found[f"{name}_mod_lin"] = [norm.linear.weight]
    for n, block in enumerate(model.single_transformer_blocks):
        a = block.attn
        found[f"single_blocks_{n}_linear1"] = [a.to_q.weight, a.to_k.weight, a.to_v.weight, block.proj_mlp.weight]
        found[f"single_blocks_{n}_linear2"] = [block.proj_out.weight]
        found[f"single_blocks_{n}_modulation_lin"] = [block.norm.linear.weight]
    return found


@pytest.mark.parametrize(
    ("name", "load", "layers"),
    [
        ("diffusers", by_diffusers(""), LAYERS),
        ("comfyui", by_diffusers("lora_comfyui.safetensors"), LAYERS),
        ("kohya", by_kohyas_rule, LAYERS),
        ("kohya", by_kohyas_rule, ["to_q", "to_v"]),  # parts of fused layers
        ("peft", by_peft, LAYERS),
    ],
)
def test_pictures_have_the_same_strength(name: str, load: Any, layers: list[str], tmp_path: Path) -> None:
    policy = trained(list(layers))
    folder = written(name, policy, tmp_path)
    other = make_policy()
    other.pipe.transformer.unload_lora()
    with torch.no_grad():
        load(folder, other.pipe)
    assert np.abs(drawn(policy) - drawn(other)).max() <= 1  # sums of floats in another order
    assert np.abs(drawn(policy) - drawn(make_policy())).mean() > 5


def test_a_merged_pipeline_needs_nothing_more(tmp_path: Path) -> None:
    policy = trained(list(LAYERS))
    folder = written("merged", policy, tmp_path)
    assert "lora" not in " ".join(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"))
    assert np.abs(drawn(policy) - drawn(make_policy(checkpoint=str(folder)))).max() <= 1


def test_merging_rounds_once(tmp_path: Path) -> None:
    """A change of less than half a bit of a bfloat16 weight is not there, and none is rounded on the way to its sum."""
    policy = trained(["to_q"])
    written("merged", policy, tmp_path, dtype="bfloat16")
    merged = load_file(tmp_path / "merged" / "transformer" / "diffusion_pytorch_model.safetensors")
    parameters = policy.adapter.parameters()
    name = next(key.removesuffix(".lora_A.default.weight") for key in parameters if key.endswith(".lora_A.default.weight"))
    a, b = (parameters[f"{name}.{part}.default.weight"].detach() for part in ("lora_A", "lora_B"))
    layer = policy.pipe.transformer.get_submodule(name)
    exact = layer.base_layer.weight.bfloat16().float() + layer.scaling["default"] * b @ a
    assert torch.equal(merged[f"{name}.weight"], exact.bfloat16())


def test_comfyuis_rule_gives_the_whole_change(tmp_path: Path) -> None:
    """comfy/weight_adapter/lora.py: alpha / rank * up @ down of `transformer.<layer>`; without alpha the scale is 1."""
    policy = trained(["to_q", "proj_out"])
    tensors = load_file(written("comfyui", policy, tmp_path) / "lora_comfyui.safetensors")
    parameters = policy.adapter.parameters()
    layers = {key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")}
    assert len(tensors) == 2 * len(layers)
    for layer in layers:
        name = layer.removeprefix("transformer.")
        a, b = (parameters[f"{name}.{part}.default.weight"] for part in ("lora_A", "lora_B"))
        up, down = tensors[f"{layer}.lora_B.weight"], tensors[f"{layer}.lora_A.weight"]
        assert torch.equal(up @ down, 2 * (b @ a))  # 2 is a power of two: exact, to the bit
        assert len(down) == 4


def test_diffusers_reads_kohyas_file_of_full_size(tmp_path: Path) -> None:
    """One double and one single block of FLUX.1-dev's size (its converter has 3072 and 12288 written in)."""
    generator = torch.Generator().manual_seed(0)

    def factors(rows: int, columns: int) -> Factors:
        return Factors(torch.randn(4, columns, generator=generator), torch.randn(rows, 4, generator=generator), 2.0)

    layers = {
        "transformer_blocks.3.attn.to_q": factors(3072, 3072),
        "transformer_blocks.3.attn.to_v": factors(3072, 3072),
        "transformer_blocks.3.attn.add_k_proj": factors(3072, 3072),
        "transformer_blocks.3.ff.net.0.proj": factors(12288, 3072),
        "single_transformer_blocks.7.attn.to_k": factors(3072, 3072),
        "single_transformer_blocks.7.proj_mlp": factors(12288, 3072),
        "single_transformer_blocks.7.proj_out": factors(3072, 15360),
        "norm_out.linear": factors(6144, 3072),
        "proj_out": factors(64, 3072),
    }
    tensors = kohya_tensors(layers, 3072, 12288)
    assert tensors["lora_unet_single_blocks_7_linear1.lora_up.weight"].shape == (3 * 3072 + 12288, 16)
    found: dict[str, Tensor] = FluxPipeline.lora_state_dict(dict(tensors))
    read = {key.removeprefix("transformer."): value for key, value in found.items()}
    for name, one in layers.items():
        change = read.pop(f"{name}.lora_B.weight")[:50] @ read.pop(f"{name}.lora_A.weight")
        torch.testing.assert_close(change, 2 * one.up[:50] @ one.down)
    assert all(float(value.abs().max()) == 0 for key, value in read.items() if ".lora_B." in key)  # not trained


def test_what_cannot_be_written_is_refused_by_its_reason(tmp_path: Path) -> None:
    policy = trained(["to_q"])
    policy.adapter.save(tmp_path / "lora")
    kohya = instantiate(configure(["format=kohya", "run=none"], command="export").format)
    with pytest.raises(UserError, match=r"no pytorch_lora_weights.safetensors there, so no LoRA"):
        read_lora(tmp_path)
    with pytest.raises(UserError, match=r"the layer time_text_embed\.x has no name"):
        kohya_tensors({"time_text_embed.x": Factors(torch.zeros(1, 1), torch.zeros(1, 1), 1.0)}, 1, 4)
    (tmp_path / "model" / "transformer").mkdir(parents=True)
    (tmp_path / "model" / "transformer" / "config.json").write_text(json.dumps({"_class_name": "SD3Transformer2DModel"}))
    with pytest.raises(UserError, match="one of SD3Transformer2DModel: take format=comfyui"):
        kohya.write(tmp_path / "lora", {**POLICY, "checkpoint": str(tmp_path / "model")}, tmp_path)
