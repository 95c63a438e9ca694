"""Names, titles and other words the world is made of (names from Faker's lists)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module

_LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "pt_BR")

TITLES = (
    "Account Manager", "Head of Operations", "Data Analyst", "Marketing Manager", "Buyer",
    "Product Manager", "Finance Director", "IT Administrator", "Customer Success Manager",
    "Sales Director", "Controller", "Project Lead", "Head of Marketing", "Software Engineer",
    "Operations Analyst", "Procurement Specialist", "CEO", "CFO", "COO", "Office Manager",
    "VP Sales", "VP Engineering", "Support Lead", "Business Analyst", "Consultant",
)  # fmt: skip
INDUSTRIES = (
    "Agriculture", "Banking", "Construction", "Consulting", "Education", "Electronics", "Energy",
    "Healthcare", "Insurance", "Manufacturing", "Media", "Retail", "Technology", "Transportation",
)  # fmt: skip
CITIES = (
    ("New York", "NY"), ("Boston", "MA"), ("Chicago", "IL"), ("Denver", "CO"), ("Austin", "TX"),
    ("Seattle", "WA"), ("Portland", "OR"), ("Atlanta", "GA"), ("Miami", "FL"), ("Phoenix", "AZ"),
    ("Columbus", "OH"), ("Detroit", "MI"), ("Nashville", "TN"), ("Oakland", "CA"),
)  # fmt: skip
FIRST_WORDS = (
    "Amber", "Birch", "Blue", "Bright", "Cedar", "Clear", "Cobalt", "Copper", "Coral", "Crown",
    "Delta", "Ember", "Falcon", "Fern", "Flint", "Frost", "Golden", "Granite", "Green", "Grey",
    "Harbor", "Hazel", "High", "Iron", "Ivory", "Jade", "Juniper", "Lake", "Linden", "Long",
    "Maple", "Meadow", "Mill", "Moss", "North", "Oak", "Ocean", "Olive", "Pearl", "Pine",
    "Prairie", "Quartz", "Raven", "Red", "River", "Rowan", "Sable", "Silver", "Slate", "South",
    "Spruce", "Stone", "Summit", "Swift", "Thorn", "Timber", "Vale", "West", "White", "Willow",
)  # fmt: skip
SECOND_WORDS = (
    "bank", "bay", "bridge", "brook", "cliff", "crest", "dale", "field", "fold", "ford", "forge",
    "gate", "grove", "haven", "hill", "hollow", "land", "leaf", "line", "mark", "mere", "mont",
    "path", "peak", "point", "port", "ridge", "rock", "shore", "side", "spring", "stead",
    "stream", "view", "ville", "ward", "water", "way", "wood", "works",
)  # fmt: skip
COMPANY_KINDS = (
    "Logistics", "Foods", "Health", "Labs", "Energy", "Retail", "Media", "Partners", "Systems",
    "Textiles", "Robotics", "Insurance", "Travel", "Tools", "Studios", "Capital",
)  # fmt: skip
FEATURES = ("dashboards", "reports", "exports", "alerts", "forecasts", "api", "sharing", "import")
PAGES = ("/", "/features", "/customers", "/blog", "/docs", "/about", "/integrations", "/security")
SCREENS = ("Home", "Dashboard", "Report", "Alerts", "Settings")
CAMPAIGNS = (
    ("google", "cpc", "brand"), ("google", "cpc", "analytics-software"),
    ("linkedin", "paid_social", "ops-leaders"), ("newsletter", "email", "monthly-digest"),
    ("partner", "referral", "marketplace"), ("facebook", "paid_social", "retargeting"),
)  # fmt: skip
ROLE_NAMES = ("info", "sales", "office", "support", "team")
_AREAS = """
    201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234
    239 240 248 251 252 253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309
    310 312 313 314 315 316 317 318 319 320 321 323 325 330 331 334 336 337 339 346 347 351 352
    360 361 385 386 401 402 404 405 406 407 408 409 410 412 413 414 415 417 419 423 424 425 430
    432 434 435 440 443 469 470 475 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513
    515 516 517 518 520 530 540 541 551 559 561 562 563 567 570 571 573 574 575 580 585 586 601
    602 603 605 606 607 608 609 610 612 614 615 616 617 618 619 620 623 626 630 631 636 641 646
    650 651 657 660 661 662 678 682 701 702 703 704 706 707 708 712 713 714 715 716 717 718 719
    720 724 727 731 732 734 740 747 754 757 760 763 765 770 772 773 774 775 781 785 786 801 802
    803 804 805 806 808 810 812 813 814 815 816 817 818
"""
AREA_CODES = tuple(_AREAS.split())


@lru_cache(maxsize=1)
def names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """First and last names of several languages, sorted: the same on every machine."""
    first: set[str] = set()
    last: set[str] = set()
    for locale in _LOCALES:
        provider = import_module(f"faker.providers.person.{locale}").Provider
        first.update(_some(provider.first_names, 200))
        last.update(_some(provider.last_names, 400))
    return tuple(sorted(first)), tuple(sorted(last))


def _some(found: Iterable[str], count: int) -> list[str]:
    plain = sorted({n for n in found if n.replace("-", "").isalpha() and 2 < len(n) < 14})
    return plain[:: max(1, len(plain) // count)]


def ascii_slug(text: str) -> str:
    """`text` in the letters that e-mail addresses and domains are made of."""
    text = text.replace("ß", "ss").replace("ł", "l").replace("Ł", "l").replace("ø", "o")
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "".join(c for c in folded if c.isalnum())
