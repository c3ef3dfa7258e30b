"""What training begins with: random weights, or those of another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint import find, load
from ..errors import MetricDepthError
from ..layouts.card import load_tensors
from ..layouts.latent import begin_with_extra, is_latent
from ..methods import METHODS
from ..nn import latent_folder
from .recipe import Recipe

# Weights of the networks that stay as they are, by the part of the method that looks through them;
# the folder's README says where they are from.
_FOLDER = Path(__file__).parent / 'pretrained'
PRETRAINED = {
    'pretrained': _FOLDER / 'mobilenet-v2.safetensors',
    'prior': _FOLDER / 'fastdepth.safetensors',
}


def initial_method(recipe: Recipe) -> Any:
    """The method as training begins: random, or with the weights of the recipe's `base`.

    Raises:
        MetricDepthError: there is no such base, or it does not fit.
    """
    kind, config = METHODS[recipe.method], recipe.architecture()
    if recipe.base is None:
        return _begun(kind, config)
    if is_latent(kind):
        folder = find(recipe.base)
        method = kind.on(latent_folder.load(folder), config)
        begin_with_extra(folder, method)
        return method
    method = _begun(kind, config)
    take_weights(method, load(recipe.base).method, recipe.base)
    return method


def _begun(kind: Any, config: Any) -> Any:
    """A method with random weights, but those that are given for what has learned before."""
    method = kind(config)
    for part, path in PRETRAINED.items():
        looking = getattr(method, part, None)
        if looking is not None:
            network = looking.network
            network.load_state_dict(load_tensors(path, network.state_dict()))
    return method


def take_weights(method: nn.Module, base: Any, name: str) -> None:
    """Begin `method` with the weights of `base`, a method of its kind.

    Modules that only `method` has (its MAY_BEGIN_ANEW) stay as they are.

    Raises:
        MetricDepthError: `base` is of another kind, or its architecture is another.
    """
    if type(base) is not type(method):
        raise MetricDepthError(
            f'base is {name!r}, a {type(base).__name__}, expected a {type(method).__name__}'
        )
    given, wanted = base.state_dict(), method.state_dict()
    anew = tuple(f'{part}.' for part in getattr(method, 'MAY_BEGIN_ANEW', ()))
    differing = [
        key
        for key in given.keys() | wanted.keys()
        if (key not in given and not key.startswith(anew))
        or (key in given and (key not in wanted or given[key].shape != wanted[key].shape))
    ]
    if differing:
        key = min(differing)
        shapes = [list(s[key].shape) if key in s else 'missing' for s in (given, wanted)]
        raise MetricDepthError(
            f'base {name!r} has another architecture than the recipe, in {len(differing)} '
            f'tensors: {key} is {shapes[0]}, expected {shapes[1]}; give the recipe the preset '
            f'and the config that the base was trained with'
        )
    method.load_state_dict({**wanted, **given})


@torch.no_grad()
def approach(method: nn.Module, goal: nn.Module, share: float) -> None:
    """Move the weights and statistics of `method` by `share` of the way to those of `goal`."""
    goals = goal.state_dict()
    for key, value in method.state_dict().items():
        if value.is_floating_point():
            value.lerp_(goals[key], share)
