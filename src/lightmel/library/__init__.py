"""People's music folders: all of it tagged into one output, tags into the fields of files, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .albums import By
    from .config import WriteConfig
    from .folder import Counts, FileDone, OnFile, Places, tag_folder
    from .lines import error_record, tagging_record, to_line
    from .mapping import MAPPINGS, Mapping, load_mapping
    from .records import Records
    from .report import write_report
    from .writing import Change, Field, OnChange, undo, write_tags

__all__ = [
    "MAPPINGS",
    "By",
    "Change",
    "Counts",
    "Field",
    "FileDone",
    "Mapping",
    "OnChange",
    "OnFile",
    "Places",
    "Records",
    "WriteConfig",
    "error_record",
    "load_mapping",
    "tag_folder",
    "tagging_record",
    "to_line",
    "undo",
    "write_report",
    "write_tags",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("MAPPINGS", "Mapping", "load_mapping"), "mapping"),
        "By": "albums",
        **dict.fromkeys(("Counts", "FileDone", "OnFile", "Places", "tag_folder"), "folder"),
        **dict.fromkeys(("error_record", "tagging_record", "to_line"), "lines"),
        "Records": "records",
        "write_report": "report",
        "WriteConfig": "config",
        **dict.fromkeys(("Change", "Field", "OnChange", "undo", "write_tags"), "writing"),
    },
)
