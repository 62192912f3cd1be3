"""Plots of the page that answer to a pointer: hovering names the trial, a click goes to its row.

Drawn by plotly, whose script is part of the page: nothing is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from gan_bench.report.aggregate import Part
from gan_bench.report.drawing import CYCLE, spans
from gan_bench.report.inference import BudgetCurve
from gan_bench.report.naming import label, number, settings_text
from gan_bench.report.overview import other_metrics
from gan_bench.report.trial import Trial

_DASHES = ("solid", "dash", "dot", "dashdot")


def script() -> str:
    """Return plotly's own script, whole."""
    text: str = get_plotlyjs()
    return text


def plots(part: Part, curves: dict[str, BudgetCurve]) -> dict[str, str]:
    """Return name -> plot, as JSON of plotly: "trials", "budget", "metrics", "settings".

    Args:
        part: Trials of one protocol.
        curves: The best so far against trials, by cell.
    """
    if not any(cell.ranked for cell in part.cells):
        return {}
    found = {"trials": _trials(part), "budget": _budget(part, curves)}
    if other_metrics(part):
        found["metrics"] = _metrics(part)
    settings = _settings(part)
    if settings is not None:
        found["settings"] = settings
    return {name: _json(figure) for name, figure in found.items()}


def _json(figure: go.Figure) -> str:
    plain = json.loads(figure.to_json())
    plain["layout"].pop("template", None)
    # "</script>" in a name would end the script that holds it
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).replace("</", "<\\/")


def _figure(height: int, **layout: Any) -> go.Figure:
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "closest",
            "font": {"size": 12},
            **layout,
        }
    )


def _text(trial: Trial, part: Part) -> str:
    return (
        f"<b>{trial.trial_id}</b><br>{trial.cell}, seed {trial.seed}<br>"
        f"{label(part.objective.metric)} {number(trial.objective)}<br>"
        + settings_text(trial.settings).replace(", ", "<br>")
    )


def _points(trials: Sequence[Trial], part: Part) -> dict[str, Any]:
    return {
        "mode": "markers",
        "text": [_text(trial, part) for trial in trials],
        "customdata": [trial.trial_id for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _axis(part: Part, values: Sequence[float]) -> dict[str, Any]:
    log = bool(values) and spans(values)
    return {"type": "log" if log else "linear", "title": {"text": label(part.objective.metric)}}


def _trials(part: Part) -> go.Figure:
    """Draw a row a cell, all trials; those of the top settings are filled."""
    cells = [cell for cell in part.cells if cell.ranked]
    every = [t.objective or 0.0 for cell in cells for t in cell.ranked]
    figure = _figure(
        130 + 34 * len(cells),
        xaxis=_axis(part, every),
        yaxis={"autorange": "reversed", "automargin": True},
        showlegend=True,
        legend={"orientation": "h", "y": 1.08, "x": 0},
    )
    top = {t.trial_id for cell in cells for setting in cell.top for t in setting.trials}
    trials = [trial for cell in cells for trial in cell.ranked]
    for chosen, name, marker in (
        (False, "other trials", {"color": "#8c8c8c", "size": 6, "opacity": 0.5}),
        (True, "trials of the top 5% of settings", {"color": CYCLE[0], "size": 9}),
    ):
        shown = [trial for trial in trials if (trial.trial_id in top) == chosen]
        figure.add_trace(
            go.Scatter(
                x=[trial.objective for trial in shown],
                y=[trial.cell for trial in shown],
                name=name,
                marker=marker,
                **_points(shown, part),
            )
        )
    return figure


def _budget(part: Part, curves: dict[str, BudgetCurve]) -> go.Figure:
    sign = part.objective.cost(1.0)
    ends = [sign * float(v) for curve in curves.values() for v in (curve.mean[-1], curve.high[0])]
    figure = _figure(
        420,
        yaxis=_axis(part, [v for v in ends if v < float("inf")]),
        xaxis={"title": {"text": "trials"}},
        legend={"orientation": "h", "y": -0.2},
    )
    for i, (name, curve) in enumerate(curves.items()):
        known = [k for k, v in enumerate(curve.mean) if v < float("inf")]
        figure.add_trace(
            go.Scatter(
                x=[int(curve.spent[k]) for k in known],
                y=[sign * float(curve.mean[k]) for k in known],
                mode="lines",
                name=name,
                line={
                    "color": CYCLE[i % len(CYCLE)],
                    "dash": _DASHES[i // len(CYCLE) % len(_DASHES)],
                },
                hovertemplate=f"{name}<br>after %{{x}} trials: %{{y:.4g}}<extra></extra>",
            )
        )
    return figure


def _metrics(part: Part) -> go.Figure:
    keys = other_metrics(part)
    figure = _figure(
        400, legend={"orientation": "h", "y": -0.2}, yaxis={"title": {"text": label(keys[0])}}
    )
    every = []
    for i, cell in enumerate(cell for cell in part.cells if cell.ranked):
        shown = [t for t in cell.ranked if keys[0] in t.measured(part.objective)]
        every += [trial.objective or 0.0 for trial in shown]
        figure.add_trace(
            go.Scatter(
                x=[trial.objective for trial in shown],
                y=[trial.measured(part.objective)[keys[0]] for trial in shown],
                name=cell.name,
                marker={"color": CYCLE[i % len(CYCLE)], "symbol": i // len(CYCLE), "size": 7},
                **_points(shown, part),
            )
        )
    figure.update_layout(xaxis=_axis(part, every))
    return figure


def _settings(part: Part) -> go.Figure | None:
    """Draw parallel coordinates of the settings that all trials have; axes can be brushed."""
    trials = part.ranked
    shared = sorted(set.intersection(*(set(trial.settings) for trial in trials)))
    columns = [("cell", [trial.cell for trial in trials])]
    columns += [(key.rpartition(".")[2], [t.settings[key] for t in trials]) for key in shared]
    columns = [(name, values) for name, values in columns if len(set(map(str, values))) > 1]
    if len(columns) < 2:
        return None
    dimensions = [_dimension(name, values) for name, values in columns]
    objective = [trial.objective or 0.0 for trial in trials]
    dimensions.append({"label": label(part.objective.metric), "values": objective})
    line = {"color": objective, "colorscale": "Cividis", "reversescale": True}
    figure = _figure(420, margin={"l": 150, "r": 60, "t": 50, "b": 30})
    figure.add_trace(go.Parcoords(dimensions=dimensions, line=line))
    return figure


def _dimension(name: str, values: Sequence[Any]) -> dict[str, Any]:
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        return {"label": name, "values": list(values)}
    names = sorted({str(value) for value in values})
    return {
        "label": name,
        "values": [names.index(str(value)) for value in values],
        "tickvals": list(range(len(names))),
        "ticktext": names,
    }
