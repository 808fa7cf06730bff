"""The oracle whose writer knows of tastes: what it names is true of the better picture alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from hydra.utils import instantiate

from arr_rpo.judge.base import Explaining
from arr_rpo.judge.rubric_reply import MAX_CRITERIA
from arr_rpo.rubric.weighted import GlobalWeighted
from arr_rpo.shapes.annotators.people import annotator
from arr_rpo.shapes.annotators.preferences import AnnotatorPreferences
from arr_rpo.shapes.annotators.rubric_truth import agreement
from arr_rpo.shapes.oracles.detection import detect
from arr_rpo.shapes.oracles.judge import TasteOracle
from arr_rpo.shapes.world.asked import truth_of
from arr_rpo.shapes.world.tastes import everything, leaves_open
from arr_rpo.types import Outcome
from tests.conftest import configure


def pairs(name: str, n: int) -> AnnotatorPreferences:
    chosen = [f"preferences.annotator={name}", f"preferences.pairs={n}", "preferences.chance=false", "preferences.ties=drop"]
    made = instantiate(configure(["task=judge", "preferences=annotator_drawn", *chosen], "evaluate").preferences)
    assert isinstance(made, AnnotatorPreferences)
    return made


def test_every_taste_has_its_own_wording() -> None:
    assert len({one.question for one in everything()}) == len(everything()) == 56 + 4 + 16 + 48


def test_what_it_names_is_true_of_the_better_one_alone() -> None:
    some = list(pairs("cleo", 60))
    for role in get_args(Explaining):
        texts, _ = TasteOracle().writer.write_from_pairs(some, role=role)
        for pair, text in zip(some, texts, strict=True):
            better, other = map(detect, (pair.a, pair.b) if pair.better is Outcome.A else (pair.b, pair.a))
            named = [entry["question"] for entry in json.loads(text)["criteria"]]
            assert len(named) <= MAX_CRITERIA
            for question in named:
                truth = truth_of(question, pair.prompt.metadata)
                assert (truth(better), truth(other)) == (True, False)


def test_of_a_prompt_it_names_what_that_leaves_open() -> None:
    some = list(pairs("cleo", 60))
    texts, _ = TasteOracle().writer.write_from_pairs(some, role="write_pair")
    for pair, text in zip(some, texts, strict=True):
        tastes = [entry["question"] for entry in json.loads(text)["criteria"] if entry["name"] == "taste"]
        assert all(leaves_open(pair.prompt.metadata, question) for question in tastes)


def test_a_taste_is_found_among_all_that_there_are(tmp_path: Path) -> None:
    """Ben likes things in one row: of all tastes that has the greatest weight, by exact candidates, checks and labels."""
    preferences = pairs("ben", 400)
    source = GlobalWeighted(
        store=str(tmp_path),
        preferences=preferences,
        seed=1,
        pairs=256,
        role="write_taste",
        max_candidates=48,
        max_criteria=8,
        penalties=[0.003, 0.01, 0.03],
        folds=5,
    )
    prompts = [pair.prompt for pair in preferences[:40]]
    [rubric, *_] = source.rubrics(prompts, TasteOracle())
    assert rubric is not None
    tastes = [c.question for c in rubric.criteria if c.name == "taste"]
    assert tastes[0] == "do all objects stand in one row?"
    assert agreement([rubric] * len(prompts), prompts, annotator("ben")).coverage == 1.0


def test_config() -> None:
    assert isinstance(instantiate(configure(["experiment=t2i_rpo", "judge=oracle_tastes"]).judge), TasteOracle)
