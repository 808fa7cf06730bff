"""Prompts encoded once, and joined as the pipeline would have had them."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from arr_rpo.noise import Noise
from arr_rpo.policy.conditioning import ImageMemo, PromptMemo, by_value
from arr_rpo.policy.encodings import GIB, Encodings
from arr_rpo.types import Prompt, UserError
from tests.conftest import make_policy


class Encoder:
    """Embeddings as long as the text, a mask that is left out where it is all ones, position ids, and a list."""

    def __init__(self, pad_to: int | None = None) -> None:
        self.asked: list[str] = []
        self.pad_to = pad_to

    def __call__(self, prompt, device=None, negative_prompt=None, scale: float = 1.0):  # type: ignore[no-untyped-def]
        self.asked += prompt
        (text,) = prompt
        length = self.pad_to or len(text)
        embedding = torch.full((1, length, 2), float(len(text))) * scale
        mask = None if length == len(text) else (torch.arange(length) < len(text)).long()[None]
        negative = torch.full((1, 2), float(len(negative_prompt[0]))) if negative_prompt else None
        return embedding, mask, torch.zeros(length, 3), [embedding[0]], negative


def kept() -> Encodings:
    return Encodings(device_gib=1, host_gib=1)


def test_each_prompt_is_encoded_once() -> None:
    encoder = Encoder()
    memo = PromptMemo(encoder, kept())
    memo(["ab", "cd", "ab"], device="cpu")
    memo(prompt="cd", device="cpu")
    assert encoder.asked == ["ab", "cd"]
    memo(["ab"], device="cpu", scale=2.0)
    assert encoder.asked == ["ab", "cd", "ab"]


class Batches:
    """Encodes rows together, each to the length of the longest where `pads`."""

    def __init__(self, pads: bool) -> None:
        self.pads, self.sizes = pads, list[int]()

    def __call__(self, prompt, device=None):  # type: ignore[no-untyped-def]
        self.sizes.append(len(prompt))
        length = max(map(len, prompt)) if self.pads else 4
        rows = [[float(ord(text[0]))] * min(len(text), length) + [0.0] * (length - len(text)) for text in prompt]
        return torch.tensor([row[:length] for row in rows])[..., None], torch.zeros(length, 3)


def test_many_new_prompts_are_encoded_sixteen_at_a_time() -> None:
    texts = [chr(65 + k) * (1 + k % 4) for k in range(40)]
    encoder = Batches(pads=False)
    memo, alone = PromptMemo(encoder, kept()), PromptMemo(Batches(pads=False), kept())
    embeddings, positions = memo([*texts, texts[0]])
    assert encoder.sizes == [16, *[1] * 16, 16, 16, *[1] * 8]  # looked at once, twice sixteen, and the rest
    assert torch.equal(embeddings, torch.cat([alone([text])[0] for text in [*texts, texts[0]]]))
    assert positions.shape == (4, 3)
    memo(texts)
    assert len(encoder.sizes) == 27


def test_an_encoder_that_pads_is_asked_one_by_one() -> None:
    texts = [chr(65 + k) * 3 for k in range(40)]
    encoder = Batches(pads=True)
    embeddings, _ = PromptMemo(encoder, kept())(texts)
    assert encoder.sizes == [16, *[1] * 16, *[1] * 40]
    assert embeddings.shape == (40, 3, 1)


def test_the_embedded_encoders_give_the_same_together() -> None:
    together, alone = make_policy(), make_policy()
    texts = [f"a photo of {number} red circles" for number in range(20)]
    many = together.prompts(texts, device=torch.device("cpu"), max_sequence_length=12)
    assert any(together.prompts._together.values())
    for text, embedding in zip(texts, many[0], strict=True):
        assert torch.equal(alone.prompts([text], device=torch.device("cpu"), max_sequence_length=12)[0][0], embedding)


def test_equal_lengths_are_concatenated() -> None:
    embedding, mask, positions, listed, negative = PromptMemo(Encoder(), kept())(["ab", "cd"])
    assert embedding.shape == (2, 2, 2)
    assert mask is None
    assert positions.shape == (2, 3)
    assert len(listed) == 2
    assert negative is None


def test_other_lengths_are_padded_and_masked() -> None:
    embedding, mask, *_ = PromptMemo(Encoder(), kept())(["abc", "d"])
    assert embedding[:, :, 0].tolist() == [[3, 3, 3], [1, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


def test_a_mask_of_some_is_a_mask_of_all() -> None:
    """Padded by the pipeline to one length, and left out for the prompt that fills it."""
    _, mask, *_ = PromptMemo(Encoder(pad_to=3), kept())(["abc", "d"])
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_negative_prompts_belong_to_their_rows() -> None:
    *_, negative = PromptMemo(Encoder(), kept())(["ab", "cd"], negative_prompt=["x", "xyz"])
    assert negative[:, 0].tolist() == [1, 3]


def test_fill_asks_in_every_known_way() -> None:
    encoder = Encoder()
    memo = PromptMemo(encoder, kept(), lasting=True)
    memo(["ab"], scale=1.0)
    memo(["ab"], scale=2.0)
    memo.fill(["ab", "cd"])
    assert encoder.asked == ["ab", "ab", "cd", "cd"]
    memo(["cd", "ab"], scale=2.0)
    assert encoder.asked == ["ab", "ab", "cd", "cd"]


def test_what_a_pipeline_shows_its_encoder_is_not_kept_where_nobody_fills() -> None:
    """Arguments may be pictures of megabytes, other ones for each prompt."""
    memo = PromptMemo(Encoder(), kept())
    for number in range(3):
        memo(["ab"], negative_prompt=["x"], device=torch.full((2,), float(number)))
    assert not memo._calls
    assert memo._encodings.misses == 3


def test_keys_are_contents() -> None:
    red, blue = (Image.new("RGB", (2, 2), colour) for colour in ("red", "blue"))
    assert by_value([red, 1]) == by_value([red.copy(), 1])
    assert by_value(red) != by_value(blue)
    assert by_value(torch.ones(2)) == by_value(torch.ones(2)) != by_value(torch.ones(1, 2))
    assert by_value({"a": 1, "b": red}) == by_value({"b": red, "a": 1})


def test_source_images_are_encoded_once_whatever_batch_they_come_in() -> None:
    asked = []

    def encode(image: torch.Tensor, generator: object) -> torch.Tensor:
        asked.append(image.item())
        return image + 1

    memo = ImageMemo(encode, Encodings(device_gib=8 / GIB, host_gib=0))  # two of them
    assert memo(image=torch.tensor([[0.0], [5.0]])).tolist() == [[1.0], [6.0]]
    assert memo(image=torch.tensor([[5.0], [0.0], [5.0]])).tolist() == [[6.0], [1.0], [6.0]]
    assert asked == [0.0, 5.0]
    memo(image=torch.tensor([[7.0]]))
    memo(image=torch.tensor([[5.0]]))
    memo(image=torch.tensor([[0.0]]))  # which was not asked for the longest when 7 came
    assert asked == [0.0, 5.0, 7.0, 0.0]


def test_text_encoders_go_after_caching() -> None:
    prompts = [Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars")]
    expected = make_policy().rollout(prompts, 1, Noise(1, 0)).clean_BD
    nothing_stays = Encodings(device_gib=0, host_gib=0)
    policy = make_policy(release_text_encoders=True, encodings=nothing_stays)
    policy.cache_prompts(prompts)
    assert (nothing_stays.device_bytes, nothing_stays.host_bytes) == (0, 0) < (nothing_stays.disk_bytes, 1)
    assert policy.pipe.text_encoder is None
    assert policy.pipe.text_encoder_2 is None
    assert torch.equal(policy.rollout(prompts, 1, Noise(1, 0)).clean_BD, expected)
    with pytest.raises(UserError, match="release_text_encoders"):
        make_policy(release_text_encoders=True).cache_prompts([Prompt("c", "x", source=Image.new("RGB", (4, 4)))])


def test_what_is_kept_is_bounded_and_changes_no_picture() -> None:
    prompts = [Prompt(str(number), f"a photo of {number} red circles") for number in range(12)]
    expected = make_policy().rollout(prompts, 1, Noise(1, 0)).clean_BD
    one = make_policy().encodings
    policy = make_policy(encodings=one)
    policy.generate(prompts[:1], seed=1)
    limit = 3 * one.device_bytes
    tight = Encodings(device_gib=limit / GIB, host_gib=limit / GIB)
    policy = make_policy(encodings=tight)
    for _ in range(2):
        assert torch.equal(policy.rollout(prompts, 1, Noise(1, 0)).clean_BD, expected)
        assert 0 < tight.device_bytes <= limit
        assert 0 < tight.host_bytes <= limit
    assert tight.disk_bytes == 0


def test_a_list_of_texts_that_is_no_prompt_is_of_all() -> None:
    """Sana's instruction has eight lines, as many as candidates in a call."""
    seen = []

    def encode(prompt: list[str], complex_human_instruction: list[str] | None = None) -> torch.Tensor:
        seen.append(complex_human_instruction)
        return torch.ones(len(prompt), 2, 2)

    lines = ["one", "two"]
    PromptMemo(encode, kept())(["ab", "cd"], complex_human_instruction=lines)
    assert seen == [lines, lines]
