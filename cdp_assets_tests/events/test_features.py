from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from cdp_assets.events import features
from cdp_assets.events.features import (
    FEATURES,
    FeatureMap,
    FeaturesConfig,
    build_features,
    expression,
    feature_map,
    in_figures,
)
from cdp_assets.lake import Lake
from cdp_assets_tests.events.world import NOW, event, line, run, source, table, write

CONFIG = FeaturesConfig.model_validate(
    {
        "features": {
            "reporting": {"events": ["Report Exported"], "pages": ["/reports/**"]},
            "export": {"events": ["Report Exported"]},
            "billing": {"pages": ["https://app.example.com/billing/*"]},
            "fax": {"events": ["Fax Sent"]},
        }
    }
)
MAP = feature_map(CONFIG, [("Invited", "teams")])


def viewed(number: int, path: str, host: str = "app.example.com") -> bytes:
    page = {"url": f"https://{host}{path}?a=1", "path": path}
    said = event(number, type="page", event=None, context={"page": page}, messageId=f"p{number}")
    return line(said)


def lines(start: int) -> list[bytes]:
    made = [line(event(n, event="Report Exported")) for n in range(start, start + 4)]
    made += [viewed(start + 1, "/reports/7"), viewed(start + 2, "/reports"), viewed(start, "/x")]
    made.append(viewed(start + 3, "/billing/plan"))
    made.append(viewed(start + 4, "/billing/plan", "elsewhere.example"))
    made.append(line(event(start + 5, event="Invited", userId="u1", messageId=f"i{start}")))
    made.append(
        line(event(start + 6, event="Feature Used", messageId=f"f{start}",
                   properties={"feature": "search"}))
    )  # fmt: skip
    return made


def test_uses_are_found_bit_by_bit_and_anew_as_at_once(lake: Lake, tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / "in", f"{n}.jsonl", lines(n * 10))
        run(lake, source(tmp_path / "in"))
        build_features(lake, MAP if n != 1 else feature_map(FeaturesConfig()))
    other = Lake(lake.root.parent / "other", clock=lake.clock)
    run(other, source(tmp_path / "in"))
    build_features(other, MAP)
    ours, theirs = table(lake, FEATURES.key), table(other, FEATURES.key)
    assert ours.sort(pl.all()).equals(theirs.sort(pl.all()))
    uses = dict(ours.group_by("feature").agg(pl.col("uses").sum()).iter_rows())
    assert uses == {
        "reporting": 3 * (4 + 2), "export": 12, "billing": 3, "teams": 3, "search": 3,
    }  # fmt: skip
    assert set(ours.filter(feature="teams")["user_id"]) == {"u1"}
    assert build_features(lake, MAP) == 0
    # a map that says less leaves nothing behind
    build_features(lake, feature_map(FeaturesConfig()))
    assert set(table(lake, FEATURES.key)["feature"]) == {"search"}


def test_a_table_without_a_use_is_no_reason_to_read_everything_again(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = features._uses

    def counting(events: pl.LazyFrame, found_by: FeatureMap) -> pl.DataFrame:
        read.append(len(events.collect()))
        return real(events, found_by)

    monkeypatch.setattr(features, "_uses", counting)
    unused, other = (
        feature_map(FeaturesConfig.model_validate({"features": {"fax": {"events": [name]}}}))
        for name in ("Fax Sent", "Fax Read")
    )
    for n, said in enumerate((unused, unused, other, unused)):
        write(tmp_path / "in", f"{n}.jsonl", [line(event(n, event="Else"))])
        run(lake, source(tmp_path / "in"))
        assert build_features(lake, said) == 0
    assert build_features(lake, unused) == 0
    assert read == [1, 1, 3, 4]


def test_figures_name_what_nobody_uses(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jsonl", lines(0))
    run(lake, source(tmp_path / "in"))
    build_features(lake, MAP)
    owned = table(lake, FEATURES.key).with_columns(
        pl.coalesce(pl.col("user_id").replace("", None), "anonymous_id").alias("person")
    )
    uses = in_figures(owned, MAP.names, date(2026, 1, 1))
    assert [use.feature for use in uses][-1] == "fax"
    by_name = {use.feature: use for use in uses}
    assert (by_name["reporting"].people, by_name["reporting"].uses) == (3, 6)
    today = NOW.date()
    idle = {use.feature for use in uses if use.idle(today, 90)}
    assert idle == {"fax"}
    assert by_name["reporting"].idle(today + timedelta(days=90), 90)
    assert in_figures(owned, MAP.names, today)[0].uses == 0


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/reports/**", "/reports", True), ("/reports/**", "/reports/", True),
        ("/reports/**", "/reports/a/b", True), ("/reports/**", "/reportsx", False),
        ("/reports/*", "/reports/a", True), ("/reports/*", "/reports/a/b", False),
        ("/reports/*/edit", "/reports/7/edit", True), ("/a.b", "/axb", False),
        ("/", "/", True), ("/", "/x", False), ("**/help", "/de/help", True),
    ],
)  # fmt: skip
def test_patterns_of_paths(pattern: str, path: str, fits: bool) -> None:
    assert pl.Series([path]).str.contains(expression(pattern))[0] is fits


def test_a_page_is_a_path() -> None:
    with pytest.raises(ValueError, match="is no path"):
        FeaturesConfig.model_validate({"features": {"a": {"pages": ["reports"]}}})
