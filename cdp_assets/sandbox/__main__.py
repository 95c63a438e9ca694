"""`python -m cdp_assets.sandbox`."""

from cdp_assets.sandbox import main

if __name__ == "__main__":
    raise SystemExit(main())
