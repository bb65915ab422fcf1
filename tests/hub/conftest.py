"""A cache of its own for each test, and a stand-in for the network."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest


class Network:
    """Stands in for the network: what it answers, and what it was asked for."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer, self.asked = answer, []

    def urlopen(self, url: str, timeout: float) -> io.BytesIO:
        self.asked.append(url)
        assert 0 < timeout < 300
        if isinstance(self.answer, Exception):
            raise self.answer
        return io.BytesIO(self.answer)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIGHTMEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes | Exception], Network]:
    def install(answer: bytes | Exception) -> Network:
        fake = Network(answer)
        monkeypatch.setattr(urllib.request, "urlopen", fake.urlopen)
        return fake

    return install
