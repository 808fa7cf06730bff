"""The head, the folder that it is kept in, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.reward_model.features import Features
from arr_rpo.reward_model.model import CONFIG, HEAD, Head, RewardModel
from arr_rpo.scorer.reward_model import RewardModelScorer
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.oracles.preferences import ShapesPreferences
from arr_rpo.types import Prompt, UserError
from tests.conftest import make_judge


def test_standardised_features() -> None:
    """Two features, one of which never varies: that one counts as it is, from its mean."""
    head = Head(2, 0).eval()
    head.standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))  # mean 2, deviation 1
    with torch.no_grad():
        head.layers[0].weight.copy_(torch.tensor([[2.0, 10.0]]))
        head.layers[0].bias.fill_(0.5)
        assert head(torch.tensor([[4.0, 5.0], [2.0, 6.0]])).tolist() == pytest.approx([2 * 2 + 0.5, 10 + 0.5])


def test_scores_are_log_odds() -> None:
    assert RewardModelScorer.p_better(1.0, 1.0) == 0.5
    assert RewardModelScorer.p_better(2.0, 1.0) == pytest.approx(math.e / (1 + math.e))
    assert RewardModelScorer.p_better(-1e6, 1e6) == pytest.approx(0.0)


@pytest.fixture(scope="module")
def judge() -> VLMJudge:
    return make_judge()


PAIRS = ShapesPreferences(split="shapes/heldout", pairs_per_prompt=1, seed=1, ties="keep", policy=None)[:3]
PROMPTS, IMAGES = [p.prompt for p in PAIRS], [p.a for p in PAIRS]


@pytest.mark.slow
def test_features_do_not_depend_on_the_batch(judge: VLMJudge) -> None:
    features = Features(judge)
    rows, together = features.of(PROMPTS, IMAGES)
    assert rows == [0, 1, 2]
    assert together.shape == (3, features.size)
    alone = torch.cat([features.of([p], [i])[1] for p, i in zip(PROMPTS, IMAGES, strict=True)])
    assert torch.allclose(together, alone, atol=1e-4)
    other = features.of([Prompt("x", "a photo of a blue star"), *PROMPTS[1:]], IMAGES)[1]
    assert not torch.allclose(other[0], together[0], atol=1e-2)  # the prompt is read, too
    assert features.parameters() == []


@pytest.mark.slow
def test_a_folder_gives_the_same_scores(judge: VLMJudge, tmp_path: Path) -> None:
    torch.manual_seed(0)
    features = Features(judge)
    model = RewardModel(features, Head(features.size, 8).eval())
    model.head.standardise(features.of(PROMPTS, IMAGES)[1])
    model.save(tmp_path, {"pairs": 3})
    scorer = RewardModelScorer(checkpoint=str(tmp_path), judge=judge, batch_size=2)
    expected = model(PROMPTS, IMAGES)[1].tolist()
    assert [grade.value for grade in scorer.score(PROMPTS, IMAGES)] == pytest.approx(expected, abs=1e-4)
    about = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
    assert (about["pairs"], about["hidden"], about["adapter"]) == (3, 8, False)
    assert sorted(p.name for p in tmp_path.iterdir()) == [HEAD, CONFIG]
    (tmp_path / CONFIG).write_text(json.dumps({**about, "judge_revision": "another"}), encoding="utf-8")
    with pytest.raises(UserError, match="learned on the features of another judge"):
        RewardModelScorer(checkpoint=str(tmp_path), judge=judge, batch_size=2)
    (tmp_path / CONFIG).write_text(json.dumps({**about, "asked": "otherwise"}), encoding="utf-8")
    with pytest.raises(UserError, match="as it was asked otherwise"):
        RewardModelScorer(checkpoint=str(tmp_path), judge=judge, batch_size=2)
    with pytest.raises(UserError, match="is no reward model"):
        RewardModelScorer(checkpoint=str(tmp_path / "elsewhere"), judge=judge, batch_size=2)


def test_a_judge_without_a_model_here_has_no_features() -> None:
    class Elsewhere:
        asker = type("Asker", (), {"model": OracleJudge()})()
        name, revision = "server", "1"

    with pytest.raises(UserError, match="features of a model in this process, and judge 'server' is none"):
        Features(Elsewhere())  # type: ignore[arg-type]
