"""What the latent methods ask of their config and of a draw, in one wording for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..errors import MetricDepthError
from ..types import Conditioning
from .latent import LatentConfig, LatentNetwork
from .sampling import check_draw


class LatentMethodConfig:
    """Base of the methods' configs, frozen dataclasses `<Method>Config` with a field `latent`."""

    latent: LatentConfig

    def __post_init__(self) -> None:
        if isinstance(self.latent, Mapping):  # as JSON has it
            object.__setattr__(self, 'latent', LatentConfig(**self.latent))

    def expect(self, name: str, holds: bool, expected: str) -> None:
        """Raise MetricDepthError, naming the field and its value, unless `holds`."""
        if not holds:
            method = type(self).__name__.removesuffix('Config')
            raise MetricDepthError(
                f'{method} config has {name} {getattr(self, name)}, expected {expected}'
            )

    def expect_shares(self, *names: str) -> None:
        """Of fields that are None or from 0 to 1."""
        for name in names:
            value = getattr(self, name)
            self.expect(name, value is None or 0 <= value <= 1, '0 to 1')


class _Sampled(Protocol):
    """A latent method that denoises in steps."""

    multiple_of: int
    latent: LatentNetwork
    config: Any


def checked_steps(
    method: _Sampled, conditioning: Conditioning, num_samples: int, num_steps: int | None
) -> int:
    """How many steps a draw takes, the config's if num_steps is None.

    Raises:
        MetricDepthError: see check_draw; more steps than the network was trained for.
    """
    steps: int = method.config.num_steps if num_steps is None else num_steps
    most = method.latent.num_train_steps
    check_draw(conditioning, num_samples, steps, multiple_of=method.multiple_of, most_steps=most)
    return steps
