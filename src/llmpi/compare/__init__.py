"""Two studies cell by cell: what became worse between them, beyond doubt."""
