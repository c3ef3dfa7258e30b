"""The list of models: as the methods have it, and without loading any library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metric_depth_ros.catalogue import PRESETS


def test_presets_are_those_of_the_methods(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('diffusers')
    monkeypatch.syspath_prepend(str(repository / 'resource'))
    from write_presets import presets

    assert json.loads(PRESETS.read_text()) == presets(), 'run python resource/write_presets.py'


def test_listing_loads_no_library() -> None:
    program = (
        'import sys; from metric_depth_ros.cli.main import main; main(["models", "--json"]); '
        'print(sorted({"torch", "diffusers", "transformers", "numpy"} & sys.modules.keys()))'
    )
    run = subprocess.run(
        [sys.executable, '-c', program], check=True, capture_output=True, text=True
    )
    *listed, loaded = run.stdout.strip().splitlines()
    assert loaded == '[]'
    entries = {entry['name']: entry for entry in json.loads('\n'.join(listed))}
    assert entries['grin-small']['checkpoint']
    assert entries['grin']['parameters'] > 3e8
