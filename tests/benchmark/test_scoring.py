"""Questions of the benchmarks, and what becomes of a judge's answers. Expected figures are counted by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL.Image import Image

from arr_rpo.benchmark.items import Item
from arr_rpo.benchmark.prompt_files import texts_of_folder
from arr_rpo.benchmark.questions import FixedQuestions, Graph, PointsOfPrompt, Question, YesNoLists
from arr_rpo.benchmark.scoring import ScoredPicture, _append, _read, after_parents, figures, score
from arr_rpo.evaluation.bootstrap import Resampling
from arr_rpo.types import Answer, Cost, Prompt, UserError
from tests.benchmark.test_folders import benchmark, drawn

SHARED = Path(__file__).parents[3] / "shared" / "data" / "ELLA" / "dpg_bench" / "prompts"
RESAMPLING = Resampling(draws=50, confidence=0.95, unit="prompt", seed=0)
HEADER = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language\n"
# Of "partiprompts94": an astronaut in a white suit on a brown horse in a forest, at a river with water lilies.
ASTRONAUT = HEADER + "".join(
    f'partiprompts94,,,{number},"{parents}",{category},,,{question}\n'
    for number, parents, category, question in (
        (1, "0", "entity", "Is there an astronaut?"),
        (2, "1", "attribute", "Is the astronaut's suit white?"),
        (3, "0", "entity", "Is there a horse?"),
        (4, "1, 3", "relation", "Does the astronaut ride the horse?"),
        (5, "4", "relation", "Do they stand at the river's edge?"),
        (6, "0", "entity", "Is there a river?"),
        (7, "6", "entity", "Are there water lilies on the river?"),
    )
)


class Judge:
    """Says yes to the questions in `yes`, and nothing to those in `silent`."""

    name, revision = "scripted", "1"

    def __init__(self, yes: Sequence[str], silent: Sequence[str] = ()) -> None:
        self.yes, self.silent, self.asked = yes, silent, 0

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        self.asked += len(questions)
        return [
            Answer(None, Cost(1, 2), "no answer") if q in self.silent else Answer(0.9 if q in self.yes else 0.2, Cost(1, 2))
            for q in questions
        ]


def graph(tmp_path: Path, text: str = ASTRONAUT) -> Graph:
    path = tmp_path / "dpg_bench.csv"
    path.write_text(text, encoding="utf-8")
    return Graph(str(path))


def of_astronaut(tmp_path: Path) -> tuple[Question, ...]:
    return graph(tmp_path).of(Item("partiprompts94", 0, ""))


def answers(questions: Sequence[Question], wrong: Sequence[int], missing: Sequence[int] = ()) -> dict[str, bool | None]:
    return {q.id: None if int(q.id) in missing else int(q.id) not in wrong for q in questions}


@pytest.mark.parametrize(
    ("wrong", "missing", "kept"),
    [
        ([], [], [1, 1, 1, 1, 1, 1, 1]),
        ([3], [], [1, 1, 0, 0, 0, 1, 1]),  # no horse: no riding, so not at the river's edge either; the river stays
        ([1], [], [0, 0, 1, 0, 0, 1, 1]),
        ([2, 7], [], [1, 0, 1, 1, 1, 1, 0]),  # leaves fail alone
        ([], [6], [1, 1, 1, 1, 1, None, None]),  # not answered: missing, with its children
        ([1], [3], [0, 0, None, 0, 0, 1, 1]),  # a failed parent fails, whatever the other is
    ],
)
def test_a_child_of_a_failed_parent_counts_as_failed(
    wrong: list[int], missing: list[int], kept: list[int | None], tmp_path: Path
) -> None:
    questions = of_astronaut(tmp_path)
    found = after_parents(questions, answers(questions, wrong, missing))
    assert list(found.values()) == [None if one is None else bool(one) for one in kept]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no {SHARED}")
def test_the_graph_is_found_by_the_name_of_ellas_prompt(tmp_path: Path) -> None:
    items = {item.key: item for item in texts_of_folder(str(SHARED))}
    assert len(items) == 1065
    assert items["partiprompts94"].text.startswith("A surreal image capturing an astronaut in a white space suit")
    assert len(graph(tmp_path).of(items["partiprompts94"])) == 7
    with pytest.raises(UserError, match="has no questions of 'partiprompts93'"):
        graph(tmp_path).of(items["partiprompts93"])


def test_figures_of_a_graph_by_hand(tmp_path: Path) -> None:
    questions = of_astronaut(tmp_path)
    categories = {q.id: q.category for q in questions}

    def scored(sample: int, wrong: Sequence[int], missing: Sequence[int]) -> ScoredPicture:
        right = answers(questions, wrong, missing)
        return ScoredPicture("partiprompts94", sample, right, after_parents(questions, right), categories)

    found = figures([scored(0, [3], []), scored(1, [], [6])], RESAMPLING)
    assert found["overall"]["value"] == pytest.approx((4 / 7 + 5 / 5) / 2)
    assert found["by_category"]["relation"]["value"] == 1.0  # their own answers, as the official categories are
    assert found["by_category"]["entity"] == {"value": pytest.approx(6 / 7), "low": None, "high": None, "of": 7}
    assert (found["questions"], found["unanswered"]) == (14, 1)


def test_a_judge_is_asked_once_and_again_only_where_it_failed(tmp_path: Path) -> None:
    one = benchmark("dpg", tmp_path / "in")
    drawn(one, tmp_path / "out")
    rows = "".join(f"{key},,,{n},0,c,,,question {n}\n" for key in ("7", "COCOval0001", "posescript1") for n in (1, 2))
    questions = graph(tmp_path, HEADER + rows)

    def ask(judge: Judge) -> dict[str, object]:
        scored = score(judge, one.layout, one.files, questions, tmp_path / "out", tmp_path / "rows", 2, lambda _: None)
        return figures(scored, RESAMPLING)

    first = Judge(["question 1"], silent=["question 2"])
    found = ask(first)
    assert (first.asked, found["pictures"], found["unanswered"]) == (3 * 4 * 2, 12, 12)
    assert found["overall"]["value"] == 1.0  # type: ignore[index]  # of what was answered
    assert found["reasons"] == ["no answer"]
    (tmp_path / "rows").write_bytes((tmp_path / "rows").read_bytes() + b'{"cut of')
    second = Judge(["question 1"])
    found = ask(second)
    assert (second.asked, found["unanswered"], found["overall"]["value"]) == (24, 0, 0.5)  # type: ignore[index]
    third = Judge([])
    assert ask(third) == found
    assert third.asked == 0


def test_answers_are_read_again_whatever_the_judge_wrote(tmp_path: Path) -> None:
    one = ScoredPicture("a", 0, {"1": None}, {"1": None}, {"1": ""}, "no answer: 'Yes.\u2028The\x85cat'", Cost(1, 2))
    _append(tmp_path / "answers.jsonl", [one])
    assert _read(tmp_path / "answers.jsonl") == {("a", 0): one}


def test_tiifs_right_answer_may_be_no(tmp_path: Path) -> None:
    row = {"type": "color", "yn_question_list": ["is it red?", "is it blue?"], "yn_answer_list": ["yes", "No"]}
    (tmp_path / "color_eval_prompts.jsonl").write_text(json.dumps(row) + "\n")
    item = Item("color/short_description/0", 0, "", {"type": "color", "register": "short_description", "line": 0})
    questions = YesNoLists(str(tmp_path)).of(item)
    assert [q.expected for q in questions] == [True, False]
    one = benchmark("tiif", tmp_path / "in")
    drawn(one, tmp_path / "out")
    files = [file for file in one.files if file.path == "output/color/m/short_description/0.png"]
    judge = Judge(["is it red?"])
    [found] = score(judge, one.layout, files, YesNoLists(str(tmp_path)), tmp_path / "out", tmp_path / "r", 9, lambda _: None)
    assert found.right == {"0": True, "1": True}
    (tmp_path / "color_eval_prompts.jsonl").write_text(json.dumps({**row, "yn_answer_list": ["yes", "maybe"]}))
    with pytest.raises(UserError, match="line 1: an answer is 'maybe'; expected yes or no"):
        YesNoLists(str(tmp_path))


def test_unigenbenchs_points_and_an_edits_rubric_as_questions(tmp_path: Path) -> None:
    [item, *_] = [file.item for file in benchmark("unigenbench", tmp_path).files]
    points = PointsOfPrompt("sub_dims_en", "Testpoints", "Testpoint Description", "{name}: {description}?")
    asked = [(q.text, q.category) for q in points.of(item)]
    assert asked == [("Style: flat, drawn?", "Style"), ("Attribute - Color: a red circle?", "Attribute")]
    with pytest.raises(UserError, match="'10', column 'sub_dims_zh': there is none"):
        PointsOfPrompt("sub_dims_zh", "Testpoints", "Testpoint Description", "").of(item)
    [question] = FixedQuestions("task_type", {"instruction": "done: {text}?"}).of(Item("k", 0, "paint", {"task_type": "color"}))
    assert (question.text, question.category) == ("done: paint?", "color, instruction")


def test_a_parent_that_is_no_question_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a question of 'a' depends on '9'"):
        graph(tmp_path, HEADER + "a,,,1,9,c,,,q\n")
