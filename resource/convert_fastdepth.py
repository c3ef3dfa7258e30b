"""The file metric_depth_ros/training/pretrained/fastdepth.safetensors, made from its source.

Needs `pip install onnx` besides what the package needs. See the README beside that file.

    python resource/convert_fastdepth.py fastdepth_7.onnx out.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from pretrained_file import Convolution, write

from metric_depth_ros.nn.fastdepth import FastDepth


def convolutions(model: onnx.ModelProto) -> list[Convolution]:
    """(weight, bias) of each convolution, in order, the batch norm behind it folded into it."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    found = []
    for norm in model.graph.node:
        if norm.op_type != 'BatchNormalization':
            continue
        weight = values[makers[norm.input[0]].input[1]].astype(np.float64)
        scale, shift, mean, variance = (values[k].astype(np.float64) for k in norm.input[1:5])
        epsilon = next(a.f for a in norm.attribute if a.name == 'epsilon')
        gain = scale / np.sqrt(variance + epsilon)
        folded = weight * gain[:, None, None, None], shift - mean * gain
        single = (part.astype(np.float32) for part in folded)
        weight, bias = (part.astype(np.float16) for part in single)
        found.append((weight, bias))
    return found


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='the model in ONNX')
    parser.add_argument('out', type=Path)
    arguments = parser.parse_args()
    found = convolutions(onnx.load(str(arguments.source)))
    names = [key.removesuffix('.weight') for key in FastDepth().state_dict() if 'weight' in key]
    write(arguments.out, names, found)


if __name__ == '__main__':
    main()
