"""Depth maps of every format, written as its documentation says; broken ones are named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros.evaluation.depth_files import (
    SUFFIXES,
    DepthFileError,
    depth_size,
    read_depth,
    read_values,
)

DEPTH = np.linspace(0.5, 9.5, 5 * 7, dtype=np.float32).reshape(5, 7)


def pfm(order: str, scale: str) -> bytes:
    return f'Pf\n7 5\n{scale}\n'.encode() + DEPTH[::-1].astype(order).tobytes()


def dpt() -> bytes:
    return b'PIEH' + struct.pack('<ii', 7, 5) + DEPTH.astype('<f4').tobytes()


def png16() -> bytes:
    """A png with no help of OpenCV: big-endian 16-bit grey, no filter."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))

    rows = np.rint(DEPTH * 256).astype('>u2')
    raw = b''.join(b'\0' + row.tobytes() for row in rows)
    header = struct.pack('>IIBBBBB', 7, 5, 16, 0, 0, 0, 0)
    return b''.join(
        (b'\x89PNG\r\n\x1a\n', chunk(b'IHDR', header), chunk(b'IDAT', zlib.compress(raw)),
         chunk(b'IEND', b''))
    )  # fmt: skip


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('little.pfm', pfm('<f4', '-1.0')),
        ('big.pfm', pfm('>f4', '1.0')),
        ('scaled.pfm', pfm('<f4', '-0.003922')),  # which cv2.imread would multiply by 255
        ('frame_0001.dpt', dpt()),
    ],
)
def test_bytes_as_documented(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    values = read_values(path)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, DEPTH)
    assert depth_size(path) == (7, 5)


def test_png_has_units(tmp_path: Path) -> None:
    (tmp_path / 'depth.png').write_bytes(png16())
    depth = read_depth(tmp_path / 'depth.png', 1 / 256)
    np.testing.assert_allclose(depth, DEPTH, atol=1 / 512)


@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.float16])
def test_numpy_of_any_precision(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / 'depth.npy', DEPTH.astype(dtype))
    np.savez(tmp_path / 'depth.npz', DEPTH.astype(dtype))
    for suffix in ('npy', 'npz'):
        path = tmp_path / f'depth.{suffix}'
        np.testing.assert_allclose(read_values(path), DEPTH, rtol=1e-3)
        assert depth_size(path) == (7, 5)


@pytest.mark.parametrize(
    'channels',
    [
        {'Z': DEPTH},
        {'Y': DEPTH.astype(np.float16)},
        {'depth.V': DEPTH},
        {'RGB': np.dstack([DEPTH] * 3)},
    ],
    ids=['Z', 'Y', 'V', 'RGB'],
)
def test_openexr(tmp_path: Path, channels: dict[str, np.ndarray]) -> None:
    OpenEXR = pytest.importorskip('OpenEXR')
    path = tmp_path / 'depth.exr'
    header = {'compression': OpenEXR.ZIP_COMPRESSION, 'type': OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(path))
    np.testing.assert_allclose(read_values(path), DEPTH, rtol=1e-3)


def test_openexr_with_colours_is_no_depth(tmp_path: Path) -> None:
    OpenEXR = pytest.importorskip('OpenEXR')
    path = tmp_path / 'image.exr'
    header = {'compression': OpenEXR.ZIP_COMPRESSION, 'type': OpenEXR.scanlineimage}
    OpenEXR.File(header, {'RGB': np.dstack([DEPTH, DEPTH + 1, DEPTH])}).write(str(path))
    with pytest.raises(DepthFileError, match=r'image\.exr: channels .* differ, expected one map'):
        read_values(path)


def test_hdf5_of_hypersim_and_spring(tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    with h5py.File(tmp_path / 'frame.0000.depth_meters.hdf5', 'w') as file:
        file['dataset'] = DEPTH.astype(np.float16)
    np.testing.assert_allclose(
        read_values(tmp_path / 'frame.0000.depth_meters.hdf5'), DEPTH, rtol=1e-3
    )
    fine = np.full((10, 14), -1, np.float32)
    fine[::2, ::2] = DEPTH
    with h5py.File(tmp_path / 'disp1_left_0001.dsp5', 'w') as file:
        file['disparity'] = fine
    np.testing.assert_array_equal(read_values(tmp_path / 'disp1_left_0001.dsp5'), DEPTH)
    assert depth_size(tmp_path / 'disp1_left_0001.dsp5') == (7, 5)
    with h5py.File(tmp_path / 'two.h5', 'w') as file:
        file['a'], file['b'] = DEPTH, DEPTH
    with pytest.raises(DepthFileError, match='holds a, b, expected one 2-dimensional dataset'):
        read_values(tmp_path / 'two.h5')


def test_what_is_not_positive_is_none_and_infinity_stays(tmp_path: Path) -> None:
    np.save(tmp_path / 'depth.npy', np.array([[0, -1, np.nan], [np.inf, 1e-3, 2]]))
    depth = read_depth(tmp_path / 'depth.npy', 2.0)
    expected = torch.tensor([[torch.nan] * 3, [torch.inf, 2e-3, 4]])
    torch.testing.assert_close(depth, expected, equal_nan=True)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('none.npy', None, r'none\.npy is not there'),
        ('a.npy', b'nothing', r'a\.npy is not a numpy array'),
        ('a.npz', b'nothing', r'a\.npz is not a numpy array'),
        ('a.png', b'nothing', r'a\.png: not an image that OpenCV can read'),
        ('a.pfm', b'nothing', r'a\.pfm: not a portable float map'),
        ('a.pfm', b'PF\n7 5\n-1\n', r"a\.pfm begins b'PF', expected Pf"),
        ('a.pfm', pfm('<f4', '-1')[:-1], r'a\.pfm has 139 bytes of floats, expected 4 x 7 x 5'),
        ('a.dpt', b'nothing', r'a\.dpt does not begin with the tag 202021.25'),
        ('a.dpt', b'PI', r'a\.dpt does not begin with the tag 202021.25'),
        ('a.dpt', dpt()[:-4], r'a\.dpt has 136 bytes of floats, expected 4 x 7 x 5'),
        ('a.hdf5', b'nothing', r'a\.hdf5 is not an HDF5 file'),
        ('a.exr', b'nothing', r'a\.exr is not an OpenEXR image'),
        ('a.tiff', b'nothing', r'a\.tiff: expected depth as \.npy'),
    ],
)
def test_broken_files_are_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    for suffix, module in (('.hdf5', 'h5py'), ('.exr', 'OpenEXR')):
        if name.endswith(suffix):
            pytest.importorskip(module)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DepthFileError, match=message) as caught:
        read_values(tmp_path / name)
    assert '\n' not in str(caught.value)


def test_pictures_of_eight_bits_and_colour_are_no_depth(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'grey.png'), np.zeros((5, 7), np.uint8))
    cv2.imwrite(str(tmp_path / 'colour.png'), np.zeros((5, 7, 3), np.uint16))
    with pytest.raises(DepthFileError, match='is uint8, expected 16 bits'):
        read_values(tmp_path / 'grey.png')
    with pytest.raises(DepthFileError, match=r'has shape \(5, 7, 3\), expected \(height, width\)'):
        read_values(tmp_path / 'colour.png')


def test_suffixes_are_what_manifests_may_name() -> None:
    assert set(SUFFIXES) >= {'.npy', '.npz', '.png', '.pfm', '.exr', '.dpt', '.dsp5', '.hdf5'}
