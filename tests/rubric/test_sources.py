"""Where rubrics come from: every source of the `rubric` group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hydra.utils import instantiate

from arr_rpo.data.preferences import own
from arr_rpo.data.prompts import read_prompts
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.rubric.controls import Dropout, Shuffled, ShuffledLabels
from arr_rpo.rubric.files import to_yaml
from arr_rpo.rubric.pipeline import Settings
from arr_rpo.rubric.refined import Global, PerPromptRefined, split
from arr_rpo.rubric.sources import FromFile, PerPrompt
from arr_rpo.rubric.verify import Rule
from arr_rpo.shapes.general import GENERAL
from arr_rpo.shapes.oracle_judge import OracleJudge
from arr_rpo.shapes.preferences import ShapesPreferences
from arr_rpo.shapes.questions import questions_of
from arr_rpo.types import Preference, Prompt, Rubric, UserError
from tests.conftest import configure
from tests.rubric.doubles import ScriptedJudge, ScriptedWriter, picture, preference, reply, rubric_of, settings

ORACLE = OracleJudge()
TRAIN, HELDOUT = read_prompts("shapes/train"), read_prompts("shapes/heldout")
RULE = Rule(both_orders=True, min_heldout=0.75)


def indifferent(rubric: Rubric, first: PIL.Image.Image, second: PIL.Image.Image) -> float:
    return 0.5


def questions(rubrics: Sequence[Rubric | None]) -> list[list[str] | None]:
    return [[c.question for c in rubric.criteria] if rubric else None for rubric in rubrics]


# -- per prompt -----------------------------------------------------------------------------------------------------------


def test_each_prompt_is_written_for_once(tmp_path: Path) -> None:
    writer = ScriptedWriter(write=[reply("p?"), reply("q?")])
    judge: Any = ScriptedJudge(indifferent, writer)
    prompts = [Prompt("1", "p"), Prompt("2", "q"), Prompt("3", "p")]
    source = PerPrompt(store=str(tmp_path))
    assert questions(source.rubrics(prompts, judge)) == [["p?"], ["q?"], ["p?"]]
    assert questions(PerPrompt(store=str(tmp_path)).rubrics(prompts, judge)) == [["p?"], ["q?"], ["p?"]]
    assert len(writer.asked) == 2
    assert (source.cost.calls, source.report.rubrics, source.failures) == (2, 2, 0)


def test_a_writer_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    """A server that is away is no malformed reply, and leaves nothing in the store."""
    judge: Any = ScriptedJudge(indifferent, ScriptedWriter(write=["", reply("p?")]))
    source = PerPrompt(store=str(tmp_path))
    assert source.rubrics([Prompt("1", "p")], judge) == [None]
    assert (source.failures, source.report.unanswered, source.report.malformed) == (1, 1, 0)
    assert questions(source.rubrics([Prompt("1", "p")], judge)) == [["p?"]]


def test_a_source_image_makes_another_prompt(tmp_path: Path) -> None:
    """ "make it red" asks for something else of each picture."""
    writer = ScriptedWriter(write=[reply("one?"), reply("two?"), reply("none?")])
    prompts = [Prompt("1", "p", {}, picture("red circle")), Prompt("2", "p", {}, picture("blue star")), Prompt("3", "p")]
    judge: Any = ScriptedJudge(indifferent, writer)
    assert questions(PerPrompt(store=str(tmp_path)).rubrics(prompts, judge)) == [["one?"], ["two?"], ["none?"]]


def test_a_reply_that_is_no_rubric_is_missing_and_counted(tmp_path: Path) -> None:
    judge: Any = ScriptedJudge(indifferent, ScriptedWriter(write=["sorry"]))
    source = PerPrompt(store=str(tmp_path))
    assert source.rubrics([Prompt("1", "p")], judge) == [None]
    assert (source.failures, source.report.malformed, source.report.without) == (1, 1, 1)
    assert not list(tmp_path.iterdir())


# -- from files -----------------------------------------------------------------------------------------------------------


def test_files_by_prompt_and_one_for_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(to_yaml(Rubric(rubric_of("p?").criteria, {"prompt": "p"})), encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"criteria": [{"name": "n", "question": "any?"}]}), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not read", encoding="utf-8")
    source = FromFile(path=str(tmp_path))
    assert questions(source.rubrics([Prompt("1", "p"), Prompt("2", "q")], ORACLE)) == [["p?"], ["any?"]]
    assert source.failures == 0


def test_a_prompt_that_no_file_names_is_missing_and_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rubrics: [{prompt: p, criteria: [{name: n, question: x}]}]\n", encoding="utf-8")
    source = FromFile(path=str(path))
    for _ in range(2):
        assert questions(source.rubrics([Prompt("1", "p"), Prompt("2", "q")], ORACLE)) == [["x"], None]
    assert source.failures == 1


def test_two_rubrics_for_one_prompt_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text("prompt: p\ncriteria: [{name: n, question: x}]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.yaml: a rubric for the prompt 'p' is already in .*a\.yaml"):
        FromFile(path=str(tmp_path))


def test_no_file_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fixed_five_edits, fixed_five_pictures, fixed_five_shapes"):
        FromFile(path=str(tmp_path))


def test_a_store_is_a_folder_of_files(tmp_path: Path) -> None:
    written = refined(tmp_path).rubrics(HELDOUT[:3], ORACLE)
    assert None not in written
    assert FromFile(path=str(tmp_path)).rubrics(HELDOUT[:3], ORACLE) == written


def test_fixed_five_of_the_shapes_are_what_the_judge_was_taught() -> None:
    [rubric] = FromFile(path="fixed_five_shapes").rubrics([Prompt("1", "p")], ORACLE)
    assert rubric is not None
    taught = {name: text for name, text in GENERAL.items() if name != "overall"}
    assert {c.name: c.question for c in rubric.criteria} == taught


def test_edits_can_have_rubrics_of_their_own() -> None:
    edit = Prompt("2", "make it red", source=PIL.Image.new("RGB", (8, 8)))
    both = [Prompt("1", "p"), edit]
    picture, own = FromFile(path="fixed_five_pictures", edit_path="fixed_five_edits").rubrics(both, ORACLE)
    assert picture is not None
    assert own is not None
    assert [{c.theme for c in r.criteria} & {"Preservation"} for r in (picture, own)] == [set(), {"Preservation"}]
    assert FromFile(path="fixed_five_pictures").rubrics(both, ORACLE) == [picture, picture]
    with pytest.raises(UserError, match=r"rubric.edit_path=nowhere: no rubric there"):
        FromFile(path="fixed_five_pictures", edit_path="nowhere")


@pytest.mark.parametrize("name", ["fixed_five_pictures", "fixed_five_edits"])
def test_fixed_five_of_real_pictures(name: str) -> None:
    [rubric] = FromFile(path=name).rubrics([Prompt("1", "p")], ORACLE)
    assert rubric is not None
    assert len(rubric.criteria) == 5
    assert all(c.theme and c.question.endswith("?") for c in rubric.criteria)


# -- auto-rubric ----------------------------------------------------------------------------------------------------------


class Drawn:
    """Drawn pairs, of which the first prompt has none."""

    def __init__(self, without: str = "") -> None:
        self._without = without

    def for_prompt(self, prompt: Prompt, n: int, seed: int) -> list[Preference]:
        return [] if prompt.text == self._without else ShapesPreferences.for_prompt(prompt, n, seed)


def refined(store: Path, labels: str = "true", fallback: Any = None, without: str = "", **changes: Any) -> PerPromptRefined:
    drawn = Drawn(without)
    arguments: dict[str, Any] = {
        "store": str(store),
        "preferences": ShuffledLabels(preferences=drawn, seed=3) if labels == "shuffled" else drawn,
        "seed": 7,
        "writing_pairs": 2,
        "mending_pairs": 4,
        "heldout_pairs": 6,
        "settings": Settings(RULE, 5, 8, True),
        "fallback": fallback,
    }
    return PerPromptRefined(**{**arguments, **changes})


SOME = HELDOUT[::40]  # of every kind


def test_true_labels_verify_and_give_the_criteria_of_the_prompt(tmp_path: Path) -> None:
    source = refined(tmp_path)
    rubrics = source.rubrics(SOME, ORACLE)
    report = source.report
    assert len({p.metadata["tag"] for p in SOME}) >= 4
    assert (report.drafts, report.rubrics, report.without) == (2 * len(SOME), len(SOME), 0)
    assert sum(report.verified) >= report.drafts - 3  # one that misses held-out pairs alone cannot be mended
    for prompt, asked in zip(SOME, questions(rubrics), strict=True):
        assert asked is not None
        assert set(asked) <= {str(q) for q in questions_of(prompt.metadata)}
    themes = [[c.theme for c in rubric.criteria] for rubric in rubrics if rubric]
    assert all(all(some) for some in themes)


def test_shuffled_labels_do_not_verify(tmp_path: Path) -> None:
    """With sixteen held-out pairs, labels by a coin get past three quarters of them once in fifty."""
    source = refined(tmp_path, labels="shuffled", writing_pairs=1, heldout_pairs=16)
    assert source.rubrics(SOME, ORACLE) == [None] * len(SOME)
    assert sum(source.report.verified) == 0
    assert source.report.drafts == source.failures == len(SOME)


@pytest.mark.slow
def test_the_embedded_judge_verifies_true_labels_and_not_those_of_a_coin(judge: VLMJudge, tmp_path: Path) -> None:
    """It sees pictures and writes, where the oracle knows."""
    some = SOME[::2]
    true = refined(tmp_path / "true", heldout_pairs=12)
    assert sum(rubric is not None for rubric in true.rubrics(some, judge)) >= len(some) - 2
    coin = refined(tmp_path / "coin", labels="shuffled", heldout_pairs=12)
    assert sum(rubric is not None for rubric in coin.rubrics(some, judge)) <= 1
    assert coin.report.drafts == true.report.drafts == 2 * len(some)


def test_labels_are_shuffled_by_prompt_and_seed() -> None:
    pairs = ShuffledLabels(preferences=Drawn(), seed=3).for_prompt(SOME[0], 40, 7)
    true = ShapesPreferences.for_prompt(SOME[0], 40, 7)
    exchanged = [a.better is not b.better for a, b in zip(pairs, true, strict=True)]
    assert 10 < sum(exchanged) < 30
    assert [p.better for p in pairs] == [
        p.better for p in ShuffledLabels(preferences=Drawn(), seed=3).for_prompt(SOME[0], 40, 7)
    ]


def test_a_second_run_asks_nothing_and_finds_the_same(tmp_path: Path) -> None:
    first = refined(tmp_path).rubrics(SOME[:4], ORACLE)
    silent: Any = ScriptedJudge(indifferent, ORACLE.writer)
    silent.name, silent.revision = ORACLE.name, ORACLE.revision
    again = refined(tmp_path)
    assert again.rubrics(SOME[:4], silent) == first
    assert silent.asked == 0
    assert again.cost.calls == 0


def test_a_discarded_prompt_is_not_tried_again(tmp_path: Path) -> None:
    judge: Any = ScriptedJudge(indifferent, ScriptedWriter(write_pair=[reply("x?"), reply("y?")]))
    arguments = {"settings": settings(0)}
    assert refined(tmp_path, **arguments).rubrics(SOME[:1], judge) == [None]
    source = refined(tmp_path, **arguments)
    asked = judge.asked
    assert source.rubrics(SOME[:1], judge) == [None]  # the writer has no more replies
    assert (judge.asked, source.failures, source.report.without) == (asked, 1, 1)


def test_a_judge_that_was_not_heard_is_asked_again(tmp_path: Path) -> None:
    def unheard(rubric: Rubric, first: PIL.Image.Image, second: PIL.Image.Image) -> float:
        return float("nan")

    judge: Any = ScriptedJudge(unheard, ScriptedWriter(write_pair=[reply("x?")] * 6))
    first, second = refined(tmp_path, settings=settings(0)), refined(tmp_path, settings=settings(0))
    for source in (first, first, second):
        assert source.rubrics(SOME[:1], judge) == [None]
    assert not list(tmp_path.iterdir())
    assert len(judge.writer.asked) == 6


@pytest.mark.parametrize("fallback", [False, True])
def test_prompts_without_pairs_fall_back(fallback: bool, tmp_path: Path) -> None:
    source = refined(tmp_path, fallback=PerPrompt(store=str(tmp_path)) if fallback else None, without=SOME[0].text)
    rubric, other = source.rubrics(SOME[:2], ORACLE)
    assert other is not None
    assert "judge" in other.provenance
    if fallback:
        assert rubric is not None
        assert [c.question for c in rubric.criteria] == [str(q) for q in questions_of(SOME[0].metadata)]
        assert "judge" not in rubric.provenance
    else:
        assert rubric is None
    assert source.failures == 1
    assert source.cost.calls == source.report.cost.calls + int(fallback)


def test_another_label_or_setting_is_another_rubric(tmp_path: Path) -> None:
    refined(tmp_path).rubrics(SOME[:1], ORACLE)
    refined(tmp_path, labels="shuffled").rubrics(SOME[:1], ORACLE)
    refined(tmp_path, settings=Settings(Rule(both_orders=False, min_heldout=0.75), 5, 8, True)).rubrics(SOME[:1], ORACLE)
    assert len(list(tmp_path.iterdir())) == 3


def test_pairs_are_split_without_ties_and_without_shared_images() -> None:
    prompt = Prompt("p", "p")
    a, b, c, d = (picture(kind) for kind in ("red circle", "blue star", "green square", "yellow circle"))
    pairs = [
        preference("tie", prompt, a, b, "tie"),
        preference("1", prompt, a, b, "A"),
        preference("2", prompt, b.copy(), c, "B"),  # shares an image with 1
        preference("3", prompt, c, d, "A"),
    ]
    ids = lambda parts: [[p.id for p in part] for part in parts]  # noqa: E731
    assert ids(split(pairs, 1, 5)) == [["1"], ["3"], []]
    assert ids(split(pairs[:2], 2, 3)) == [["1"], [], []]
    assert split([], 1, 1) == ((), (), ())
    more = [*pairs, preference("4", prompt, d, picture("red star"), "A")]
    more.append(preference("5", prompt, picture("purple circle"), picture("green circle"), "B"))
    assert ids(split(more, 1, 1, 2)) == [["1"], ["3"], ["5"]]  # 4 shares an image with what is held out


def test_pairs_of_a_prompt_in_a_file_come_without_shared_images_first(tmp_path: Path) -> None:
    kinds = ("red circle", "blue star", "green square", "yellow circle")
    for i, kind in enumerate(kinds):
        picture(kind).save(tmp_path / f"{i}.png")
    rows = [(0, 1), (0, 2), (2, 3), (1, 3)]
    lines = [{"prompt": "p", "a": f"{a}.png", "b": f"{b}.png", "better": "A"} for a, b in rows]
    lines.append({"prompt": "q", "a": "0.png", "b": "1.png", "better": "A"})
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    reading: Any = {"image_root": None, "strip_prefix": None, "swap_seed": None, "ties": "keep", "on_missing": "error"}
    pairs = own.jsonl(path=str(tmp_path / "pairs.jsonl"), **reading)
    for seed in range(4):
        first, second, *rest = pairs.for_prompt(Prompt("x", "p"), 9, seed)
        shown = {image.tobytes() for p in (first, second) for image in (p.a, p.b)}
        assert len(shown) == 4
        assert len(rest) == 2
    assert len(pairs.for_prompt(Prompt("x", "p"), 1, 0)) == 1
    assert pairs.for_prompt(Prompt("x", "p", {}, picture("red circle")), 9, 0) == []
    assert len({pairs.for_prompt(Prompt("x", "p"), 1, seed)[0].id for seed in range(20)}) > 1


def test_one_rubric_for_all_from_pairs_of_many(tmp_path: Path) -> None:
    pairs = ShapesPreferences(split="shapes/train", pairs_per_prompt=1, seed=7, ties="drop", policy=None)
    arguments: Any = {"store": str(tmp_path), "preferences": pairs, "seed": 7, "writing_pairs": 8, "heldout_pairs": 16}
    rule = Settings(Rule(both_orders=True, min_heldout=0.3), 0, 8, True)
    source = Global(**arguments, settings=rule)
    rubrics = source.rubrics(HELDOUT[:3], ORACLE)
    assert rubrics[0] is not None
    assert rubrics == [rubrics[0]] * 3
    assert {c.question for c in rubrics[0].criteria} <= set(GENERAL.values())
    assert "prompt" not in rubrics[0].provenance
    assert int(rubrics[0].provenance["heldout_pairs"]) == 16
    silent: Any = ScriptedJudge(indifferent, ORACLE.writer)
    silent.name, silent.revision = ORACLE.name, ORACLE.revision
    assert Global(**arguments, settings=rule).rubrics(HELDOUT[:1], silent) == rubrics[:1]
    assert silent.asked == 0
    with pytest.raises(UserError, match="none of the 8 drafts"):
        Global(**arguments, settings=Settings(Rule(True, 1.0), 0, 8, True)).rubrics(HELDOUT[:1], ORACLE)


# -- controls -------------------------------------------------------------------------------------------------------------


def test_shuffled_is_never_a_prompts_own(tmp_path: Path) -> None:
    own_source = PerPrompt(store=str(tmp_path))
    whole = own_source.rubrics(HELDOUT, ORACLE)
    source = Shuffled(source=own_source, prompts="shapes/train", seed=1)
    shuffled = source.rubrics(HELDOUT, ORACLE)
    for prompt, mine, other in zip(HELDOUT, whole, shuffled, strict=True):
        assert mine is not None
        assert other is not None
        assert {c.question for c in mine.criteria} != {c.question for c in other.criteria}
        assert other.provenance["prompt"] != prompt.text
        assert other.provenance["shuffled_to"] == prompt.text
    assert source.rubrics(HELDOUT[7:9], ORACLE) == shuffled[7:9]  # by the prompt alone, whatever else is asked for
    assert Shuffled(source=own_source, prompts="shapes/train", seed=2).rubrics(HELDOUT[:9], ORACLE) != shuffled[:9]


def test_another_wording_of_a_prompt_is_no_other_rubric(tmp_path: Path) -> None:
    texts = ["a photo of a circle", "a picture of a circle", "a drawing of a circle", "a photo of a star"]
    (tmp_path / "prompts.txt").write_text("\n".join(texts), encoding="utf-8")
    rubrics = [{"prompt": text, "criteria": [{"name": "n", "question": text.split()[-1]}]} for text in texts]
    (tmp_path / "rubrics.json").write_text(json.dumps({"rubrics": rubrics}), encoding="utf-8")
    for seed in range(5):
        source = Shuffled(
            source=FromFile(path=str(tmp_path / "rubrics.json")), prompts=str(tmp_path / "prompts.txt"), seed=seed
        )
        found = questions(source.rubrics([Prompt(text, text) for text in texts], ORACLE))
        assert found == [["star"]] * 3 + [["circle"]]


def test_there_is_nothing_to_shuffle_where_all_rubrics_are_one() -> None:
    source = Shuffled(source=FromFile(path="fixed_five_shapes"), prompts="shapes/unseen", seed=1)
    with pytest.raises(UserError, match="no prompt of shapes/unseen has another rubric"):
        source.rubrics(HELDOUT[:1], ORACLE)


def test_a_prompt_without_a_rubric_has_none_when_shuffled(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rubrics: [{prompt: p, criteria: [{name: n, question: x}]}]\n", encoding="utf-8")
    pool = tmp_path / "prompts.txt"
    pool.write_text("p\nq\n", encoding="utf-8")
    assert Shuffled(source=FromFile(path=str(path)), prompts=str(pool), seed=1).rubrics([Prompt("2", "q")], ORACLE) == [None]


def test_dropout_keeps_a_share_and_never_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(to_yaml(rubric_of(*(f"{i}?" for i in range(10)))), encoding="utf-8")
    whole = FromFile(path=str(path))
    prompts = [Prompt(str(i), f"prompt {i}") for i in range(300)]
    kept = questions(Dropout(source=whole, p=0.7, seed=1).rubrics(prompts, ORACLE))
    assert all(kept)
    order = [f"{i}?" for i in range(10)]
    assert all(some == [q for q in order if q in some] for some in kept if some)
    # 3000 criteria, each kept with 0.3 (and one of ten where all would go, 0.7^10 = 0.028): 0.3028, standard error 0.0084
    assert sum(len(some or []) for some in kept) / 3000 == pytest.approx(0.3028, abs=0.03)
    assert questions(Dropout(source=whole, p=0.7, seed=1).rubrics(prompts[5:7], ORACLE)) == kept[5:7]
    assert questions(Dropout(source=whole, p=0.7, seed=2).rubrics(prompts, ORACLE)) != kept
    assert {len(some or []) for some in questions(Dropout(source=whole, p=1.0, seed=1).rubrics(prompts, ORACLE))} == {1}
    assert questions(Dropout(source=whole, p=0.0, seed=1).rubrics(prompts[:1], ORACLE)) == [order]
    with pytest.raises(UserError, match=r"p=1\.5"):
        Dropout(source=whole, p=1.5, seed=1)


# -- configurations -------------------------------------------------------------------------------------------------------

KINDS = {
    "per_prompt": PerPrompt,
    "per_prompt_refined": PerPromptRefined,
    "global": Global,
    "fixed_five": FromFile,
    "shuffled": Shuffled,
    "dropout": Dropout,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_source_is_a_configuration(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # stores are relative
    config = configure(["experiment=t2i_rpo", f"rubric={name}"]).rubric
    if name == "global":
        config.writing_pairs, config.heldout_pairs = 6, 8
    source = instantiate(config)
    assert type(source) is KINDS[name]
    rubrics = source.rubrics(HELDOUT[:2], ORACLE)
    assert all(isinstance(rubric, Rubric) for rubric in rubrics)
    assert source.cost.calls == (0 if name == "fixed_five" else source.cost.calls)
    assert source.failures == 0


def test_sources_wrap_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["experiment=t2i_rpo", "rubric=dropout", "rubric@rubric.source=per_prompt_refined", "rubric.p=1.0"]
    [rubric] = instantiate(configure(overrides).rubric).rubrics(HELDOUT[-1:], ORACLE)
    assert len(rubric.criteria) == 1
    assert rubric.provenance["dropout"] == "1.0"
    assert "heldout_accuracy" in rubric.provenance


def test_none_and_files(tmp_path: Path) -> None:
    assert configure(["experiment=t2i_rpo", "rubric=none", "reward=pairwise"]).rubric is None
    path = tmp_path / "a.yaml"
    path.write_text(to_yaml(rubric_of("x?")), encoding="utf-8")
    source = instantiate(configure(["experiment=t2i_rpo", "rubric=from_file", f"rubric.path={path}"]).rubric)
    assert questions(source.rubrics(HELDOUT[:1], ORACLE)) == [["x?"]]


def test_the_released_rule_lets_leaks_through() -> None:
    for name in ("global", "per_prompt_refined"):
        config = configure(["experiment=t2i_rpo", f"rubric={name}", "rubric/settings=released"]).rubric
        assert instantiate(config.settings.rule) == Rule(both_orders=False, min_heldout=0.0)
