"""The samples as a front end: the same numbers, whole and in blocks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import (
    WaveformConfig,
    WaveformFrontend,
    build_arrays,
    build_frontend,
    config_from_dict,
    config_from_slug,
)


def test_slug_and_plain_data_read_back() -> None:
    for config, slug in ((WaveformConfig(), "16k-wave"), (WaveformConfig(22_050), "22.05k-wave")):
        assert config.slug == slug
        assert config_from_slug(slug) == config
        assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert WaveformConfig(8_000).input_shape(2.0) == (1, 16_000)
    assert WaveformConfig(8_000).rows == 1


@pytest.mark.parametrize(
    ("sr", "message"), [(1, "outside 2000 to 192000 Hz"), (16_000.5, "sr must be a whole number")]
)
def test_rates_that_no_sound_is_read_at_are_refused(sr: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WaveformConfig(sr)
    with pytest.raises(ConfigError, match="one looks like '16k-wave'"):
        WaveformConfig.from_slug("16k-waves")


def test_the_samples_come_out_and_are_nobody_elses() -> None:
    waves = torch.randn(2, 3, 100, generator=torch.Generator().manual_seed(0))
    frontend = build_frontend(WaveformConfig())
    assert isinstance(frontend, WaveformFrontend)
    for own in (frontend(waves), frontend(waves.double())):
        assert own.dtype == torch.float32
        assert own.shape == (2, 3, 1, 100)
        assert torch.equal(own[:, :, 0], waves)
        own.zero_()
    assert float(waves.abs().max()) > 0
    arrays = waves[0].numpy()
    own_array = build_arrays(WaveformConfig())(arrays)
    assert np.array_equal(own_array[:, 0], arrays)
    assert not np.shares_memory(own_array, arrays)


def test_a_stream_gives_each_block_at_once() -> None:
    wave = torch.arange(10.0)
    stream = WaveformFrontend(WaveformConfig()).stream()
    parts = [stream.push(block) for block in wave.split([3, 0, 6, 1])]
    assert [part.shape for part in parts] == [(1, 3), (1, 0), (1, 6), (1, 1)]
    assert torch.equal(torch.cat([*parts, stream.flush()], -1)[0], wave)


def test_what_is_no_sound_is_refused() -> None:
    frontend = WaveformFrontend(WaveformConfig())
    for wave, message in ((torch.zeros(0), "no samples"), (torch.zeros(9, dtype=torch.int16), "floating")):
        with pytest.raises(ShapeError, match=message):
            frontend(wave)
    with pytest.raises(ShapeError, match=r"takes a torch\.Tensor"):
        frontend([0.0, 1.0])
    with pytest.raises(ShapeError, match="no samples"):
        build_arrays(WaveformConfig())(np.zeros((1, 0), np.float32))
