"""Sphinx configuration: ``sphinx-build -W -b html docs docs/_build/html``."""

from __future__ import annotations

import re
from typing import Any

from lightmel import __version__

project = "lightmel"
author = "The lightmel developers"
copyright = "2026, The lightmel developers"  # noqa: A001 - Sphinx reads this name
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"  # docstrings name things in single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("Segments", "Source", "Wave", "Waves")}
maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # names that share a description stay together
napoleon_attr_annotations = False  # the signature has them
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_title = f"lightmel {release}"
html_copy_source = False
html_static_path = ["listening"]  # sounds: an <audio> element wants an address that stays

_SHORTER = [
    (re.compile(r"TypeAliasForwardRef\('(\w+)'\)"), r"\1"),
    (
        re.compile(r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[(.+?\]?)\]\]"),
        r"~numpy.typing.NDArray[\1]",
    ),
]


def _shorten(
    _app: Any, _what: str, _name: str, _obj: Any, _options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Write types in signatures as the source does."""
    for pattern, short in _SHORTER:
        signature, returns = (text and pattern.sub(short, text) for text in (signature, returns))
    return signature, returns


def setup(app: Any) -> None:
    """Connect what Sphinx calls."""
    app.connect("autodoc-process-signature", _shorten)
