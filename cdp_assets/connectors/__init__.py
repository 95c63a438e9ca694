"""Outside systems: one folder each, holding its client, its pull and its push."""
