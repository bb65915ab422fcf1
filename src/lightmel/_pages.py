"""Pages of HTML that need nothing beside them: how all of them look."""

from __future__ import annotations

from importlib import resources
from string import Template

STYLE = """\
:root {
  color-scheme: light dark;
  --back: #fbfaf8; --card: #ffffff; --text: #1d1c1a; --soft: #66625c; --line: #e2ded7;
  --fill: #2f6f8f; --track: #ebe7e0; --mark: #b4541a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #161719; --card: #1f2124; --text: #e9e7e3; --soft: #a3a09a; --line: #34373b;
    --fill: #6db3d3; --track: #2b2e32; --mark: #f0a36b;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: .4rem 0 1.5rem; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem;
  min-width: 0; }
"""
"""Colors, light and dark, and the frame of a page; what is special to one stands in its template."""


def filled(package: str, name: str, **parts: str) -> str:
    """Return a template of a package as a page, with its parts and `STYLE` in their places."""
    template = Template(resources.files(package).joinpath(name).read_text(encoding="utf-8"))
    return template.substitute(style=STYLE, **parts)
