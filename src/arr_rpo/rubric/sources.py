"""Where the rubric of a prompt comes from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from arr_rpo.rubric.parse import RubricError, parse_rubric
from arr_rpo.rubric.store import RubricStore
from arr_rpo.types import Cost, Prompt, Rubric

log = logging.getLogger(__name__)


class RubricWriter(Protocol):
    """What a judge must do to write rubrics: text generation, and an identity for the store."""

    name: str
    revision: str

    def write_template(self) -> str: ...
    def write(self, prompts: Sequence[str]) -> tuple[list[str], Cost]: ...


class PerPrompt:
    """A rubric of its own for each prompt, written by the judge, validated, stored, and reused.

    A reply that is no rubric leaves the prompt without one (None): missing data, to be counted, never invented.
    """

    def __init__(self, *, store: str) -> None:
        self.store = RubricStore(store)
        self.failures = 0
        self.cost = Cost()

    def rubrics(self, prompts: Sequence[Prompt], writer: RubricWriter) -> list[Rubric | None]:
        provenance = {p.text: self._provenance(p.text, writer) for p in prompts}
        known = {text: self.store.get(origin) for text, origin in provenance.items()}
        unknown = [text for text, rubric in known.items() if rubric is None]
        if unknown:
            replies, cost = writer.write(unknown)
            self.cost += cost
            for text, reply in zip(unknown, replies, strict=True):
                try:
                    known[text] = parse_rubric(reply, provenance[text])
                except RubricError as error:
                    self.failures += 1
                    log.warning("no rubric for %r: %s", text, error)
                else:
                    self.store.put(known[text])  # type: ignore[arg-type]
        return [known[p.text] for p in prompts]

    @staticmethod
    def _provenance(text: str, writer: RubricWriter) -> dict[str, str]:
        return {
            "writer": writer.name,
            "writer_revision": writer.revision,
            "template_hash": writer.write_template(),
            "prompt": text,
        }
