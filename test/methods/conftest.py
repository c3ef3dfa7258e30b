"""Tiny random depth models, saved as the public ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

IMAGENET = {'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225]}
HALF = {'image_mean': [0.5, 0.5, 0.5], 'image_std': [0.5, 0.5, 0.5]}


def _dinov2(**changes: Any) -> Any:
    from transformers import Dinov2Config

    settings: dict[str, Any] = {
        'hidden_size': 16,
        'num_hidden_layers': 4,
        'num_attention_heads': 2,
        'image_size': 56,
        'patch_size': 14,
        'out_indices': [1, 2, 3, 4],
        'reshape_hidden_states': False,
        'apply_layernorm': True,
    }
    return Dinov2Config(**(settings | changes))


def _depth_anything(kind: str) -> Any:
    from transformers import DepthAnythingConfig

    return DepthAnythingConfig(
        backbone_config=_dinov2(),
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == 'metric' else 1,
    )


def _dpt() -> Any:
    from transformers import DPTConfig

    return DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        is_hybrid=False,
    )


def _zoedepth() -> Any:
    from transformers import BeitConfig, ZoeDepthConfig

    backbone = BeitConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
        reshape_hidden_states=False,
    )
    return ZoeDepthConfig(
        backbone_config=backbone,
        backbone_hidden_size=16,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=8,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=[{'n_bins': 8, 'min_depth': 0.001, 'max_depth': 10.0}],
    )


def _depth_pro() -> Any:
    from transformers import DepthProConfig

    def encoder() -> Any:
        return _dinov2(image_size=32, patch_size=16, out_indices=None)

    return DepthProConfig(
        image_model_config=encoder(),
        patch_model_config=encoder(),
        fov_model_config=encoder(),
        patch_size=32,
        fusion_hidden_size=8,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.25, 0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[8, 8, 8],
        use_fov_model=True,
    )


def _glpn() -> Any:
    from transformers import GLPNConfig

    return GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        decoder_hidden_size=8,
        num_attention_heads=[1, 1, 2, 2],
        max_depth=10,
    )


_DPT_PROCESSOR = {
    'do_pad': False,
    'do_rescale': True,
    'do_resize': True,
    'do_normalize': True,
    'image_processor_type': 'DPTImageProcessor',
    'resample': 3,
    'rescale_factor': 1 / 255,
}
PROCESSORS: dict[str, dict[str, Any]] = {
    'depth_anything': _DPT_PROCESSOR
    | IMAGENET
    | {
        'ensure_multiple_of': 14,
        'keep_aspect_ratio': True,
        'size': {'height': 70, 'width': 70},
    },
    'dpt': _DPT_PROCESSOR | HALF | {'size': {'height': 64, 'width': 64}},
    'zoedepth': HALF
    | {
        'do_pad': True,
        'do_rescale': True,
        'do_resize': True,
        'do_normalize': True,
        'ensure_multiple_of': 32,
        'keep_aspect_ratio': True,
        'image_processor_type': 'ZoeDepthImageProcessor',
        'resample': 2,
        'rescale_factor': 1 / 255,
        'size': {'height': 64, 'width': 96},
    },
    'depth_pro': HALF
    | {
        'do_rescale': True,
        'do_resize': True,
        'do_normalize': True,
        'image_processor_type': 'DepthProImageProcessorFast',
        'resample': 2,
        'rescale_factor': 1 / 255,
        'size': {'height': 128, 'width': 128},
    },
    'glpn': {
        'do_rescale': True,
        'do_resize': True,
        'image_processor_type': 'GLPNImageProcessor',
        'resample': 2,
        'size_divisor': 32,
    },
}
CONFIGS: dict[str, Any] = {
    'depth_anything_metric': lambda: _depth_anything('metric'),
    'depth_anything': lambda: _depth_anything('relative'),
    'dpt': _dpt,
    'zoedepth': _zoedepth,
    'depth_pro': _depth_pro,
    'glpn': _glpn,
}


def save_public(folder: Path, kind: str) -> Path:
    """A random model of `kind` of CONFIGS in `folder`, as save_pretrained lays it out."""
    from transformers import AutoModelForDepthEstimation

    torch.manual_seed(1)
    network = AutoModelForDepthEstimation.from_config(CONFIGS[kind]()).eval()
    for name, parameter in network.named_parameters():  # so that nothing is flat or zero
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.7 / parameter[0].numel() ** 0.5)
        elif 'bias' in name:
            torch.nn.init.uniform_(parameter, 0, 0.3)
    network.save_pretrained(folder)
    settings = PROCESSORS[network.config.model_type]
    (folder / 'preprocessor_config.json').write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope='session')
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each kind."""
    root = tmp_path_factory.mktemp('public')
    return {kind: save_public(root / kind, kind) for kind in CONFIGS}
