"""Which metric a result's key means: fid_digits_cnn is a fid, fid_infinity_digits_cnn is not."""

from __future__ import annotations

from collections.abc import Iterable

_LONGER = ("fid_infinity",)
"""Metrics whose names begin with another's."""


def measures(key: str, metric: str) -> bool:
    """Tell whether a key is a metric's, with the suffix of any extractor or with none."""
    if key != metric and not key.startswith(f"{metric}_"):
        return False
    return not any(len(name) > len(metric) and measures(key, name) for name in _LONGER)


def find(keys: Iterable[str], metric: str) -> str | None:
    """Return a metric's key among others: itself if it is there, else the first with a suffix."""
    known = list(keys)
    return metric if metric in known else next((k for k in known if measures(k, metric)), None)
