"""Where the taps of a convolution lie in memory: contiguous runs, groups of taps, blocks of lanes."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.ir.spec import ConvSpec


@dataclass(frozen=True)
class Geometry:
    """Addresses of a convolution over a padded NHWC image.

    The taps of a pixel form `runs` runs of `run` consecutive bytes each; tap k = run index * `run`
    + position. Run r starts `run_offset(r)` bytes after the pixel's first byte.
    """

    spec: ConvSpec

    @property
    def padded_height(self) -> int:
        """Rows of the padded image."""
        return self.spec.height + self.spec.padding[0] + self.spec.padding[2]

    @property
    def padded_width(self) -> int:
        """Columns of the padded image."""
        return self.spec.width + self.spec.padding[1] + self.spec.padding[3]

    @property
    def padded(self) -> bool:
        """Whether the convolution pads at all."""
        return any(self.spec.padding)

    @property
    def image(self) -> int:
        """Bytes of one padded image."""
        return self.padded_height * self.padded_width * self.spec.in_channels

    @property
    def pixels(self) -> int:
        """Output pixels of one image."""
        return self.spec.out_height * self.spec.out_width

    @property
    def group_in(self) -> int:
        """Input channels of one convolution group."""
        return self.spec.in_channels // self.spec.groups

    @property
    def group_out(self) -> int:
        """Output channels of one convolution group."""
        return self.spec.out_channels // self.spec.groups

    @property
    def row_runs(self) -> bool:
        """Whether a whole kernel row is one run (else one run per kernel position)."""
        return self.spec.groups == 1 and (self.spec.dilation[1] == 1 or self.spec.kernel[1] == 1)

    @property
    def runs(self) -> int:
        """Number of runs."""
        kh, kw = self.spec.kernel
        return kh if self.row_runs else kh * kw

    @property
    def run(self) -> int:
        """Taps of one run."""
        return self.spec.taps // self.runs

    @property
    def row_step(self) -> int:
        """Bytes from a kernel row to the next."""
        return self.spec.dilation[0] * self.padded_width * self.spec.in_channels

    @property
    def column_step(self) -> int:
        """Bytes from a kernel column to the next."""
        return self.spec.dilation[1] * self.spec.in_channels


@dataclass(frozen=True)
class TapGroups:
    """A run of `run` taps split into `per_run` groups whose sizes differ by at most one.

    The first `longer` groups of a run have `size + 1` taps, the others `size`.
    """

    run: int
    per_run: int

    @staticmethod
    def split(run: int, at_most: int) -> TapGroups:
        """Fewest groups of at most `at_most` taps."""
        return TapGroups(run, -(-run // at_most))

    @property
    def size(self) -> int:
        """Taps of the shorter groups."""
        return self.run // self.per_run

    @property
    def longer(self) -> int:
        """Number of groups with one tap more."""
        return self.run % self.per_run

    @property
    def largest(self) -> int:
        """Taps of the largest group."""
        return self.size + (1 if self.longer else 0)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that occur."""
        return (self.size + 1, self.size) if self.longer else (self.size,)
