"""A cache of its own for each test, and a stand-in for the network."""

from __future__ import annotations

import io
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # what lies beside it is no package

from hub_server import Hub, serving


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
def graphs() -> None:
    """Let releases have graphs."""


@pytest.fixture(autouse=True)
def no_graphs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare tests of other things the seconds that a graph takes."""
    if "graphs" not in request.fixturenames:
        monkeypatch.setattr("lightmel.checkpoint.can_export", lambda: False)


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


@pytest.fixture
def served(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a Hub on this machine, which the client asks; a request that it does not know fails the test."""
    from huggingface_hub import constants, file_download

    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        # As if the client had been imported with that: older ones look here after a commit.
        template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for module in (constants, file_download):
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        yield hub
    assert hub.unknown == []
