"""Every value that `resume=` lets change acts on what is built; the others are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.runs.resume import past_hydra, resumed
from arr_rpo.commands.runs.training import recorded
from arr_rpo.run.folder import RunFolder
from arr_rpo.types import UserError
from tests.conftest import configure

BUILT = ("module", "data", "callbacks", "trainer", "logger", "seed", "num_threads")  # what train() reads


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from leaves(part, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def begun(folder: Path, *overrides: str) -> None:
    RunFolder(folder).text("config.yaml", recorded(configure([*overrides, f"run_dir={folder}"])))


def built(config: DictConfig) -> dict[str, Any]:
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {key: found[key] for key in BUILT}


@pytest.mark.parametrize("experiment", ["t2i_rpo", "edit_rpo"])
def test_each_key_of_the_recorded_config_acts_or_is_refused(experiment: str, tmp_path: Path) -> None:
    begun(tmp_path, f"experiment={experiment}", "judge.model.device=cpu")
    raw = OmegaConf.to_container(OmegaConf.load(tmp_path / "config.yaml"))
    before = built(resumed(str(tmp_path), []))
    acted, refused = [], []
    for key, value in leaves(raw):
        if key in ("resume", "checkpoint", "allow"):
            continue
        new = "[changed]" if isinstance(value, list) else "changed"
        try:
            after = built(resumed(str(tmp_path), [f"{key}={new}"]))
        except UserError as error:
            assert key in str(error) or key.split(".")[0] in str(error)
            refused.append(key)
            continue
        assert after != before, f"{key} is accepted and does nothing"
        acted.append(key)
    assert {"policy.batch_size", "algorithm.microbatch_size", "judge.model.batch_size", "seed", "data.updates"} <= set(acted)
    assert {"policy.checkpoint", "data.heldout", "name", "run_dir", "callbacks.heldout.seed"} <= set(refused)
    assert "callbacks.heldout.prompts" in refused and any(key.startswith("measure.") for key in refused)


def test_a_change_reaches_all_that_refers_to_it(tmp_path: Path) -> None:
    begun(tmp_path, "experiment=t2i_rpo", "judge=server", "judge.model.model=m")
    config = resumed(str(tmp_path), ["judge.model.base_url=http://elsewhere:1/v1", "policy.batch_size=4"])
    assert config.callbacks.rubric_reward.judge.model.base_url == "http://elsewhere:1/v1"
    assert config.module.policy.batch_size == 4


def test_a_measure_goes_on_as_it_was_begun_from_wherever_it_is_asked(tmp_path: Path) -> None:
    """What was measured before training is compared with what is measured after."""
    judge = ["judge@measure.heldout_judge.judge=server", "measure.heldout_judge.judge.model.model=m"]
    begun(tmp_path, "experiment=t2i_rpo", "measure=[heldout_judge]", *judge)
    where = resumed(str(tmp_path), ["measure.heldout_judge.judge.model.base_url=http://elsewhere:1/v1"])
    assert where.callbacks.heldout.measures.heldout_judge.judge.model.base_url == "http://elsewhere:1/v1"
    resumed(str(tmp_path), ["measure.heldout_judge.judge.model.breaker=20"])
    whole = "callbacks.heldout={prompts: 8}"
    below = "callbacks.heldout.measures.heldout_judge.rubric=null"
    for change in ("measure.heldout_judge.judge.model.model=n", below, whole):
        with pytest.raises(UserError, match="what was measured"):
            resumed(str(tmp_path), [change])


def test_values_of_keys_that_the_default_lacks_reach_a_run(tmp_path: Path) -> None:
    """Hydra, which composes the default config beside it, is told to let them through."""
    begun(tmp_path, "experiment=t2i_rpo", "judge=server", "judge.model.model=m")
    line = [
        f"resume={tmp_path}",
        "judge.model.base_url=http://b:1/v1",
        "+judge.model.fields.seed=null",
        "seed=3",
        "judge=server",
    ]
    handed = past_hydra(line)
    assert handed == [line[0], f"++{line[1]}", *line[2:]]
    assert past_hydra(["judge.model.x=1"]) == ["judge.model.x=1"]
    assert past_hydra(["resume=auto", "judge.model.x=1"]) == ["resume=auto", "judge.model.x=1"]
    config = resumed(str(tmp_path), handed[:3])
    assert config.judge.model.base_url == "http://b:1/v1"
    assert config.judge.model.fields == {"seed": None}
    configure(["experiment=t2i_rpo", handed[1]])  # by the default config, whose judge has no address
    with pytest.raises(UserError, match=r"the run has no judge\.model\.bas_url; did you mean judge\.model\.base_url"):
        resumed(str(tmp_path), ["++judge.model.bas_url=http://b:1/v1"])
    with pytest.raises(UserError, match=r"the run has no judge.model.fields.min_p.*"):
        resumed(str(tmp_path), ["judge.model.fields.min_p=0.1"])
