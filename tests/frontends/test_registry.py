"""Front ends by kind, a second one beside the mels, and the stream that every front end has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import (
    PAPER_CONFIGS,
    Frontend,
    FrontendConfig,
    MelConfig,
    MelFrontend,
    build_frontend,
    config_class,
    config_from_dict,
    config_from_slug,
    kinds,
    known_kinds,
    make_known,
    register,
    registry,
)


@dataclass(frozen=True)
class LoudnessConfig(FrontendConfig):
    """Loudness in frames end to end, relative to the loudest one: it takes the whole sound."""

    kind: ClassVar[str] = "loudness"
    slug_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(\d+)k-loudness(\d+)")

    sr: int
    size: int = 100

    @property
    def slug(self) -> str:
        return f"{self.sr // 1000}k-loudness{self.size}"

    @classmethod
    def from_slug(cls, slug: str) -> LoudnessConfig:
        match = cls.slug_pattern.fullmatch(slug)
        if match is None:
            raise ConfigError(f"{slug!r} is not a loudness configuration.")
        return cls(1000 * int(match[1]), int(match[2]))

    def shape(self, n_samples: int) -> tuple[int, int]:
        return 1, n_samples // self.size


class Loudness(Frontend):
    """The module of `LoudnessConfig`."""

    config: LoudnessConfig

    def forward(self, wave: Tensor) -> Tensor:
        frames = wave.unfold(-1, self.config.size, self.config.size).square().mean(-1)
        return (frames / frames.amax(-1, keepdim=True)).unsqueeze(-2)


@dataclass(frozen=True)
class OtherLoudnessConfig(LoudnessConfig):
    """Another front end of the same kind."""


HERE = "mel, kaldi_mel, cqt, waveform"
CONFIG = LoudnessConfig(16_000, 50)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "KINDS", dict(registry.KINDS))


# The registry


def test_mels_are_known_without_torch() -> None:
    assert kinds() == ("mel", "kaldi_mel", "cqt", "waveform")
    assert config_class("mel") is MelConfig
    assert isinstance(build_frontend(MelConfig(16_000, 48)), MelFrontend)
    code = (
        "import sys; from lightmel.frontends import config_from_dict, config_from_slug, known_kinds;"
        "config_from_dict({'kind': 'mel'}); config_from_slug('12k-mel96-x1-log'); known_kinds();"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_second_front_end_is_known_once_it_is_registered() -> None:
    with pytest.raises(ConfigError, match=rf"no front end 'loudness' here; there are {HERE}\."):
        config_from_dict(CONFIG.to_dict())
    with pytest.raises(ConfigError, match="is not a mel configuration"):
        config_from_slug(CONFIG.slug)
    register(LoudnessConfig, Loudness)
    assert kinds() == ("mel", "kaldi_mel", "cqt", "waveform", "loudness")
    assert config_class("loudness") is LoudnessConfig
    assert config_from_slug("16k-loudness50") == CONFIG
    assert config_from_slug("16k-mel48-x2-db") == MelConfig(16_000, 48, 2)
    plain = json.loads(json.dumps(CONFIG.to_dict()))  # as files keep it
    assert plain == {"kind": "loudness", "sr": 16_000, "size": 50}
    assert config_from_dict(plain) == CONFIG
    frontend = build_frontend(CONFIG)
    assert isinstance(frontend, Loudness)
    assert frontend.config == CONFIG


def test_the_same_front_end_may_be_registered_again_but_no_second_of_its_kind() -> None:
    register(LoudnessConfig, Loudness)
    register(LoudnessConfig, Loudness)
    with pytest.raises(ConfigError, match=r"a front end 'loudness' already: .*:LoudnessConfig\."):
        register(OtherLoudnessConfig, Loudness)
    with pytest.raises(ConfigError, match="a front end 'loudness' already"):
        register(LoudnessConfig, MelFrontend)
    assert config_class("loudness") is LoudnessConfig


def test_the_kinds_of_one_process_can_be_made_known_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    register(LoudnessConfig, Loudness)
    known = json.loads(json.dumps(known_kinds()))
    monkeypatch.setattr(registry, "KINDS", {"mel": registry.KINDS["mel"]})
    make_known(known)
    make_known(known)
    assert kinds() == ("mel", "kaldi_mel", "cqt", "waveform", "loudness")
    assert config_from_dict(CONFIG.to_dict()) == CONFIG
    assert isinstance(build_frontend(CONFIG), Loudness)


@pytest.mark.parametrize("config", PAPER_CONFIGS[::7], ids=lambda c: c.slug)
def test_a_slug_of_any_kind_reads_back(config: MelConfig) -> None:
    register(LoudnessConfig, Loudness)
    assert config_from_slug(config.slug) == config


@pytest.mark.parametrize("slug", ["", "mel", "16k", "16k-loudness", "16k-loudness50x", "16k-mel48-x2-dB"])
def test_what_is_no_slug_of_any_kind_is_refused_with_an_example(slug: str) -> None:
    register(LoudnessConfig, Loudness)
    with pytest.raises(ConfigError, match="one looks like '16k-mel48-x2-db'"):
        config_from_slug(slug)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({}, rf"no front end None here; there are {HERE}\. One of your own is made known with "),
        ({"sr": 16_000, "n_mels": 48}, "no front end None here"),
        ({"kind": "mell"}, rf"no front end 'mell' here; there are {HERE}\. Did you mean 'mel'\?"),
        ({"kind": "chroma", "sr": 16_000}, r"lightmel\.frontends\.register; a newer lightmel may have it\."),
        ({"kind": ["mel"]}, r"no front end \['mel'\] here"),
        ({"kind": "mel", "color": "red"}, r"not the fields of a mel front end: .*'color'"),
        ({"kind": "mel", "slug": "16k-mel48-x2-db"}, "not the fields of a mel front end: .*'slug'"),
        ({"kind": "mel", "n_mels": "many"}, "n_mels must be a whole number"),
        ({"kind": "mel", "hop_factor": 0}, "hop factor of 0"),
        ({"kind": "mel", "log": "ln"}, "log is 'log' or 'db', not 'ln'"),
        ({"kind": "loudness"}, "not the fields of a loudness front end: .*'sr'"),
    ],
)
def test_plain_data_that_describe_no_front_end_are_refused(plain: dict[str, Any], message: str) -> None:
    register(LoudnessConfig, Loudness)
    registered = message.replace(f"there are {HERE}", f"there are {HERE}, loudness")
    before = dict(plain)
    with pytest.raises(ConfigError, match=registered):
        config_from_dict(plain)
    assert plain == before


# What every configuration has


def test_sizes_follow_from_the_shape() -> None:
    assert CONFIG.rows == 1
    assert CONFIG.n_samples(0.1) == 1_600
    assert CONFIG.input_shape(0.1) == CONFIG.shape(1_600) == (1, 32)


def test_no_frames_can_be_left_out_unless_a_kind_defines_how() -> None:
    with pytest.raises(ConfigError, match=r"Of 16k-loudness50 no frames can be left out"):
        CONFIG.thinned(2)
    assert CONFIG.thinning(LoudnessConfig(16_000, 100)) is None
    assert CONFIG.thinning(MelConfig(16_000, 48)) is None
    assert MelConfig(16_000, 48).thinning(CONFIG) is None


def test_a_configuration_without_slug_and_shape_is_none() -> None:
    with pytest.raises(TypeError, match="abstract"):
        FrontendConfig()  # type: ignore[abstract]


# The stream of a front end that needs the whole sound


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sizes", [[1_000], [1, 0, 999], [300, 300, 300, 100], [7] * 142 + [6]])
def test_a_stream_in_any_blocks_equals_the_whole(sizes: list[int]) -> None:
    frontend = Loudness(CONFIG)
    wave = noise(2, 1_000)
    stream = frontend.stream()
    parts = [stream.push(block) for block in wave.split(sizes, -1)]
    assert {tuple(part.shape) for part in parts} == {(2, 1, 0)}, "nothing is complete before the end"
    parts.append(stream.flush())
    torch.testing.assert_close(torch.cat(parts, -1), frontend(wave), rtol=0, atol=0)


def test_a_flushed_stream_begins_anew() -> None:
    frontend = Loudness(CONFIG)
    stream = frontend.stream()
    for wave in (noise(500), noise(3, 200)):
        parts = [stream.push(wave), stream.flush()]
        torch.testing.assert_close(torch.cat(parts, -1), frontend(wave), rtol=0, atol=0)


def test_streams_of_one_front_end_are_apart() -> None:
    frontend = Loudness(CONFIG)
    one, other = frontend.stream(), frontend.stream()
    waves = noise(2, 400)
    for wave, stream in zip(waves, (one, other), strict=True):
        stream.push(wave)
    for wave, stream in zip(waves, (one, other), strict=True):
        torch.testing.assert_close(stream.flush(), frontend(wave), rtol=0, atol=0)


def test_a_stream_without_samples_is_refused() -> None:
    stream = Loudness(CONFIG).stream()
    with pytest.raises(ShapeError, match="No samples have come"):
        stream.flush()


def test_the_memory_of_a_block_may_be_used_again() -> None:
    frontend = Loudness(CONFIG)
    wave, buffer = noise(400), torch.empty(100)
    stream = frontend.stream()
    for block in wave.split(100):
        stream.push(buffer.copy_(block))
    torch.testing.assert_close(stream.flush(), frontend(wave), rtol=0, atol=0)


def test_a_front_end_without_a_forward_pass_is_none() -> None:
    with pytest.raises(NotImplementedError):
        Frontend(CONFIG)(noise(100))


def test_blocks_of_other_sounds_do_not_belong_to_a_stream() -> None:
    stream = Loudness(CONFIG).stream()
    stream.push(noise(2, 100))
    with pytest.raises(ShapeError, match=r"began with blocks of \(2,\) sounds, and now come \(3,\)"):
        stream.push(noise(3, 100))


def test_a_class_that_nobody_can_import_is_refused() -> None:
    @dataclass(frozen=True)
    class Local(LoudnessConfig):
        kind: ClassVar[str] = "local"

    with pytest.raises(ConfigError, match="cannot be imported here"):
        register(Local, Loudness)
    assert "local" not in kinds()


def test_another_process_says_what_it_cannot_import() -> None:
    make_known({"elsewhere": ["no.such.module:Config", "no.such.module:Module"]})
    with pytest.raises(ConfigError, match=r"no\.such\.module:Config cannot be imported here"):
        config_from_dict({"kind": "elsewhere", "sr": 16_000})
