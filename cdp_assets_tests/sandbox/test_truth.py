"""The score: counted fast, checked by counting every pair."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.sandbox.world.truth import Truth, reachable_groups

KEYS = st.lists(
    st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 4)), st.integers(0, 4)),
    max_size=12,
)


@given(KEYS)
def test_score_counts_pairs(drawn: list[tuple[int, int | None, int]]) -> None:
    persons = {("k", str(i)): f"p{person}" for i, (person, _, _) in enumerate(drawn)}
    predicted = {("k", str(i)): p for i, (_, p, _) in enumerate(drawn) if p is not None}
    groups = {("k", str(i)): group for i, (_, _, group) in enumerate(drawn)}
    score = Truth(persons, groups).score({**predicted, ("k", "unknown"): 1})
    pairs = list(combinations(persons, 2))
    true = {pair for pair in pairs if persons[pair[0]] == persons[pair[1]]}
    said = {p for p in pairs if p[0] in predicted and predicted[p[0]] == predicted.get(p[1])}
    reach = {pair for pair in true if groups[pair[0]] == groups[pair[1]]}
    assert score.precision == (len(true & said) / len(said) if said else 1)
    assert score.recall == (len(true & said) / len(true) if true else 1)
    assert score.recall_reachable == (len(reach) / len(true) if true else 1)
    assert score.true_persons == len(set(persons.values()))
    mixed = {
        profile
        for profile in predicted.values()
        if len({persons[k] for k, p in predicted.items() if p == profile}) > 1
    }
    assert score.wrong_merges == len(mixed)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sets(st.sampled_from("abcd"), max_size=2)), max_size=9)
)
def test_reachable_is_what_paths_of_equal_values_join(drawn: list[tuple[int, set[str]]]) -> None:
    persons = {("k", str(i)): f"p{person}" for i, (person, _) in enumerate(drawn)}
    evidence = {("k", str(i)): values for i, (_, values) in enumerate(drawn)}
    groups = reachable_groups(persons, evidence)
    bearers = {v: {persons[k] for k in persons if v in evidence[k]} for v in "abcd"}
    joined = {key: {key} for key in persons}
    for _ in persons:
        for one, two in combinations(persons, 2):
            shared = evidence[one] & evidence[two]
            if persons[one] == persons[two] and any(len(bearers[v]) == 1 for v in shared):
                union = joined[one] | joined[two]
                for key in union:
                    joined[key] = union
    for one, two in combinations(persons, 2):
        assert (groups[one] == groups[two]) == (two in joined[one])
