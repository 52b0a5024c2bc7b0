"""Draws the picture that stands for what a model would have sampled: the same recipe, the same picture."""

import random

from PIL import Image, ImageDraw

Color = tuple[int, int, int]


def draw(recipe: str, size: tuple[int, int]) -> Image.Image:
    """Two colours blending into each other and some discs, all chosen by `recipe`, `size` pixels large."""
    chance = random.Random(recipe)
    slope = Image.linear_gradient("L").rotate(chance.choice((0, 90, 180, 270))).resize(size)
    image = Image.composite(Image.new("RGB", size, _color(chance)), Image.new("RGB", size, _color(chance)), slope)
    pencil = ImageDraw.Draw(image)
    for _ in range(chance.randint(3, 7)):
        x, y = chance.uniform(0, size[0]), chance.uniform(0, size[1])
        radius = chance.uniform(0.05, 0.25) * min(size)
        pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_color(chance))
    return image


def _color(chance: random.Random) -> Color:
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)
