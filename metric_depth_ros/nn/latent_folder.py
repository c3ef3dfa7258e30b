"""A folder in the public layout of diffusers <-> a latent network.

    model_index.json                        what is in it
    unet/, vae/                             config.json, diffusion_pytorch_model.safetensors
    scheduler/scheduler_config.json
    text_encoder/, tokenizer/               as public models have it, or
    empty_prompt.safetensors                what those make of an empty prompt, as ours have it

Stable Diffusion 2, Marigold and Lotus are published so. Only safetensors are read, nothing is
executed, and every tensor must be there and fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .latent import LatentConfig, LatentError, LatentNetwork, import_diffusers, make_scheduler

INDEX, PROMPT = 'model_index.json', 'empty_prompt.safetensors'
_SCHEDULER_CONFIG = 'scheduler/scheduler_config.json'
_NETWORKS = {'unet': 'UNet2DConditionModel', 'vae': 'AutoencoderKL'}
# Files of a hub's repository that are needed; it may hold the same weights in other formats too.
PATTERNS = (
    INDEX,
    PROMPT,
    *[f'{part}/config.json' for part in (*_NETWORKS, 'text_encoder')],
    *[f'{part}/diffusion_pytorch_model*.safetensors*' for part in _NETWORKS],
    'text_encoder/model*.safetensors*',
    'tokenizer/*',
    _SCHEDULER_CONFIG,
)
EXCEPT = ('*.fp16.*', '*non_ema*', '*.bin')


def is_latent_folder(folder: Path) -> bool:
    """Whether it is in this layout."""
    return (folder / INDEX).is_file()


def read_index(folder: Path) -> dict[str, Any]:
    """What model_index.json says.

    Raises:
        LatentError: it is not there, or not JSON.
    """
    return _read_json(folder / INDEX)


def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> LatentNetwork:
    """The network in `folder`, in eval mode on the CPU.

    Args:
        dtype: float32, float16 or bfloat16, of the weights, whatever the files hold.

    Raises:
        LatentError: a part is missing, of another kind, or its weights do not fit.
    """
    import_diffusers()
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise LatentError(f'dtype is {dtype}, expected float32, float16 or bfloat16')
    configs = {part: _read_config(folder, part) for part in _NETWORKS}
    scheduler = _read_json(folder / _SCHEDULER_CONFIG)
    prompt = _empty_prompt(folder)
    width = configs['unet'].get('cross_attention_dim', prompt.shape[-1])
    if prompt.shape[-1] != width:
        raise LatentError(
            f'{folder}: the empty prompt has {prompt.shape[-1]} channels, expected {width}, the '
            f'cross_attention_dim of unet/config.json'
        )
    sizes = LatentConfig(configs['unet'], configs['vae'], scheduler, tuple(prompt.shape[1:]))
    with torch.device('meta'):  # its weights are about to come
        network = LatentNetwork(sizes)
    network.scheduler = make_scheduler(scheduler)  # outside 'meta', it holds numbers
    for part in _NETWORKS:
        setattr(network, part, _load_network(folder, part, dtype))
    network.empty_prompt = prompt.to(dtype)
    return network.eval()


def save(folder: Path, network: LatentNetwork, *, metric: bool) -> None:
    """Write `network` so that diffusers opens each part, and MarigoldDepthPipeline all of it.

    Args:
        metric: whether what it decodes is metric depth, not up to an unknown scale and shift.
    """
    for part in _NETWORKS:
        getattr(network, part).save_pretrained(folder / part, safe_serialization=True)
    network.scheduler.save_pretrained(folder / 'scheduler')
    save_file({'empty_prompt': network.empty_prompt.cpu().contiguous()}, folder / PROMPT)
    index = {
        '_class_name': 'MarigoldDepthPipeline',
        '_diffusers_version': import_diffusers().__version__,
        'prediction_type': 'depth',
        'scale_invariant': not metric,
        'shift_invariant': not metric,
        'scheduler': ['diffusers', type(network.scheduler).__name__],
        'text_encoder': [None, None],
        'tokenizer': [None, None],
        **{part: ['diffusers', name] for part, name in _NETWORKS.items()},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + '\n')


# --- reading, strictly ------------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError:
        raise LatentError(
            f'{path.parent} has no {path.name}, expected a folder in the layout of Stable '
            f'Diffusion 2, Marigold or Lotus: download all of it'
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LatentError(f'{path} is not JSON: {error}') from None
    if not isinstance(raw, dict):
        raise LatentError(f'{path} is {type(raw).__name__}, expected an object')
    return raw


def _read_config(folder: Path, part: str) -> dict[str, Any]:
    if not (folder / part).is_dir():
        raise LatentError(
            f'{folder} has no {part}/, expected {", ".join(_NETWORKS)} and scheduler: download '
            f'all of it'
        )
    config = _read_json(folder / part / 'config.json')
    if config.get('_class_name', _NETWORKS[part]) != _NETWORKS[part]:
        raise LatentError(
            f'{folder / part} is a {config["_class_name"]}, expected {_NETWORKS[part]}'
        )
    return config


def _load_network(folder: Path, part: str, dtype: torch.dtype) -> torch.nn.Module:
    kind = getattr(import_diffusers(), _NETWORKS[part])
    variant = None
    if not any((folder / part).glob('diffusion_pytorch_model*.safetensors')):
        raise LatentError(
            f'{folder / part} has no diffusion_pytorch_model.safetensors; weights in other '
            f'formats are not read: convert them with save_pretrained of diffusers'
        )
    plain = [
        *(folder / part).glob('diffusion_pytorch_model.safetensors*'),
        *(folder / part).glob('diffusion_pytorch_model-*.safetensors'),
    ]
    if not plain:
        variant = 'fp16'
    try:
        network, report = kind.from_pretrained(
            folder / part,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            variant=variant,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = ' '.join(str(error).split())[:300]
        raise LatentError(f'{folder / part}: the weights do not fit: {reason}') from None
    for title, key in (('lacks', 'missing_keys'), ('has unknown', 'unexpected_keys')):
        if names := sorted(report[key]):
            shown = ', '.join(names[:3])
            raise LatentError(f'{folder / part} {title} {len(names)} tensors: {shown}, ...')
    for name, value in network.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise LatentError(f'{folder / part}: {name} holds values that are not finite')
    return network


def _empty_prompt(folder: Path) -> Tensor:
    """(1, tokens, channels) embedding of ''."""
    if (folder / PROMPT).is_file():
        try:
            tensors = load_file(folder / PROMPT)
        except (SafetensorError, OSError) as error:
            raise LatentError(f'{folder / PROMPT} is not a safetensors file: {error}') from None
        if tensors.keys() != {'empty_prompt'} or tensors['empty_prompt'].ndim != 3:
            raise LatentError(f'{folder / PROMPT}: expected one tensor empty_prompt (1, n, c)')
        return tensors['empty_prompt']
    for part in ('text_encoder', 'tokenizer'):
        if not (folder / part).is_dir():
            raise LatentError(
                f'{folder} has no {part}/ and no {PROMPT}, expected what makes the embedding of '
                f'an empty prompt'
            )
    from transformers import CLIPTextModel, CLIPTokenizer

    where = folder / 'text_encoder'
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / 'tokenizer', local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(
            where, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = ' '.join(str(error).split())[:300]
        raise LatentError(f'{where}: {reason}') from None
    tokens = tokenizer('', return_tensors='pt').input_ids
    with torch.inference_mode():
        embedding = encoder.eval()(tokens)[0]
    return embedding.clone()
