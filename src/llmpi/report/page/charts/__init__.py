"""The page's charts: Vega-Lite specs made with Altair, drawn by the reader's browser.

A spec names its data (`alt.NamedData`), which the page holds once; the page sets colours and fonts.
"""
