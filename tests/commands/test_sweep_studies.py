"""Every arm of every study composes, differs from the others in what it is about, and has the same budget."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.runs.training import check_keys
from arr_rpo.report.arms import arm_names, label

CONFIGS = Path(__file__).parents[2] / "configs"
UNSAID, HACKING = "unsaid", "hacking"  # whose arms are those of an annotator
STUDIES = sorted(path.stem for path in (CONFIGS / "study").glob("*.yaml") if path.stem not in (UNSAID, HACKING))
ALWAYS = ["name", "run_dir", "seed"]


def composed(*overrides: str) -> DictConfig:
    """With Hydra's own part, as a job of a sweep has it."""
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("train", overrides=["run_dir=x", "name=test", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


@functools.cache
def jobs(study: str, *overrides: str) -> tuple[tuple[str, ...], ...]:
    """The overrides of each run, by Hydra's own sweeper."""
    params = OmegaConf.to_container(composed(f"study={study}").hydra.sweeper.params)
    assert isinstance(params, dict)
    arguments = [f"{key}={value}" for key, value in params.items()] + [f"study={study}", *overrides]
    (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(arguments), None)
    return tuple(map(tuple, batch))


@functools.cache
def runs(study: str, *overrides: str) -> dict[str, dict[str, Any]]:
    """Folder -> config of each run of seed 1."""
    found: dict[str, dict[str, Any]] = {}
    for job in jobs(study, "seed=1", *overrides):
        config = composed(*job)
        folder = config.hydra.sweep.subdir
        assert folder not in found
        plain = OmegaConf.to_container(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]), resolve=True)
        check_keys(OmegaConf.create(plain))
        found[folder] = plain  # type: ignore[assignment]
    return found


def test_the_studies_of_the_issue_are_there() -> None:
    issue = {"reward_form", "rubric_kind", "algorithm", "judge", "group_size", "kl", "lora_rank"}
    assert set(STUDIES) == issue | {"algorithm_tuning"}


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_says_what_it_is(study: str) -> None:
    config = composed(f"study={study}")
    assert config.hydra.mode is RunMode.MULTIRUN
    assert config.hydra.sweep.dir == f"runs/study/{study}/t2i_rpo"  # stable: the same command finds its runs again
    blocks = [run["study"] for run in runs(study).values()]
    arms = blocks[0]["arms"]
    labels = {folder: label(run, Path(folder)) for folder, run in runs(study).items()}
    assert list(arm_names(labels).values()) == arms  # as the report will name them
    assert list(runs(study)) == [f"arm={arm.replace(', ', ',')},seed=1" for arm in arms]
    for block in blocks:
        assert block["name"] == study
        assert block["question"].endswith("?")
        assert block["reference"] in arms
        assert {arm for some in [*block.get("claims", []), *block.get("pairs", [])] for arm in some} <= set(arms)


@pytest.mark.parametrize("study", STUDIES)
def test_arms_have_five_seeds_and_equal_images(study: str) -> None:
    assert len(jobs(study)) == len(runs(study)) * (2 if study == "algorithm_tuning" else 5)
    budgets = {run["data"]["updates"] * run["data"]["candidates_per_update"] for run in runs(study).values()}
    short = {"reward_form": 20 * 64, "rubric_kind": 20 * 64, "algorithm": 40 * 64, "algorithm_tuning": 40 * 64}
    assert budgets == {short.get(study, 40 * 128)}
    if study != "algorithm_tuning":  # which is about what comes out at the end
        every = [run["callbacks"]["heldout"]["every_n_updates"] for run in runs(study).values()]
        sizes = [run["data"]["candidates_per_update"] for run in runs(study).values()]
        assert len({n * size for n, size in zip(every, sizes, strict=True)}) == 1  # after as many images in every arm
    assert all(run["data"]["candidates_per_update"] % run["data"]["group_size"] == 0 for run in runs(study).values())


def test_what_nobody_says_is_learned_from_the_same_pairs() -> None:
    found = runs(UNSAID, "study.annotator=kim", "study.from_pairs=16")
    arms = [
        "annotator",
        "prompt_alone",
        *(f"{name}, 16 pairs" for name in ("reward_model", "own_weighted", "weighted", "global")),
    ]
    assert [run["study"]["arm"] for run in found.values()] == arms
    assert len(jobs(UNSAID)) == len(arms) * 8 * 2  # annotators and seeds
    pairs = [run["rubric"]["preferences"] for run in found.values() if "preferences" in (run["rubric"] or {})]
    assert len(pairs) == 3
    assert all(some == pairs[0] for some in pairs)
    assert (pairs[0]["annotator"], pairs[0]["pairs"], pairs[0]["only_open"], pairs[0]["ties"]) == ("kim", 16, True, "drop")
    assert [run["rubric"]["pairs"] for run in found.values() if "pairs" in (run["rubric"] or {})] == [16, 16]
    verified = next(run["rubric"] for run in found.values() if run["study"]["arm"].startswith("global"))
    assert verified["writing_pairs"] + verified["heldout_pairs"] == 16
    for run in found.values():
        assert run["data"] == next(iter(found.values()))["data"]
        assert run["measure"]["annotator"]["annotator"] == "kim"
    assert differing(UNSAID, "study.annotator=kim", "study.from_pairs=16") == {"reward", "judge", "rubric"}


def test_what_is_gamed_is_learned_from_the_same_pairs() -> None:
    found = {run["study"]["arm"]: run for run in runs(HACKING, "study.annotator=mia").values()}
    assert len(found) == 17
    assert len(jobs(HACKING)) == 17 * 8  # annotators
    sources = {arm: run["rubric"] for arm, run in found.items() if run["rubric"]}
    for arm in ("dropout 30", "dropout 50", "rotation"):
        assert sources[arm]["source"] == sources["own_weighted, 64 pairs"]
    assert (sources["dropout 30"]["p"], sources["dropout 50"]["p"], sources["dropout 30"]["redraw"]) == (0.3, 0.5, True)
    assert sources["strong"] == sources["own_weighted, 64 pairs"]
    assert found["strong"]["judge"]["_target_"].endswith("TasteOracle")
    for arm in ("told", "prompt_alone"):  # the verifier alone differs
        exact = found[f"{arm} exact"]
        assert exact["judge"]["_target_"].endswith("TasteOracle")
        assert (exact["rubric"], exact["reward"]) == (sources[arm], found[arm]["reward"])
    margins = [run["reward"]["protocol"]["tie_margin"] for run in found.values() if "gate" in run["reward"].get("protocol", {})]
    assert margins == [0] * 11  # of all checklists, as in training
    attackers = runs(HACKING, "study.annotator=mia", "arm=hacking/attack_per_prompt,hacking/attack_weighted").values()
    proxies = [run["reward"]["parts"]["proxy"]["reward"]["protocol"] for run in attackers]
    assert [proxy["tie_margin"] for proxy in proxies] == [0, 0]  # as of the arms that they attack
    assert sources["conjunctive"] == sources["verdict"] == sources["prompt_alone"]
    models = found["ensemble"]["reward"]["protocol"]["models"].values()
    assert {model["judge"]["model"]["checkpoint"] for model in models} == {"shapes_tastes"}
    assert {model["checkpoint"] for model in models} == {
        f"runs/hacking/halves/mia/seed={seed}/reward_model" for seed in (1, 2, 3, 4)
    }
    assert [list(run["measure"]) for run in found.values()] == [["annotator", "win_rate"]] * 17
    assert differing(HACKING, "study.annotator=mia") == {"reward", "judge", "rubric"}


def differing(study: str, *overrides: str) -> set[str]:
    """Top-level keys in which the runs of a study are not all the same."""
    configs = list(runs(study, *overrides).values())
    keys = {key for config in configs for key in config} - {"study", "module", "callbacks"}  # those two repeat the others
    return {key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)}


@pytest.mark.parametrize(
    ("study", "keys"),
    [
        ("reward_form", {"reward", "judge"}),
        ("rubric_kind", {"reward", "rubric"}),
        (
            "algorithm",
            {"algorithm", "sampler", "policy", "reward", "data"},
        ),  # the policy has the sampler, the data the group size
        ("algorithm_tuning", {"algorithm", "sampler", "policy", "reward", "data"}),
        ("judge", {"judge"}),
        ("group_size", {"algorithm", "data"}),
        ("kl", {"algorithm"}),
        ("lora_rank", {"policy"}),
    ],
)
def test_arms_differ_in_nothing_else(study: str, keys: set[str]) -> None:
    assert differing(study) == keys


def test_an_arm_changes_what_its_name_says() -> None:
    forms = {run["study"]["arm"]: run for run in runs("reward_form").values()}
    assert forms["scalar"]["reward"]["protocol"]["_target_"].endswith(".Score")
    assert forms["pairwise"]["reward"]["protocol"]["uses_rubric"] is False
    assert forms["rubric"]["reward"]["protocol"]["uses_rubric"] is True
    assert forms["random"]["judge"]["_target_"].endswith("RandomJudge")
    assert forms["oracle"]["judge"]["_target_"].endswith("OracleJudge")
    assert forms["oracle"]["reward"] == forms["random"]["reward"] == forms["rubric"]["reward"]
    kinds = {run["study"]["arm"]: run for run in runs("rubric_kind").values()}
    assert kinds["none"]["rubric"] is None
    assert kinds["none"]["reward"] == forms["pairwise"]["reward"]
    assert kinds["shuffled"]["rubric"]["_target_"].endswith("Shuffled")
    rules = {run["study"]["arm"]: run for run in runs("algorithm").values()}
    rates = {rule: run["module"]["optimizer"]["lr"] for rule, run in rules.items()}  # as experiments/algorithms has chosen
    assert rates == dict.fromkeys(rates, 3e-4) | {"flow_dpo": 1e-3, "rpo_paper": 1e-4}
    assert rules["rpo_paper"]["reward"]["lose"] == -0.1
    assert rules["rpo_paper"]["data"]["candidates_per_update"] == 16
    assert rules["rpo_paper"]["sampler"]["shared_noise"] is True
    assert rules["rpo_paper"]["module"]["lr_schedule"]["path"].endswith("constant")
    tuned = runs("algorithm_tuning").values()
    assert {run["module"]["optimizer"]["lr"] for run in tuned} == {3e-5, 1e-4, 3e-4, 1e-3}
    assert all(run["judge"]["_target_"].endswith("OracleJudge") for run in tuned)
    assert {part for job in jobs("algorithm_tuning") for part in job if part.startswith("seed=")} == {"seed=11", "seed=12"}
    ranks = [run["policy"]["adapter"] for run in runs("lora_rank").values()]
    assert [(adapter["rank"], adapter["alpha"]) for adapter in ranks] == [(2, 4), (8, 16), (32, 64), (128, 256)]
    sizes = [run["data"]["group_size"] for run in runs("group_size").values()]
    assert sizes == [2, 4, 8, 16]


def test_the_command_line_has_the_last_word() -> None:
    found = jobs("reward_form", "arm=scalar,oracle", "seed=7", "data.updates=3", "judge=random")
    assert len(found) == 2
    config = composed(*found[1])
    assert (config.study.arm, config.seed, config.data.updates) == ("oracle", 7, 3)
    assert config.judge._target_.endswith("RandomJudge")
    assert config.hydra.sweep.subdir == "arm=oracle,seed=7"
    assert composed("study=reward_form", "experiment=t2i_rpo_paper_shapes").hydra.sweep.dir.endswith("/t2i_rpo_paper_shapes")


def test_a_run_outside_a_study_knows_of_none() -> None:
    config = composed()
    assert "study" not in config
    assert config.hydra.mode is None


def test_the_recipe_that_learns_most_is_what_was_measured() -> None:
    """experiment=t2i_graded, the arm graded of study=algorithm (experiments/algorithms)."""
    chosen = (["experiment=t2i_graded"], ["study=algorithm", "arm=graded"])
    recipe, arm = (OmegaConf.to_container(composed(*some), resolve=False) for some in chosen)
    assert isinstance(recipe, dict) and isinstance(arm, dict)
    assert {key: recipe[key] for key in recipe if key != "hydra"} == {k: arm[k] for k in arm if k not in ("hydra", "study")}
