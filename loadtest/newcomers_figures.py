"""What `loadtest.newcomers` says of its replays: means, and paired differences with 95 % intervals. Pure.

Intervals are bootstraps over questions (`loadtest.routing_figures.Resampling`), questions of one text together. What a
question came to is first averaged over seeds, newcomers and draws, so intervals say how other questions would scatter,
and not other pools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.newcomers_ways import Key
from loadtest.routing_figures import Resampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

JsonObject = dict[str, Any]
RESAMPLES = 1000
NAMES: Mapping[str, tuple[str, ...]] = {  # of what stands in a key after the study's name
    "newcomer": ("what", "who", "labelled", "drawn", "way"),
    "panel": ("who", "votes"),
    "centroid": ("way",),
    "card": ("way",),
}
ABSENT = ("all", "-", "absent")


def report(means: Mapping[Key, Values], groups: Sequence[str], seed: int) -> dict[str, list[JsonObject]]:
    """Study -> a row for each key, in their order.

    Args:
        means: what each of N questions came to, in [0, 1], NaN where it was not judged.
        groups: N, equal for questions of one text.
    """
    number: dict[str, int] = {}  # short names: numpy would give each the room of the longest text
    named = [str(number.setdefault(group, len(number))) for group in groups]
    draws: dict[bytes, Resampling] = {}
    found: dict[str, list[JsonObject]] = {}
    for key, values in means.items():
        judged = ~np.isnan(values)
        if (which := judged.tobytes()) not in draws:
            some = [name for name, yes in zip(named, judged.tolist(), strict=True) if yes]
            draws[which] = Resampling.of(some, seed, RESAMPLES)
        row: JsonObject = dict(zip(NAMES[key[0]], key[1:], strict=True)) | {"mean": _percent(values[judged].mean())}
        for name, other in _compared(key):
            if other in means and other != key:
                row[name] = difference((values - means[other])[judged], draws[which])
        found.setdefault(key[0], []).append(row)
    return found


def difference(values: Values, draws: Resampling) -> JsonObject:
    """Mean of paired differences and its interval, in per cent."""
    low, high = np.percentile(draws.means(values), [2.5, 97.5])
    return {"mean": _percent(values.mean()), "interval": [_percent(low), _percent(high)]}


def _compared(key: Key) -> Iterator[tuple[str, Key]]:
    """With what a row is compared, by name."""
    match key:
        case ("newcomer", what, who, labelled, drawn, _):
            yield "over_counts", ("newcomer", what, who, labelled, drawn, "counts")
            yield "over_absent", ("newcomer", what, who, *ABSENT)
        case ("panel", who, votes):
            yield "over_the_best_alone", ("centroid", "best single")
            yield "over_no_diversity", ("panel", who.partition(",")[0], votes)
        case (study, _):
            yield "over_best_single", (study, "best single")
            yield "over_product", (study, "product")


def _percent(value: float | np.floating[Any]) -> float:
    return round(100 * float(value), 2)
