"""The judge bench: a judge, asked by a protocol about labelled pairs, and how good it was."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from arr_rpo.data.preferences.base import LabelledPairs
from arr_rpo.data.preferences.mmrb2 import prediction
from arr_rpo.evaluation import bench_rows
from arr_rpo.evaluation.bench_figures import criterion_figures, figures
from arr_rpo.evaluation.bench_rows import Judged
from arr_rpo.evaluation.bootstrap import Figure, Resampling
from arr_rpo.judge.asking import digest
from arr_rpo.judge.base import Judge, account
from arr_rpo.judge.reasons import FIXES
from arr_rpo.noise import Purpose, draws
from arr_rpo.plain_files import read_json
from arr_rpo.reward.monotony import Monotony
from arr_rpo.reward.protocols import PairProtocol, PointProtocol, as_verdicts
from arr_rpo.rubric.sources import RubricSource
from arr_rpo.run.lock import occupied
from arr_rpo.run.renamed import renamed
from arr_rpo.types import Cost, Outcome, Preference, Prompt, Reason, Rubric, UserError, Verdict
from arr_rpo.whole_files import write_json, write_text

LEARNED_FROM = "whose label the rubrics come of"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failures:
    """Verdicts that failed for one kind of reason: how many, what was said of one of them, and what mends it."""

    count: int
    instance: str
    fix: str


@dataclass(frozen=True)
class BenchResult:
    """setting: what was measured: judge, its revision, protocol, rubrics, pairs.

    pairs: judged; outcomes and labels: how many of each; failures: by kind of reason, the commonest first. left_out: rows of
    the data that are no pair, by reason; skipped: pairs whose images could not be opened. writing: what the rubrics took.
    by_subset is empty where there is one subset only. account: of the way to the judge, in this call.
    """

    setting: Mapping[str, Any]
    pairs: int
    labels: Mapping[str, int]
    outcomes: Mapping[str, int]
    failures: Mapping[str, Failures]
    left_out: Mapping[str, int]
    skipped: int
    writing: Cost
    resampling: Resampling
    overall: Mapping[str, Figure]
    by_subset: Mapping[str, Mapping[str, Figure]]
    by_criterion: Mapping[str, Mapping[str, Figure]]
    account: Mapping[str, Any]


class JudgeBench:
    """Judges pairs into a folder, a batch at a time, and measures what is there.

    A pair whose verdict is in the folder is not judged again, unless that verdict was a failure: that is missing data, and a
    server may be back.

    Args:
        folder: `setting.json`, `judged_pairs.jsonl`, and at the end `bench.json`, `bench.md`, `mmrb2_predictions.json`.
        rubric: asked where the protocol reads rubrics.
        limit: judges a sample of this many pairs, drawn by `seed`; None judges all.
    """

    def __init__(
        self,
        *,
        folder: str,
        judge: Judge,
        protocol: PairProtocol | PointProtocol,
        rubric: RubricSource | None,
        pairs: LabelledPairs,
        batch_size: int,
        limit: int | None,
        seed: int,
        resampling: Resampling,
        calibration_bins: int,
        monotony: Monotony,
        progress: bool,
    ) -> None:
        if protocol.uses_rubric and rubric is None:
            raise UserError("this protocol reads a rubric and there is none: choose rubric=per_prompt, or reward=pairwise")
        self.folder, self.judge, self.protocol, self.rubric = Path(folder), judge, protocol, rubric
        self.pairs, self.batch_size = pairs, batch_size
        self.resampling, self.bins, self.progress, self.monotony = resampling, calibration_bins, progress, monotony
        self.setting: dict[str, Any] = {
            "limit": limit,
            "seed": seed,
            "judge_name": judge.name,
            "judge_revision": judge.revision,
        }
        self.chosen = _sample(len(pairs), limit, seed)
        self.learned_from = 0  # pairs whose labels the rubrics come of
        self._unpaid = Cost()  # writing for pairs that were left out
        self.path = bench_rows.file_of(self.folder)

    def run(self, setting: Mapping[str, Any]) -> BenchResult:
        """Judges what is not judged yet, and measures all of it.

        setting: how judge, protocol and pairs were made; recorded, and compared with that of the verdicts already there.

        Raises:
            UserError: the folder holds another bench, another process is at work in it, or no pair could be judged.
        """
        with occupied(self.folder):
            return self._run(setting)

    def _run(self, setting: Mapping[str, Any]) -> BenchResult:
        self.setting = {**setting, **self.setting}
        self._check_setting()
        bench_rows.cut_half_line(self.path)
        done = bench_rows.read(self.path)
        asked = [
            i for i in self.chosen if (one := done.get(self.pairs.ids[i])) is None or one.verdict.outcome is Outcome.FAILED
        ]
        with Progress(disable=not self.progress) as progress:
            bar = progress.add_task("judging pairs", total=len(self.chosen), completed=len(self.chosen) - len(asked))
            for start in range(0, len(asked), self.batch_size):
                indices = asked[start : start + self.batch_size]
                batch = [_with_earlier(one, done.get(one.id)) for one in self._judged(list(self.pairs.open(indices)))]
                bench_rows.append(self.path, batch)
                done.update({one.id: one for one in batch})
                progress.advance(bar, len(indices))
                self._say(self.monotony, batch)
        judged = [done[name] for i in self.chosen if (name := self.pairs.ids[i]) in done]
        result = self.measure(judged)
        self._write(result, done)
        self._say(Monotony(after=len(judged)), judged)
        return result

    def _say(self, monotony: Monotony, judged: Sequence[Judged]) -> None:
        """What a judge does that says the same of everything. One that fails on everything cannot be measured."""
        said = monotony.heard([one.verdict for one in judged])
        if said and monotony.failing:
            why = judged[-1].verdict.reason
            raise UserError(f"this judge cannot be measured, {said}. The last one: {why}. All are in {self.path}")
        if said:
            _log.warning("judge: %s", said)

    def measure(self, judged: Sequence[Judged]) -> BenchResult:
        if not judged:
            why = (
                f"the rubrics come of the labels of {self.learned_from}: name other pairs as rubric.preferences"
                if self.learned_from
                else "their images are missing or broken"
            )
            raise UserError(f"none of the {len(self.chosen)} pairs could be judged: {why}")
        subsets = sorted({j.subset for j in judged})
        return BenchResult(
            setting=self.setting,
            pairs=len(judged),
            labels=dict(Counter(str(j.better) for j in judged)),
            outcomes=dict(Counter(str(j.verdict.outcome) for j in judged)),
            failures=_failures([j.verdict for j in judged if j.verdict.outcome is Outcome.FAILED]),
            left_out={**self.pairs.left_out, **({LEARNED_FROM: self.learned_from} if self.learned_from else {})},
            skipped=len(self.chosen) - len(judged) - self.learned_from,
            writing=sum((j.writing for j in judged), self._unpaid),
            resampling=self.resampling,
            overall=figures(judged, self.resampling, self.bins),
            by_subset={
                subset: figures([j for j in judged if j.subset == subset], self.resampling, self.bins)
                for subset in (subsets if len(subsets) > 1 else ())
            },
            by_criterion=criterion_figures(judged, self.resampling),
            account=account(self.judge),
        )

    def _judged(self, batch: Sequence[Preference]) -> Iterator[Judged]:
        """The judge is handed prompts, images and rubrics; labels stay here. A pair whose label its rubrics come of is left
        out."""
        rubrics, writing = self._rubrics([pair.prompt for pair in batch])
        known = [*map(self._learned, batch)]
        self.learned_from += sum(known)
        new = [(pair, rubric) for pair, rubric, seen in zip(batch, rubrics, known, strict=True) if not seen]
        self._unpaid += writing
        if not new:
            return
        writing, self._unpaid = self._unpaid, Cost()
        pairs, rubrics = ([*column] for column in zip(*new, strict=True))
        prompts, images = [p.prompt for p in pairs], [(p.a, p.b) for p in pairs]
        start = time.monotonic()
        verdicts = as_verdicts(self.protocol, self.judge, prompts, images, rubrics)
        seconds = (time.monotonic() - start) / len(pairs)
        for row, (pair, verdict) in enumerate(zip(pairs, verdicts, strict=True)):
            yield Judged.of(pair, verdict, seconds, Cost() if row else writing, self.pairs.truth)

    def _rubrics(self, prompts: Sequence[Prompt]) -> tuple[Sequence[Rubric | None], Cost]:
        """And what writing them cost."""
        if not prompts or not self.protocol.uses_rubric or self.rubric is None:
            return [None] * len(prompts), Cost()
        before = self.rubric.cost
        rubrics = self.rubric.rubrics(prompts, self.judge)
        return rubrics, Cost(self.rubric.cost.calls - before.calls, self.rubric.cost.tokens - before.tokens)

    def _learned(self, pair: Preference) -> bool:
        learned = self.rubric.learned if self.rubric and self.protocol.uses_rubric else ()
        return bool(learned) and frozenset((digest(pair.a), digest(pair.b))) in learned

    def _check_setting(self) -> None:
        path = self.folder / "setting.json"
        if path.is_file():
            try:
                earlier = dict(renamed(read_json(path)))
            except (OSError, ValueError, TypeError) as error:
                raise UserError(f"{path} cannot be read ({error}): give another run_dir") from error
            ours = json.loads(json.dumps(self.setting))
            if changed := list(_differing(earlier, ours)):
                raise UserError(
                    f"{self.folder} holds verdicts of another bench: {', '.join(changed)} differ(s) from {path}. "
                    "Go on with the same settings, or give another run_dir."
                )
        elif self.path.is_file():
            raise UserError(f"{self.path} is there without {path}: not a bench's folder. Give another run_dir.")
        write_json(path, self.setting)

    def _write(self, result: BenchResult, done: Mapping[str, Judged]) -> None:
        write_json(self.folder / "bench.json", asdict(result))
        write_text(self.folder / "bench.md", markdown(result))
        names = [self.pairs.ids[i] for i in self.chosen if self.pairs.ids[i] in done]
        write_json(self.folder / "mmrb2_predictions.json", {name: prediction(done[name].verdict) for name in names})


def markdown(result: BenchResult) -> str:
    """The figures as Markdown tables."""
    level = f"{result.resampling.confidence:.0%} interval"
    lines = [f"| figure | value | {level} | of |", "|---|---|---|---|"]
    lines += [f"| {name} | {_value(f)} | {_interval(f)} | {f.of} |" for name, f in result.overall.items() if f.of]
    if result.by_subset:
        columns = ("accuracy", "accuracy_averaged", "order_gap", "flip_rate", "tie_rate", "failure_rate", "ece")
        lines += ["", f"| subset | pairs | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
        for subset, some in result.by_subset.items():
            cells = [f"{_value(some[c])} ({_interval(some[c])})" if c == "accuracy" else _value(some[c]) for c in columns]
            lines.append(f"| {subset or '-'} | {some['calls'].of} | {' | '.join(cells)} |")
    if result.by_criterion:
        lines += ["", f"| criterion | accuracy | {level} | of | agreement | {level} | of |", "|---|---|---|---|---|---|---|"]
        for criterion, some in result.by_criterion.items():
            cells = [cell for f in some.values() for cell in (_value(f), _interval(f), str(f.of))]
            lines.append(f"| {criterion} | {' | '.join(cells)} |")
    if result.failures:
        lines += ["", "| why verdicts failed | pairs | for instance | what mends it |", "|---|---|---|---|"]
        lines += [f"| {why} | {f.count} | {_cell(f.instance)} | {_cell(f.fix)} |" for why, f in result.failures.items()]
    return "\n".join([*lines, "", _counts(result), ""])


def _with_earlier(one: Judged, earlier: Judged | None) -> Judged:
    """What writing rubrics cost when it was judged before, in vain, stays counted: the store has them now."""
    return replace(one, writing=one.writing + earlier.writing) if earlier else one


def _failures(failed: Sequence[Verdict]) -> dict[str, Failures]:
    by_reason: dict[Reason | None, list[str]] = defaultdict(list)
    for verdict in failed:
        by_reason[verdict.failure].append(verdict.reason)
    ranked = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return {str(reason or "unnamed"): Failures(len(said), said[0], FIXES[reason] if reason else "") for reason, said in ranked}


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _counts(result: BenchResult) -> str:
    said = [
        f"{result.pairs} pairs judged",
        "labels: " + ", ".join(f"{name} {n}" for name, n in sorted(result.labels.items())),
        "verdicts: " + ", ".join(f"{name} {n}" for name, n in sorted(result.outcomes.items())),
        f"rubrics: {result.writing.calls} calls, {result.writing.tokens} tokens" if result.writing.calls else "",
        "rows left out: " + ", ".join(f"{why} {n}" for why, n in result.left_out.items()) if result.left_out else "",
        f"skipped for their images: {result.skipped}" if result.skipped else "",
    ]
    return "; ".join(part for part in said if part) + "."


def _value(f: Figure) -> str:
    return "-" if f.value is None else f"{f.value:.3f}"


def _interval(f: Figure) -> str:
    return "-" if f.low is None or f.high is None else f"{f.low:.3f} to {f.high:.3f}"


def _sample(size: int, limit: int | None, seed: int) -> list[int]:
    """All, or `limit` of them, in the order of the data."""
    if limit is None or limit >= size:
        return list(range(size))
    return sorted(int(i) for i in draws(Purpose.SAMPLE, seed, "bench").permutation(size)[:limit])


def _differing(there: Mapping[str, Any], here: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The keys at which two settings differ, "judge.model.dtype"."""
    for key in sorted({*there, *here}):
        a, b = there.get(key), here.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differing(a, b, f"{above}{key}.")
        elif a != b:
            yield f"{above}{key}"
