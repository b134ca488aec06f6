"""Networks people have, in PyTorch, with few channels and small images; seeded.

Every one takes images [N, 3, 32, 32]. Their batch normalisations hold random statistics, so that
folding one wrongly shows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from token_networks import ConvNextBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

SIZE = 32
CLASSES = 10


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.6, 1.4)
        norm.bias.normal_(0, 0.2)
        norm.running_mean.normal_(0, 0.2)  # type: ignore[union-attr,operator]
        norm.running_var.uniform_(0.6, 1.4)  # type: ignore[union-attr,operator]
    return norm


def _block(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    act: Callable[[], nn.Module] = nn.ReLU,
    **options: int,
) -> nn.Sequential:
    """Convolution, batch normalisation, activation."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options)
    return nn.Sequential(conv, _norm(outputs), act())


class Head(nn.Module):
    """Global mean and a dense layer."""

    def __init__(self, channels: int, *, dropout: bool = False) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2) if dropout else nn.Identity()
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(x.mean([2, 3])))


class Vgg(nn.Module):
    """VGG with batch normalisation after ReLU, and two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 8), (8, 16)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), _norm(outputs)]
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(), _norm(outputs)]
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4))
        self.classifier = nn.Sequential(nn.Linear(256, 24), nn.ReLU(), nn.Linear(24, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a projection shortcut (ResNet-50)."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.a = _block(inputs, width, 1)
        self.b = _block(width, width, 3, stride=stride)
        self.c = _block(width, outputs, 1, nn.Identity)
        self.short = (
            _block(inputs, outputs, 1, nn.Identity, stride=stride)
            if stride > 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.c(self.b(self.a(x))) + self.short(x))


def resnet50() -> nn.Module:
    """7x7 stem, max pooling with padding, bottlenecks."""
    return nn.Sequential(
        _block(3, 8, 7, stride=2),
        nn.MaxPool2d(3, 2, 1),
        Bottleneck(8, 4, 16, 1),
        Bottleneck(16, 4, 16, 1),
        Bottleneck(16, 8, 32, 2),
        Head(32),
    )


class InvertedResidual(nn.Module):
    """Expansion, depthwise, squeeze-excite if asked, projection (MobileNetV2, EfficientNet)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        act: Callable[[], nn.Module],
        kernel: int = 3,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        width = 2 * inputs
        self.expand = _block(inputs, width, 1, act)
        self.depth = _block(width, width, kernel, act, stride=stride, groups=width)
        self.squeeze = SqueezeExcite(width, act) if squeeze else nn.Identity()
        self.project = _block(width, outputs, 1, nn.Identity)
        self.keep = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.squeeze(self.depth(self.expand(x))))
        return x + y if self.keep else y


class SqueezeExcite(nn.Module):
    """A gate per channel from its mean."""

    def __init__(self, channels: int, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.down, self.act = nn.Conv2d(channels, channels // 4, 1), act()
        self.up = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(self.act(self.down(x.mean((2, 3), keepdim=True)))))


def mobilenet_v2() -> nn.Module:
    """Depthwise convolutions, ReLU6, linear bottlenecks."""
    return nn.Sequential(
        _block(3, 8, 3, nn.ReLU6, stride=2),
        InvertedResidual(8, 8, 1, nn.ReLU6),
        InvertedResidual(8, 16, 2, nn.ReLU6),
        _block(16, 24, 1, nn.ReLU6),
        Head(24, dropout=True),
    )


def efficientnet_lite() -> nn.Module:
    """5x5 depthwise, ReLU6, no squeeze-excite."""
    return nn.Sequential(
        _block(3, 8, 3, nn.ReLU6, stride=2),
        InvertedResidual(8, 8, 1, nn.ReLU6, kernel=5),
        InvertedResidual(8, 12, 2, nn.ReLU6, kernel=5),
        Head(12),
    )


def efficientnet_b0() -> nn.Module:
    """SiLU and squeeze-excite."""
    return nn.Sequential(
        _block(3, 8, 3, nn.SiLU, stride=2),
        InvertedResidual(8, 8, 1, nn.SiLU, squeeze=True),
        InvertedResidual(8, 12, 2, nn.SiLU, kernel=5, squeeze=True),
        Head(12),
    )


def mobilenet_v3() -> nn.Module:
    """HardSwish, HardSigmoid, PReLU and LeakyReLU."""
    return nn.Sequential(
        _block(3, 8, 3, nn.Hardswish, stride=2),
        InvertedResidual(8, 8, 1, lambda: nn.PReLU(16)),
        _block(8, 8, 3, nn.Hardsigmoid, dilation=1),
        _block(8, 8, 3, lambda: nn.LeakyReLU(0.1), groups=2),
        Head(8),
    )


class DenseLayer(nn.Module):
    """BN-ReLU-Conv twice; its output is appended to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.n1, self.c1 = _norm(inputs), nn.Conv2d(inputs, 8, 1, bias=False)
        self.n2, self.c2 = _norm(8), nn.Conv2d(8, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.c2(functional.relu(self.n2(self.c1(functional.relu(self.n1(x))))))
        return torch.cat([x, y], 1)


def densenet() -> nn.Module:
    """Concatenations, batch normalisation before ReLU and convolution, average pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        DenseLayer(8, 4),
        DenseLayer(12, 4),
        _norm(16),
        nn.ReLU(),
        nn.Conv2d(16, 8, 1, bias=False),
        nn.AvgPool2d(2),
        DenseLayer(8, 4),
        Head(12),
    )


class Fire(nn.Module):
    """Squeeze, then two kinds of expansion."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.one = nn.Conv2d(squeeze, expand, 1)
        self.three = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.one(x)), functional.relu(self.three(x))], 1)


def squeezenet() -> nn.Module:
    """Fire modules, ceil-mode pooling, a convolution as the classifier."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(8, 4, 8),
        Fire(16, 4, 8),
        nn.Dropout(0.5),
        nn.Conv2d(16, CLASSES, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class Inception(nn.Module):
    """Four branches; 1x7 and 7x1 kernels, average pooling that counts no padding."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.a = _block(inputs, 4, 1)
        self.b = nn.Sequential(
            nn.Conv2d(inputs, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, (7, 1), padding=(3, 0))
        )
        self.c = nn.Sequential(_block(inputs, 4, 3), _block(4, 4, 3))
        self.d = nn.Sequential(
            nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(inputs, 4, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x), self.c(x), self.d(x)], 1)


def inception() -> nn.Module:
    """Branches and a dilated convolution."""
    dilated = nn.Conv2d(16, 8, 3, padding=2, dilation=2)
    return nn.Sequential(_block(3, 8, 3, stride=2), Inception(8), dilated, nn.ReLU(), Head(8))


class UNet(nn.Module):
    """Transposed convolution, bilinear resize and skip concatenations; output [N, 5, 32, 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = _block(3, 8), _block(8, 8)
        self.low = _block(8, 8)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.mid = _block(16, 8)
        self.last = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(functional.max_pool2d(first, 2))
        third = self.low(functional.max_pool2d(second, 2))
        joined = self.mid(torch.cat([self.up(third), second], 1))
        large = functional.interpolate(joined, scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(torch.cat([large, first], 1))


def convnext() -> nn.Module:
    """Patchify stem, two blocks."""
    stem = nn.Conv2d(3, 8, 4, stride=4)
    return nn.Sequential(stem, ConvNextBlock(8), ConvNextBlock(8), Head(8))


class Gates(nn.Module):
    """Split, Upsample, Transpose and softmax: odds and ends of exported graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(3, 8, 3, stride=2)
        self.mix = nn.Conv2d(4, 8, 3, padding=1)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).chunk(2, dim=1)
        y = left * torch.sigmoid(right)
        y = functional.interpolate(y, scale_factor=2, mode="nearest")
        return functional.softmax(self.head(self.mix(y).transpose(2, 3)), dim=1)


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "vgg": Vgg,
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "efficientnet_lite": efficientnet_lite,
    "efficientnet_b0": efficientnet_b0,
    "densenet": densenet,
    "squeezenet": squeezenet,
    "inception": inception,
    "unet": UNet,
    "convnext": convnext,
    "vit": lambda: VisionTransformer(CLASSES),
    "gates": Gates,
}


def make(name: str) -> nn.Module:
    """A network in evaluation mode; its weights depend on the name alone."""
    torch.manual_seed(sum(name.encode()))
    return ARCHITECTURES[name]().eval()
