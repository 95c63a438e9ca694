"""What people do on one day, as Segment events: visits, log-ins, purchases, use, chats.

One day follows from (population, day number, date) alone, so any day can be made again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from cdp_assets.sandbox.world import pools
from cdp_assets.sandbox.world.people import Device, Person, Population

DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
)
_PRODUCTS = (("seats-5", 49.5), ("seats-20", 179.0), ("api-pack", 99.9), ("training", 350.0))
LATE_SHARE, LATE_DAYS = 0.005, 60


@dataclass
class Seen:
    """What the event files have shown so far: the truth names only what could be seen.

    logins: (anonymous id, user id) pairs. emails: (user id, e-mail) pairs of identify events.
    """

    devices: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    logins: set[tuple[str, str]] = field(default_factory=set)
    emails: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True)
class Line:
    """One event as a line of JSON. source: web, ios or server. at: its time, ms since 1970."""

    source: str
    at: int
    text: str


def day_lines(
    population: Population,
    day: int,
    on: date,
    *,
    part: float = 1.0,
    seen: Seen | None = None,
) -> list[Line]:
    """All events that arrive on day number `day` of the world, whose date is `on`.

    part: share of the day that has passed so far; everything falls inside it.
    seen: collects what these events show.
    """
    return list(_Day(population, day, on, part, seen or Seen()).lines())


def iso(at: int) -> str:
    """Milliseconds since 1970 as 2026-11-24T10:00:00.123Z."""
    seconds, ms = divmod(at, 1000)
    days, second = divmod(seconds, 86_400)
    text = _DATES.get(days)
    if text is None:
        text = _DATES[days] = (_EPOCH + timedelta(days=days)).isoformat()
    return f"{text}T{_CLOCK[second]}.{_MILLISECONDS[ms]}Z"


# tables, since a large world prints four times an event
_DATES: dict[int, str] = {}
_CLOCK = [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400)]
_MILLISECONDS = [f"{ms:03d}" for ms in range(1000)]


def day_start(on: date) -> int:
    """Midnight UTC of `on` in milliseconds since 1970."""
    return int(datetime(on.year, on.month, on.day, tzinfo=UTC).timestamp()) * 1000


class _Day:
    def __init__(self, population: Population, day: int, on: date, part: float, seen: Seen) -> None:
        self.population = population
        self.day = day
        self.start = day_start(on)
        self.part = part
        self.seen = seen
        self.rng = random.Random(f"{population.seed}:day:{day}")

    def lines(self) -> Iterator[Line]:
        rng = self.rng
        for person in self.population.people:
            if self.day < person.born:
                continue
            chance = person.rate
            if person.user_id is None:
                chance = 0.03
            elif self.day == person.signup_day:
                chance = 1.0
            elif self.day < person.signup_day:
                chance = 0.01
            if not person.devices or rng.random() >= chance:
                continue
            yield from _Session(self, person, self.start).lines()
            if person.user_id is not None and rng.random() < LATE_SHARE * 1.4:
                # a phone or laptop that was offline: its old events arrive today
                back = rng.randrange(1, LATE_DAYS + 1)
                if self.day - back > max(0, person.signup_day):
                    late = self.start - back * DAY_MS
                    yield from _Session(self, person, late, arrives=self.start).lines()
        for number in range(self.population.visitors):
            yield from _Visit(self, f"{self.day}-{number}").lines()


class _Writer:
    """Writes one device's events; subclasses decide which."""

    stranger = False

    def __init__(self, day: _Day, start: int, arrives: int | None) -> None:
        self.day = day
        self.rng = day.rng
        whole = DAY_MS if arrives is not None else DAY_MS * day.part
        self.at = start + int(self._hour() / 24 * whole)
        self.end = start + int(whole) - 1
        self.arrives = arrives
        if arrives is not None:
            self.upload = arrives + int(self.rng.random() * DAY_MS * day.part)
        self.anonymous = ""
        self.user: str | None = None
        self.source = "web"
        self.skew = 0
        self.context = ""

    def _hour(self) -> float:
        return min(23.0, max(0.5, self.rng.gauss(13, 4)))

    def line(self, kind: str, rest: str, page: str = "", *, server: bool = False) -> Line:
        """One event, some seconds after the one before."""
        rng = self.rng
        self.at = min(self.at + 2_000 + int(rng.random() * 88_000), self.end)
        at = self.at
        seen = self.day.seen
        anonymous = "null" if server else f'"{self.anonymous}"'
        user = "null" if self.user is None else f'"{self.user}"'
        if self.user is not None:
            seen.users.add(self.user)
        if server:
            if rng.random() < 0.02:
                user = str(self.user)  # some servers send ids as numbers
            original = sent = received = at
            received += 50 + int(rng.random() * 850)
            context = '"library":{"name":"analytics-python","version":"2.3.4"}'
        else:
            if not self.stranger:
                seen.devices.add(self.anonymous)
            if self.user is not None:
                seen.logins.add((self.anonymous, self.user))
            original = at + self.skew
            delay = 200 + int(rng.random() * 4_800)
            arrival = at + delay if self.arrives is None else max(self.upload, at + delay)
            sent = arrival + self.skew
            received = arrival + 30 + int(rng.random() * 770)
            context = self.context + page
        corrected = received - (sent - original)
        return Line(
            "server" if server else self.source,
            received,
            f'{{"anonymousId":{anonymous},"context":{{{context}}},{rest}'
            f'"messageId":"{rng.getrandbits(128):032x}","originalTimestamp":"{iso(original)}",'
            f'"receivedAt":"{iso(received)}","sentAt":"{iso(sent)}",'
            f'"timestamp":"{iso(corrected)}","type":"{kind}","userId":{user}}}',
        )

    def web_context(self) -> None:
        rng = self.rng
        agent = _AGENTS[rng.randrange(3)]
        campaign = ""
        if rng.random() < 0.2:
            source, medium, name = rng.choice(pools.CAMPAIGNS)
            campaign = f'"campaign":{{"source":"{source}","medium":"{medium}","name":"{name}"}},'
        self.context = (
            f'{campaign}"ip":"203.0.113.{rng.randrange(1, 255)}",'
            f'"library":{{"name":"analytics.js","version":"2.11.1"}},"locale":"en-US",'
            f'"userAgent":"{agent}"'
        )

    def page(self, path: str, referrer: str = "") -> Line:
        host = "app" if path.startswith("/app") else "www"
        title = path.rsplit("/", 1)[-1].title() or "Home"
        body = (
            f'"path":"{path}","referrer":"{referrer}","title":"{title}",'
            f'"url":"https://{host}.fathom.example{path}"'
        )
        return self.line(
            "page", f'"name":"{title}","properties":{{{body}}},', f',"page":{{{body}}}'
        )

    def track(self, event: str, properties: str, *, server: bool = False) -> Line:
        return self.line(
            "track", f'"event":"{event}","properties":{{{properties}}},', server=server
        )


class _Visit(_Writer):
    """A stranger on the web site."""

    stranger = True

    def __init__(self, day: _Day, name: str) -> None:
        super().__init__(day, day.start, None)
        self.anonymous = f"v-{day.population.seed}-{name}-{self.rng.getrandbits(48):012x}"
        self.web_context()

    def lines(self) -> Iterator[Line]:
        yield self.page("/", "https://www.google.com/")
        for _ in range(self.rng.randrange(0, 4)):
            yield self.page(self.rng.choice(pools.PAGES))
        if self.rng.random() < 0.1:
            yield self.page("/pricing")
            yield self.track("Pricing Viewed", '"plan":"team"')


class _Session(_Writer):
    """One sitting of a known person at one of their devices."""

    def __init__(self, day: _Day, person: Person, start: int, arrives: int | None = None) -> None:
        super().__init__(day, start, arrives)
        self.person = person
        own = [device for device in person.devices if len(device.owners) == 1]
        shared = [device for device in person.devices if len(device.owners) > 1]
        pick = shared if shared and (not own or self.rng.random() < 0.3) else own
        self.device: Device = self.rng.choice(pick)
        self.anonymous = self.device.anonymous_id
        self.skew = self.device.skew_ms
        self.source = self.device.kind
        if self.source == "web":
            self.web_context()
        else:
            self.context = (
                '"app":{"name":"Fathom","version":"4.2.0"},"device":{"model":"iPhone16,1",'
                '"type":"ios"},"library":{"name":"analytics-swift","version":"1.7.0"},'
                '"os":{"name":"iOS","version":"18.1"}'
            )

    def lines(self) -> Iterator[Line]:
        person, rng = self.person, self.rng
        day_of_events = self.day.day
        if person.user_id is None or day_of_events < person.signup_day or self.device.silent:
            yield from self._visit()
            return
        shared = len(self.device.owners) > 1
        signing_up = day_of_events == person.signup_day and self.arrives is None
        if signing_up:
            yield from self._visit()
        elif shared or rng.random() < 0.4:
            if self.source == "web":
                yield self.page("/")
        else:
            self.user = person.user_id  # still logged in from before
        if self.user is None:
            self.user = person.user_id
            yield self._identify()
            yield self.track("Signed Up" if signing_up else "Signed In", '"method":"password"')
        elif rng.random() < 0.3:
            yield self._identify()
        if person.account is not None and (signing_up or rng.random() < 0.1):
            yield self._group()
        yield from self._use()
        if shared or rng.random() < 0.15:
            yield self.track("Signed Out", "")
            self.user = None
            if self.source == "web" and rng.random() < 0.5:
                yield self.page("/")

    def _visit(self) -> Iterator[Line]:
        rng = self.rng
        if self.source != "web":
            yield self.line("screen", '"name":"Welcome","properties":{},')
            return
        yield self.page("/", rng.choice(("", "https://www.google.com/", "https://news.example/")))
        for _ in range(rng.randrange(1, 4)):
            yield self.page(rng.choice(pools.PAGES))
        if rng.random() < 0.15:
            yield self.page("/pricing")
            yield self.track("Pricing Viewed", '"plan":"team"')

    def _use(self) -> Iterator[Line]:
        person, rng = self.person, self.rng
        web = self.source == "web"
        for _ in range(rng.randrange(1, 4)):
            feature = pools.FEATURES[int(rng.random() ** 2 * len(pools.FEATURES))]
            if web:
                yield self.page(f"/app/{feature}")
            else:
                yield self.line(
                    "screen", f'"name":"{rng.choice(pools.SCREENS)}","properties":{{}},'
                )
            yield self.track(
                "Feature Used", f'"feature":"{feature}","seconds":{rng.randrange(5, 900)}'
            )
        if web and rng.random() < person.looker:
            yield self.page("/pricing")
            plan = rng.choice(("team", "enterprise"))
            yield self.track("Pricing Viewed", f'"plan":"{plan}"')
        if self.arrives is None and rng.random() < person.buyer:  # nobody orders offline
            yield from self._order()
        if rng.random() < 0.03:
            topic = rng.choice(("billing", "import", "bug", "how-to"))
            yield self.track("Support Chat Started", f'"topic":"{topic}"')
            yield self.track(
                "Support Chat Ended", f'"topic":"{topic}","rating":{rng.randrange(1, 6)}'
            )

    def _order(self) -> Iterator[Line]:
        rng = self.rng
        product, price = rng.choice(_PRODUCTS)
        quantity = rng.randrange(1, 4)
        order = f"O{self.person.index + 1:06d}-{self.day.day}-{rng.getrandbits(20):05x}"
        yield self.track("Checkout Started", f'"order_id":"{order}"')
        yield self.track(
            "Order Completed",
            f'"order_id":"{order}","revenue":{price * quantity:.2f},"currency":"USD",'
            f'"quantity":{quantity},"products":[{{"product_id":"{product}",'
            f'"price":{price:.2f},"quantity":{quantity}}}]',
            server=True,
        )

    def _identify(self) -> Line:
        person = self.person
        self.day.seen.emails.add((str(person.user_id), person.app_email))
        traits = {
            "email": person.app_email,
            "firstName": person.first,
            "lastName": person.last,
            "title": person.title,
        }
        return self.line("identify", f'"traits":{json.dumps(traits, ensure_ascii=False)},')

    def _group(self) -> Line:
        account = self.person.account
        assert account is not None
        traits = {"name": account.name, "plan": account.plan, "industry": account.industry}
        return self.line("group", f'"groupId":"{account.workspace}","traits":{json.dumps(traits)},')
