"""What reproducing the paper takes: the arithmetic, and that the page holds what it gives today."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightmel import PAPER_CONFIGS, MelConfig
from lightmel.features import build_store
from lightmel.models import paper_cost

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    pytest.importorskip("threadpoolctl")
    spec = importlib.util.spec_from_file_location("reproduce", ROOT / "benchmarks" / "reproduce.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rates(script: ModuleType) -> object:
    """A core that does a multiply-accumulate in a nanosecond, forward; three in training."""
    macs = dict.fromkeys(script.NETWORKS, (1_000_000, 10_000_000_000))
    return script.Rates(
        feature={12_000: 0.02, 16_000: 0.01},
        derive=0.001,
        train={name: dict.fromkeys(found, 3e-9) for name, found in macs.items()},
        forward={name: dict.fromkeys(found, 1e-9) for name, found in macs.items()},
        optimizer=dict.fromkeys(script.NETWORKS, 0.1),
    )


def cells(text: str) -> dict[str, list[str]]:
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines}


def test_the_page_has_the_bytes_and_the_gpu_as_they_are_computed(script: ModuleType, rates: object) -> None:
    page = script.PAGE.read_text(encoding="utf-8")
    start, end = (page.index(mark) for mark in script.MARKS)
    there, now = cells(page[start:end]), cells(script.table(rates))
    assert list(there) == list(now)
    for step, (disk, core, gpu) in now.items():
        assert [there[step][0], there[step][2]] == [disk, gpu]
        assert bool(there[step][1]) == bool(core)
    assert script.page_with(page, page[start + len(script.MARKS[0]) : end].strip()) == page


def test_a_training_by_the_recipe(script: ModuleType) -> None:
    vgg = script.work_of("vgg", MelConfig.from_slug("16k-mel48-x2-db"))
    assert vgg.steps == 13 * 585  # 18,706 clips, 32 at a time
    assert vgg.examples == 13 * 18_706
    assert (
        vgg.scored == 14 * 1_825 + 5_329
    )  # a clip is one input; valid after each epoch and at the end, test
    assert script.work_of("vgg", MelConfig.from_slug("12k-mel48-x2-db")).steps == 13 * 293  # 64 at a time
    musicnn = script.work_of("musicnn", MelConfig.from_slug("16k-mel48-x2-db"))
    assert musicnn.examples == 300 * 18_706
    assert musicnn.scored == 10 * (301 * 1_825 + 5_329)  # 3 s of 29.1


def test_times_are_products(script: ModuleType, rates: object) -> None:
    config = MelConfig.from_slug("16k-mel48-x2-db")
    work, macs = script.work_of("vgg", config), paper_cost("vgg", config).cost.macs
    wanted = 3e-9 * macs * 13 * 18_706 + 1e-9 * macs * (14 * 1_825 + 5_329) + 0.1 * 13 * 585
    assert script.core_seconds("vgg", work, rates) == pytest.approx(wanted)
    learning = 3 * macs * 13 * 18_706 / script.GPU_MACS
    scoring = macs * (14 * 1_825 + 5_329) / script.GPU_MACS
    assert script.gpu_seconds(work) == pytest.approx(max(learning, 13 * 585 * script.GPU_STEP) + scoring)


def test_a_rate_lies_between_those_measured(script: ModuleType) -> None:
    rates = {10: 1.0, 1_000: 3.0}
    assert [script.per_mac(rates, macs) for macs in (1, 10, 100, 1_000, 5_000)] == pytest.approx(
        [1, 1, 2, 3, 3]
    )


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_bytes_are_those_of_a_store(
    script: ModuleType, tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    config = MelConfig.from_slug("16k-mel48-x10-db")
    samples = config.n_samples(script.CLIP_SECONDS)
    wave = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    for i in range(2):
        soundfile.write(tmp_path / f"{i}.wav", wave, 16_000)
    sources = {str(i): tmp_path / f"{i}.wav" for i in range(2)}
    store = build_store(tmp_path / "store", sources, config, dtype=dtype, workers=0)  # type: ignore[arg-type]
    monkeypatch.setattr(script, "CLIPS", 2)
    assert script.store_bytes([config], dtype) == store.n_bytes
    (data,) = (tmp_path / "store").glob("*.bin")
    assert store.n_bytes == data.stat().st_size


def test_all_trainings_are_528(script: ModuleType, rates: object) -> None:
    assert "**all 528 trainings**" in cells(script.table(rates))
    assert len(PAPER_CONFIGS) * len(script.NETWORKS) * script.SEEDS == 528


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (5.04, "5.0 s"),
        (119, "120 s"),
        (120, "2.0 min"),
        (7_300, "2.0 h"),
        (2e5, "2.3 days"),
        (9.9e7, "3.1 years"),
    ],
)
def test_durations_have_two_digits(script: ModuleType, seconds: float, shown: str) -> None:
    assert script.duration(seconds) == shown
    assert script.size(69e6) == "69 MB"
    assert script.size(480.2e9) == "480 GB"
