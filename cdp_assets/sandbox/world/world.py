"""One made-up world in one folder: begins, goes on after a restart, moves on by a day."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.tables import Tables
from cdp_assets.sandbox.world.crm import CrmWriter
from cdp_assets.sandbox.world.days import CrmDay
from cdp_assets.sandbox.world.files import EventFiles
from cdp_assets.sandbox.world.journeys import DAY_MS, Seen, day_start
from cdp_assets.sandbox.world.people import HISTORY_DAYS, Population
from cdp_assets.sandbox.world.records import Recorder, Spec
from cdp_assets.sandbox.world.support import Support
from cdp_assets.sandbox.world.truth import Truth, take


class World:
    """The tables of all systems, the event files and the truth.

    home: folder of everything. people, seed, end: what the world follows from; a world that is
    already there goes on as it is, and must have been made from the same people and seed.
    """

    def __init__(
        self, home: Path, *, people: int, seed: int, end: date | None, clock: Clock
    ) -> None:
        self.home = home
        self.clock = clock
        self.tables = Tables(home / "state")
        home.mkdir(parents=True, exist_ok=True)
        known = self.tables.load()
        meta = self.tables.meta
        if known and (meta["people"], meta["seed"]) != (people, seed):
            raise ValueError(
                f"{home} holds a world of {meta['people']} people with seed {meta['seed']}; "
                "name another --home, or empty this one"
            )
        if not known:
            last = end or clock.now().date() - timedelta(days=1)
            meta |= {
                "people": people, "seed": seed, "day": HISTORY_DAYS, "parts": {}, "added": [],
                "first": (last - timedelta(days=HISTORY_DAYS)).isoformat(),
            }  # fmt: skip
        self.first = date.fromisoformat(meta["first"])
        self.population = Population(people, seed)
        self.recorder = Recorder(self.population)
        specs = self.recorder.all()
        self.files = EventFiles(
            self.population,
            home / "events",
            self.first,
            {int(day): part for day, part in meta["parts"].items()},
        )
        if known:
            self.seen = _seen(self.tables)
            for day, count in meta["added"]:
                self._newcomers(day, count)
        else:
            self.seen = Seen()
            CrmWriter(self.tables, self.population, self.first, "first").fill(specs)
            Support(self.tables, seed, self.first).follow()
            self.files.write_history(self.seen)
            self._save()

    @property
    def day(self) -> int:
        """Number of the present day."""
        return int(self.tables.meta["day"])

    @property
    def today(self) -> date:
        """Date of the present day."""
        return self.files.date_of(self.day)

    def truth(self) -> Truth:
        """Who is who at this moment."""
        return take(self.tables, self.population, self.seen)

    def next_day(self) -> dict[str, int | str]:
        """Move on by a day; returns what changed, counted by kind."""
        day = self.day + 1
        meta = self.tables.meta
        self.files.parts[day] = self._part(self.files.date_of(day))
        added = max(1, round(0.004 * self.population.size))
        newcomers = self._newcomers(day, added)
        crm = CrmDay(self.tables, self.population, self.clock, self.first, day)
        changes = crm.run(newcomers)
        Support(self.tables, self.population.seed, self.first).follow()
        meta["added"] = [*meta["added"], [day, added]]
        meta["parts"] = {str(d): part for d, part in self.files.parts.items()}
        meta["day"] = day
        self.files.write_day(day, self.seen)
        self._save()
        return {"date": self.today.isoformat(), **changes}

    def _newcomers(self, day: int, count: int) -> list[Spec]:
        """People who appear on this day, and their records; always the same for one world."""
        specs: list[Spec] = []
        for _ in range(count):
            specs += self.recorder.of(self.population.add(born=day))
        return specs

    def _part(self, on: date) -> float:
        """How much of this day has passed; all of a day that is not now."""
        passed = self.clock.now().timestamp() * 1000 - day_start(on)
        if not 0 <= passed < DAY_MS:
            return 1.0
        return max(passed - 60_000, 60_000.0) / DAY_MS

    def _save(self) -> None:
        self.tables.put("world.seen", "devices", {"all": sorted(self.seen.devices)})
        self.tables.put("world.seen", "users", {"all": sorted(self.seen.users)})
        self.tables.put("world.seen", "logins", {"all": sorted(self.seen.logins)})
        self.tables.put("world.seen", "emails", {"all": sorted(self.seen.emails)})
        self.truth().save(self.home)
        self.tables.snapshot()


def _seen(tables: Tables) -> Seen:
    rows = tables["world.seen"].rows
    return Seen(
        set(rows["devices"]["all"]),
        set(rows["users"]["all"]),
        {(a, u) for a, u in rows["logins"]["all"]},
        {(u, e) for u, e in rows["emails"]["all"]},
    )
