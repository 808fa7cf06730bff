"""`arr-rpo report study=<folder>`: what the runs below a folder show, as a page, as Markdown and as a CSV file; or judge
benches side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.cli.entry import entry
from arr_rpo.report.compare import analyses
from arr_rpo.report.liked import liked
from arr_rpo.report.markdown import figures, markdown
from arr_rpo.report.page import page
from arr_rpo.report.read_study import read_study, run_folders
from arr_rpo.report.sentences import alarms, findings, missing
from arr_rpo.report.study import Study, number_at
from arr_rpo.types import UserError
from arr_rpo.whole_files import write_text

COLUMNS = ("arm", "seed", "measure", "before", "after", "kl", "images", "judge_calls", "seconds", "ties", "flips", "failures")


@entry(
    "report",
    {
        "study=runs/study/...": "the folder of runs, or of judge benches; several are study=[a,b]",
        "reference=ARM": "the arm that the others are compared with, in place of the study's own",
        "replicates=annotator": "what arms are repeated over beside seeds, as folders are named; else the study's own",
        "output=FOLDER": "where the report is written",
        "compare.confidence=0.95": "of its intervals",
    },
    package="arr_rpo.configs.report",
)
def main(config: DictConfig) -> None:
    """Writes the report and prints what is missing and what is found."""
    report(config)


def report(config: DictConfig) -> Path:
    """`report.html`, `report.md`, `results.csv` and two figures; of judge benches `benches.md` and `benches.csv`. Returns the
    first.

    Raises:
        UserError: a folder is not there, or holds neither runs nor benches; or there is no such reference.
    """
    folders = [Path(folder) for folder in ([config.study] if isinstance(config.study, str) else config.study)]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"study={folder}: no such folder. Quote one with '=' in its name: \"study='runs/.../seed=1'\"")
    if not any(True for folder in folders for _ in run_folders(folder)) and (path := of_benches(folders, config)):
        return path
    study = read_study(*folders, reference=config.reference, replicates=config.replicates)
    found = analyses(study, instantiate(config.compare))
    limits = instantiate(config.limits)
    output = Path(config.output or study.folder)
    html = output / "report.html"
    tastes = liked(study, limits.liked, limits.criteria)
    write_text(html, page(study, found, tastes, limits))
    drawn = figures(study, found[0], limits.points)
    for name, text in drawn.items():
        write_text(output / name, text)
    write_text(output / "report.md", markdown(study, found, tastes, drawn, html.name))
    write_text(output / "results.csv", results_csv(study))
    for sentence in missing(study):
        print(f"missing: {sentence}")
    for sentence in alarms(study):
        print(f"ALARM: {sentence}")
    for finding in findings(found[0]):
        print(f"- {finding.text}")
    print(f"{html} ({html.stat().st_size / 1e6:.1f} MB), report.md, {', '.join([*drawn, 'results.csv'])}")
    return html


def of_benches(folders: Sequence[Path], config: DictConfig) -> Path | None:
    """Judge benches side by side (docs/bench.md); None where there is none."""
    from arr_rpo.evaluation import benches  # which brings torch
    from arr_rpo.evaluation.bootstrap import Resampling

    if not (arms := benches.arms(folders)):
        return None
    text = benches.table(arms)
    if config.reference:
        how = Resampling(config.compare.draws, config.compare.confidence, "prompt", config.compare.seed)
        text += f"\n\n{benches.paired(arms, config.reference, how)}"
    output = Path(config.output or folders[0])
    print(text)
    write_text(output / "benches.md", f"{text}\n")
    write_text(output / "benches.csv", benches.as_csv(arms))
    print(f"{output / 'benches.md'}, benches.csv")
    return output / "benches.md"


def report_run(run_dir: Path) -> None:
    """The page of one run, by the settings of `configs/report`, at its end; nothing where it has nothing to show."""
    config = OmegaConf.create((resources.files("arr_rpo.configs") / "report/report.yaml").read_text(encoding="utf-8"))
    study = read_study(run_dir)
    if not any(run.curves for run in study.runs):
        return  # a recipe's
    html, limits = run_dir / "report.html", instantiate(config.limits)
    tastes = liked(study, limits.liked, limits.criteria)
    write_text(html, page(study, analyses(study, instantiate(config.compare)), tastes, limits))
    print(f"report: {html}")


def results_csv(study: Study) -> str:
    """A row a finished run and measure; an empty cell where a run lacks the figure. What arms are repeated over beside seeds
    has a column behind the arm."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([COLUMNS[0], *[study.replicates] * bool(study.replicates), *COLUMNS[1:]])
    for run in study.runs:
        if run.finished:
            for name in [name for name in study.measures if name in run.measures] or [""]:
                figures = (run.mean(name, "before"), run.mean(name, "after"), run.kl)
                said = (number_at(run.summary, "judge", what) for what in ("ties", "flips", "failures"))
                counts = map(_whole, (run.images, run.judge_calls, run.seconds, *said))
                writer.writerow([run.arm, *[run.of] * bool(study.replicates), run.seed, name, *figures, *counts])
    return text.getvalue()


def _whole(count: float | None) -> int | None:
    return None if count is None else round(count)
