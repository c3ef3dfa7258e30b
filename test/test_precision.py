"""Precision: what is converted, that the depth stays, and names that mean nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metric_depth_ros import checkpoint
from metric_depth_ros.calibration import Calibration
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.layouts.latent import is_latent
from metric_depth_ros.methods import METHODS
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.precision import PRECISIONS, find_precision, multiplies_bf16
from metric_depth_ros.predictor import Predictor, load_predictor
from metric_depth_ros.ros import parameters
from metric_depth_ros.types import Camera, Frame

LATENT = [name for name, kind in METHODS.items() if is_latent(kind)]
CAMERA = Camera(50, 50, 31.5, 23.5, 64, 48)
CPU = torch.device('cpu')
HALVES = {'bf16': torch.bfloat16, 'fp16': torch.float16}


def frame() -> Frame:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (48, 64, 3), generator=generator)
    return Frame(pixels.to(torch.uint8), CAMERA)


class Wall(torch.nn.Module):
    """A coarse model that sees a slanted wall."""

    takes_rays = takes_targets = False
    working_pixels, multiple_of, num_samples = None, 1, 1

    def draw(self, conditioning, num_samples, generator, *, num_steps=None, targets=None):
        return 3 + conditioning.rays[:1].expand(num_samples, -1, -1)


def coarse_of(method: torch.nn.Module) -> Predictor | None:
    return Predictor(Wall(), device='cpu') if getattr(method, 'takes_coarse', False) else None


def off(method: torch.nn.Module, precision: str) -> float:
    """Mean relative difference that the precision makes to the depth of one frame."""
    whole, less = (
        Predictor(copy.deepcopy(method), device='cpu', precision=name, coarse=coarse_of(method))(
            frame()
        )
        for name in ('fp32', precision)
    )
    assert (less.depth.dtype, less.std.dtype) == (torch.float32, torch.float32)
    known = torch.isfinite(whole.depth) & torch.isfinite(less.depth)
    assert known.float().mean() > 0.9
    return float(((less.depth - whole.depth).abs() / whole.depth)[known].mean())


def test_names() -> None:
    method = Grin(GrinConfig.tiny())
    assert find_precision('auto', method, CPU) == torch.float32
    assert find_precision('auto', method, torch.device('cuda')) == torch.float32
    for name, dtype in HALVES.items():
        assert find_precision(name, method, CPU) == dtype
    with pytest.raises(
        MetricDepthError, match="is 'int8', expected one of auto, fp32, bf16, fp16"
    ):
        Predictor(method, device='cpu', precision='int8')
    assert parameters.PRECISIONS == PRECISIONS


@pytest.mark.parametrize('precision', HALVES)
def test_grin_keeps_its_weights_and_computes_in_less(precision: str) -> None:
    torch.manual_seed(0)
    method = Grin(GrinConfig.tiny())
    assert 0 < off(method, precision) < 0.05
    Predictor(method, device='cpu', precision=precision)
    assert {p.dtype for p in method.parameters()} == {torch.float32}


@pytest.mark.parametrize('precision', HALVES)
@pytest.mark.parametrize('name', LATENT)
def test_a_latent_method_has_lighter_weights(name: str, precision: str) -> None:
    pytest.importorskip('diffusers')
    torch.manual_seed(0)
    kind = METHODS[name]
    method = kind(replace(kind.Config.tiny(), working_pixels=64 * 48))
    assert find_precision('auto', method, CPU) == torch.float32
    assert find_precision('auto', method, torch.device('cuda')) == torch.float16
    assert 0 < off(method, precision) < {'bf16': 0.05, 'fp16': 0.01}[precision]
    Predictor(method, device='cpu', precision=precision, coarse=coarse_of(method))
    assert {p.dtype for p in method.latent.parameters()} == {HALVES[precision]}
    assert find_precision('auto', method, CPU) == HALVES[precision]  # left as it is
    assert find_precision('fp32', method, CPU) == torch.float32


def test_a_public_model_has_lighter_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip('transformers')
    from metric_depth_ros.methods.coarse import Coarse
    from metric_depth_ros.public_models import METRIC_DEPTH

    torch.manual_seed(0)
    config = transformers.GLPNConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, decoder_hidden_size=8, num_attention_heads=[1] * 4
    )
    network = transformers.GLPNForDepthEstimation(config).eval()

    def processor(image: torch.Tensor) -> torch.Tensor:
        pixels = image.permute(2, 0, 1)[None].float() / 255
        return torch.nn.functional.interpolate(pixels, (64, 64), mode='bilinear')

    assert 0 < off(Coarse(network, processor, METRIC_DEPTH), 'bf16') < 0.02


def test_of_a_loaded_model_and_of_what_it_refines(tmp_path: Path) -> None:
    checkpoint.save(
        tmp_path / 'tiny', Grin(GrinConfig.tiny()), Card('tiny', '', '', Calibration())
    )
    assert load_predictor(str(tmp_path / 'tiny'), device='cpu').dtype == torch.float32
    assert load_predictor(str(tmp_path / 'tiny'), device='cpu', precision='bf16').dtype == (
        torch.bfloat16
    )
    with pytest.raises(MetricDepthError, match="precision is 'half'"):
        load_predictor(str(tmp_path / 'tiny'), device='cpu', precision='half')


@pytest.mark.parametrize(
    ('units', 'multiplies'),
    [
        ({'avx2': True, 'avx512_bf16': True}, True),
        ({'avx2': True, 'amx_bf16': True}, True),
        ({'neon': True, 'bf16': True}, True),
        ({'avx2': True, 'avx512_bf16': False, 'amx_bf16': False}, False),
        ({'neon': True}, False),
    ],
    ids=str,
)
def test_a_cpu_is_asked_whether_it_multiplies_bfloat16(
    units: dict[str, bool], multiplies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: units, raising=False)
    assert multiplies_bf16.__wrapped__('cpu') == multiplies
    assert multiplies_bf16.__wrapped__('cuda')
