"""The main job in small, as a user runs it: it learns something, stops, resumes, and says what is wrong."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from arr_rpo.commands.evaluate import evaluate
from arr_rpo.commands.runs.resume import resumed
from arr_rpo.commands.runs.stage import Stage, objective, stage
from arr_rpo.commands.runs.training import check_keys, train
from arr_rpo.module import RPOModule
from arr_rpo.noise import Noise
from arr_rpo.policy.adapter import Full
from arr_rpo.run.folder import RunFolder
from arr_rpo.types import Outcome, Prompt, Rewards, UserError, Verdict
from tests import warm
from tests.conftest import configure, make_policy
from tests.policy.twins.sd3 import TWINS as SD35
from tests.policy.twins.sd3 import sd35_medium
from tests.stops import stop_before

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SMALL = [
    "experiment=t2i_rpo",
    "data.updates=3",
    "data.candidates_per_update=8",
    "data.unseen=null",
    "callbacks.heldout.final_kl_prompts=2",
    "policy.num_inference_steps=3",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "callbacks.checkpoint.every_seconds=0",
]


@pytest.fixture
def few_prompts(tmp_path: Path) -> str:
    rows = (ROOT / "src/arr_rpo/shapes/data/heldout.jsonl").read_text(encoding="utf-8").splitlines()[::64]
    path = tmp_path / "heldout.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8")
    return str(path)


def run(tmp_path: Path, heldout: str, *overrides: str, experiment: str = "t2i_rpo") -> Path:
    folder = tmp_path / "run"
    own = [f"run_dir={folder}", f"data.heldout={heldout}", f"rubric.store={tmp_path / 'rubrics'}"]
    train(configure([f"experiment={experiment}", *SMALL[1:], *own, *overrides]))
    return folder


def saved(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(RunFolder(folder).checkpoint() / "state.ckpt", weights_only=True)
    return state


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return saved(folder)["state_dict"]


def test_the_main_job_writes_what_it_promises(tmp_path: Path, few_prompts: str) -> None:
    folder = run(tmp_path, few_prompts)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    own = summary["measures"]["shapes"]
    assert {"before", "after", "figures", "by_tag", "unseen"} <= set(own)
    assert list(summary["measures"]) == ["shapes", "signs"]
    assert {"calls", "tokens", "ties", "flips", "failures"} <= set(summary["judge"])
    assert summary["judge"]["calls"] >= 3 * 4 * 2
    assert summary["images"] == 3 * 4 * 2
    assert summary["seed"] == 1
    verdicts = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(verdicts) == 12
    assert all(v["rubric"] for v in verdicts)
    assert (folder / "policy" / "pytorch_lora_weights.safetensors").is_file()
    assert (folder / "grids" / "update_00000.png").is_file()
    assert (folder / "config.yaml").is_file()
    names = set(weights(folder))
    assert names
    assert all("lora_" in name for name in names)  # neither the base nor the judge
    if summary["optimizer_steps"]:
        assert summary["kl"] > 0
    measured = evaluate(OmegaConf.create({"run": str(folder), "batch_size": 128, "measure": {}}))["heldout"]["shapes"]
    assert measured["value"] == own["after"]
    assert measured["figures"]["criteria"] == own["figures"]["criteria"]["after"]


def test_prompts_that_no_oracle_knows_are_trained_on(tmp_path: Path) -> None:
    """As prompts of the real world are: nothing is measured, and everything else is written."""
    heldout, train_on = tmp_path / "heldout.txt", tmp_path / "train.txt"
    heldout.write_text("a cat\na wooden bench\n", encoding="utf-8")
    train_on.write_text("\n".join(f"{n} dogs" for n in range(8)), encoding="utf-8")
    folder = run(tmp_path, str(heldout), "judge=random", "reward=pairwise", f"data.train={train_on}")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["measures"] == {}
    assert summary["kl"] > 0
    assert (folder / "policy" / "pytorch_lora_weights.safetensors").is_file()
    rows = [json.loads(line) for line in (folder / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == ["a cat", "a wooden bench"]
    assert all(row["after"] == {} and (folder / row["pictures"]["trained"]).is_file() for row in rows)
    assert objective(folder) is None
    assert stage(folder, OmegaConf.load(folder / "config.yaml")) is Stage.FINISHED  # a sweep does not run it again


def test_edits_are_trained_on(tmp_path: Path) -> None:
    """The same module, judge and callbacks; what is told to change and what is to stay are measured and logged apart."""
    rows = (ROOT / "src/arr_rpo/shapes/data/edit_heldout.jsonl").read_text(encoding="utf-8").splitlines()[::64]
    heldout = tmp_path / "heldout.jsonl"
    heldout.write_text("\n".join(rows), encoding="utf-8")
    folder = run(tmp_path, str(heldout), "judge=oracle", experiment="edit_rpo")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["measures"]["shapes"]["figures"]) == {"criteria", "instruction", "preservation"}
    verdicts = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all({"instruction", "preservation"} == set(v["names"]) for v in verdicts)
    assert (folder / "grids" / "update_00000.png").is_file()


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path, few_prompts: str) -> None:
    control = ["judge=random", "reward=pairwise"]
    whole = run(tmp_path / "a", few_prompts, *control)
    part = tmp_path / "b" / "run"
    with pytest.raises(SystemExit):
        run(tmp_path / "b", few_prompts, *control, stop_before(2))
    stopped = weights(part)
    assert not (part / "summary.json").exists()
    assert RunFolder(part).state()["state"] == "stopped"
    resumed = run(tmp_path / "c", few_prompts, *control, f"resume={part}")
    assert not (resumed / "summary.json").exists()  # it went on in its own folder
    first, again = weights(whole), weights(part)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(stopped[name], again[name]) for name in first)
    summaries = [json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in (whole, part)]
    for key in ("measures", "kl", "images", "judge", "optimizer_steps"):
        assert summaries[0][key] == summaries[1][key]


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_goes_on_with_one_option(kill: signal.Signals, tmp_path: Path, few_prompts: str) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    command = ["train.py", *SMALL, "judge=random", "reward=pairwise", f"data.heldout={few_prompts}"]
    process = warm.start(log, *command, "data.updates=200", f"run_dir={folder}", f"hydra.run.dir={folder}")
    _wait_for(RunFolder(folder), process)
    process.send_signal(kill)
    assert process.wait(60) != 0
    if kill is not signal.SIGKILL:
        assert f"go on with resume={folder}" in log.read_text()
    before = saved(folder)["callbacks"]["RunRecords"]["updates"]
    assert 0 < before < 200
    config = resumed(str(folder), ["experiment=t2i_rpo", f"resume={folder}", f"data.updates={before + 2}"])
    assert config.judge._target_.endswith("RandomJudge")  # the run's own, though the command line does not name it
    train(config)
    assert saved(folder)["callbacks"]["RunRecords"]["updates"] == before + 2
    assert (folder / "summary.json").is_file()


def _wait_for(folder: RunFolder, process: warm.Started) -> None:
    for _ in range(600):
        if max(folder.checkpoints(), default=0) > 0:
            return
        assert process.poll() is None, "the run ended before its first checkpoint"
        time.sleep(0.1)
    raise TimeoutError(folder.path)


def test_a_resumed_run_keeps_its_parts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.yaml there"):
        resumed(str(tmp_path), [])
    (tmp_path / "config.yaml").write_text(
        "name: t2i_rpo\nseed: 7\nresume: null\nnum_threads: null\njudge: {seed: 7}\n", encoding="utf-8"
    )
    with pytest.raises(UserError, match="the run's own judge: leave judge=oracle out"):
        resumed(str(tmp_path), ["judge=oracle"])
    with pytest.raises(UserError, match="is a run of experiment=t2i_rpo: leave experiment=shapes_judge out"):
        resumed(str(tmp_path), ["experiment=shapes_judge"])
    config = resumed(str(tmp_path), ["experiment=t2i_rpo", "num_threads=2"])
    assert (config.seed, config.num_threads, config.resume) == (7, 2, str(tmp_path))
    with pytest.raises(UserError, match=r"the run has no judge\.sead; did you mean judge\.seed"):
        resumed(str(tmp_path), ["judge.sead=1"])


def test_an_update_moves_the_adapter_and_nothing_else() -> None:
    config = configure(["experiment=t2i_rpo", "run_dir=unused", "policy.num_inference_steps=3"])
    module: RPOModule = instantiate(config.module)
    adapter = {f"transformer.{name}" for name in module.policy.adapter.parameters()}
    before = {name: p.clone() for name, p in module.policy.named_parameters()}
    encoders = {name: p.clone() for name, p in module.policy.pipe.text_encoder_2.named_parameters()}
    optimizer = module.configure_optimizers()
    rollout = module.policy.rollout((Prompt("a", "a photo of a red circle"),), 2, Noise(1, 0))
    module.policy.replay(rollout, torch.arange(2), 0).log_probs_B.sum().backward()
    optimizer.step()
    moved = {name for name, p in module.policy.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert moved <= adapter
    assert all(torch.equal(p, encoders[name]) for name, p in module.policy.pipe.text_encoder_2.named_parameters())


def test_the_reference_of_full_training_is_the_first_model() -> None:
    policy = make_policy(adapter=Full())
    prompts = (Prompt("a", "a photo of a red circle"),)
    rollout = policy.rollout(prompts, 2, Noise(1, 0))
    rows = torch.arange(2)
    with torch.no_grad():
        before = policy.replay(rollout, rows, 0).mean
        for p in policy.adapter.parameters().values():
            p.add_(0.01)
        moved = policy.replay(rollout, rows, 0).mean
        with policy.adapter.reference():
            reference = policy.replay(rollout, rows, 0).mean
        again = policy.replay(rollout, rows, 0).mean
    assert torch.equal(reference, before)
    assert torch.equal(again, moved)
    assert not torch.equal(moved, before)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy.num_steps=3", "num_steps"),
        ("reward=best", "best"),
        ("policy.checkpoint=/no/such", "/no/such"),
        ("algorithm.group_size=3", "group_size=3"),
        ("data.candidates_per_update=7", "candidates_per_update=7"),
        ("data.train=/no/file.jsonl", "/no/file.jsonl"),
        ("resume=/no/run", "/no/run"),
        ("~rubric", "rubric"),
        ("+sed=1", "sed"),
        ("trainer.max_steps=2", "data.updates is the length"),
        ("trainer.max_epochs=2", "data.updates is the length"),
        ("+trainer.gradient_clip_val=1", "algorithm.max_grad_norm"),
        ("+trainer.precision=bf16-true", "policy.dtype"),
        ("policy.dtype=float16", "bfloat16"),
    ],
)
def test_bad_input_ends_in_one_message_that_names_it(tmp_path: Path, override: str, message: str) -> None:
    code, said = warm.done(tmp_path / "log", "train.py", *SMALL, f"run_dir={tmp_path}", f"hydra.run.dir={tmp_path}", override)
    assert code == 1
    assert message in said
    assert "Traceback" not in said


def test_unknown_top_level_keys_are_refused() -> None:
    config = configure(["experiment=t2i_rpo", "run_dir=x", "+sedd=1"])
    with pytest.raises(UserError, match="sedd"):
        check_keys(config)


def test_a_judge_that_keeps_failing_stops_the_run(tmp_path: Path, few_prompts: str) -> None:
    with pytest.raises(UserError, match=r"judge failed on 100%"):
        run(tmp_path, few_prompts, "judge.model.min_choice_mass=1.1")


def test_failed_verdicts_give_no_advantage() -> None:
    config = configure(["experiment=t2i_rpo", "run_dir=x"])
    module: RPOModule = instantiate(config.module)
    values, valid = torch.tensor([1.0, -1.0, 0.0, 0.0]), torch.tensor([True, True, False, False])
    rewards = Rewards(values, valid, (Verdict(Outcome.A, 0.9), Verdict(Outcome.FAILED, None)))
    found = module.advantages(rewards)
    assert found.values_B.tolist() == [1.0, -1.0, 0.0, 0.0]
    assert found.valid_B.tolist() == [True, True, False, False]


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_composes(path: Path) -> None:
    config = configure([f"experiment={path.stem}", "run_dir=x"])
    check_keys(config)
    assert config.module._target_


@pytest.mark.parametrize(
    ("experiment", "rank", "lr", "steps", "kl"), [("t2i_rpo_paper", 16, 5e-5, 8, 0.01), ("edit_rpo_paper", 32, 1e-5, 10, 0.02)]
)
def test_the_papers_hyper_parameters(experiment: str, rank: int, lr: float, steps: int, kl: float) -> None:
    """Of the released code of arXiv 2605.08354; no other dynamics or reward than published."""
    config = configure([f"experiment={experiment}", "run_dir=x", "data.train=a", "data.heldout=b"])
    objective, adapter, data = config.algorithm.objective, config.policy.adapter, config.data
    assert (adapter.rank, adapter.alpha, config.module.optimizer.lr) == (rank, 2 * rank, lr)
    assert (config.policy.num_inference_steps, config.policy.call.height, config.policy.call.width) == (steps, 512, 512)
    assert (objective.clip_range, objective.kl_coefficient, config.algorithm.group_size) == (0.2, kl, 2)
    assert (config.reward.win, config.reward.lose, config.sampler.eta, config.sampler.shared_noise) == (1.0, -0.1, 0.3, True)
    assert (config.algorithm.advantage._target_.split(".")[-1], config.algorithm.advantage.maximum) == ("raw", 5.0)
    assert objective.kl.path.endswith(".log_ratio")
    assert (config.algorithm.steps_per_update, config.algorithm.minibatch_size) == (None, None)  # a step a rollout
    assert (data.candidates_per_update, data.updates) == (16, 300)
    assert (adapter.target_modules, adapter.init_lora_weights) == (["to_k", "to_q", "to_v", "to_out.0"], True)
    assert (config.policy.scheduler.shift, config.policy.scheduler.use_dynamic_shifting) == (3, False)
    optimizer = config.module.optimizer
    assert (optimizer.betas, optimizer.eps, optimizer.weight_decay) == ([0.9, 0.999], 1e-8, 1e-4)
    assert config.algorithm.max_grad_norm == 1.0
    assert config.module.lr_schedule.path.endswith("constant")


@pytest.mark.parametrize(
    "choices",
    [
        ["reward=scalar"],
        ["reward=pairwise"],
        ["judge=oracle"],
        ["judge=random", "judge.seed=1"],
        ["algorithm=rpo_paper", "policy/adapter=full"],
        [
            "algorithm=grpo",
            "algorithm.group_size=3",
            "data.candidates_per_update=6",
            "reward/pairing=round_robin",
            "judge=oracle",
        ],
        ["algorithm=grpo_guard", "algorithm.group_size=4", "reward/pairing=swiss", "judge=oracle", "sampler=cps"],
        ["algorithm=flow_dppo", "algorithm.group_size=4", "judge=oracle"],
        ["algorithm=flow_dpo", "judge=oracle", "sampler=ode"],
        ["algorithm=rpo", "judge=oracle", "sampler=dance_sde", "sampler/window=random", "sampler.window.size=1"],
    ],
    ids=" ".join,
)
def test_the_groups_swap(tmp_path: Path, few_prompts: str, choices: list[str]) -> None:
    folder = run(tmp_path, few_prompts, *choices, "data.updates=1")
    assert (folder / "summary.json").is_file()


def test_another_pipeline_trains_and_is_measured_again(tmp_path: Path, few_prompts: str) -> None:
    """Stable Diffusion 3.5, whose tiny twin draws noise: true guidance, three text encoders, which are released."""
    sd35_medium(tmp_path / "twin")
    twin = ["policy=sd35_medium", f"policy.checkpoint={tmp_path / 'twin'}", *SD35["sd35_medium"].overrides]
    options = ["judge=random", "judge.seed=1", "policy.dtype=float32", "policy.release_text_encoders=true"]
    few = tmp_path / "train.jsonl"  # each prompt is encoded before the encoders are released
    few.write_text("\n".join((ROOT / "src/arr_rpo/shapes/data/train.jsonl").read_text(encoding="utf-8").splitlines()[:8]))
    options.append(f"data.train={few}")
    folder = run(tmp_path, few_prompts, *twin, *options, "policy.gradient_checkpointing=true", "data.updates=2")
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8"))["replay_floor"] <= 2e-6
    result = evaluate(OmegaConf.create({"run": str(folder), "batch_size": 8, "measure": {}}))
    assert 0 <= result["heldout"]["shapes"]["value"] <= 1


def test_old_weights_and_averages_resume(tmp_path: Path, few_prompts: str) -> None:
    """DiffusionNFT's slow weights and the EMA are in the checkpoint."""
    options = ["algorithm=diffusion_nft", "algorithm.group_size=2", "sampler=ode", "judge=oracle", "callbacks=rpo_ema"]
    options += ["module.lr_schedule.path=arr_rpo.formulas.schedules.constant", "algorithm.old_decay.slope=0.3"]
    options += ["trainer.enable_progress_bar=false", "callbacks.checkpoint.every_seconds=0"]
    whole = run(tmp_path / "whole", few_prompts, *options)
    part = run(tmp_path / "part", few_prompts, *options, "data.updates=2")
    train(resumed(str(part), ["data.updates=3"]))
    first, again = weights(whole), weights(part)
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
    checkpoints = [saved(f) for f in (whole, part)]
    assert checkpoints[0]["old"]
    for name, value in checkpoints[0]["old"].items():
        assert torch.equal(value, checkpoints[1]["old"][name])
    averages = [c["callbacks"]["EMA"]["average"] for c in checkpoints]
    assert all(torch.equal(value, averages[1][name]) for name, value in averages[0].items())
