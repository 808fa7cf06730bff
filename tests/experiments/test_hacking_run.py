"""What looks at finished runs of study=hacking, on a run of two updates."""

from __future__ import annotations

from pathlib import Path

import pytest

from arr_rpo.commands.runs.training import train
from arr_rpo.report.read_study import read_study
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.types import UserError
from arr_rpo.whole_files import write_json
from experiments.hacking import baseline, courses, criteria, decompose, diversity, other_pairs, pictures, pilots
from experiments.unsaid.prompts import cared_for
from tests.conftest import configure

SMALL = [
    "study=hacking",
    "study.name=hacking",  # Hydra says it otherwise
    "arm=unsaid/prompt_alone",
    "study.annotator=ada",
    "data.updates=2",
    "data.candidates_per_update=8",
    "policy.num_inference_steps=3",
    "callbacks.heldout.final_kl_prompts=2",
    "callbacks.heldout.every_n_updates=1",
    "callbacks.heldout.prompts=4",
    "callbacks.heldout.kl_prompts=2",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "seed=1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("study") / "arm=prompt_alone,annotator=ada,seed=1"
    files = []
    for name in ("train", "heldout"):
        file = place.parent.parent / f"hacking_{name}.jsonl"
        file.write_text("\n".join(cared_for(annotators()["ada"], f"open_{name}")[:6]), encoding="utf-8")
        files.append(f"data.{name}={file}")
    train(configure([*SMALL, *files, f"run_dir='{place}'", f"rubric.store={place.parent.parent / 'rubrics'}"]))
    return place


def test_its_course_is_read_with_what_its_reward_gets_wrong_on_the_base(run: Path) -> None:
    found = baseline.baseline(run)
    assert found["prompts"] == 6 and 0 <= found["bad"] <= found["accepted"] <= 1
    write_json(run / courses.BASELINE, found)
    (read,) = read_study(run.parent).runs
    points = [*courses.points(read)]
    assert [point.update for point in points] == [0, 1, 2]
    assert points[0].proxy == 0.5 and points[0].root_kl == 0 and points[0].sharpness > 0
    assert {point.base_accepted for point in points} == {found["accepted"]} and points[0].annotator == "ada"


def test_a_pilot_is_read_by_the_rules_of_the_plan(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["pilots", str(run.parent)])
    pilots.main()
    (read,) = read_study(run.parent).runs
    course = [*courses.points(read)]
    gold, best = [point.gold for point in course], max(course, key=lambda point: point.gold)
    figures = (f"{gold[0]:.3f}", f"{best.gold:.3f} (update {best.update})", f"{gold[-1]:.3f}", f"{gold[-1] - best.gold:.3f}")
    told = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:3] for row in told] == [[run.parent.name, "prompt_alone", who] for who in ("mean", "ada")]
    assert all(tuple(row[3:7]) == figures for row in told)  # of one run the mean is that run


def test_its_criteria_are_those_of_its_prompts(run: Path) -> None:
    found = criteria.of_run(run)
    whole = {row.kind: row for row in found if row.question == criteria.ALL}
    assert whole["prompt"].asked >= 6 and "liked" not in whole  # nobody told the judge
    assert all(-1 <= row.truth <= 1 and row.arm == "prompt_alone" for row in found)


def test_its_pictures_are_looked_at(run: Path) -> None:
    (differ,) = diversity.differ(run)
    assert differ.arm == "prompt_alone" and 0 < differ.base < 1 and 0 < differ.trained < 1
    label, lost = pictures.of_run(run, 3)
    assert label.startswith("prompt_alone\nada\n") and len(lost) <= 3


def test_runs_that_learned_from_no_pairs_are_refused_where_these_are_exchanged(run: Path) -> None:
    with pytest.raises(UserError, match="is of the arm 'prompt_alone': give those of reward_model, own_weighted"):
        other_pairs.seen(run)
    with pytest.raises(UserError, match="no run whose rubric comes of an annotator's pairs"):
        decompose.decomposed(run)
