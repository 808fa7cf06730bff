"""Criteria that can be asked of any prompt of the world, their truth, and what a critic would say of a picture.

The first five are this world's counterpart of a fixed set of criteria: they never change from prompt to prompt, so they can be
answered only with the prompt at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from arr_rpo.shapes.world.edits import INSTRUCTION, Edit, edit_questions, others
from arr_rpo.shapes.world.questions import Located, cell_of, parse, questions_of, stands
from arr_rpo.shapes.world.tastes import TASTES
from arr_rpo.shapes.world.vocabulary import CELLS, NUMBERS, plural

Metadata = Mapping[str, Any]
GENERAL: Final[dict[str, str]] = {
    "objects": "is every object of the prompt there?",
    "colors": "does every object have the color of the prompt?",
    "numbers": "is the number of each object that of the prompt?",
    "positions": "does every object stand where the prompt says?",
    "extras": "is there nothing but the objects of the prompt?",
    "overall": "does the image show what the prompt says?",
}
DIMENSIONS: Final = ("objects", "colors", "numbers", "positions", "extras")
NAMES: Final = {question: name for name, question in GENERAL.items()}

# Their counterpart for edits of a source, to be answered with the source and the instruction at hand.
EDIT_GENERAL: Final[dict[str, str]] = {
    "instruction": "is the edit made as told?",
    "others": "is every other object still there?",
    "places": "does every other object stand where it stood?",
    "extras": "is there nothing new but what was told?",
    "overall": "is it the source with the edit and nothing else?",
}
EDIT_DIMENSIONS: Final = ("instruction", "preservation", "extras")
EDIT_NAMES: Final = {question: name for name, question in EDIT_GENERAL.items()}


def answer(name: str, things: Sequence[Located], metadata: Metadata) -> bool:
    """Whether a general criterion holds; one that the prompt says nothing about holds always."""
    if name == "overall":
        return all(question.answer(things) for question in questions_of(metadata))
    faults: dict[str, Callable[[], Sequence[object]]] = {
        "objects": lambda: _absent(things, metadata),
        "colors": lambda: _miscoloured(things, metadata),
        "numbers": lambda: _miscounted(things, metadata),
        "positions": lambda: [entry for entry in _placed(metadata) if not _stands(entry, things, metadata)],
        "extras": lambda: _extra(things, metadata),
    }
    return not faults[name]()


def critique_text(things: Sequence[Located], metadata: Metadata) -> str:
    """What a critic says in each dimension: what is missing or wrong, or that all is well, or that nothing was asked."""
    absent, wrong = _absent(things, metadata), _miscoloured(things, metadata)
    colored = any("color" in entry for entry in metadata["include"])
    counts = " and".join(f" {_number(there)} {plural(shape)}" for shape, there in _miscounted(things, metadata))
    placed = _placed(metadata)
    well_placed = all(_stands(entry, things, metadata) for entry in placed)
    said = {
        "objects": " and".join(f" no {shape}" for shape in absent) or " right",
        "colors": (" and".join(f" no {color} {shape}" for color, shape in wrong) or " right") if colored else " NA",
        "numbers": counts or " right",
        "positions": (" right" if well_placed else " wrong") if placed else " NA",
        "extras": " and".join(f" a {thing.color} {thing.shape}" for thing in _extra(things, metadata)) or " nothing",
    }
    return ".".join(f" {name}:{text}" for name, text in said.items())[1:] + "."


def dimension_grades(things: Sequence[Located], metadata: Metadata) -> dict[str, str]:
    """Grades 1 to 4 of what the critique says, NA where nothing was asked, and overall the share of the prompt's criteria."""
    include, placed = metadata["include"], _placed(metadata)
    colored = [entry for entry in include if "color" in entry]
    met = [question.answer(things) for question in questions_of(metadata)]
    return {
        "objects": _grade(1 - len(_absent(things, metadata)) / len(include)),
        "colors": _grade(1 - len(_miscoloured(things, metadata)) / len(colored)) if colored else "NA",
        "numbers": _grade(1 - len(_miscounted(things, metadata)) / len(include)),
        "positions": _grade(float(all(_stands(entry, things, metadata) for entry in placed))) if placed else "NA",
        "extras": str(max(1, 4 - len(_extra(things, metadata)))),
        "overall": _grade(sum(met) / len(met)),
    }


def _grade(share: float) -> str:
    return str(round(1 + 3 * share))


def _absent(things: Sequence[Located], metadata: Metadata) -> list[str]:
    there = {thing.shape for thing in things}
    return [entry["class"] for entry in metadata["include"] if entry["class"] not in there]


def _miscoloured(things: Sequence[Located], metadata: Metadata) -> list[tuple[str, str]]:
    """Asked (color, shape) that nothing has."""
    there = {(thing.color, thing.shape) for thing in things}
    asked = [(entry["color"], entry["class"]) for entry in metadata["include"] if "color" in entry]
    return [kind for kind in asked if kind not in there]


def _miscounted(things: Sequence[Located], metadata: Metadata) -> list[tuple[str, int]]:
    """(shape, how many are there) of those asked for in another number."""
    there = [(e["class"], sum(t.shape == e["class"] for t in things), e.get("count", 1)) for e in metadata["include"]]
    return [(shape, found) for shape, found, asked in there if found != asked]


def _extra(things: Sequence[Located], metadata: Metadata) -> list[Located]:
    """Things of shapes that were not asked for, in reading order as given."""
    asked = {entry["class"] for entry in metadata["include"]}
    return [thing for thing in things if thing.shape not in asked]


def _placed(metadata: Metadata) -> list[Mapping[str, Any]]:
    return [entry for entry in metadata["include"] if "position" in entry]


def _stands(entry: Mapping[str, Any], things: Sequence[Located], metadata: Metadata) -> bool:
    """Whether some object of the entry's shape stands as asked to one of its reference's shape, whatever their colours."""
    relation, target = entry["position"]
    other = metadata["include"][target]["class"]
    here, there = ([t for t in things if t.shape == shape] for shape in (entry["class"], other))
    return any(stands(a, relation, b) for a in here for b in there)


def _number(count: int) -> str:
    return ("zero", *NUMBERS.values())[min(count, len(NUMBERS))]


def theme_of(question: str) -> str:
    """The heading under which a criterion stands in a structured rubric."""
    name = NAMES.get(question)
    if name is not None:
        return {"colors": "colors", "numbers": "numbers", "positions": "positions"}.get(name, "content")
    if question in EDIT_NAMES:
        return {"places": "positions"}.get(EDIT_NAMES[question], "content")
    if question in TASTES:
        return TASTES[question].theme
    kind = parse(question).kind
    themes = {"counting": "numbers", "total": "numbers", "position": "positions", "place": "positions", "empty": "positions"}
    return themes.get(kind, "content")


# -- edits -----------------------------------------------------------------------------------------------------------------


def edit_answer(name: str, things: Sequence[Located], source: Sequence[Located], edit: Edit) -> bool:
    """Whether a general criterion of edits holds."""
    if name == "overall":
        return all(question.answer(things) for _, question in edit_questions(edit, source))
    faults: dict[str, Callable[[], Sequence[object]]] = {
        "instruction": lambda: _unmade(things, source, edit),
        "others": lambda: [kept for kept in others(edit, source) if not any(_alike(thing, kept) for thing in things)],
        "places": lambda: _not_kept(things, source, edit),
        "extras": lambda: _new(things, source, edit),
    }
    return not faults[name]()


def edit_critique_text(things: Sequence[Located], source: Sequence[Located], edit: Edit) -> str:
    """What a critic says of an edit: whether it was made, what else was lost, and what came in."""
    lost, new = _not_kept(things, source, edit), _new(things, source, edit)
    said = {
        "instruction": " wrong" if _unmade(things, source, edit) else " right",
        "preservation": " and".join(f" no {_placed_name(thing)}" for thing in lost) or " right",
        "extras": " and".join(f" a {_placed_name(thing)}" for thing in new) or " nothing",
    }
    return ".".join(f" {name}:{text}" for name, text in said.items())[1:] + "."


def edit_dimension_grades(things: Sequence[Located], source: Sequence[Located], edit: Edit) -> dict[str, str]:
    """Grades 1 to 4 of what the critique says, NA where there was nothing else to keep, and overall the share of the edit's
    criteria."""
    questions, keep = edit_questions(edit, source), others(edit, source)
    made = [question.answer(things) for name, question in questions if name == INSTRUCTION]
    met = [question.answer(things) for _, question in questions]
    return {
        "instruction": _grade(sum(made) / len(made)),
        "preservation": _grade(1 - len(_not_kept(things, source, edit)) / len(keep)) if keep else "NA",
        "extras": str(max(1, 4 - len(_new(things, source, edit)))),
        "overall": _grade(sum(met) / len(met)),
    }


def _unmade(things: Sequence[Located], source: Sequence[Located], edit: Edit) -> list[object]:
    return [question for name, question in edit_questions(edit, source) if name == INSTRUCTION and not question.answer(things)]


def _not_kept(things: Sequence[Located], source: Sequence[Located], edit: Edit) -> list[Located]:
    """What else was in the source and stands no more where it stood, in reading order."""
    there = {(thing.color, thing.shape, cell_of(thing)) for thing in things}
    return [kept for kept in others(edit, source) if (kept.color, kept.shape, cell_of(kept)) not in there]


def _new(things: Sequence[Located], source: Sequence[Located], edit: Edit) -> list[Located]:
    """Things that are neither what the edit makes nor of a colour and shape that the source has, in reading order."""
    told = (edit.to_color, edit.to_shape)
    known = {told, *((thing.color, thing.shape) for thing in source)}
    return sorted((thing for thing in things if (thing.color, thing.shape) not in known), key=cell_of)


def _alike(thing: Located, other: Located) -> bool:
    return (thing.color, thing.shape) == (other.color, other.shape)


def _placed_name(thing: Located) -> str:
    return f"{thing.color} {thing.shape} {CELLS[cell_of(thing)]}"
