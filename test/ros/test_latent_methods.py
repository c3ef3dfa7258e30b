"""Every latent method through the running node: a real recording, and what cannot be loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('rclpy')
diffusers = pytest.importorskip('diffusers')

from metric_depth_ros import checkpoint  # noqa: E402, needs both
from metric_depth_ros.bags.reader import Bag  # noqa: E402
from metric_depth_ros.bags.topics import Topics  # noqa: E402
from metric_depth_ros.layouts.latent import is_latent  # noqa: E402
from metric_depth_ros.methods import METHODS  # noqa: E402
from metric_depth_ros.ros.bag_player import play_through_node  # noqa: E402

from ..methods.latent_models import write_model  # noqa: E402
from .test_bag_player import check_result  # noqa: E402

LATENT = [name for name, kind in METHODS.items() if is_latent(kind)]
REFINERS = [name for name in LATENT if getattr(METHODS[name], 'takes_coarse', False)]


@pytest.fixture(scope='module')
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Checkpoints of tiny random networks, by the name of the method."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            torch.manual_seed(0)
            kind = METHODS[name]
            made[name] = tmp_path_factory.mktemp('latent') / name
            card = checkpoint.Card(name, 'Apache-2.0', 'random')
            checkpoint.save(made[name], kind(kind.Config.tiny()).eval(), card)
        return made[name]

    return folder


def coarse_of(name: str) -> dict[str, str]:
    return {'coarse': 'grin-small'} if name in REFINERS else {}


@pytest.mark.slow
@pytest.mark.parametrize('name', LATENT)
def test_a_real_recording(
    make_rig: Any, tiny_folders: Callable[[str], Path], shared_data: Path, name: str
) -> None:
    rig = make_rig(model=str(tiny_folders(name)), samples=2, steps=1, **coarse_of(name))
    assert rig.node.start()
    with Bag(shared_data / 'bags' / 'cabinet_raw_mcap') as bag:
        found = bag.find_topics()
        names = {
            found.image: f'{rig.namespace}/image',
            found.camera_info: f'{rig.namespace}/camera_info',
        }
        frames = {f.frame.stamp_ns: f.frame for f in bag.frames(found)}
        result = play_through_node(
            [
                replace(message, topic=names[message.topic])
                for message in bag.messages(tuple(names))
            ],
            Topics(*names.values()),
            attach=True,
            namespace=rig.namespace,
            rate=6.0,
        )
    assert len(frames) == 7
    check_result(result, frames)
    assert rig.warnings() == []
    assert result.status['model'] == name


def refusal(make_rig: Any, **parameters: str) -> str:
    """The one line with which the node says that it cannot load a model."""
    from rclpy.lifecycle import TransitionCallbackReturn

    rig = make_rig(autostart=False, **parameters)
    assert rig.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    rig.wait(rig.warnings)
    (line,) = rig.warnings()
    assert '\n' not in line
    assert line.startswith(f'cannot load model {parameters["model"]!r}: ')
    return line


def copy_of(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


@pytest.mark.parametrize('name', LATENT)
def test_a_denoiser_with_other_channels(
    make_rig: Any, tiny_folders: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder = copy_of(tiny_folders(name), tmp_path / name)
    config = json.loads((folder / 'unet' / 'config.json').read_text())
    channels = config['in_channels']
    config |= {'in_channels': channels + 3}
    diffusers.UNet2DConditionModel.from_config(config).save_pretrained(folder / 'unet')
    line = refusal(make_rig, model=str(folder), **coarse_of(name))
    assert f'unet takes {channels + 3} channels, expected {channels} for' in line
    assert 'load a checkpoint of that method' in line


@pytest.mark.parametrize('name', LATENT)
def test_no_autoencoder(
    make_rig: Any, tiny_folders: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder = copy_of(tiny_folders(name), tmp_path / name)
    shutil.rmtree(folder / 'vae')
    line = refusal(make_rig, model=str(folder), **coarse_of(name))
    assert f'{folder} has no vae/, expected unet, vae and scheduler: download all of it' in line


@pytest.mark.parametrize('name', REFINERS)
def test_what_cannot_be_refined(
    make_rig: Any, tiny_folders: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    model = str(tiny_folders(name))
    line = refusal(make_rig, model=model)
    assert f"'{name}' refines a coarse depth: give it a coarse model, such as" in line
    assert 'the parameter coarse of the node' in line
    relative = write_model(tmp_path / 'marigold')
    line = refusal(make_rig, model=model, coarse=str(relative))
    assert "coarse is 'marigold', whose depth is relative" in line
    assert f"but model '{name}' needs metres: choose a metric one, such as" in line


@pytest.mark.parametrize('name', LATENT[:1])
def test_a_relative_model_alone(make_rig: Any, tmp_path: Path, name: str) -> None:
    line = refusal(make_rig, model=str(write_model(tmp_path / 'marigold')))
    assert 'expected a model of metric depth such as' in line


def test_a_hub_id_while_offline(
    make_rig: Any, tiny_folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('huggingface_hub')
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    line = refusal(make_rig, model='nobody-at-all/nothing-at-all')
    assert 'check the name and the network, or copy the checkpoint to a folder' in line
    line = refusal(
        make_rig, model=str(tiny_folders(REFINERS[0])), coarse='nobody-at-all/nothing-at-all'
    )
    assert "'nobody-at-all/nothing-at-all' is neither a known name nor a folder" in line
