"""Places from which to look: as people, hands and robots hold a camera.

People look at things, at floors and along rooms; robots look ahead, from low down. Indoors and
outdoors each have a few such habits, drawn by weight; a view is rejected only where nothing can
be learnt from it (`_flaws`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .. import geometry
from ..types import Camera
from .builder import seeded
from .cameras import CLEARANCE, CLEARANCE_OUTDOORS, clearance, look
from .content import Content
from .raycast import cast, gather
from .scene import SKY_DISTANCE, Kind, Scenes
from .views_widest import widest_pose

# Views tried before the least bad is taken; places tried for each; the size of the try.
ATTEMPTS = 5
PLACES = 3
PROBE = (16, 12)
# Share of views drawn by widest_pose.
WIDEST = 0.06
# How much nearer than otherwise things may be in close views.
CLOSE = 0.35

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """What a habit needs to know of a scene: its extent and the things worth a look.

    half_x, half_y: metres, of the part around the origin where cameras stand. height: of the
    room. things: centres of solids and their longest sides.
    """

    outdoor: bool
    half_x: float
    half_y: float
    height: float
    things: list[tuple[Vector, float]]


# x, y, z, yaw, pitch; metres and radians.
View = tuple[float, float, float, float, float]
Habit = Callable[[Random, Place], View]
Habits = tuple[tuple[Habit, float], ...]


def random_pose(
    scenes: Scenes,
    generator: Generator,
    cameras: list[Camera] | None = None,
    *,
    content: Content | None = None,
    kind: str = 'both',
) -> Tensor:
    """(B, 4, 4) world_from_camera: one natural view of each scene.

    Heights from 0.15 to 2.2 m, pitch and roll of hands and robots, never inside of a thing.

    Args:
        cameras: B cameras that will look; a wide one if None.
        content: `natural_views` chooses how views are drawn.
        kind: of the scenes, see make_scenes. On a 'road' all cameras are those of cars and
            lorries, and 'close' ones look at what is within an arm's reach.
    """
    count = len(scenes)
    cameras = cameras or [Camera(8, 8, 7.5, 5.5, *PROBE)] * count
    rays = torch.stack([_few_rays(camera) for camera in cameras])
    rays = torch.where(rays.isfinite(), rays, torch.tensor([0.0, 0.0, 1.0])).to(scenes.device)
    if content is not None and not content.natural_views:
        return widest_pose(scenes, generator, rays)
    random = seeded(generator)
    widest = torch.tensor([random.random() < WIDEST for _ in range(count)]).to(scenes.device)
    indoors, near = (AT_REACH, CLOSE) if kind == 'close' else (INDOORS, 1.0)
    outdoors = OUTDOORS if content is None or content.vehicle_views else ON_FOOT
    outdoors = DRIVEN if kind == 'road' else outdoors
    pose = _natural_pose(scenes, random, rays, (indoors, outdoors), near)
    if widest.any() and kind not in ('road', 'close'):
        pose[widest] = widest_pose(scenes[widest], generator, rays[widest])
    return pose


def _few_rays(camera: Camera) -> Tensor:
    """PROBE's number of the camera's rays, evenly spread, (h, w, 3)."""
    grid = geometry.pixel_grid(*PROBE) + 0.5
    size = torch.tensor([camera.width / PROBE[0], camera.height / PROBE[1]])
    return geometry.directions(grid * size - 0.5, camera)


def _natural_pose(
    scenes: Scenes, random: Random, rays: Tensor, habits: tuple[Habits, Habits], near: float
) -> Tensor:
    """The first of ATTEMPTS views of each scene without flaws, or the one with fewest.

    habits: indoors and outdoors. near: see _flaws.
    """
    places = _places(scenes)
    best = torch.zeros(len(scenes), 4, 4, device=scenes.device)
    fewest = torch.full((len(scenes),), torch.inf, device=scenes.device)
    for _ in range(ATTEMPTS):
        rest = (fewest > 0).nonzero()[:, 0]
        if not len(rest):
            break
        some = scenes[rest]
        pose = _try_poses(some, [places[i] for i in rest.tolist()], random, habits, near)
        flaws = _flaws(some, pose, rays[rest], near)
        better = flaws < fewest[rest]
        best[rest[better]] = pose[better]
        fewest[rest[better]] = flaws[better]
    return best


def _places(scenes: Scenes) -> list[Place]:
    """Scenes as habits see them. Outdoors cameras stand within 14 x 7 m of the origin."""
    kind, half = scenes.kind.cpu(), scenes.half_size.cpu()
    centre, outdoor = scenes.centre.cpu(), scenes.outdoor.tolist()
    solid = (kind != Kind.NONE) & (kind != Kind.ROOM)
    places = []
    for i, outside in enumerate(outdoor):
        room = (14.0, 7.0, 4.0) if outside else half[i, 0].tolist()
        within = (
            centre[i, :, :2].abs() <= torch.tensor(room[:2]) + (8.0 if outside else 0.0)
        ).all(1)
        size = half[i].amax(1) * 2
        chosen = (solid[i] & within & (size < (6.0 if outside else 3.0)) & (size > 0.05)).nonzero()
        chosen = chosen[:, 0]
        # One thing of a spot: a person or a car of twenty parts is no more worth a look.
        spot, spots = 1.5 if outside else 0.5, {}
        for place, long in zip(centre[i, chosen].tolist(), size[chosen].tolist(), strict=True):
            where = (round(place[0] / spot), round(place[1] / spot), place[2] > 0.6, long < 0.7)
            spots[where] = ((place[0], place[1], place[2]), long)
        things = list(spots.values())
        height = 10.0 if outside else 2 * room[2]
        places.append(Place(outside, room[0], room[1], height, things))
    return places


def _try_poses(
    scenes: Scenes, places: list[Place], random: Random, habits: tuple[Habits, Habits], near: float
) -> Tensor:
    """A view of each scene by some habit: of PLACES tries the first with air around it."""
    tries = []
    for place in places:
        usual = habits[place.outdoor]
        habit = random.choices([h for h, _ in usual], [w for _, w in usual])[0]
        tries.append([habit(random, place) for _ in range(PLACES)])
    views = torch.tensor(tries)
    free = clearance(scenes, views[..., :3].to(scenes.device)).cpu()
    heights = views[..., 2].T.to(scenes.device)
    enough = torch.stack([_wanted_clearance(scenes, z, near) for z in heights])
    missing = (enough.T.cpu() - free).clamp(min=0)
    views = views[torch.arange(len(places)), missing.argmin(1)]
    shaky = torch.tensor([random.random() < 0.25 for _ in places])
    roll = torch.tensor([random.gauss(0, 1) for _ in places]) * torch.where(shaky, 0.2, 0.03)
    pose = look(views[:, :3], views[:, 3], views[:, 4], roll.clamp(-0.6, 0.6))
    return pose.to(scenes.device)


def _flaws(scenes: Scenes, pose: Tensor, rays: Tensor, near: float = 1.0) -> Tensor:
    """(B,) what makes a view useless, 0 = nothing does.

    near: factor of the distances below which something is too near.
    """
    directions = F.normalize(torch.einsum('bij,bhwj->bhwi', pose[:, :3, :3], rays), dim=-1)
    hits = cast(scenes, pose[:, :3, 3], directions)
    distance, which = hits.ray_distance.flatten(1), hits.primitive.flatten(1)
    is_room = gather(scenes.kind, hits.primitive).flatten(1) == Kind.ROOM
    z = (pose[:, None, None, 2, 3] + hits.ray_distance * directions[..., 2]).flatten(1)
    floor = z.abs() < 0.2
    ordered = which.sort(1).values
    largest = (ordered == ordered.mode(1, keepdim=True).values).float().mean(1)
    middle = distance.median(1).values

    def share(mask: Tensor) -> Tensor:
        return mask.float().mean(1)

    outdoor = scenes.outdoor
    nothing = share(distance > torch.where(outdoor, SKY_DISTANCE, 20.0)[:, None])
    in_the_way = share((distance < near * torch.where(outdoor, 0.9, 0.45)[:, None]) & ~floor)
    filled = (largest > 0.8) & ~is_room.any(1) & ~(share(floor) > 0.5)
    blank = (share(floor | is_room) > 0.98) & (share(floor) < 0.02)  # plain wall, no floor
    clear = clearance(scenes, pose[:, None, :3, 3])[:, 0]
    return (
        10.0 * (_wanted_clearance(scenes, pose[:, 2, 3], near) - clear).clamp(min=0)
        + (middle < near * torch.where(outdoor, 0.8, 0.4)).float()
        + (in_the_way > 0.06).float()
        + filled.float()
        + blank.float()
        + ((middle < near * 0.9) & (largest > 0.6) & ~outdoor).float()
        + (nothing > torch.where(outdoor, 0.55, 0.12)).float()
    )


def _wanted_clearance(scenes: Scenes, height: Tensor, near: float) -> Tensor:
    """(B,) metres; less where the camera is so low that the floor is the nearest thing."""
    wanted = near * torch.where(scenes.outdoor, CLEARANCE_OUTDOORS, CLEARANCE)
    return torch.minimum(wanted, 0.9 * height)


def _height(r: Random, place: Place) -> float:
    """Of a hand, a head, or a robot's mast; or of a small robot."""
    low, high = (1.2, 1.9) if place.outdoor else (1.0, 1.8)
    z = r.uniform(0.2, 1.0) if r.random() < 0.3 else r.uniform(low, high)
    return min(z, place.height - 0.4)


def _somewhere(r: Random, place: Place) -> tuple[float, float]:
    margin = 0.35
    x, y = max(place.half_x - margin, 0.05), max(place.half_y - margin, 0.05)
    return r.uniform(-x, x), r.uniform(-y, y)


def at_thing(r: Random, place: Place) -> View:
    """Looks at a thing, from as far as one does: 0.7 to 4 m, outdoors to 12 m."""
    if not place.things:
        return across(r, place)
    (x, y, z), size = r.choice(place.things)
    far = math.exp(r.uniform(math.log(1.0), math.log(4.0))) + size / 2
    if place.outdoor:
        far = math.exp(r.uniform(math.log(1.5), math.log(9.0))) + size / 2
    return _towards(r, place, (x, y, z), far, _height(r, place))


def at_desk(r: Random, place: Place) -> View:
    """Looks down at what lies on a table, a cabinet or the floor, 0.4 to 1.2 m away."""
    small = _small_things(place)
    if not small:
        return at_thing(r, place)
    target, size = r.choice(small)
    far, steep = r.uniform(0.4, 1.2) + size / 2, r.uniform(0.2, 1.0)
    return _down_at(r, place, target, far, steep)


def _small_things(place: Place) -> list[tuple[Vector, float]]:
    """What one looks down at."""
    return [(p, size) for p, size in place.things if size < 0.7 and p[2] < 1.25]


def _down_at(
    r: Random,
    place: Place,
    target: Vector,
    far: float,
    steep: float,
    *,
    lowest: float = 0.15,
    steepest: float = 1.1,
) -> View:
    """From `far` metres, `steep` radians above the target."""
    z = min(max(target[2] + far * math.sin(steep), lowest), place.height - 0.4)
    return _towards(r, place, target, far * math.cos(steep), z, steepest)


def _towards(
    r: Random, place: Place, target: Vector, far: float, z: float, steepest: float = 1.1
) -> View:
    """From `far` metres beside the target, within the place, not aimed too well."""
    around = r.uniform(-math.pi, math.pi)
    x = target[0] + far * math.cos(around)
    y = target[1] + far * math.sin(around)
    edge_x, edge_y = max(place.half_x - 0.3, 0.05), max(place.half_y - 0.3, 0.05)
    x, y = min(max(x, -edge_x), edge_x), min(max(y, -edge_y), edge_y)
    dx, dy = target[0] - x, target[1] - y
    pitch = math.atan2(target[2] - z, max(math.hypot(dx, dy), 0.2))
    pitch = min(max(pitch + r.gauss(0, 0.1), -steepest), 0.35)
    return x, y, z, math.atan2(dy, dx) + r.gauss(0, 0.15), pitch


def across(r: Random, place: Place) -> View:
    """Across a room, along a corridor: towards where the room goes on."""
    x, y = _somewhere(r, place)
    goal_x, goal_y = r.uniform(-0.5, 0.5) * place.half_x, r.uniform(-0.5, 0.5) * place.half_y
    z = _height(r, place)
    yaw = math.atan2(goal_y - y, goal_x - x)
    return x, y, z, yaw, -0.12 * max(z - 0.4, 0) + r.gauss(0, 0.1)


def at_floor(r: Random, place: Place) -> View:
    """Down at the floor, as when walking with a camera in the hand."""
    x, y = _somewhere(r, place)
    z = min(r.uniform(0.9, 1.75), place.height - 0.4)
    return x, y, z, r.uniform(-math.pi, math.pi), -r.uniform(0.35, 1.0)


def along_floor(r: Random, place: Place) -> View:
    """A small robot's view ahead."""
    x, y = _somewhere(r, place)
    z = r.uniform(0.25, 0.8) if place.outdoor else r.uniform(0.15, 0.6)
    return x, y, z, r.uniform(-math.pi, math.pi), r.gauss(-0.02, 0.08)


def over_table(r: Random, place: Place) -> View:
    """Of an arm's camera, or a hand's: down at small things, 0.2 to 0.8 m away."""
    small = _small_things(place)
    if not small:
        return low_down(r, place)
    clutter = [(p, size) for p, size in small if size < 0.3]
    target, size = r.choice(clutter if clutter and r.random() < 0.7 else small)
    far = math.exp(r.uniform(math.log(0.2), math.log(0.8))) + size / 2
    return _down_at(r, place, target, far, r.uniform(0.25, 1.45), lowest=0.1, steepest=1.5)


def low_down(r: Random, place: Place) -> View:
    """Of a robot that vacuums, or carries a box: ahead, from below the seats of chairs."""
    x, y = _somewhere(r, place)
    return x, y, r.uniform(0.08, 0.4), r.uniform(-math.pi, math.pi), r.gauss(-0.1, 0.15)


def close_to_floor(r: Random, place: Place) -> View:
    """Down at the floor from knee height."""
    x, y = _somewhere(r, place)
    return x, y, r.uniform(0.25, 0.9), r.uniform(-math.pi, math.pi), -r.uniform(0.4, 1.5)


def driving(r: Random, place: Place) -> View:
    """Along the street, from a windscreen or a delivery robot's mast."""
    heading = r.choice((0.0, math.pi))
    y = r.uniform(-0.5, 0.5) * place.half_y
    z = r.uniform(1.1, 1.7) if r.random() < 0.75 else r.uniform(1.7, 2.2)
    x = -math.cos(heading) * r.uniform(0, 1) * place.half_x
    return x, y, z, heading + r.gauss(0, 0.12), r.gauss(-0.05, 0.05)


def aboard(r: Random, place: Place) -> View:
    """A car's camera, ahead, aside or back, or that of a delivery robot."""
    x, y = r.uniform(-0.5, 0.5) * place.half_x, r.uniform(-0.3, 0.3) * place.half_y
    z = r.uniform(1.3, 2.1) if r.random() < 0.75 else r.uniform(0.4, 1.3)
    return x, y, z, _mounted(r, (0.4, 0.2, 0.4)), r.gauss(-0.02, 0.04)


def on_car(r: Random, place: Place) -> View:
    """A camera behind a windscreen or on a roof, ahead, aside or back."""
    x, y = r.uniform(-1, 1) * place.half_x, r.uniform(-0.3, 0.3) * place.half_y
    z = r.uniform(1.2, 2.3)
    return x, y, z, _mounted(r, (0.5, 0.15, 0.35)), r.gauss(-0.01, 0.03)


def _mounted(r: Random, shares: tuple[float, float, float]) -> float:
    """Yaw of a vehicle's camera along the road; shares of those ahead, back and aside."""
    aside = r.choice((-1, 1)) * r.uniform(0.8, 2.0)
    mount = r.choices((0.0, math.pi, aside), shares)[0]
    return r.choice((0.0, math.pi)) + mount + r.gauss(0, 0.05)


def walking(r: Random, place: Place) -> View:
    """A pedestrian's or a mast's view, anywhere, a little down."""
    x, y = _somewhere(r, place)
    z = r.uniform(1.2, 1.9)
    return x, y, z, r.uniform(-math.pi, math.pi), r.gauss(-0.1, 0.12)


INDOORS: Habits = (
    (at_thing, 0.36), (across, 0.24), (at_floor, 0.12), (along_floor, 0.13), (at_desk, 0.15),
)  # fmt: skip
AT_REACH: Habits = ((over_table, 0.7), (low_down, 0.15), (close_to_floor, 0.15))
ON_FOOT: Habits = (
    (driving, 0.3), (walking, 0.25), (at_thing, 0.22), (along_floor, 0.13), (at_floor, 0.1),
)  # fmt: skip
OUTDOORS: Habits = (
    (aboard, 0.46), (driving, 0.1), (walking, 0.2), (at_thing, 0.12), (along_floor, 0.06),
    (at_floor, 0.06),
)  # fmt: skip
DRIVEN: Habits = ((on_car, 1.0),)
