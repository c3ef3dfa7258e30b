"""`metric-depth fuse` as a process: stopped in the middle, and on a disk that is full."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('open3d')

from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.mesh import read_mesh
from metric_depth_ros.mapping.trajectory import read_trajectory
from metric_depth_ros.synthetic.export import write_manifest
from metric_depth_ros.synthetic.trajectory import SequenceFrame

Views = Callable[[int], View]
MAP = {'trajectory.txt', 'mesh.ply', 'cloud.ply'}
FRAMES, AGAIN = 6, 500  # more than a process could fuse before it hears of a signal


@pytest.fixture(scope='module')
def manifest(corner_view: Views, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera that goes there again and again."""
    folder = tmp_path_factory.mktemp('manifests')
    views = map(corner_view, range(FRAMES))
    frames = [
        SequenceFrame(v.frame, v.prediction.depth, v.prediction.depth, v.world_from_camera)
        for v in views
    ]
    list(write_manifest(frames, folder, 'walk'))
    path = folder / 'manifest.jsonl'
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        '\n'.join(
            json.dumps(line | {'stamp': line['stamp'] + FRAMES * times})
            for times in range(AGAIN)
            for line in lines
        )
    )
    return path


def start(manifest: Path, out: Path, *more: str, biggest: int | None = None) -> subprocess.Popen:
    """Args: biggest: bytes that a file may have, as a disk would that is full."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
        if biggest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (biggest, biggest))

    return subprocess.Popen(
        [sys.executable, '-m', 'metric_depth_ros.cli.main', 'fuse', str(manifest)]
        + ['--out', str(out), '--depth', 'truth', '--voxel', '0.05', '--no-pictures', *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )


def wait_for(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    """While the process runs."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def said(errors: str) -> str:
    """The one message on stderr, below the progress bars."""
    lines = errors.strip().splitlines()
    assert [line.startswith('metric-depth fuse: ') for line in lines].count(True) == 1, errors
    assert 'Traceback' not in errors
    return lines[-1].removeprefix('metric-depth fuse: ')


@pytest.mark.parametrize(
    'number',
    [
        pytest.param(signal.SIGINT, id='SIGINT'),
        pytest.param(signal.SIGTERM, id='SIGTERM', marks=pytest.mark.slow),
    ],
)
def test_stopped_in_the_middle_it_writes_what_it_has(
    manifest: Path, tmp_path: Path, number: signal.Signals
):
    out = tmp_path / 'out'
    process = start(manifest, out, '--export')
    images = out / 'sequence' / 'rgb'
    wait_for(process, lambda: images.is_dir() and len(list(images.iterdir())) > 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert said(errors) == f'interrupted; the map so far is in {out}'
    points = read_mesh(out / 'mesh.ply').vertices
    assert (points - points.new_tensor([1.0, 0.7, 2.5])).abs().amin(-1).mean() < 0.02
    fused = len(read_trajectory(out / 'trajectory.txt'))
    assert 2 <= fused < FRAMES * AGAIN
    report = json.loads((out / 'fuse.json').read_text())
    assert report['interrupted']
    assert report['stats']['frames'] == fused
    assert not [path for path in out.rglob('*') if 'unfinished' in path.name]
    assert not list(out.glob('overflow*'))


@pytest.mark.parametrize(
    ('biggest', 'more', 'file', 'left'),
    [
        pytest.param(20_000, (), 'mesh.ply', {'trajectory.txt'}, id='map'),
        pytest.param(
            2_000,
            ('--export',),
            'sequence/rgb/1.000000000.png',
            {'sequence', 'trajectory.txt'},
            id='sequence',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_full_disk_is_one_line_that_names_the_file(
    manifest: Path, tmp_path: Path, biggest: int, more: tuple[str, ...], file: str, left: set[str]
):
    out = tmp_path / 'out'
    process = start(manifest, out, '--max-frames', '2', *more, biggest=biggest)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert said(errors).startswith(f'could not write {out / file}: File too large')
    assert {path.name for path in out.iterdir()} == left
    assert not [path for path in out.rglob('*') if 'unfinished' in path.name]


def test_full_disk_in_the_middle_keeps_the_map_before(manifest: Path, tmp_path: Path):
    out, full = tmp_path / 'out', tmp_path / 'out' / 'sequence' / 'depth'
    process = start(manifest, out, '--export')
    # As soon as the folder is there, so that one of the next images meets a full disk.
    wait_for(process, full.is_dir)
    stamps = range(FRAMES, FRAMES * AGAIN, FRAMES)
    for stamp in stamps:
        (full / f'{stamp + 1}.000000000.png.unfinished').symlink_to('/dev/full')
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert re.fullmatch(
        rf'could not write {full}/\d+\.0{{9}}\.png: No space left on device; the map of the \d+ '
        rf'frames before is in {out}',
        said(errors),
    )
    assert {path.name for path in out.iterdir()} == MAP | {'sequence'}
    assert len(read_mesh(out / 'mesh.ply').triangles) > 1000
