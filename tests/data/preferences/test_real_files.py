"""The published files themselves, where they are at hand; their images are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arr_rpo.data.images import ImageError
from arr_rpo.data.preferences.hpd import editreward_validation
from arr_rpo.data.preferences.rankings import arr, imagereward
from arr_rpo.types import Outcome
from tests.data.preferences.files import BLUE, GREEN, READING, RED, color_of, save

SHARED = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no {SHARED}")


def test_imagereward() -> None:
    pairs = imagereward(path=str(SHARED / "ImageReward" / "data" / "test.json"), **{**READING, "ties": "drop"})
    rows = json.loads((SHARED / "ImageReward" / "data" / "test.json").read_text(encoding="utf-8"))
    in_all = sum(len(r["ranking"]) * (len(r["ranking"]) - 1) // 2 for r in rows)
    tied = sum(r["ranking"].count(rank) * (r["ranking"].count(rank) - 1) // 2 for r in rows for rank in set(r["ranking"]))
    assert (len(rows), in_all, tied) == (466, 7230, 831)
    assert (len(pairs), dict(pairs.left_out)) == (6399, {"tie": 831})
    with pytest.raises(ImageError, match=r"test.json, row 1: no image .*part-005658/images/0040"):
        pairs[0]


def test_editreward_validation(tmp_path: Path) -> None:
    path = SHARED / "EditReward" / "data" / "dataset" / "valid_dataset_1.json"
    row = json.loads(path.read_text(encoding="utf-8"))[1]
    assert row["model1_overall_score"] < row["model2_overall_score"]  # contradicts the order, as in 253 rows
    for key, color in (("path_src", GREEN), ("path1", RED), ("path2", BLUE)):
        save(tmp_path / row[key], color)
    pairs = editreward_validation(path=str(path), **{**READING, "image_root": str(tmp_path)})
    assert len(pairs) == 503
    pair = pairs[1]
    assert (pair.prompt.text, pair.better) == ("Put popcorn in the plate.", Outcome.A)
    assert color_of(pair.a)[0] > 250  # red, as JPEG keeps it
    assert color_of(pair.b)[2] > 250


@pytest.mark.parametrize(("kind", "labels"), [("t2i", [Outcome.B, Outcome.B]), ("edit", [Outcome.A, Outcome.A])])
def test_arr_seed_files(kind: str, labels: list[Outcome], tmp_path: Path) -> None:
    path = SHARED / "AutoRubric-as-Reward" / "examples" / f"seed_{kind}_pairwise.json"
    for row in json.loads(path.read_text(encoding="utf-8")):
        for image in [*row.get("response", []), *row.get("edited_images", []), row.get("source_image", "unused.png")]:
            save(tmp_path / image, RED)
    pairs = list(arr(path=str(path), **{**READING, "image_root": str(tmp_path)}))
    assert [p.better for p in pairs] == labels
    assert all((p.prompt.source is not None) == (kind == "edit") for p in pairs)


def test_real_pictures_of_an_edit(tmp_path: Path) -> None:
    """Step1X-Edit's source and output as a pair of our own format, with photographs and a PNG with alpha."""
    from arr_rpo.data.preferences.own import jsonl

    root = SHARED / "Step1X-Edit"
    texts = json.loads((root / "examples" / "prompt_en.json").read_text(encoding="utf-8"))
    rows = [
        {
            "prompt": text,
            "source": f"examples/{name}",
            "a": f"assets/outputs_en_1024/{name}",
            "b": f"examples/{name}",
            "better": "A",
        }
        for name, text in texts.items()
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pairs = jsonl(path=str(tmp_path / "pairs.jsonl"), **{**READING, "image_root": str(root)})
    for pair in pairs:
        assert pair.a.mode == pair.b.mode == "RGB"
        assert pair.prompt.source is pair.b  # one picture, opened once
