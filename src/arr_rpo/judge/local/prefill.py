"""What a model reads before it answers: all conversations whole, or every common beginning and every image once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from arr_rpo.judge.asking import Conversation
from arr_rpo.judge.local.greedy import greedy
from arr_rpo.judge.local.prefix_tree import least_work, parts
from arr_rpo.judge.local.roomy import roomy_cache
from arr_rpo.judge.local.rows import ProcessedImage, Reader, Row, padded
from arr_rpo.types import UserError

# Instructions, prompt and rubric, images, question: what a batch can share. Each level is one forward pass.
MOST_LEVELS = 4


@dataclass
class Context:
    """B conversations that the model has read, ready to be continued.

    rows: which of the conversations asked for. tokens: how many were read for each; what several share counts for the first.
    logits_BV: of the next token. mask_BL: 1 where the cache holds a token; it has holes, as segments are padded.
    position_B1: where the next token stands.
    """

    rows: list[int]
    tokens: list[int]
    logits_BV: Tensor
    mask_BL: Tensor
    position_B1: Tensor
    cache: Any

    def select(self, rows: Sequence[int]) -> None:
        """Goes on with these rows, one or several times each."""
        if list(rows) != list(range(len(self.mask_BL))):
            index = torch.tensor(rows, device=self.mask_BL.device)
            self.cache.batch_select_indices(index)
            self.logits_BV, self.mask_BL, self.position_B1 = self.logits_BV[index], self.mask_BL[index], self.position_B1[index]


class Prefill:
    """Each conversation by itself: images and texts as often as they occur. Fits every model.

    decoding: the loop that `generate` is to run; None is that of transformers.
    """

    decoding: Callable[..., Tensor] | None = None

    def __init__(self, model: Any, processor: Any, name: str, batch_size: int) -> None:
        self.model, self.processor, self.name, self.batch_size = model, processor, name, batch_size

    def contexts(self, conversations: Sequence[Conversation], begun: Sequence[list[int]]) -> Iterator[Context]:
        """The conversations, and what each reply begins with, in batches, in an order of our own (`Context.rows`)."""
        for some in ([i for i, tokens in enumerate(begun) if tokens], [i for i, tokens in enumerate(begun) if not tokens]):
            for start in range(0, len(some), self.batch_size):
                rows = some[start : start + self.batch_size]
                batch = self.inputs([conversations[i] for i in rows])
                mask = batch["attention_mask"]
                positions = self.positions(batch["input_ids"], mask, batch.get("image_grid_thw"))
                out = self.model(**batch, position_ids=positions, use_cache=True, logits_to_keep=1)
                tokens = [read + len(begun[i]) for i, read in zip(rows, mask.sum(1).tolist(), strict=True)]
                context = Context(rows, tokens, out.logits[:, -1], mask, _next(positions), out.past_key_values)
                if begun[rows[0]]:
                    self.step(context, [begun[i] for i in rows])
                yield context

    def inputs(self, conversations: Sequence[Conversation]) -> dict[str, Any]:
        """What `generate` is given."""
        return dict(padded(self.processor, conversations).to(self.model.device))

    def forget(self) -> None:
        """Lets go of the images that were read; called after what belongs together, so that no answer depends on what was asked
        before, and nothing is held while the policy learns."""

    def step(self, context: Context, tokens: Sequence[Sequence[int]], positions: Tensor | None = None, **images: Any) -> None:
        """Reads on: `tokens` of each row, at `positions` or at those that follow."""
        ids, new = left_padded(tokens, context.mask_BL.device)
        if positions is None:
            positions = self.text_positions(context.position_B1 + (new.cumsum(1) - 1).clamp(min=0))
        context.mask_BL = torch.cat([context.mask_BL, new], 1)
        out = self.model(
            input_ids=ids,
            attention_mask=context.mask_BL,
            position_ids=positions,
            past_key_values=context.cache,
            use_cache=True,
            logits_to_keep=1,
            **images,
        )
        context.logits_BV, context.cache, context.position_B1 = out.logits[:, -1], out.past_key_values, _next(positions)

    def positions(self, ids: Tensor, mask: Tensor, grids: Tensor | None) -> Tensor:
        """(B, L), or (3, B, L) for models with M-RoPE (arXiv 2409.12191), where an image takes fewer positions than tokens."""
        if grids is None or not self._has_mrope:
            return self.text_positions((mask.cumsum(1) - 1).clamp(min=0))
        types = (ids == self.model.config.image_token_id).int()
        positions, _ = self.model.base_model.get_rope_index(
            ids, mm_token_type_ids=types, image_grid_thw=grids, attention_mask=mask
        )
        return positions  # type: ignore[no-any-return]

    def text_positions(self, positions_BL: Tensor) -> Tensor:
        return positions_BL[None].expand(3, -1, -1) if self._has_mrope else positions_BL

    @property
    def _has_mrope(self) -> bool:
        return hasattr(self.model.base_model, "get_rope_index")


class SharedPrefill(Prefill):
    """Every distinct image is encoded once until `forget`, every common beginning read once a batch, no end waited for."""

    decoding = staticmethod(greedy)

    def __init__(self, model: Any, processor: Any, name: str, batch_size: int) -> None:
        super().__init__(model, processor, name, batch_size)
        self.reader = Reader(processor, name)
        self._features: dict[str, tuple[Tensor, list[Tensor]]] = {}
        self._blocks: dict[tuple[int, ...], Tensor] = {}
        kinds = getattr(model.config.get_text_config(), "layer_types", None) or []
        if "mm_encoder_outputs" not in inspect.signature(type(model).forward).parameters or {*kinds} - {"full_attention"}:
            raise UserError(
                f"judge {name!r}: {type(model).__name__} does not take encoded images, or its attention does not reach back to "
                "the first token: its prefixes cannot be shared. Set judge.model.share_prefixes=false."
            )

    def forget(self) -> None:
        self.reader.forget()
        self._features = {}

    def contexts(self, conversations: Sequence[Conversation], begun: Sequence[list[int]]) -> Iterator[Context]:
        """See `Prefill.contexts`. Conversations that begin alike come in one batch where it is large enough."""
        if not conversations:
            return
        rows = self.reader.rows(conversations)
        for row, tokens in zip(rows, begun, strict=True):
            row.tokens.extend(tokens)
            row.keys.extend(tokens)
        seen = self._encoded()
        for part in parts([row.keys for row in rows], self.batch_size):
            yield self._read(part, [rows[i] for i in part], seen)

    def inputs(self, conversations: Sequence[Conversation]) -> dict[str, Any]:
        """See `Prefill.inputs`."""
        rows = self.reader.rows(conversations)
        ids, mask = left_padded([row.tokens for row in rows], self.model.device)
        images = [image for row in rows for image, _ in row.images]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": self._placed(rows, ids, mask),
            "past_key_values": roomy_cache(),
            **_shown(images, self._encoded()),
        }

    def _read(self, part: list[int], rows: Sequence[Row], seen: dict[str, Any]) -> Context:
        """The rows of one batch, a level of their prefix tree in each forward pass."""
        levels, leaves = least_work([row.keys for row in rows], MOST_LEVELS)
        device = self.model.device
        ids, mask = left_padded([row.tokens for row in rows], device)
        positions = self._placed(rows, ids, mask)
        tokens = [0] * len(rows)
        roots = len(levels[0])
        nothing = torch.zeros(roots, 0, dtype=torch.long, device=device)
        context = Context(part, tokens, nothing, nothing, nothing, roomy_cache())
        for level, nodes in enumerate(levels):
            if level:
                context.select([node.parent for node in nodes])
            width = max(node.end - node.start for node in nodes)
            at = positions.new_zeros(*positions.shape[:-2], len(nodes), width)
            for k, node in enumerate(nodes):
                length = node.end - node.start
                first = ids.shape[1] - len(rows[node.row].tokens) + node.start
                at[..., k, width - length :] = positions[..., node.row, first : first + length]
                tokens[node.row] += length
            segments = [rows[node.row].tokens[node.start : node.end] for node in nodes]
            images = [image for node in nodes for image in rows[node.row].within(node.start, node.end)]
            self.step(context, segments, at, **_shown(images, seen))
        context.select(leaves)
        return context

    def _placed(self, rows: Sequence[Row], ids: Tensor, mask: Tensor) -> Tensor:
        """`positions` of rows, for which the model looks at each shape of image once and not at each row."""
        if not self._has_mrope:
            return self.positions(ids, mask, None)
        at = torch.zeros(3, *ids.shape, dtype=torch.long)
        for k, row in enumerate(rows):
            place = at[:, k, ids.shape[1] - len(row.tokens) :]
            place += torch.arange(len(row.tokens))
            for image, first in row.images:
                block = self._block(self.reader.pictures[image])
                start, after = place[:, first : first + 1].clone(), first + block.shape[1] - 1
                place[:, after:] += start + block[:, -1:] - place[:, after : after + 1]
                place[:, first:after] = start + block[:, :-1]
        return at.to(ids.device)

    def _block(self, picture: ProcessedImage) -> Tensor:
        """(3, n + 1) where an image's n tokens and the one after it stand, counted from the token before it."""
        grid = picture.inputs.get("image_grid_thw")
        shape = (len(picture.tokens), *(() if grid is None else grid.flatten().tolist()))
        if shape not in self._blocks:
            text = int(self.model.config.image_token_id == 0)  # any token but an image's
            ids = torch.tensor([[text, *picture.tokens, text]])
            self._blocks[shape] = self.positions(ids, torch.ones_like(ids), grid)[:, 0, 1:] - 1
        return self._blocks[shape]

    def _encoded(self) -> dict[str, tuple[Tensor, list[Tensor]]]:
        """Each of the reader's images as the language model is given it: features, and those of DeepStack where it has them."""
        keys = [key for key in self.reader.pictures if key not in self._features]
        wanted = inspect.signature(self.model.get_image_features).parameters
        for start in range(0, len(keys), self.batch_size):
            some = keys[start : start + self.batch_size]
            names = [name for name in self.reader.pictures[some[0]].inputs if name in wanted]
            inputs = {n: torch.cat([self.reader.pictures[key].inputs[n] for key in some]).to(self.model.device) for n in names}
            out = self.model.get_image_features(**inputs, return_dict=True)
            deep = getattr(out, "deepstack_features", None) or []
            self._features |= {key: (out.pooler_output[i], [layer[i] for layer in deep]) for i, key in enumerate(some)}
        return self._features


def left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, L) ids and mask; padding stands on the left, so that every row ends in the last column."""
    length = max(map(len, rows))
    ids = [[0] * (length - len(row)) + list(row) for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _next(positions: Tensor) -> Tensor:
    """(B, 1) the position after the last; with M-RoPE after the furthest of the three."""
    last = positions[..., -1:]
    return (last.amax(0) if last.ndim == 3 else last) + 1


def _shown(images: Sequence[str], seen: dict[str, Any]) -> dict[str, Any]:
    """Encoded images as models of transformers take them, in the order of their tokens."""
    if not images:
        return {}
    deep = [list(layer) for layer in zip(*(seen[image][1] for image in images), strict=True)]
    return {
        "mm_encoder_outputs": {"image": SimpleNamespace(pooler_output=[seen[i][0] for i in images], deepstack_features=deep)}
    }
