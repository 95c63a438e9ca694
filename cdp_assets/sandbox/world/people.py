"""Who exists: accounts, people, their addresses, numbers and devices.

Everything here follows from (people, seed) alone; dates enter only where records and events are
written. Shares are exact quotas over the first `people` people, so that a small world holds the
same noise as a large one; people who appear on later days fall by chance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from cdp_assets.sandbox.world import pools

HISTORY_DAYS = 90
"""Days of history before the last day of the first state."""

BOTH, SALESFORCE_ONLY, HUBSPOT_ONLY = 0.60, 0.22, 0.13
"""Shares of people in both CRMs, in one of them; the rest is known to the app alone."""

SHARED_DEVICES = 0.02


@dataclass(frozen=True)
class Account:
    """A customer or prospect company."""

    index: int
    name: str
    domain: str
    workspace: str
    industry: str
    city: str
    state: str
    employees: int
    plan: str
    in_salesforce: bool
    in_hubspot: bool
    phone: str


@dataclass
class Device:
    """A browser or phone. `owners`: people who use it; two for a shared one."""

    anonymous_id: str
    kind: str
    owners: tuple[int, ...]
    skew_ms: int = 0
    silent: bool = False
    """Its owner never logs in on it."""


@dataclass
class Person:
    """One true person."""

    index: int
    first: str
    last: str
    title: str
    account: Account | None
    email: str
    personal_email: str
    other_email: str
    phone: str
    mobile: str
    in_salesforce: bool
    in_hubspot: bool
    user_id: str | None
    app_email: str
    signup_day: int
    """Day of history on which the app account was made; below 0 before the history."""
    rate: float
    """Chance of a session on a day."""
    buyer: float
    """Chance of an order in a session."""
    looker: float
    """Chance of reading prices in a session."""
    born: int = 0
    """Day of history before which nobody has heard of the person."""
    devices: list[Device] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The person's name in the truth."""
        return f"p{self.index + 1:06d}"


class Quota:
    """For each of `count` places a number in [0, 1), evenly spread and shuffled by `topic`; random
    past the last."""

    def __init__(self, seed: int, topic: str, count: int) -> None:
        self._places = list(range(count))
        random.Random(f"{seed}:quota:{topic}").shuffle(self._places)
        self._late = random.Random(f"{seed}:late:{topic}")

    def at(self, index: int) -> float:
        """The number of this place."""
        if index < len(self._places):
            return (self._places[index] + 0.5) / len(self._places)
        return self._late.random()


class Population:
    """All accounts, people and devices; grows by `add` on later days."""

    def __init__(self, people: int, seed: int) -> None:
        self.seed = seed
        self.size = people
        self.accounts = _accounts(seed, max(4, people // 8))
        self.people: list[Person] = []
        self.devices: list[Device] = []
        self.visitors = max(4, people // 50)
        """Strangers on the web site a day, who never say who they are."""
        self.addresses: set[str] = set()
        """Every e-mail address ever given out, mistyped ones too: none is given out twice."""
        self._phone_offset = random.Random(f"{seed}:phones").randrange(1_000_000)
        self._quota = {
            topic: Quota(seed, topic, people)
            for topic in ("crm", "user", "signup", "rate", "buyer", "account")
        }
        for _ in range(people):
            self.add()
        shared = _share_devices(self, random.Random(f"{seed}:shared"))
        self.shared_devices = {device.anonymous_id for device in shared}

    def add(self, born: int | None = None) -> Person:
        """The next person; `born`: the day on which they appear, and sign up if they use the
        app."""
        index = len(self.people)
        rng = random.Random(f"{self.seed}:person:{index}")
        quota = {topic: quota.at(index) for topic, quota in self._quota.items()}
        first, last = (rng.choice(words) for words in pools.names())
        account = None
        if quota["account"] < 0.94:
            # squared: few accounts have many people, most have few
            account = self.accounts[int(rng.random() ** 2 * len(self.accounts))]
        crm = quota["crm"]
        in_salesforce = crm < BOTH + SALESFORCE_ONLY
        in_hubspot = crm < BOTH or BOTH + SALESFORCE_ONLY <= crm < 1 - _NEITHER
        uses_app = crm >= 1 - _NEITHER or quota["user"] < 0.62
        local = f"{pools.ascii_slug(first)}.{pools.ascii_slug(last)}"
        personal = self.address(local.replace(".", "") + str(rng.randrange(10, 99)), "mailbox")
        other = self.address(f"{local[0]}{local.split('.')[1]}{rng.randrange(10, 99)}", "postbox")
        email = self.address(local, account.domain.removesuffix(".example")) if account else (
            self.address(local, "webmail")
        )  # fmt: skip
        signup_day = born
        if signup_day is None:
            place = quota["signup"]
            signup_day = -1 if place < 0.7 else int((place - 0.7) / 0.3 * HISTORY_DAYS)
        person = Person(
            index=index,
            first=first,
            last=last,
            title=rng.choice(pools.TITLES),
            account=account,
            email=email,
            personal_email=personal,
            other_email=other,
            phone=self.phone(2 * index),
            mobile=self.phone(2 * index + 1),
            in_salesforce=in_salesforce,
            in_hubspot=in_hubspot,
            user_id=str(10_000 + index * 7 % 9 + index * 10) if uses_app else None,
            app_email=email if rng.random() < 0.85 else personal,
            signup_day=signup_day,
            rate=_rate(quota["rate"]),
            buyer=0.35 if quota["buyer"] < 0.10 else 0.04 if quota["buyer"] < 0.35 else 0.0,
            looker=rng.choice((0.02, 0.05, 0.3)),
            born=born or 0,
        )
        self._give_devices(person, rng)
        self.people.append(person)
        return person

    def address(self, local: str, host: str) -> str:
        """A new e-mail address at `<host>.example` (a domain that can never exist)."""
        number = 1
        address = f"{local}@{host}.example"
        while address in self.addresses:
            number += 1
            address = f"{local}{number}@{host}.example"
        self.addresses.add(address)
        return address

    def mistype(self, address: str, rng: random.Random) -> str:
        """`address` with a slip of the fingers; never anybody's address."""
        local, _, domain = address.partition("@")
        while True:
            at = rng.randrange(1, len(local) - 1)
            kind = rng.randrange(3)
            if kind == 0 and local[at] != local[at + 1]:
                slip = local[:at] + local[at + 1] + local[at] + local[at + 2 :]
            elif kind == 1 and local[at] != ".":
                slip = local[:at] + local[at + 1 :]
            else:
                slip = local[: at + 1] + local[at] + local[at + 1 :]
            wrong = f"{slip}@{domain}"
            if ".." not in slip and not slip.startswith(".") and not slip.endswith(".") and (
                wrong not in self.addresses
            ):  # fmt: skip
                self.addresses.add(wrong)
                return wrong

    def phone(self, number: int) -> str:
        """Ten digits of a North American number in the 555 exchange; one for each `number`."""
        space = len(pools.AREA_CODES) * 10_000
        # 999_983 is prime and no factor of the space, so no two numbers below it meet
        place = (number * 999_983 + self._phone_offset) % space
        return f"{pools.AREA_CODES[place // 10_000]}555{place % 10_000:04d}"

    def _give_devices(self, person: Person, rng: random.Random) -> None:
        kinds = []
        if person.user_id is not None:
            kinds.append("web")
            if rng.random() < 0.35:
                kinds.append("ios")
            if rng.random() < 0.15:
                kinds.append("web")
            if rng.random() < 0.05:
                kinds.append("silent")
        elif rng.random() < 0.10:
            kinds.append("silent")
        for kind in kinds:
            skewed = rng.random() < 0.03
            device = Device(
                anonymous_id=_uuid(rng),
                kind="web" if kind == "silent" else kind,
                owners=(person.index,),
                skew_ms=rng.randrange(-7_200_000, 7_200_000) if skewed else 0,
                silent=kind == "silent",
            )
            person.devices.append(device)
            self.devices.append(device)


_NEITHER = 1 - BOTH - SALESFORCE_ONLY - HUBSPOT_ONLY


def _rate(place: float) -> float:
    return 0.5 if place < 0.1 else 0.15 if place < 0.5 else 0.05


def _uuid(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _accounts(seed: int, count: int) -> list[Account]:
    rng = random.Random(f"{seed}:accounts")
    taken: set[str] = set()
    accounts = []
    for index in range(count):
        word = rng.choice(pools.FIRST_WORDS) + rng.choice(pools.SECOND_WORDS)
        kind = rng.choice(pools.COMPANY_KINDS)
        slug = f"{word}-{kind}".lower()
        number = 1
        while f"{slug}{number if number > 1 else ''}" in taken:
            number += 1
        slug += str(number) if number > 1 else ""
        taken.add(slug)
        city, state = rng.choice(pools.CITIES)
        place = rng.random()
        area = rng.choice(pools.AREA_CODES)
        accounts.append(
            Account(
                index=index,
                name=f"{word} {kind}" + (f" {number}" if number > 1 else ""),
                domain=f"{slug}.example",
                workspace=f"ws_{index + 1:05d}",
                industry=rng.choice(pools.INDUSTRIES),
                city=city,
                state=state,
                employees=int(10 ** (1 + 3 * rng.random())),
                plan="trial" if place < 0.3 else "team" if place < 0.8 else "enterprise",
                in_salesforce=index < 2 or rng.random() < 0.9,
                in_hubspot=index < 2 or rng.random() < 0.8,
                phone=f"{area}556{index % 10_000:04d}",
            )
        )
    return accounts


def _share_devices(population: Population, rng: random.Random) -> list[Device]:
    """Make 2 % of the devices shared: a second user of the app works on them too."""
    users = [person for person in population.people if person.user_id is not None]
    candidates = [d for d in population.devices if d.kind == "web" and not d.silent]
    shared = rng.sample(candidates, round(SHARED_DEVICES * len(population.devices)))
    for device in shared:
        owner = population.people[device.owners[0]]
        near = [p for p in users if p.account is owner.account and p is not owner] or [
            p for p in users if p is not owner
        ]
        second = rng.choice(near)
        device.owners = (owner.index, second.index)
        second.devices.append(device)
    return shared
