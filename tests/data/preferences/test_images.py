"""Pictures from paths, bytes and data URLs: in RGB, upright, on white; and what is said when there is none."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from arr_rpo.data.images import ImageError, Images
from tests.data.preferences.files import BLUE, GREEN, RED, color_of, encoded, save


@pytest.fixture
def images(tmp_path: Path) -> Images:
    save(tmp_path / "some" / "red.png", RED)
    return Images(None, tmp_path / "pairs.json")


def test_relative_and_absolute_paths(images: Images, tmp_path: Path) -> None:
    assert color_of(images.open("some/red.png", "row 1")) == RED
    assert color_of(images.open(str(tmp_path / "some/red.png"), "row 1")) == RED
    assert color_of(images.open("some/../some/red.png", "row 1")) == RED


@pytest.mark.parametrize("ref", ["{0}/elsewhere/blue.png", "../elsewhere/blue.png", "link.png", "folder/blue.png"])
def test_a_picture_outside_of_the_root_is_refused(tmp_path: Path, ref: str) -> None:
    blue, here = save(tmp_path / "elsewhere" / "blue.png", BLUE), tmp_path / "here"
    here.mkdir()
    (here / "link.png").symlink_to(blue)
    (here / "folder").symlink_to(tmp_path / "elsewhere")
    ref = ref.format(tmp_path)
    with pytest.raises(ImageError, match=r"row 1: .*leads out of .*/here, to .*elsewhere/blue\.png.*preferences\.image_root"):
        Images(None, here / "pairs.json").open(ref, "row 1")
    with pytest.raises(ImageError, match="leads out of"):
        Images(str(here), tmp_path / "here/pairs.json").open({"bytes": None, "path": ref}, "row 1")
    root = Images(str(tmp_path), here / "pairs.json")
    assert color_of(root.open(ref.replace("../", "") if ref.startswith("../") else str(blue), "row 1")) == BLUE


def test_the_hubs_cache_links_files_to_where_it_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    kept = tmp_path / "blobs/8f14"
    kept.write_bytes(encoded(BLUE))
    (tmp_path / "blobs/45fc").write_text("[]", encoding="utf-8")
    snapshot = tmp_path / "snapshots/main"
    snapshot.mkdir(parents=True)
    (snapshot / "test.json").symlink_to(tmp_path / "blobs/45fc")
    (snapshot / "a.png").symlink_to(kept)
    assert color_of(Images(None, snapshot / "test.json").open("a.png", "row 1")) == BLUE


def test_absolute_paths_of_another_machine(tmp_path: Path) -> None:
    save(tmp_path / "some" / "red.png", RED)
    moved = Images(None, tmp_path / "pairs.json", strip_prefix="/mnt/theirs/")
    assert color_of(moved.open("/mnt/theirs/some/red.png", "row 1")) == RED
    with pytest.raises(ImageError, match="strip_prefix"):
        Images(None, tmp_path / "pairs.json").open("/mnt/theirs/some/red.png", "row 1")


@pytest.mark.parametrize("ref", [encoded(GREEN), {"bytes": encoded(GREEN), "path": None}])
def test_bytes(images: Images, ref: bytes | dict[str, object]) -> None:
    assert color_of(images.open(ref, "row 1")) == GREEN


def test_the_hubs_struct_may_hold_a_path_only(images: Images) -> None:
    assert color_of(images.open({"bytes": None, "path": "some/red.png"}, "row 1")) == RED


def test_data_urls(images: Images) -> None:
    url = "data:image/png;base64," + base64.b64encode(encoded(BLUE)).decode()
    assert color_of(images.open(url, "row 1")) == BLUE
    for bad in ("data:image/png,abc", "data:image/png;base64,???", "data:image/png;base64," + base64.b64encode(b"no").decode()):
        with pytest.raises(ImageError, match="row 9"):
            images.open(bad, "row 9")


def test_http_is_refused(images: Images) -> None:
    with pytest.raises(ImageError, match="nothing is downloaded"):
        images.open("https://example.org/red.png", "pairs.json, row 1")


@pytest.mark.parametrize("ref", [None, "", b"", {"bytes": None, "path": None}])
def test_a_row_without_an_image(images: Images, ref: object) -> None:
    with pytest.raises(ImageError, match=r"pairs.json, row 7: the row has no image"):
        images.open(ref, "pairs.json, row 7")  # type: ignore[arg-type]


def test_missing_and_broken_files_name_file_row_and_fix(images: Images, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"pairs.json, row 7: no image .*gone.png.*image_root.*on_missing=skip"):
        images.open("gone.png", "pairs.json, row 7")
    (tmp_path / "broken.png").write_bytes(encoded(RED)[:40])
    with pytest.raises(ImageError, match=r"pairs.json, row 7: .*broken.png cannot be read"):
        images.open("broken.png", "pairs.json, row 7")


def test_exif_rotation_is_applied(images: Images, tmp_path: Path) -> None:
    picture = Image.new("RGB", (16, 8), RED)
    picture.paste(BLUE, (0, 0, 8, 8))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned 90 degrees clockwise: left goes to the top
    picture.save(tmp_path / "turned.png", exif=exif)
    opened = images.open("turned.png", "row 1")
    assert opened.size == (8, 16)
    assert (opened.getpixel((4, 2)), opened.getpixel((4, 13))) == (BLUE, RED)


def test_transparency_is_flattened_on_white(images: Images, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (*RED, 255))
    picture.save(tmp_path / "clear.png")
    opened = images.open("clear.png", "row 1")
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), RED]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([0, 0, 0])
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=0)
    assert color_of(images.open(buffer.getvalue(), "row 1")) == (255, 255, 255)
