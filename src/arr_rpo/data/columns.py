"""What each column of a table of prompts is: known by its name, said by the user, or else not guessed at.

A row with a picture under a name that nobody knows would become another prompt in silence; so would one of two texts. Such a
row is refused, with the names, and `data.columns` says what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arr_rpo.data.arrow import TableCell
from arr_rpo.data.tables import Row
from arr_rpo.types import UserError

AUTO = "auto"
ROLES = ("prompt", "source", "references", "negative")
TEXTS = ("prompt", "instruction", "input_prompt", "text", "caption", "instruct_prompt", "edit_instruction", "edit_prompt")
NEGATIVES = ("negative_prompt", "negative", "neg_prompt")
SOURCES = (
    *("source", "source_image", "source_images", "source_img", "src_img", "src_image", "src_img_path", "path_src"),
    *("input_image", "input_images", "input_img", "original_image", "original_img", "image", "images", "image_path", "img"),
)
# Pictures that a prompt is not drawn from: what others made of it.
RESULTS = re.compile(r"(?i)^(output|edited|target|result|generated|response)s?(_|$)")
LIKE_A_TEXT = re.compile(r"(?i)^(\w*_)?(prompt|caption|instruction|text)s?(_(en|cn|zh|de|fr|es|it|ja|ko|ru|pt))?$")
LIKE_A_PICTURE = re.compile(r"(?i)(^|_)(images?|imgs?|pictures?|photos?|media|pics?)(_(path|file|name|url|bytes))*$")
PICTURE_FILE = re.compile(r"(?i)\.(png|jpe?g|webp|gif|bmp|tiff?|avif|heic|heif|jxl|ppm|svg|eps)(\?.*)?$|^data:image/")


@dataclass(frozen=True)
class Parts:
    """Of a row. pictures: the source and its references, as the row refers to them; metadata: all other columns."""

    text: str
    pictures: tuple[Any, ...]
    negative: str | None
    metadata: Mapping[str, Any]


class Columns:
    """Takes rows apart.

    named: role -> column: of the `prompt`, of the `source` picture (or a list of pictures, whose others are references), of
        further `references`, of what the picture should be kept from (`negative`). None says that there is no such column;
        "auto", as of a role that is not named, looks for one of the common names, in any case of letters.

    Raises:
        UserError: a role is none.
    """

    def __init__(self, named: Mapping[str, str | None]) -> None:
        if unknown := [role for role in named if role not in ROLES]:
            raise UserError(f"data.columns.{unknown[0]}: no such part of a prompt; there are {', '.join(ROLES)}")
        self.named = {role: column for role, column in named.items() if column != AUTO}

    def parts(self, row: Row) -> Parts:
        """What a row says.

        Raises:
            UserError: it has no prompt, two columns could be meant, or one looks like a picture that is none of the parts; the
                message names file and row.
        """
        prompt = self._column(row, "prompt", TEXTS)
        if prompt is None:
            raise UserError(
                f"{row.where}: no prompt. There are the columns {', '.join(map(repr, row)) or '(none)'}; say which one it is: "
                "data.columns={prompt: NAME}"
            )
        source, references, negative = (
            self._column(row, role, known) for role, known in (("source", SOURCES), ("references", ()), ("negative", NEGATIVES))
        )
        taken = [column for column in (prompt, source, references, negative) if column is not None]
        rest = {column: value for column, value in row.items() if column not in taken}
        self._refuse_texts(row, prompt, rest)
        self._refuse_pictures(row, rest)
        pictures = [picture for column in (source, references) if column for picture in _pictures(row, column)]
        return Parts(row.text(prompt), tuple(pictures), _optional_text(row, negative), rest)

    def _column(self, row: Row, role: str, known: Sequence[str]) -> str | None:
        if role in self.named:
            column = self.named[role]
            if column is not None:
                row[column]  # raises where it is not there
            return column
        found = [column for column in row if column.lower() in known]
        if len(found) > 1:
            raise UserError(
                f"{row.where}: both {found[0]!r} and {found[1]!r} could be the {role}. Say which one is: "
                f"data.columns={{{role}: {found[0]}}}"
            )
        return found[0] if found else None

    def _refuse_texts(self, row: Row, prompt: str, rest: Mapping[str, Any]) -> None:
        if "prompt" in self.named:
            return
        for column, value in rest.items():
            if LIKE_A_TEXT.fullmatch(column) and isinstance(value, str) and value.strip() and value != row[prompt]:
                raise UserError(
                    f"{row.where}: {column!r} looks like a prompt beside {prompt!r}. Say which one is it: "
                    f"data.columns={{prompt: {prompt}}}"
                )

    def _refuse_pictures(self, row: Row, rest: Mapping[str, Any]) -> None:
        if "source" in self.named:
            return
        for column, value in rest.items():
            if not RESULTS.match(column) and _is_like_a_picture(column, value):
                raise UserError(
                    f"{row.where}: {column!r} looks like a picture ({value!r:.60}), and is none that a prompt is known to be "
                    f"drawn from. If it is the one to edit: data.columns={{source: {column}}}; if there is none: "
                    "data.columns={source: null}"
                )


def _pictures(row: Row, column: str) -> Iterator[Any]:
    value = row[column]
    if isinstance(value, TableCell):
        value = value.pictures()
    for item in value if isinstance(value, list) and value else [value]:
        if not (isinstance(item, str) and item) and not _holds_picture(item):
            raise UserError(
                f"{row.where}: {column!r} holds {item!r:.60} where the path of a picture should be. If these are no edits: "
                "data.columns={source: null}"
            )
        yield item


def _optional_text(row: Row, column: str | None) -> str | None:
    value = None if column is None else row[column]
    if value is not None and not isinstance(value, str):
        raise UserError(f"{row.where}: {column!r} should be a text and is {value!r:.60}")
    return value if value and value.strip() else None


def _is_like_a_picture(column: str, value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and _is_like_a_picture(column, value[0])
    if isinstance(value, str):
        return PICTURE_FILE.search(value) is not None or (LIKE_A_PICTURE.search(column) is not None and "/" in value)
    return _holds_picture(value)


def _holds_picture(value: Any) -> bool:
    """The hub's struct, bytes, or a cell or one of its elements that is read when it is wanted."""
    if isinstance(value, Mapping):
        return isinstance(value.get("bytes"), bytes) or (set(value) == {"bytes", "path"} and bool(value["path"]))
    return (isinstance(value, bytes) and bool(value)) or hasattr(value, "read")
