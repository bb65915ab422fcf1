from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lightmel.datasets import pickles
from lightmel.errors import DataError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "a.pkl"
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles")


@given(value=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_comes_back_from_every_protocol(folder: Path, value: Any, protocol: int) -> None:
    assert pickles.load(stored(folder, pickle.dumps(value, protocol))) == value


@given(
    value=arrays.arrays(
        st.sampled_from(["?", "u1", "<i8", ">i4", "<f4", ">f8", "<c16", "S3", "<U4", ">U4"]),
        arrays.array_shapes(min_dims=0, min_side=0, max_side=3),
    ),
    protocol=st.integers(0, pickle.HIGHEST_PROTOCOL),
    fortran=st.booleans(),
)
@example(np.arange(6, dtype=">i4").reshape(2, 3), 2, False)
@example(np.arange(6, dtype=">i4").reshape(2, 3), 5, True)
def test_plain_arrays_come_back_from_every_protocol(
    folder: Path, value: np.ndarray, protocol: int, fortran: bool
) -> None:
    value = np.asarray(value, order="F" if fortran else "C")
    found = pickles.load(stored(folder, pickle.dumps({"a": [value]}, protocol)))["a"][0]
    value = value.astype(value.dtype.newbyteorder("="))
    assert found.dtype == value.dtype
    assert found.shape == value.shape
    assert found.tobytes() == value.tobytes()


def test_a_numpy_number_comes_back(folder: Path) -> None:
    assert pickles.load(stored(folder, pickle.dumps(np.float32(0.5), 2))) == 0.5


def test_python_2_lists_are_read_as_text(folder: Path, forms: SimpleNamespace) -> None:
    assert pickles.load(stored(folder, forms.python2_list(["0/a.npy", "f/b.npy"]))) == ["0/a.npy", "f/b.npy"]


def test_python_2_dictionaries_of_arrays_are_read(folder: Path, forms: SimpleNamespace) -> None:
    truth = {f"TR{i}": np.arange(50).reshape(50, 1) % (i + 2) == 0 for i in range(3)}
    data = forms.python2_dict(truth)
    assert all(np.array_equal(v, pickle.loads(data, encoding="latin1")[k]) for k, v in truth.items())
    found = pickles.load(stored(folder, data))
    assert list(found) == list(truth)
    for key, value in truth.items():
        assert found[key].dtype == np.bool_
        np.testing.assert_array_equal(found[key], value)


def test_a_gz_twin_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.cP.gz"
    path.write_bytes(gzip.compress(pickle.dumps(["x"], 0)))
    assert pickles.load(path) == ["x"]


class Runs:
    """Calls whatever it is given when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, Any]:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("call", "arguments", "name"),
    [
        (os.system, ("touch {}",), "system"),
        (eval, ("open('{}', 'w')",), "eval"),
        (exec, ("open('{}', 'w')",), "exec"),
        (open, ("{}", "w"), "open"),
        (getattr, ("{}", "upper"), "getattr"),
        (np.load, ("{}",), "load"),
        (np.memmap, ("{}", "u1", "w+", 0, 1), "memmap"),
        (np.fromfile, ("{}",), "fromfile"),
        (pickle.loads, (b"N.",), "loads"),
        (Path, ("{}",), "Path"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_pickle_that_calls_anything_is_refused_by_name(
    tmp_path: Path, call: Any, arguments: tuple[Any, ...], name: str, protocol: int
) -> None:
    target = tmp_path / "harm"
    given_ = [a.format(target) if isinstance(a, str) else a for a in arguments]
    path = stored(tmp_path, pickle.dumps([1, Runs(call, *given_)], protocol))
    with pytest.raises(DataError, match=rf"a\.pkl is refused: it asks for [\w.]*{name}, and"):
        pickles.load(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n.",
        b"(S'true'\nios\nsystem\n.",  # INST
        b"\x80\x02(cos\nsystem\nU\x04trueo.",  # OBJ
        b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",  # a name with dots
        b"\x80\x04\x8c\x0anumpy.core\x8c\x08_globals\x93.",
        b"cbuiltins\nset\n.",
        b"ccollections\nOrderedDict\n.",
        b"Pan object elsewhere\n.",
    ],
)
def test_other_ways_to_a_name_are_refused_too(folder: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="is refused"):
        pickles.load(stored(folder, data))


DTYPE = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        pickle.dumps(list(range(1000)))[:-20],
        DTYPE % b"O" + b".",
        DTYPE % b"f8,O" + b".",
        DTYPE % b"f8" + b"(I3\nS'x'\nNNNI-1\nI-1\nI0\ntb.",
        ARRAY + b"(I1\n(I9\nt" + DTYPE % b"f8" + b"I00\nS'short'\ntb.",
        ARRAY + b"(I1\n(I-1\nt" + DTYPE % b"f8" + b"I00\nS''\ntb.",
        ARRAY + b"(I1\n(I1\ntS'f8'\nI00\nS'12345678'\ntb.",
        b"cnumpy\ndtype\n(dS'x'\nI1\nstb.",  # state for what stands for a name
        b"cnumpy\ndtype\n(N(dS'x'\nI1\nsttb.",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
    ],
)
def test_a_damaged_or_forged_pickle_is_an_error_of_ours(folder: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="no whole pickle"):
        pickles.load(stored(folder, data))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        pickles.load(tmp_path / "nothing.cP")


def test_a_gz_that_is_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.cP.gz"
    path.write_bytes(gzip.compress(os.urandom(1000))[:-500])
    with pytest.raises(DataError, match=r"a\.cP\.gz"):
        pickles.load(path)


@pytest.mark.parametrize("store", [b"r\xff\xff\xff\xff", b"p4294967295\n"])
def test_a_pickle_gets_no_room_for_numbers_that_it_names(folder: Path, store: bytes) -> None:
    """Python's reader in C would make a list of twice so many places: 64 GB."""
    assert pickles.load(stored(folder, b"\x80\x02K\x01" + store + b".")) == 1
    with pytest.raises(DataError, match="no whole pickle"):  # a byte array of a terabyte
        pickles.load(stored(folder, b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"abc"))
