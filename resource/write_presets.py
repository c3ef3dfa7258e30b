"""Write metric_depth_ros/presets.json anew: to be run when a method or a preset has changed."""

from __future__ import annotations

import json
from typing import Any

import torch

from metric_depth_ros.catalogue import PRESETS
from metric_depth_ros.layouts.latent import is_latent
from metric_depth_ros.methods import METHODS


def presets() -> list[dict[str, Any]]:
    """What presets.json says, from the methods themselves."""
    found = []
    for method, kind in METHODS.items():
        for name, config in kind.PRESETS.items():
            with torch.device('meta'):
                network = kind(config())
            found.append({
                'name': name,
                'method': method,
                'parameters': sum(p.numel() for p in network.parameters()),
                'source': kind.SOURCE,
                'needs': 'diffusers' if is_latent(kind) else None,
            })  # fmt: skip
    return found


if __name__ == '__main__':
    PRESETS.write_text(json.dumps(presets(), indent=2) + '\n')
