"""Tiny random models, saved by diffusers in exactly the layouts that public ones have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from metric_depth_ros.nn.latent import LatentConfig

WORDS = ['<|startoftext|>', '<|endoftext|>', 'a</w>', 'b</w>', 'a', 'b']


def sizes(in_channels: int = 8) -> LatentConfig:
    """As Stable Diffusion 2 in miniature: attention in the autoencoder too, latents of 1/8."""
    tiny = LatentConfig.tiny(in_channels)
    vae = {
        **tiny.vae,
        'down_block_types': ('DownEncoderBlock2D',) * 4,
        'up_block_types': ('UpDecoderBlock2D',) * 4,
        'block_out_channels': (4, 4, 8, 8),
        'scaling_factor': 0.18215,
        'mid_block_add_attention': True,
    }
    return LatentConfig(tiny.unet, vae, tiny.scheduler, tiny.prompt)


def text_parts(folder: Path, width: int) -> tuple[Any, Any]:
    """A CLIP text encoder and its tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder.mkdir(parents=True)
    (folder / 'vocab.json').write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    tokenizer = CLIPTokenizer(
        str(folder / 'vocab.json'), str(folder / 'merges.txt'), model_max_length=16
    )
    config = CLIPTextConfig(
        vocab_size=len(WORDS), hidden_size=width, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=16, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return CLIPTextModel(config), tokenizer


def write_model(
    folder: Path, *, in_channels: int = 8, kind: str = 'marigold', **index: Any
) -> Path:
    """Save a random model as 'marigold', 'stable-diffusion' or 'lotus' is published."""
    import diffusers

    torch.manual_seed(0)
    config = sizes(in_channels)
    text_encoder, tokenizer = text_parts(folder.parent / 'words', config.prompt[1])
    unet_config = dict(config.unet)
    if kind == 'lotus':
        unet_config['class_embed_type'] = 'projection'
        unet_config['projection_class_embeddings_input_dim'] = 4
    parts = {
        'unet': diffusers.UNet2DConditionModel(**unet_config),
        'vae': diffusers.AutoencoderKL(**config.vae),
        'scheduler': diffusers.DDIMScheduler(
            **{k: v for k, v in config.scheduler.items() if k != '_class_name'}
        ),
        'text_encoder': text_encoder,
        'tokenizer': tokenizer,
    }
    if kind == 'marigold':
        fields = {
            'prediction_type': 'depth', 'default_denoising_steps': 3,
            'default_processing_resolution': 64, 'scale_invariant': True, 'shift_invariant': True,
        }  # fmt: skip
        pipeline: Any = diffusers.MarigoldDepthPipeline(**parts, **{**fields, **index})
    else:
        pipeline = diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipeline.save_pretrained(folder)
    return folder
