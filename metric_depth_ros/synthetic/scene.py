"""Scenes as tensors: a structure of arrays with a leading batch dimension.

The world is right-handed and in metres: x and y span the ground, z points up. A scene is a list
of convex primitives. A *room* is the one exception to solidity: it is hollow, and rooms that
overlap are one connected space, so that a doorway is a small room between two large ones and a
window is a small room that leads outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

# Anything hit farther away than this is the sky: its depth is +inf.
SKY_DISTANCE = 1000.0


class Kind(IntEnum):
    """What a primitive is, in its own frame, where it spans [-half_size, half_size]."""

    NONE = -1  # padding
    BOX = 0
    CYLINDER = 1  # along z, capped, elliptic where the half sizes in x and y differ
    ELLIPSOID = 2
    ROOM = 3  # the inside of a box


class Face(IntEnum):
    """Where on a primitive a material goes. Objects look along their own x (REP 103)."""

    SIDE = 0
    TOP = 1
    BOTTOM = 2
    FRONT = 3


@dataclass(frozen=True)
class Lights:
    """Light of B scenes; radiance is linear RGB, in units that the sensor's exposure removes.

    sun_direction: (B, 3) unit, towards the sun. sun: (B, 3) irradiance; 0 = no sun.
    lamp_position: (B, L, 3) metres. lamp: (B, L, 3) radiant intensity, falls off with the square
        of the distance. The first lamp casts shadows.
    ambient_up, ambient_down: (B, 3) light from above and from below.
    zenith, horizon: (B, 3) colours of the sky. clouds: (B,) share of the sky, 0 to 1.
    haze: (B,) 1/m, how fast the air takes on the horizon's colour.
    """

    sun_direction: Tensor
    sun: Tensor
    lamp_position: Tensor
    lamp: Tensor
    ambient_up: Tensor
    ambient_down: Tensor
    zenith: Tensor
    horizon: Tensor
    clouds: Tensor
    haze: Tensor

    def to(self, device: torch.device | str) -> Lights:
        return Lights(*(getattr(self, f.name).to(device) for f in fields(self)))

    def __getitem__(self, index: slice | Tensor) -> Lights:
        return Lights(*(getattr(self, f.name)[index] for f in fields(self)))


@dataclass(frozen=True)
class Scenes:
    """B scenes of N primitives each, padded with Kind.NONE.

    kind: (B, N) int64, a Kind. Rooms come first: no primitive from `num_rooms` on is one.
    centre: (B, N, 3) metres. rotation: (B, N, 3, 3) world_from_primitive.
    half_size: (B, N, 3) metres, positive.
    texture: (B, N, 4) int64, index into the texture bank, one for each Face.
    tint: (B, N, 4, 3) linear RGB that the texture is multiplied with.
    texture_scale: (B, N, 4) factor on the texture's real size; 0 = the texture fits the
        face exactly, once (a door, a poster).
    texture_offset: (B, N, 2) periods, so that equal things do not look alike.
    gloss: (B, N) share of mirror-like reflection. glow: (B, N) light of its own.
    outdoor: (B,) bool.
    lights: what shines on them. num_rooms: how many leading primitives may be rooms.
    split: 'train' or 'heldout', names the texture bank that `texture` points into.
    """

    kind: Tensor
    centre: Tensor
    rotation: Tensor
    half_size: Tensor
    texture: Tensor
    tint: Tensor
    texture_scale: Tensor
    texture_offset: Tensor
    gloss: Tensor
    glow: Tensor
    outdoor: Tensor
    lights: Lights
    num_rooms: int
    split: str

    def __len__(self) -> int:
        return self.kind.shape[0]

    @property
    def device(self) -> torch.device:
        return self.kind.device

    def _map(self, function: Callable[[Any], Any]) -> Scenes:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in values.items():
            if isinstance(value, Tensor | Lights):
                values[name] = function(value)
        return Scenes(**values)

    def to(self, device: torch.device | str) -> Scenes:
        return self._map(lambda value: value.to(device))

    def __getitem__(self, index: int | slice | Tensor) -> Scenes:
        """The chosen scenes, still with a batch dimension."""
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return self._map(lambda value: value[index])

    def local_from_world(self) -> Tensor:
        """(B, N, 3, 3) maps a world offset from `centre` to the unit primitive, [-1, 1]^3."""
        return self.rotation.transpose(-1, -2) / self.half_size[..., None]
