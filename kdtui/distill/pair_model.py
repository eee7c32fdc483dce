"""The shipped model of pairs: how likely two products belong together, without any training sessions.

For each kind of knowledge about products it has a logistic regression on features of pairs (`pair_features`), and a
model that turns the probabilities into bundles (`models.pairs.partitions`). It was trained on other datasets than the
user's; `pattern_student` adapts it to a dataset with training sessions.
"""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

from msgspec import DecodeError, Struct, ValidationError, json

from kdtui.distill.category_surprise import SURPRISE_NAMES
from kdtui.distill.pair_features import PAIR_MEASURES, SessionKind, feature_names
from models.errors import ModelError
from models.pairs.logistic import Regression
from models.pairs.partitions import CLUSTER_FEATURES, PARTITION_FEATURES, PartitionModel


class KindModel(Struct, frozen=True):
    """The model for one kind of session.

    Attributes:
        alone: regression on the features of the session only.
        surprised: regression on these features and the surprises of the dataset.
        mean: mean of each feature of `surprised` in training.
        spread: standard deviation of each feature in training; 1 for a constant one.
        partitions: model that selects the bundles.
    """

    alone: Regression
    surprised: Regression
    mean: dict[str, float]
    spread: dict[str, float]
    partitions: PartitionModel


class PairModel(Struct, frozen=True):
    """The shipped model.

    Attributes:
        trained_on: description of the training sessions.
        kinds: one model for each kind in `PAIR_MEASURES`.
    """

    trained_on: str
    kinds: dict[SessionKind, KindModel]


def read_pair_model(path: Path) -> PairModel:
    """Read a pair model from its file.

    Raises:
        ModelError: the file is missing or damaged, or belongs to a version with other features.
    """
    try:
        model = json.decode(path.read_bytes(), type=PairModel)
    except OSError as error:
        raise ModelError(f"{path}: the pair model is missing; install kdtui again ({error.strerror})") from error
    except (DecodeError, ValidationError) as error:
        raise ModelError(f"{path}: the pair model is damaged; install kdtui again ({error})") from error
    if not has_features(model):
        raise ModelError(f"{path}: the pair model is of another version; install kdtui again")
    return model


def has_features(model: PairModel) -> bool:
    """Whether the weights are finite, and match the features of this version."""
    if set(model.kinds) != set(PAIR_MEASURES):
        return False
    for kind, each in model.kinds.items():
        own = feature_names(kind)
        every = (*own, *SURPRISE_NAMES)
        if tuple(each.alone.weights) != own:
            return False
        if any(tuple(table) != every for table in (each.surprised.weights, each.mean, each.spread)):
            return False
        regressions = (each.partitions.inside, each.partitions.equal)
        if any(tuple(regression.weights) != CLUSTER_FEATURES for regression in regressions):
            return False
        if tuple(each.partitions.value) != PARTITION_FEATURES or not all(map(isfinite, _numbers(each))):
            return False
    return True


def _numbers(model: KindModel) -> Iterator[float]:
    for regression in (model.alone, model.surprised, model.partitions.inside, model.partitions.equal):
        yield regression.bias
        yield from regression.weights.values()
    for table in (model.mean, model.spread, model.partitions.value):
        yield from table.values()
