"""Study files made of parts: `include` merges other files, `define` names what comes often.

include: [_parts/grid, _parts/cifar10]   # beside the file; merged in order, then the file itself
define: {resnet: resnet_cifar}           # ${define.resnet} stands for it anywhere in the result

Mappings are merged field by field and lists replaced, but for `base`, whose lists are joined.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gan_bench import files
from gan_bench.errors import ConfigError, StudyError, unknown

_WHOLE = re.compile(r"\$\{define\.([\w.]+)\}")


def read_file(path: Path) -> dict[str, Any]:
    """Return a study file's fields, its parts merged in; `define` is still among them.

    Raises:
        StudyError: It, or a part, is missing or no mapping, or includes itself.
    """
    return _read(path, ())


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in above:
        raise StudyError(f"study {path} includes itself, by {above[-1]}")
    try:
        own = files.read_yaml(path, what="study", error=StudyError)
    except FileNotFoundError:
        by = f", which {above[-1]} includes," if above else ""
        raise StudyError(f"study file {path}{by} is missing") from None
    parts = own.pop("include", None) or []
    merged: dict[str, Any] = {}
    for part in [parts] if isinstance(parts, str) else parts:
        merged = _merge(merged, _read(path.parent / f"{part}.yaml", (*above, path)))
    return _merge(merged, own)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    if isinstance(below.get("base"), list) and isinstance(above.get("base"), list):
        above = {**above, "base": [*below["base"], *above["base"]]}
    return _merge_fields(below, above)


def _merge_fields(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge_fields(old, value) if both else value  # type: ignore[arg-type]
    return merged


def resolve(content: dict[str, Any]) -> dict[str, Any]:
    """Put what `define` names in its places, and drop it.

    Raises:
        ConfigError: A name is not defined.
    """
    defined = content.get("define") or {}
    rest = {key: value for key, value in content.items() if key != "define"}
    resolved = _put(rest, defined, 0)
    assert isinstance(resolved, dict)
    return resolved


def _put(node: Any, defined: dict[str, Any], depth: int) -> Any:
    if depth > 50:
        raise ConfigError("define: a name stands for itself")
    if isinstance(node, dict):
        return {
            _put(key, defined, depth + 1): _put(v, defined, depth + 1) for key, v in node.items()
        }
    if isinstance(node, list):
        return [_put(item, defined, depth + 1) for item in node]
    if not isinstance(node, str):
        return node
    whole = _WHOLE.fullmatch(node)
    if whole:
        return _put(_look_up(whole.group(1), defined), defined, depth + 1)
    return _WHOLE.sub(lambda m: str(_put(m.group(0), defined, depth + 1)), node)


def _look_up(name: str, defined: dict[str, Any]) -> Any:
    node: Any = defined
    for piece in name.split("."):
        if not isinstance(node, dict) or piece not in node:
            raise unknown("name in define", name, defined)
        node = node[piece]
    return node
