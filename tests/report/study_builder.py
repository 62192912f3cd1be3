"""A study directory as the sweep would leave it, with as much wrong in it as a test asks for."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from PIL import Image

PROTOCOL = "digits_cnn-v1 n_real=797 n_fake=1000 split=test"
FID = "fid_digits_cnn"


class StudyBuilder:
    """Writes a study directory, trial after trial."""

    def __init__(self, folder: Path, objective: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.cells: list[dict[str, Any]] = []
        self.objective = objective or {"metric": FID, "mode": "min", "at": "best"}
        self.count = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.plan()

    def plan(self, **extra: Any) -> None:
        plan = {
            "schema": 1,
            "name": "loss_by_method",
            "objective": self.objective,
            "base": ["dataset=digits", "architecture=mlp", "training.steps=600"],
            "cells": self.cells,
            "seeds": [0, 1, 2],
        }
        (self.folder / "study.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plan | extra)))

    def cell(self, name: str, **axes: str) -> None:
        overrides = [f"{axis}={choice}" for axis, choice in axes.items()]
        self.cells.append({"name": name, "axes": axes, "overrides": overrides})
        self.plan()

    def log(self, **record: Any) -> None:
        with (self.folder / "trials.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")

    def propose(
        self, cell: str, settings: dict[str, Any] | None = None, seed: int = 0, **more: Any
    ) -> str:
        settings = {"optimizer.lr": 2e-4} if settings is None else settings
        axes = next((plan["axes"] for plan in self.cells if plan["name"] == cell), {})
        trial_id = f"t{self.count:04d}"
        record = {
            "event": "proposed", "trial_id": trial_id, "cell": cell, "axes": axes,
            "settings": settings, "source": "fixed", "index": self.count, "seed": seed,
            "overrides": [f"{key}={value}" for key, value in settings.items()],
            "time": 1.7e9 + self.count,
        }  # fmt: skip
        self.count += 1
        self.log(**(record | more))
        return trial_id

    def submit(self, trial_id: str) -> None:
        self.log(event="submitted", trial_id=trial_id, job_id="1", time=1.7e9)

    def finish(
        self,
        trial_id: str,
        fid: float | None,
        *,
        status: str = "completed",
        error: str | None = None,
        protocol: str = PROTOCOL,
        dataset: str = "digits",
        result: bool = True,
        **metrics: float,
    ) -> Path:
        folder = self.folder / "trials" / trial_id
        folder.mkdir(parents=True, exist_ok=True)
        self.log(event="finished", trial_id=trial_id, status=status, objective=fid, error=error)
        if not result:
            return folder
        facts = {
            "n_real": 797, "n_fake": 1000, "split": "test", "resize": "none",
            "extractor": "classifier:digits@ab12cd34", "quantization": "uint8",
            "precision": "float64", "protocol": protocol,
        }  # fmt: skip
        measured = {self.objective["metric"]: fid, **metrics}
        content = {
            "schema": 1, "protocol": protocol, "trial_id": trial_id, "status": status,
            "config": {"dataset": {"name": dataset}},
            "metrics": {**{k: v and v * 1.1 for k, v in measured.items()}, **facts},
            "best": {"step": 400, **measured},
            "counts": {"g_steps": 600, "d_steps": 3000, "images_seen": 38400},
            "seconds": {"train": 12.5, "evaluate": 3.25},
            "versions": {"torch": "2.11.0", "gan_bench": "0.1.0"}, "device": "cpu", "error": error,
        }  # fmt: skip
        (folder / "result.json").write_text(json.dumps(content))
        return folder

    def trial(
        self,
        cell: str,
        fid: float | None,
        settings: dict[str, Any] | None = None,
        seed: int = 0,
        **more: Any,
    ) -> str:
        trial_id = self.propose(cell, settings, seed)
        self.submit(trial_id)
        self.finish(trial_id, fid, **more)
        return trial_id

    def curves(self, trial_id: str, fids: list[float], seed: int = 0) -> None:
        folder = self.folder / "trials" / trial_id
        draw = random.Random(seed)
        steps = range(50, 601, 50)
        lines = [
            {"step": s, "d_loss": 1.4 - s / 900 + draw.gauss(0, 0.05),
             "g_loss": 0.7 + s / 500 + draw.gauss(0, 0.08), "penalty": 0.1}
            for s in steps
        ]  # fmt: skip
        (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        width = 600 // len(fids)
        (folder / "evaluations.jsonl").write_text(
            "".join(
                json.dumps({"step": width * (i + 1), self.objective["metric"]: fid}) + "\n"
                for i, fid in enumerate(fids)
            )
        )
        (folder / "config.yaml").write_text("dataset:\n  name: digits\nseed: 0\n")

    def grid(self, trial_id: str, step: int = 600, tile: int = 8, channels: int = 1) -> Path:
        folder = self.folder / "trials" / trial_id / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        side = 8 * tile
        image = Image.effect_noise((side, side), 90)
        path = folder / f"step_{step:06d}.png"
        (image if channels == 1 else image.convert("RGB")).save(path)
        return path

    def baselines(self, untrained: float, real: float, protocol: str | None = PROTOCOL) -> None:
        more = {} if protocol is None else {"protocol": protocol}
        metric = self.objective["metric"]
        content = {"untrained": {metric: untrained, **more}, "real": {metric: real, **more}}
        (self.folder / "baselines.json").write_text(json.dumps(content))
