"""The format of a list: any sequence of choices parses to valid bundles."""

import re

from hypothesis import given
from hypothesis import strategies as st

from models.bundle_list import BundleList, longest_bundle


@given(st.integers(2, 12), st.data())
def test_every_sequence_of_choices_ends_in_valid_bundles(products: int, data: st.DataObject) -> None:
    written = BundleList(products)
    text = ""
    while written.can_continue and (not written.finished or data.draw(st.booleans())):
        numbers: tuple[int, ...] = ()
        while not text.endswith(":"):
            choices = written.choices(numbers)
            assert choices, "the end must be reachable from everywhere"
            choice = data.draw(st.sampled_from(choices))
            text += choice
            numbers += (int(choice[:-1]),)
        written.finished.append(numbers)
        text += " x\n"
    for line in text.splitlines():
        match = re.fullmatch(r"(\d+(?:,\d+)+): x", line)
        assert match
        found = [int(number) for number in match[1].split(",")]
        assert found == sorted(set(found))
        assert all(1 <= number <= products for number in found)
    assert len(set(written.finished)) == len(written.finished)


@given(st.integers(2, 30), st.data())
def test_no_choice_is_a_prefix_of_another(products: int, data: st.DataObject) -> None:
    written = BundleList(products)
    numbers: tuple[int, ...] = ()
    for _ in range(data.draw(st.integers(0, 3))):
        goes_on = [choice for choice in written.choices(numbers) if choice.endswith(",")]
        if goes_on:
            numbers += (int(data.draw(st.sampled_from(goes_on))[:-1]),)
    choices = written.choices(numbers)
    assert not any(one != other and other.startswith(one) for one in choices for other in choices)


def test_a_bundle_needs_two_products() -> None:
    assert BundleList(3).choices(()) == ["1,", "2,"]


def test_a_bundle_is_not_written_twice_even_if_it_is_the_only_choice() -> None:
    written = BundleList(4)
    written.finished.append((3, 4))
    assert "3," not in written.choices(())


def test_the_longest_bundle_has_every_product() -> None:
    assert longest_bundle(3) == "1,2,3:"
