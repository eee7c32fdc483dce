"""Intents without a language model: the category that products share, and the intent of the nearest training bundle."""

from collections.abc import Sequence

import numpy as np
import pytest

from kdtui.distill.category_intent import category_intent
from kdtui.distill.intent_target import intent_target
from kdtui.distill.nearest_intent import NearestIntents, Vectors
from store.records import Bundle, Item, Session

TENT = Item("i1", "Two-person tent", (("Outdoor", "Shelter", "Tents"),))
PEGS = Item("i2", "Tent pegs", (("Outdoor", "Shelter", "Tent Accessories"),))
CASE = Item("i3", "Phone case", (("Phones", "Cases"),))
FILM = Item("i4", "Phone screen protector")

TRAIN = [
    Session("s1", (TENT, PEGS, CASE, FILM), (Bundle((1, 2), "a night outside"), Bundle((3, 4), "phone protection"))),
    Session("s2", (CASE, FILM), (Bundle((1, 2), "  "),)),
]


def by_letters(texts: Sequence[str]) -> Vectors:
    """Count each letter: enough to distinguish tents from phones, and the same for the same text."""
    return np.array([[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts], np.float32)


def test_products_are_named_by_the_narrowest_category_that_they_share() -> None:
    assert category_intent([TENT, PEGS]) == "Shelter"


def test_products_of_different_categories_are_named_by_their_kinds() -> None:
    assert category_intent([TENT, CASE]) == "Tents with Cases"


def test_products_without_a_category_have_a_name_too() -> None:
    assert category_intent([FILM]) == "products that go together"


def test_the_intent_of_the_nearest_training_bundle_is_found() -> None:
    nearest = NearestIntents(TRAIN, by_letters)
    assert nearest.of([[FILM, CASE], [PEGS, TENT]]) == ["phone protection", "a night outside"]
    assert nearest.of([]) == []


def test_an_unknown_product_finds_some_intent() -> None:
    assert NearestIntents(TRAIN, by_letters).of([[Item("x")]])[0] in ("a night outside", "phone protection")


def test_without_an_intent_in_training_there_is_no_nearest_one() -> None:
    with pytest.raises(ValueError, match="no training bundle has an intent"):
        NearestIntents(TRAIN[1:], by_letters)


@pytest.mark.parametrize(
    ("written", "learned"),
    [
        ('"building a pc\n', "Building a pc"),
        ("Storage Devices", "Storage devices"),
        ("USB cables ", "USB cables"),
        ("iPad case", "iPad case"),
        ("Gifts for Anna", "Gifts for Anna"),
        ("WOMENS SHOES", "Womens shoes"),
        ("men's t-shirt.", "Men's t-shirt"),
        ("éclairage", "Éclairage"),
        ("...", None),
        ("2", None),
        ("", None),
        ("I would buy all of these for my daughter", None),
    ],
)
def test_intents_of_people_are_tidied_before_a_student_learns_them(written: str, learned: str | None) -> None:
    assert intent_target(written) == learned
