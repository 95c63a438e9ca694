"""Pages one after the other, the next one fetched while the present one is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cdp_assets.connectors.base import ConnectorError

P = TypeVar("P")


def pages_ahead(
    what: str, fetch: Callable[[str | None], tuple[P, str | None]], first: str | None = None
) -> Iterator[P]:
    """Pages from `first` on; `fetch` gives a page and the token of the next, None at the end.

    One page ahead, no more, so that memory stays flat. A token that comes twice is an error, not
    an end: a server that turns in circles would otherwise pass for one that was read through.
    """
    seen = {first}
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="page") as ahead:
        page, token = fetch(first)
        while token is not None:
            if token in seen:
                raise ConnectorError(
                    f"{what}: the system gave the same page mark twice, so its pages go in a "
                    "circle. Nothing more was taken. Not retried. Report it to the system's makers."
                )
            seen.add(token)
            coming = ahead.submit(fetch, token)
            yield page
            page, token = coming.result()
    yield page
