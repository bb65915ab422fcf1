"""A student that starts from another tagger: its body as it was, its bands at that body's levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lightmel import audio
from lightmel.checkpoint import Description
from lightmel.datasets import find_tracks
from lightmel.distillation import DistillConfig, distill
from lightmel.distillation import student as room
from lightmel.distillation.start import check_start, start_from
from lightmel.errors import ConfigError
from lightmel.frontends import FrontendConfig, MelConfig, build_frontend, config_from_slug
from lightmel.inference import Tagger
from lightmel.models import TaggingNetwork, build
from lightmel.training import TrainConfig

SR = 16_000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(architecture: str, slug: str, seed: int, n_tags: int = 3, **arguments: Any) -> TaggingNetwork:
    """A network for half a second, whose normalisations are not as they were born."""
    shape = config_from_slug(slug).input_shape(0.5)
    spec = {"architecture": architecture, "input_shape": shape, "n_tags": n_tags, **arguments}
    made = build(spec, generator=seeded(seed))
    for layer in made.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            with torch.no_grad():
                layer.weight.uniform_(0.5, 2, generator=seeded(seed))
                layer.running_mean.normal_(generator=seeded(seed))
    return made.eval()


def tagger(made: TaggingNetwork, slug: str) -> Tagger:
    config = config_from_slug(slug)
    tags = tuple("abcdefgh"[: made.n_tags])
    description = Description(
        name="elder", version="1", license="CC0-1.0", config=config, tags=tags, segment_samples=config.sr // 2
    )
    return Tagger(made, description)


@pytest.fixture(scope="module")
def waves() -> torch.Tensor:
    """Coloured noise, whose bands differ in level and spread, ``(24, 8000)``."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal((24, 8_000)))
    spectrum *= 1 / (1 + np.arange(4_001) / 300) * 10 ** rng.uniform(-2, 0, (24, 1))
    return torch.from_numpy(np.fft.irfft(spectrum) * 2).float()


def levels(config: FrontendConfig, waves: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each band, in NumPy: the oracle."""
    own = (
        [audio.from_array(wave, SR, config.sr) for wave in waves.numpy()]
        if config.sr != SR
        else waves.numpy()
    )
    mels = build_frontend(config)(torch.from_numpy(np.stack(own))).numpy().astype(float)
    rows = mels.transpose(1, 0, 2).reshape(mels.shape[1], -1)
    return rows.mean(axis=1), rows.std(axis=1)


@pytest.mark.parametrize("slug", ["16k-mel16-x4-db", "16k-mel24-x2-log", "12k-mel10-x4-db"])
@pytest.mark.parametrize("theirs", ["16k-mel30-x1-db", "32k-kaldi40"])
def test_the_bands_come_to_the_levels_of_the_other_at_their_frequencies(
    slug: str, theirs: str, waves: torch.Tensor
) -> None:
    config, other = config_from_slug(slug), config_from_slug(theirs)
    student = network("mobilenet", slug, 1, width=0.1)
    elder = tagger(network("mobilenet", theirs, 2, n_tags=5, width=0.1), theirs)
    head = {k: v.clone() for k, v in student.head.state_dict().items()}
    start_from(student, config, elder, waves, SR)
    # All but head and input are the other's, and the head is the student's own.
    own, old = student.state_dict(), elder.network.state_dict()
    body = [k for k in own if not k.startswith(("head.", "input_norm."))]
    assert len(body) > 100
    assert all(torch.equal(own[k], old[k]) for k in body)
    assert all(torch.equal(v, head[k]) for k, v in student.head.state_dict().items())
    # What the first convolution sees has the other's mean and spread in each band.
    rate = [audio.from_array(w, SR, config.sr) for w in waves.numpy()] if config.sr != SR else waves.numpy()
    mels = build_frontend(config)(torch.from_numpy(np.stack(rate)))
    with torch.no_grad():
        seen = student.input_norm(mels).transpose(0, 1).flatten(1).double()
    centres, their_centres = (np.array(c.band_edges()[1:-1]) for c in (config, other))
    mean, spread = (np.interp(centres, their_centres, values) for values in levels(other, waves))
    # Resampling may differ by a frame, and float32 sums.
    scale = spread.max()
    assert np.abs(seen.mean(dim=1).numpy() - mean).max() < 0.02 * scale
    assert np.abs(seen.std(dim=1).numpy() / spread - 1).max() < 0.02


def test_the_same_front_end_changes_nothing_that_the_network_computes(waves: torch.Tensor) -> None:
    """Where the bands are the other's own, their normalisation only takes away what it gives back."""
    slug = "16k-mel16-x4-db"
    config = config_from_slug(slug)
    elder = network("mobilenet", slug, 2, width=0.1)
    nn.init.ones_(elder.input_norm.weight)
    nn.init.zeros_(elder.input_norm.running_mean)
    nn.init.zeros_(elder.input_norm.bias)
    student = network("mobilenet", slug, 1, width=0.1)
    start_from(student, config, tagger(elder, slug), waves, SR)
    mels = build_frontend(config)(waves)
    with torch.no_grad():
        torch.testing.assert_close(student.embed(mels), elder.embed(mels), rtol=1e-3, atol=1e-3)


def test_a_network_with_one_normalisation_for_all_bands_takes_it_over(waves: torch.Tensor) -> None:
    slug = "16k-mel16-x4-db"
    student, elder = (network("vgg", slug, seed, widths=(2, 3, 4, 5)) for seed in (1, 2))
    start_from(student, config_from_slug(slug), tagger(elder, slug), waves, SR)
    for key, value in student.state_dict().items():
        assert torch.equal(value, elder.state_dict()[key]) == (not key.startswith("head.")), key


@pytest.mark.parametrize(
    ("architecture", "slug", "arguments", "said"),
    [
        ("mobilenet", "16k-mel16-x4-db", {"width": 0.2}, r"width 0\.2; the student is .*width 0\.1"),
        (
            "vgg",
            "16k-mel16-x4-db",
            {"size": "small"},
            r"architecture vgg.*the student is architecture mobilenet",
        ),
        ("fcn", "16k-mel96-x1-db", {}, "architecture fcn"),
    ],
)
def test_another_width_or_architecture_is_refused(
    architecture: str, slug: str, arguments: dict[str, Any], said: str, waves: torch.Tensor
) -> None:
    student = network("mobilenet", "16k-mel16-x4-db", 1, width=0.1)
    before = {k: v.clone() for k, v in student.state_dict().items()}
    if architecture == "fcn":
        made = build({"architecture": "fcn", "input_shape": (96, 1813), "n_tags": 3}, generator=seeded(0))
        config = config_from_slug(slug)
        description = Description(
            name="elder",
            version="1",
            license="CC0-1.0",
            config=config,
            tags=("a", "b", "c"),
            segment_samples=next(n for n in range(460_000, 470_000) if config.shape(n) == (96, 1813)),
        )
        elder = Tagger(made, description)
    else:
        elder = tagger(network(architecture, slug, 2, **arguments), slug)
    with pytest.raises(ConfigError, match=f"The student cannot start from elder: that is .*{said}"):
        start_from(student, config_from_slug("16k-mel16-x4-db"), elder, waves, SR)
    assert all(torch.equal(v, before[k]) for k, v in student.state_dict().items())


def test_musicnns_filters_depend_on_the_bands(tiny_network: Callable[..., Any], waves: torch.Tensor) -> None:
    student, elder = (tiny_network((bands, 20)) for bands in (16, 24))
    assert elder.spec()["input_shape"] == [24, 20]
    config = config_from_slug("16k-mel24-x4-db")
    samples = next(n for n in range(100_000) if config.shape(n) == (24, 20))
    description = Description(
        name="elder",
        version="1",
        license="CC0-1.0",
        config=config,
        tags=("a", "b", "c"),
        segment_samples=samples,
    )
    with pytest.raises(ConfigError, match=r"input_shape \[24, 20\].*filters of the same shapes"):
        start_from(student, config_from_slug("16k-mel16-x4-db"), Tagger(elder, description), waves, SR)


def test_bands_that_nobody_can_match_are_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a front end whose rows are no bands of frequency."""
    slug = "16k-mel16-x4-db"
    student, elder = (network("mobilenet", slug, seed, width=0.1) for seed in (1, 2))
    old = tagger(elder, slug)
    vgg, other = (network("vgg", slug, seed, widths=(2, 3, 4, 5)) for seed in (1, 2))
    flat = tagger(other, slug)
    check_start(student, config_from_slug(slug), old)
    monkeypatch.setattr(MelConfig, "band_edges", FrontendConfig.band_edges)
    with pytest.raises(ConfigError, match=rf"{slug} has no bands of frequency: .*band_edges"):
        check_start(student, config_from_slug(slug), old)
    check_start(vgg, config_from_slug(slug), flat)  # which has one normalisation for all rows


def test_a_distillation_starts_from_a_file(
    music: Path,
    teacher: Tagger,
    config: DistillConfig,
    training: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trainer gets the network with the other's body; the rest of the call is as without a start."""
    file, slug = tmp_path / "elder.safetensors", "16k-mel24-x2-log"
    elder = tagger(network("mobilenet", slug, 2, n_tags=5, width=0.4), slug)
    elder.save(file)
    begun: list[dict[str, torch.Tensor]] = []
    real = room.Trainer

    def watched(network: TaggingNetwork, *args: Any, **kwargs: Any) -> Any:
        begun.append({k: v.clone() for k, v in network.state_dict().items()})
        return real(network, *args, **kwargs)

    monkeypatch.setattr(room, "Trainer", watched)
    tracks, once = find_tracks(music)[:4], replace(training, epochs=1)
    config = replace(config, student="mobilenet-16k-mel16-x4-db")
    started, _ = distill([teacher], tracks, replace(config, start=str(file)), once)
    distill([teacher], tracks, config, once)
    first, plain = begun
    old = elder.network.state_dict()
    body = [k for k in first if not k.startswith(("head.", "input_norm."))]
    assert all(torch.equal(first[k], old[k]) for k in body)
    assert not torch.equal(plain["first.conv.weight"], first["first.conv.weight"])
    assert torch.equal(plain["head.bias"], first["head.bias"]), "the mean of the targets"
    assert started.tags == teacher.tags
    assert started.description.provenance["distillation"]["start"] == str(file)
