"""Intents without a language model: the category of the products, and the intent of the nearest training bundle."""

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
    """Return letter frequencies: enough to distinguish tents from phones, and deterministic."""
    return np.array([[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts], np.float32)


def test_products_are_named_by_their_narrowest_common_category() -> None:
    assert category_intent([TENT, PEGS]) == "Shelter"


def test_products_of_different_categories_are_named_by_their_kinds() -> None:
    assert category_intent([TENT, CASE]) == "Tents with Cases"


def test_products_without_a_category_have_a_name() -> None:
    assert category_intent([FILM]) == "products that go together"


def test_the_intent_of_the_nearest_training_bundle_is_found() -> None:
    nearest = NearestIntents(TRAIN, by_letters)
    assert nearest.of([[FILM, CASE], [PEGS, TENT]]) == ["phone protection", "a night outside"]
    assert nearest.of([]) == []


def test_a_product_without_a_description_finds_some_intent() -> None:
    assert NearestIntents(TRAIN, by_letters).of([[Item("x")]])[0] in ("a night outside", "phone protection")


def test_without_training_intents_there_is_no_nearest_one() -> None:
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
def test_annotated_intents_are_cleaned_up_for_training(written: str, learned: str | None) -> None:
    assert intent_target(written) == learned
