"""Find datasets whose category names were cut in two by an earlier import.

Version 0.1.0 took every comma in a BundleRec directory as a separator of two levels, so "Clothing, Shoes &
Jewelry" became "Clothing" > "Shoes & Jewelry". The reader of a stored dataset is not recorded, so this searches for the
cut forms of the names with commas in the published datasets.
"""

from collections.abc import Iterator

import msgspec

from store.categories import count_items_with_categories
from store.datasets import dataset_names
from store.sqlite import Database

_NAMES_WITH_COMMAS = (
    # Clothing and Electronic
    "Clothing, Shoes & Jewelry",
    "Novelty, Costumes & More",
    "Lingerie, Sleep & Lounge",
    "Surf, Skate & Street",
    "Street, Surf & Skate",
    "Wallets, Card Cases & Money Organizers",
    "Batteries, Chargers & Accessories",
    "Binocular, Camera & Camcorder Straps",
    "PDAs, Handhelds & Accessories",
    # Food
    "Canned, Jarred & Packaged Foods",
    "Coffee, Tea & Cocoa",
    "Bottled Beverages, Water & Drink Mixes",
    "Herbs, Spices & Seasonings",
    "Sauces, Gravies & Marinades",
    "Jams, Jellies & Sweet Spreads",
    "Condiments, Pickles & Relishes",
    "Oils, Vinegars & Salad Dressings",
    "Soups, Stocks & Broths",
    "Dried Beans, Grains & Rice",
    "Sugars, Syrups & Sweeteners",
)


def datasets_with_cut_categories(db: Database) -> Iterator[tuple[str, int]]:
    """Yield each dataset with cut category names, and the number of its items that have one."""
    cut = [msgspec.json.encode(name.split(", ")).decode().strip("[]") for name in _NAMES_WITH_COMMAS]
    for dataset in dataset_names(db):
        if count := count_items_with_categories(db, dataset, cut):
            yield dataset, count
