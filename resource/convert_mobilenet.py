"""The file metric_depth_ros/training/pretrained/mobilenet-v2.safetensors, made from its source.

Needs `pip install tflite` besides what the package needs. See the README beside that file.

    python resource/convert_mobilenet.py objectron_solution_packed_assets.data out.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tflite
from numpy.typing import NDArray
from pretrained_file import Convolution, write

_MAGIC = b'TFL3'  # at byte 4 of every TensorFlow Lite model
_BLOCKS = 17


def layer_names() -> list[str]:
    """Of MobileNetV2's convolutions, in the order in which they run."""
    blocks = [
        f'blocks.{number}.{part}'
        for number in range(_BLOCKS)
        for part in ('expand', 'depthwise', 'project')
    ]
    blocks.remove('blocks.0.expand')  # the first block does not widen
    return ['stem', *blocks]


def convolutions(model: bytes) -> list[Convolution]:
    """(weight, bias) of each convolution that is not a detector's, weights as PyTorch has them."""
    root = tflite.Model.GetRootAsModel(model, 0)
    graph = root.Subgraphs(0)
    kinds = tflite.BuiltinOperator
    source: dict[int, int] = {}  # of a tensor that is a half-precision one, dequantised

    def values(number: int) -> NDArray[np.float16]:
        tensor = graph.Tensors(source[number])
        data = root.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
        return np.frombuffer(data, np.float16).reshape(tensor.ShapeAsNumpy())

    found = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = root.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind == kinds.DEQUANTIZE:
            source[int(operator.Outputs(0))] = int(operator.Inputs(0))
        elif kind in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D):
            name = graph.Tensors(int(operator.Inputs(1))).Name()
            if b'BoxPredictor_0/' in name:
                continue  # reads the network halfway
            axes = (0, 3, 1, 2) if kind == kinds.CONV_2D else (3, 0, 1, 2)
            weight = values(int(operator.Inputs(1))).transpose(axes)
            found.append((np.ascontiguousarray(weight), values(int(operator.Inputs(2)))))
    return found


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='the model, or a file that ends with it')
    parser.add_argument('out', type=Path)
    arguments = parser.parse_args()
    data = arguments.source.read_bytes()
    start = data.find(_MAGIC) - 4
    if start < 0:
        parser.error(f'{arguments.source} holds no TensorFlow Lite model')
    names = layer_names()
    first = convolutions(data[start:])[: len(names)]  # the detector's own layers come last
    write(arguments.out, names, first)


if __name__ == '__main__':
    main()
