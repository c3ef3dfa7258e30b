"""UniDepth through its package, which a stand-in with its public interface takes the place of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from metric_depth_ros import checkpoint, geometry
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.methods.coarse import CoarseError
from metric_depth_ros.methods.coarse_unidepth import intrinsics
from metric_depth_ros.predictor import load_coarse, load_predictor
from metric_depth_ros.public_models import public_model
from metric_depth_ros.types import Camera, Frame

CAMERA = Camera(80.0, 82.0, 40.0, 35.5, 96, 72)


class UniDepthV2(nn.Module):
    """As the package's class: from_pretrained, save_pretrained, infer(rgb, camera) -> dict.

    Says the distance from the camera's axis, in focal lengths, of every pixel, plus an offset.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.offset = nn.Parameter(torch.tensor([2.0]))
        self.asked: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def from_pretrained(cls, folder: str) -> UniDepthV2:
        model = cls(json.loads(Path(folder, 'config.json').read_text()))
        model.load_state_dict(load_file(Path(folder, 'model.safetensors')))
        return model

    def save_pretrained(self, folder: Path) -> None:
        Path(folder, 'config.json').write_text(json.dumps(self.config))
        save_file(self.state_dict(), Path(folder, 'model.safetensors'))

    @torch.no_grad()
    def infer(self, rgb: Tensor, camera: Tensor) -> dict[str, Tensor]:
        assert rgb.dtype == torch.uint8
        assert camera.shape == (3, 3)
        self.asked.append((rgb, camera))
        column = torch.arange(rgb.shape[-1]).expand(rgb.shape[-2:])
        depth = self.offset + (column - camera[0, 2]) / camera[0, 0]
        return {'depth': depth[None, None], 'intrinsics': camera[None]}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModuleType('unidepth.models')
    models.UniDepthV2 = UniDepthV2  # type: ignore[attr-defined]
    parent = ModuleType('unidepth')
    parent.models = models  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'unidepth', parent)
    monkeypatch.setitem(sys.modules, 'unidepth.models', models)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / 'unidepth-v2-vits14'
    made.mkdir()
    UniDepthV2({'model': {'name': 'UniDepthV2'}, 'data': {}}).save_pretrained(made)
    return made


def frame() -> Frame:
    pixels = torch.randint(0, 256, (72, 96, 3), generator=torch.Generator().manual_seed(1))
    return Frame(pixels.to(torch.uint8), CAMERA, 5, 'optical')


def ramp() -> Tensor:
    return (2 + (torch.arange(96) - CAMERA.cx) / CAMERA.fx).expand(72, 96)


@pytest.mark.parametrize('camera', [CAMERA, geometry.resize_camera(CAMERA, 33, 50)])
def test_intrinsics_are_those_of_the_rays(camera: Camera) -> None:
    found = intrinsics(geometry.rays(camera).permute(2, 0, 1))
    torch.testing.assert_close(found.double(), geometry.matrix(camera), rtol=1e-4, atol=1e-3)


def test_it_gets_the_pixels_and_the_camera(package: None, folder: Path) -> None:
    predictor = load_predictor(str(folder), device='cpu', num_samples=1)
    prediction = predictor(frame())
    torch.testing.assert_close(prediction.depth, ramp(), rtol=1e-4, atol=1e-5)
    (rgb, camera), *_ = predictor.method.network.asked
    assert torch.equal(rgb, frame().image.permute(2, 0, 1))
    torch.testing.assert_close(camera.double(), geometry.matrix(CAMERA), rtol=1e-4, atol=1e-3)
    assert predictor.name == 'unidepth-v2-vits14'


def test_looks_come_with_cameras_of_their_own(package: None, folder: Path) -> None:
    predictor = load_predictor(str(folder), device='cpu', num_samples=4)
    prediction = predictor(frame())
    plain, mirrored, smaller, _ = predictor.method.network.asked
    assert torch.equal(mirrored[0], plain[0].flip(-1))
    assert float(mirrored[1][0, 2]) == pytest.approx(95 - CAMERA.cx, abs=1e-2)
    share = smaller[0].shape[-1] / 96
    assert share < 1
    assert float(smaller[1][0, 0]) == pytest.approx(share * CAMERA.fx, rel=1e-2)
    # right mirrored is left: what it says of a mirrored image comes back the other way round
    assert bool((prediction.std[:, [5, -5]] > prediction.std[:, [40]]).all())


def test_it_is_a_coarse_model_of_metres(package: None, folder: Path) -> None:
    coarse = load_coarse(str(folder), device='cpu')
    found = coarse.coarse_depth(frame(), CAMERA)
    assert (found.metric, found.disparity, coarse.num_samples) == (True, False, 1)
    torch.testing.assert_close(found.values, ramp(), rtol=1e-4, atol=1e-5)


def test_it_is_saved_with_its_error_bar(package: None, folder: Path, tmp_path: Path) -> None:
    loaded = checkpoint.load(folder)
    card = Card('mine', loaded.card.licence, loaded.card.source, readme='about it')
    checkpoint.save(tmp_path / 'mine', loaded.method, card)
    assert checkpoint.load(tmp_path / 'mine').card == card
    assert checkpoint.architecture(folder).offset.is_meta


def test_known_by_its_hub_id() -> None:
    known = public_model('lpiccinelli/unidepth-v2-vitl14')
    assert known is not None
    assert (known.quantity.metric, known.licence.name) == (True, 'CC-BY-NC-4.0')


def test_without_its_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'unidepth', None)
    with pytest.raises(CoarseError, match="'unidepth-v2-vits14' is a UniDepth, which needs") as e:
        load_predictor(str(folder), device='cpu')
    assert '\n' not in str(e.value)


def test_folders_that_cannot_be_used(package: None, folder: Path) -> None:
    with pytest.raises(CoarseError, match=r'scale is 2\.0, but the model is metric'):
        load_predictor(str(folder), device='cpu', scale=2.0)
    save_file({'other': torch.zeros(1)}, folder / 'model.safetensors')
    with pytest.raises(CoarseError, match='cannot be read'):
        load_predictor(str(folder), device='cpu')
    (folder / 'model.safetensors').unlink()
    with pytest.raises(CoarseError, match=r'has no model\.safetensors'):
        load_predictor(str(folder), device='cpu')
    (folder / 'config.json').write_text('{"model": {"name": "UniDepthV9"}}')
    with pytest.raises(CoarseError, match='is a UniDepthV9, which the installed package'):
        load_predictor(str(folder), device='cpu')
