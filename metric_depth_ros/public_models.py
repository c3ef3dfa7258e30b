"""What is known of public depth models: what they predict, where, and under which licence.

Licences are those of the weights as their authors state them, the stricter one where they state
two: Depth Anything V2's base and large models are for non-commercial use, by their repository,
while the cards of the metric ones in the authors' own format say Apache-2.0, and the cards of
those in the format of transformers say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Quantity:
    """What a network's numbers are.

    metric: metres, or what becomes metres with the camera's focal length; else known up to a
        scale and a shift alone.
    disparity: they grow with nearness; else with distance.
    """

    metric: bool
    disparity: bool


METRIC_DEPTH = Quantity(metric=True, disparity=False)
METRIC_DISPARITY = Quantity(metric=True, disparity=True)
RELATIVE_DISPARITY = Quantity(metric=False, disparity=True)


@dataclass(frozen=True)
class PublicModel:
    """One model of the hub. scenes: 'indoor', 'outdoor' or 'both'."""

    hub_id: str
    family: str
    quantity: Quantity
    scenes: str
    licence: str


def _depth_anything_v2() -> tuple[PublicModel, ...]:
    family, free, bound = 'Depth Anything V2', 'Apache-2.0', 'CC-BY-NC-4.0'
    found = []
    for variant, quantity, scenes in (
        ('Metric-Indoor-', METRIC_DEPTH, 'indoor'),
        ('Metric-Outdoor-', METRIC_DEPTH, 'outdoor'),
        ('', RELATIVE_DISPARITY, 'both'),
    ):
        for size, licence in (('Small', free), ('Base', bound), ('Large', bound)):
            hub_id = f'depth-anything/Depth-Anything-V2-{variant}{size}-hf'
            found.append(PublicModel(hub_id, family, quantity, scenes, licence))
    return tuple(found)


PUBLIC_MODELS: tuple[PublicModel, ...] = (
    *_depth_anything_v2(),
    PublicModel('Intel/zoedepth-nyu', 'ZoeDepth', METRIC_DEPTH, 'indoor', 'MIT'),
    PublicModel('Intel/zoedepth-kitti', 'ZoeDepth', METRIC_DEPTH, 'outdoor', 'MIT'),
    PublicModel('Intel/zoedepth-nyu-kitti', 'ZoeDepth', METRIC_DEPTH, 'both', 'MIT'),
    PublicModel('apple/DepthPro-hf', 'Depth Pro', METRIC_DISPARITY, 'both', 'Apple AMLR'),
    PublicModel('Intel/dpt-large', 'DPT (MiDaS 3.0)', RELATIVE_DISPARITY, 'both', 'Apache-2.0'),
    PublicModel(
        'Intel/dpt-hybrid-midas', 'DPT (MiDaS 3.0)', RELATIVE_DISPARITY, 'both', 'Apache-2.0'
    ),
    PublicModel('Intel/dpt-beit-large-512', 'DPT (MiDaS 3.1)', RELATIVE_DISPARITY, 'both', 'MIT'),
    PublicModel(
        'facebook/dpt-dinov2-small-nyu', 'DPT on DINOv2', METRIC_DEPTH, 'indoor', 'Apache-2.0'
    ),
    PublicModel(
        'facebook/dpt-dinov2-small-kitti', 'DPT on DINOv2', METRIC_DEPTH, 'outdoor', 'Apache-2.0'
    ),
    PublicModel('vinvino02/glpn-nyu', 'GLPN', METRIC_DEPTH, 'indoor', 'Apache-2.0'),
    PublicModel('vinvino02/glpn-kitti', 'GLPN', METRIC_DEPTH, 'outdoor', 'Apache-2.0'),
    # Through a package of its own, see methods/coarse_unidepth.py.
    *(
        PublicModel(
            f'lpiccinelli/unidepth-{name}', 'UniDepth', METRIC_DEPTH, 'both', 'CC-BY-NC-4.0'
        )
        for name in ('v2-vits14', 'v2-vitb14', 'v2-vitl14', 'v1-vitl14', 'v1-cnvnxtl')
    ),
)

# What all models of an architecture predict, as far as nothing says otherwise.
ARCHITECTURES: dict[str, Quantity] = {
    'depth_anything': RELATIVE_DISPARITY,  # or metric: its configuration says so
    'depth_pro': METRIC_DISPARITY,
    'dpt': RELATIVE_DISPARITY,  # MiDaS; but see PUBLIC_MODELS
    'glpn': METRIC_DEPTH,
    'zoedepth': METRIC_DEPTH,
}


def public_model(name: str) -> PublicModel | None:
    """The public model of this hub id, or whose id ends in the name of this folder."""
    for known in PUBLIC_MODELS:
        if name == known.hub_id or Path(name).name == known.hub_id.split('/')[1]:
            return known
    return None
