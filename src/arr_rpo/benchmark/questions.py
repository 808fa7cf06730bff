"""The questions that come with a benchmark, as questions to any judge of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from arr_rpo.benchmark.items import Item
from arr_rpo.benchmark.reading import named_file, named_files, rows, value
from arr_rpo.data.tables import parsed
from arr_rpo.types import UserError


@dataclass(frozen=True)
class Question:
    """A yes/no question about one picture. expected: the right answer. parents: questions without whose right answers this one
    counts as failed."""

    id: str
    text: str
    category: str
    parents: tuple[str, ...] = ()
    expected: bool = True


class Questions(Protocol):
    def of(self, item: Item) -> tuple[Question, ...]:
        """Those about an item's pictures.

        Raises:
            UserError: there are none of it.
        """


class Graph:
    """DPG-Bench's CSV: `item_id, proposition_id, dependency, category_broad, question_natural_language`, a question a row;
    `dependency` names parents by their ids, 0 for none.

    Every row counts. ELLA's `compute_dpg_bench.py` leaves out the first question of the file (`if i == 0: continue` after the
    header is gone already).
    """

    def __init__(self, path: str | None) -> None:
        self.path = named_file(path, "questions", "the benchmark's dpg_bench.csv")
        self._of: dict[str, list[Question]] = {}
        for row, where in rows(self.path):
            parents = [part.strip() for part in value(row, "dependency", where).split(",")]
            question = Question(
                value(row, "proposition_id", where),
                value(row, "question_natural_language", where),
                value(row, "category_broad", where),
                tuple(parent for parent in parents if parent != "0"),
            )
            self._of.setdefault(value(row, "item_id", where), []).append(question)
        for key, questions in self._of.items():
            known = {question.id for question in questions}
            if lost := [parent for question in questions for parent in question.parents if parent not in known]:
                raise UserError(f"{self.path}: a question of {key!r} depends on {lost[0]!r}, which is no question of it")

    def of(self, item: Item) -> tuple[Question, ...]:
        return _found(self._of.get(item.key), item, self.path)


class YesNoLists:
    """TIIF's evaluation prompts: a folder of `.jsonl` files with `type`, `yn_question_list` and `yn_answer_list`, line by line
    those of the prompts."""

    def __init__(self, path: str | None) -> None:
        self._of: dict[tuple[str, int], list[Question]] = {}
        files = named_files(path, "questions", ".jsonl", "the benchmark's folder of evaluation prompts")
        self.path = files[0].parent
        for file in files:
            for line, (row, where) in enumerate(rows(file)):
                kind = value(row, "type", where)
                texts, answers = row.get("yn_question_list"), row.get("yn_answer_list")
                if not isinstance(texts, list) or not isinstance(answers, list) or len(texts) != len(answers):
                    raise UserError(f"{where}: expected yn_question_list and yn_answer_list, lists of one length")
                if strange := [answer for answer in answers if str(answer).strip().lower() not in ("yes", "no")]:
                    raise UserError(f"{where}: an answer is {strange[0]!r}; expected yes or no")
                self._of[kind, line] = [
                    Question(str(n), text.strip(), kind, expected=str(answer).strip().lower() == "yes")
                    for n, (text, answer) in enumerate(zip(texts, answers, strict=True))
                ]

    def of(self, item: Item) -> tuple[Question, ...]:
        return _found(self._of.get((item.fields["type"], item.fields["line"])), item, self.path)


@dataclass(frozen=True)
class PointsOfPrompt:
    """UniGenBench++'s points of a prompt, in JSON in one column: under `names` what they are, under `descriptions` what that
    means of this prompt. question: a template of `name` and `description`; a point's category stands before its " - "."""

    column: str
    names: str
    descriptions: str
    question: str

    def of(self, item: Item) -> tuple[Question, ...]:
        where = f"{item.key!r}, column {self.column!r}"
        if not isinstance(cell := item.fields.get(self.column), str):
            raise UserError(f"{where}: there is none; there are {', '.join(map(str, item.fields))}")
        row = parsed(cell, where)
        names, descriptions = (row.get(self.names), row.get(self.descriptions)) if isinstance(row, dict) else (None, None)
        if not isinstance(names, list) or not isinstance(descriptions, list) or len(names) != len(descriptions):
            raise UserError(f"{where}: expected {self.names!r} and {self.descriptions!r}, lists of one length")
        return tuple(
            Question(str(n), self.question.format(name=name, description=description), name.split("-")[0].strip())
            for n, (name, description) in enumerate(zip(names, descriptions, strict=True))
        )


@dataclass(frozen=True)
class FixedQuestions:
    """The same questions of every picture, by name; templates of the item's text. category: the field by which items are
    told apart."""

    category: str
    questions: Mapping[str, str]

    def of(self, item: Item) -> tuple[Question, ...]:
        kind = str(item.fields.get(self.category, "all"))
        return tuple(Question(name, text.format(text=item.text), f"{kind}, {name}") for name, text in self.questions.items())


def _found(questions: Sequence[Question] | None, item: Item, path: Path) -> tuple[Question, ...]:
    if not questions:
        raise UserError(f"{path} has no questions of {item.key!r}: do prompts and questions belong together?")
    return tuple(questions)
