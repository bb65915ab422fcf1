"""People's music folders: tags into the fields of files, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .config import WriteConfig
    from .mapping import MAPPINGS, Mapping, load_mapping
    from .records import Records
    from .writing import Change, Field, OnChange, undo, write_tags

__all__ = [
    "MAPPINGS",
    "Change",
    "Field",
    "Mapping",
    "OnChange",
    "Records",
    "WriteConfig",
    "load_mapping",
    "undo",
    "write_tags",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("MAPPINGS", "Mapping", "load_mapping"), "mapping"),
        "Records": "records",
        "WriteConfig": "config",
        **dict.fromkeys(("Change", "Field", "OnChange", "undo", "write_tags"), "writing"),
    },
)
