"""`metric-depth replay`: a bag in; predictions as a bag, metrics, a table and pictures out."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MetricDepthError
from .arguments import add_model_arguments, predictor_of
from .progress import progress_bars

if TYPE_CHECKING:
    from ..bags.reader import Bag, BagFrame
    from ..bags.topics import Topics
    from ..evaluation.recording import Recorder
    from ..evaluation.replay import Outcome, ReplayReport


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'replay',
        help='play a bag to a model and see how good it is',
        description='Play the camera of a ROS 1 or ROS 2 bag to a model. OUT gets a bag with '
        'depth, uncertainty and clouds for RViz, page.html, metrics.json, frames.csv and '
        'pictures. Where the bag has true depth, the metrics stand beside those of baselines.',
        epilog='example: metric-depth replay drive.mcap --out replay/ --live --rate 0.5',
    )
    parser.add_argument(
        'bag', type=Path, help='a rosbag2 folder, a .mcap or .db3 file, or a ROS 1 .bag'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for everything made')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write metrics.json here, too')
    model = parser.add_argument_group('model')
    add_model_arguments(model)
    what = parser.add_argument_group('what to read; found by type and name unless told')
    what.add_argument('--image', metavar='TOPIC')
    what.add_argument('--camera-info', metavar='TOPIC')
    what.add_argument('--depth', metavar='TOPIC', help='true depth, registered to the image')
    what.add_argument('--max-frames', type=int, metavar='N', help='stop after the first N images')
    live = parser.add_argument_group('through the running node')
    live.add_argument(
        '--live', action='store_true', help='play in real time to a depth_node over DDS'
    )
    live.add_argument(
        '--attach', action='store_true', help='to a node that runs already; implies --live'
    )
    live.add_argument('--rate', type=float, metavar='R', help='times the speed of the bag')
    parser.add_argument(
        '--no-points', action='store_true', help='leave the clouds out of the written bag'
    )
    parser.add_argument('--no-pictures', action='store_true', help='only the bag and the numbers')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from ..bags.reader import Bag
    from ..evaluation.gallery import save_gallery
    from ..evaluation.recording import Recorder
    from ..evaluation.replay_page import replay_page
    from ..evaluation.report import summary, write_csv, write_json

    _check(args)
    with Bag(args.bag) as bag:
        topics = bag.find_topics(args.image, args.camera_info, args.depth)
        args.out.mkdir(parents=True, exist_ok=True)
        with Recorder(args.out / 'bag', points=not args.no_points) as recorder:
            play = _replay_live if args.live or args.attach else _replay_offline
            report = play(args, bag, topics, recorder)
            if not report.frames:
                why = f': {report.problems[0].reason}' if report.problems else ''
                raise MetricDepthError(f'{args.bag}: no frame could be used{why}')
    write_csv(report, args.out / 'frames.csv')
    write_json(report, args.out / 'metrics.json')
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(report, args.json)
    pictures: list[Path] = []
    if not args.no_pictures:
        with Console(stderr=True).status('drawing pictures'):
            pictures = save_gallery(report, args.out / 'bag', args.out)
    page = replay_page(report, pictures).html()
    (args.out / 'page.html').write_text(page, encoding='utf-8')
    console = Console()
    console.print(summary(report))
    console.print(f'in {args.out}:', highlight=False)
    for name in (
        'bag',
        'page.html',
        'metrics.json',
        'frames.csv',
        *(file.name for file in pictures),
    ):
        console.print(f'  {name}', highlight=False)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.rate is not None and not (args.live or args.attach):
        raise MetricDepthError(f'--rate is {args.rate}, which needs --live')
    if args.max_frames is not None and args.max_frames < 1:
        raise MetricDepthError(f'--max-frames is {args.max_frames}, expected at least 1')


def _stop_ns(args: argparse.Namespace, bag: Bag, topics: Topics) -> int | None:
    """When to stop reading, by time of recording; None for never."""
    if args.max_frames is None:
        return None
    return bag.recorded_ns(topics.image, args.max_frames)


def _replay_offline(
    args: argparse.Namespace, bag: Bag, topics: Topics, recorder: Recorder
) -> ReplayReport:
    from ..evaluation.replay import predict_frames, replay

    predictor = predictor_of(args)
    frames = bag.frames(topics, stop_ns=_stop_ns(args, bag, topics))
    with progress_bars() as bars:
        task = bars.add_task('predicting', total=_total(args, bag, topics))
        return replay(
            bag,
            topics,
            predict_frames(frames, predictor),
            recorder,
            model=predictor.name,
            progress=lambda _: bars.advance(task),
        )


def _replay_live(
    args: argparse.Namespace, bag: Bag, topics: Topics, recorder: Recorder
) -> ReplayReport:
    from ..bags.reader import Bag
    from ..evaluation.replay import Outcome, replay
    from ..ros.bag_player import LiveResult, play_through_node
    from ..ros.parameters import Parameters

    rate = 1.0 if args.rate is None else args.rate
    stop_ns = _stop_ns(args, bag, topics)
    total = _total(args, bag, topics)
    # A second reader, so that what is damaged is reported once.
    with Bag(args.bag) as source, progress_bars() as bars:
        task = bars.add_task('playing live', total=total)
        live = play_through_node(
            source.messages((topics.image, topics.camera_info), stop_ns=stop_ns),
            topics,
            parameters=Parameters(
                model=args.model,
                coarse=args.coarse or '',
                scale=args.scale or 0.0,
                device=args.device,
                samples=args.samples or Parameters.samples,
                steps=args.steps or 0,
                seed=args.seed,
            ),
            rate=rate,
            attach=args.attach,
            on_progress=lambda sent, received: bars.update(
                task, completed=sent, description=f'playing live, {received} predicted'
            ),
        )
    if live.log:
        (args.out / 'node.log').write_text('\n'.join(live.log) + '\n')

    def outcome(frame: BagFrame, live: LiveResult) -> Outcome:
        stamp = frame.frame.stamp_ns
        return Outcome(frame, live.predictions.get(stamp), live.latencies_s.get(stamp))

    with progress_bars() as bars:
        task = bars.add_task('recording', total=total)
        report = replay(
            bag,
            topics,
            (outcome(frame, live) for frame in bag.frames(topics, stop_ns=stop_ns)),
            recorder,
            model=live.status.get('model', args.model),
            progress=lambda _: bars.advance(task),
        )
    return replace(report, duration_s=_played_s(report, rate))


def _played_s(report: ReplayReport, rate: float) -> float:
    """Wall-clock seconds from the first image sent to the last depth received."""
    if not report.frames:
        return report.duration_s
    recorded = report.frames[-1].recorded_ns - report.frames[0].recorded_ns
    return recorded / 1e9 / rate + (report.latency_s(0.5) or 0.0)


def _total(args: argparse.Namespace, bag: Bag, topics: Topics) -> int:
    count = bag.count(topics.image)
    return count if args.max_frames is None else min(count, args.max_frames)
