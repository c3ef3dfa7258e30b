"""Gaussians and their .ply, against SciPy and bytes read by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from metric_depth_ros.mapping import MappingError
from metric_depth_ros.mapping.gaussians import SH_CONSTANT, Gaussians, rotation_matrices
from metric_depth_ros.mapping.splat_ply import read_splat_ply, write_splat_ply

WIDE = (('f_dc', 3), ('scale', 3), ('rot', 4))


def some(count: int = 7, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    return Gaussians.of(
        means=torch.randn(count, 3, generator=generator),
        scales=0.01 + torch.rand(count, 3, generator=generator),
        quaternions=torch.randn(count, 4, generator=generator),
        opacities=0.05 + 0.9 * torch.rand(count, generator=generator),
        colours=torch.rand(count, 3, generator=generator),
    )


def test_rotations_are_those_of_scipy() -> None:
    quaternions = some().quaternions
    expected = Rotation.from_quat(quaternions.numpy(), scalar_first=True).as_matrix()
    np.testing.assert_allclose(rotation_matrices(quaternions).numpy(), expected, atol=1e-6)


def test_scales_opacities_and_colours_come_back() -> None:
    colours = torch.tensor([[0.0, 0.5, 1.0]])
    gaussians = Gaussians.of(
        torch.zeros(1, 3), torch.tensor([[0.1, 0.2, 0.3]]), torch.eye(4)[:1],
        torch.tensor([0.7]), colours,
    )  # fmt: skip
    torch.testing.assert_close(gaussians.scales, torch.tensor([[0.1, 0.2, 0.3]]))
    torch.testing.assert_close(gaussians.opacities, torch.tensor([0.7]))
    torch.testing.assert_close(gaussians.colours, colours, atol=1e-6, rtol=0)
    assert pytest.approx(0.28209479177387814) == SH_CONSTANT


def test_shapes_that_do_not_agree_are_refused() -> None:
    good = some(3)
    with pytest.raises(MappingError, match=r'opacity_logits .* \(2,\), expected \(3,\)'):
        Gaussians(good.means, good.log_scales, good.quaternions, torch.zeros(2), good.f_dc)


def test_ply_round_trip(tmp_path: Path) -> None:
    gaussians = some()
    assert write_splat_ply(tmp_path / 'map.ply', gaussians) == 7
    back = read_splat_ply(tmp_path / 'map.ply')
    for ours, theirs in zip(gaussians.tensors(), back.tensors(), strict=True):
        assert torch.equal(ours, theirs)


def test_ply_holds_what_viewers_expect(tmp_path: Path) -> None:
    gaussians = some(2)
    write_splat_ply(tmp_path / 'map.ply', gaussians)
    header, body = (tmp_path / 'map.ply').read_bytes().split(b'end_header\n')
    names = [line.split()[2] for line in header.decode().splitlines() if 'property' in line]
    colour, scale, turn = ([f'{name}_{i}' for i in range(n)] for name, n in WIDE)
    assert names == ['x', 'y', 'z', 'nx', 'ny', 'nz', *colour, 'opacity', *scale, *turn]
    assert len(body) == 2 * 17 * 4
    second = dict(zip(names, struct.unpack('<17f', body[68:]), strict=True))
    assert second['y'] == gaussians.means[1, 1].item()
    assert second['nz'] == 0
    assert 1 / (1 + np.exp(-second['opacity'])) == pytest.approx(gaussians.opacities[1].item())
    assert np.exp(second['scale_2']) == pytest.approx(gaussians.scales[1, 2].item())
    assert 0.5 + 0.28209479 * second['f_dc_0'] == pytest.approx(gaussians.colours[1, 0].item())
    assert second['rot_0'] == gaussians.quaternions[1, 0].item()


def test_ply_reads_properties_in_any_order_and_leaves_out_view_dependent_colour(
    tmp_path: Path,
) -> None:
    colour, scale, turn = ([f'{name}_{i}' for i in range(n)] for name, n in WIDE)
    names = ['opacity', 'x', 'y', 'z', *colour, 'f_rest_0', 'f_rest_1', *scale, *turn]
    header = '\n'.join(
        ['ply', 'format binary_little_endian 1.0', 'comment of another program',
         'element vertex 1', *(f'property float {name}' for name in names), 'end_header', '']
    )  # fmt: skip
    path = tmp_path / 'other.ply'
    path.write_bytes(header.encode() + struct.pack('<16f', *range(16)))
    read = read_splat_ply(path)
    assert read.opacity_logits.tolist() == [0]
    assert read.means.tolist() == [[1, 2, 3]]
    assert read.f_dc.tolist() == [[4, 5, 6]]
    assert read.log_scales.tolist() == [[9, 10, 11]]
    assert read.quaternions.tolist() == [[12, 13, 14, 15]]


def test_ply_of_an_empty_map_and_of_broken_numbers(tmp_path: Path) -> None:
    assert write_splat_ply(tmp_path / 'empty.ply', Gaussians.empty()) == 0
    assert len(read_splat_ply(tmp_path / 'empty.ply')) == 0
    broken = some(4)
    broken.means[1, 0] = torch.nan
    broken.log_scales[2, 2] = torch.inf
    assert write_splat_ply(tmp_path / 'broken.ply', broken) == 2
    assert torch.equal(read_splat_ply(tmp_path / 'broken.ply').means, broken.means[[0, 3]])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'PLY', 'is no .ply file'),
        (b'ply\nformat ascii 1.0\nend_header\n', 'not binary little-endian'),
        (b'ply\nformat binary_little_endian 1.0\nelement face 3\nend_header\n', 'vertices'),
        (
            b'ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\n'
            b'end_header\n1234',
            'no f_dc_0, .* no Gaussians',
        ),
        (
            b'ply\nformat binary_little_endian 1.0\nelement vertex 1\n'
            b'property list uchar int vertex_indices\nend_header\n',
            'expected a number',
        ),
    ],
)
def test_files_that_are_no_splat_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / 'bad.ply'
    path.write_bytes(content)
    with pytest.raises(MappingError, match=message):
        read_splat_ply(path)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'map.ply'
    write_splat_ply(path, some(3))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(MappingError, match='ends after 194 bytes of Gaussians, expected 204'):
        read_splat_ply(path)


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / 'map.ply').mkdir()
    with pytest.raises(MappingError, match='could not write'):
        write_splat_ply(tmp_path / 'map.ply', some(1))
