"""Libraries: reading, refusing, merging, choosing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alwann_c.errors import InputError
from alwann_c.targets import (
    Library,
    Multiplier,
    builtin_library_names,
    error_statistics,
    exact_products,
    load_builtin_library,
    load_library,
    merge_libraries,
)


def test_reads_evoapprox_as_it_is(evoapprox: Path) -> None:
    library = load_library(evoapprox)
    assert len(library.select(signed=False)) == 36
    assert len(library.select(signed=True)) == 13
    assert (library.name, library.license) == ("evoapprox", "MIT")
    assert library.exact().name == "mul8u_1JFF"
    assert library.exact(signed=True).name == "mul8s_1KV8"
    assert library.find("mul8u_NGR").mae == pytest.approx(42.2863, rel=1e-4)
    assert {m.library for m in library} == {"evoapprox"}


def test_every_builtin_library_loads() -> None:
    for name in builtin_library_names():
        assert load_builtin_library(name) is load_builtin_library(name)
    with pytest.raises(InputError, match="did you mean 'classic'"):
        load_builtin_library("clasic")


def test_reads_npy(write_library: Any) -> None:
    assert load_library(write_library(table='"m.npy"') / "library.toml").find("m").is_exact


def test_a_narrow_table_repeats(write_library: Any) -> None:
    products = np.multiply.outer(np.arange(16), np.arange(16)).astype("<u2")
    multiplier = load_library(write_library(bits="4", data=products.tobytes())).find("m")
    assert multiplier.is_exact
    assert multiplier.table.shape == (256, 256)
    assert multiplier.table[0x13, 0xF2] == 6


def test_signed_tables_are_indexed_by_bit_pattern(write_library: Any) -> None:
    data = exact_products(True).astype("<i2").tobytes()
    multiplier = load_library(write_library(signed="true", data=data)).find("m")
    assert multiplier.table[0xFF, 0x02] == -2
    assert multiplier.is_exact


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"data": b"\0" * 65536}, r"has 65536 bytes, expected 131072"),
        ({"data": b""}, r"has 0 bytes, expected 131072"),
        ({"table": '"absent.bin"'}, r"no file absent\.bin"),
        ({"table": '"../m.bin"'}, "leads out of the library's folder"),
        ({"table": '"/etc/passwd"'}, "leads out of the library's folder"),
        ({"table": "'..\\m.bin'"}, "leads out of the library's folder"),
        ({"table": '"m.csv"'}, r"no file m\.csv|unknown kind"),
        ({"table": '"library.toml"'}, "unknown kind"),
        ({"name": '"a/b"'}, "path separator"),
        ({"name": '""'}, "is no name"),
        ({"signed": "true"}, "check `signed`"),
        ({"signed": "true", "mae": "0"}, "check `signed`"),
        ({"signed": '"no"'}, r"multiplier\[0\]\.signed"),
        ({"signed": None}, r"multiplier\[0\]\.signed: missing"),
        ({"bits": "4"}, r"expected 512"),
        ({"bits": "9"}, r"multiplier\[0\]\.bits"),
        ({"mae": "42.0"}, r"mae: 42 is published, but the table has 0"),
        ({"wce": "42"}, r"wce: 42 is published, but the table has 0"),
        ({"power_mw": "-1.0"}, r"multiplier\[0\]\.power_mw"),
        ({"power_mw": "nan"}, r"multiplier\[0\]\.power_mw"),
        ({"powr_mw": "1.0"}, r"powr_mw: unknown key: did you mean 'power_mw'"),
        ({"head": 'schema = 2\nname = "l"\n'}, "schema: 2: give 1"),
        ({"head": "schema = 1\nname = 3\n"}, "name"),
        ({"head": "schema = \n"}, "not valid TOML"),
    ],
)
def test_bad_libraries_are_refused(write_library: Any, lines: dict[str, Any], message: str) -> None:
    folder = write_library(**lines)
    with pytest.raises(InputError, match=message) as caught:
        load_library(folder)
    assert str(caught.value).startswith(str(folder / "library.toml"))
    assert "\n" not in str(caught.value)


def test_all_problems_of_all_multipliers_are_told_at_once(write_library: Any) -> None:
    folder = write_library(mae="42.0")
    more = '[[multiplier]]\nname = "m"\ntable = "m.bin"\nsigned = false\n'
    more += '[[multiplier]]\nname = "n"\ntable = "n.bin"\nsigned = false\n'
    with (folder / "library.toml").open("a", encoding="utf-8") as file:
        file.write(more)
    with pytest.raises(InputError, match=r"mae: 42.*used before.*no file n\.bin"):
        load_library(folder)


def test_a_link_out_of_the_folder_is_refused(write_library: Any, tmp_path: Path) -> None:
    folder = write_library(table='"link.bin"')
    outside = tmp_path.parent / f"{tmp_path.name}-outside.bin"
    outside.write_bytes(b"")
    (folder / "link.bin").symlink_to(outside)
    with pytest.raises(InputError, match="leads out of the library's folder"):
        load_library(folder)


def test_an_unsigned_table_of_signed_products_is_refused(write_library: Any) -> None:
    data = exact_products(True).astype("<i2").tobytes()
    with pytest.raises(InputError, match="by 0 if read with the other signedness"):
        load_library(write_library(data=data))


@pytest.mark.parametrize("array", [np.zeros((16, 16), int), np.zeros((256, 256)), None])
def test_bad_npy_tables_are_refused(write_library: Any, array: Any) -> None:
    folder = write_library(table='"m.npy"')
    if array is None:
        (folder / "m.npy").write_bytes(b"\x93NUMPY" + b"\0" * 100)
    else:
        np.save(folder / "m.npy", array)
    with pytest.raises(InputError, match=r"m\.npy"):
        load_library(folder)


def test_a_pickled_npy_is_not_loaded(write_library: Any) -> None:
    folder = write_library(table='"m.npy"')
    np.save(folder / "m.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"m\.npy is no \.npy array"):
        load_library(folder)


def test_products_outside_the_format_are_refused(write_library: Any) -> None:
    folder = write_library(table='"m.npy"')
    np.save(folder / "m.npy", exact_products(False) - 1)
    with pytest.raises(InputError, match="means 0 to 65535"):
        load_library(folder)


def test_rounding_of_published_figures_is_tolerated(write_library: Any) -> None:
    table = exact_products(False) & ~63
    mae = 1.008 * error_statistics(table, signed=False).mae
    folder = write_library(data=table.astype("<u2").tobytes(), mae=f"{mae:.3f}", wce="63")
    assert load_library(folder).find("m").wce == 63


def test_missing_library(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_library(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load_library(tmp_path / "nothing")


def test_find_proposes_a_name(library: Library) -> None:
    with pytest.raises(InputError, match="no multiplier 'exat': did you mean"):
        library.find("exat")
    with pytest.raises(InputError, match="known are exact, half, tenth, sexact"):
        library.find("qqqq")


def test_select(library: Library) -> None:
    def names(patterns: list[str] | None, *, signed: bool = False) -> list[str]:
        return [m.name for m in library.select(patterns, signed=signed)]

    assert names(None) == ["exact", "half", "tenth"]
    assert names(["t*", "exact"]) == ["exact", "tenth"]
    assert names(None, signed=True) == ["sexact"]
    with pytest.raises(InputError, match="'x\\*' matches none"):
        names(["x*"])
    with pytest.raises(InputError, match="'sexact' is not among its unsigned"):
        names(["sexact"])
    with pytest.raises(InputError, match="no multiplier 'half2'"):
        names(["half2"])


def test_exact_is_the_cheapest_exact_one(library: Library) -> None:
    cheap = Multiplier("cheap", exact_products(False), power_mw=0.9)
    unknown = Multiplier("unknown", exact_products(False))
    more = Library("more", "MIT", None, {"unknown": unknown, "cheap": cheap})
    assert merge_libraries([library, more]).exact().name == "cheap"
    with pytest.raises(InputError, match="no exact signed 8-bit multiplier"):
        more.exact(signed=True)


def test_merge(library: Library) -> None:
    assert merge_libraries([library]) is library
    again = merge_libraries([library, library, load_builtin_library()])
    assert len(again) == len(library) + len(load_builtin_library())
    assert again.name == "small+alwann"
    assert again.license == "MIT AND Apache-2.0"
    with pytest.raises(InputError, match="none given"):
        merge_libraries([])


def test_merge_refuses_a_name_with_two_meanings(library: Library) -> None:
    other = Multiplier("half", exact_products(False), power_mw=0.5, area_um2=60.0, library="b")
    with pytest.raises(InputError, match="'half' has different circuits in libraries 'small' and"):
        merge_libraries([library, Library("b", "MIT", None, {"half": other})])
    dear = Multiplier("half", library.find("half").table, power_mw=0.6, library="b")
    with pytest.raises(InputError, match="'half' has different figures"):
        merge_libraries([library, Library("b", "MIT", None, {"half": dear})])
