"""`python experiments/judges/judge_cost.py [judge=...]`: tokens and seconds of a local judge, one way and the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from arr_rpo.commands.cli.entry import entry
from arr_rpo.judge.local.model import LocalModel
from arr_rpo.noise import Purpose, draws
from arr_rpo.shapes.world.prompts import describe, mistaken, scene_of
from arr_rpo.shapes.world.questions import Question, questions_of
from arr_rpo.shapes.world.scene import draw
from arr_rpo.types import Answer, Cost, Criterion, Outcome, Prompt, Rubric, UserError, Verdict

# "a red triangle below a blue star": what the prompt implies is four criteria; the fifth is the relation seen from the star.
CONTENT = {
    "tag": "position",
    "include": [
        {"class": "star", "color": "blue", "count": 1},
        {"class": "triangle", "color": "red", "count": 1, "position": ["below", 0]},
    ],
}
FIFTH = Question("position", "star", "blue", 1, "above", "triangle", "red")
ERROR_RATE = 0.3  # of the candidates' attributes, so that criteria are missed


@dataclass(frozen=True)
class Way:
    """A way of working, what it answered, and what that took."""

    name: str
    answers: Sequence[Any]
    cost: Cost
    seconds: float


@entry(
    "judge_cost",
    {
        "judge=qwen3_vl": "the judge",
        "candidates=8": "pictures of one prompt",
        "repeats=5": "of which the median is taken",
    },
)
def main(config: DictConfig) -> None:
    """Prints the tables."""
    print(report(config))


def report(config: DictConfig) -> str:
    """Both measurements as Markdown.

    Raises:
        UserError: the judge is not a local model, whose tokens cannot be counted here.
    """
    model = instantiate(config.judge.get("model"))
    if not isinstance(model, LocalModel):
        raise UserError("judge_cost measures local models: give judge=shapes, qwen3_vl or qwen25_vl")
    prompt, images, rubric = candidates(config.seed, config.candidates, config.image_size)
    return "\n\n".join(
        [
            f"`{model.name}`, {len(images)} candidates of one prompt, {len(rubric.criteria)} criteria. Tokens are those that "
            f"the language model reads or writes, descriptions included; seconds are the median of {config.repeats}.",
            _table_of_checks(ways_of_checking(config, model, prompt, images, rubric), len(images) * len(rubric.criteria)),
            _table_of_pairs(ways_of_comparing(config, model, prompt, images, rubric), len(images) // 2),
        ]
    )


def candidates(seed: int, count: int, size: int | None) -> tuple[Prompt, list[Image.Image], Rubric]:
    """Drawings of one prompt, some of them wrong, and its rubric."""
    rng = draws(Purpose.SAMPLE, seed, "judge cost")
    images = [draw(scene_of(mistaken(CONTENT, ERROR_RATE, rng), rng)) for _ in range(count)]
    questions = [*questions_of(CONTENT), FIFTH]
    rubric = Rubric(tuple(Criterion(question.kind, str(question)) for question in questions))
    return Prompt("1", describe(CONTENT)), [image.resize((size, size)) if size else image for image in images], rubric


def ways_of_checking(
    config: DictConfig, model: LocalModel, prompt: Prompt, images: Sequence[Image.Image], rubric: Rubric
) -> list[Way]:
    """Each criterion asked of each image."""
    questions = [c.question for _ in images for c in rubric.criteria]
    shown = [image for image in images for _ in rubric.criteria]
    ways = {
        "one call a question": model.working(batch_size=1, share_prefixes=False, answers="tokens"),
        "batched": model.working(batch_size=model.batch_size, share_prefixes=False, answers="tokens"),
        "batched, shared": model.working(batch_size=model.batch_size, share_prefixes=True, answers="tokens"),
    }
    return [
        _measured(config, name, way, lambda judge: judge.check([prompt] * len(shown), shown, questions))
        for name, way in ways.items()
    ]


def ways_of_comparing(
    config: DictConfig, model: LocalModel, prompt: Prompt, images: Sequence[Image.Image], rubric: Rubric
) -> list[Way]:
    """Disjoint pairs, by the rubric, in both orders. Generated replies share images, and no beginnings."""
    pairs = list(zip(images[::2], images[1::2], strict=False))
    return [
        _measured(
            config,
            name,
            model.working(batch_size=model.batch_size, share_prefixes=share, answers=answers),
            lambda judge: judge.compare([prompt] * len(pairs), pairs, [rubric] * len(pairs)),
        )
        for name, answers, share in (
            ("generated (ARR)", "generated", True),
            ("answer tokens, nothing shared", "tokens", False),
            ("answer tokens, shared", "tokens", True),
        )
    ]


def _measured(config: DictConfig, name: str, model: LocalModel, ask: Callable[[Any], Sequence[Answer | Verdict]]) -> Way:
    """What `ask` takes; a judge that has seen nothing yet is asked each time."""
    seconds: list[float] = []
    for _ in range(config.repeats + 1):
        judge = instantiate(config.judge, model=model)
        start = time.perf_counter()
        answers = ask(judge)
        seconds.append(time.perf_counter() - start)
    return Way(name, answers, sum((a.cost for a in answers), Cost()), statistics.median(seconds[1:]))


def _table_of_checks(ways: Sequence[Way], questions: int) -> str:
    naive = ways[0]
    lines = [
        f"| {questions} checks | tokens | of the first | seconds | largest difference of p | failed |",
        "|---|---|---|---|---|---|",
    ]
    for way in ways:
        share = way.cost.tokens / naive.cost.tokens
        difference = _largest_difference([a.value for a in naive.answers], [a.value for a in way.answers])
        failed = sum(answer.value is None for answer in way.answers)
        lines.append(f"| {way.name} | {way.cost.tokens} | {share:.3f} | {way.seconds:.3f} | {difference} | {failed} |")
    return "\n".join(lines)


def _table_of_pairs(ways: Sequence[Way], pairs: int) -> str:
    lines = [f"| {pairs} verdicts | tokens a pair | seconds a pair | failed |", "|---|---|---|---|"]
    for way in ways:
        failed = sum(verdict.outcome is Outcome.FAILED for verdict in way.answers)
        lines.append(f"| {way.name} | {way.cost.tokens / pairs:.0f} | {way.seconds / pairs:.4f} | {failed} |")
    return "\n".join(lines)


def _largest_difference(expected: Sequence[float | None], answers: Sequence[float | None]) -> str:
    both = [abs(a - b) for a, b in zip(expected, answers, strict=True) if a is not None and b is not None]
    return f"{max(both):.1e}" if both else "none answered"


if __name__ == "__main__":
    main()
