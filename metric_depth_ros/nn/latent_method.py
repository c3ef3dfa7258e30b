"""What the latent methods ask of their config and of a draw, in one wording for all."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import MetricDepthError
from ..types import Conditioning
from .latent import LatentConfig


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


def check_draw(
    conditioning: Conditioning,
    num_samples: int,
    num_steps: int,
    *,
    multiple_of: int,
    most_steps: int | None = None,
) -> None:
    """What every draw of a latent method needs.

    Raises:
        MetricDepthError: a size that does not fit, no sample, no step or more than `most_steps`.
    """
    conditioning.expect_multiple_of(multiple_of)
    if num_samples < 1:
        raise MetricDepthError(f'num_samples is {num_samples}, expected at least 1')
    if num_steps < 1 or (most_steps is not None and num_steps > most_steps):
        expected = 'at least 1' if most_steps is None else f'1 to {most_steps}'
        raise MetricDepthError(f'num_steps is {num_steps}, expected {expected}')
