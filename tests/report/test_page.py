"""The page and the Markdown: what is escaped, what is said, and that a script finds its data."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.report import sentences
from arr_rpo.report.markdown import figures, markdown, plain
from arr_rpo.report.page import inline_json, page
from arr_rpo.report.sentences import form_of
from arr_rpo.report.tables import comparisons, config_differences, results, runs
from arr_rpo.report.tables import figures as further_figures
from tests.report import made

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Tags(HTMLParser):
    """Reads a page as a browser would: its tags, and whether they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    study = made.study(tmp_path_factory.mktemp("study"))
    return page(study, [made.analysis(study)], [], made.LIMITS)


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', html, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_tags_are_closed_and_the_language_and_title_are_set(html: str) -> None:
    tags = Tags(html)
    assert tags.open == []
    assert ("html", {"lang": "en"}) in tags.seen
    assert tags.texts["title"] == "Reward <form> – arr_rpo report"
    ids = [attributes["id"] for _, attributes in tags.seen if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_hostile_prompt_is_data_and_never_markup(html: str) -> None:
    tags = Tags(html)
    assert [attributes for tag, attributes in tags.seen if tag == "script"] == [
        {"type": "application/json", "id": "report-data"},
        {},
    ]
    assert made.HOSTILE in {verdict["prompt"] for verdict in data_of(html)["verdicts"]}
    assert "document.title='owned'</script>" not in html


def test_nothing_is_asked_of_another_place(html: str) -> None:
    for _, attributes in Tags(html).seen:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html
    assert "@import" not in html


def test_what_is_missing_comes_before_what_is_found(html: str) -> None:
    assert 0 < html.index("scalar, seed 2: no summary.json: the run did not end") < html.index("What the data show")


def test_the_facts_begin_with_the_experiment(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    named = tuple(replace(run, config={**run.config, "name": "edit_rpo"}) for run in study.runs)
    assert sentences.facts(replace(study, runs=named)).startswith("experiment edit_rpo · 2 arms, 4 runs (3 finished)")


def test_what_many_runs_lack_is_said_once(tmp_path: Path) -> None:
    study = made.study(tmp_path, seeds=(1, 2, 3))
    runs = tuple(
        replace(run, missing=("no heldout.jsonl", "no x")[: 1 + (run.arm == "rubric" or run.seed == 3)]) for run in study.runs
    )
    said = [*(f"{run.name}: {what}" for run in runs for what in run.missing), "no run of the arm 'oracle'"]
    assert sentences.missing(replace(study, runs=runs, missing=tuple(said))) == [
        "no run of the arm 'oracle'",
        "all 6 runs: no heldout.jsonl",
        "rubric, seed 1; rubric, seed 2; rubric, seed 3; 1 more of 6 runs: no x",
    ]


def test_findings_are_the_claims_and_what_no_claim_is_about(tmp_path: Path) -> None:
    study = made.study(tmp_path, arms=("rubric", "scalar", "random"))
    found = sentences.findings(made.analysis(study))
    assert [(finding.mark, finding.css) for finding in found] == [("○", "open"), ("✗", "reversed")]
    assert found[1].sentence.startswith("random is worse than rubric")  # scalar is in the claim


def test_a_finding_says_below_what_it_is_under_the_other_conditions(tmp_path: Path) -> None:
    """The question of `study=kl` is about matched KL; what is the end's own figure again is not repeated."""
    analysis = replace(made.analysis(made.study(tmp_path)), claims=())
    end, matched = analysis.comparisons
    (found,) = sentences.findings(analysis)
    assert found.below == ()
    other = replace(matched, difference=made.estimate(0.02), verdict="scalar > rubric at KL 38.5: not shown")
    (found,) = sentences.findings(replace(analysis, comparisons=(end, other)))
    assert (found.sentence, found.below) == (end.verdict, (other.verdict,))


def test_a_single_run_is_not_said_to_lack_arms(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    assert "study names no reference" in sentences.nothing_compared(study)
    assert "One run" in sentences.nothing_compared(replace(study, runs=study.runs[:1]))


def test_why_there_is_no_data_is_said_once(tmp_path: Path) -> None:
    analysis = made.analysis(made.study(tmp_path))
    nothing = replace(
        analysis.comparisons[0], difference=None, prompts=0, verdict="a > b: no data (no b)", limits=("no b",), result="no data"
    )
    analysis = replace(analysis, claims=(), comparisons=(nothing,))
    assert (
        [found.text for found in sentences.findings(analysis)] == sentences.comparisons(analysis) == ["a > b: no data (no b)"]
    )
    assert comparisons(analysis).rows == ()


def test_sentences_say_what_a_comparison_is_paired_on(tmp_path: Path) -> None:
    assert all("; paired on 514 prompts a seed" in said for said in sentences.comparisons(made.analysis(made.study(tmp_path))))


def test_json_in_a_script_survives_every_text() -> None:
    nasty = {"a": "</script><!--<script>\u2028\u2029", "b": [1.5, None]}
    text = inline_json(nasty)
    assert "<" not in text
    assert json.loads(text) == nasty
    with pytest.raises(ValueError, match="JSON compliant"):
        inline_json([float("nan")])


def test_results_say_how_many_runs_ended(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    rubric, scalar = results(study, made.analysis(study)).rows
    assert (rubric[0].text, rubric[0].below, scalar[0].below) == ("rubric", "the reference", "")
    assert rubric[1].text == "2"
    assert rubric[4].text == "+0.300"
    assert rubric[4].below == "+0.250 to +0.350"
    assert rubric[4].span == pytest.approx((0.25, 0.3, 0.35))


def test_an_interval_of_one_seed_says_so(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    analysis = made.analysis(study)
    one = replace(
        analysis.arms[0],
        replicates=made.REPLICATES[:1],
        change=replace(made.estimate(0.3, units=1), note="one seed: over prompts only"),
    )
    analysis = replace(analysis, arms=(one, analysis.arms[1]))
    assert results(study, analysis).rows[0][4].below == "+0.250 to +0.350; one seed: over prompts only"
    assert "rubric (one seed)" in figures(study, analysis, 20)["change.svg"]


def test_comparisons_have_a_column_for_each_condition_with_data(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    table = comparisons(made.analysis(study))
    assert table.head == ("difference", "at the end", "at matched KL")
    ((name, end, matched),) = table.rows
    assert (name.text, end.text) == ("scalar − rubric", "-0.100: reversed")
    assert end.below == "-0.150 to -0.050; 2 seeds, p = 0.020"
    assert matched.below == "-0.150 to -0.050; 2 seeds, p = 0.020 at KL 38.5"


def test_configs_differ_where_arms_do_and_a_copy_of_a_key_is_left_out(tmp_path: Path) -> None:
    table = config_differences(made.study(tmp_path))
    assert table.head == ("key", "rubric", "scalar")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["reward._target_", "reward.rubric", "reward.scalar"],
        ["reward.lose", "-0.0", "-0.5"],
    ]


def test_the_table_of_runs(tmp_path: Path) -> None:
    rows = [[cell.text for cell in row] for row in runs(made.study(tmp_path)).rows]
    assert rows[0] == ["rubric/seed=1", "rubric", "1", "finished", "30", "3,840", "9,000", "0123456789"]
    assert rows[3] == ["scalar/seed=2", "scalar", "2", "not finished", "30", "–", "–", "0123456789"]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(-0.0001, "+.3f", "+0.000"), (-0.0001, ".3f", "0.000"), (-0.01, "+.3f", "-0.010"), (1e4, ",.0f", "10,000")],
)
def test_zero_has_no_minus(value: float, form: str, text: str) -> None:
    assert form_of(value, form) == text


def test_markdown_is_text_whatever_the_names_hold(tmp_path: Path) -> None:
    study = made.study(tmp_path, arms=("a|b", "<b>bold</b>"))
    text = markdown(study, [made.analysis(study)], [], ["change.svg"], "report.html")
    assert "<" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.split(r"(?<!\\)\|", row)) for row in rows if "a\\|b" in row and "%" not in row}
    assert widths  # no bar of a name opens a column
    assert "![change](change.svg)" in text
    assert "What is missing" in text
    assert "    python train.py -m experiment=t2i_rpo reward=rubric,scalar seed=1,2" in text
    assert plain("a_b|c*") == "a_b\\|c\\*"
    assert plain("_a_ > b_") == "\\_a\\_ > b\\_"
    assert plain("> no quote") == "\\> no quote"


def test_tables_of_markdown_have_as_many_cells_in_every_row(tmp_path: Path) -> None:
    study = made.study(tmp_path, arms=("a|b", "c"))
    text = markdown(study, [made.analysis(study)], [], [], "report.html")
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_figures_are_whole_svg_with_escaped_names(tmp_path: Path) -> None:
    study = made.study(tmp_path, arms=("rubric", "<scalar>"))
    found = figures(study, made.analysis(study), 20)
    assert set(found) == {"change.svg", "heldout.svg"}
    for text in found.values():
        tags = Tags(text)
        assert tags.open == []
        assert "<scalar>" in tags.texts["text"]


def test_parts_have_a_table_of_their_own(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    analysis = made.analysis(study)
    assert further_figures(analysis).rows == ()
    arms = (replace(analysis.arms[0], figures_after={"position": made.estimate(0.5)}), analysis.arms[1])
    table = further_figures(replace(analysis, arms=arms))
    assert (table.head, [[cell.text for cell in row] for row in table.rows]) == (("arm", "position"), [["rubric", "0.500"]])
