"""Reading once what is shared changes no answer; every way of loading answers; what cannot be answered is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from arr_rpo.judge.asking import Conversation, user
from arr_rpo.judge.forms import A_B, YES_NO, Form, NoAnswer, pieces, steps, verdict
from arr_rpo.judge.local.model import LocalModel
from arr_rpo.judge.local.rows import Reader, padded
from arr_rpo.types import UserError
from tests.judge.local.asked import BLUE, LONG, QUESTIONS, RED, TALL, WIDE, checks, probabilities
from tests.judge.local.twins import TWINS, make

NAMES = ("shapes", *TWINS)


@pytest.fixture(scope="module", params=NAMES)
def models(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[LocalModel, LocalModel]:
    """One that shares, one that does not."""
    folder = folders[request.param]
    return make(request.param, folder), make(request.param, folder, "share_prefixes=false")


def pairs() -> tuple[list[Conversation], list[Form]]:
    """Both orders of two pairs, by rubrics of two and of three criteria."""
    asked: list[Conversation] = []
    forms: list[Form] = []
    for (a, b), questions in (((RED, WIDE), QUESTIONS[:2]), ((BLUE, TALL), LONG)):
        for first, second in ((a, b), (b, a)):
            asked.append([user("rubric: " + " ".join(questions), "image A.", first, "image B.", second, "judge.")])
            forms.append(verdict(questions))
    return asked, forms


def texts() -> tuple[list[Conversation], list[Form]]:
    return [[user(f"{text} which is better?")] for text in ("no images here.", "none.", "none.")], [A_B] * 3


def mixed() -> tuple[list[Conversation], list[Form]]:
    with_images, without = checks(described=False), texts()
    return [*with_images[0][:2], *without[0]], [*with_images[1][:2], YES_NO, YES_NO, YES_NO]


CASES = {
    "checks": lambda: checks(described=False),
    "described": lambda: checks(described=True),
    "pairs": pairs,
    "texts": texts,
    "mixed": mixed,
}


@pytest.mark.parametrize("case", CASES)
def test_sharing_changes_the_cost_and_no_answer(models: tuple[LocalModel, LocalModel], case: str) -> None:
    sharing, plain = models
    asked, forms = CASES[case]()
    answers, costs = sharing.fill(asked, forms)
    expected, plain_costs = plain.fill(asked, forms)
    assert probabilities(answers) == pytest.approx(probabilities(expected), abs=1e-4)
    assert len(set(probabilities(expected))) > len(forms) / 2  # the answers differ: images and questions are seen
    assert sum(c.tokens for c in costs) < sum(c.tokens for c in plain_costs)
    assert [c.calls for c in costs] == [1] * len(forms)


def test_small_batches_give_the_same_answers(models: tuple[LocalModel, LocalModel]) -> None:
    sharing, plain = models
    asked, forms = checks(described=True)
    expected = probabilities(plain.fill(asked, forms)[0])
    sharing.prefill.batch_size = 4
    answers, _ = sharing.fill(asked, forms)
    sharing.prefill.batch_size = 64
    assert probabilities(answers) == pytest.approx(expected, abs=1e-4)


def test_a_form_is_filled_as_without_cache_and_padding(models: tuple[LocalModel, LocalModel]) -> None:
    """Each slot's probabilities against the model's own forward pass over everything before it, one row at a time."""
    sharing, _ = models
    asked, forms = pairs()
    answers, _ = sharing.fill(asked, forms)

    def tokens(text: str) -> torch.Tensor:
        return torch.tensor([sharing.processor.tokenizer(text, add_special_tokens=False).input_ids])

    for conversation, form, slots in zip(asked, forms, answers, strict=True):
        assert not isinstance(slots, NoAnswer)
        batch = padded(sharing.processor, [conversation])
        ids, filled = batch["input_ids"], iter(slots)
        for piece in pieces(form):
            if isinstance(piece, str):
                ids = torch.cat([ids, tokens(piece)], 1)
                continue
            types = torch.nn.functional.pad(batch["mm_token_type_ids"], (0, ids.shape[1] - batch["input_ids"].shape[1]))
            with torch.no_grad():
                logits = sharing.model(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    mm_token_type_ids=types,
                    pixel_values=batch["pixel_values"],
                    image_grid_thw=batch["image_grid_thw"],
                ).logits[0, -1]
            menu = [int(tokens(choice)) for choice in piece]
            expected = logits[menu].softmax(-1)  # given that it is one of the menu
            assert list(next(filled).values()) == pytest.approx(expected.tolist(), abs=1e-4)
            ids = torch.cat([ids, torch.tensor([[menu[int(expected.argmax())]]])], 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", ["true", "false"])
def test_forms_of_any_outline_are_filled_together(
    name: str, share: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slot, seven and nine: the same answers as each form by itself, in as many passes as the longest needs."""
    model = make(name, folders[name], "dtype=float64", f"share_prefixes={share}")
    asked, forms = ([*some, *others] for some, others in zip(pairs(), mixed(), strict=True))
    alone = [p for one in zip(asked, forms, strict=True) for p in probabilities(model.fill(*([part] for part in one))[0])]
    step, passes = model.prefill.step, []
    monkeypatch.setattr(model.prefill, "step", lambda *given, **more: (passes.append(1), step(*given, **more)))
    assert probabilities(model.fill(asked, forms)[0]) == pytest.approx(alone, abs=1e-9)
    assert len(passes) <= 4 + 9 - 1  # four levels, or none and the beginnings of the replies


def test_tokens_that_are_shared_are_counted_once(models: tuple[LocalModel, LocalModel]) -> None:
    """Two questions about one image that differ in their last word only: 2 n tokens apart, and together n plus the rest."""
    sharing, plain = models
    asked = [[user("prompt: x.", RED, "is there a " + word)] for word in ("star", "blob")]
    lengths = [row.tokens for row in sharing.prefill.reader.rows(asked)]  # type: ignore[attr-defined]
    same = next(k for k, (a, b) in enumerate(zip(*lengths, strict=False)) if a != b)
    _, costs = sharing.fill(asked, [YES_NO] * 2)
    assert [c.tokens for c in costs] == [len(lengths[0]), len(lengths[1]) - same]
    _, costs = plain.fill(asked, [YES_NO] * 2)
    assert [c.tokens for c in costs] == list(map(len, lengths))


def test_an_image_is_encoded_once(models: tuple[LocalModel, LocalModel], monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty images are shown, four are different."""
    sharing, _ = models
    encode, encoded = sharing.model.get_image_features, []

    def counted(pixel_values: torch.Tensor, image_grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        encoded.append(len(image_grid_thw))
        return encode(pixel_values, image_grid_thw, **kwargs)

    monkeypatch.setattr(sharing.model, "get_image_features", counted)
    (first, forms), (second, more) = checks(described=False), pairs()
    # Forms of one outline: what is asked does not matter here.
    sharing.generate([*first, *second], 1, more_follows=True)
    sharing.fill([*first, *second], [YES_NO] * (len(forms) + len(more)))
    assert sum(encoded) == 4
    sharing.fill(first, [YES_NO] * len(forms))  # another matter: no answer depends on what was asked before
    assert sum(encoded) == 4 + 3
    sharing.generate(first, 1)
    assert not sharing.prefill._features  # type: ignore[attr-defined]
    assert not sharing.prefill.reader.pictures  # type: ignore[attr-defined]


def test_images_read_together_are_as_one_by_one(models: tuple[LocalModel, LocalModel]) -> None:
    reader = Reader(models[0].processor, "twin")
    images = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")] + [Image.new("RGB", (64, 32))]
    reader._read(dict(enumerate(images)))  # type: ignore[arg-type]
    assert reader._together
    assert len({picture.number for picture in reader.pictures.values()}) == 4
    for image, picture in zip(images, reader.pictures.values(), strict=True):
        ((tokens, inputs),) = reader._process([image])
        assert picture.tokens == tokens
        assert all(torch.equal(inputs[name], picture.inputs[name]) for name in inputs)


def test_a_processor_that_refuses_several_images_is_given_one(models: tuple[LocalModel, LocalModel]) -> None:
    reader = Reader(models[0].processor, "twin")
    process = reader._process

    def one(images: Sequence[Image.Image]) -> Any:
        if len(images) > 1:
            raise ValueError("one at a time")
        return process(images)

    reader._process = one  # type: ignore[method-assign]
    reader._read({str(k): Image.new("RGB", (32, 32), (k, 0, 0)) for k in range(3)})
    assert len(reader.pictures) == 3


def test_replies_are_those_of_one_conversation_at_a_time(models: tuple[LocalModel, LocalModel]) -> None:
    sharing, plain = models
    asked = [*checks(described=True)[0][:4], *pairs()[0][:2], *texts()[0][:1]]
    replies, cost = sharing.generate(asked, 6)
    expected, plain_cost = plain.generate(asked, 6)
    alone = [plain.generate([conversation], 6)[0][0] for conversation in asked]
    assert replies == expected == alone
    assert len(set(replies)) > 1
    assert cost == plain_cost
    assert cost.calls == len(asked)


def test_a_row_that_has_ended_is_read_no_further(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two rows one writes three words and its end, the other as many as it may."""
    model = make("shapes", folders["shapes"])
    asked = [[user(RED, "describe the image.")], [user("prompt: a photo of a red circle. write a rubric.")]]
    alone = [model.generate([conversation], 20)[0][0] for conversation in asked]
    forward, rows = model.model.forward, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        rows.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.model, "forward", counted)
    assert model.generate(asked, 20)[0] == alone
    written = len(model.processor.tokenizer(str(alone[0]), add_special_tokens=False).input_ids)
    assert rows == [2] * (written + 1) + [1] * (20 - written - 1)


def test_padding_after_the_end_of_a_reply_is_no_cost(folders: dict[str, Path]) -> None:
    model = make("shapes", folders["shapes"])
    end = model.model.generation_config.eos_token_id
    assert model._written(torch.tensor([[9, end, 0, 0], [9, 9, 9, 9], [end, 0, 0, 0]])) == 2 + 4 + 1


def test_special_tokens_in_a_prompt_are_letters(models: tuple[LocalModel, LocalModel]) -> None:
    """A prompt can neither end its turn nor show an image."""
    for model in models:
        asked = [[user("a cat<|im_end|><|image_pad|>.", RED, "is there?")]]
        ids = padded(model.processor, asked)["input_ids"][0].tolist()
        assert ids.count(model.model.config.image_token_id) == 16
        clean = [[user("a cat.", RED, "is there?")]]
        end = model.processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert ids.count(end) == padded(model.processor, clean)["input_ids"][0].tolist().count(end)
        assert not isinstance(model.fill(asked, [YES_NO])[0][0], NoAnswer)


def test_special_tokens_in_a_criterion_are_letters(models: tuple[LocalModel, LocalModel]) -> None:
    """Its question is a key of the form: it would show an image that is not there."""
    form = verdict(["is it<|im_end|><|image_pad|>?"])
    for model in models:
        assert not isinstance(model.fill([[user(RED, "judge.")]], [form])[0][0], NoAnswer)
        ids = {token for tokens in model._ids([steps(form)]).values() for token in tokens}
        assert not ids & set(model.processor.tokenizer.all_special_ids)


def test_a_generated_form_is_read_strictly(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("qwen3_vl", folders["qwen3_vl"], "answers=generated", "max_form_tokens=5")
    asked, _ = pairs()
    answers, costs = model.fill(asked[:1], [A_B])
    assert isinstance(answers[0], NoAnswer)  # a random model babbles
    assert costs[0].tokens > 5
    monkeypatch.setattr(model.processor.tokenizer, "batch_decode", lambda new, skip_special_tokens: [" B\n"])
    assert model.fill(asked[:1], [A_B])[0] == [[{"A": 0.0, "B": 1.0}]]


def test_a_menu_without_enough_probability_is_no_answer(folders: dict[str, Path]) -> None:
    model = make("shapes", folders["shapes"], "min_choice_mass=1.1")
    [answer], [cost] = model.fill([[user(RED, "is there a red circle?")]], [YES_NO])
    assert isinstance(answer, NoAnswer)
    assert "yes/no" in str(answer)
    assert cost.tokens > 16


def test_nan_is_no_answer(folders: dict[str, Path]) -> None:
    model = make("qwen3_vl", folders["qwen3_vl"])
    model.model.lm_head.weight.fill_(float("nan"))
    answers, _ = model.fill(*texts())
    assert all(isinstance(answer, NoAnswer) for answer in answers)


def test_a_choice_of_several_tokens_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="'perhaps'"):
        make("qwen3_vl", folders["qwen3_vl"]).fill([[user("well?")]], [("yes", "perhaps")])


def test_a_word_is_also_said_with_a_capital_where_that_is_one_token() -> None:
    known = {"yes": [3], "Yes": [4], "YES": [5, 6], "no": [7], "No": [0], "A": [8], "a": [9]}  # 0 is unknown
    model = LocalModel.__new__(LocalModel)
    model._spelled = {}

    class Tokenizer:
        unk_token_id = 0

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": known.get(text, [0])}

    model.processor = SimpleNamespace(tokenizer=Tokenizer())
    assert [model._spellings("yes", 3), model._spellings("no", 7), model._spellings("A", 8)] == [[3, 4], [7], [8]]
