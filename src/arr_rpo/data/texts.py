"""Text files as people have them: UTF-8 with or without a byte-order mark, UTF-16 and UTF-32 with one, any ends of lines."""

from __future__ import annotations

import codecs
from pathlib import Path

from arr_rpo.plain_files import read_bytes
from arr_rpo.types import UserError

MARKS = (  # UTF-32's begin with those of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_text(path: Path) -> str:
    """The text of a file, its lines ended by "\\n".

    Raises:
        UserError: it is no file, or no such text; names file, line and fix.
    """
    try:
        content = read_bytes(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    mark, encoding = next((known for known in MARKS if content.startswith(known[0])), (b"", "utf-8"))
    content = content.removeprefix(mark)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line} is no {encoding.upper()} ({error.reason}): save the file as UTF-8") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(
            f"{path}, line {line} holds NUL characters, as UTF-16 without a byte-order mark does: save the file as UTF-8"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
