"""Looks: what is seen mirrored and smaller, and how it comes back to the original's pixels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.looks import Look, looks
from metric_depth_ros.types import Camera, CoarseDepth, Conditioning

PINHOLE = Camera(60.0, 62.0, 36.0, 20.0, 64, 48)
BENT = replace(PINHOLE, distortion_model='plumb_bob', distortion=(-0.2, 0.05, 1e-3, 2e-3, 0.0))
FISHEYE = replace(PINHOLE, fx=20.0, fy=20.0, distortion_model='equidistant', distortion=(0.0,) * 4)


def seen(camera: Camera, coarse: Tensor | None = None) -> Conditioning:
    """A view whose pixels say where they are: red grows with u, green with v."""
    rays = geometry.rays(camera).permute(2, 0, 1)
    valid = rays[2] > 0
    u, v = geometry.pixel_grid(camera.width, camera.height).unbind(-1)
    image = torch.stack((u / camera.width, v / camera.height, torch.zeros_like(u)))
    return Conditioning(
        image,
        torch.where(valid, rays, 0.0),
        valid,
        None if coarse is None else CoarseDepth(coarse, metric=False, disparity=True),
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_plain_then_mirrored_by_hand() -> None:
    image = torch.tensor([[[1.0, 2.0, 3.0]]]).expand(3, -1, -1)
    rays = torch.tensor([[[-0.6, 0.0, 0.0]], [[0.0, 0.0, 0.0]], [[0.8, 1.0, 0.0]]])
    valid = torch.tensor([[True, True, False]])
    coarse = CoarseDepth(torch.tensor([[4.0, torch.nan, 6.0]]), metric=True)
    plain, mirrored = looks(Conditioning(image, rays, valid, coarse), 2, generator())
    assert plain.conditioning.image is image
    assert mirrored.conditioning.image[0].tolist() == [[3.0, 2.0, 1.0]]
    assert mirrored.conditioning.rays[0].tolist() == [[0.0, 0.0, pytest.approx(0.6)]]
    assert mirrored.conditioning.rays[2].tolist() == [[0.0, 1.0, pytest.approx(0.8)]]
    assert mirrored.conditioning.valid.tolist() == [[False, True, True]]
    assert mirrored.conditioning.coarse is not None
    expected = torch.tensor([[6.0, torch.nan, 4.0]])
    torch.testing.assert_close(mirrored.conditioning.coarse.values, expected, equal_nan=True)
    assert mirrored.conditioning.coarse.metric
    values = torch.tensor([[7.0, torch.inf, 9.0]])
    assert plain.back(values).tolist() == [[7.0, torch.inf, 9.0]]
    assert mirrored.back(values).tolist() == [[9.0, torch.inf, 7.0]]


@pytest.mark.parametrize('camera', [PINHOLE, BENT, FISHEYE])
def test_rays_are_those_of_the_camera_that_would_see_it(camera: Camera) -> None:
    _, mirrored, smaller, both = looks(seen(camera), 4, generator(), multiple_of=8)
    h, w = smaller.conditioning.valid.shape
    small = geometry.resize_camera(camera, w, h)
    for look, through in (
        (mirrored, geometry.flip_camera(camera)),
        (smaller, small),
        (both, geometry.flip_camera(small)),
    ):
        found, valid = look.conditioning.rays, look.conditioning.valid
        expected = geometry.rays(through).permute(2, 0, 1)
        assert valid.float().mean() > 0.5
        inner = valid.clone()
        inner[[0, -1]] = inner[:, [0, -1]] = False  # where interpolation has one side alone
        assert (found - expected)[:, inner].abs().max() < 3e-3
        assert not (valid & ~(expected[2] > 0)).any()
        assert (found[:, ~valid] == 0).all()
        torch.testing.assert_close(found.norm(dim=0)[valid], torch.ones(int(valid.sum())))


def test_smaller_looks_fit_the_method_and_are_smaller() -> None:
    sizes = [tuple(look.conditioning.valid.shape) for look in looks(
        seen(PINHOLE), 60, generator(), multiple_of=8
    )]  # fmt: skip
    assert sizes[:2] == [(48, 64)] * 2
    assert sizes[2::2] == sizes[3::2]  # in pairs
    assert set(sizes[2:]) == {(40, 56), (40, 48)}
    tiny = Conditioning(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), torch.zeros(8, 8) > 0)
    assert [look.conditioning.valid.shape for look in looks(tiny, 3, generator(), multiple_of=8)]


def test_resolutions_are_seeded() -> None:
    def sizes(seed: int) -> list[tuple[int, ...]]:
        return [
            tuple(k.conditioning.valid.shape) for k in looks(seen(PINHOLE), 8, generator(seed))
        ]

    assert sizes(1) == sizes(1) != sizes(2)


def test_what_each_look_shows_comes_back_to_its_place() -> None:
    disparity = 2 + geometry.pixel_grid(64, 48)[..., 0] / 64  # a plane
    original = seen(PINHOLE, disparity)
    for look in looks(original, 6, generator(3), multiple_of=8):
        coarse = look.conditioning.coarse
        assert coarse is not None
        assert (coarse.metric, coarse.disparity) == (False, True)
        inner = slice(2, -2)
        for values, expected in (
            (look.conditioning.image[0] + 1, original.image[0] + 1),
            (coarse.values, disparity),
        ):
            error = (look.back(values) - expected)[inner, inner].abs()
            assert error.max() < 2e-3  # of 1 / 64 a pixel


def test_nothing_is_invented_between_two_surfaces() -> None:
    step = torch.ones(48, 64)
    step[:, 31:] = 5.0
    step[:8] = torch.inf
    step[40:] = torch.nan
    for look in looks(seen(PINHOLE, step), 4, generator(), multiple_of=8):
        assert look.conditioning.coarse is not None
        shown = look.conditioning.coarse.values
        back = look.back(shown)
        for values in (shown, back):
            known = values[~torch.isnan(values)]
            surfaces = torch.tensor([1.0, 5.0, torch.inf])
            assert torch.isclose(known[:, None], surfaces, rtol=1e-6).any(1).all()
        assert torch.allclose(back[12:36, :28], torch.ones(()))
        assert torch.allclose(back[12:36, 36:], torch.full((), 5.0))


def test_values_of_the_originals_size_are_only_mirrored() -> None:
    """As of a network that says the same size whatever it is shown."""
    *_, both = looks(seen(PINHOLE), 4, generator())
    values = torch.rand(48, 64)
    assert torch.equal(both.back(values), values.flip(-1))
    assert isinstance(both, Look)
