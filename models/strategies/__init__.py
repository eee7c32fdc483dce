"""Ways to get bundles out of a language model: the list, drafts of it, and pairs."""

from models.calibration import BundleCalibration, Calibration, PairCalibration
from models.strategies.base import STRATEGIES, PairStrategy, Strategy, StrategyName
from models.strategies.drafts import Drafts
from models.strategies.listing import Listing
from models.strategies.pairs import Pairs

__all__ = ["DEFAULT_CALIBRATIONS", "STRATEGIES", "PairStrategy", "Strategy", "StrategyName", "make_strategy"]

DEFAULT_CALIBRATIONS: dict[StrategyName, Calibration] = {
    "list": Calibration(BundleCalibration(0.0, 1.0, 0.0, 0.0)),
    "drafts": Calibration(BundleCalibration(0.0, 1.0, 0.0, 0.0), PairCalibration(0.0, 1.0, 0.0, 0.0, 0.5)),
    "pairs": Calibration(BundleCalibration(0.0, 1.0, 0.0, 0.0), PairCalibration(0.0, 1.0, 0.0, 0.0, 0.5)),
}
"""For a model that has not been calibrated on the data at hand."""


def make_strategy(name: StrategyName, calibration: Calibration | None = None) -> Strategy:
    """A strategy, for a model that is calibrated like this."""
    calibration = calibration or DEFAULT_CALIBRATIONS[name]
    match name:
        case "list":
            return Listing(calibration.bundle)
        case "drafts":
            return Drafts(calibration)
        case "pairs":
            return Pairs(calibration)
