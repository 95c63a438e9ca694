"""Events that the typed decoder read, taken apart into columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from msgspec import Raw

from cdp_assets.events.columns import event_columns
from cdp_assets.events.model import NO_RAW, Event
from cdp_assets.events.typed import TraitSpec, TypedSpec


class Gathered:
    """Events taken apart into columns, some at a time: while the processor still holds them."""

    def __init__(self, specs: Mapping[str, TypedSpec], traits: TraitSpec) -> None:
        self._specs = specs
        self._traits = traits
        self._frames: list[pl.DataFrame] = []
        self._typed: dict[str, tuple[list[int], dict[str, list[bytes]]]] = {}
        self._told: tuple[list[int], dict[str, list[bytes]]] = ([], {})

    def add(self, events: Sequence[Event], rows: Sequence[int], *, odd: bool = False) -> None:
        """Take events and their places in the block; `odd` ones may carry flags."""
        self._frames.append(event_columns(events, rows, odd))
        specs = self._specs
        found: dict[str, tuple[list[int], list[Raw]]] = {}
        for row, event in zip(rows, events, strict=True) if specs else ():
            if event.event in specs and event.type == "track":
                at = found.setdefault(str(event.event), ([], []))
                at[0].append(row)
                at[1].append(event.properties)
        for name, (places, objects) in found.items():
            _extend(
                self._typed.setdefault(name, ([], {})), places, specs[name].plucker.pluck(objects)
            )
        if self._traits.fields:
            pairs = [(r, e) for r, e in zip(rows, events, strict=True) if e.type == "identify"]
            texts = self._traits.pluck(
                [e.traits for _, e in pairs],
                [e.context.traits if e.context is not None else NO_RAW for _, e in pairs],
            )
            _extend(self._told, [r for r, _ in pairs], texts)

    def frame(self, payload: pl.Series) -> pl.DataFrame:
        """The events' columns, with their lines."""
        if not self._frames:
            self.add([], [])
        return pl.concat(self._frames, rechunk=True).with_columns(payload.alias("payload"))

    def typed(self) -> dict[str, pl.DataFrame]:
        """Event → row and its properties' columns."""
        return {name: self._specs[name].frame(*at) for name, at in self._typed.items()}

    def told(self) -> pl.DataFrame:
        """row, field, value of the traits told."""
        return self._traits.frame(*self._told)


def _extend(
    at: tuple[list[int], dict[str, list[bytes]]],
    rows: Sequence[int],
    texts: Mapping[str, list[bytes]],
) -> None:
    at[0].extend(rows)
    for name, found in texts.items():
        at[1].setdefault(name, []).extend(found)
