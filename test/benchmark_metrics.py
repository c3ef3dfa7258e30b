"""How long a set takes to score, model time excluded: every metric, by every alignment.

    python test/benchmark_metrics.py [--frames 1000] [--size 640x480] [--workers 2]

Frames are made beforehand, a few of them, with holes as a depth camera leaves them, and scored
again and again. Prints wall-clock and processor seconds. Nothing here is a test: pytest does not
collect it, and no number is asserted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor

from metric_depth_ros.alignment import ALIGNMENTS
from metric_depth_ros.evaluation.boundaries import score_boundaries
from metric_depth_ros.evaluation.protocols import Protocol
from metric_depth_ros.evaluation.quantity import quantity_evidence
from metric_depth_ros.evaluation.scores import POOLINGS, pool_scores
from metric_depth_ros.types import Camera

DISTINCT = 8


def make_frames(width: int, height: int) -> list[tuple[Tensor, Tensor]]:
    """Predictions and truths (H, W): steps and slopes, noise of 10 %, a tenth of it holes."""
    generator = torch.Generator().manual_seed(0)
    frames = []
    for _ in range(DISTINCT):
        coarse = 1 + 9 * torch.rand(1, 1, 6, 8, generator=generator)
        truth = torch.nn.functional.interpolate(coarse, (height, width))[0, 0]
        truth = truth + torch.linspace(0, 2, height)[:, None]
        smooth = torch.randn(1, 1, 12, 16, generator=generator)
        smooth = torch.nn.functional.interpolate(smooth, (height, width), mode='bicubic')[0, 0]
        prediction = truth * torch.exp(0.1 * smooth)
        holes = torch.rand(1, 1, 48, 64, generator=generator) < 0.1
        holes = torch.nn.functional.interpolate(holes.float(), (height, width))[0, 0] > 0
        frames.append((prediction, truth.masked_fill(holes, torch.nan)))
    return frames


def score_all_alignments(count: int, width: int, height: int) -> tuple[float, float]:
    """Seconds, by the wall and of the processor."""
    protocols = [Protocol(name, name, crop='eigen') for name in ALIGNMENTS]
    found = {protocol.name: [] for protocol in protocols}

    def one(prediction: Tensor, truth: Tensor) -> None:
        for protocol in protocols:
            found[protocol.name].append(protocol.score(prediction, truth))

    seconds = timed(one, count, width, height)
    for scores in found.values():
        for pooling in POOLINGS:
            pool_scores(scores, pooling)
    return seconds


def score_plainly(count: int, width: int, height: int) -> tuple[float, float]:
    protocol = Protocol('plain')
    return timed(lambda d, t: protocol.score(d, t), count, width, height)


def score_boundaries_and_quantity(count: int, width: int, height: int) -> tuple[float, float]:
    camera = Camera(width * 0.8, width * 0.8, width / 2 - 0.5, height / 2 - 0.5, width, height)

    def one(prediction: Tensor, truth: Tensor) -> None:
        score_boundaries(prediction, truth)
        quantity_evidence(prediction, truth, camera)

    return timed(one, count, width, height)


def timed(
    one: Callable[[Tensor, Tensor], object], count: int, width: int, height: int
) -> tuple[float, float]:
    torch.set_num_threads(1)
    frames = make_frames(width, height)
    one(*frames[0])
    wall, processor = time.perf_counter(), time.process_time()
    for i in range(count):
        one(*frames[i % DISTINCT])
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--frames', type=int, default=1000)
    parser.add_argument('--size', default='640x480')
    parser.add_argument('--workers', type=int, default=2)
    args = parser.parse_args()
    width, height = (int(x) for x in args.size.split('x'))
    share = -(-args.frames // args.workers)
    print(f'{share * args.workers} frames of {args.size}, {args.workers} processes')
    with ProcessPoolExecutor(args.workers, mp_context=get_context('spawn')) as pool:
        for name, job in (
            ('all metrics, no alignment', score_plainly),
            (f'all metrics, each of {len(ALIGNMENTS)} alignments', score_all_alignments),
            ('boundaries and quantity check', score_boundaries_and_quantity),
        ):
            done = [pool.submit(job, share, width, height) for _ in range(args.workers)]
            seconds = [future.result() for future in done]
            wall, processor = max(w for w, _ in seconds), sum(p for _, p in seconds)
            print(f'{name:45} {wall:7.1f} s wall {processor:7.1f} s processor')


if __name__ == '__main__':
    main()
