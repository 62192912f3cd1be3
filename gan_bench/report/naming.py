"""How metrics, numbers and settings are written for readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_bench.metric_keys import measures

FAMILIES = {
    "fid": ("FID", "↓"),
    "fid_infinity": ("FID-infinity", "↓"),
    "intra_fid": ("intra-class FID", "↓"),
    "kid_mean": ("KID", "↓"),
    "kid_all_pairs": ("KID (all pairs)", "↓"),
    "is_mean": ("IS", "↑"),
    "ms_ssim": ("MS-SSIM", ""),
    "precision": ("Precision", "↑"),
    "recall": ("Recall", "↑"),
    "density": ("Density", "↑"),
    "coverage": ("Coverage", "↑"),
    "prd_f8": ("PRD F8", "↑"),
    "prd_f1_8": ("PRD F1/8", "↑"),
    "swd": ("SWD", "↓"),
}
"""Metric keys without the extractor's suffix: how they are called and where better is."""


def family(key: str) -> str | None:
    """Return the metric that a key measures, whatever its extractor: fid_digits_cnn -> fid."""
    for name in FAMILIES:
        if measures(key, name):
            return name
    return None


def label(key: str) -> str:
    """Name a metric key for readers: fid_digits_cnn -> "FID (digits_cnn)"."""
    name = family(key)
    if name is None:
        return key
    suffix = key[len(name) + 1 :]
    return f"{FAMILIES[name][0]} ({suffix})" if suffix else FAMILIES[name][0]


def arrow(key: str) -> str:
    """Return where better is for a metric key: an arrow, or nothing where it depends."""
    name = family(key)
    return "" if name is None else FAMILIES[name][1]


def is_published(key: str) -> bool:
    """Tell whether a metric key means the published metric (Inception's features)."""
    return family(key) == key


def number(value: float | None) -> str:
    """Write a number with four significant digits: 24.13, 0.0012, 31337; nothing is a dash."""
    if value is None or value != value:
        return "–"
    if float(value).is_integer() and abs(value) < 1e7:
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}" if abs(value) < 1e7 else f"{value:.3g}"
    return f"{value:#.4g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def settings_text(settings: Mapping[str, Any]) -> str:
    """Write settings in short: {"optimizer.lr": 0.0002} -> "lr=0.0002"."""
    short = [name.rpartition(".")[2] for name in settings]
    names = [
        last if short.count(last) == 1 else full for last, full in zip(short, settings, strict=True)
    ]
    shown = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in settings.values())
    return ", ".join(f"{name}={value}" for name, value in zip(names, shown, strict=True))


def plural(n: int, noun: str) -> str:
    """Write a count with its noun: "1 trial", "3 trials"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
