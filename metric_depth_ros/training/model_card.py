"""README.md of a checkpoint: what a person should know before trusting the model."""

from __future__ import annotations

import dataclasses

import torch

from ..calibration import Calibration
from ..checkpoint import Card
from ..evaluation.metrics import CONFIDENCE_LEVELS, PLAIN, Scores
from .judging import NEAR_M, SetScores
from .recipe import Recipe
from .validation import NUM_SAMPLES, OPEN_FROM_M, OPEN_SHARE, HeldOutReport, Part

_CURVE_LINES = 12
_FROZEN = {  # part of the method: what is said of it
    'pretrained': """
Beside its own encoder it looks through a MobileNetV2 that others trained on photographs
(Open Images V4) and that training left as it was: training/pretrained/README.md in the
package says where it is from.
""",
    'prior': """
In rooms the shape of its depth, not its scale, is averaged with that of FastDepth, which others
trained on rooms seen by a depth camera (**NYU Depth V2, so that NYU is no unseen data for this
model**), as far as the two agree: the same README.md says where it is from.
""",
}
_CURVE_COLUMNS = {  # key of a line of the curve: heading, decimals
    'step': ('step', 0),
    'loss': ('loss', 4),
    'abs_rel': ('AbsRel held out', 3),
    'train_abs_rel': ('AbsRel trained on', 3),
    'delta1': ('delta1 held out', 3),
}


def model_card(
    recipe: Recipe,
    method: torch.nn.Module,
    card: Card,
    report: HeldOutReport,
    judged: dict[str, SetScores],
    curve: list[dict[str, float]],
) -> str:
    """Markdown. Every figure in it comes from the arguments."""
    unpublished = tuple(f'{name}.' for name in getattr(method, 'TRAINING_ONLY', ()))
    published = [p for name, p in method.named_parameters() if not name.startswith(unpublished)]
    parameters = sum(p.numel() for p in published)
    seconds = sum(line['seconds'] for line in curve)
    sources = '\n'.join(f'- {source.describe()}' for source in recipe.data)
    begins = '' if recipe.base is None else f'\nIt began with the weights of `{recipe.base}`.\n'
    if recipe.base_share:
        begins += (
            f'What is saved lies {recipe.base_share:.0%} of the way back to them from what was '
            f'learned;\nthe curve below is of what was learned.\n'
        )
    for part, said in _FROZEN.items():
        if getattr(method, part, None) is not None:
            begins += said
    fields = '\n'.join(f'{k}: {v}' for k, v in dataclasses.asdict(recipe).items())
    return f"""# {recipe.name}

Metric depth along z, in metres, with its standard deviation, from one image and its camera.
Method: {recipe.method}, preset `{recipe.preset}`, {parameters:,} parameters.
Licence: {recipe.licence}. Source: {recipe.source}.

## What it was trained on

{sources}

{recipe.steps:,} steps of {recipe.batch_size} frames, {seconds / 60:.0f} minutes.
{begins}
{accuracy(recipe.name, report)}

{edges(judged)}

{error_bar(card, report)}

Expect worse on real images, above all on scenes unlike rooms and streets.

## Training curve

{curve_table(curve)}

## Recipe

Made by `metric-depth train`. The same recipe and seed make the same model with the same version of
the package, up to rounding.

```
{fields}
```
"""


def accuracy(name: str, report: HeldOutReport) -> str:
    """The section on depth: the model beside baselines, then by kinds of frames and pixels."""
    rows = [(f'**{name}**', report.model)]
    if report.regression is not None:
        rows.append(('its regression head alone, no diffusion', report.regression))
    rows += [('best constant', report.constant), ('mean of each image row', report.rows)]
    overall = '\n'.join(_row(title, scores) for title, scores in rows)
    parts = ''.join(
        _breakdown(title, part)
        for title, part in (
            ('horizontal field of view', report.by_fov),
            ('lens', report.by_lens),
            ('place', report.by_place),
            ('true depth', report.by_range),
        )
    )
    return f"""## How good it is

{report.frames} held-out frames: unseen scenes, textures and fields of view; {NUM_SAMPLES} samples,
protocol `{PLAIN.name}` (no alignment, 0.1 to 80 m, mean over frames; by true depth: over pixels).
The two baselines know the truth of these very frames. Outdoor: {OPEN_SHARE:.1%} or more of the
view is sky or farther than {OPEN_FROM_M:.0f} m.

| | AbsRel | RMSE (m) | SILog | delta1 |
|---|---|---|---|---|
{overall}

| {name} by | frames | AbsRel | RMSE (m) | SILog | delta1 |
|---|---|---|---|---|---|
{parts.rstrip()}"""


def edges(judged: dict[str, SetScores]) -> str:
    """The section on edges and the near range: the model, and what it refines alone."""
    rows = '\n'.join(
        f'| {title} | {s.plain.abs_rel:.3f} | {s.near_abs_rel:.3f} | {s.plain.delta1:.3f} '
        f'| {s.boundary_error:.2f} | {s.boundary_f1:.3f} |'
        for title, s in judged.items()
    )
    return f"""## How sharp it is

On the first of these frames. Boundary error: mean of accuracy and completeness of the pseudo depth
boundaries (SharpDepth), pixels of the working size; F1: Depth Pro's.

| | AbsRel | AbsRel below {NEAR_M:g} m | delta1 | boundary error (px) | boundary F1 |
|---|---|---|---|---|---|
{rows}"""


def error_bar(card: Card, report: HeldOutReport) -> str:
    """The section on the standard deviation."""
    scores = report.uncertainty
    confident = '\n'.join(
        f'| surest {share:.0%} of the pixels | {rmse:.2f} |'
        for share, rmse in zip(CONFIDENCE_LEVELS, scores.confident_rmse, strict=True)
    )
    return f"""## How far to trust its error bar

| | std | ideal |
|---|---|---|
| share of errors within one sigma | {scores.coverage_1:.3f} | 0.683 |
| share of errors within two sigma | {scores.coverage_2:.3f} | 0.954 |
| rank correlation with the absolute error | {scores.spearman:.2f} | 1 |
| rank correlation with the relative error | {scores.spearman_relative:.2f} | 1 |

| area under the sparsification error | std | a constant | ideal |
|---|---|---|---|
| absolute error | {scores.ause:.3f} | {scores.ause_constant:.3f} | 0 |
| relative error | {scores.ause_relative:.3f} | {scores.ause_relative_constant:.3f} | 0 |

| | RMSE (m) |
|---|---|
{confident}

{calibration_text(card.calibration)}, fitted on other held-out frames than these.

{spoiled(report)}"""


def spoiled(report: HeldOutReport) -> str:
    """The error bar on frames that the model does not know what to make of."""
    if report.spoiled is None or report.spoiled_unheeded is None:
        return ''
    rows = (
        ('share of errors within one sigma', 'coverage_1'),
        ('share of errors within two sigma', 'coverage_2'),
        ('rank correlation with the absolute error', 'spearman'),
    )
    lines = '\n'.join(
        f'| {title} | {getattr(report.spoiled, name):.3f} '
        f'| {getattr(report.spoiled_unheeded, name):.3f} |'
        for title, name in rows
    )
    return f"""On held-out frames spoiled by noise, a veil or blur, or hung upside down,
with their truth as before:

| | std | if it did not heed novelty |
|---|---|---|
{lines}"""


def calibration_text(calibration: Calibration) -> str:
    """The formula of the standard deviation with its numbers."""
    factors = ', '.join(
        f'{factor:.2f} at {depth:g} m'
        for depth, factor in zip(calibration.range_depths, calibration.range_factors, strict=True)
    )
    return (
        f'Calibration: std = hypot({calibration.std_scale:.3f} x spread, '
        f'{calibration.std_floor:.3f} x depth)\nx a factor of the range ({factors})\n'
        f'x (1 + e / 0.01) ** {calibration.edge_power:.2f}, where e is the logarithm of farthest '
        f'over nearest\namong a pixel and its neighbours\n'
        f'x novelty of the picture ** {calibration.novelty_picture:.2f} x novelty of the features '
        f'** {calibration.novelty_features:.2f},\nwhere those are above 1, as usual'
    )


def curve_table(curve: list[dict[str, float]]) -> str:
    """About a dozen lines of the training curve, the last among them."""
    columns = {key: value for key, value in _CURVE_COLUMNS.items() if curve and key in curve[-1]}
    step = max(1, len(curve) // _CURVE_LINES)
    lines = [
        '| ' + ' | '.join(heading for heading, _ in columns.values()) + ' |',
        '|' + '---|' * len(columns),
    ]
    for line in reversed(curve[::-1][::step]):
        cells = (
            f'{line[key]:.{places}f}' if key in line else ''
            for key, (_, places) in columns.items()
        )
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def _breakdown(title: str, parts: tuple[Part, ...]) -> str:
    if not parts:
        return ''
    rows = [_row(f'{part.name} | {part.frames}', part.scores) for part in parts]
    return '\n'.join([f'| *{title}* | | | | | |', *rows, ''])


def _row(name: str, scores: Scores) -> str:
    return (
        f'| {name} | {scores.abs_rel:.3f} | {scores.rmse:.2f} | {scores.silog:.1f} '
        f'| {scores.delta1:.3f} |'
    )
