"""A judge's answers to a benchmark's questions, and the figures that follow. This is no official scorer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image
from rich.progress import Progress

from arr_rpo.benchmark.items import PictureFile
from arr_rpo.benchmark.layout import Layout
from arr_rpo.benchmark.questions import Question, Questions
from arr_rpo.data.pictures import load_picture
from arr_rpo.evaluation.bench_rows import cut_half_line
from arr_rpo.evaluation.bootstrap import Figure, Resampling, share
from arr_rpo.judge.base import Judge
from arr_rpo.run.lock import occupied
from arr_rpo.types import Cost, Prompt, UserError
from arr_rpo.whole_files import write_json

ROWS, SETTING = "answers.jsonl", "setting.json"


@dataclass(frozen=True)
class ScoredPicture:
    """One picture. right: by the id of each question, whether it was answered as expected; None where the judge failed.
    kept: the same after a failed parent, which fails its children."""

    item: str
    sample: int
    right: Mapping[str, bool | None]
    kept: Mapping[str, bool | None]
    categories: Mapping[str, str]
    reason: str = ""
    cost: Cost = field(default_factory=Cost)


def after_parents(questions: Sequence[Question], right: Mapping[str, bool | None]) -> dict[str, bool | None]:
    """Answers in the order of the questions, each failed where one of its parents is: a child of a child, too.

    DPG-Bench's rule (https://arxiv.org/abs/2403.05135; after https://arxiv.org/abs/2310.18235): who owns the ball is not
    asked where there is no ball. A child of a parent that the judge did not answer is missing, as that parent is.
    """
    kept: dict[str, bool | None] = {}
    for question in questions:
        above = [kept.get(parent, right[parent]) for parent in question.parents]
        if any(met is False for met in above):
            kept[question.id] = False
        else:
            kept[question.id] = None if None in above else right[question.id]
    return kept


def score_folder(
    judge: Judge,
    layout: Layout,
    files: Sequence[PictureFile],
    questions: Questions,
    *,
    pictures: Path,
    folder: Path,
    setting: Mapping[str, Any],
    resampling: Resampling,
    batch_size: int,
    progress: bool,
) -> dict[str, Any]:
    """Asks what is not answered yet in a folder, and writes the figures to its `scores.json`.

    setting: what is scored, and by whom: a folder has the answers of one.

    Raises:
        UserError: a picture is missing, or the folder has answers of something else.
    """
    with occupied(folder), Progress(disable=not progress) as shown:
        said = {**setting, "judge_name": judge.name, "judge_revision": judge.revision}
        _refuse_another(folder, said)
        bar = shown.add_task("files", total=len(files))
        scored = score(
            judge, layout, files, questions, pictures, folder / ROWS, batch_size, lambda some: shown.advance(bar, some)
        )
        result = {**said, "official": False, "resampling": asdict(resampling), **figures(scored, resampling)}
        write_json(folder / "scores.json", result)
    return result


def score(
    judge: Judge,
    layout: Layout,
    files: Sequence[PictureFile],
    questions: Questions,
    output: Path,
    rows: Path,
    batch_size: int,
    done: Callable[[int], None],
) -> list[ScoredPicture]:
    """Asks the judge about every picture, `batch_size` files at a time; those in the file `rows` are not asked about again,
    unless an answer failed.

    Raises:
        UserError: a picture is not there, or has no questions.
    """
    cut_half_line(rows)
    known = _read(rows)
    scored: dict[tuple[str, int], ScoredPicture] = {}
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        asked = [file for file in batch if any(_open(known.get((file.item.key, sample))) for sample in file.samples)]
        found = _ask(judge, layout, asked, questions, output)
        _append(rows, found)
        known |= {(one.item, one.sample): one for one in found}
        scored |= {(file.item.key, s): known[file.item.key, s] for file in batch for s in file.samples}
        done(len(batch))
    return list(scored.values())


def figures(scored: Sequence[ScoredPicture], resampling: Resampling) -> dict[str, Any]:
    """overall: mean over pictures of the share of questions met, missing ones left out; by_category: share of the questions of
    each, whatever became of their parents. With intervals over prompts, and counts."""
    shares = [(one.item, _mean(list(one.kept.values()))) for one in scored]
    known = [(item, value) for item, value in shares if value is not None]
    overall = share([value for _, value in known], [1.0] * len(known), [item for item, _ in known], resampling)
    by_category: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for one in scored:
        for name, met in one.right.items():
            if met is not None:
                by_category[one.categories[name]].append((one.item, met))
    return {
        "overall": asdict(overall),
        "by_category": {name: asdict(_share(met, resampling)) for name, met in sorted(by_category.items())},
        "prompts": len({one.item for one in scored}),
        "pictures": len(scored),
        "questions": sum(len(one.right) for one in scored),
        "unanswered": sum(met is None for one in scored for met in one.right.values()),
        "reasons": sorted({one.reason for one in scored if one.reason})[:5],
        "calls": sum(one.cost.calls for one in scored),
        "tokens": sum(one.cost.tokens for one in scored),
    }


def _refuse_another(folder: Path, setting: Mapping[str, Any]) -> None:
    path, said = folder / SETTING, json.loads(json.dumps(setting))
    if path.is_file() and (there := json.loads(path.read_text(encoding="utf-8"))) != said:
        other = [key for key in {**there, **said} if there.get(key) != said.get(key)]
        raise UserError(f"run_dir={folder} has answers of another {' and '.join(other)}: give another run_dir")
    write_json(path, said)


def _share(met: Sequence[tuple[str, bool]], resampling: Resampling) -> Figure:
    return share([float(right) for _, right in met], [1.0] * len(met), [item for item, _ in met], resampling)


def _mean(values: Sequence[bool | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _open(one: ScoredPicture | None) -> bool:
    return one is None or None in one.right.values()


def _ask(judge: Judge, layout: Layout, files: Sequence[PictureFile], questions: Questions, output: Path) -> list[ScoredPicture]:
    """All questions about all pictures of some files, in one call of the judge."""
    pictures: list[tuple[PictureFile, int, Prompt, Image, tuple[Question, ...]]] = []
    for file in files:
        if not (output / file.path).is_file():
            raise UserError(f"no picture {output / file.path}: draw it first (arr-rpo generate ...), or give limit=")
        prompt, asked = file.item.prompt(), questions.of(file.item)
        for sample, image in zip(file.samples, layout.apart(load_picture(output / file.path)), strict=True):
            pictures.append((file, sample, prompt, image, asked))
    flat = [(prompt, image, question) for _, _, prompt, image, asked in pictures for question in asked]
    answers = iter(judge.check([p for p, _, _ in flat], [i for _, i, _ in flat], [q.text for _, _, q in flat]) if flat else ())
    found = []
    for file, sample, _, _, asked in pictures:
        own = [next(answers) for _ in asked]
        right = {
            question.id: None if answer.value is None else (answer.value > 0.5) == question.expected
            for question, answer in zip(asked, own, strict=True)
        }
        reason = next((answer.reason for answer in own if answer.value is None), "")
        cost = sum((answer.cost for answer in own), Cost())
        categories = {question.id: question.category for question in asked}
        found.append(ScoredPicture(file.item.key, sample, right, after_parents(asked, right), categories, reason, cost))
    return found


def _read(path: Path) -> dict[tuple[str, int], ScoredPicture]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line] if path.is_file() else []
    found = [ScoredPicture(**{**row, "cost": Cost(**row["cost"])}) for row in rows]
    return {(one.item, one.sample): one for one in found}


def _append(path: Path, scored: Sequence[ScoredPicture]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in scored))
