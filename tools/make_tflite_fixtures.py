"""Writes tests/fixtures/tflite: small networks with random weights, and what TensorFlow Lite computes.

TensorFlow is large and its versions are bound to others of numpy, so this runs in an environment of
its own:

    python3 -m venv tensorflow-env
    tensorflow-env/bin/pip install tensorflow-cpu==2.21.0
    tensorflow-env/bin/python tools/make_tflite_fixtures.py tests/fixtures/tflite

Every .npz holds `images` [n, h, w, c], `output`, and of the quantized networks each tensor of codes
that the interpreter computed, as `tensor_<index>`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(0, 1, (4, 16, 16, 3)).astype(np.float32)
CALIBRATION = RANDOM.normal(0, 1, (64, 16, 16, 3)).astype(np.float32)


def _block(x: Any, channels: int, name: str, **how: Any) -> Any:
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=name, **how)(x)
    return layers.ReLU(6.0)(layers.BatchNormalization(name=f"{name}_norm")(x))


def residual() -> Any:
    """Strided, depthwise and dilated convolutions, an addition, branches, pooling, a dense layer."""
    image = keras.Input((16, 16, 3), name="image")
    stem = _block(image, 8, "stem", strides=2)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depth")(stem)
    x = layers.Add()([layers.Conv2D(8, 1, name="point")(x), stem])
    left = layers.Conv2D(4, 3, dilation_rate=2, padding="same", name="dilated")(x)
    right = layers.MaxPooling2D(3, strides=1, padding="same")(x)
    x = layers.Concatenate()([left, right])
    x = layers.AveragePooling2D(2)(layers.ZeroPadding2D(((1, 0), (0, 1)))(x))
    x = layers.Conv2D(10, 3, padding="valid", activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(12, activation="relu", name="hidden")(x)
    return keras.Model(image, layers.Softmax()(layers.Dense(5, name="head")(x)))


def segmenting() -> Any:
    """Transposed convolution, resizing, gates, and an image as the output."""
    image = keras.Input((16, 16, 3), name="image")
    down = layers.Conv2D(6, 5, strides=2, padding="same", activation="hard_swish", name="a")(image)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(down)
    gate = layers.Conv2D(6, 1, activation="sigmoid", name="gate")(gate)
    x = layers.LeakyReLU(0.1)(layers.Multiply()([down, gate]))
    x = layers.Conv2DTranspose(4, 2, strides=2, padding="same", name="up")(x)
    large = layers.UpSampling2D(2, interpolation="bilinear")(down)
    x = layers.Concatenate()([x, large])
    return keras.Model(image, layers.Conv2D(3, 1, activation="tanh", name="out")(x))


NETWORKS: dict[str, Callable[[], Any]] = {"residual": residual, "segmenting": segmenting}


def _statistics(model: Any) -> None:
    """Batch normalisations that fold to something."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.gamma.shape
            drawn = [RANDOM.uniform(0.5, 1.5, shape), RANDOM.normal(0, 0.3, shape)]
            layer.set_weights(
                [*drawn, RANDOM.normal(0, 0.3, shape), RANDOM.uniform(0.5, 1.5, shape)]
            )


def _samples() -> Iterator[list[Any]]:
    for image in CALIBRATION:
        yield [image[None]]


def _converted(model: Any, *, integer: bool) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if integer:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = _samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _run(content: bytes, *, integer: bool) -> dict[str, Any]:
    """The interpreter's tensors for every image, by its reference kernels."""
    runner = tf.lite.Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
    )
    runner.allocate_tensors()
    (entry,), (result,) = runner.get_input_details(), runner.get_output_details()
    parts: dict[str, list[Any]] = {}
    for image in IMAGES:
        given = image[None]
        if integer:
            scale, zero = entry["quantization"]
            given = np.clip(np.rint(given / scale) + zero, -128, 127).astype(np.int8)
        runner.set_tensor(entry["index"], given)
        runner.invoke()
        parts.setdefault("output", []).append(runner.get_tensor(result["index"]))
        for detail in runner.get_tensor_details() if integer else ():
            shape = detail["shape"]
            if detail["dtype"] == np.int8 and len(shape) in (2, 4) and shape[0] == 1:
                try:
                    value = runner.get_tensor(detail["index"])
                except ValueError:
                    continue
                parts.setdefault(f"tensor_{detail['index']}", []).append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


def main(folder: Path) -> None:
    """Writes every network as float and as full int8, with images and what they give."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(7)
    for name, make in NETWORKS.items():
        model = make()
        _statistics(model)
        for integer in (False, True):
            content = _converted(model, integer=integer)
            stem = f"{name}_int8" if integer else name
            (folder / f"{stem}.tflite").write_bytes(content)
            found = _run(content, integer=integer)
            np.savez_compressed(folder / f"{stem}.npz", images=IMAGES, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
