"""A layer's looks as a MapLibre style: what other programs draw our tiles by. Names are not in it: the style would have to name a
server of glyphs, and there is none; they lie in the tiles as `<layer>_labels`."""

from collections.abc import Mapping, Sequence
from typing import Any

from maps.layer import Drawing, Look

SOURCE = "jingwei"


def style(title: str, source: str, drawings: Sequence[Drawing]) -> dict[str, Any]:
    """The style document of some layers that come from one TileJSON, in the order in which they are drawn."""
    layers = [{"id": "ground", "type": "background", "paint": {"background-color": "#F4F2EC"}}]
    for drawn in sorted(drawings, key=lambda drawn: drawn.resource.style.order):
        layers += list(_layers(drawn))
    return {"version": 8, "name": title, "sources": {SOURCE: {"type": "vector", "url": source}}, "layers": layers}


def _layers(drawn: Drawing) -> list[dict[str, Any]]:
    shared: dict[str, Any] = {
        "source": SOURCE, "source-layer": drawn.name, "minzoom": drawn.resource.style.zooms[0], "metadata": {"title": drawn.resource.title},
    }
    if not drawn.shown:
        shared["layout"] = {"visibility": "none"}
    looks = {value: look for value, look in drawn.looks.items() if value not in drawn.hidden}
    if drawn.points:
        many = ["case", ["has", "count"], ["+", 8, ["*", 2, ["log10", ["get", "count"]]]], _each(drawn, looks, "size", 5.0)]
        paint = {"circle-color": _each(drawn, looks, "fill", "#46525F"), "circle-radius": many, "circle-stroke-color": "#FFFFFF", "circle-stroke-width": 1.5}
        return [{"id": drawn.name, "type": "circle", **shared, "paint": paint}]
    line = {
        "id": f"{drawn.name}-line", "type": "line", **shared,
        "paint": {"line-color": _each(drawn, looks, "stroke", "rgba(0,0,0,0)"), "line-width": _each(drawn, looks, "width", 1.0)},
    }
    if drawn.resource.geometry == "MULTILINESTRING":
        # A railway is its casing, and white between.
        wide = ["+", _each(drawn, looks, "width", 1.0), ["*", 2, _each(drawn, looks, "rim", 0.7)]]
        casing = {**line, "id": f"{drawn.name}-casing", "paint": {"line-color": _each(drawn, looks, "casing", "rgba(0,0,0,0)"), "line-width": wide}}
        return [casing, line]
    fill = {
        "id": drawn.name, "type": "fill", **shared,
        "paint": {"fill-color": _each(drawn, looks, "fill", "rgba(0,0,0,0)"), "fill-opacity": _each(drawn, looks, "opacity", 1.0)},
    }
    return [fill, line]


def _each(drawn: Drawing, looks: Mapping[str, Look], name: str, otherwise: Any) -> Any:
    """What a property of the paint is for each value; plain where it is the same for all."""
    usual = getattr(drawn.look, name)
    usual = otherwise if usual is None else usual
    told = {value: otherwise if getattr(look, name) is None else getattr(look, name) for value, look in looks.items()}
    others = {value: said for value, said in told.items() if said != usual}
    if not drawn.resource.style.by or not others:
        return usual
    matches = [part for value, said in others.items() for part in (value, said)]
    return ["match", ["get", drawn.resource.style.by], *matches, usual]
