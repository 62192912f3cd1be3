"""Published figures stand beside the same method's, and in the same column only if comparable."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from gan_bench import config as configs
from gan_bench.errors import GanBenchError
from gan_bench.report.evidence import published_table
from gan_bench.report.published import match, read_published
from gan_bench.report.trial import Objective, Trial
from gan_bench.sweep import load_study

METHOD = {
    "dataset": "cifar10", "architecture": "sndcgan", "loss": "non_saturating",
    "normalizer": "spectral_norm", "regularizer": "none", "learning_rate": 2e-4, "beta1": 0.5,
    "beta2": 0.999, "n_disc": 1, "width": 1.0,
}  # fmt: skip


def ours(value: float, key: str = "fid", **more: Any) -> Trial:
    facts = {"n_real": "10000", "n_fake": "10000"} | more.pop("facts", {})
    counts = {"d_steps": more.pop("d_steps", 200_000)}
    return Trial(
        "t", "c", {}, {}, "fixed", 0, 0, (), Path("."), status="completed", objective=value,
        final={key: value}, best={key: value}, facts=facts, counts=counts,
        method=METHOD | more,
    )  # fmt: skip


def only(trials: list[Trial], metric: str = "fid") -> Any:
    found = match(trials, Objective(metric), read_published())
    return [each for each in found if each.figure.source == "arXiv:1807.04720"]


def test_the_tables_keep_their_provenance() -> None:
    figures = read_published()
    assert len(figures) == 77 and all(figure.provenance for figure in figures)
    recalled = [figure for figure in figures if figure.recalled]
    assert len(recalled) == 14 and {f.source for f in recalled} == {
        "arXiv:1711.10337", "arXiv:1802.05957",
    }  # fmt: skip
    assert any(figure.metric == "kid" for figure in figures)


def test_the_same_method_measured_the_same_way_is_compared() -> None:
    (found,) = only([ours(25.0), ours(26.0), ours(25.5)])
    assert (found.figure.value, found.figure.table) == (25.27, "table 5")
    assert found.same == (25.0, 26.0, 25.5) and found.other == ()
    assert found.difference == pytest.approx(0.23)
    assert found.spread == pytest.approx(0.5 * 2**0.5) and found.within is True
    (far,) = only([ours(45.0), ours(45.5)])
    assert far.within is False
    (single,) = only([ours(45.0)])
    assert single.within is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"key": "fid_cifar10_cnn"}, "features: fid_cifar10_cnn"),
        ({"facts": {"n_fake": "5000"}}, "n_fake 5000"),
        ({"width": 0.25}, "width 0.25"),
        ({"d_steps": 20_000}, "20000 of 200000 D steps"),
    ],
)
def test_another_protocol_never_stands_in_the_same_column(change: dict[str, Any], why: str) -> None:
    (found,) = only([ours(25.0, **change)], change.get("key", "fid"))
    assert found.same == () and found.other == (25.0,) and why in found.why
    (row,) = published_table([found]).rows
    texts = [entry.text for entry in row]
    assert texts[6:9] == ["–", "–", "–"] and texts[9] == "25"


@pytest.mark.parametrize(
    "change", [{"learning_rate": 1e-3}, {"loss": "hinge"}, {"normalizer": "none"}, {"n_disc": 5}]
)
def test_another_method_is_no_match(change: dict[str, Any]) -> None:
    assert all(each.figure.value != 25.27 for each in only([ours(25.0, **change)]))


def test_what_a_row_does_not_say_is_not_compared() -> None:
    found = match([ours(25.0, learning_rate=1.0)], Objective("fid"), read_published())
    assert [each.figure.value for each in found] == [29.3]  # SNGAN's, without hyper-parameters
    assert "(recalled)" in published_table(found).rows[0][3].text


def test_a_table_without_a_column_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("source,value\na,1\n")
    with pytest.raises(GanBenchError, match="has no column table"):
        read_published(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["cifar10", "celeba_hq", "lsun_bedroom"])
def test_the_hub_studies_are_the_published_rows(dataset: str) -> None:
    path = configs.resource_dir("results") / "published" / "gan_landscape.csv"
    with path.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["table"] != "real data"]
    names = (
        "architecture", "loss", "normalizer", "regularizer", "lambda", "learning_rate", "beta1",
        "beta2", "n_disc",
    )  # fmt: skip
    wanted = {
        tuple(_plain(row[name]) for name in names) for row in rows if row["dataset"] == dataset
    }
    fields = {
        "regularizer.weight": "lambda", "optimizer.lr": "learning_rate",
        "optimizer.beta1": "beta1", "optimizer.beta2": "beta2", "training.n_disc": "n_disc",
    }  # fmt: skip
    study = load_study(f"hub/{dataset}")
    found = set()
    for cell in study.cells:
        given = dict(override.split("=") for override in cell.overrides)
        found.add(
            tuple(_plain({fields.get(k, k): v for k, v in given.items()}.get(n, "")) for n in names)
        )
    assert found == wanted and len(study.cells) == len(wanted) == study.total


def _plain(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
