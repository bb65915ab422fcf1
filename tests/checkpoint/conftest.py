"""A tagger's file to read and to spoil."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file


@pytest.fixture
def saved(tmp_path: Path, tiny: Callable[..., Any]) -> Path:
    """The file of a tiny tagger."""
    path = tmp_path / "tiny.safetensors"
    tiny().save(path)
    return path


def _header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    found: dict[str, Any] = json.loads(data[8 : 8 + size])
    return found


def _rewrite(
    path: Path,
    tensors: Callable[[dict[str, Any]], object] = lambda t: None,
    document: Callable[[dict[str, Any]], object] = lambda d: None,
) -> None:
    held, text = load_file(path), json.loads(_header(path)["__metadata__"]["lightmel"])
    tensors(held)
    document(text)
    save_file(held, path, metadata={"lightmel": json.dumps(text)})


@pytest.fixture(scope="session")
def header() -> Callable[[Path], dict[str, Any]]:
    """Read the header of a safetensors file, by the format's own words."""
    return _header


@pytest.fixture(scope="session")
def rewrite() -> Callable[..., None]:
    """Change the tensors, the document, or both, of a tagger's file in place."""
    return _rewrite
