"""Colour images that need more than two convolutions: shapes and textures, turned at random."""

import numpy as np

from fedloop.tasks.readers import Dataset

#: Pixels of a side; 5 shapes in 2 textures are 10 classes.
SIZE, SHAPES, TEXTURES = 32, 5, 2


def colour_images(n: int, seed: int = 0) -> Dataset:
    """n images of 32 x 32 x 3: a shape in a texture, of any colour, place, size and angle."""
    rng = np.random.default_rng(seed)
    label = rng.integers(SHAPES * TEXTURES, size=n)
    row, column = np.mgrid[:SIZE, :SIZE]
    centre = rng.uniform(12, 20, (2, n, 1, 1))
    y, x = row - centre[0], column - centre[1]
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    radius = rng.uniform(8, 12, (n, 1, 1))
    u, v = (np.cos(angle) * x + np.sin(angle) * y) / radius, (
        np.cos(angle) * y - np.sin(angle) * x) / radius
    inside = np.choose((label % SHAPES)[:, None, None], [
        np.hypot(u, v) < 0.9,                                        # disc
        np.maximum(abs(u), abs(v)) < 0.8,                            # square
        (abs(np.hypot(u, v) - 0.75) < 0.22),                         # ring
        (np.minimum(abs(u), abs(v)) < 0.25) & (np.maximum(abs(u), abs(v)) < 1),  # cross
        (v > -0.6) & (v < 1 - 1.8 * abs(u)),                         # triangle
    ])
    wave = np.sin(radius * u * 1.6)
    stripes, checks = wave > 0, (wave > 0) ^ (np.sin(radius * v * 1.6) > 0)
    textured = np.where((label // SHAPES)[:, None, None] == 0, stripes, checks)
    back, front, other = rng.random((3, n, 3, 1, 1))
    image = np.where(inside[:, None], np.where(textured[:, None], front, other), back)
    image = image + rng.normal(0, 0.05, image.shape)
    return Dataset(image.clip(0, 1).astype(np.float32), label.astype(np.int64), "colour", {})
