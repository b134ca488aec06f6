"""The ResNet-8 of this example, and its export to ONNX with the batch norms left in.

The network follows He et al., "Deep Residual Learning for Image Recognition" (2015), section 4.2,
with one block per stage: 3x3 convolution to 16 channels, then residual stages of 16, 32 and 64
channels, the last two with stride 2 and a 1x1 projection, global average pooling, 10 logits.
12.5 million multiply-accumulates and 78 thousand parameters.
"""

from __future__ import annotations

import io
import json

import onnx
import torch
from torch import Tensor, nn

CLASSES = 10
OPSET = 17


class ExportError(Exception):
    """The exported graph is not what the toolchain expects of it."""


class ResidualStage(nn.Module):  # type: ignore[misc,unused-ignore]
    """Two 3x3 convolutions and a shortcut: a 1x1 projection if strided, else the identity."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.projects = stride != 1
        if self.projects:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.shortcut_bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, channels, h / stride, w / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = self.shortcut_bn(self.shortcut(x)) if self.projects else x
        return torch.relu(y + shortcut)


class ResNet8(nn.Module):  # type: ignore[misc,unused-ignore]
    """(n, 3, 32, 32) RGB pixels in 0..255, as float, to (n, 10) logits.

    ``mean`` and ``std`` are per channel, (3,), in pixel units; the network normalises by itself.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1))
        self.register_buffer("std", std.reshape(1, 3, 1, 1))
        self.conv0 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(16)
        self.stage1 = ResidualStage(16, 16, 1)
        self.stage2 = ResidualStage(16, 32, 2)
        self.stage3 = ResidualStage(32, 64, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dense = nn.Linear(64, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        x = (image - self.mean) / self.std
        x = torch.relu(self.bn0(self.conv0(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        logits: Tensor = self.dense(self.pool(x).flatten(1))
        return logits


def unshare_initializers(graph: onnx.GraphProto) -> None:
    """Give every parameter its own initializer, in place.

    The exporter stores equal parameters once and fetches the others through Identity nodes. Here
    the two batch norms before an addition always have equal biases: both start at 0 and get the
    same gradient.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Identity" and node.input[0] in stored:
            copy = graph.initializer.add()
            copy.CopyFrom(stored[node.input[0]])
            copy.name = node.output[0]
            graph.node.remove(node)


def export_onnx(model: ResNet8, recipe: dict[str, float]) -> bytes:
    """Serialise the model with input ``image`` (N, 3, 32, 32) float32 and output ``logits``.

    Batch norms stay nodes of their own, and ``recipe`` goes into the metadata.

    Raises ExportError when the exporter folded a batch norm away or fixed the batch size.
    """
    model = model.to(memory_format=torch.contiguous_format).eval()
    buffer = io.BytesIO()
    torch.onnx.export(
        model,
        (torch.full((2, 3, 32, 32), 128.0),),
        buffer,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
    )
    proto = onnx.load_from_string(buffer.getvalue())
    unshare_initializers(proto.graph)
    proto.graph.name = "resnet8_cifar10"
    proto.doc_string = (
        "ResNet-8 trained on CIFAR-10 (Krizhevsky 2009) by examples/resnet8_cifar10/train.py. "
        "Input: RGB pixels 0..255, NCHW."
    )
    onnx.helper.set_model_props(proto, {"recipe": json.dumps(recipe)})
    onnx.checker.check_model(proto, full_check=True)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    found = sum(node.op_type == "BatchNormalization" for node in proto.graph.node)
    if found != norms:
        raise ExportError(f"the exported graph has {found} batch norms, the network {norms}")
    if proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param != "N":
        raise ExportError("the exported graph's batch size is fixed")
    return bytes(proto.SerializeToString(deterministic=True))
