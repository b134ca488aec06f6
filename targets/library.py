"""Multiplier libraries: named sets of multipliers, merged, searched and shipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from alwann_c.errors import InputError
from alwann_c.targets.library_file import LIBRARY_FILE, read_library_file
from alwann_c.targets.multiplier import Multiplier
from alwann_c.targets.suggest import remedy

BUILTIN_LIBRARIES: dict[str, Path] = {
    "alwann": Path(__file__).parent / "libraries" / "alwann",
    "classic": Path(__file__).parent / "libraries" / "classic",
}
DEFAULT_LIBRARY = "alwann"

_GLOB_CHARACTERS = "*?["


@dataclass(frozen=True, eq=False)
class Library:
    """Multipliers by name, in the order of the file; `source` is the folder they came from."""

    name: str
    license: str
    source: Path | None
    multipliers: Mapping[str, Multiplier]

    def __len__(self) -> int:
        return len(self.multipliers)

    def __iter__(self) -> Iterator[Multiplier]:
        return iter(self.multipliers.values())

    def __contains__(self, name: object) -> bool:
        return name in self.multipliers

    def find(self, name: str) -> Multiplier:
        """The multiplier of that name; raises InputError, proposing a similar name."""
        if name not in self.multipliers:
            raise InputError(
                f"library {self.name!r}: no multiplier {name!r}: {remedy(name, self.multipliers)}"
            )
        return self.multipliers[name]

    def select(
        self, patterns: Sequence[str] | None = None, *, signed: bool, bits: int = 8
    ) -> tuple[Multiplier, ...]:
        """Multipliers that match a name or glob pattern, all for None, in library order.

        Only those of the given signedness with operands of at least `bits` bits are taken. Raises
        InputError where a plain name is unknown or unfit, a pattern matches none, or none is left.
        """
        fit = [m for m in self if m.signed == signed and m.bits >= bits]
        kind = f"{'signed' if signed else 'unsigned'} multipliers of {bits} bits or more"
        if not fit:
            raise InputError(f"library {self.name!r}: no {kind}: add a library that has some")
        if patterns is None:
            return tuple(fit)
        for pattern in patterns:
            if is_pattern(pattern):
                if not any(fnmatchcase(m.name, pattern) for m in fit):
                    names = ", ".join(m.name for m in fit[:4])
                    raise InputError(
                        f"library {self.name!r}: {pattern!r} matches none of its"
                        f" {len(fit)} {kind}: theirs are {names}, …"
                    )
            elif self.find(pattern) not in fit:
                raise InputError(
                    f"library {self.name!r}: {pattern!r} is not among its {kind}:"
                    f" {remedy(pattern, (m.name for m in fit))}"
                )
        return tuple(m for m in fit if any(fnmatchcase(m.name, p) for p in patterns))

    def exact(self, *, signed: bool = False, bits: int = 8) -> Multiplier:
        """The exact multiplier for operands of that format, of several the one of lowest power.

        Raises InputError if the library has none.
        """
        exact = [m for m in self if m.signed == signed and m.bits >= bits and m.is_exact]
        if not exact:
            kind = f"{'signed' if signed else 'unsigned'} {bits}-bit"
            raise InputError(
                f"library {self.name!r}: no exact {kind} multiplier to compare with: add one, or a"
                " library that has one"
            )
        return min(exact, key=lambda m: float("inf") if m.power_mw is None else m.power_mw)


def load_library(path: str | Path) -> Library:
    """The library in the folder `path`, or in the `library.toml` it names.

    Raises InputError naming file, multiplier and field for whatever is wrong with it.
    """
    file = Path(path)
    if file.is_dir():
        file = file / LIBRARY_FILE
    name, license_name, multipliers = read_library_file(file)
    return Library(name, license_name, file.parent, {m.name: m for m in multipliers})


def builtin_library_names() -> tuple[str, ...]:
    """Names that `load_builtin_library` takes."""
    return tuple(BUILTIN_LIBRARIES)


@lru_cache(maxsize=len(BUILTIN_LIBRARIES))
def load_builtin_library(name: str = DEFAULT_LIBRARY) -> Library:
    """A library that ships with the package, loaded once; InputError for an unknown name."""
    if name not in BUILTIN_LIBRARIES:
        raise InputError(f"library {name!r}: unknown: {remedy(name, BUILTIN_LIBRARIES)}")
    return load_library(BUILTIN_LIBRARIES[name])


def merge_libraries(libraries: Iterable[Library]) -> Library:
    """One library holding all multipliers, in order; a multiplier met twice is taken once.

    Raises InputError if nothing is given, or if a name stands for different circuits or for
    different figures in two libraries.
    """
    parts = list(libraries)
    if not parts:
        raise InputError("libraries: none given: give at least one")
    if len(parts) == 1:
        return parts[0]
    merged: dict[str, Multiplier] = {}
    problems: list[str] = []
    for part in parts:
        for multiplier in part:
            known = merged.setdefault(multiplier.name, multiplier)
            if known == multiplier and _figures(known) == _figures(multiplier):
                continue
            what = "figures" if known == multiplier else "circuits"
            problems.append(
                f"multiplier {multiplier.name!r} has different {what} in libraries"
                f" {known.library!r} and {multiplier.library!r}: rename one"
            )
    if problems:
        raise InputError("; ".join(problems))
    licenses = dict.fromkeys(part.license for part in parts)
    names = dict.fromkeys(part.name for part in parts)
    return Library("+".join(names), " AND ".join(licenses), None, merged)


def is_pattern(text: str) -> bool:
    """True for a glob pattern, False for a plain name."""
    return any(character in text for character in _GLOB_CHARACTERS)


def _figures(multiplier: Multiplier) -> tuple[float | None, float | None, float | None]:
    return multiplier.power_mw, multiplier.area_um2, multiplier.delay_ns
