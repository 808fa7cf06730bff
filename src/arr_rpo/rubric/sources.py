"""Where the rubric of a prompt comes from: written from the prompt, or read from files. Others are in `refined`, `controls`."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Protocol

from arr_rpo.judge.asking import digest
from arr_rpo.judge.base import Judge, Writer
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.reasons import OF_THE_REPLY
from arr_rpo.judge.rubric_reply import RubricError, parse_rubric
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.files import SUFFIXES, read_rubrics
from arr_rpo.rubric.store import RubricStore, Stored, is_discarded
from arr_rpo.types import Cost, Prompt, Rubric, UserError

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "data"
ByPrompt = dict[tuple[str | None, str | None], Rubric]  # by a prompt's `content`: text, and digests of its pictures


class RubricSource(Protocol):
    """counts: of all that was written since the start; what came from a store cost nothing. update: the one that rubrics are
    asked for, as training says; else None.
    """

    counts: Counts
    update: int | None

    @property
    def cost(self) -> Cost: ...

    @property
    def learned(self) -> Set[frozenset[str]]:
        """Of the labelled pairs that rubrics so far were written, chosen or verified by: the digests of their two pictures. No
        judge may be measured on them by these rubrics."""

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """The rubric of each prompt; None where there is none to be had, which is counted and never invented."""


class Source:
    """What sources share."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.update: int | None = None
        self.learned: Set[frozenset[str]] = frozenset()

    @property
    def cost(self) -> Cost:
        return self.counts.cost


class PerPrompt(Source):
    """A rubric of its own for each prompt, written by the judge from the prompt alone, validated, stored, and reused."""

    def __init__(self, *, store: str) -> None:
        super().__init__()
        self.store = RubricStore(store)

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`."""
        writer = judge.writer
        identities = [{**written_by(writer, "write"), **content(prompt)} for prompt in prompts]
        keys = [self.store.key(identity) for identity in identities]
        known: dict[str, Stored | None] = {}
        unknown: dict[str, int] = {}
        for row, (key, identity) in enumerate(zip(keys, identities, strict=True)):
            if key not in known:
                known[key] = self.store.get(identity)
                if known[key] is None:
                    unknown[key] = row
        if unknown:
            replies, cost = writer.write([prompts[row] for row in unknown.values()])
            self.counts += Counts(cost=cost, drafts=len(unknown))
            for (key, row), reply in zip(unknown.items(), replies, strict=True):
                try:
                    if isinstance(reply, NoAnswer):
                        raise reply
                    rubric = parse_rubric(reply, identities[row])
                except (RubricError, NoAnswer) as error:  # nothing is stored: another try may have one
                    unread = int(error.reason in OF_THE_REPLY)
                    self.counts += Counts(unanswered=1 - unread, malformed=unread, without=1)
                    log.warning("no rubric for %r (%s): %s", prompts[row].text, error.reason, error)
                else:
                    self.counts += Counts(written=1, rubrics=1)
                    known[key] = Stored(rubric)
                    self.store.put(identities[row], rubric, [])
        return [stored.rubric if (stored := known[key]) else None for key in keys]


class FromFile(Source):
    """Rubrics from files of yours: a YAML or JSON file, or a folder of them (see `files`), by the text of their prompts.

    A rubric without a prompt is for every prompt that has none of its own. `path` may also name a file that ships with the
    package (`fixed_five_shapes`, `fixed_five_pictures`).

    edit_path: where those of edits are, which are prompts with a source; None takes `path` for them too.
    """

    def __init__(self, *, path: str, edit_path: str | None = None) -> None:
        super().__init__()
        self.path, self.by_prompt = path, _by_prompt("path", path)
        self.edit_path, self.by_edit = (edit_path, _by_prompt("edit_path", edit_path)) if edit_path else (path, self.by_prompt)
        self._missing: set[str] = set()

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`."""
        found = [self._of(prompt) for prompt in prompts]
        for prompt, rubric in zip(prompts, found, strict=True):
            if rubric is None and prompt.text not in self._missing:
                self._missing.add(prompt.text)
                self.counts += Counts(without=1)
                log.warning("no rubric for %r in %s", prompt.text, self.edit_path if prompt.source else self.path)
        return found

    def _of(self, prompt: Prompt) -> Rubric | None:
        source = content(prompt).get("source")
        keys = ((prompt.text, source), (prompt.text, None), (None, None))
        known = self.by_edit if source else self.by_prompt
        return next((known[key] for key in keys if key in known), None)


def rubric_files(option: str, named: str) -> list[Path]:
    """The files of rubrics that `rubric.<option>` names: one, those of a folder, or one that ships with the package.

    Raises:
        UserError: there are none.
    """
    shipped = SHIPPED / f"{named}.yaml"
    path = shipped if shipped.is_file() else Path(named)
    files = [path] if path.is_file() else []
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in SUFFIXES and not is_discarded(f))
    if not files:
        known = ", ".join(sorted(f.stem for f in SHIPPED.glob("*.yaml")))
        raise UserError(
            f"rubric.{option}={path}: no rubric there. Give a .yaml or .json file, a folder of them, or one of {known}; "
            "`python rubrics.py export=<folder>` writes such a folder."
        )
    return files


def _by_prompt(option: str, named: str) -> ByPrompt:
    """The rubrics that are named."""
    by_prompt: ByPrompt = {}
    origin: dict[tuple[str | None, str | None], Path] = {}
    for file in rubric_files(option, named):
        for rubric in read_rubrics(file):
            key = (rubric.provenance.get("prompt"), rubric.provenance.get("source"))
            if key in by_prompt:
                whose = f"the prompt {key[0]!r}" if key[0] else "every prompt"
                raise UserError(f"{file}: a rubric for {whose} is already in {origin[key]}. Keep one of them.")
            by_prompt[key], origin[key] = rubric, file
    return by_prompt


def content(prompt: Prompt) -> dict[str, str]:
    """What a prompt contributes to a rubric's identity: its text, and the picture that it edits with its references."""
    source = {"source": " ".join(map(digest, (prompt.source, *prompt.references)))} if prompt.source is not None else {}
    return {"prompt": prompt.text, **source}


def written_by(writer: Writer, *roles: str) -> dict[str, str]:
    """Who writes, asked how and with which words: a writer or text that has changed writes anew."""
    templates = [writer.template(role) for role in roles]
    template = templates[0] if len(roles) == 1 else " ".join(f"{r}:{t}" for r, t in zip(roles, templates, strict=True))
    return {"writer": writer.name, "writer_revision": writer.revision, "template_hash": template, **asked_as("writer", writer)}


def asked_as(who: str, asked: Judge | Writer) -> dict[str, str]:
    """A hash of how a judge or writer is asked (`VLMJudge.asked_as`); nothing of those that no setting changes."""
    return {f"{who}_asked_as": found} if (found := getattr(asked, "asked_as", "")) else {}
