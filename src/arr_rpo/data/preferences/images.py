"""The pictures of preference data, from wherever a row keeps them."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, runtime_checkable

from PIL import Image

from arr_rpo.data.pictures import read_picture
from arr_rpo.types import UserError

ImageRef: TypeAlias = "str | bytes | Mapping[str, object] | Cell | None"
DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)


@runtime_checkable
class Cell(Protocol):
    """A cell of a table that is read when it is wanted."""

    def read(self) -> ImageRef: ...


class ImageError(UserError):
    """A picture is missing, cannot be read, or may not be fetched. The message names the row and the fix."""


class Images:
    """Opens what a row refers to: a path, encoded bytes, the hub's {"bytes", "path"}, or a data URL.

    root: what relative paths are relative to. strip_prefix: removed from the beginning of paths first, for those that are
    absolute on somebody else's machine.
    """

    def __init__(self, root: Path, strip_prefix: str | None) -> None:
        self.root, self.strip_prefix = root, strip_prefix

    def open(self, ref: ImageRef, where: str) -> Image.Image:
        """The picture in RGB, upright, on white where it is transparent (`read_picture`).

        Raises:
            ImageError: see the class; `where` names file and row.
        """
        if isinstance(ref, Cell):
            ref = ref.read()
        if isinstance(ref, Mapping):
            ref = ref.get("bytes") or ref.get("path")  # type: ignore[assignment]
        if isinstance(ref, bytes) and ref:
            return _decoded(io.BytesIO(ref), f"{where}: the image's bytes")
        if not isinstance(ref, str) or not ref:
            raise ImageError(f"{where}: the row has no image. Take a version of the data with its images. {_SKIP}")
        if re.match("https?://", ref, re.IGNORECASE):
            raise ImageError(
                f"{where}: the image is at {ref}, and nothing is downloaded. Save it, and put its path there. {_SKIP}"
            )
        if ref[:5].lower() == "data:":
            return _decoded(io.BytesIO(_from_data_url(ref, where)), f"{where}: the data URL")
        return self._file(ref, where)

    def path(self, ref: str) -> Path:
        return self.root / ref.removeprefix(self.strip_prefix or "").lstrip("/") if self._moved(ref) else self.root / ref

    def _moved(self, ref: str) -> bool:
        return bool(self.strip_prefix) and ref.startswith(str(self.strip_prefix))

    def _file(self, ref: str, where: str) -> Image.Image:
        path = self.path(ref)
        if not path.is_file():
            fix = (
                "preferences.strip_prefix takes a beginning off absolute paths, preferences.image_root is put before the rest."
                if Path(ref).is_absolute()
                else "preferences.image_root=FOLDER says what the paths are relative to."
            )
            raise ImageError(f"{where}: no image {path}. {fix} {_SKIP}")
        with path.open("rb") as file:
            return _decoded(file, f"{where}: {path}")


_SKIP = "preferences.on_missing=skip leaves such pairs out and counts them."


def _decoded(source: BinaryIO, what: str) -> Image.Image:
    try:
        return read_picture(source, what)
    except UserError as error:
        raise ImageError(f"{error} {_SKIP}") from error


def _from_data_url(url: str, where: str) -> bytes:
    start = DATA_URL.match(url)
    try:
        if not start:
            raise ValueError(f"it begins {url[:40]!r}")
        return base64.b64decode(url[start.end() :], validate=True)
    except (ValueError, binascii.Error) as error:
        raise ImageError(f"{where}: not a data URL of a base64 image ({error}). {_SKIP}") from error
