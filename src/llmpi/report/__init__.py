"""From records to a table, figures and a page."""
