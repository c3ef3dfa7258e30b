"""What is known of public depth models: what they predict, where, and under which licence.

Licences are those of the weights, not of the code that was published with them. Each names the
place where it was read; where the authors state two, the stricter one stands, and the other in
`Licence.doubt`. docs/coarse_models.md has them as a table, which a test holds to this file.
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
class Licence:
    """Of weights.

    read_in: where they are said to have it: 'card' is the model's own page of the hub, and
        'owner/name FILE' is of GitHub.
    doubt: what speaks against it, '' if nothing that was found.
    """

    name: str
    read_in: str
    doubt: str = ''


@dataclass(frozen=True)
class PublicModel:
    """One model of the hub. scenes: 'indoor', 'outdoor' or 'both'.

    pickled: its repository had no safetensors when it was last looked at, so that it has to be
        converted first.
    """

    hub_id: str
    family: str
    quantity: Quantity
    scenes: str
    licence: Licence
    pickled: bool = False


_DEPTH_ANYTHING_README = 'DepthAnything/Depth-Anything-V2 README.md'
_DEPTH_PRO = Licence(
    'Apple AMLR (research only)',
    'card',
    'apple/ml-depth-pro README.md puts the same weights under its LICENSE, which does not '
    'restrict the use',
)
_ZOEDEPTH = Licence('MIT', 'card; isl-org/ZoeDepth LICENSE')
_DPT = Licence('Apache-2.0', 'card', 'isl-org/DPT and isl-org/MiDaS LICENSE: MIT')
_DPT_BEIT = Licence('MIT', 'card; isl-org/MiDaS LICENSE')
_DPT_DINOV2 = Licence('Apache-2.0', 'card; facebookresearch/dinov2 README.md')
_GLPN = Licence('non-commercial', 'vinvino02/GLPDepth README.md', 'the card: Apache-2.0')
_UNIDEPTH = Licence(
    'CC-BY-NC-4.0', 'lpiccinelli-eth/UniDepth LICENSE', 'the card names no licence'
)


def _depth_anything_v2() -> tuple[PublicModel, ...]:
    silent = 'the card names no licence'
    other = f'{silent}; that of the same weights as .pth: Apache-2.0'
    found = []
    for variant, quantity, scenes in (
        ('Metric-Indoor-', METRIC_DEPTH, 'indoor'),
        ('Metric-Outdoor-', METRIC_DEPTH, 'outdoor'),
        ('', RELATIVE_DISPARITY, 'both'),
    ):
        for size in ('Small', 'Base', 'Large'):
            name = 'Apache-2.0' if size == 'Small' else 'CC-BY-NC-4.0'
            if quantity.metric:
                doubt = silent if size == 'Small' else other
                licence = Licence(name, f'{_DEPTH_ANYTHING_README}, by size', doubt)
            else:
                licence = Licence(name, f'card; {_DEPTH_ANYTHING_README}')
            hub_id = f'depth-anything/Depth-Anything-V2-{variant}{size}-hf'
            found.append(PublicModel(hub_id, 'Depth Anything V2', quantity, scenes, licence))
    return tuple(found)


PUBLIC_MODELS: tuple[PublicModel, ...] = (
    *_depth_anything_v2(),
    PublicModel('Intel/zoedepth-nyu', 'ZoeDepth', METRIC_DEPTH, 'indoor', _ZOEDEPTH),
    PublicModel('Intel/zoedepth-kitti', 'ZoeDepth', METRIC_DEPTH, 'outdoor', _ZOEDEPTH),
    PublicModel('Intel/zoedepth-nyu-kitti', 'ZoeDepth', METRIC_DEPTH, 'both', _ZOEDEPTH),
    PublicModel('apple/DepthPro-hf', 'Depth Pro', METRIC_DISPARITY, 'both', _DEPTH_PRO),
    PublicModel('Intel/dpt-large', 'DPT (MiDaS 3.0)', RELATIVE_DISPARITY, 'both', _DPT),
    PublicModel(
        'Intel/dpt-hybrid-midas', 'DPT (MiDaS 3.0)', RELATIVE_DISPARITY, 'both', _DPT, pickled=True
    ),
    PublicModel(
        'Intel/dpt-beit-large-512', 'DPT (MiDaS 3.1)', RELATIVE_DISPARITY, 'both', _DPT_BEIT
    ),
    PublicModel(
        'facebook/dpt-dinov2-small-nyu',
        'DPT on DINOv2',
        METRIC_DEPTH,
        'indoor',
        _DPT_DINOV2,
        pickled=True,
    ),
    PublicModel(
        'facebook/dpt-dinov2-small-kitti', 'DPT on DINOv2', METRIC_DEPTH, 'outdoor', _DPT_DINOV2
    ),
    PublicModel('vinvino02/glpn-nyu', 'GLPN', METRIC_DEPTH, 'indoor', _GLPN),
    PublicModel('vinvino02/glpn-kitti', 'GLPN', METRIC_DEPTH, 'outdoor', _GLPN, pickled=True),
    # Through a package of its own, see methods/coarse_unidepth.py.
    *(
        PublicModel(f'lpiccinelli/unidepth-{name}', 'UniDepth', METRIC_DEPTH, 'both', _UNIDEPTH)
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
