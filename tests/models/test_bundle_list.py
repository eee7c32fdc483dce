"""What a student may write: whatever it chooses, the list parses and holds only what a bundle may be."""

import re

from hypothesis import given
from hypothesis import strategies as st

from models.bundle_list import BundleList, longest_bundle


@given(st.integers(2, 12), st.data())
def test_every_sequence_of_choices_ends_in_valid_bundles(products: int, data: st.DataObject) -> None:
    written = BundleList(products)
    text = ""
    while written.may_go_on and (not written.finished or data.draw(st.booleans())):
        complete = False
        while not complete:
            choices = written.choices()
            assert choices, "the end must be reachable from everywhere"
            choice = data.draw(st.sampled_from(choices))
            text += choice
            complete = written.choose(choice)
        text += " x\n"
    for line in text.splitlines():
        match = re.fullmatch(r"(\d+(?:,\d+)+): x", line)
        assert match
        numbers = [int(number) for number in match[1].split(",")]
        assert numbers == sorted(set(numbers))
        assert all(1 <= number <= products for number in numbers)
    assert len(set(written.finished)) == len(written.finished)


@given(st.integers(2, 30), st.data())
def test_no_choice_is_a_prefix_of_another(products: int, data: st.DataObject) -> None:
    written = BundleList(products)
    for _ in range(data.draw(st.integers(0, 3))):
        choices = [choice for choice in written.choices() if choice.endswith(",")]
        if choices:
            written.choose(data.draw(st.sampled_from(choices)))
    choices = written.choices()
    assert not any(one != other and other.startswith(one) for one in choices for other in choices)


def test_a_bundle_needs_two_products() -> None:
    assert BundleList(3).choices() == ["1,", "2,"]


def test_a_bundle_is_not_written_twice_even_when_it_is_the_only_way_on() -> None:
    written = BundleList(4)
    written.choose("3,")
    written.choose("4:")
    assert "3," not in written.choices()


def test_the_longest_bundle_has_every_product() -> None:
    assert longest_bundle(3) == "1,2,3:"
