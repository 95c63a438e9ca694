"""A stand-in for Zendesk Support, as its published API documents describe it."""
