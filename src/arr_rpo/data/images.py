"""The pictures of prompts and preferences, from wherever a row keeps them, and from nowhere else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, runtime_checkable

from PIL import Image

from arr_rpo.data.pictures import Sides, read_picture
from arr_rpo.strict_json import short
from arr_rpo.types import UserError

ImageRef: TypeAlias = "str | bytes | Mapping[str, object] | Cell | None"
DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)


@runtime_checkable
class Cell(Protocol):
    """A cell of a table that is read when it is wanted."""

    def read(self) -> ImageRef: ...


def held(ref: ImageRef) -> ImageRef:
    """What a cell, or the hub's struct in it, holds: encoded bytes, a path, or nothing."""
    ref = ref.read() if isinstance(ref, Cell) else ref
    return (ref.get("bytes") or ref.get("path")) if isinstance(ref, Mapping) else ref  # type: ignore[return-value]


def content_digest(ref: ImageRef) -> str:
    """Of what `held` finds."""
    ref = held(ref)
    return hashlib.sha256(ref if isinstance(ref, bytes) else repr(ref).encode()).hexdigest()


class ImageError(UserError):
    """A picture is missing, cannot be read, or may not be fetched. The message names the row and the fix."""


class Images:
    """Opens what a row refers to: a path, encoded bytes, the hub's {"bytes", "path"}, or a data URL.

    A path leads to a place below `root`, or it is refused: what a file names is shown to judges, which may be elsewhere.

    Args:
        root: what relative paths are relative to; None takes the folder of the file.
        file: that names the pictures. Where it is itself a link, as in the hub's cache, pictures may lie beside what it links
            to.
        strip_prefix: removed from the beginning of paths first, for those that are absolute on somebody else's machine.
        option: what messages call the settings: "preferences." and "data." are the beginning of their names, and "sources" is
            the root alone.
        sides: how large a picture may be; None takes it as it is.
    """

    def __init__(
        self,
        root: str | None,
        file: Path,
        strip_prefix: str | None = None,
        option: str = "preferences.",
        sides: Sides | None = None,
    ) -> None:
        folder = file if file.is_dir() else file.parent
        linked = Path(os.path.realpath(file))
        self.root, self.strip_prefix, self.option = folder if root is None else Path(root), strip_prefix, option
        self.sides = sides
        self._allowed = (Path(os.path.realpath(self.root)), linked if file.is_dir() else linked.parent)

    def open(self, ref: ImageRef, where: str) -> Image.Image:
        """The picture in RGB, upright, on white where it is transparent (`read_picture`).

        Raises:
            ImageError: see the class; `where` names file and row.
        """
        ref = held(ref)
        if isinstance(ref, bytes) and ref:
            return self._decoded(io.BytesIO(ref), f"{where}: the image's bytes")
        if not isinstance(ref, str) or not ref:
            raise ImageError(f"{where}: the row has no image. Take a version of the data with its images.{self._skip}")
        if re.match("https?://", ref, re.IGNORECASE):
            raise ImageError(
                f"{where}: the image is at {ref}, and nothing is downloaded. Save it, and put its path there.{self._skip}"
            )
        if ref[:5].lower() == "data:":
            return self._decoded(io.BytesIO(self._from_data_url(ref, where)), f"{where}: the data URL")
        return self._file(ref, where)

    def digest(self, ref: ImageRef, where: str) -> str:
        """Of the encoded picture that a row refers to, wherever it lies.

        Raises:
            ImageError: a file cannot be read.
        """
        ref = held(ref)
        if not isinstance(ref, str):
            return content_digest(ref)
        if ref[:5].lower() == "data:":
            return content_digest(self._from_data_url(ref, where))
        try:
            return content_digest(self.path(ref).read_bytes())
        except (OSError, ValueError) as error:
            raise ImageError(f"{where}: {error}") from error

    def path(self, ref: str) -> Path:
        """Where a path of a row leads, which must not be there.

        Raises:
            ImageError: it leads out of the root; without naming a row.
        """
        path = self.root / ref.removeprefix(self.strip_prefix or "").lstrip("/") if self._moved(ref) else self.root / ref
        real = Path(os.path.realpath(path))
        if not any(real.is_relative_to(folder) for folder in self._allowed):
            moved = " One of another machine is moved by preferences.strip_prefix." * (self.option == "preferences.")
            raise ImageError(
                f"{short(ref)!r} leads out of {self.root}, to {real}. If that is meant, give the folder below which all "
                f"pictures lie: {self._root_option}=FOLDER, to which relative paths are then relative.{moved}{self._skip}"
            )
        return path

    def _moved(self, ref: str) -> bool:
        return bool(self.strip_prefix) and ref.startswith(str(self.strip_prefix))

    def _file(self, ref: str, where: str) -> Image.Image:
        try:
            path = self.path(ref)
            if not path.is_file():
                raise ImageError(f"no image {path}. {self._root_option}=FOLDER says what paths are relative to.{self._skip}")
            with path.open("rb") as file:
                return self._decoded(file, str(path))
        except (ImageError, OSError, ValueError) as error:  # also a name that no file can have
            raise ImageError(f"{where}: {error}") from error

    @property
    def _root_option(self) -> str:
        return f"{self.option}image_root" if self.option.endswith(".") else self.option

    @property
    def _skip(self) -> str:
        return " preferences.on_missing=skip leaves such pairs out and counts them." * (self.option == "preferences.")

    def _decoded(self, source: BinaryIO, what: str) -> Image.Image:
        try:
            image = read_picture(source, what)
            return image if self.sides is None else self.sides.fitted(image, what)
        except UserError as error:
            raise ImageError(f"{error}{self._skip}") from error

    def _from_data_url(self, url: str, where: str) -> bytes:
        start = DATA_URL.match(url)
        try:
            if not start:
                raise ValueError(f"it begins {url[:40]!r}")
            return base64.b64decode(url[start.end() :], validate=True)
        except (ValueError, binascii.Error) as error:
            raise ImageError(f"{where}: not a data URL of a base64 image ({error}).{self._skip}") from error
