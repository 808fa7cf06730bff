"""Scenes of coloured shapes on a 2x2 grid with jitter, and how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from arr_rpo.shapes.world.vocabulary import BACKGROUND, CELL_SIZE, COLOURS, IMAGE_SIZE

MIN_RADIUS, MAX_RADIUS, JITTER = 5.0, 6.25, 1.0
SUPERSAMPLING = 8


@dataclass(frozen=True)
class Thing:
    """One object: centre (x to the right, y downwards) and radius in pixels."""

    color: str
    shape: str
    x: float
    y: float
    radius: float


Scene = tuple[Thing, ...]


def place(kinds: Sequence[tuple[str, str]], cells: Sequence[int], rng: np.random.Generator) -> Scene:
    """Puts each (color, shape) into its cell (0 upper left, 1 upper right, 2 lower left, 3 lower right), with jitter."""
    things = []
    for (color, shape), cell in zip(kinds, cells, strict=True):
        row, column = divmod(int(cell), 2)
        jitter_x, jitter_y = rng.uniform(-JITTER, JITTER, 2)
        x, y = (column + 0.5) * CELL_SIZE + jitter_x, (row + 0.5) * CELL_SIZE + jitter_y
        things.append(Thing(color, shape, x, y, rng.uniform(MIN_RADIUS, MAX_RADIUS)))
    return tuple(things)


def outline(shape: str, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """Corners of a shape. Every shape but the circle is inscribed in the same circle, roughly."""
    if shape == "square":
        half = radius * 0.88
        return [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    if shape == "triangle":
        angles, radii, y = [90, 210, 330], [radius * 1.2] * 3, y + radius * 0.25
    elif shape == "star":
        angles, radii = [90 + 36 * k for k in range(10)], [radius * 1.2, radius * 0.48] * 5
    else:
        angles, radii = [10 * k for k in range(36)], [radius] * 36
    return [(x + r * math.cos(math.radians(a)), y - r * math.sin(math.radians(a))) for a, r in zip(angles, radii, strict=True)]


def draw(scene: Scene) -> Image.Image:
    """A 32x32 RGB picture, anti-aliased."""
    k = SUPERSAMPLING
    canvas = Image.new("RGB", (IMAGE_SIZE * k, IMAGE_SIZE * k), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for thing in scene:
        corners = outline(thing.shape, thing.x, thing.y, thing.radius)
        pen.polygon([(px * k, py * k) for px, py in corners], fill=COLOURS[thing.color])
    return canvas.reduce(k)
