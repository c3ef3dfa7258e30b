"""The camera of an exported sequence, in the configuration files of other SLAM systems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..types import Camera

_DEPTH_SCALE = 5000.0


def orb_slam3(folder: Path, camera: Camera) -> str:
    """Settings for ORB-SLAM3's rgbd_tum.

    Its parser wants `%YAML:1.0`, a decimal point in what is a real number and none in what is a
    whole one. Stereo.b x fx divides near from far points; 40 baselines of 7.7 cm are 3 m.
    """
    return f"""%YAML:1.0
# rgbd_tum VOCABULARY {folder}/orb_slam3.yaml {folder} {folder}/associations.txt
File.version: "1.0"
Camera.type: "PinHole"
Camera1.fx: {camera.fx:.9f}
Camera1.fy: {camera.fy:.9f}
Camera1.cx: {camera.cx:.9f}
Camera1.cy: {camera.cy:.9f}
Camera1.k1: 0.0
Camera1.k2: 0.0
Camera1.p1: 0.0
Camera1.p2: 0.0
Camera.width: {camera.width}
Camera.height: {camera.height}
Camera.fps: 30
Camera.RGB: 0
Stereo.ThDepth: 40.0
Stereo.b: 0.077
RGBD.DepthMapFactor: {_DEPTH_SCALE}
ORBextractor.nFeatures: 1000
ORBextractor.scaleFactor: 1.2
ORBextractor.nLevels: 8
ORBextractor.iniThFAST: 20
ORBextractor.minThFAST: 7
Viewer.KeyFrameSize: 0.05
Viewer.KeyFrameLineWidth: 1.0
Viewer.GraphLineWidth: 0.9
Viewer.PointSize: 2.0
Viewer.CameraSize: 0.08
Viewer.CameraLineWidth: 3.0
Viewer.ViewpointX: 0.0
Viewer.ViewpointY: -0.7
Viewer.ViewpointZ: -1.8
Viewer.ViewpointF: 500.0
"""


def monogs(folder: Path, camera: Camera) -> str:
    """Configuration for MonoGS, on top of its own for this benchmark."""
    return f"""# In MonoGS's folder: python slam.py --config {folder}/monogs.yaml
inherit_from: configs/rgbd/tum/base_config.yaml
Dataset:
  dataset_path: {folder}
  Calibration:
    fx: {camera.fx:.9f}
    fy: {camera.fy:.9f}
    cx: {camera.cx:.9f}
    cy: {camera.cy:.9f}
    k1: 0.0
    k2: 0.0
    p1: 0.0
    p2: 0.0
    k3: 0.0
    distorted: false
    width: {camera.width}
    height: {camera.height}
    depth_scale: {_DEPTH_SCALE}
"""


def splatam_camera(folder: Path, camera: Camera) -> str:
    """The camera for SplaTAM; nothing is cropped, as images here have no black rim."""
    return f"""dataset_name: tum
camera_params:
  image_height: {camera.height}
  image_width: {camera.width}
  fx: {camera.fx:.9f}
  fy: {camera.fy:.9f}
  cx: {camera.cx:.9f}
  cy: {camera.cy:.9f}
  png_depth_scale: {_DEPTH_SCALE}
"""


def splatam(folder: Path, camera: Camera) -> str:
    """Experiment for SplaTAM: its own for this benchmark, with this sequence in it."""
    return f"""# In SplaTAM's folder: python scripts/splatam.py {folder}/splatam.py
import runpy
from pathlib import Path

here = Path(__file__).resolve().parent
config = runpy.run_path('configs/tum/splatam.py')['config']
config['run_name'] = here.name
config['use_wandb'] = False
config['data'].update(
    basedir=str(here.parent),
    sequence=here.name,
    gradslam_data_cfg=str(here / 'splatam.yaml'),
    desired_image_height={camera.height},
    desired_image_width={camera.width},
)
"""


SLAM_CONFIGS: dict[str, Callable[[Path, Camera], str]] = {
    'orb_slam3.yaml': orb_slam3,
    'monogs.yaml': monogs,
    'splatam.yaml': splatam_camera,
    'splatam.py': splatam,
}
