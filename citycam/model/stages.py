"""The stages of a network, from input to output, by one rule for all families of timm."""

from __future__ import annotations

from torch import nn

STEM = "stem"


def stage_units(net: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the paths of each stage's modules by its name; every child of ``net`` is in exactly one stage.

    A stage is a child at which the network's own `feature_info` reads features (``layer1``). Where it reads inside of a
    child, each member of that child is a stage (``blocks.3``). Modules before the first stage are the ``stem``. Modules
    with weights after the last are one more stage, named after the first of them. Modules without weights of two or
    more dimensions (activations, norms) belong to the stage before them.
    """
    units = _units(net)
    stages = [path for path, is_stage in units if is_stage]
    result: dict[str, list[str]] = {}
    current, after_last = "", not stages
    for path, is_stage in units:
        if is_stage or (after_last and _has_weights(net.get_submodule(path)) and (not stages or current == stages[-1])):
            current = path
        elif not current:
            current = STEM
        result.setdefault(current, []).append(path)
        after_last = after_last or path == stages[-1]
    return {name: tuple(paths) for name, paths in result.items()}


def _units(net: nn.Module) -> list[tuple[str, bool]]:
    """Return the path of each module, and whether it is a stage."""
    marks = [str(entry["module"]) for entry in list(getattr(net, "feature_info", None) or [])]
    units: list[tuple[str, bool]] = []
    for name, child in net.named_children():
        holds_marks = any(mark.startswith(f"{name}.") for mark in marks)
        plain_container = not marks and isinstance(child, (nn.Sequential, nn.ModuleList)) and len(child) > 1
        if holds_marks or plain_container:
            for inner, member in child.named_children():
                units.append((f"{name}.{inner}", _has_weights(member)))
        else:
            units.append((name, _has_weights(child) and name in marks))
    return units


def _has_weights(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())
