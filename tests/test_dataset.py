"""Data sets: preparation, and every way to get them wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError


def write(folder: Path, text: str = "", **arrays: Any) -> Path:
    random = np.random.default_rng(0)
    content = {
        "images": random.integers(0, 256, (6, 4, 5, 3), np.uint8),
        "labels": np.array([0, 1, 2, 3, 0, 1]),
    } | arrays
    np.savez(folder / "d.npz", **{k: v for k, v in content.items() if v is not None})
    (folder / "d.toml").write_text(f'file = "d.npz"\n{text}', encoding="utf-8")
    return folder / "d.toml"


def test_value_is_pixel_over_scale_minus_mean_over_std(tmp_path: Path) -> None:
    text = "scale = 255.0\nmean = [0.1, 0.2, 0.3]\nstd = [0.5, 0.25, 2.0]\nrange = [1, 4]"
    path = write(tmp_path, text)
    data = load_dataset(path)
    raw = np.load(tmp_path / "d.npz")["images"][1:4].astype(np.float64)
    expected = (raw / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2.0]
    assert len(data) == 3
    assert data.images().dtype == np.float32
    np.testing.assert_allclose(data.images(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(data.images(1, 2), data.images()[1:2])
    assert data.labels is not None
    assert data.labels.tolist() == [1, 2, 3]


def test_nchw_and_other_names(tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(6, 3, 4, 5)).astype(np.float32)
    text = 'layout = "NCHW"\nimages = "x"\nlabels = "y"'
    path = write(tmp_path, text, images=None, labels=None, x=images, y=np.arange(6))
    data = load_dataset(path)
    np.testing.assert_array_equal(data.images(), images)
    data.check((3, 4, 5), 6, need_labels=True)


def test_bare_npz(tmp_path: Path) -> None:
    write(tmp_path)
    data = load_dataset(tmp_path / "d.npz")
    raw = np.load(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.images(), raw["images"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.labels, raw["labels"])


def test_limited(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path))
    assert data.limited(None) is data
    assert data.limited(99) is data
    some = data.limited(2)
    assert len(some) == 2
    assert some.labels is not None
    assert len(some.labels) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"text": "scale = 2.0"},
        {"text": "range = [0, 5]"},
        {"images": np.zeros((6, 4, 5, 3), np.uint8)},
        {"labels": np.array([0, 1, 2, 3, 0, 2])},
    ],
    ids=["scale", "range", "images", "labels"],
)
def test_hash_covers_everything_an_accuracy_depends_on(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    (tmp_path / "other").mkdir()
    first = load_dataset(write(tmp_path))
    assert first.sha256 == load_dataset(write(tmp_path)).sha256
    text = change.pop("text", "")
    assert load_dataset(write(tmp_path / "other", text, **change)).sha256 != first.sha256


@pytest.mark.parametrize(
    ("text", "arrays", "message"),
    [
        ("", {"labels": np.array([0.5] * 6)}, "one integer for each"),
        ("", {"labels": np.array([0, 1])}, "one integer for each of the 6"),
        ("", {"images": np.zeros((6, 4, 5))}, "rank 4 is expected"),
        ("", {"images": np.array([["a"]])}, "numeric array of rank 4"),
        ("", {"images": np.zeros((0, 4, 5, 3)), "labels": np.zeros(0, int)}, "empty"),
        ("range = [2, 2]", {}, "empty"),
        ("range = [0, 7]", {}, r"range: \[0, 7\] does not lie in 0\.\.6"),
        ("range = [4, 2]", {}, "range"),
        ("colour = 1", {}, "colour"),
        ('layout = "HWC"', {}, "layout"),
        ("scale = 0", {}, "scale"),
        ("scale = [", {}, "not valid TOML"),
        ('images = "pixels"', {}, "no array 'pixels'; it holds: images, labels"),
    ],
)
def test_refused_when_read(tmp_path: Path, text: str, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(write(tmp_path, text, **arrays))


@pytest.mark.parametrize(
    ("text", "message"),
    [("mean = [1.0, 2.0]", "mean: 2 values for 3 channels"), ("std = [1.0, 0.0, 1.0]", "std")],
)
def test_refused_when_prepared(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(write(tmp_path, text)).check((3, 4, 5), 4, need_labels=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(tmp_path: Path, bad: float) -> None:
    images = np.zeros((6, 4, 5, 3), np.float32)
    images[4, 1, 2, 0] = bad
    data = load_dataset(write(tmp_path, images=images))
    assert data.images(0, 4).shape == (4, 3, 4, 5)
    for refused in (data.images, lambda: data.check((3, 4, 5), 4, need_labels=False)):
        with pytest.raises(InputError, match="NaN or infinity"):
            refused()


def test_check(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path))
    data.check((3, 4, 5), 4, need_labels=True)
    with pytest.raises(InputError, match=r"images are \(3, 4, 5\).*takes \(3, 5, 4\)"):
        data.check((3, 5, 4), 4, need_labels=False)
    with pytest.raises(InputError, match=r"labels: found 0\.\.3, the model has 3 classes"):
        data.check((3, 4, 5), 3, need_labels=True)
    unlabelled = load_dataset(write(tmp_path, labels=None))
    unlabelled.check((3, 4, 5), 4, need_labels=False)
    with pytest.raises(InputError, match="accuracy needs labels"):
        unlabelled.check((3, 4, 5), 4, need_labels=True)


def test_negative_labels(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, labels=np.array([0, 1, 2, -1, 0, 1])))
    with pytest.raises(InputError, match=r"found -1\.\.2"):
        data.check((3, 4, 5), 4, need_labels=True)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_damaged_archives(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path)
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        load_dataset(path)


def test_truncated_archive(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        load_dataset(path)


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        load_dataset(path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_dataset(tmp_path / "none.toml")
    path = write(tmp_path)
    (tmp_path / "d.npz").unlink()
    with pytest.raises(InputError, match=r"'d\.npz' does not exist beside it"):
        load_dataset(path)
