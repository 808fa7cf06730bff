"""What several processes train is what one trains: by DDP and FSDP2, whatever the algorithm, and whoever has little to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.servers

RELATIVE = 1e-5  # of the norm of all weights: what the order of float32 sums comes to after four updates
ALGORITHMS = ("rpo", "grpo", "diffusion_nft", "flow_dpo")
DUMB = "judge._target_=tests.processes.many.PartlyDumb"
CASES = {
    **{name: [f"algorithm={name}", "algorithm.group_size=2"] for name in ALGORITHMS},
    **{f"{name}_full": [f"algorithm={name}", "algorithm.group_size=2", "policy/adapter=full"] for name in ALGORITHMS},
    "checkpointing": ["policy.gradient_checkpointing=true"],
    "checkpointing_full": ["policy.gradient_checkpointing=true", "policy/adapter=full"],
    "bfloat16": ["policy.dtype=bfloat16"],
    "small_passes": ["algorithm.microbatch_size=3", "policy.batch_size=2", "algorithm.minibatch_size=6"],
    "with_kl": ["algorithm.objective.kl_coefficient=0.01", "algorithm.microbatch_size=4"],
    "average": ["callbacks=rpo_ema"],
    "edits": ["experiment=edit_rpo"],
    "ties": [DUMB, "+judge.says=tie"],
    "failed": [DUMB, "+judge.says=failed"],
    "raises": [DUMB, "+judge.says=raises"],
}  # fmt: skip
WAYS = {"one": [], "ddp": ["trainer=ddp", "trainer.devices=2"], "fsdp2": ["trainer=fsdp2", "trainer.devices=2"]}
RESUMED = {"one": "ddp", "fsdp2": "one", "ddp": "fsdp2"}  # who goes on, with whose first two updates


def trained(place: Path, way: str, cases: dict[str, list[str]]) -> None:
    """All cases, one after the other, in one or in two processes."""
    place.mkdir(exist_ok=True)
    file = place / f"cases_{len(list(place.glob('cases_*')))}.json"
    file.write_text(json.dumps([{"name": name, "overrides": [*more, *WAYS[way]]} for name, more in cases.items()]))
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2"] if way != "one" else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command, "-m", "tests.processes.many", str(file)],
        env=environment, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    expected = int(way != "one" and "raises" in cases)  # a process whose run failed says so in the end
    assert done.returncode == expected, done.stdout[-3000:] + done.stderr[-6000:]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("processes")
    for way in WAYS:
        trained(place / way, way, CASES)
    for way, whose in RESUMED.items():
        for name in ("rpo", "rpo_full"):
            shutil.copytree(place / whose / name, copy := place / way / f"{name}_resumed")
            assert (copy / "checkpoints" / "update_00002").is_dir()
        trained(
            place / way,
            way,
            {
                f"{name}_resumed": [*CASES[name], f"resume={place / way / f'{name}_resumed'}", "checkpoint=2"]
                for name in ("rpo", "rpo_full")
            },
        )
    return place


def state(place: Path, way: str, name: str) -> dict[str, torch.Tensor]:
    path = place / way / name / "checkpoints" / "update_00004" / "state.ckpt"
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return found


def difference(ours: dict[str, torch.Tensor], one: dict[str, torch.Tensor]) -> float:
    """Relative, of all trained weights together."""
    assert ours.keys() == one.keys()
    return float(sum(((ours[key] - one[key]) ** 2).sum() for key in one) / sum((one[key] ** 2).sum() for key in one)) ** 0.5


@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
@pytest.mark.parametrize("name", [*CASES.keys() - {"raises"}, "rpo_resumed", "rpo_full_resumed"])
def test_weights(place: Path, name: str, way: str) -> None:
    ours, one = state(place, way, name), state(place, "one", name.removesuffix("_resumed"))
    if "_full" not in name:
        assert any(bool(value.any()) for key, value in one.items() if "lora_B" in key)  # which begin at zero
    assert difference(ours, one) < (RELATIVE if name != "bfloat16" else 1e-2)


def test_one_process_goes_on_with_what_two_began(place: Path) -> None:
    for name in ("rpo", "rpo_full"):
        ours, one = state(place, "one", f"{name}_resumed"), state(place, "one", name)
        assert difference(ours, one) < RELATIVE


@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
def test_what_is_drawn_is_the_same_within_the_rounding_of_a_call(place: Path, way: str) -> None:
    drawn = [torch.load(place / way / "rpo" / f"drawn_0_{first:02d}.pt", weights_only=True) for first in (0, 4)]
    one = torch.load(place / "one" / "rpo" / "drawn_0_00.pt", weights_only=True)
    together = torch.cat(drawn)
    assert together.shape == one.shape
    torch.testing.assert_close(together, one, atol=5e-6, rtol=0)  # a call of 8 rounds otherwise than one of 16


@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
def test_rows_are_of_all_processes(place: Path, way: str) -> None:
    for name in ("rpo", "ties", "failed"):
        ours, one = (
            [json.loads(line) for line in (place / w / name / "verdicts.jsonl").read_text().splitlines()] for w in (way, "one")
        )
        assert [(r["update"], r["prompt_id"], r["outcome"]) for r in ours] == [
            (r["update"], r["prompt_id"], r["outcome"]) for r in one
        ]
        metrics = [json.loads((place / w / name / "metrics.jsonl").read_text().splitlines()[-1]) for w in (way, "one")]
        for key in ("judge/images", "judge/calls", "judge/tie_rate", "reward/mean", "policy/optimizer_steps", "judge/valid"):
            assert metrics[0][key] == metrics[1][key], key


def test_each_process_has_the_shard_that_the_plan_says(place: Path) -> None:
    whole = int((place / "one" / "rpo" / "frozen_0").read_text())
    for process in (0, 1):
        assert int((place / "ddp" / "rpo" / f"frozen_{process}").read_text()) == whole
        assert int((place / "fsdp2" / "rpo" / f"frozen_{process}").read_text()) == pytest.approx(whole / 2, rel=0.01)


@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
def test_an_error_of_one_process_ends_all(place: Path, way: str) -> None:
    assert (place / "one" / "raises.error").read_text() == "OSError: the judge's cable is out"
    assert (place / way / "raises.error").read_text() == "OtherProcessError: process 1 of 2: OSError: the judge's cable is out"
