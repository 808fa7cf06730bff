"""The README.md of an exported folder: what a hub shows of it, from what its run left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from arr_rpo.evaluation.bootstrap import Figure, Resampling, share
from arr_rpo.plain_files import inside, read_bytes, read_json
from arr_rpo.run import recorded
from arr_rpo.run.described import class_of, reward_of
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import VERSIONS, Rows, update_of

SAMPLES = 6  # prompts whose pictures are shown
PICTURES = "pictures"
TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


@dataclass(frozen=True)
class Measured:
    """A measure of held-out prompts before and after training, means, and its change with an interval over prompts."""

    name: str
    before: float
    after: float
    change: Figure


def write_card(
    run: RunFolder,
    checkpoint: Path,
    config: Mapping[str, Any],
    folder: Path,
    *,
    usage: str,
    relation: str,
    license: str | None,
    resampling: Resampling,
) -> None:
    """Writes README.md and the pictures that it shows.

    config: the run's own, resolved. usage: how this format is loaded, a template of `base`. relation: of the weights to their
    base, in the hub's words: "adapter" or "finetune".
    """
    update = update_of(checkpoint.name) or 0
    base = str(config["policy"]["checkpoint"])
    summary = run.summary() if update == run.state().get("update") else None
    versions = _versions(run)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        head=_head(run, base, relation, license),
        base=base,
        name=f"{base.rstrip('/').split('/')[-1]} by {config['name']}",
        relation=relation,
        license=license,
        update=update,
        usage=usage.format(base=base),
        reward=reward_of(config.get("reward")) or "none",
        rubric=class_of(config.get("rubric")) or "none",
        algorithm=class_of((config.get("algorithm") or {}).get("objective")) or "none",
        judge=(summary or {}).get("judge") or {"name": class_of(config.get("judge")) or "none", "revision": ""},
        prompts=config.get("data") or {},
        sampling=_sampling(config),
        measures=measures(run, update, final=summary is not None, how=resampling),
        confidence=round(100 * resampling.confidence),
        kl=(summary or {}).get("kl"),
        seed=config["seed"],
        samples=_samples(run, folder) if summary is not None else [],
        commands=versions.get("commands", []),
        commit=versions.get("commit"),
        dirty=bool(versions.get("dirty")),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _sampling(config: Mapping[str, Any]) -> dict[str, Any]:
    """How its held-out pictures were drawn: what a figure holds for."""
    policy, heldout = config["policy"], (config.get("callbacks") or {}).get("heldout") or {}
    drawing = heldout.get("drawing") or {}
    steps = drawing.get("num_inference_steps") or policy.get("num_inference_steps")
    call = {**(policy.get("call") or {}), **(drawing.get("call") or {})}
    scheduler = {f"scheduler: {key}": value for key, value in (policy.get("scheduler") or {}).items()}
    said = {"steps": steps, **{key: value for key, value in call.items() if value is not None}, **scheduler}
    return {key: str(value).replace("|", "\\|") for key, value in said.items()}


def _head(run: RunFolder, base: str, relation: str, license: str | None) -> str:
    """What a hub sorts models by, in YAML."""
    edits = any("source" in row["pictures"] for row in run.rows(Rows.HELDOUT))
    head = {
        "base_model": base,
        "base_model_relation": relation,
        "library_name": "diffusers",
        "license": license or "other",
        "pipeline_tag": "image-to-image" if edits else "text-to-image",
        "tags": ["reinforcement-learning", "rubric", "arr_rpo", *(["lora"] if relation == "adapter" else [])],
    }
    return str(yaml.safe_dump(head, sort_keys=False, allow_unicode=True))


def measures(run: RunFolder, update: int, *, final: bool, how: Resampling) -> list[Measured]:
    """What is known of the weights after `update` updates: of all held-out prompts at the end of a run, of the sample that is
    drawn on the way before; nothing where nothing was measured."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    if final:
        for row in run.rows(Rows.HELDOUT):
            before, after = recorded.values(row["before"]), recorded.values(row["after"])
            for name in after if row["split"] == "heldout" else ():
                for said, a, b in _pairs(name, before.get(name), after[name]):
                    pairs.setdefault(said, []).append((a, b))
    else:
        on_the_way = {row["update"]: recorded.on_the_way(row) for row in run.rows(Rows.PROGRESS)}
        first, now = on_the_way.get(0, {}), on_the_way.get(update, {})
        for name in now:
            before, after = (some.get(name, {}).get("by_prompt", {}) for some in (first, now))
            both = [(before[key], value) for key, value in after.items() if value is not None and before.get(key) is not None]
            pairs[f"{name}, {len(both)} prompts on the way"] = both
    return [_measured(name, both, how) for name, both in pairs.items() if both]


def _pairs(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Of one prompt: the measure, and of its figures the share of criteria met, which is read most."""
    for said, of in ((name, "value"), (f"{name}: criteria met", "criteria")):
        a, b = (None if one is None else one["figures"].get(of) if of != "value" else one["value"] for one in (before, after))
        if a is not None and b is not None:
            yield said, float(a), float(b)


def _measured(name: str, both: Sequence[tuple[float, float]], how: Resampling) -> Measured:
    before, after = (sum(values) / len(both) for values in zip(*both, strict=True))
    each = [str(number) for number in range(len(both))]
    change = share([last - first for first, last in both], [1.0] * len(both), each, how)
    return Measured(name, before, after, change)


def _samples(run: RunFolder, folder: Path) -> list[dict[str, Any]]:
    """Prompts with pictures before and after, which are copied."""
    found: list[dict[str, Any]] = []
    for row in run.rows(Rows.HELDOUT):
        if {"base", "trained"} <= set(row["pictures"]) and len(found) < SAMPLES:
            (folder / PICTURES).mkdir(exist_ok=True)
            copied = {}
            try:
                for kind, name in row["pictures"].items():
                    picture = read_bytes(inside(run.path, run.path / name))
                    (folder / PICTURES / Path(name).name).write_bytes(picture)
                    copied[kind] = f"{PICTURES}/{Path(name).name}"
            except (OSError, ValueError):  # it is not there any more, or leads out of the run's folder
                continue
            found.append({"prompt": row["prompt"].replace("|", "\\|"), **copied})
    return found


def _versions(run: RunFolder) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(run.path / VERSIONS)
    except (OSError, ValueError):
        return {}
    return found
