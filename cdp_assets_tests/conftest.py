"""Fixtures that every room's tests share."""

pytest_plugins = ["cdp_assets_tests.engines"]
