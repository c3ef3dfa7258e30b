"""The arguments that several commands share: which model, on what device, drawn how often."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..predictor import Predictor

MODEL_HELP = 'a name of `metric-depth models`, a checkpoint folder, or a hub id'


def add_model_arguments(
    parser: argparse._ActionsContainer, *, several: bool = False, default: str | None = 'default'
) -> None:
    """Add --model, --coarse, --scale, --samples, --steps, --seed, --device and --precision.

    Args:
        several: whether --model takes a list.
        default: the model where none is told.
    """
    if several:
        chosen = None if default is None else [default]
        parser.add_argument(
            '--model', nargs='+', default=chosen, metavar='M', help=f'each {MODEL_HELP}'
        )
    else:
        parser.add_argument('--model', default=default, metavar='M', help=MODEL_HELP)
    parser.add_argument(
        '--coarse',
        metavar='M',
        help='the model whose depth is refined, for a MODEL that needs one; likewise, or any '
        'public depth model in the layout of transformers',
    )
    parser.add_argument(
        '--scale',
        type=float,
        metavar='METRES',
        help='makes a public model of relative disparity metric: depth = scale / disparity',
    )
    parser.add_argument(
        '--samples',
        type=int,
        metavar='N',
        help='draws an image; else as many as the model says',
    )
    parser.add_argument('--steps', type=int, metavar='T', help='denoising steps a draw')
    parser.add_argument('--seed', type=int, default=0, metavar='S')
    parser.add_argument('--device', default='auto', metavar='D', help="'auto', 'cpu', 'cuda', ...")
    parser.add_argument(
        '--precision',
        default='auto',
        metavar='P',
        help="of the network: 'fp32', 'bf16' or 'fp16'; 'auto' is fp32, and fp16 for latent "
        'methods on a GPU',
    )


def predictor_of(args: argparse.Namespace, model: str | None = None) -> Predictor:
    """The predictor that the arguments of `add_model_arguments` ask for.

    Args:
        model: instead of --model, where that is a list.

    Raises:
        CheckpointError: the checkpoint is missing, incomplete or malformed.
        CoarseModelError: --model and --coarse do not fit together.
    """
    from ..predictor import load_predictor

    return load_predictor(
        args.model if model is None else model,
        device=args.device,
        num_samples=args.samples,
        num_steps=args.steps,
        seed=args.seed,
        coarse=args.coarse,
        scale=args.scale,
        precision=args.precision,
    )
