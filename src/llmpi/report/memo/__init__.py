"""The memo: one sheet for a meeting, in each language, as Markdown and as PDF."""
