"""Fetching: pinned, checked, kept whole or not at all, with the network replaced by a stand-in."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import subprocess
import sys
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lightmel
from lightmel import hub
from lightmel.errors import ConfigError, WeightsError
from lightmel.hub import won2020

DATA = b"the published file"
RECORD = replace(
    hub.CHECKPOINTS["public:won2020-mtat-fcn"], bytes=len(DATA), sha256=hashlib.sha256(DATA).hexdigest()
)


def kept(cache: Path) -> list[Path]:
    return [p for p in cache.rglob("*") if p.is_file()]


def test_a_download_is_pinned_checked_kept_and_not_repeated(cache: Path, network: Any) -> None:
    fake = network(DATA)
    path = hub.fetch_public(RECORD)
    assert path.read_bytes() == DATA
    assert kept(cache) == [path]
    assert path.stat().st_mode & 0o444 == 0o444, "a shared cache must be readable"
    assert hub.fetch_public(RECORD) == path
    assert fake.asked == [
        f"https://raw.githubusercontent.com/{won2020.REPOSITORY}/{won2020.COMMIT}/models/mtat/fcn/best_model.pth"
    ]


def test_a_damaged_cache_is_fetched_anew(cache: Path, network: Any) -> None:
    fake = network(DATA)
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
    network(DATA)
    wanted = r"cannot be written: .*\. Set LIGHTMEL_CACHE to a folder that can be written to"
    with pytest.raises(WeightsError, match=wanted):
        hub.fetch_public(RECORD)


def test_a_write_that_fails_leaves_nothing_behind(
    cache: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    network(DATA)
    monkeypatch.setattr(Path, "replace", full)
    wanted = r"cannot be written: No space left on device\. Set LIGHTMEL_CACHE to a folder .* space left"
    with pytest.raises(WeightsError, match=wanted):
        hub.fetch_public(RECORD)
    assert kept(cache) == []


def test_load_goes_through_the_cache(cache: Path, network: Any, shared: Path) -> None:
    """The whole way of a public name, with the network in between replaced by the file itself."""
    record = hub.CHECKPOINTS["public:won2020-jamendo-musicnn"]
    fake = network((shared / "teachers" / "jamendo-musicnn.pth").read_bytes())
    tagger = lightmel.load(record.name)
    assert tagger is lightmel.load(record.name)
    assert tagger.name == record.name
    assert len(fake.asked) == 1
    assert [p.stat().st_size for p in kept(cache)] == [record.bytes]


def test_a_precision_that_there_is_not_is_refused_before_anything_is_fetched(
    cache: Path, network: Any
) -> None:
    fake = network(AssertionError("the network was touched"))
    for wrong in ({"precision": "int8"}, {"device": "tpu"}):
        with pytest.raises(ConfigError, match=" is one of "):
            lightmel.load("public:won2020-mtat-fcn", **wrong)
    assert fake.asked == []
    assert kept(cache) == []


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One rule for the Hub's repositories and for other people's checkpoints."""
    monkeypatch.setenv("LIGHTMEL_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "third"))
    assert hub.cache_folder() == tmp_path
    assert hub.repositories_folder() == tmp_path / "hub"
    assert hub.public_file(RECORD) == tmp_path / "assets" / "lightmel" / RECORD.cached
    assert hub.public_file(RECORD, tmp_path / "here") == tmp_path / "here" / RECORD.cached
    monkeypatch.delenv("LIGHTMEL_CACHE")
    assert hub.cache_folder() == tmp_path / "other"
    assert hub.repositories_folder() == tmp_path / "third"
    monkeypatch.delenv("HF_HUB_CACHE")
    assert hub.repositories_folder() == tmp_path / "other" / "hub"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub.cache_folder() == tmp_path / "huggingface"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert hub.cache_folder() == tmp_path / ".cache" / "huggingface"


def test_a_file_in_the_cache_that_cannot_be_read(
    cache: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network(DATA)
    kept = hub.fetch_public(RECORD)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(WeightsError) as refused:
        hub.fetch_public(RECORD)
    assert str(refused.value) == (
        f"{kept} is in the cache, and cannot be read (Permission denied): mend its permissions, delete it, "
        "or let LIGHTMEL_CACHE name another folder."
    )


def test_the_cache_is_where_the_client_of_the_hub_has_it(tmp_path: Path) -> None:
    """Asked in processes of their own, since the client reads its environment when it is imported."""
    code = (
        "from huggingface_hub import constants; from lightmel import hub;"
        "print(constants.HF_HUB_CACHE, hub.repositories_folder(), constants.HF_ASSETS_CACHE,"
        " hub.cache_folder() / 'assets', sep='\\n')"
    )
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "LIGHTMEL_"))}
    for own in ({}, {"HF_HOME": str(tmp_path)}, {"XDG_CACHE_HOME": str(tmp_path)}):
        done = subprocess.run(
            [sys.executable, "-c", code], env=plain | own, capture_output=True, encoding="utf-8", check=True
        )
        theirs, ours, their_assets, our_assets = done.stdout.splitlines()
        assert (ours, our_assets) == (theirs, their_assets)


def test_nothing_is_fetched_where_it_is_forbidden(
    cache: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = network(DATA)
    with pytest.raises(WeightsError, match=r"not in the cache, and nothing may be fetched.* by hand"):
        hub.fetch_public(RECORD, local_files_only=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="nothing may be fetched"):
        hub.fetch_public(RECORD)
    assert fake.asked == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    kept = hub.fetch_public(RECORD)
    assert hub.fetch_public(RECORD, local_files_only=True) == kept
