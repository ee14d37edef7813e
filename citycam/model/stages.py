"""The stages of a network, from input to output, by a rule that holds for timm's families."""

from __future__ import annotations

from torch import nn

STEM = "stem"


def stage_units(net: nn.Module) -> dict[str, tuple[str, ...]]:
    """Stage name -> paths of the modules that it holds; every child of ``net`` lies in exactly one stage.

    Stages are where the network's own `feature_info` reads its features: whole children (``layer1``), or the members of
    a container that it reads inside of (``blocks.3``). What comes before the first is the ``stem``; what has weights
    after the last is a stage of its own, named by its first module. Modules without weights of two or more dimensions
    (activations, norms) belong to the stage before them.
    """
    units = _units(net)
    stages = [path for path, is_stage in units if is_stage]
    result: dict[str, list[str]] = {}
    current, after_last = "", not stages
    for path, is_stage in units:
        if is_stage or (after_last and _weighs(net.get_submodule(path)) and (not stages or current == stages[-1])):
            current = path
        elif not current:
            current = STEM
        result.setdefault(current, []).append(path)
        after_last = after_last or path == stages[-1]
    return {name: tuple(paths) for name, paths in result.items()}


def _units(net: nn.Module) -> list[tuple[str, bool]]:
    marks = [str(entry["module"]) for entry in list(getattr(net, "feature_info", None) or [])]
    units: list[tuple[str, bool]] = []
    for name, child in net.named_children():
        holds_marks = any(mark.startswith(f"{name}.") for mark in marks)
        plain_container = not marks and isinstance(child, (nn.Sequential, nn.ModuleList)) and len(child) > 1
        if holds_marks or plain_container:
            for inner, member in child.named_children():
                units.append((f"{name}.{inner}", _weighs(member)))
        else:
            units.append((name, _weighs(child) and name in marks))
    return units


def _weighs(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())
