"""Predictor: the camera follows the image, rectified views come back, seeds, medians, devices."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from metric_depth_ros import geometry
from metric_depth_ros.calibration import Calibration
from metric_depth_ros.methods.coarse import UNCALIBRATED
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.novelty import Novelty, fit_gaussian, picture
from metric_depth_ros.predictor import Predictor, find_device, middle
from metric_depth_ros.targets import Box, TargetsError
from metric_depth_ros.types import Camera, Conditioning, Frame, MetricDepthError

CAMERA = Camera(300, 310, 157.0, 122.0, 320, 240)
VIEW = geometry.resize_camera(CAMERA, 64, 48)
NORMAL = torch.tensor([0.1, -0.25, 1.0])  # of the plane that PlaneMethod sees


class PlaneMethod(nn.Module):
    """Sees the plane NORMAL . p = 2 wherever its rays look; sample k is k % farther."""

    takes_targets = False
    num_samples = 3
    multiple_of = 8
    working_pixels = 64 * 48

    def __init__(self, takes_rays: bool = True) -> None:
        super().__init__()
        self.takes_rays = takes_rays
        self.seen: Conditioning | None = None

    def draw(
        self,
        conditioning: Conditioning,
        num_samples: int,
        generator: torch.Generator,
        *,
        num_steps: int | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        self.seen = conditioning
        ray = conditioning.rays
        depth = 2 * ray[2] / torch.einsum('c,chw->hw', NORMAL, ray)
        depth = torch.where(conditioning.valid, depth, torch.nan)
        return torch.stack([depth * (1 + k / 100) for k in range(num_samples)])


def frame(camera: Camera, seed: int = 0) -> Frame:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, 6, 8, generator=generator)
    size = (camera.height, camera.width)
    image = nn.functional.interpolate(small, size, mode='bicubic')[0].clamp(0, 1) * 255
    return Frame(image.permute(1, 2, 0).to(torch.uint8), camera, stamp_ns=17, frame_id='optical')


def plane_depth(camera: Camera) -> Tensor:
    ray = geometry.rays(camera)
    return 2 * ray[..., 2] / (ray @ NORMAL)


def inner(values: Tensor) -> Tensor:
    """Without the border, where a small image's outermost pixel centres do not reach."""
    return values[8:-8, 8:-8]


@pytest.mark.parametrize('takes_rays', [True, False])
@pytest.mark.parametrize(
    'camera',
    [
        CAMERA,
        replace(CAMERA, fx=150.0, fy=155.0),
        replace(CAMERA, distortion_model='plumb_bob', distortion=(-0.2, 0.05, 1e-3, -1e-3, 0.0)),
        replace(CAMERA, distortion_model='equidistant', distortion=(0.02, 0.0, 0.0, 0.0)),
    ],
)
def test_depth_of_a_plane_comes_back_for_every_camera(camera: Camera, takes_rays: bool) -> None:
    prediction = Predictor(PlaneMethod(takes_rays), num_samples=1, device='cpu')(frame(camera))
    depth, expected = inner(prediction.depth), inner(plane_depth(camera))
    seen = torch.isfinite(depth)
    assert seen.float().mean() > 0.95
    # a curved lens bends inverse depth a little between the pixels of the working size
    torch.testing.assert_close(depth[seen], expected[seen], rtol=3e-3, atol=0)
    assert (prediction.camera, prediction.stamp_ns, prediction.frame_id) == (camera, 17, 'optical')


def test_method_without_rays_gets_the_rectified_image() -> None:
    camera = replace(CAMERA, distortion_model='plumb_bob', distortion=(-0.3, 0.1, 0.0, 0.0, 0.0))
    rectified = geometry.rectified_camera(camera)
    # Paint each pixel with the direction it looks in: a rectified image shows straight ramps.
    ray = geometry.rays(camera)
    paint = ((ray / ray[..., 2:] * 0.4 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    method = PlaneMethod(takes_rays=False)
    predictor = Predictor(method, num_samples=1, device='cpu')
    predictor(Frame(paint, camera))
    assert method.seen is not None
    view = geometry.resize_camera(rectified, 64, 48)
    view_ray = geometry.rays(view).permute(2, 0, 1)
    torch.testing.assert_close(method.seen.rays, view_ray)
    expected = (view_ray / view_ray[2:] * 0.4 + 0.5) * 2 - 1
    painted = method.seen.image[:2, 4:-4, 4:-4]
    torch.testing.assert_close(painted, expected[:2, 4:-4, 4:-4], atol=0.02, rtol=0)


def test_depth_is_the_median_and_std_the_calibrated_spread() -> None:
    calibration = Calibration(std_scale=2.0, std_floor=0.0)
    predictor = Predictor(PlaneMethod(), num_samples=5, device='cpu', calibration=calibration)
    prediction = predictor(frame(CAMERA))
    depth = inner(plane_depth(CAMERA))
    torch.testing.assert_close(inner(prediction.depth), depth * 1.02, rtol=1e-4, atol=0)
    # 0 to 4 % have a standard deviation of sqrt(2.5) %
    torch.testing.assert_close(
        inner(prediction.std), depth * 2 * 0.01 * 2.5**0.5, rtol=2e-3, atol=0
    )


def test_the_error_bar_is_wider_where_the_view_is_new_and_the_prediction_says_so() -> None:
    usual = [picture(Predictor(PlaneMethod(), device='cpu').condition(frame(CAMERA, k), VIEW))
             for k in range(60)]  # fmt: skip
    novelty = Novelty(fit_gaussian(torch.stack(usual)))
    heeding = Calibration(std_scale=2.0, novelty_picture=0.5)
    plain = Predictor(PlaneMethod(), device='cpu', calibration=heeding)
    wise = Predictor(PlaneMethod(), device='cpu', calibration=heeding, novelty=novelty)
    assert plain(frame(CAMERA)).novelty is None
    known = wise(frame(CAMERA, 99))
    assert known.novelty < 2
    black = replace(frame(CAMERA), image=torch.zeros(240, 320, 3, dtype=torch.uint8))
    new = wise(black)
    assert new.novelty > 4
    assert torch.equal(new.depth, plain(black).depth)
    torch.testing.assert_close(new.std, plain(black).std * new.novelty**0.5)


def test_middle_of_an_even_number_and_of_infinities() -> None:
    inf, nan = torch.inf, torch.nan
    samples = torch.tensor([[1.0, 1.0, nan], [5.0, inf, nan], [2.0, 2.0, nan], [3.0, inf, nan]])
    expected = torch.tensor([2.5, inf, nan])
    torch.testing.assert_close(middle(samples), expected, equal_nan=True)


@pytest.fixture(scope='module')
def grin() -> Grin:
    torch.manual_seed(0)
    method = Grin(GrinConfig.tiny())
    nn.init.normal_(method.head[1].weight, std=0.05)  # untrained, it would say one depth
    return method


def test_prediction_depends_on_frame_and_seed_alone(grin: Grin) -> None:
    predictor = Predictor(grin, num_samples=2, seed=3, device='cpu')
    first = predictor(frame(CAMERA))
    predictor(frame(CAMERA, seed=1))
    again = predictor(frame(CAMERA))
    assert torch.equal(first.depth, again.depth)
    assert torch.equal(first.std.nan_to_num(-1.0), again.std.nan_to_num(-1.0))
    predictor.seed = 4
    assert not torch.equal(first.depth, predictor(frame(CAMERA)).depth)


@pytest.mark.parametrize('size', [(320, 240), (241, 317), (100, 37), (33, 200)])
def test_every_pixel_of_every_size_is_predicted(grin: Grin, size: tuple[int, int]) -> None:
    camera = Camera(200, 200, size[0] / 2, size[1] / 2, *size)
    prediction = Predictor(grin, num_samples=2, device='cpu')(frame(camera))
    assert prediction.depth.shape == (size[1], size[0])
    finite = torch.isfinite(prediction.depth)
    assert bool((finite | prediction.depth.isposinf()).all())
    assert bool((prediction.std[finite] > 0).all())


def test_pixels_without_a_ray_have_no_depth(grin: Grin) -> None:
    camera = Camera(60, 60, 99.5, 99.5, 200, 200, 'equidistant', (0.0, 0.0, 0.0, 0.0))
    prediction = Predictor(grin, num_samples=2, device='cpu')(frame(camera))
    behind = geometry.rays(camera)[..., 2] < -0.1  # more than 95 degrees off the axis
    assert behind.any()
    assert bool(prediction.depth[behind].isnan().all())
    assert bool(prediction.std[behind].isnan().all())


CAMERAS = {
    'plain': CAMERA,
    'larger than the network': replace(CAMERA, fx=600.0, fy=620.0, cx=314, cy=244, width=640,
                                       height=480),
    'distorted': replace(CAMERA, distortion_model='plumb_bob',
                         distortion=(-0.2, 0.05, 1e-3, -1e-3, 0.0)),
}  # fmt: skip
LEVELLED = Calibration(2.0, 0.1, 0.3, (1.0, 10.0), (2.0, 0.5), edge_power=0.4)


@pytest.mark.parametrize('samples', [1, 3])
@pytest.mark.parametrize('name', CAMERAS)
def test_targets_have_the_values_of_the_whole_image(grin: Grin, name: str, samples: int) -> None:
    predictor = Predictor(grin, num_samples=samples, device='cpu', calibration=LEVELLED)
    view = frame(CAMERAS[name])
    whole = predictor(view)
    mask = torch.zeros(whole.depth.shape, dtype=torch.bool)
    mask[30:52, 17:90] = True
    pixels = [(0, 0), (17, 230), (319, 239), (160, 3)]
    listed = torch.zeros_like(mask)
    for u, v in pixels:
        listed[v, u] = True
    for targets, asked in (
        (mask, mask), (Box(17, 30, 73, 22), mask), (pixels, listed), (torch.tensor(pixels), listed)
    ):  # fmt: skip
        part = predictor(view, targets=targets)
        assert bool(part.depth[~asked].isnan().all())
        assert bool(part.std[~asked].isnan().all())
        assert bool(part.depth[asked].isfinite().any())
        for found, expected in ((part.depth, whole.depth), (part.std, whole.std)):
            torch.testing.assert_close(
                found[asked], expected[asked], rtol=1e-3, atol=0, equal_nan=True
            )


@pytest.mark.parametrize(
    ('targets', 'message'),
    [
        (torch.zeros(240, 320, dtype=torch.bool), 'no pixel is asked for'),
        ([], 'no pixel is asked for'),
        (torch.ones(24, 32, dtype=torch.bool), r'shape \(24, 32\), expected \(240, 320\)'),
        (Box(300, 10, 21, 5), 'reaches outside the image of 320x240 pixels'),
        (Box(-1, 10, 21, 5), 'reaches outside the image'),
        (Box(3, 10, 0, 5), 'holds no pixel'),
        ([(5, 5), (320, 7)], r'pixel \(320, 7\) to predict is outside the image of 320x240'),
        ([(5, -1)], r'pixel \(5, -1\) to predict is outside'),
        ([(5.5, 1.0)], 'expected whole numbers'),
        ([1, 2, 3], r'expected whole numbers of shape \(N, 2\)'),
    ],
)
def test_targets_that_cannot_be(grin: Grin, targets: object, message: str) -> None:
    predictor = Predictor(grin, num_samples=1, device='cpu')
    with pytest.raises(TargetsError, match=message):
        predictor(frame(CAMERA), targets=targets)


def test_a_method_of_whole_images_refuses_targets() -> None:
    predictor = Predictor(PlaneMethod(), name='plane', device='cpu')
    with pytest.raises(TargetsError, match="model 'plane' predicts whole images only"):
        predictor(frame(CAMERA), targets=Box(0, 0, 9, 9))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_samples': 0}, 'num_samples is 0, expected at least 1'),
        ({'num_steps': 0}, 'num_steps is 0, expected at least 1'),
        ({'device': 'abacus'}, "device is 'abacus', expected 'auto', 'cpu' or a GPU"),
    ],
)
def test_arguments_out_of_range(grin: Grin, arguments: dict, message: str) -> None:
    with pytest.raises(MetricDepthError, match=message):
        Predictor(grin, **{'device': 'cpu', **arguments})


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert find_device('auto').type == ('cuda' if torch.cuda.is_available() else 'cpu')


class Halfway(PlaneMethod):
    """Says what lies between the coarse depth and the plane, the same whenever it is asked."""

    takes_coarse = True

    def draw(self, conditioning, num_samples, generator, *, num_steps=None, targets=None):
        depth = super().draw(conditioning, 1, generator)
        assert conditioning.coarse is not None
        return (depth + conditioning.coarse.values).div(2).expand(num_samples, -1, -1)


def test_the_error_bar_of_a_refiner_counts_where_it_leaves_the_coarse_depth() -> None:
    coarse = Predictor(PlaneMethod(), num_samples=11, device='cpu')  # 5 % farther than the plane
    calibration = Calibration(std_scale=1.0, std_floor=0.0, std_coarse=2.0)
    refiner = Predictor(
        Halfway(), num_samples=2, device='cpu', coarse=coarse, calibration=calibration
    )
    prediction = refiner(frame(CAMERA))
    # half of 5 % beside a depth of 102.5 %, twice
    expected = 2 * 0.025 / 1.025 * prediction.depth
    torch.testing.assert_close(inner(prediction.std), inner(expected), rtol=1e-3, atol=0)


def test_a_refiner_is_no_surer_than_a_coarse_model_it_was_not_fitted_over() -> None:
    fitted = Calibration(std_floor=0.3)  # of a plane without spread: three tenths of depth
    plane = {'num_samples': 1, 'device': 'cpu'}
    coarse = Predictor(
        PlaneMethod(), name='plane', calibration=replace(fitted, std_single=0.3), **plane
    )

    def std_over_depth(calibration: Calibration, coarse: Predictor) -> Tensor:
        refiner = Predictor(
            Halfway(), num_samples=2, device='cpu', coarse=coarse, calibration=calibration
        )
        prediction = refiner(frame(CAMERA))
        return inner(prediction.std / prediction.depth)

    share = inner(torch.ones(240, 320))
    sure, unsure = Calibration(std_floor=0.02), Calibration(std_floor=0.5)
    torch.testing.assert_close(std_over_depth(sure, coarse), 0.3 * share, rtol=1e-3, atol=0)
    torch.testing.assert_close(std_over_depth(unsure, coarse), 0.5 * share, rtol=1e-3, atol=0)
    over_it = replace(sure, fitted_over='plane')
    torch.testing.assert_close(std_over_depth(over_it, coarse), 0.02 * share, rtol=1e-3, atol=0)
    # What nobody has fitted says nothing.
    for unknown in (Calibration(), UNCALIBRATED):
        other = Predictor(PlaneMethod(), name='plane', calibration=unknown, **plane)
        torch.testing.assert_close(std_over_depth(sure, other), 0.02 * share, rtol=1e-3, atol=0)
