"""`metric-depth evaluate`: models, or somebody's depth maps, on sets of frames with true depth."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MetricDepthError
from .arguments import add_model_arguments, predictor_of
from .progress import progress_bars

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..evaluation.evaluation import Evaluation
    from ..evaluation.frame_sets import FrameSet
    from ..evaluation.metrics import Protocol
    from ..evaluation.page import Picture
    from ..evaluation.sources import Source

_NAMED = 5  # frames without a score that are named in the terminal; the files have all
PROTOCOL_NAMES = (
    'plain', 'plain-pixel', 'plain-ray', 'grin', 'grin-relative', 'sharpdepth', 'betterdepth',
    'depthmaster', 'metricgold',
)  # fmt: skip
BENCHMARK_NAMES = ('kitti', 'nyuv2', 'scannet', 'sunrgbd', 'ddad', 'diode')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'evaluate',
        help='score models on datasets with true depth',
        description='Score models, or depth maps that somebody else made, on frames with true '
        'depth, beside baselines that look at no image: the best constant, the median depth and '
        'the mean of each image row, which all know the truth of these frames. OUT gets page.html '
        'with tables, curves and pictures, results.json and frames.csv; run again, what was '
        'stopped goes on from there.',
        epilog='example: metric-depth render --out held/ --split heldout --frames 200 && '
        'metric-depth evaluate --data held/manifest.jsonl --out results/',
    )
    parser.add_argument(
        '--data', type=Path, nargs='+', required=True, metavar='DATA',
        help='manifests, folders with a manifest.jsonl, or bags with true depth',
    )  # fmt: skip
    parser.add_argument('--out', type=Path, help='folder for the page, the numbers and pictures')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write results.json here, too')
    parser.add_argument('--no-pictures', action='store_true', help='no frames on the page')
    protocol = parser.add_argument_group('how to judge')
    protocol.add_argument(
        '--protocol', choices=PROTOCOL_NAMES, metavar='P',
        help='of which paper: alignment, range and crop; one of %(choices)s; plain, with and '
        'without the scale of each frame forgiven, unless told',
    )  # fmt: skip
    protocol.add_argument(
        '--benchmark', choices=BENCHMARK_NAMES, metavar='B',
        help='crop and range as the papers have them on %(choices)s',
    )  # fmt: skip
    protocol.add_argument(
        '--no-boundaries', action='store_true',
        help='do not score how well edges are drawn, a tenth of a second for 640x480',
    )  # fmt: skip
    protocol.add_argument(
        '--still', action='store_true',
        help='camera and scene stand still: say how depth flickers, too',
    )  # fmt: skip
    model = parser.add_argument_group('models')
    add_model_arguments(model, several=True, default=None)
    model.add_argument(
        '--regression',
        action='store_true',
        help='also score what each model says without diffusion',
    )
    model.add_argument(
        '--fit-calibration', type=Path, metavar='FOLDER',
        help='fit the error bar of the one model on every other frame, judge it on the rest, and '
        'write a checkpoint that has it',
    )  # fmt: skip
    made = parser.add_argument_group("somebody else's depth maps")
    made.add_argument(
        '--predictions', type=Path, nargs='+', default=[], metavar='DIR',
        help='folders of npy, 16-bit png, exr or pfm, named as the images; metres along z',
    )  # fmt: skip
    made.add_argument(
        '--predictions-scale', type=float, metavar='METRES',
        help='metres a unit of their files; else 0.001 of png and 1 of all others',
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from ..evaluation.analysis import analyse
    from ..evaluation.evaluation import all_results, warnings
    from ..evaluation.evaluation_files import write_evaluation_csv, write_evaluation_json
    from ..evaluation.frame_sets import open_frames
    from ..evaluation.page import ModelOnSet, Page
    from ..evaluation.side_tables import printed, side_tables
    from ..evaluation.tables import tables

    _check(args)
    sets = [open_frames(path) for path in args.data]
    protocols = _protocols(args)
    if args.fit_calibration is not None:
        return _fit(args, sets)
    evaluations: list[Evaluation] = []
    pictures: list[tuple[Picture, ...]] = []
    with progress_bars() as bars:
        for source in _sources(args, sets):
            for frames in sets:
                evaluations.append(_evaluate(args, source, frames, protocols, bars))
                pictures.append(_pictures(args, source, frames, evaluations[-1], bars))
    if not any(evaluation.frames for evaluation in evaluations):
        first = next(e.unscored[0] for e in evaluations if e.unscored)
        raise MetricDepthError(f'no frame could be scored: {first.name}: {first.reason}')
    results = all_results(evaluations)
    analyses = [analyse(evaluation, still=args.still) for evaluation in evaluations]
    console = Console()
    models = {evaluation.model for evaluation in evaluations}
    for table in tables(results, protocols, models):
        console.print(table)
    for data in dict.fromkeys(evaluation.data for evaluation in evaluations):
        pairs = zip(evaluations, analyses, strict=True)
        for side in side_tables({e.model: analysis for e, analysis in pairs if e.data == data}):
            console.print(printed(side))
    for line in warnings(evaluations):
        console.print(line, style='bold red', highlight=False, markup=False, soft_wrap=True)
    for line in unscored_lines(evaluations):
        console.print(line, style='yellow', highlight=False, markup=False, soft_wrap=True)
    if args.json is not None:
        write_evaluation_json(args.json, results, evaluations, analyses)
    if args.out is not None:
        write_evaluation_json(args.out / 'results.json', results, evaluations, analyses)
        write_evaluation_csv(args.out / 'frames.csv', evaluations)
        shown = (ModelOnSet(*parts) for parts in zip(evaluations, analyses, pictures, strict=True))
        facts = {
            'models': '; '.join(dict.fromkeys(e.model for e in evaluations)),
            'data': ', '.join(frames.name for frames in sets),
            'protocol': '; '.join(f'{p.name}: {p.describe()}' for p in protocols),
        }
        if warnings(evaluations):
            facts['beware'] = '; '.join(warnings(evaluations))
        page = Page('Depth evaluation', facts, protocols, tuple(results), tuple(shown), {})
        (args.out / 'page.html').write_text(page.html(), encoding='utf-8')
        print(f'in {args.out}: page.html, results.json, frames.csv')
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.model is None:
        args.model = [] if args.predictions else ['default']
    if args.fit_calibration is not None and (args.predictions or len(args.model) != 1):
        raise MetricDepthError('--fit-calibration needs one --model and no --predictions')


def _protocols(args: argparse.Namespace) -> tuple[Protocol, ...]:
    from ..evaluation.evaluation import DEFAULT_PROTOCOLS
    from ..evaluation.metrics import PROTOCOLS

    chosen = DEFAULT_PROTOCOLS if args.protocol is None else (PROTOCOLS[args.protocol],)
    return tuple(protocol.on(args.benchmark or '') for protocol in chosen)


def _sources(args: argparse.Namespace, sets: Sequence[FrameSet]) -> Iterator[Source]:
    """One after the other, so that no two models fill the memory."""
    from ..evaluation.sources import CoarseSource, FolderSource, ModelSource, has_coarse

    used: dict[str, int] = {}

    def unlike_others(source: Source) -> Source:
        count = used[source.name] = used.get(source.name, 0) + 1
        if count > 1:
            source.name = f'{source.name} ({count})'
        return source

    for model in args.model:
        predictor = predictor_of(args, model)
        yield unlike_others(ModelSource(predictor))
        if args.regression and has_coarse(predictor):
            yield unlike_others(CoarseSource(predictor))
        elif args.regression:
            raise MetricDepthError(
                f'--regression: model {predictor.name!r} has nothing to say without diffusion'
            )
    if args.predictions:
        names = [file.name for frames in sets for file in frames]
        for folder in args.predictions:
            yield unlike_others(FolderSource(folder, names, scale=args.predictions_scale))


def _evaluate(
    args: argparse.Namespace,
    source: Source,
    frames: FrameSet,
    protocols: Sequence[Protocol],
    bars: Progress,
) -> Evaluation:
    from ..evaluation.evaluate import cache_settings, evaluate
    from ..evaluation.score_cache import ScoreCache

    cache, boundaries = None, not args.no_boundaries
    if args.out is not None:
        settings = cache_settings(source, frames, protocols, boundaries=boundaries)
        cache = ScoreCache(args.out / 'scores', settings)
    task = bars.add_task(f'{source.name} on {frames.name}', total=len(frames))
    return evaluate(
        source,
        frames,
        protocols=protocols,
        boundaries=boundaries,
        cache=cache,
        progress=lambda: bars.advance(task),
    )


def _pictures(
    args: argparse.Namespace,
    source: Source,
    frames: FrameSet,
    evaluation: Evaluation,
    bars: Progress,
) -> tuple[Picture, ...]:
    from ..evaluation.gallery import save_frames

    if args.out is None or args.no_pictures:
        return ()
    task = bars.add_task('drawing pictures', total=None)
    drawn = save_frames(source, frames, evaluation, args.out / 'pictures')
    bars.remove_task(task)
    return drawn


def unscored_lines(evaluations: Sequence[Evaluation]) -> list[str]:
    """What could not be scored, counted, the first few by name and reason."""
    lines = []
    for evaluation in evaluations:
        missing = evaluation.unscored
        if not missing:
            continue
        total = len(missing) + len(evaluation.frames)
        lines.append(
            f'{len(missing)} of {total} frames of {evaluation.data} not scored for '
            f'{evaluation.model}:'
        )
        lines += [f'  {frame.name}: {frame.reason}' for frame in missing[:_NAMED]]
        if len(missing) > _NAMED:
            lines.append(f'  and {len(missing) - _NAMED} more')
    return lines


def _fit(args: argparse.Namespace, sets: Sequence[FrameSet]) -> int:
    from ..evaluation.error_bar import fit_error_bar, save_calibrated

    predictor = predictor_of(args, args.model[0])
    with progress_bars() as bars:
        task = bars.add_task('predicting', total=sum(len(frames) for frames in sets))
        fit = fit_error_bar(predictor, sets, progress=lambda: bars.advance(task))
    scale = args.scale if args.coarse is None else None  # else it is the coarse model's
    save_calibrated(args.fit_calibration, args.model[0], fit.calibration, scale=scale)
    for name, before, after in (
        ('within one sigma', fit.before.coverage_1, fit.after.coverage_1),
        ('within two sigma', fit.before.coverage_2, fit.after.coverage_2),
    ):
        print(f'{name}: {before:.1%} before, {after:.1%} now')
    if not fit.is_better:
        print('no better than before: take more frames, and more different ones')
    for missing in fit.unused:
        print(f'not used: {missing.name}: {missing.reason}')
    print(
        f'fitted on {fit.fitted_on} frames, judged on {fit.judged_on} others; checkpoint in '
        f'{args.fit_calibration}'
    )
    return 0
