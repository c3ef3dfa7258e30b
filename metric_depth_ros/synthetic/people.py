"""People of many sizes: standing, walking and sitting, looking along x."""

from __future__ import annotations

from .builder import Material, SceneBuilder, Vector


def person(b: SceneBuilder) -> None:
    """Standing or walking, 1.5 to 1.95 m; a few are children."""
    if not b.content.people:
        return
    r = b.random
    s = (r.uniform(1.5, 1.95) if r.random() < 0.9 else r.uniform(1.0, 1.4)) / 1.75
    trousers = b.material('fabric', tint=0.6)
    stride = r.choice((0.0, r.uniform(-0.35, 0.35)))
    for side in (-1, 1):
        hip = (0.0, side * 0.09 * s, 0.9 * s)
        knee = (side * stride * 0.5 * s, side * 0.1 * s, 0.49 * s)
        bent = side * stride < 0
        foot = ((side * stride - 0.08 * bent) * s, side * 0.1 * s, 0.07 * s)
        b.rod(hip, knee, 0.077 * s, trousers)
        b.rod(knee, foot, 0.055 * s, trousers)
        b.box((foot[0] + 0.06 * s, foot[1], 0.04), (0.27 * s, 0.1 * s, 0.08), shoe(b))
    upper_body(b, 0.9 * s, s, stride)


def sitter(b: SceneBuilder) -> None:
    """Sits on a seat of 0.45 m around the origin."""
    if not b.content.people:
        return
    s = b.random.uniform(1.5, 1.95) / 1.75
    trousers = b.material('fabric', tint=0.6)
    for side in (-1, 1):
        knee = (0.42 * s, side * 0.12 * s, 0.52)
        b.rod((-0.06, side * 0.1 * s, 0.54), knee, 0.08 * s, trousers)
        b.rod(knee, (0.4 * s, side * 0.12 * s, 0.07), 0.055 * s, trousers)
        b.box((0.47 * s, side * 0.12 * s, 0.04), (0.27 * s, 0.1 * s, 0.08), shoe(b))
    with b.at(-0.08, 0):
        upper_body(b, 0.52, s, 0.5)


def shoe(b: SceneBuilder) -> Material:
    return b.material('metal', tint=0.8, gloss=0.3)


def upper_body(b: SceneBuilder, hips: float, s: float, swing: float) -> None:
    """From the hips up. s: size, 1 for 1.75 m. swing: of the arms, metres at the hand."""
    r = b.random
    shirt = b.material('fabric', tint=0.6)
    plain = b.material('ceiling').texture
    tone = r.uniform(0.2, 0.9)
    skin = Material(plain, (tone, tone * 0.72, tone * 0.56), gloss=0.2)
    dark = r.uniform(0.03, 0.4)
    hair = Material(plain, (dark, dark * 0.8, dark * 0.6))
    wide = r.uniform(0.85, 1.2)
    b.ellipsoid((0, 0, hips + 0.06 * s), (0.22 * s * wide, 0.33 * s, 0.32 * s), shirt)
    b.ellipsoid((0, 0, hips + 0.27 * s), (0.24 * s * wide, 0.35 * s * wide, 0.66 * s), shirt)
    b.ellipsoid((0, 0, hips + 0.46 * s), (0.24 * s * wide, 0.43 * s, 0.26 * s), shirt)
    bare = r.random() < 0.4
    for side in (-1, 1):
        shoulder: Vector = (0, side * 0.205 * s, hips + 0.5 * s)
        forward = -side * swing * 0.4 if hips > 0.6 * s else swing * 0.4
        elbow: Vector = (forward * s, side * 0.25 * s, hips + 0.22 * s)
        reach = forward * 1.6 + r.uniform(0.0, 0.2)
        hand: Vector = (reach * s, side * 0.24 * s, hips - (0.02 if hips > 0.6 * s else -0.18) * s)
        b.rod(shoulder, elbow, 0.05 * s, shirt)
        b.rod(elbow, hand, 0.038 * s, skin if bare else shirt)
        b.ellipsoid(hand, (0.09 * s, 0.06 * s, 0.11 * s), skin)
    b.cylinder((0, 0, hips + 0.6 * s), 0.05 * s, 0.12 * s, skin)
    b.ellipsoid((0.015, 0, hips + 0.73 * s), (0.19 * s, 0.155 * s, 0.23 * s), skin)
    b.ellipsoid((-0.015, 0, hips + 0.76 * s), (0.2 * s, 0.17 * s, 0.2 * s), hair)


def people_walking(b: SceneBuilder) -> None:
    """Two or three, side by side."""
    for i in range(b.random.randint(2, 3)):
        b.place(person, b.random.uniform(-0.3, 0.3), (i - 1) * 0.65)
