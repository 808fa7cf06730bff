"""What a report says in sentences, and how figures stand in them."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import Any

from arr_rpo.report.analysis import END, MATCHED_KL, Analysis, Comparison, OrderClaim
from arr_rpo.report.study import Run, Study

NOTHING = "–"
NO_RUN = "no run of the arm "
MARKS = {"shown": "✓", "reversed": "✗", "not shown": "○"}


@dataclass(frozen=True)
class Finding:
    """One sentence of what is shown or not. below: what it rests on, or what limits it. mark: the same at a glance.
    css: how the page colours it."""

    mark: str
    sentence: str
    below: tuple[str, ...]
    css: str

    @property
    def text(self) -> str:
        """All of it on one line."""
        return f"{self.sentence}{' ' if self.sentence.endswith('.') else '; '}{'; '.join(self.below)}".rstrip("; ")


def findings(analysis: Analysis) -> list[Finding]:
    """The claims under every condition; then the other comparisons at the end of training, with what they are under the other
    conditions below."""
    claims = [_claim(claim) for claim in analysis.claims]
    links = {frozenset((link.arm, link.reference)) for claim in analysis.claims for link in claim.links}
    others = [found for found in analysis.under(END) if frozenset((found.arm, found.reference)) not in links]
    return claims + [_finding(found.result, found.verdict, (*_limits(found), *_elsewhere(found, analysis))) for found in others]


def alarms(study: Study) -> list[str]:
    """What runs said of a policy that seemed to game its reward."""
    return [f"{_which([run], study)}: {text}" for run in study.runs for text in run.alarms]


def nothing_compared(study: Study) -> str:
    """In place of findings."""
    if len(study.runs) == 1:
        return "One run, and so nothing to compare it with; what it changed stands below."
    return "Nothing is compared: the study names no reference arm and no claim, or no two arms share a seed."


def _limits(found: Comparison) -> tuple[str, ...]:
    """Where there is nothing to compare, the verdict says them itself."""
    return () if found.difference is None else found.limits


def _elsewhere(end: Comparison, analysis: Analysis) -> list[str]:
    """The verdicts on the same arms under the other conditions, but those without data and those that are the end's own."""
    same = (c for c in analysis.comparisons if (c.arm, c.reference) == (end.arm, end.reference) and c.condition != END)
    return [c.verdict for c in same if c.difference is not None and c.difference != end.difference]


def _claim(claim: OrderClaim) -> Finding:
    """Its verdict ends with those of its links, which stand below it here."""
    links = tuple(link.verdict for link in claim.links)
    return _finding(claim.result, claim.verdict.removesuffix("; ".join(links)).strip(), links)


def _finding(result: str, verdict: str, below: tuple[str, ...]) -> Finding:
    return Finding(MARKS.get(result, "–"), verdict, below, result if result in ("shown", "reversed") else "open")


def comparisons(analysis: Analysis) -> list[str]:
    """Every comparison, with what it is paired on and what limits it."""
    return ["; ".join([found.verdict, *_paired_on(found), *_limits(found)]) for found in analysis.comparisons]


def _paired_on(found: Comparison) -> list[str]:
    together = any(replicate.of for replicate in found.replicates)
    return [f"paired on {found.prompts} prompts {'in all' if together else 'a seed'}"] if found.prompts else []


def missing(study: Study) -> list[str]:
    """What the study lacks, then what its runs lack: each thing once, with the runs that lack it."""
    of_runs: dict[str, list[Run]] = {}
    for run in study.runs:
        for what in run.missing:
            of_runs.setdefault(what, []).append(run)
    said_of_runs = {f"{run.name}: {what}" for what, some in of_runs.items() for run in some}
    own = [sentence for sentence in study.missing if sentence not in said_of_runs]
    absent = [sentence.removeprefix(NO_RUN) for sentence in own if sentence.startswith(NO_RUN)]
    own = [sentence for sentence in own if not sentence.startswith(NO_RUN)]
    own += [f"no run of the arm{'s' * (len(absent) > 1)} {', '.join(absent)}"] * bool(absent)
    return own + [f"{_which(some, study)}: {what}" for what, some in of_runs.items()]


def _which(some: list[Run], study: Study) -> str:
    if len(some) == len(study.runs) > 1:
        return f"all {len(some)} runs"
    named = [", ".join(filter(None, (run.arm, run.which))) for run in some[:3]]
    more = [f"{len(some) - 3} more of {len(study.runs)} runs"] if len(some) > 3 else []
    return "; ".join(named + more)


def facts(study: Study) -> str:
    """Of what, and how many runs."""
    finished = sum(run.finished for run in study.runs)
    seeds = sorted({run.seed for run in study.runs if run.seed is not None})
    experiments = sorted({str(run.config["name"]) for run in study.runs if "name" in run.config})
    said = [f"experiment {', '.join(experiments)}"] if experiments else []
    said.append(f"{_count(len(study.arms), 'arm')}, {_count(len(study.runs), 'run')} ({finished} finished)")
    units = sorted({run.of for run in study.runs if run.of})
    if units:
        said.append(f"{_count(len(units), study.unit)}: {', '.join(units)}")
    if seeds:
        said.append(f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    if study.reference:
        said.append(f"compared with {study.reference}")
    return " · ".join([*said, *_commits(study)])


def versions(study: Study) -> list[str]:
    """Each setting of commit and packages, with the number of runs that had it."""
    count = Counter(_setting(run) for run in study.runs)
    every = len(study.runs)
    return [text if n == every else f"{text} ({n} of {every} runs)" for text, n in count.most_common()]


def commands(study: Study) -> list[str]:
    """The commands that the runs recorded, each once, in order."""
    found = (run.versions.get("commands") for run in study.runs)
    return list(dict.fromkeys(_command(command) for some in found if isinstance(some, list) for command in some))


def _command(found: Any) -> str:
    return shlex.join(map(str, found)) if isinstance(found, list | tuple) else str(found)


def _setting(run: Run) -> str:
    packages = {key: value for key, value in run.versions.items() if key not in ("commit", "dirty", "commands")}
    said = ", ".join(f"{name} {value}" for name, value in packages.items() if not isinstance(value, list | dict))
    return f"commit {run.commit or NOTHING}: {said or 'no versions recorded'}"


def _commits(study: Study) -> list[str]:
    found = sorted({run.commit for run in study.runs if run.commit})
    return [f"commit{'s' * (len(found) > 1)} {', '.join(found)}"] if found else []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


# -- figures and comparisons ----------------------------------------------------------------------------------------------


def form_of(value: float | None, form: str) -> str:
    """The number in that format, or a dash; what rounds to zero has no minus sign."""
    if value is None:
        return NOTHING
    text = format(value, form)
    return text if text.strip("-+0.,") or not text.startswith("-") else text.replace("-", "+" if "+" in form else "")


def amount(condition: str, at: float) -> str:
    """ "3,072 images", "KL 7.31" """
    return f"KL {at:.3g}" if condition == MATCHED_KL else f"{at:,.0f} {condition.removeprefix('equal ')}"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}" if p < 0.1 else f"p {p:.2f}"


def verdict(c: Comparison, result: str) -> str:
    """ "rubric > pairwise: not shown (+0.012, -0.020 to +0.044, Holm p 0.41, 5 seeds)" """
    claim = f"{c.arm} > {c.reference}{_where(c)}"
    if c.difference is None:
        return f"{claim}: no data ({'; '.join(c.limits) or 'no seed that both arms finished'})"
    said = {"reversed": f"reversed, {c.reference} is better"}.get(result, result)
    figures = [form_of(c.difference.value, "+.3f")]
    if c.difference.low is not None and c.difference.high is not None:
        figures.append(f"{form_of(c.difference.low, '+.3f')} to {form_of(c.difference.high, '+.3f')}")
    figures += [c.difference.note] if c.p_holm is None else [f"Holm {p_text(c.p_holm)}", c.difference.counted]
    return f"{claim}: {said} ({', '.join(figures)})"


def _where(c: Comparison) -> str:
    if c.condition == END:
        return ""
    return f" at {c.condition if c.at is None else amount(c.condition, c.at)}"
