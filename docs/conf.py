"""Sphinx's settings for the documents as a site: `make docs-site`.

Its source is the whole repository: the documents link to one another as they lie there, so the
same links work on a code host and in the site.
"""

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "llmpi"
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "config/README.md", "benchmarks/README.md"]
exclude_patterns = [".*", "envs", "logs", "results", "site", "src", "tests"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = "llmpi"
html_show_sourcelink = False
html_copy_source = False


def setup(app: Sphinx) -> None:
    # Pygments has no lexer for it, and what draws it would have to be fetched.
    app.add_lexer("mermaid", TextLexer)
