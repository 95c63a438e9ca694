"""The constrained union: links joined strongest first, those that break a rule refused.

`join` is written in the subset of Python that numba compiles. Compiled code is cached on the
disk; where numba cannot be had, or for few links, the same lines run as plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

ACCEPTED = 0
DEVICE = -1
"""Refused: the link's weak end already belongs to another strong component."""

PLAIN_BELOW = 20_000
"""Links up to which plain Python is faster than loading numba (half a second)."""

Ints = npt.NDArray[np.int32]


def join(
    left: Any, right: Any, kind: Any, weak: Any, limit: Any, parent: Any,
    counts: Any, strong: Any, verdict: Any,
) -> None:  # fmt: skip
    """Join nodes in the order of the links.

    left, right: nodes of each link, in the order in which links are taken.
    kind: type of each node. weak: of each type. limit: of each limited type.
    parent: of each node, itself at the start; at the end its root. counts: limited types by node,
    at the start 1 where a node is of the type. strong: of each node. All three are written to.
    verdict: of each link, written: 0 accepted, -1 device, else 1 + the limited type's place.
    """
    slots = counts.shape[1]
    for link in range(len(left)):
        a = left[link]
        b = right[link]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a == b:
            continue
        if (weak[kind[left[link]]] or weak[kind[right[link]]]) and strong[a] and strong[b]:
            verdict[link] = -1
            continue
        over = 0
        for place in range(slots):
            if over == 0 and counts[a, place] + counts[b, place] > limit[place]:
                over = place + 1
        if over:
            verdict[link] = over
            continue
        if b < a:
            a, b = b, a
        parent[b] = a
        strong[a] = strong[a] or strong[b]
        for place in range(slots):
            counts[a, place] += counts[b, place]
    for node in range(len(parent)):
        root = node
        while parent[root] != root:
            root = parent[root]
        parent[node] = root


_compiled: Callable[..., None] | None = None


def _fast() -> Callable[..., None]:
    global _compiled
    if _compiled is None:
        try:
            import numba
        except ImportError:
            _compiled = join
        else:
            try:
                _compiled = numba.njit(cache=True)(join)
            except RuntimeError:
                # No folder to keep compiled code in: compile it in each process.
                _compiled = numba.njit(join)
    return _compiled


def constrained_union(
    left: Ints, right: Ints, kinds: npt.NDArray[np.int8], weak: list[bool], limits: list[int]
) -> tuple[Ints, npt.NDArray[np.int8]]:
    """Components of nodes under limits.

    left, right: nodes of each link, strongest first. kinds: type of each node. weak, limits: of
    each type (limit 0: none).

    A link is refused if it would put more of a limited type into one component than the limit
    (the first such type is named), or if it leads through a weak node and both components hold a
    strong one. A link inside one component is accepted.

    Returns the root of each node (its smallest node) and each link's verdict: ACCEPTED, DEVICE, or
    1 + the type over its limit.
    """
    limited = [kind for kind, limit in enumerate(limits) if limit]
    kind_of = kinds.astype(np.int64)
    counts = np.zeros((len(kinds), len(limited)), dtype=np.int32)
    for place, kind in enumerate(limited):
        counts[:, place] = kind_of == kind
    parent = np.arange(len(kinds), dtype=np.int32)
    strong = ~np.array(weak, dtype=np.bool_)[kind_of] if len(kinds) else np.zeros(0, np.bool_)
    verdict = np.zeros(len(left), dtype=np.int8)
    run = _fast() if len(left) > PLAIN_BELOW else join
    run(
        left, right, kinds, np.array(weak, dtype=np.bool_),
        np.array([limits[kind] for kind in limited], dtype=np.int32),
        parent, counts, strong, verdict,
    )  # fmt: skip
    names = np.array([0, *(kind + 1 for kind in limited)], dtype=np.int8)
    over = verdict > 0
    verdict[over] = names[verdict[over]]
    return parent, verdict
