"""Public depth models: the outputs of transformers, metres or not, and what is refused."""

from __future__ import annotations

import json
import math
from fnmatch import fnmatchcase
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metric_depth_ros import checkpoint
from metric_depth_ros.calibration import Calibration
from metric_depth_ros.checkpoint import CheckpointError
from metric_depth_ros.cli.main import main
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.coarse import CoarseError
from metric_depth_ros.predictor import (
    CoarseModelError,
    Predictor,
    load_coarse,
    load_predictor,
)
from metric_depth_ros.public_models import (
    ARCHITECTURES,
    PUBLIC_MODELS,
    RELATIVE_DISPARITY,
    public_model,
)
from metric_depth_ros.types import Camera, Conditioning, Frame

transformers = pytest.importorskip('transformers')

KINDS = ('depth_anything_metric', 'depth_anything', 'dpt', 'zoedepth', 'depth_pro', 'glpn')
WIDTH, HEIGHT = 96, 72
CAMERA = Camera(80.0, 80.0, 47.5, 35.5, WIDTH, HEIGHT)
METRIC = [kind for kind in KINDS if kind not in ('depth_anything', 'dpt')]


def frame(camera: Camera = CAMERA) -> Frame:
    generator = torch.Generator().manual_seed(5)
    small = torch.rand(1, 3, 6, 8, generator=generator)
    size = (camera.height, camera.width)
    image = F.interpolate(small, size, mode='bicubic')[0].clamp(0, 1) * 255
    return Frame(image.permute(1, 2, 0).to(torch.uint8), camera, 7, 'optical')


@torch.inference_mode()
def by_transformers(folder: Path, kind: str, image: Tensor) -> Tensor:
    """(H, W) as transformers' own classes have it; only torchvision's part is by hand."""
    network = transformers.AutoModelForDepthEstimation.from_pretrained(folder).eval()
    size = (image.shape[0], image.shape[1])
    if kind == 'depth_pro':
        settings = json.loads((folder / 'preprocessor_config.json').read_text())
        mean, std = (np.array(settings[key]) for key in ('image_mean', 'image_std'))
        normal = torch.from_numpy((image.numpy() / 255 - mean) / std).float().permute(2, 0, 1)
        made = F.interpolate(normal[None], (128, 128), mode='bilinear')
        inverse = network(pixel_values=made).predicted_depth * size[1] / CAMERA.fx
        return 1 / F.interpolate(inverse[None], size, mode='bilinear')[0, 0].clamp(1e-4, 1e4)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    values = network(**processor(images=image.numpy(), return_tensors='pt')).predicted_depth
    if kind == 'zoedepth':
        rows, columns = (int(np.sqrt(side / 2) * 3) for side in size)
        whole = (size[0] + 2 * rows, size[1] + 2 * columns)
        values = F.interpolate(values[None], whole, mode='bicubic')[0]
        return values[0, rows:-rows, columns:-columns]
    return F.interpolate(values[None], size, mode='bicubic')[0, 0]


@pytest.mark.parametrize('kind', KINDS)
def test_says_what_transformers_says(folders: dict[str, Path], kind: str) -> None:
    coarse = load_coarse(str(folders[kind]), device='cpu')
    seen = frame()
    found = coarse.coarse_depth(seen, CAMERA)
    expected = by_transformers(folders[kind], kind, seen.image)
    assert expected.std() > 1e-4  # else any image would do
    torch.testing.assert_close(1 / found.values, 1 / expected, rtol=1e-5, atol=1e-6)
    assert (found.metric, found.disparity) == (kind in METRIC, kind not in METRIC)


@pytest.mark.parametrize('kind', METRIC)
def test_a_metric_one_is_a_model(folders: dict[str, Path], kind: str) -> None:
    predictor = load_predictor(str(folders[kind]), device='cpu', num_samples=1)
    prediction = predictor(frame())
    expected = by_transformers(folders[kind], kind, frame().image)
    torch.testing.assert_close(1 / prediction.depth, 1 / expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(prediction.std, 0.1 * prediction.depth)
    assert (predictor.name, prediction.stamp_ns, prediction.frame_id) == (kind, 7, 'optical')


def test_std_is_the_difference_of_views_and_a_share(folders: dict[str, Path]) -> None:
    folder = folders['glpn']
    prediction = load_predictor(str(folder), device='cpu', num_samples=None)(frame())
    image = frame().image
    plain = by_transformers(folder, 'glpn', image)
    mirrored = by_transformers(folder, 'glpn', image.flip(1).contiguous()).flip(1)
    depth = (plain + mirrored) / 2
    std = torch.hypot(torch.stack((plain, mirrored)).std(0), 0.1 * depth)
    torch.testing.assert_close(prediction.depth, depth, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(prediction.std, std, rtol=1e-4, atol=1e-6)


def test_draws_beyond_two_are_seeded(folders: dict[str, Path]) -> None:
    folder = str(folders['glpn'])
    first, same, other = (
        load_predictor(folder, device='cpu', num_samples=4, seed=seed)(frame()).depth
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_depth_pro_goes_by_the_focal_length_of_the_camera(folders: dict[str, Path]) -> None:
    predictor = load_predictor(str(folders['depth_pro']), device='cpu', num_samples=1)
    wide = predictor(frame()).depth
    tele = predictor(frame(Camera(160.0, 160.0, 47.5, 35.5, WIDTH, HEIGHT))).depth
    inside = (wide < 4000) & (wide > 1e-3)  # twice as far is within range too
    assert inside.any()
    torch.testing.assert_close(tele[inside], 2 * wide[inside])


def test_a_distorted_image_is_rectified_first(folders: dict[str, Path]) -> None:
    camera = Camera(80.0, 80.0, 47.5, 35.5, WIDTH, HEIGHT, 'plumb_bob', (-0.2, 0.05, 0, 0))
    predictor = load_predictor(str(folders['glpn']), device='cpu', num_samples=1)
    prediction = predictor(frame(camera))
    assert prediction.camera == camera
    assert torch.isfinite(prediction.depth[20:50, 30:60]).all()
    plain = predictor(Frame(frame(camera).image, CAMERA)).depth
    assert not torch.allclose(prediction.depth[20:50, 30:60], plain[20:50, 30:60])


@pytest.mark.parametrize('kind', ['depth_anything', 'dpt'])
def test_a_relative_one_is_a_model_with_a_scale_alone(folders: dict[str, Path], kind: str) -> None:
    with pytest.raises(CoarseModelError, match=f'{kind}.*relative disparity.*give its scale'):
        load_predictor(str(folders[kind]), device='cpu')
    predictor = load_predictor(str(folders[kind]), device='cpu', num_samples=1, scale=0.5)
    disparity = by_transformers(folders[kind], kind, frame().image)
    torch.testing.assert_close(predictor(frame()).depth, 0.5 / disparity, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('scale', [0.0, -1.0, math.inf, math.nan])
def test_scales_that_cannot_be(folders: dict[str, Path], scale: float) -> None:
    with pytest.raises(CoarseError, match='expected a finite number above 0'):
        load_predictor(str(folders['dpt']), device='cpu', scale=scale)


def test_a_metric_one_takes_no_scale(folders: dict[str, Path]) -> None:
    with pytest.raises(CoarseError, match='the model is metric: leave the scale out'):
        load_predictor(str(folders['glpn']), device='cpu', scale=2.0)
    with pytest.raises(CheckpointError, match='leave the scale out'):
        load_predictor('default', device='cpu', scale=2.0)


# --- as the coarse part of a method -----------------------------------------------------------


class Refiner(nn.Module):
    """Says ten times its coarse depth."""

    takes_rays = False
    takes_targets = False
    takes_coarse = True
    working_pixels = 48 * 36
    multiple_of = 4
    num_samples = 1

    def __init__(self, needs_metric_coarse: bool = True) -> None:
        super().__init__()
        self.needs_metric_coarse = needs_metric_coarse
        self.seen: Conditioning | None = None

    def draw(
        self,
        conditioning: Conditioning,
        num_samples: int,
        generator: torch.Generator,
        *,
        num_steps: int | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        self.seen = conditioning
        assert conditioning.coarse is not None
        return 10 * conditioning.coarse.values.expand(num_samples, -1, -1)


def test_a_method_gets_the_coarse_depth_of_its_own_view(folders: dict[str, Path]) -> None:
    coarse = load_coarse(str(folders['glpn']), device='cpu')
    refiner = Refiner()
    prediction = Predictor(refiner, name='refiner', device='cpu', coarse=coarse)(frame())
    assert refiner.seen is not None
    assert refiner.seen.coarse is not None
    assert refiner.seen.coarse.values.shape == refiner.seen.image.shape[1:] == (36, 48)
    assert refiner.seen.coarse.metric
    expected = 10 * by_transformers(folders['glpn'], 'glpn', frame().image)
    error = (prediction.depth - expected).abs() / expected
    assert error.median() < 0.02


def test_a_method_may_take_relative_depth(folders: dict[str, Path]) -> None:
    coarse = load_coarse(str(folders['dpt']), device='cpu')
    refiner = Refiner(needs_metric_coarse=False)
    Predictor(refiner, device='cpu', coarse=coarse)(frame())
    assert refiner.seen is not None
    assert refiner.seen.coarse is not None
    assert (refiner.seen.coarse.metric, refiner.seen.coarse.disparity) == (False, True)


def test_a_checkpoint_of_ours_is_a_coarse_model() -> None:
    coarse = load_coarse('default', device='cpu')
    coarse.num_samples, coarse.num_steps = 1, 1
    small = frame()
    found = coarse.coarse_depth(small, CAMERA)
    torch.testing.assert_close(found.values, coarse(small).depth)
    assert found.metric


def test_where_a_coarse_model_does_not_fit(folders: dict[str, Path]) -> None:
    relative = load_coarse(str(folders['dpt']), device='cpu')
    with pytest.raises(CoarseModelError, match="'refiner' refines a coarse depth: give it"):
        Predictor(Refiner(), name='refiner', device='cpu')
    with pytest.raises(CoarseModelError, match=r"'dpt', whose depth is relative.*needs metres"):
        Predictor(Refiner(), name='refiner', device='cpu', coarse=relative)
    with pytest.raises(CoarseModelError, match="'dpt', but model 'grin-small' takes no coarse"):
        load_predictor('grin-small', device='cpu', coarse=str(folders['dpt']))
    metric = load_coarse(str(folders['dpt']), device='cpu', scale=2.0)
    chained = Predictor(Refiner(), name='inner', device='cpu', coarse=metric)
    with pytest.raises(CoarseModelError, match="'inner', which refines a coarse depth itself"):
        Predictor(Refiner(), name='outer', device='cpu', coarse=chained)


def test_on_the_command_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    image = tmp_path / 'seen.png'
    cv2.imwrite(str(image), frame().image.flip(-1).numpy())
    command = ['predict', str(image), '--camera', '80,80,47.5,35.5', '--out', str(tmp_path)]
    options = ['--model', str(folders['dpt']), '--scale', '3', '--samples', '1']
    assert main([*command, *options, '--device', 'cpu']) == 0
    disparity = by_transformers(folders['dpt'], 'dpt', frame().image)
    written = torch.from_numpy(np.load(tmp_path / 'seen_depth.npy'))
    torch.testing.assert_close(written, 3 / disparity, rtol=1e-4, atol=1e-5)
    capsys.readouterr()
    assert main([*command, '--model', str(folders['dpt'])]) == 2
    assert "model 'dpt' says relative disparity" in capsys.readouterr().err
    assert main([*command, '--coarse', str(folders['dpt'])]) == 2
    assert "'grin-small' takes no coarse model: leave coarse out" in capsys.readouterr().err


# --- folders ----------------------------------------------------------------------------------


def copy_of(folder: Path, to: Path) -> Path:
    to.mkdir(parents=True)
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_the_name_of_a_well_known_folder_says_what_its_config_does_not(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy_of(folders['dpt'], tmp_path / 'dpt-dinov2-small-nyu')
    assert load_predictor(str(folder), device='cpu').metric


def test_the_config_has_more_to_say_than_the_name(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy_of(folders['depth_anything_metric'], tmp_path / 'Depth-Anything-V2-Small-hf')
    assert load_predictor(str(folder), device='cpu').metric


def test_saved_with_a_calibration(folders: dict[str, Path], tmp_path: Path) -> None:
    loaded = checkpoint.load(folders['dpt'], scale=2.0)
    card = checkpoint.Card('mine', 'MIT', 'here', Calibration(std_single=0.25), 'about it')
    checkpoint.save(tmp_path / 'mine', loaded.method, card)
    again = load_predictor(str(tmp_path / 'mine'), device='cpu', num_samples=1)
    assert checkpoint.load(tmp_path / 'mine').card == card
    prediction = again(frame())
    disparity = by_transformers(folders['dpt'], 'dpt', frame().image)
    torch.testing.assert_close(prediction.depth, 2 / disparity, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prediction.std, 0.5 / disparity, rtol=1e-4, atol=1e-5)


def test_weights_that_are_pickled_are_not_opened(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_of(folders['glpn'], tmp_path / 'old')
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')
    with pytest.raises(CoarseError, match=r"'old'.*no model.safetensors"):
        load_predictor(str(folder), device='cpu')


def test_code_in_a_folder_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_of(folders['glpn'], tmp_path / 'strange')
    config = json.loads((folder / 'config.json').read_text())
    config |= {'model_type': 'strange', 'auto_map': {'AutoConfig': 'strange.Strange'}}
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'strange.py').write_text(f'open({str(tmp_path / "ran")!r}, "w")')
    with pytest.raises(CoarseError, match="'strange'"):
        load_predictor(str(folder), device='cpu')
    assert not (tmp_path / 'ran').exists()


def test_folders_that_are_not_whole(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    bare = copy_of(folders['glpn'], tmp_path / 'bare')
    (bare / 'preprocessor_config.json').unlink()
    with pytest.raises(CoarseError, match=r"'bare'.*preprocessor_config.json cannot be used"):
        load_predictor(str(bare), device='cpu')

    holed = copy_of(folders['glpn'], tmp_path / 'holed')
    weights = load_file(holed / 'model.safetensors')
    del weights[sorted(weights)[0]]
    save_file(weights, holed / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(CoarseError, match=r"'holed'.*lacks 1 tensors"):
        load_predictor(str(holed), device='cpu')

    cut = copy_of(folders['glpn'], tmp_path / 'cut')
    whole = (cut / 'model.safetensors').read_bytes()
    (cut / 'model.safetensors').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CoarseError, match=r"'cut'.*cannot be read"):
        load_predictor(str(cut), device='cpu')

    other = tmp_path / 'other'
    transformers.BertConfig().save_pretrained(other)
    with pytest.raises(CoarseError, match='is a bert, expected a depth model'):
        load_predictor(str(other), device='cpu')


def test_a_hub_id_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    hub_id = 'depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf'
    with pytest.raises(MetricDepthError, match=f"'{hub_id}'.*the hub did not give it") as caught:
        load_predictor(hub_id, device='cpu')
    assert 'copy the checkpoint to a folder' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_what_is_known_of_public_models_holds_together() -> None:
    assert len({known.hub_id for known in PUBLIC_MODELS}) == len(PUBLIC_MODELS)
    for known in PUBLIC_MODELS:
        assert public_model(known.hub_id) is public_model(f'/models/{known.hub_id}') is known
        assert known.scenes in ('indoor', 'outdoor', 'both')
    assert public_model('somebody/else') is None
    of_network = transformers.models.auto.modeling_auto.MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES
    assert ARCHITECTURES.keys() <= of_network.keys()
    relative = public_model('depth-anything/Depth-Anything-V2-Small-hf')
    assert relative is not None
    assert relative.quantity == RELATIVE_DISPARITY


def test_every_licence_is_in_the_table_of_the_docs(repository: Path) -> None:
    text = (repository / 'docs' / 'coarse_models.md').read_text().split('## Licences')[1]
    table = [
        [cell.strip() for cell in row.strip('|').split('|')]
        for row in text.splitlines()
        if row.startswith('| `')
    ]
    used = set()
    for known in PUBLIC_MODELS:
        rows = [
            index
            for index, (weights, *_) in enumerate(table)
            if any(fnmatchcase(known.hub_id, name.strip('` ')) for name in weights.split(','))
        ]
        assert len(rows) == 1, f'{known.hub_id}: rows {rows}'
        licence = known.licence
        assert table[rows[0]][1:] == [licence.name, licence.read_in, licence.doubt]
        assert licence.read_in
        assert not known.pickled or f'`{known.hub_id}`' in text.split('pickled')[0]
        used.update(rows)
    assert used == set(range(len(table)))


def test_models_lists_them() -> None:
    entries = {entry.name: entry for entry in checkpoint.models()}
    indoor = entries['depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf']
    assert (indoor.licence, indoor.quantity) == ('CC-BY-NC-4.0', 'metric depth')
    assert (indoor.scenes, indoor.hub_id) == ('indoor', indoor.name)
    assert 'Apache-2.0' in indoor.licence_doubt
    assert entries['Intel/dpt-large'].quantity == 'relative disparity'
    assert entries['vinvino02/glpn-kitti'].pickled
    assert not indoor.pickled


def test_what_one_is_made_of(folders: dict[str, Path]) -> None:
    network = checkpoint.architecture(folders['glpn'])
    real = checkpoint.load(folders['glpn']).method
    assert isinstance(real, nn.Module)
    assert sum(p.numel() for p in network.parameters()) == sum(
        p.numel() for p in real.parameters()
    )
