"""`metric-depth ablate` on a suite of one tiny variant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metric_depth_ros.cli.main import main
from metric_depth_ros.methods.grin import Grin, GrinConfig

SUITE = """
base: grin-small
changes:
  preset: tiny
  data: {scenes: indoor, frames: 4, width: 64, height: 32, seed: 1}
  validation: {scenes: indoor, frames: 4, width: 64, height: 32, seed: 2}
  width: 64
  height: 32
  steps: 1
  batch_size: 2
  precision: fp32
variants:
  full: {what: everything}
"""


@pytest.mark.slow
def test_a_suite_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(Grin.PRESETS, 'tiny', GrinConfig.tiny)
    (tmp_path / 'mine.yaml').write_text(SUITE)
    out = tmp_path / 'out'
    assert main(['ablate', str(tmp_path / 'mine.yaml'), '--out', str(out), '--json']) == 0
    table = json.loads(capsys.readouterr().out)
    assert table == json.loads((out / 'table.json').read_text())
    assert [(row['name'], row['steps']) for row in table['rows']] == [('full', 1)]
    assert table['frames'] == {'held-out scenes': 4}


def test_a_suite_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['ablate', 'no-such', '--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert "'no-such'" in error
    assert 'realism' in error
    assert not (tmp_path / 'out').exists()
