"""README.md of a checkpoint: what a person should know before trusting the model."""

from __future__ import annotations

import dataclasses

import torch

from ..checkpoint import Card
from ..evaluation.metrics import PLAIN, Scores
from .recipe import Recipe
from .validation import NUM_SAMPLES, HeldOutReport


def model_card(
    recipe: Recipe,
    method: torch.nn.Module,
    card: Card,
    report: HeldOutReport,
    curve: list[dict[str, float]],
) -> str:
    """Markdown. Every figure in it comes from the arguments."""
    parameters = sum(p.numel() for p in method.parameters())
    seconds = sum(line['seconds'] for line in curve)
    rows = '\n'.join(
        _row(name, scores)
        for name, scores in (
            (f'**{recipe.name}**', report.model),
            ('best constant', report.constant),
            ('mean of each image row', report.rows),
        )
    )
    step = max(1, len(curve) // 12)
    points = '\n'.join(
        f'| {line["step"]:.0f} | {line["loss"]:.4f} | {line["abs_rel"]:.3f} '
        f'| {line["delta1"]:.3f} |'
        for line in curve[step - 1 :: step]
    )
    fields = '\n'.join(f'{k}: {v}' for k, v in dataclasses.asdict(recipe).items())
    return f"""# {recipe.name}

Metric depth along z, in metres, with its standard deviation, from one image and its camera.
Method: {recipe.method}, preset `{recipe.preset}`, {parameters:,} parameters.
Licence: {recipe.licence}. Source: {recipe.source}.

## What it was trained on

{recipe.data.frames:,} procedural frames ({recipe.data.scenes} scenes) of
{recipe.data.width}x{recipe.data.height} pixels, no real image: {recipe.steps:,} steps of
{recipe.batch_size} frames, {seconds / 60:.0f} minutes.

## How good it is

{report.frames} held-out frames: unseen scenes, textures and fields of view; {NUM_SAMPLES} samples,
protocol `{PLAIN.name}` (no alignment, 0.1 to 80 m, mean over frames). The two baselines know the
truth of these very frames.

| | AbsRel | RMSE (m) | SILog | delta1 |
|---|---|---|---|---|
{rows}

Its one sigma holds {report.coverage[0]:.1%} of the errors there, two sigma
{report.coverage[1]:.1%} (a Gaussian's: 68.3% and 95.4%).
Calibration: std = hypot({card.calibration.std_scale:.3f} x spread,
{card.calibration.std_floor:.3f} x depth).

Expect worse on real images, above all on scenes unlike rooms and streets.

## Training curve

| step | loss | AbsRel | delta1 |
|---|---|---|---|
{points}

## Recipe

Made by `metric-depth train`. The same recipe and seed make the same model with the same version of
the package, up to rounding.

```
{fields}
```
"""


def _row(name: str, scores: Scores) -> str:
    return (
        f'| {name} | {scores.abs_rel:.3f} | {scores.rmse:.2f} | {scores.silog:.1f} '
        f'| {scores.delta1:.3f} |'
    )
