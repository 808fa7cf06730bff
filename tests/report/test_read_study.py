"""Run folders as they are found: whole, killed, crashed, damaged, old."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.commands.report import results_csv
from arr_rpo.report import tables, verdicts
from arr_rpo.report.compare import analyses
from arr_rpo.report.estimates import Comparing
from arr_rpo.report.page import page
from arr_rpo.report.read_study import read_study
from arr_rpo.report.study import Measured
from arr_rpo.types import UserError
from tests.report import made


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_run(folder: Path, seed: int = 1, config: str = "", after: float = 0.6) -> Path:
    """A run of two updates with four pictures each."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"name: t2i_rpo\nseed: {seed}\ndata: {{candidates_per_update: 4}}\n{config}", "utf-8")
    (folder / "versions.json").write_text('{"torch": "2"}', encoding="utf-8")
    summary = {"heldout_strict": {"before": 0.5, "after": after}, "judge": {"calls": 20}, "images": 8, "kl": 3.0}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    point = {"images": 0, "judge_calls": 0, "seconds": 0.0, "strict": 0.5, "criteria": 0.5, "kl": 0.0, "parts": {}}
    write(
        folder / "progress.jsonl",
        {"update": 0, **point, "strict_by_prompt": {"heldout/1": True}},
        {"update": 2, **point, "images": 8, "judge_calls": 20, "kl": 3.0, "strict_by_prompt": {"heldout/1": False}},
    )
    score = {"strict": True, "criteria": 1.0, "parts": {"position": 1.0}}
    row = {"prompt_id": "heldout/1", "split": "heldout", "tag": "colors", "prompt": "a red circle"}
    pictures = {"base": "heldout_pictures/0_base.png", "trained": "heldout_pictures/0_trained.png"}
    write(folder / "heldout.jsonl", {**row, "before": score, "after": None, "pictures": pictures})
    (folder / "heldout_pictures").mkdir()
    (folder / "heldout_pictures" / "0_base.png").write_bytes(b"png")
    write(folder / "verdicts.jsonl", {"outcome": "A"}, {"outcome": "B"})
    rows = ({"reward/mean": value, "heldout/strict": 0.5} for value in (0.1, 0.2))
    write(folder / "metrics.jsonl", *({"update": update, **row} for update, row in enumerate(rows)))
    return folder


def test_a_whole_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (run,) = read_study(tmp_path).runs
    assert (run.name, run.arm, run.seed, run.finished, run.missing) == ("run", "t2i_rpo", 1, True, ())
    assert (run.mean("shapes", "before"), run.mean("shapes", "after")) == (0.5, 0.6)
    assert (run.kl, run.images, run.judge_calls) == (3.0, 8.0, 20.0)
    (prompt,) = run.heldout
    assert prompt.before == {"shapes": Measured(1.0, {"criteria": 1.0, "position": 1.0})}
    assert prompt.after == {}
    assert prompt.pictures == {"base": folder / "heldout_pictures" / "0_base.png"}  # the other is not there
    assert [point.update for point in run.progress] == [0, 2]
    curve = run.curves["reward/mean"]
    assert set(run.curves) == {"reward/mean"}
    assert (curve.updates, curve.images, curve.judge_calls) == ((1, 2), (4.0, 8.0), (10.0, 20.0))
    assert curve.values == (0.1, 0.2)
    assert read_study(folder).runs[0].name == "run"  # a run is a study of one


def test_runs_of_before_and_of_now_are_compared_by_todays_names(tmp_path: Path) -> None:
    write_run(tmp_path / "run", config="judge: {_target_: arr_rpo.shapes.oracle_judge.OracleJudge}\n")
    assert read_study(tmp_path).runs[0].config["judge"] == {"_target_": "arr_rpo.shapes.oracles.judge.OracleJudge"}


def test_a_killed_run_is_read_to_its_end(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "summary.json").unlink()
    (folder / "state.json").write_text(json.dumps({"state": "failed", "error": "Traceback\nValueError: no"}), encoding="utf-8")
    for name in ("progress.jsonl", "heldout.jsonl", "verdicts.jsonl", "metrics.jsonl"):
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write('{"update": 4, "pro')
    (run,) = read_study(tmp_path).runs
    assert not run.finished
    assert (run.measures, run.judge_calls) == ({}, None)
    assert set(run.missing) == {
        "no summary.json: the run did not end",
        "the last line of progress.jsonl is cut off",
        "the last line of heldout.jsonl is cut off",
        "the last line of verdicts.jsonl is cut off",
        "the last line of metrics.jsonl is cut off",
        "it failed: ValueError: no",
    }
    assert len(run.progress) == 2 and len(run.heldout) == 1
    assert run.curves["reward/mean"].values == (0.1, 0.2)


def test_one_bad_run_does_not_harm_the_others(tmp_path: Path) -> None:
    write_run(tmp_path / "good")
    bad = write_run(tmp_path / "bad")
    (bad / "config.yaml").write_text("a: [", encoding="utf-8")
    (bad / "summary.json").write_text('{"judge": 3, "heldout_strict": []}', encoding="utf-8")
    (bad / "versions.json").write_text("[]", encoding="utf-8")
    (bad / "progress.jsonl").write_text('{"update": "x"}\nnot json\n3\n', encoding="utf-8")
    (bad / "heldout.jsonl").write_bytes(b"\xff\xfe\n")
    (bad / "metrics.jsonl").write_text('{"update": -1, "loss": 1}\n{"loss": 1}\n{"update": 0, "loss": "x"}\n', encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").write_text("", encoding="utf-8")
    study = read_study(tmp_path)
    runs = {run.name: run for run in study.runs}
    assert runs["good"].missing == ()
    assert set(runs) == {"good", "bad", "empty"}
    assert any("config.yaml cannot be read" in what for what in runs["bad"].missing)
    assert "progress.jsonl: 1 rows are in no form that is known" in runs["bad"].missing
    assert "progress.jsonl: 2 lines cannot be read, line 2 for one" in runs["bad"].missing
    assert "heldout.jsonl: 1 lines cannot be read, line 1 for one" in runs["bad"].missing
    assert "metrics.jsonl: 2 rows are in no form that is known" in runs["bad"].missing
    assert runs["bad"].curves == {}
    assert runs["bad"].judge_calls is None
    assert "empty: config.yaml holds no mapping" in study.missing


def test_numbers_of_a_run_that_diverged(tmp_path: Path) -> None:
    """NaN is what Python writes; the page, which is JSON, has no word for it."""
    folder = write_run(tmp_path / "run")
    rows = (folder / "progress.jsonl").read_text(encoding="utf-8")
    (folder / "progress.jsonl").write_text(rows.replace('"kl": 3.0', '"kl": NaN'), encoding="utf-8")
    summary = (folder / "summary.json").read_text(encoding="utf-8")
    (folder / "summary.json").write_text(summary.replace('"kl": 3.0', '"kl": Infinity'), encoding="utf-8")
    study = read_study(tmp_path)
    (run,) = study.runs
    assert run.kl is None and run.mean("shapes", "after") == 0.6
    assert [point.kl for point in run.progress] == [0.0, None]
    assert run.missing == (
        "summary.json: 1 number is not finite (Infinity), and left out",
        "progress.jsonl: 1 number is not finite (NaN), and left out",
    )
    how = Comparing(confidence=0.95, draws=100, seed=1, kl=None)
    assert "1 number is not finite (NaN)" in page(study, analyses(study, how), [], made.LIMITS)


def test_a_run_from_before_there_were_records(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    for name in ("progress.jsonl", "heldout.jsonl"):
        (folder / name).unlink()
    (run,) = read_study(tmp_path).runs
    assert run.missing == (
        "no progress.jsonl: it cannot be compared at equal images, equal judge calls or matched KL",
        "no heldout.jsonl: it cannot be paired by prompt",
    )
    curve = run.curves["reward/mean"]  # from what the summary says was spent in all
    assert (curve.images, curve.judge_calls) == ((4.0, 8.0), (10.0, 20.0))


def test_a_run_from_before_its_curves_had_a_file_is_told_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").rename(folder / "events.out.tfevents.1795971961.vm.28975.1")
    (run,) = read_study(tmp_path).runs
    assert run.curves == {}
    (said,) = run.missing
    assert said.startswith("no metrics.jsonl: no curves of training; a run of before there was this file has them in")
    assert run.mean("shapes", "after") == 0.6  # what it measured is read


def test_a_study(tmp_path: Path) -> None:
    block = (
        "study: {name: reward_form, question: which?, reference: scalar, arm: %s, arms: [scalar, rubric, oracle], "
        "claims: [[rubric, scalar]], pairs: ['rubric > oracle']}\n"
    )
    for arm, seed in (("rubric", 2), ("rubric", 1), ("scalar", 1)):
        write_run(tmp_path / f"arm={arm},seed={seed}", seed, block % arm)
    study = read_study(tmp_path)
    assert (study.name, study.question, study.reference) == ("reward_form", "which?", "scalar")
    assert study.arms == ("scalar", "rubric")
    assert [(run.arm, run.seed) for run in study.runs] == [("scalar", 1), ("rubric", 1), ("rubric", 2)]
    assert [run.seed for run in study.of("rubric")] == [1, 2]
    assert study.claims == (("rubric", "scalar"),)
    assert study.pairs == (("rubric", "oracle"),)
    assert study.missing == ("no run of the arm 'oracle'",)


@pytest.mark.parametrize("written", ["[[rubric, scalar]]", "[rubric, scalar]", "['rubric > scalar']", "rubric > scalar"])
def test_an_order_can_be_written_in_several_ways(tmp_path: Path, written: str) -> None:
    write_run(tmp_path / "run", config=f"study: {{claims: {written}}}\n")
    assert read_study(tmp_path).claims == (("rubric", "scalar"),)


def test_a_sweep_without_a_study(tmp_path: Path) -> None:
    for name in ("reward=scalar,seed=1", "reward=rubric,seed=1"):
        write_run(tmp_path / "sweep" / name)
    (tmp_path / "sweep" / "multirun.yaml").write_text("hydra: {}", encoding="utf-8")
    (tmp_path / "sweep" / ".submitit").mkdir()
    (tmp_path / "sweep" / ".submitit" / "config.yaml").write_text("", encoding="utf-8")
    study = read_study(tmp_path / "sweep")
    assert (study.name, study.reference, study.claims) == ("sweep", None, ())
    assert study.arms == ("t2i_rpo, reward=rubric", "t2i_rpo, reward=scalar")


def test_a_run_that_was_made_twice_is_named(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_run(tmp_path / name)
    study = read_study(tmp_path)
    assert study.missing == ("second is in no comparison: first is of the same arm (t2i_rpo) and replicate (seed 1)",)


def test_verdict_pictures(tmp_path: Path) -> None:
    folder, whole = write_run(tmp_path / "run"), dict.fromkeys(verdicts.SHOWN)
    write(folder / "verdict_pictures" / "update_00010.json", {"update": 10, "pairs": [{"n": 2, **whole}]})
    write(folder / "verdict_pictures" / "update_00000.json", {"update": 0, "pairs": [{"n": 1, **whole}]})
    (folder / "verdict_pictures" / "update_00020.json").write_text("{", encoding="utf-8")
    wrong: list[str] = []
    pairs = verdicts.read(read_study(tmp_path).runs[0], wrong)
    assert [(pair["update"], pair["n"], pair["folder"].name) for pair in pairs] == [
        (0, 1, "verdict_pictures"), (10, 2, "verdict_pictures"),
    ]  # fmt: skip
    assert len(wrong) == 1


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        read_study(tmp_path)


def write_annotators(folder: Path, block: str = "") -> None:
    for arm, annotator in (("told", "mia"), ("told", "nils"), ("scalar", "mia"), ("scalar", "nils")):
        config = f"study: {{name: s, reference: told, arm: {arm}, annotator: {annotator}{block}}}\n"
        write_run(folder / f"arm={arm},annotator={annotator},seed=1", config=config)


def test_what_arms_are_repeated_over_makes_no_arm(tmp_path: Path) -> None:
    write_annotators(tmp_path, ", replicates: annotator")
    study = read_study(tmp_path)
    assert study.arms == ("scalar", "told")
    assert study.unit == "annotator"
    assert [(run.arm, run.which) for run in study.runs] == [
        ("scalar", "mia, seed 1"),
        ("scalar", "nils, seed 1"),
        ("told", "mia, seed 1"),
        ("told", "nils, seed 1"),
    ]
    assert study.missing == ()  # the annotator in the blocks is the runs' own
    rows = tables.runs(study)
    assert rows.head[:4] == ("run", "arm", "annotator", "seed")
    assert [cell.text for cell in rows.rows[0]][1:4] == ["scalar", "mia", "1"]


def test_a_run_of_before_the_study_said_so_is_repeated_as_the_others_are(tmp_path: Path) -> None:
    write_annotators(tmp_path)
    write_run(
        tmp_path / "arm=told,annotator=olga,seed=1",
        config="study: {name: s, reference: told, arm: told, replicates: annotator}\n",
    )
    study = read_study(tmp_path)
    assert (study.arms, study.unit, study.reference) == (("scalar", "told"), "annotator", "told")
    assert study.missing == ()
    assert "different" not in " ".join(study.missing)


def test_of_one_annotator_seeds_are_what_there_are_several_of(tmp_path: Path) -> None:
    for arm, seed in (("told", 1), ("told", 2), ("scalar", 1), ("scalar", 2)):
        config = f"study: {{reference: told, arm: {arm}, replicates: annotator}}\n"
        write_run(tmp_path / f"arm={arm},annotator=mia,seed={seed}", seed, config)
    study = read_study(tmp_path)
    assert (study.unit, study.arms) == ("seed", ("scalar", "told"))
    assert [run.which for run in study.of("told")] == ["seed 1", "seed 2"]


def test_a_run_that_is_of_nobody_is_named_and_left_out(tmp_path: Path) -> None:
    write_annotators(tmp_path, ", replicates: annotator")
    write_run(tmp_path / "arm=told,seed=1", config="study: {name: s, reference: told, arm: told}\n")
    study = read_study(tmp_path)
    assert len(study.runs) == 4
    assert study.missing == ("arm=told,seed=1 is left out: its folder names no annotator",)
    assert {run.of for run in read_study(tmp_path, replicates="").runs} == {""}  # by seeds alone, if one wants it


def test_the_csv_says_of_whom_a_run_is(tmp_path: Path) -> None:
    write_annotators(tmp_path, ", replicates: annotator")
    head, *rows = results_csv(read_study(tmp_path)).splitlines()
    assert head.startswith("arm,annotator,seed,measure,before")
    assert [row.split(",")[:3] for row in rows] == [[arm, who, "1"] for arm in ("scalar", "told") for who in ("mia", "nils")]


def test_replicates_can_be_named_for_runs_whose_study_names_none(tmp_path: Path) -> None:
    write_annotators(tmp_path)
    assert read_study(tmp_path).arms == (
        "scalar, annotator=mia",
        "scalar, annotator=nils",
        "told, annotator=mia",
        "told, annotator=nils",
    )
    assert read_study(tmp_path, replicates="annotator").arms == ("scalar", "told")
    with pytest.raises(
        UserError, match="replicates=annotater: no run's folder is named so; a name is 'arm=scalar,annotator=mia,seed=1'"
    ):
        read_study(tmp_path, replicates="annotater")


def test_links_to_runs_are_runs_and_each_counts_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "elsewhere" / "run")
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen" / "mine").symlink_to(run)
    (tmp_path / "chosen" / "again").symlink_to(tmp_path / "chosen")  # a circle
    (one,) = read_study(tmp_path / "chosen").runs
    assert one.name == "mine"
