"""The page in a real browser: it is silent, asks for nothing, and its controls do what they say, by pointer and by keyboard."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.report.compare import analyses
from arr_rpo.report.estimates import Comparing
from arr_rpo.report.liked import liked
from arr_rpo.report.page import page as report_page
from tests.report import made
from tests.report.test_liked import RED, ROW, one_run

pytestmark = pytest.mark.slow
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARMS = ("rubric", "scalar", "pairwise", "criteria", "checklist", "delta_rubric", "rational", "fixed", "random", "oracle")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium, or set CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    study = made.study(folder, arms=ARMS)
    path = folder / "report.html"
    path.write_text(report_page(study, [made.analysis(study)], [], made.LIMITS), encoding="utf-8")
    return path


@pytest.fixture
def page(chromium: Any, file: Path) -> Iterator[Any]:
    yield from opened(chromium, file, width=1280)


@pytest.fixture
def phone(chromium: Any, file: Path) -> Iterator[Any]:
    yield from opened(chromium, file, width=375)


def opened(chromium: Any, file: Path, width: int) -> Iterator[Any]:
    """The page; at its end, that it has said nothing and asked for nothing but itself."""
    # Without smooth scrolling, on the way of which a click would miss.
    context = chromium.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("#chart svg")
    yield page
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def texts(page: Any, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).all_inner_texts()
    return found


def test_nothing_in_a_prompt_runs(page: Any) -> None:
    assert page.title() == "Reward <form> – arr_rpo report"
    assert made.HOSTILE in texts(page, ".verdict h3")


def test_the_browser_would_refuse_what_comes_from_elsewhere(chromium: Any, file: Path) -> None:
    page = chromium.new_page()
    page.goto(file.as_uri())
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    page.wait_for_timeout(200)
    page.close()
    assert any("Content Security Policy" in text for text in refused)


def test_what_is_liked_is_drawn_before_and_after(chromium: Any, tmp_path: Path) -> None:
    study = one_run(tmp_path)
    path = tmp_path / "report.html"
    how = Comparing(confidence=0.95, draws=100, seed=1, kl=None)
    path.write_text(report_page(study, analyses(study, how), liked(study, 2, 12), made.LIMITS), encoding="utf-8")
    for page in opened(chromium, path, width=1280):
        assert page.locator("#liked-0 img.picture").count() == 4
        assert texts(page, "#liked-0 tr:last-child td:last-child .yes") == [f"✓ {RED}", f"✓ {ROW}"]


def test_the_legend_shows_and_hides_an_arm(page: Any) -> None:
    assert page.locator("#chart path.line").count() == len(ARMS)
    button = page.locator("#legend button", has_text="pairwise")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert page.locator("#chart path.line").count() == len(ARMS) - 1
    assert page.locator("#chart path.line[data-arm='2']").count() == 0
    assert page.locator("#chart path.line.faded").count() == 0  # nothing stands out where what is pointed at is hidden
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("#chart path.line[data-arm='2']").count() == 1
    assert page.locator("#chart path.line.faded").count() == len(ARMS) - 1


def test_measure_axis_and_runs_can_be_chosen(page: Any) -> None:
    page.select_option("#metric", label="flip rate")
    page.locator("#curves label", has_text="judge calls").click()
    assert "flip rate against judge calls" in page.locator("#chart svg").get_attribute("aria-label")
    page.locator("#curves label", has_text="every run").click()
    assert page.locator("#chart path.thin").count() == 2 * len(ARMS)
    assert page.locator("#chart path.line").count() == 0
    page.locator("#curves details summary").click()
    assert page.locator("#curve-table tbody tr").count() == len(ARMS)
    assert "flip rate against judge calls" in page.locator("#curve-table caption").inner_text()


def test_arrow_keys_read_the_values_of_a_curve(page: Any) -> None:
    chart = page.locator("#chart svg")
    chart.focus()
    chart.press("ArrowRight")
    assert texts(page, "#tip strong") == ["updates: 0"]
    chart.press("Alt+ArrowRight")  # the browser's own
    assert texts(page, "#tip strong") == ["updates: 0"]
    chart.press("ArrowRight")
    chart.press("ArrowRight")
    assert texts(page, "#tip strong") == ["updates: 30"]
    first = page.locator("#tip div").first.inner_text().split()
    assert first == ["rubric", "0.715"]  # the best arm first: 0.4 + (0.31 + 0.32) / 2
    chart.press("Escape")
    assert page.locator("#tip").inner_text() == ""
    page.locator("#curves label", has_text="every run").click()
    page.locator("#chart svg").press("ArrowLeft")
    first = page.locator("#tip div").first.inner_text().split()
    assert first == ["rubric", "1:", "0.710", "·", "2:", "0.720"]  # of each seed


def test_pointing_at_a_curve_reads_it(page: Any) -> None:
    page.locator("#chart svg").scroll_into_view_if_needed()
    box = page.locator("#chart svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 50)
    assert texts(page, "#tip strong") == ["updates: 30"]


def test_filters_of_verdicts(page: Any) -> None:
    count = page.locator("#verdict-count")
    assert count.inner_text().startswith("60 of 60 pairs · page 1 of 10")
    page.select_option("#verdict-arm", label="scalar")
    assert count.inner_text().startswith("6 of 60")
    assert all("scalar" in text for text in texts(page, ".verdict .meta"))
    page.select_option("#verdict-outcome", value="A")
    assert 0 < page.locator(".verdict").count() < 6
    assert all("A is better" in text for text in texts(page, ".verdict .said:first-of-type"))
    page.select_option("#verdict-truth", value="opposite")
    assert page.locator(".verdict").count() == 0
    assert "No pair of the sample fits" in page.locator("#verdict-list").inner_text()
    page.locator("#verdict-clear").click()
    assert count.inner_text().startswith("60 of 60")
    page.fill("#verdict-text", "FAILED STAR")
    assert page.locator(".verdict").count() > 0
    assert set(texts(page, ".verdict h3")) == {"a drawing of a failed star"}


def test_flips_and_wrong_verdicts_can_be_looked_for(chromium: Any, tmp_path: Path) -> None:
    study = made.study(tmp_path, arms=ARMS[:2])
    limits = dataclasses.replace(made.LIMITS, verdicts=600)
    (tmp_path / "report.html").write_text(report_page(study, [made.analysis(study)], [], limits), encoding="utf-8")
    page = next(pages := opened(chromium, tmp_path / "report.html", width=1280))
    page.select_option("#verdict-outcome", value="inconsistent")
    assert page.locator(".verdict").count() > 0
    assert all("order" in text for text in texts(page, ".verdict .said:first-of-type"))
    page.locator("#verdict-clear").click()
    page.select_option("#verdict-outcome", value="B")
    page.select_option("#verdict-truth", value="opposite")  # the oracle says A of each pair of the made study
    assert page.locator(".verdict").count() > 0
    assert set(texts(page, ".verdict .badge.differs")) == {"judge and oracle say the opposite"}
    assert next(pages, None) is None


def test_a_criterion_that_the_judge_got_wrong_can_be_looked_for(page: Any) -> None:
    page.select_option("#verdict-truth", value="criterion")
    found = page.locator("#verdict-count").inner_text()
    page.select_option("#verdict-criterion", value="color")  # 0.9 and 0.2 are right about it everywhere
    assert page.locator(".verdict").count() == 0
    page.select_option("#verdict-criterion", value="position")  # 0.3 where the oracle says yes
    assert page.locator("#verdict-count").inner_text() == found
    assert page.locator(".verdict tr.differs").count() == page.locator(".verdict").count() > 0


def test_a_card_has_both_pictures_the_rubric_and_what_the_oracle_says(page: Any) -> None:
    page.select_option("#verdict-outcome", value="A")
    card = page.locator(".verdict").first
    assert card.locator("img").count() == 2
    assert all(card.locator("img").nth(i).evaluate("image => image.complete && image.naturalWidth") == 32 for i in range(2))
    assert card.locator("img").first.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    assert texts(page, ".verdict >> nth=0 >> .badge") == ["judge", "oracle"]
    assert card.locator("tbody tr").first.inner_text().split() == [
        "color:",
        "is",
        "it",
        "red?",
        "0.90",
        "0.20",
        "✓",
        "yes",
        "✗",
        "no",
    ]
    card.locator("summary").click()
    assert card.locator("ol li").count() == 2


def test_grades_that_decide_look_different(chromium: Any, tmp_path: Path) -> None:
    study = made.study(tmp_path, arms=ARMS[:1], seeds=(1,))
    for file in study.runs[0].verdict_pictures:
        told = json.loads(file.read_text(encoding="utf-8"))
        made.write(file, {**told, "pairs": [{**pair, "grades": [0.9996, 0.9987]} for pair in told["pairs"]]})
    (tmp_path / "report.html").write_text(report_page(study, [made.analysis(study)], [], made.LIMITS), encoding="utf-8")
    page = next(pages := opened(chromium, tmp_path / "report.html", width=1280))
    for outcome, grades in (("A", "grades 0.9996 and 0.9987"), ("tie", "grades 1.00 and 1.00")):
        page.select_option("#verdict-outcome", value=outcome)
        assert grades in page.locator(".verdict .said").first.inner_text()
    assert next(pages, None) is None


def test_an_edit_is_shown_beside_its_source(chromium: Any, tmp_path: Path) -> None:
    study = made.edited(made.study(tmp_path, arms=ARMS[:2]))
    (tmp_path / "report.html").write_text(report_page(study, [made.analysis(study)], [], made.LIMITS), encoding="utf-8")
    for width in (1280, 375):
        page = next(pages := opened(chromium, tmp_path / "report.html", width=width))
        card = page.locator(".verdict").first
        assert [text.split()[0] for text in card.locator("figcaption").all_inner_texts()] == ["source", "A", "B"]
        row = page.locator("#grid tbody tr").first
        assert row.locator("th img").count() == 1
        assert row.locator("th img").get_attribute("src") == card.locator("img").first.get_attribute("src")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert next(pages, None) is None


def test_pages_of_verdicts_turn_by_button_and_by_arrow_key(page: Any) -> None:
    assert page.locator("#verdict-back").is_disabled()
    page.locator("#verdict-next").click()
    assert "page 2 of 10" in page.locator("#verdict-count").inner_text()
    page.locator(".verdict").first.focus()
    page.keyboard.press("ArrowRight")
    assert "page 3 of 10" in page.locator("#verdict-count").inner_text()
    assert page.evaluate("document.activeElement.className") == "verdict card"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert "page 1 of 10" in page.locator("#verdict-count").inner_text()


def test_the_pictures_of_another_seed(page: Any) -> None:
    assert page.locator("#grid thead th").all_inner_texts() == ["prompt", "base", *ARMS]
    assert page.locator("#grid tbody tr").count() == 4
    first = page.locator("#grid img").first.get_attribute("src")
    page.select_option("#grid-replicate", label="seed 2")
    assert page.locator("#grid img").first.get_attribute("src") != first
    assert page.locator("#grid tbody tr").first.locator("td").last.inner_text() == "–"  # the run that did not end


def test_every_control_is_reached_by_tab_and_shows_that_it_is(page: Any) -> None:
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.name || document.activeElement.getAttribute('class')"
            )
        )
        ring = page.evaluate(
            "(e => { const s = getComputedStyle(e.name && e.type === 'radio' ? e.nextElementSibling : e);"
            " return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2; })(document.activeElement)"
        )
        assert ring, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if "verdict card" in reached:
            break
    wanted = {
        "skip",
        "metric",
        "axis",
        "show",
        "grid-replicate",
        "verdict-arm",
        "verdict-criterion",
        "verdict-outcome",
        "verdict-truth",
    }
    assert wanted | {"verdict-text", "verdict-clear", "verdict-next", "verdict card"} <= reached


def test_a_phone_scrolls_down_and_not_sideways(phone: Any) -> None:
    for control, value in (("#verdict-outcome", "A"), ("#metric", "judge/flip_rate")):
        phone.select_option(control, value=value)
    for summary in phone.locator("summary").all():
        summary.click()
    assert phone.evaluate("document.documentElement.scrollWidth") == 375
    wide = phone.evaluate(
        "[...document.querySelectorAll('main *, header *, nav')].filter(e => !e.closest('.scroll, pre, nav ul')"
        " && e.getBoundingClientRect().right > 375.5).map(e => e.outerHTML.slice(0, 100))"
    )
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(page: Any, scheme: str) -> None:
    """WCAG contrast of body text, notes and links: 4.5 at least; of the arms' lines: 3."""
    page.emulate_media(color_scheme=scheme)
    ratio = """([ink, paper]) => {
        const style = getComputedStyle(document.documentElement);
        const light = (name) => {
            const hex = style.getPropertyValue(name).trim();
            const linear = (c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
            const [r, g, b] = [1, 3, 5].map((i) => linear(parseInt(hex.slice(i, i + 2), 16) / 255));
            return .2126 * r + .7152 * g + .0722 * b;
        };
        const [a, b] = [light(ink), light(paper)];
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    }"""
    for ink in ("--ink", "--soft", "--accent", "--good", "--bad"):
        for paper in ("--paper", "--card"):
            assert page.evaluate(ratio, [ink, paper]) >= 4.5, (ink, paper)
    for number in range(8):
        assert page.evaluate(ratio, [f"--c{number}", "--card"]) >= 3, number
