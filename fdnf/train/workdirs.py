"""The small files of a run's directory, by which others know what it is."""

import json
import pathlib
from typing import Any

from fdnf.train import distributed, settings
from fdnf.train.settings import ConfigError

FINISHED, FAILED = "finished.json", "failed.json"


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes whole or not at all: a run may be killed at any moment."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def write_failed(workdir: pathlib.Path, error: Exception) -> None:
    """Leaves word of why this run cannot go on; the first process does."""
    if distributed.is_first():
        write_json(workdir / FAILED, {"error": str(error)})


def finished(config: Any, workdir: pathlib.Path) -> dict[str, Any] | None:
    """The result of a finished run of this config; refuses one of another config."""
    path = workdir / FINISHED
    saved = path if path.exists() else workdir / "config.json"
    if not saved.exists():
        return None
    result = json.loads(saved.read_text())
    before = result["config"] if path.exists() else result
    changed = _differences(_trained_by(before), _trained_by(settings.to_dict(config)))
    if changed:
        raise ConfigError(
            f"{workdir} holds a run of another config; different: "
            f"{', '.join(changed[:8])}. Give another --workdir, or remove this one"
        )
    return result if path.exists() else None


def _trained_by(config: Any) -> Any:
    """A config, and those within it, without what is done once a run is trained."""
    if not isinstance(config, dict):
        return config
    after = ("eval", "study", "label")
    return {k: _trained_by(v) for k, v in config.items() if k not in after}


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        found = [_differences(a.get(k), b.get(k), f"{path}.{k}") for k in keys]
        return [name for names in found for name in names]
    return [] if a == b else [f"{path.lstrip('.')} ({a!r} there, {b!r} here)"]
