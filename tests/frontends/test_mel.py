from __future__ import annotations

import dataclasses
import math
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lightmel.errors import ConfigError, LightmelError
from lightmel.frontends import N_FFT, PAPER_CONFIGS, MelConfig, config_from_dict

SAMPLE_RATES = st.integers(2_000, 192_000)
OPTIONS = {
    "log": st.sampled_from(["log", "db"]),
    "mel_scale": st.sampled_from(["slaney", "htk"]),
    "mel_norm": st.sampled_from(["slaney", "none"]),
    "pad_mode": st.sampled_from(["zeros", "reflect"]),
}


def empty_bands(sr: int, n_mels: int, scale: str) -> int:
    """Bands without a bin, straight from the definition of the triangles."""
    if scale == "htk":
        mels = np.linspace(0, 2595 * math.log10(1 + sr / 2 / 700), n_mels + 2)
        edges = 700 * (10 ** (mels / 2595) - 1)
    else:
        step = math.log(6.4) / 27
        top = sr / 2 * 3 / 200 if sr / 2 < 1000 else 15 + math.log(sr / 2 / 1000) / step
        mels = np.linspace(0, top, n_mels + 2)
        edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * step))
    bins = np.arange(N_FFT // 2 + 1) * sr / N_FFT
    low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    weights = np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak))
    return int((weights.max(axis=1) <= 1e-7).sum())  # rounding noise is no weight


def test_the_configurations_are_the_papers() -> None:
    assert len(PAPER_CONFIGS) == len(set(PAPER_CONFIGS)) == len({c.slug for c in PAPER_CONFIGS}) == 88
    assert {c.sr for c in PAPER_CONFIGS} == {12_000, 16_000}
    assert {c.log for c in PAPER_CONFIGS} == {"log", "db"}
    shapes = {(c.n_mels, c.hop_factor) for c in PAPER_CONFIGS}
    assert shapes == {(n, r) for n in (128, 96, 48) for r in (1, 2, 3, 4, 5, 10)} | {
        (n, 1) for n in (32, 24, 16, 8)
    }
    assert all((c.mel_scale, c.mel_norm, c.pad_mode) == ("slaney", "slaney", "zeros") for c in PAPER_CONFIGS)


@pytest.mark.parametrize("config", PAPER_CONFIGS, ids=lambda c: c.slug)
def test_a_slug_of_the_paper_reads_back(config: MelConfig) -> None:
    assert MelConfig.from_slug(config.slug) == config
    plain = config.to_dict()
    assert plain["kind"] == MelConfig.kind == "mel"
    assert plain == {"kind": "mel", **dataclasses.asdict(config)}
    assert config_from_dict(plain) == config


@pytest.mark.parametrize(
    ("config", "slug"),
    [
        (MelConfig(12_000, 96, 1, "log"), "12k-mel96-x1-log"),
        (MelConfig(16_000, 48, 2, "db"), "16k-mel48-x2-db"),
        (MelConfig(22_050, 64, 10, "db"), "22.05k-mel64-x10-db"),
        (MelConfig(11_025, 40, 3, "log"), "11.025k-mel40-x3-log"),
        (
            MelConfig(16_000, 96, 1, "db", mel_scale="htk", mel_norm="none", pad_mode="reflect"),
            "16k-mel96-x1-db-htk-peak-reflect",
        ),
        (MelConfig(16_000, 96, 1, "db", pad_mode="reflect"), "16k-mel96-x1-db-reflect"),
    ],
)
def test_slugs_are_as_documented(config: MelConfig, slug: str) -> None:
    assert config.slug == slug
    assert MelConfig.from_slug(slug) == config


@given(SAMPLE_RATES, st.integers(1, 24), st.integers(1, 50), st.fixed_dictionaries(OPTIONS))
@example(2_001, 1, 1, {"log": "db"})
def test_every_slug_reads_back(sr: int, n_mels: int, hop_factor: int, options: dict[str, Any]) -> None:
    try:
        config = MelConfig(sr, n_mels, hop_factor, **options)
    except ConfigError:
        assume(False)
    assert MelConfig.from_slug(config.slug) == config


@pytest.mark.parametrize(
    ("typo", "suggestion"),
    [
        ("16k-mel48-x2-bd", "16k-mel48-x2-db"),
        ("16k_mel48_x2_db", "16k-mel48-x2-db"),
        ("12kmel96-x1-log", "12k-mel96-x1-log"),
        ("12k-mel96-x10-logs", "12k-mel96-x10-log"),
        (" 16k-mel128-x5-db", "16k-mel128-x5-db"),
    ],
)
def test_the_nearest_slug_is_suggested_for_a_typo(typo: str, suggestion: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{suggestion}'"):
        MelConfig.from_slug(typo)


@pytest.mark.parametrize(
    "slug", ["", "default", "16000-mel48-x2-db", "16k-mel48-x2-db\n", "16k-mel48-x-2-db"]
)
def test_what_is_no_slug_is_refused_with_an_example(slug: str) -> None:
    with pytest.raises(ConfigError, match="one looks like '16k-mel48-x2-db'"):
        MelConfig.from_slug(slug)


def test_a_slug_of_an_impossible_front_end_is_refused_as_one() -> None:
    with pytest.raises(ConfigError, match="16k-mel48-x1-db"):
        MelConfig.from_slug("16k-mel48-x0-db")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"hop_factor": 0}, "16k-mel96-x1-db"),
        ({"hop_factor": -3}, "16k-mel96-x1-db"),
        ({"n_mels": 0}, "16k-mel1-x1-db"),
        ({"sr": 0}, "2k-mel"),
        ({"sr": -16_000, "n_mels": 8}, "2k-mel8-x1-db"),
        ({"sr": 16}, "2k-mel"),
        ({"sr": 1_000_000, "n_mels": 8}, "192k-mel8-x1-db"),
        ({"n_mels": 256}, "16k-mel1"),
        ({"n_mels": 10**9, "log": "log"}, "-x1-log"),
    ],
)
def test_what_cannot_work_is_refused_with_the_nearest_that_can(given: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError) as refused:
        MelConfig(**given)
    assert wanted in str(refused.value)
    suggestion = str(refused.value).split("The nearest that can is ")[1].rstrip(".")
    MelConfig.from_slug(suggestion)  # what is suggested must be accepted


@given(SAMPLE_RATES, st.integers(1, 200), st.sampled_from(["slaney", "htk"]))
@example(16_000, 128, "slaney")
@example(12_000, 128, "slaney")
def test_a_band_is_refused_exactly_where_it_is_empty(sr: int, n_mels: int, scale: Any) -> None:
    if empty_bands(sr, n_mels, scale) == 0:
        assert MelConfig(sr, n_mels, mel_scale=scale).n_mels == n_mels
        return
    with pytest.raises(ConfigError, match=r"always be empty.*nearest that can is") as refused:
        MelConfig(sr, n_mels, mel_scale=scale)
    nearest = int(str(refused.value).split("-mel")[1].split("-")[0])
    assert nearest < n_mels
    assert empty_bands(sr, nearest, scale) == 0
    assert all(empty_bands(sr, n, scale) > 0 for n in range(nearest + 1, n_mels + 1))


@pytest.mark.parametrize("field", ["sr", "n_mels", "hop_factor"])
@pytest.mark.parametrize("value", [None, "16000x", 1.5, float("nan"), float("inf"), True, [48], 2 + 0j])
def test_what_is_no_whole_number_is_refused_by_the_fields_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{field} must be a whole number"):
        MelConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("log", "dB"), ("log", "ln"), ("mel_scale", "HTK"), ("mel_norm", None), ("pad_mode", "constant")],
)
def test_an_unknown_option_is_refused_with_the_known_ones(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{field} is '\w+' or '\w+', not {value!r}"):
        MelConfig(**{field: value})


def test_numpy_numbers_become_plain_ones() -> None:
    config = MelConfig(np.int64(16_000), np.int32(48), np.float64(2.0))  # type: ignore[arg-type]
    assert config == MelConfig(16_000, 48, 2)
    assert all(type(getattr(config, f)) is int for f in ("sr", "n_mels", "hop_factor"))


def test_it_is_frozen_hashable_and_picklable() -> None:
    config = MelConfig(16_000, 48, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.sr = 12_000  # type: ignore[misc]
    assert {config: 1}[MelConfig(16_000, 48, 2)] == 1
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.replace(log="log") == MelConfig(16_000, 48, 2, "log")
    with pytest.raises(ConfigError):
        config.replace(hop_factor=0)


@pytest.mark.parametrize(
    ("sr", "hop_factor", "frames"),
    # The frames that the paper's code makes of 29.1 s.
    [(12_000, 1, 1366), (16_000, 1, 1820), (12_000, 2, 683), (12_000, 10, 137), (16_000, 5, 364)],
)
def test_frames_of_a_clip(sr: int, hop_factor: int, frames: int) -> None:
    config = MelConfig(sr, 96, hop_factor)
    assert config.input_shape() == (96, frames)
    assert config.hop_length == 256 * hop_factor


@given(st.integers(1, 10**7), st.integers(1, 20))
def test_a_hop_factor_keeps_every_rth_frame(samples: int, hop_factor: int) -> None:
    full = MelConfig(16_000, 48).n_frames(samples)
    assert full == math.ceil(samples / 256) + 1
    assert MelConfig(16_000, 48, hop_factor).n_frames(samples) == len(range(0, full, hop_factor))


@given(st.integers(1, 10**7), st.integers(1, 20))
def test_reflected_frames_are_those_centred_within_the_sound(samples: int, hop_factor: int) -> None:
    config = MelConfig(16_000, 48, hop_factor, pad_mode="reflect")
    assert config.n_frames(samples) == len(range(0, samples + 1, config.hop_length))


@given(st.integers(1, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_thinned_frames_are_every_nth(samples: int, hop_factor: int, keep: int) -> None:
    config = MelConfig(16_000, 48, hop_factor, "log")
    thin = config.thinned(keep)
    assert thin == MelConfig(16_000, 48, hop_factor * keep, "log")
    assert thin.n_frames(samples) == len(range(0, config.n_frames(samples), keep))
    assert config.thinning(thin) == (keep if keep > 1 else None)


@pytest.mark.parametrize(
    "other",
    [
        MelConfig(16_000, 48, 2),
        MelConfig(16_000, 48, 1),
        MelConfig(16_000, 48, 3),
        MelConfig(16_000, 48, 4, "log"),
        MelConfig(16_000, 24, 4),
        MelConfig(12_000, 48, 4),
        MelConfig(16_000, 48, 4, mel_scale="htk"),
        MelConfig(16_000, 48, 4, mel_norm="none"),
        MelConfig(16_000, 48, 4, pad_mode="reflect"),
    ],
    ids=lambda c: c.slug,
)
def test_only_a_multiple_of_the_hop_is_a_thinning(other: MelConfig) -> None:
    assert MelConfig(16_000, 48, 2).thinning(other) is None
    assert MelConfig(16_000, 48, 2).thinning(MelConfig(16_000, 48, 4)) == 2


def test_no_configuration_keeps_no_frames() -> None:
    with pytest.raises(ConfigError, match="hop factor of 0"):
        MelConfig(16_000, 48, 2).thinned(0)


def test_rows_and_shape_are_bands_and_frames() -> None:
    config = MelConfig(16_000, 48, 2)
    assert config.rows == 48
    assert config.shape(16_000) == (48, config.n_frames(16_000)) == config.input_shape(1.0)


@pytest.mark.parametrize("seconds", [-1.0, 86_401.0, 1e30, float("inf"), float("nan")])
def test_an_input_is_of_no_more_than_a_day(seconds: float) -> None:
    with pytest.raises(ConfigError, match="an input is of 0 to 86,400 s"):
        MelConfig().input_shape(seconds)


def test_bytes_of_a_clip() -> None:
    config = MelConfig(12_000, 96, 1, "log")
    assert config.clip_bytes() == 96 * 1366 * 4
    assert config.clip_bytes("float16") == 96 * 1366 * 2
    assert config.clip_bytes("uint8", seconds=1) == 96 * config.n_frames(12_000)
    assert config.clip_bytes("uint4", seconds=1) == 48 * config.n_frames(12_000)
    with pytest.raises(ConfigError, match="float32, float16, uint8, uint4, not 'int8'"):
        config.clip_bytes("int8")  # type: ignore[arg-type]


def test_band_edges_rise_from_zero_to_half_the_rate() -> None:
    for config in PAPER_CONFIGS:
        edges = config.band_edges()
        assert len(edges) == config.n_mels + 2
        assert edges[0] == 0
        assert edges[-1] == pytest.approx(config.sr / 2)
        assert all(a < b for a, b in pairwise(edges))


def test_config_errors_are_both_ours_and_pythons() -> None:
    assert issubclass(ConfigError, LightmelError)
    assert issubclass(ConfigError, ValueError)
