from __future__ import annotations

import doctest
from itertools import product

import pytest
import torch

from lightmel.errors import ConfigError, UnknownModelError
from lightmel.frontends import PAPER_CONFIGS, FrontendConfig, MelConfig
from lightmel.models import (
    SEGMENT_SECONDS,
    Cost,
    Row,
    build,
    check_claims,
    cost,
    counted_cost,
    layer_costs,
    network_cost,
    paper_cost,
    paper_costs,
)

# log and dB are the same work, so the 88 configurations have 44 input shapes for each network.
PAPER_SHAPES = [
    (name, shape)
    for name, seconds in SEGMENT_SECONDS.items()
    for shape in dict.fromkeys(config.input_shape(seconds) for config in PAPER_CONFIGS)
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counted(spec: dict[str, object]) -> Cost:
    """Count on the meta device, where nothing is computed."""
    with torch.device("meta"):
        return counted_cost(build(spec))


@pytest.mark.parametrize(("name", "shape"), PAPER_SHAPES, ids=str)
def test_formula_and_counter_agree_on_every_shape_of_the_paper(name, shape):
    spec = {"architecture": name, "input_shape": shape, "size": "full" if name == "vgg" else "small"}
    assert network_cost(spec) == counted(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"architecture": "musicnn", "input_shape": (96, 189)},
        {"architecture": "musicnn", "input_shape": (8, 15)},
        {"architecture": "musicnn", "input_shape": (96, 188), "variant": "pons"},
        {"architecture": "musicnn", "input_shape": (48, 95), "variant": "pons", "size": "small"},
        {"architecture": "musicnn", "input_shape": (10, 1), "n_tags": 3, "timbre": [(0.05, 2, 3)]},
        {"architecture": "vgg", "input_shape": (256, 10_000), "n_tags": 7},
        {"architecture": "vgg", "input_shape": (64, 355), "widths": (3, 5, 2, 9)},
        {"architecture": "vgg", "input_shape": (8, 1), "size": "small"},
        {"architecture": "fcn", "input_shape": (96, 1813)},
        {"architecture": "musicnn", "input_shape": (48, 95), "variant": "pons", "every_band": True},
        {"architecture": "musicnn", "input_shape": (9, 30), "size": "small", "every_band": True},
        {
            "architecture": "vgg",
            "input_shape": (96, 187),
            "widths": (4, 5, 6, 7, 8),
            "pools": [(1, 4), (2, 2), (2, 2), (2, 2), (4, 4)],
            "strides": [(2, 2), (2, 2), (2, 2), (2, 2), (4, 4)],
        },
        {
            "architecture": "vgg",
            "input_shape": (20, 31),
            "widths": (3, 2),
            "pools": [(3, 5), (2, 1)],
            "strides": [(1, 2), (3, 4)],
        },
        {"architecture": "mobilenet", "input_shape": (128, 1000), "n_tags": 527},
        {"architecture": "mobilenet", "input_shape": (96, 189)},
        {"architecture": "mobilenet", "input_shape": (48, 95), "n_tags": 3, "width": 0.2},
        {"architecture": "mobilenet", "input_shape": (24, 15), "width": 1.0},
        {"architecture": "mobilenet", "input_shape": (13, 7), "width": 2.3},
        {"architecture": "mobilenet", "input_shape": (1, 1), "width": 0.01},
        {"architecture": "samplecnn", "input_shape": (1, 59_049)},
        {"architecture": "samplecnn", "input_shape": (1, 48_000), "size": "small", "n_tags": 3},
        {"architecture": "samplecnn", "input_shape": (1, 3)},
        {"architecture": "samplecnn", "input_shape": (1, 91), "widths": (3, 4, 5), "pools": [4, 7]},
        {
            "architecture": "mobilenet",
            "input_shape": (40, 50),
            "strides": [(3, 1), (1, 4), (2, 2)] + [(1, 5)] * 2,
        },
    ],
    ids=str,
)
def test_formula_and_counter_agree_elsewhere(spec):
    assert network_cost(spec) == counted(spec)


def test_a_convolution_by_hand():
    """8x20, one filter more a block, pools (2, 4), (2, 5), (2, 1), (1, 1)."""
    spec = {
        "architecture": "vgg",
        "input_shape": (8, 20),
        "n_tags": 6,
        "widths": (1, 2, 3, 4),
        "pools": [(2, 4), (2, 5), (2, 1), (1, 1)],
    }
    parts = layer_costs(spec)
    positions = {"blocks.0": 8 * 20, "blocks.1": 4 * 5, "blocks.2": 2 * 1, "blocks.3": 1 * 1}
    filters = {"blocks.0": (1, 1), "blocks.1": (1, 2), "blocks.2": (2, 3), "blocks.3": (3, 4)}
    expected = {
        name: Cost(9 * a * b + b + 2 * b, 9 * a * b * positions[name], 4 * b * positions[name])
        for name, (a, b) in filters.items()
    }
    assert parts == {"input_norm": Cost(2, 0, 0), **expected, "head": Cost(4 * 6 + 6, 4 * 6, 4 * 6)}
    assert network_cost(spec) == sum(parts.values(), Cost())


def test_a_network_and_its_description_cost_the_same():
    model = build({"architecture": "musicnn", "input_shape": (24, 30), "size": "small"}, generator=seeded(0))
    assert network_cost(model) == network_cost(model.spec()) == counted_cost(model)


def test_counting_leaves_the_network_as_it_was():
    model = build(
        {"architecture": "vgg", "input_shape": (8, 20), "widths": (2, 2, 2, 2)}, generator=seeded(0)
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    assert counted_cost(model) == counted_cost(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


def test_a_description_draws_no_weights():
    before = torch.get_rng_state()
    network_cost({"architecture": "vgg", "input_shape": (96, 1366)})
    network_cost({"architecture": "musicnn", "input_shape": (96, 142)})
    assert torch.equal(torch.get_rng_state(), before)


def test_the_table_has_both_networks_on_all_88():
    rows = paper_costs()
    assert [(r.architecture, r.config) for r in rows] == list(product(("vgg", "musicnn"), PAPER_CONFIGS))
    for r in rows:
        assert r.input_shape == r.config.input_shape(29.1 if r.architecture == "vgg" else 3.0)
        assert r.cost == network_cost({"architecture": r.architecture, "input_shape": r.input_shape})
        assert r.cost.gmacs == r.cost.macs / 1e9
        assert r.clip_macs == pytest.approx(r.cost.macs * (1 if r.architecture == "vgg" else 9.7))
        assert r.macs_per_second * r.seconds == pytest.approx(r.cost.macs)


def test_small_is_a_quarter_of_the_vggs_first_block_and_a_sixteenth_of_the_others():
    small, full = (
        layer_costs({"architecture": "vgg", "input_shape": (48, 910), "size": size})
        for size in ("small", "full")
    )
    parts = {name: full[name].macs / small[name].macs for name in full if full[name].macs}
    assert parts == {"blocks.0": 4, "blocks.1": 16, "blocks.2": 16, "blocks.3": 16, "head": 4}


def test_the_papers_claims_come_out_of_the_formulas():
    checked = {(c.claim.text, c.architecture): c for c in check_claims()}
    assert len(checked) == 6
    for (text, architecture), found in checked.items():
        assert len(found.ratios) == (24 if "bands" in text else 12)
        if "bands" in text and architecture == "musicnn":
            assert 0.74 <= found.low <= found.high <= 0.75  # not half: see the next test
        else:
            assert found.claim.said == pytest.approx(found.low, rel=0.06)
            assert found.claim.said == pytest.approx(found.high, rel=0.06)


def test_with_its_musicnn_transposed_the_papers_code_saves_more_than_half():
    """Bands and frames swapped: filters over .9 and .4 of the bands' number lie on 128 frames."""

    def transposed(n_mels: int) -> int:
        frames = 128
        heights = (int(0.9 * n_mels), int(0.4 * n_mels))
        timbre = [((h + 0.5) / frames, n, 32 * k) for h in heights for n, k in ((7, 2), (3, 4), (1, 8))]
        return network_cost(
            {"architecture": "musicnn", "input_shape": (frames, n_mels), "timbre": timbre}
        ).macs

    assert transposed(48) / transposed(96) == pytest.approx(0.448, abs=0.001)


def test_claims_need_both_of_a_pair():
    configs = [MelConfig(16_000, n, 1, "db") for n in (96, 48, 32)]
    rows = paper_costs(configs, architectures=["vgg"], size="small")
    (found,) = check_claims(rows)
    assert found.claim.name == "n_mels"
    assert list(found.ratios) == ["16k-mel48-x1-db"]
    assert found.ratios["16k-mel48-x1-db"] == rows[1].cost.macs / rows[0].cost.macs


def test_a_network_that_is_not_there_has_no_cost():
    with pytest.raises(UnknownModelError, match="Did you mean 'vgg'"):
        network_cost({"architecture": "vggg", "input_shape": (8, 20)})
    with pytest.raises(UnknownModelError, match="Did you mean 'musicnn'"):
        paper_cost("musicn", PAPER_CONFIGS[0])
    with pytest.raises(ConfigError, match="'full' and 'small'"):
        paper_costs(PAPER_CONFIGS[:1], architectures=["vgg"], size="tiny")


def test_a_network_beside_the_papers_two_has_no_cost_in_the_paper():
    with pytest.raises(UnknownModelError, match="the networks vgg and musicnn, not 'fcn'"):
        paper_cost("fcn", PAPER_CONFIGS[0])


def test_a_row_is_what_paper_cost_returns_for_it():
    config = MelConfig(16_000, 48, 2, "db")
    row = paper_cost("musicnn", config, size="small")
    spec = {"architecture": "musicnn", "input_shape": config.input_shape(3.0), "size": "small"}
    assert row == Row("musicnn", "small", config, 3.0, network_cost(spec))
    assert row in paper_costs(size="small")
    assert row.name == ""


def test_claims_are_about_mels_only():
    class Wave(FrontendConfig):
        kind = "wave"
        sr = 16_000
        slug = "16k-wave"

        def from_slug(self, slug):
            raise NotImplementedError

        def shape(self, n_samples):
            return 1, n_samples

    rows = paper_costs(architectures=["vgg"])
    other = Row("wavenet", "full", Wave(), 1.0, Cost(1, 2, 3), "some-tagger")
    assert other.input_shape == (1, 16_000)
    assert other.macs_per_second == 2
    assert check_claims([*rows, other]) == check_claims(rows)


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(cost).failed == 0
