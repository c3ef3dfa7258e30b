"""Things of real size built of distance fields, standing on z = 0."""

from __future__ import annotations

import math
from random import Random

from .distance_fields import (
    box,
    capsule,
    carved,
    cone,
    cylinder,
    ellipsoid,
    moved,
    smooth_union,
    sphere,
    torus,
    union,
)
from .field_look import Material, material
from .sphere_tracing import Solid, Thing


def wood(random: Random) -> Material:
    return material(
        random, ('rings', 'plain'), hue=(0.05, 0.1), value=0.55, size=(0.05, 0.15), gloss=0.4
    )


def person(random: Random) -> Thing:
    """About 1.7 m tall."""
    tall = random.gauss(1.7, 0.08)
    s, stride, swing = tall / 1.7, random.uniform(0, 0.25), random.uniform(-0.2, 0.3)
    legs = smooth_union(
        0.06 * s,
        capsule((0, 0.1 * s, 0.85 * s), (stride, 0.1 * s, 0.06 * s), 0.085 * s, 0.055 * s),
        capsule((0, -0.1 * s, 0.85 * s), (-stride, -0.1 * s, 0.06 * s), 0.085 * s, 0.055 * s),
    )
    torso = smooth_union(
        0.1 * s,
        capsule((0, 0, 0.92 * s), (0, 0, 1.28 * s), 0.15 * s, 0.17 * s),
        capsule((0, 0.2 * s, 1.38 * s), (swing, 0.3 * s, 0.85 * s), 0.06 * s, 0.04 * s),
        capsule((0, -0.2 * s, 1.38 * s), (-swing, -0.3 * s, 0.85 * s), 0.06 * s, 0.04 * s),
    )
    head = moved(ellipsoid((0.1 * s, 0.085 * s, 0.13 * s)), (0, 0, tall - 0.13 * s))
    skin = material(random, ('plain',), hue=(0.05, 0.08), strength=0.5, value=0.6)
    return Thing(
        (
            Solid(legs, material(random, value=0.35)),
            Solid(torso, material(random)),
            Solid(head, skin),
        ),
        0.88 * s,
        1.02 * s,
    )


def table(random: Random, length: float, depth: float, height: float) -> Thing:
    """`height` to its top, with four tapered legs."""
    top = moved(box((length / 2, depth / 2, 0.02), 0.015), (0, 0, height - 0.02))
    x, y = length / 2 - 0.08, depth / 2 - 0.08
    legs = [
        capsule((a * x, b * y, height - 0.04), (a * x * 1.05, b * y * 1.05, 0.02), 0.03, 0.018)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    reach = math.hypot(length / 2, depth / 2, height / 2) + 0.05
    return Thing((Solid(top, wood(random)), Solid(union(*legs), wood(random))), height / 2, reach)


def chair(random: Random) -> Thing:
    seat = moved(box((0.22, 0.22, 0.03), 0.03), (0, 0, 0.45))
    back = moved(box((0.025, 0.21, 0.22), 0.025), (-0.22, 0, 0.75), pitch=-0.15)
    legs = [
        capsule((0.18 * a, 0.18 * b, 0.44), (0.21 * a, 0.21 * b, 0.02), 0.02)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    cover = material(random)
    return Thing(
        (Solid(smooth_union(0.06, seat, back), cover), Solid(union(*legs), wood(random))),
        0.48,
        0.6,
    )


def sofa(random: Random) -> Thing:
    half = random.uniform(0.6, 1.1)
    shape = smooth_union(
        0.08,
        moved(box((0.42, half, 0.2), 0.08), (0, 0, 0.25)),
        moved(box((0.12, half, 0.22), 0.1), (-0.35, 0, 0.62)),
        moved(box((0.4, 0.1, 0.3), 0.09), (0, half, 0.32)),
        moved(box((0.4, 0.1, 0.3), 0.09), (0, -half, 0.32)),
    )
    return Thing((Solid(shape, material(random, size=(0.02, 0.2), gloss=0.1)),), 0.45, half + 0.55)


def shelf(random: Random) -> Thing:
    half, height = random.uniform(0.35, 0.6), random.uniform(1.2, 2.1)
    boards = 5
    gap = height / boards
    holes = [
        moved(box((0.18, half - 0.03, gap / 2 - 0.02)), (0.05, 0, gap * (i + 0.5)))
        for i in range(boards)
    ]
    frame = carved(moved(box((0.18, half, height / 2)), (0, 0, height / 2)), *holes)
    goods = [
        moved(
            box((0.09, random.uniform(0.05, 0.15), gap * random.uniform(0.2, 0.38)), 0.01),
            (0, random.uniform(-0.6, 0.6) * half, gap * (i + 0.4)),
        )
        for i in range(boards)
    ]
    return Thing(
        (Solid(frame, wood(random)), Solid(union(*goods), material(random, value=0.5))),
        height / 2,
        math.hypot(half, height / 2, 0.2) + 0.02,
    )


def small_thing(random: Random) -> Thing:
    """Something of 5 to 30 cm as tables carry it."""
    s = random.uniform(0.04, 0.12)
    shape = random.choice(
        (
            moved(torus(s, 0.35 * s), (0, 0, 0.35 * s)),
            moved(cone(s, 0.4 * s, s), (0, 0, s)),
            moved(sphere(s), (0, 0, s)),
            moved(box((s, 0.7 * s, 0.5 * s), 0.1 * s), (0, 0, 0.5 * s)),
            carved(
                moved(cylinder(0.6 * s, s), (0, 0, s)),
                moved(cylinder(0.5 * s, s), (0, 0, 1.2 * s)),
            ),
            smooth_union(
                0.5 * s,
                moved(ellipsoid((0.8 * s, 0.8 * s, s)), (0, 0, s)),
                capsule((0, 0, s), (0, 0, 2.4 * s), 0.25 * s),
            ),
            smooth_union(
                0.6 * s,
                moved(sphere(0.7 * s), (0, 0, 0.6 * s)),
                moved(sphere(0.5 * s), (0.8 * s, 0.3 * s, 0.5 * s)),
                moved(torus(0.5 * s, 0.15 * s), (-0.3 * s, 0, 1.2 * s), pitch=1.2),
            ),
        )
    )
    return Thing((Solid(shape, material(random, size=(0.01, 0.1), gloss=0.8)),), s, 2.0 * s)


def tree(random: Random) -> Thing:
    tall = random.uniform(3.5, 9.0)
    trunk = capsule((0, 0, -0.2), (0.1, 0, 0.7 * tall), 0.035 * tall, 0.015 * tall)
    if random.random() < 0.4:
        crown = union(
            *(
                moved(cone(w * tall, 0.02 * tall, 0.17 * tall), (0, 0, h * tall))
                for w, h in ((0.24, 0.4), (0.19, 0.6), (0.13, 0.8))
            )
        )
    else:
        crown = smooth_union(
            0.08 * tall,
            *(
                moved(
                    sphere(random.uniform(0.12, 0.2) * tall),
                    (
                        random.gauss(0, 0.1) * tall,
                        random.gauss(0, 0.1) * tall,
                        random.uniform(0.55, 0.82) * tall,
                    ),
                )
                for _ in range(6)
            ),
        )
    leaves = material(random, ('speckle', 'cloudy'), hue=(0.18, 0.36), value=0.4, size=(0.1, 0.3))
    return Thing((Solid(trunk, wood(random)), Solid(crown, leaves)), 0.5 * tall, 0.62 * tall)


def rock(random: Random) -> Thing:
    s = random.uniform(0.2, 1.3)
    shape = smooth_union(
        0.4 * s,
        *(
            moved(
                box((0.6 * s, 0.45 * s, 0.4 * s), 0.15 * s),
                (random.gauss(0, 0.3) * s, random.gauss(0, 0.3) * s, random.uniform(0, 0.3) * s),
                random.uniform(0, 3),
                random.gauss(0, 0.4),
            )
            for _ in range(3)
        ),
    )
    stone = material(random, ('cloudy', 'speckle', 'veins'), strength=0.15, value=0.5, gloss=0.1)
    return Thing((Solid(shape, stone),), 0.2 * s, 2.0 * s)


def car(random: Random) -> Thing:
    body = smooth_union(
        0.15,
        moved(box((2.1, 0.85, 0.3), 0.2), (0, 0, 0.6)),
        moved(box((1.1, 0.72, 0.3), 0.22), (-0.2, 0, 1.1)),
    )
    wheels = [
        moved(ellipsoid((0.33, 0.12, 0.33)), (1.3 * a, 0.8 * b, 0.33))
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    dark = material(random, ('plain',), value=0.15, strength=0.1)
    paint = material(random, ('plain',), value=0.6, gloss=1.0)
    return Thing((Solid(body, paint), Solid(union(*wheels), dark)), 0.7, 2.4)
