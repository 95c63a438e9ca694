"""The written rules of docs/sessions.md, one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from cdp_assets.events.tables import EVENTS
from cdp_assets.sessions import cut
from cdp_assets.sessions.build import rules_of
from cdp_assets.sessions.cut import taking_part
from cdp_assets.sessions.visits import Visits, visits
from cdp_assets_tests.sessions.world import at, config, event

GOOGLE = "https://www.google.com/"


def made(*events: dict[str, Any], zone: str = "UTC", **given: Any) -> Visits:
    """Sessions and page views of these events, by such a configuration."""
    rules = rules_of(config(**given), zone)
    rows = pl.DataFrame(list(events), schema=dict(EVENTS.schema))
    return visits(rows.filter(taking_part(rules.heartbeats)), rules)


def sessions(*events: dict[str, Any], **given: Any) -> list[dict[str, Any]]:
    """Sessions by device and number."""
    return made(*events, **given).sessions.sort("visitor", "session_number").to_dicts()


def test_thirty_minutes_of_nothing_end_a_session_and_not_one_less() -> None:
    found = sessions(event(0), event(30), event(60.5))
    assert [s["page_views"] for s in found] == [2, 1]
    assert [s["session_number"] for s in found] == [1, 2]
    assert (found[0]["started_at"], found[0]["ended_at"]) == (at(0), at(30))
    assert found[0]["duration_seconds"] == 1800
    assert found[0]["session_id"] == f"d1.{int(at(0).timestamp() * 1e6)}"


def test_the_timeout_is_a_setting() -> None:
    assert len(sessions(event(0), event(11), timeout="10m")) == 2


def test_each_device_has_its_own_sessions() -> None:
    found = sessions(event(0), event(1, device="d2"), event(2))
    assert [(s["visitor"], s["events"]) for s in found] == [("d1", 2), ("d2", 1)]


@pytest.mark.parametrize(("midnight", "number"), [(False, 1), (True, 2)])
def test_midnight_splits_only_where_asked_and_in_the_sites_zone(
    midnight: bool, number: int
) -> None:
    # 23:55 and 00:05 in Berlin; no midnight in UTC
    late = datetime(2026, 3, 2, 22, 55, tzinfo=UTC)
    both = [event((late - at(0)).total_seconds() / 60 + more) for more in (0, 10)]
    found = sessions(*both, midnight=midnight, timezone="Europe/Berlin")
    assert len(found) == number
    assert [s["day"] for s in found] == [date(2026, 3, 2), date(2026, 3, 3)][:number]
    assert len(sessions(*both, midnight=True)) == 1


def test_the_reporting_day_is_that_of_the_start_in_the_zone() -> None:
    views = made(event(13 * 60 + 50), event(14 * 60 + 10), zone="Europe/Berlin")
    assert views.sessions["day"].to_list() == [date(2026, 3, 3)]
    assert views.page_views["day"].to_list() == [date(2026, 3, 3)] * 2


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 3, 29, 0, 50, tzinfo=UTC), datetime(2026, 10, 25, 0, 50, tzinfo=UTC)],
)
def test_a_clock_that_is_put_forward_or_back_neither_splits_nor_stretches(
    moment: datetime,
) -> None:
    first = (moment - at(0)).total_seconds() / 60
    found = sessions(event(first), event(first + 20), midnight=True, timezone="Europe/Berlin")
    assert [s["duration_seconds"] for s in found] == [1200]
    assert found[0]["day"] == moment.date()


def test_identify_in_the_middle_opens_no_session_nor_does_it_prolong_one() -> None:
    found = sessions(
        event(0), event(1, type="identify", user_id="u1"), event(2, user_id="u1"),
        event(31, type="identify", user_id="u1"), event(40, user_id="u1"),
    )  # fmt: skip
    assert [s["events"] for s in found] == [2, 1]
    assert found[0]["user_id"] == "u1"


def test_heartbeats_neither_open_nor_prolong() -> None:
    beats = [event(minute, name="Heartbeat") for minute in range(1, 3000, 9)]
    found = made(event(0), *beats, event(3001))
    assert [s["events"] for s in found.sessions.to_dicts()] == [1, 1]
    one = found.sessions.sort("session_number").row(0, named=True)
    assert (one["ended_at"], one["duration_seconds"]) == (at(0), 0)
    assert one["seen_until"] == at(28)  # the last within the limit
    assert found.unplaced == len([m for m in range(1, 3000, 9) if m > 30])
    assert sessions(event(0, name="Heartbeat")) == []


def test_heartbeats_are_engaged_time_as_snowplow_counts_it() -> None:
    # pings 10, 20 and 21 seconds after: two stretches of ten seconds, less one, plus five
    beats = [event(s / 60, name="Page Ping", message_id=f"b{s}") for s in (10, 20, 21)]
    found = made(event(0), *beats, event(1, "/b"))
    assert found.page_views.sort("page_view_number")["engaged_seconds"].to_list() == [15, 0]
    assert found.sessions["engaged_seconds"].to_list() == [15]


def test_server_events_neither_open_nor_prolong() -> None:
    found = sessions(
        event(0),
        event(20, None, name="Invoice Paid"),
        event(25, device=None, user_id="u1", name="Invoice Paid"),
        event(40),
        event(0, device=None, user_id="u2"),
    )
    assert [(s["visitor"], s["events"]) for s in found] == [("d1", 1), ("d1", 1)]


def test_a_track_call_on_a_page_is_an_interaction() -> None:
    found = sessions(event(0, "/a"), event(20, "/a", name="Clicked"), event(45, "/b"))
    assert [(s["events"], s["page_views"]) for s in found] == [(3, 2)]


def test_a_screen_needs_no_address() -> None:
    found = made(event(0, None, type="screen", event="Home"))
    assert found.page_views.select("type", "page_title").rows() == [("screen", "Home")]


def test_bots_stay_out_and_reclassifying_is_a_new_build() -> None:
    assert sessions(event(0, flags=["bot"]), event(1, name="x", flags=["skewed", "bot"])) == []
    assert len(sessions(event(0, flags=["skewed"]))) == 1


def test_landing_and_exit_are_page_views_where_there_are_some() -> None:
    found = sessions(
        event(0, "/x", name="Loaded"), event(1, "/a?b=1#c", page_title="A"), event(2, "/b"),
        event(3, "/y", name="Clicked"),
    )[0]  # fmt: skip
    assert (found["landing_path"], found["landing_query"]) == ("/a", "b=1")
    assert (found["landing_host"], found["landing_title"]) == ("www.example.com", "A")
    assert found["exit_path"] == "/b"
    assert not found["bounced"]
    assert sessions(event(0, "/x", name="Loaded"))[0]["landing_path"] == "/x"


def test_bounce_and_engagement() -> None:
    one, two = sessions(event(0)), sessions(event(0), event(0.05))
    assert (one[0]["bounced"], one[0]["engaged"]) == (True, False)
    assert (two[0]["bounced"], two[0]["engaged"]) == (False, True)
    stay = sessions(event(0), event(0.2, name="Clicked"))
    assert (stay[0]["bounced"], stay[0]["engaged"]) == (False, True)


def test_time_on_page_is_until_the_next_and_of_the_last_until_what_was_done_there() -> None:
    found = made(event(0, "/a"), event(2, "/b"), event(3, "/b", name="Clicked"), event(60, "/c"))
    rows = found.page_views.sort("timestamp")
    assert rows["seconds_on_page"].to_list() == [120, 60, None]
    assert rows["entrance"].to_list() == [True, False, True]
    assert rows["exit"].to_list() == [False, True, True]
    assert rows["page_view_number"].to_list() == [1, 2, 1]


def test_durations_go_by_the_devices_own_clock() -> None:
    # sent late: the correction moved the second batch by ten minutes
    own = [at(0), at(1)]
    found = made(
        event(0, "/a", original_at=own[0]), event(11, "/b", original_at=own[1])
    ).page_views.sort("timestamp")
    assert found["seconds_on_page"].to_list() == [60, None]
    # a clock that jumped is not believed
    jumped = made(event(0, "/a", original_at=at(0)), event(1, "/b", original_at=at(-900)))
    assert jumped.sessions["duration_seconds"].to_list() == [60]


def test_a_campaign_opens_a_new_session_and_the_same_one_does_not() -> None:
    news = "/?utm_source=news&utm_medium=email"
    found = sessions(
        event(0), event(1, news), event(2, "/a"), event(3, news), event(4, "/?gclid=1")
    )
    assert [s["channel"] for s in found] == ["Direct", "Email", "Paid Search"]
    assert [s["events"] for s in found] == [1, 3, 1]
    kept = sessions(event(0), event(1, news), campaign_change=False)
    assert [(s["channel"], s["events"]) for s in kept] == [("Email", 2)]


def test_names_of_parameters_have_no_case_values_are_compared_folded_and_kept_raw() -> None:
    found = sessions(
        event(0, "/?UTM_SOURCE=LinkedIn&Utm_Medium=Paid+Social&utm_campaign=Caf%C3%A9%20%ZZ"),
        event(1, "/?utm_source=linkedin&utm_medium=paid social&utm_campaign=café %zz"),
    )
    assert len(found) == 1
    one = found[0]
    assert (one["utm_source"], one["source"]) == ("LinkedIn", "linkedin")
    assert (one["utm_medium"], one["medium"]) == ("Paid Social", "paid social")
    assert (one["utm_campaign"], one["campaign"]) == ("Café %ZZ", "café %zz")
    assert one["channel"] == "Paid Social"


def test_what_the_sdk_read_of_the_campaign_counts_before_the_address() -> None:
    sent = {"campaign_source": "News", "campaign_medium": "email", "campaign_name": "May"}
    found = sessions(event(0, "/?utm_source=other&utm_term=shoes&utm_content=top", **sent))[0]
    assert (found["source"], found["campaign"]) == ("news", "may")
    assert (found["utm_term"], found["utm_content"]) == ("shoes", "top")


def test_tagged_links_on_ones_own_site_bring_nobody() -> None:
    inner = event(1, "/?utm_source=banner&utm_medium=onsite", referrer="https://shop.example.com/")
    found = sessions(event(0, referrer=GOOGLE), inner)
    assert [(s["channel"], s["events"]) for s in found] == [("Organic Search", 2)]
    assert sessions(inner)[0]["channel"] == "Direct"


@pytest.mark.parametrize(
    ("sender", "given"),
    [
        ("https://www.example.com/a", {}),
        ("https://blog.example.com/", {}),
        ("https://pay.example.io/x", {"domains": ["example.io"]}),
        ("https://www.paypal.com/checkout", {}),
        ("https://hooks.stripe.com/3ds", {}),
        ("https://bank.example.net/", {"ignore_referrers": ["example.net"]}),
    ],
)
def test_own_sites_and_payment_providers_take_no_credit(sender: str, given: Any) -> None:
    assert sessions(event(0, referrer=sender), **given)[0]["channel"] == "Direct"
    found = sessions(event(0, referrer=GOOGLE), event(5, "/thanks", referrer=sender), **given)
    assert [(s["channel"], s["events"]) for s in found] == [("Organic Search", 2)]


def test_a_stranger_under_the_same_public_suffix_is_no_site_of_ones_own() -> None:
    found = sessions(event(0, "https://mine.co.uk/", referrer="https://theirs.co.uk/"))
    assert (found[0]["channel"], found[0]["source"]) == ("Referral", "theirs.co.uk")


def test_the_session_keeps_its_first_source_and_one_that_comes_after_a_direct_hit_counts() -> None:
    found = sessions(event(0, referrer=GOOGLE), event(1, referrer="https://www.bing.com/"))
    assert [(s["source"], s["medium"]) for s in found] == [("google", "organic")]
    late = [event(0), event(1, referrer=GOOGLE), event(2, referrer="https://www.bing.com/")]
    for order in (late, late[::-1]):
        assert [s["source"] for s in sessions(*order)] == ["google"]


def test_a_click_id_is_paid_search_with_and_without_tags() -> None:
    for query in ("gclid=x", "gclid=x&utm_source=newsletter&utm_medium=organic", "msclkid=y"):
        found = sessions(event(0, f"/?{query}", referrer="https://www.bing.com/"))[0]
        assert found["channel"] == "Paid Search"
    assert sessions(event(0, "/?GCLID=x"))[0]["source"] == "google"
    assert sessions(event(0, "/?msclkid=x"))[0]["click_id"] == "x"


def test_fbclid_is_social_and_paid_where_the_medium_says_so() -> None:
    found = [
        sessions(event(0, f"/?fbclid=x{more}"))[0]["channel"]
        for more in ("", "&utm_medium=cpc", "&utm_medium=paid_social", "&utm_medium=email")
    ]
    assert found == ["Organic Social", "Paid Social", "Paid Social", "Organic Social"]


def test_a_time_in_the_future_was_replaced_by_receipt_and_pins_nothing() -> None:
    found = sessions(
        event(0), event(1, original_at=at(60 * 24 * 365 * 20), flags=["future"]), event(2)
    )
    assert [(s["events"], s["duration_seconds"]) for s in found] == [(3, 120)]


def test_page_calls_come_first_of_one_moment() -> None:
    found = sessions(event(0, "/x", name="A", message_id="a"), event(0, "/p", message_id="z"))
    assert (found[0]["landing_path"], found[0]["events"]) == ("/p", 2)


def test_two_sessions_of_one_moment_have_two_ids() -> None:
    found = sessions(event(0, "/?utm_source=a"), event(0, "/?utm_source=b"))
    assert len({s["session_id"] for s in found}) == 2
    assert found[1]["session_id"].endswith(".2")


def test_devices_as_dbt_labs_segment_names_them() -> None:
    agents = {
        "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X)": ("iPhone", "iPhone"),
        "Mozilla/5.0 (Linux; Android 16; Pixel 10)": ("Android", "Android"),
        "Mozilla/5.0 (iPad; CPU OS 19)": ("iPad", "Tablet"),
        "Mozilla/5.0 (Windows NT 10.0; Win64)": ("Windows", "Desktop"),
        "Mozilla/5.0 (X11; Linux x86_64)": ("X11", "Desktop"),
        "curl/8": (None, "Uncategorized"),
    }
    for agent, wanted in agents.items():
        found = sessions(event(0, user_agent=agent))[0]
        assert (found["device"], found["device_category"]) == wanted


def test_what_enrichment_added_is_of_the_first_event_that_has_it() -> None:
    found = sessions(event(0), event(1, browser="Firefox", country="DE"), event(2, country="FR"))[0]
    assert (found["browser"], found["country"], found["city"]) == ("Firefox", "DE", None)


def test_nothing_gives_nothing() -> None:
    assert made().sessions.is_empty()


def test_devices_whose_numbers_are_the_same_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        event(m, device=device, message_id=f"{m}{device}")
        for m in (0, 40, 41)
        for device in ("d1", "d2", "d3")
    ]
    apart = made(*told).sessions
    monkeypatch.setattr(cut, "device_number", lambda: pl.lit(7, pl.Int64))
    together = made(*told[::-1]).sessions
    assert together.sort("session_id").equals(apart.sort("session_id"))
    assert apart["session_number"].to_list() == [1, 2] * 3
