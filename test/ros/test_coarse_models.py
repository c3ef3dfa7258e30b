"""depth_node with a public depth model, alone and as `coarse`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy')
transformers = pytest.importorskip('transformers')


@pytest.fixture(scope='module')
def public_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random GLPN, which is metric, as save_pretrained lays it out."""
    torch.manual_seed(0)
    config = transformers.GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        decoder_hidden_size=8,
        num_attention_heads=[1, 1, 2, 2],
    )
    folder = tmp_path_factory.mktemp('public') / 'glpn'
    transformers.GLPNForDepthEstimation(config).save_pretrained(folder)
    processor = {'image_processor_type': 'GLPNImageProcessor', 'size_divisor': 32}
    (folder / 'preprocessor_config.json').write_text(json.dumps(processor))
    return folder


def test_a_public_model_alone(make_rig: Any, public_folder: Path) -> None:
    rig = make_rig(model=str(public_folder), samples=1).start()
    rig.send_info()
    rig.send_image(1)
    topics = ('depth/image', 'depth/uncertainty')
    rig.expect(1, *topics)
    depth, std = (np.frombuffer(bytes(rig.received[t][0].data), np.float32) for t in topics)
    assert (depth > 0).all()
    assert (depth < 10).all()  # as its configuration says
    np.testing.assert_allclose(std, 0.1 * depth, rtol=1e-5)


def test_a_method_that_takes_no_coarse_model(make_rig: Any, public_folder: Path) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn

    rig = make_rig(autostart=False, coarse=str(public_folder))
    assert rig.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    rig.wait(rig.warnings)
    (error,) = rig.warnings()
    assert "coarse is 'glpn', but model 'tiny' takes no coarse model: leave coarse out" in error
    assert '\n' not in error
