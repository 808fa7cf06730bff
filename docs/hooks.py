"""mkdocs: links from a page to a file of the repository, which the site does not have, become the file's name; one to nothing
is an error."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)(#[^)]*)?\)")
log = logging.getLogger("mkdocs.hooks")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    def shown(found: re.Match[str]) -> str:
        text, path = found[1], found[2]
        if not (ROOT / path).exists():
            log.warning("%s: the link to ../%s leads nowhere", page.file.src_path, path)  # an error, as `strict` is set
        return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"

    return LINK.sub(shown, markdown)
