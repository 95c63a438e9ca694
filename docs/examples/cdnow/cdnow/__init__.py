"""The purchases of an online CD shop, 1997 and 1998, as a project of its own."""
