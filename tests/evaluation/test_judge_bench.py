"""The bench as a run: what it writes, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from arr_rpo.evaluation.judge_bench import Failures, JudgeBench, markdown
from arr_rpo.judge.asking import digest
from arr_rpo.judge.reasons import FIXES
from arr_rpo.reward.monotony import Monotony
from arr_rpo.reward.pair_protocols import Compare
from arr_rpo.types import Cost, Criterion, Outcome, Preference, Prompt, Reason, Rubric, UserError
from tests.evaluation.doubles import QUICK, SCRIPT, Pairs, ScriptedJudge

SETTING = {"judge": "scripted"}


def make(folder: Path, judge: ScriptedJudge, **changes: Any) -> JudgeBench:
    arguments: dict[str, Any] = {
        "folder": str(folder),
        "judge": judge,
        "protocol": Compare(uses_rubric=False),
        "rubric": None,
        "pairs": Pairs(SCRIPT),
        "batch_size": 2,
        "limit": None,
        "seed": 0,
        "resampling": QUICK,
        "calibration_bins": 10,
        "progress": False,
        "monotony": Monotony(after=24),
    }
    return JudgeBench(**{**arguments, **changes})


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "judged_pairs.jsonl").read_text(encoding="utf-8").splitlines()]


def without_time(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figure for name, figure in figures.items() if name != "seconds"}


def test_what_a_run_writes(tmp_path: Path) -> None:
    result = make(tmp_path, ScriptedJudge(SCRIPT)).run(SETTING)
    assert result.pairs == 9
    assert dict(result.labels) == {"A": 4, "B": 3, "tie": 2}
    assert dict(result.outcomes) == {"A": 4, "B": 1, "inconsistent": 1, "tie": 2, "failed": 1}
    assert result.failures["not_json"] == Failures(1, "no | reply", FIXES[Reason.NOT_JSON])
    written = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert written["overall"]["accuracy"]["value"] == pytest.approx(3 / 7)
    assert written["setting"] == {
        "judge": "scripted",
        "limit": None,
        "seed": 0,
        "judge_name": "scripted",
        "judge_revision": "1",
    }
    # even: right 1, right 3, flip, failed, labelled tie; odd: right 2, wrong, tie, both tie
    assert written["by_subset"]["even"]["accuracy"]["value"] == pytest.approx(2 / 4)
    assert written["by_subset"]["odd"]["accuracy"]["value"] == pytest.approx(1 / 3)
    text = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert text == markdown(result)
    assert "| accuracy | 0.429 |" in text
    assert f"| not_json | 1 | no / reply | {FIXES[Reason.NOT_JSON]} |" in text


def test_mmrb2_predictions(tmp_path: Path) -> None:
    """`reverse` is the letter as the judge saw it, with B shown first; MMRB2's scorer turns it back."""
    make(tmp_path, ScriptedJudge(SCRIPT)).run(SETTING)
    written = json.loads((tmp_path / "mmrb2_predictions.json").read_text(encoding="utf-8"))
    assert written["right 1"] == {"forward": [{"judgement": "A"}], "reverse": [{"judgement": "B"}]}
    assert written["right 2"] == {"forward": [{"judgement": "B"}], "reverse": [{"judgement": "A"}]}
    assert written["flip"] == {"forward": [{"judgement": "A"}], "reverse": [{"judgement": "A"}]}  # always the first
    assert written["tie"] == {"forward": [{"judgement": "A"}], "reverse": [{"judgement": "tie"}]}
    assert written["failed"] == {"forward": [], "reverse": []}
    # the official count: each order that was answered, against the label
    right = total = 0
    turn = {"A": "B", "B": "A", "tie": "tie"}
    for name, (label, answer) in SCRIPT.items():
        if label.value != "tie" and answer:
            forward, reverse = (written[name][order][0]["judgement"] for order in ("forward", "reverse"))
            right += (forward == label.value) + (turn[reverse] == label.value)
            total += 2
    assert (right, total) == (5 + 3, 12)  # of `accuracy_a_first` and `accuracy_b_first`, whose half right is wrong here


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    script = {name: row for name, row in SCRIPT.items() if name != "failed"}
    whole = make(tmp_path / "whole", ScriptedJudge(script), pairs=Pairs(script)).run(SETTING)
    stopped = ScriptedJudge(script, stop_at="flip")
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "part", stopped, pairs=Pairs(script)).run(SETTING)
    assert stopped.asked == ["right 1", "right 2", "right 3", "wrong"]
    with (tmp_path / "part" / "judged_pairs.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "flip", "prompt_id"')  # what a killed run may leave
    resumed = ScriptedJudge(script)
    result = make(tmp_path / "part", resumed, pairs=Pairs(script), batch_size=3).run(SETTING)
    assert resumed.asked == ["flip", "tie", "both tie", "labelled tie"]
    assert without_time(dict(result.overall)) == without_time(dict(whole.overall))
    assert [row["id"] for row in lines(tmp_path / "part")] == list(script)
    again = ScriptedJudge(script)
    make(tmp_path / "part", again, pairs=Pairs(script)).run(SETTING)
    assert again.asked == []


def test_a_bench_of_before_goes_on_in_its_own_file(tmp_path: Path) -> None:
    script = {name: row for name, row in SCRIPT.items() if name != "failed"}
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, ScriptedJudge(script, stop_at="flip"), pairs=Pairs(script)).run(SETTING)
    before = (tmp_path / "judged_pairs.jsonl").rename(tmp_path / "verdicts.jsonl")
    resumed = ScriptedJudge(script)
    make(tmp_path, resumed, pairs=Pairs(script)).run(SETTING)
    assert resumed.asked == ["flip", "tie", "both tie", "labelled tie"]
    assert [json.loads(line)["id"] for line in before.read_text(encoding="utf-8").splitlines()] == list(script)
    assert not (tmp_path / "judged_pairs.jsonl").exists()


def test_a_failure_is_asked_about_again(tmp_path: Path) -> None:
    make(tmp_path, ScriptedJudge(SCRIPT)).run(SETTING)
    back = ScriptedJudge({**SCRIPT, "failed": (SCRIPT["failed"][0], (0.1, 0.1))})
    result = make(tmp_path, back).run(SETTING)
    assert back.asked == ["failed"]
    assert result.overall["accuracy"].value == pytest.approx(4 / 7)
    assert result.overall["failure_rate"].value == 0
    assert result.pairs == 9


def test_verdicts_of_another_bench_are_not_mixed_in(tmp_path: Path) -> None:
    make(tmp_path, ScriptedJudge(SCRIPT)).run(SETTING)
    for revision, setting, limit, named in (
        ("2", SETTING, None, "judge_revision"),
        ("1", {"judge": "other"}, None, "judge"),
        ("1", SETTING, 3, "limit"),
    ):
        bench = make(tmp_path, ScriptedJudge(SCRIPT, revision=revision), limit=limit)
        with pytest.raises(UserError, match=f"holds verdicts of another bench: {named} "):
            bench.run(setting)


def test_a_strange_line_is_named(tmp_path: Path) -> None:
    make(tmp_path, ScriptedJudge(SCRIPT)).run(SETTING)
    path = tmp_path / "judged_pairs.jsonl"
    path.write_text('{"id": 1}\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UserError, match=r"judged_pairs.jsonl, line 1 is no verdict"):
        make(tmp_path, ScriptedJudge(SCRIPT)).run(SETTING)


def test_a_sample(tmp_path: Path) -> None:
    judges = [ScriptedJudge(SCRIPT) for _ in range(3)]
    for judge, folder, seed in zip(judges, ("a", "b", "c"), (0, 0, 1), strict=True):
        assert make(tmp_path / folder, judge, limit=4, seed=seed).run(SETTING).pairs == 4
    assert judges[0].asked == judges[1].asked != judges[2].asked
    assert judges[0].asked == [name for name in SCRIPT if name in judges[0].asked]  # in the order of the data


class Rubrics:
    """A rubric for every prompt but one, at 3 calls a batch."""

    def __init__(self) -> None:
        self.cost, self.learned = Cost(), set[frozenset[str]]()

    def rubrics(self, prompts: Sequence[Prompt], judge: object) -> list[Rubric | None]:
        self.cost += Cost(3, 30)
        return [None if p.id == "right 1" else Rubric((Criterion("red", "is it red?"),)) for p in prompts]


class RedIsTrue(Pairs):
    @staticmethod
    def truth(prompt: Prompt, question: str, image: object) -> bool | None:
        return True if question == "is it red?" else None


def test_with_rubrics(tmp_path: Path) -> None:
    bench = make(tmp_path, ScriptedJudge(SCRIPT), protocol=Compare(uses_rubric=True), rubric=Rubrics(), pairs=RedIsTrue(SCRIPT))
    result = bench.run(SETTING)
    assert result.writing == Cost(5 * 3, 5 * 30)  # nine pairs in batches of two
    assert result.outcomes["failed"] == 2  # "right 1" has no rubric
    assert Reason.NO_RUBRIC in result.failures
    # seven verdicts with checks: 0.9 for A is right, 0.2 for B is wrong
    assert result.by_criterion["red"]["accuracy"].value == pytest.approx(0.5)
    assert result.by_criterion["red"]["accuracy"].of == 7
    # favours A always; of the labelled five with a verdict, three are for A
    assert result.by_criterion["red"]["agreement"].value == pytest.approx(3 / 5)


class Apart(Pairs):
    """Each pair with pictures of its own."""

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        for i in indices:
            a, b = (Image.new("RGB", (4, 4), (i, side, 0)) for side in (0, 1))
            yield replace(next(iter(super().open([i]))), a=a, b=b)


def test_pairs_whose_labels_the_rubrics_come_of_are_left_out(tmp_path: Path) -> None:
    rubrics, pairs = Rubrics(), Apart(SCRIPT)
    rubrics.learned = {frozenset((digest(pair.b), digest(pair.a))) for pair in pairs.open([0, 4])}
    given: Any = {"protocol": Compare(uses_rubric=True), "rubric": rubrics, "pairs": pairs}
    judge = ScriptedJudge(SCRIPT)
    result = make(tmp_path / "some", judge, **given).run(SETTING)
    assert (result.pairs, result.skipped) == (7, 0)
    assert "rows left out: whose label the rubrics come of 2" in markdown(result)
    assert not {pairs.ids[0], pairs.ids[4]} & {*judge.asked}
    rubrics.learned = {frozenset((digest(pair.a), digest(pair.b))) for pair in pairs.open(range(len(pairs)))}
    with pytest.raises(UserError, match=r"come of the labels of 9: name other pairs as rubric.preferences"):
        make(tmp_path / "all", ScriptedJudge(SCRIPT), **given).run(SETTING)
    unread = make(tmp_path / "unread", ScriptedJudge(SCRIPT), **{**given, "protocol": Compare(uses_rubric=False)})
    assert unread.run(SETTING).pairs == 9


def test_a_protocol_with_rubrics_needs_some(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rubric=per_prompt"):
        make(tmp_path, ScriptedJudge(SCRIPT), protocol=Compare(uses_rubric=True))


class SomeMissing(Pairs):
    def __init__(self, missing: set[str]) -> None:
        super().__init__(SCRIPT)
        self.missing = missing

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        return (pair for pair in super().open(indices) if pair.id not in self.missing)


def test_skipped_pairs_are_counted(tmp_path: Path) -> None:
    result = make(tmp_path / "some", ScriptedJudge(SCRIPT), pairs=SomeMissing({"wrong", "right 3"})).run(SETTING)
    assert (result.pairs, result.skipped) == (7, 2)
    assert "skipped for their images: 2" in markdown(result)
    with pytest.raises(UserError, match="none of the 9 pairs could be judged: their images"):
        make(tmp_path / "none", ScriptedJudge(SCRIPT), pairs=SomeMissing(set(SCRIPT))).run(SETTING)


def test_a_judge_that_fails_on_everything_ends_the_bench(tmp_path: Path) -> None:
    """After so many failures, before all are paid for; and at the end of a bench of fewer pairs."""
    silent = {f"pair {i}": (Outcome.A, None) for i in range(10)}
    judge = ScriptedJudge(silent)
    with pytest.raises(UserError, match=r"cannot be measured.*first 4 answers.*not_json.*answers=schema"):
        make(tmp_path / "many", judge, pairs=Pairs(silent), monotony=Monotony(after=4)).run(SETTING)
    assert len(judge.asked) == 4
    with pytest.raises(UserError, match="first 10 answers"):
        make(tmp_path / "few", ScriptedJudge(silent), pairs=Pairs(silent)).run(SETTING)
    assert (tmp_path / "few" / "bench.json").is_file()


def test_a_judge_that_always_says_the_same_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = {f"pair {i}": (Outcome.A, (0.9, 0.2)) for i in range(6)}  # the image that is shown first, whichever that is
    make(tmp_path, ScriptedJudge(first), pairs=Pairs(first), monotony=Monotony(after=4)).run(SETTING)
    assert "first 4 answers: the image that is shown first is the better one" in caplog.text
