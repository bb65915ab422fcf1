"""Running cells in a process of its own: see `lightmel.workers`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._each import attempt
from ..features import FeatureStore, build_store
from ..frontends import config_from_slug, make_known
from ..training import Callbacks
from ..workers import Handler
from .cell import run_cell
from .claims import claimed
from .data import StudyData, reopened
from .grid import Cell, run_script
from .run import CLAIMS, FEATURES, PROGRESS, RUNS, excerpt_seconds, store_name, why_not_done

_TELL_SECONDS = 1.0
_SAVE_SECONDS = 60.0
"""The most between two checkpoints: a study is stopped more often than a training."""


def serve(settings: Mapping[str, Any]) -> Handler:
    """Return the handler from a cell to what became of it."""
    make_known(settings["frontends"])
    if settings["script"] is not None:
        run_script(settings["script"])
    runner = _Runner(settings, reopened(settings["data"]))
    return lambda task: ({"became": runner.became(Cell.from_dict(task), task["origin"])}, b"")


class _Runner:
    """Runs the cells of one study."""

    def __init__(self, settings: Mapping[str, Any], data: StudyData) -> None:
        self.data, self.out = data, Path(settings["out"])
        self.any_version, self.device = settings["any_version"], settings["device"]

    def became(self, cell: Cell, origin: str | None) -> str:
        """Run a cell; return why it failed, nothing if it is done, ``elsewhere`` if somebody else has it."""
        found = attempt(cell.name, self._run, cell, origin)
        return str(found)

    def _run(self, cell: Cell, origin: str | None) -> str:
        folder = self.out / RUNS / cell.name
        with claimed(self.out / CLAIMS, cell.name) as mine:
            if not mine:
                return "elsewhere"
            # Somebody may have done it between the parent's look and this one.
            if why_not_done(self.out, cell, self.data, any_version=self.any_version) is None:
                return ""
            store = self._store(cell, origin)
            if store is None:
                return "elsewhere"
            try:
                training = replace(cell.training, save_seconds=min(cell.training.save_seconds, _SAVE_SECONDS))
                callbacks = Callbacks(on_step=_Teller(folder / PROGRESS))
                own = replace(cell, training=training)
                run_cell(own, self.data, store, folder, callbacks, self.device)
            finally:
                with suppress(OSError):
                    (folder / PROGRESS).unlink()
        return ""

    def _store(self, cell: Cell, origin: str | None) -> FeatureStore | None:
        """Return the store of a cell's features, made if need be; None while somebody else makes it."""
        seconds = excerpt_seconds(cell, self.data)

        def made(slug: str, thinned_from: str | None) -> FeatureStore | None:
            name = store_name(slug, cell.dtype, seconds)
            folder = self.out / FEATURES / name
            with claimed(self.out / CLAIMS, f"store-{name}") as mine:
                if not mine:
                    return None
                if thinned_from is not None:
                    whole = made(thinned_from, None)
                    return None if whole is None else whole.derive(folder, slug)
                return build_store(
                    folder,
                    self.data.sources,
                    config_from_slug(slug),
                    dtype=cell.dtype,
                    excerpt_seconds=seconds,
                    workers=0,
                )

        return made(cell.config.slug, origin)


class _Teller:
    """Writes how far a training is, now and then, for whoever watches."""

    def __init__(self, file: Path) -> None:
        self.file, self.told = file, 0.0

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.told >= _TELL_SECONDS:
            self.told = time.monotonic()
            with suppress(OSError):
                self.file.write_text(json.dumps([done, total]))
