from __future__ import annotations

import hashlib
import http.client
import io
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lightmel
from lightmel import vocabularies as tags
from lightmel.errors import UnknownModelError, WeightsError
from lightmel.frontends.mel import MelConfig
from lightmel.hub import catalogue as hub
from lightmel.hub import won2020 as public

DATA = b"the published file"
RECORD = public.PublicCheckpoint(
    "public:won2020-mtat-fcn", "mtat", "fcn", len(DATA), hashlib.sha256(DATA).hexdigest(), 464_000
)


class Network:
    """Stands in for the network: what it answers, and what it was asked for."""

    def __init__(self, answer: bytes | Exception = DATA) -> None:
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
    def install(answer: bytes | Exception = DATA) -> Network:
        fake = Network(answer)
        monkeypatch.setattr(urllib.request, "urlopen", fake.urlopen)
        return fake

    return install


def kept(cache: Path) -> list[Path]:
    return [p for p in cache.rglob("*") if p.is_file()]


def test_a_download_is_pinned_checked_kept_and_not_repeated(cache: Path, network: Any) -> None:
    fake = network()
    path = hub.fetch_public(RECORD)
    assert path.read_bytes() == DATA
    assert kept(cache) == [path]
    assert path.stat().st_mode & 0o444 == 0o444, "a shared cache must be readable"
    assert hub.fetch_public(RECORD) == path
    assert fake.asked == [
        f"https://raw.githubusercontent.com/{public.REPOSITORY}/{public.COMMIT}/models/mtat/fcn/best_model.pth"
    ]


def test_a_damaged_cache_is_fetched_anew(cache: Path, network: Any) -> None:
    fake = network()
    path = hub.fetch_public(RECORD)
    path.write_bytes(DATA[:-1])
    assert hub.fetch_public(RECORD).read_bytes() == DATA
    assert len(fake.asked) == 2


@pytest.mark.parametrize("data", [b"", b"<html>", DATA[:-1], DATA + b"!", DATA * 100])
def test_what_is_not_the_published_file_is_not_kept(data: bytes, cache: Path, network: Any) -> None:
    network(data)
    with pytest.raises(WeightsError, match=r"not kept.*by hand.*\.pth"):
        hub.fetch_public(RECORD)
    assert kept(cache) == []


REFUSALS = {
    "no network": urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution")),
    "gone": urllib.error.HTTPError("https://x", 404, "Not Found", http.client.HTTPMessage(), None),
    "refused": ConnectionRefusedError(111, "Connection refused"),
    "slow": TimeoutError("timed out"),
    "cut off": http.client.IncompleteRead(b"the pub", 10),
    "garbage": http.client.BadStatusLine("garbage"),
}


@pytest.mark.parametrize("case", list(REFUSALS))
def test_a_refusal_says_why_and_where_to_put_the_file_by_hand(case: str, cache: Path, network: Any) -> None:
    network(REFUSALS[case])
    with pytest.raises(WeightsError, match=r"could not be fetched \(.+\)\. Put .+ by hand") as refused:
        hub.fetch_public(RECORD)
    by_hand = Path(str(refused.value).rsplit("by hand: ", 1)[1])
    by_hand.parent.mkdir(parents=True, exist_ok=True)
    by_hand.write_bytes(DATA)
    assert hub.fetch_public(RECORD) == by_hand


def test_a_cache_that_cannot_be_written_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Any
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LIGHTMEL_CACHE", str(tmp_path / "file"))
    network()
    with pytest.raises(WeightsError, match="LIGHTMEL_CACHE"):
        hub.fetch_public(RECORD)


def test_a_write_that_fails_leaves_nothing_behind(
    cache: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    network()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WeightsError, match="No space left on device"):
        hub.fetch_public(RECORD)
    assert kept(cache) == []


def test_load_goes_through_the_cache(cache: Path, network: Any, shared: Path) -> None:
    """The whole way of a public name, with the network in between replaced by the file itself."""
    record = public.CHECKPOINTS["public:won2020-jamendo-musicnn"]
    fake = network((shared / "teachers" / "jamendo-musicnn.pth").read_bytes())
    tagger = lightmel.load(record.name)
    assert tagger is lightmel.load(record.name)
    assert tagger.name == record.name
    assert len(fake.asked) == 1
    assert [p.stat().st_size for p in kept(cache)] == [record.bytes]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIGHTMEL_CACHE", str(tmp_path))
    assert hub.cache_folder() == tmp_path
    monkeypatch.delenv("LIGHTMEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub.cache_folder() == tmp_path / "lightmel"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert hub.cache_folder() == tmp_path / ".cache" / "lightmel"


def test_every_release_is_described() -> None:
    releases = hub.releases()
    assert len({r.name for r in releases}) == len(releases) == 1 + len(public.CHECKPOINTS)
    assert releases[0].name == hub.DEFAULT
    for release in releases:
        assert release.where in ("package", "download")
        assert release.vocabulary in tags.VOCABULARIES
        assert MelConfig.from_slug(release.config).slug == release.config
        assert release.licence
        assert release.summary
        assert "\n" not in release.summary
        assert (hub.packaged(release.name) is None) == (release.where == "download")


@pytest.mark.parametrize("release", [r for r in hub.releases() if r.where == "package"], ids=lambda r: r.name)
def test_a_packaged_tagger_is_what_its_record_says(release: hub.Release) -> None:
    path = hub.packaged(release.name)
    assert path is not None
    assert path.stat().st_size == release.bytes <= 4_000_000
    tagger = lightmel.load(release.name)
    assert tagger.name == release.name
    assert tagger.config.slug == release.config
    assert tagger.tags == tags.read(release.vocabulary)
    assert tagger.description.licence == release.licence
    assert tagger is lightmel.load("default") or release.name != hub.DEFAULT


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("defualt", "default"),
        ("public:won2020-mtat-musicn", "public:won2020-mtat-musicnn"),
        ("won2020-msd-fcn", "public:won2020-msd-fcn"),
        (hub.DEFAULT.replace("small", "smal"), hub.DEFAULT),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownModelError, match=f"Did you mean '{suggestion}'"):
        lightmel.load(name)


@pytest.mark.parametrize(
    "name", ["", "qqqqq", "no/such/file.safetensors", "no/such/file.pth", "x" * 5000, "a\0b"]
)
def test_what_is_neither_name_nor_file_is_refused(name: str) -> None:
    with pytest.raises(UnknownModelError, match="lightmel models"):
        lightmel.load(name)


def test_a_folder_is_no_tagger(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="is a folder"):
        lightmel.load(tmp_path)


def test_import_and_the_default_stay_off_the_network(network: Any) -> None:
    fake = network(AssertionError("the network was touched"))
    hub.releases()
    hub.packaged("default")
    assert fake.asked == []
