"""Folium composes: only our classes, stable names, and nothing that a second look of Jinja could evaluate."""

import json
from collections.abc import Iterator

import folium
from branca.element import CssLink, Element, Figure, JavascriptLink

from maps.canvas import ALLOWED, Canvas, Control, composed, literal
from maps.layer import Drawing

EXTENT = (122.58, 29.78, 122.62, 29.82)
EVALUATED = str(7 * 7191)
TILES = "/tiles/{path}/{z}/{x}/{y}.pbf?{query}"


def descendants(element: Element) -> Iterator[Element]:
    for child in element._children.values():
        yield child
        yield from descendants(child)


def test_only_our_own_classes_are_on_the_map(drawings: list[Drawing]) -> None:
    canvas = Canvas(EXTENT)
    composed(canvas, drawings, [Control("Zoom")], TILES)
    figure = canvas.get_root()
    assert isinstance(figure, Figure)
    on_map = {type(element) for element in (canvas, *descendants(canvas))}
    assert on_map - set(ALLOWED) == {folium.elements.ElementAddToElement}
    assert {type(element) for element in descendants(figure.header)} <= {Element, CssLink, JavascriptLink}


def test_the_map_is_folium_and_each_resource_a_layer_of_it(drawings: list[Drawing]) -> None:
    fragments = composed(Canvas(EXTENT), drawings, [], TILES)
    assert isinstance(Canvas(EXTENT), folium.Map)
    assert fragments.script.count("vectors_main.add(") == len(drawings)
    order = [drawing.name for drawing in sorted(drawings, key=lambda drawing: drawing.resource.style.order)]
    places = [fragments.script.index(f'"name": "{name}"') for name in order]
    assert places == sorted(places)


def test_one_map_does_not_change_the_next(drawings: list[Drawing]) -> None:
    def made() -> object:
        return composed(Canvas(EXTENT), drawings, [Control("Zoom", zoomInTitle="放大")], TILES)

    stock = folium.Map.default_js.copy()
    assert made() == made()
    assert folium.Map.default_js == stock


def test_a_literal_is_read_back_as_it_was_and_by_nobody_else(payload: str, drawings: list[Drawing]) -> None:
    text = literal({"title": [payload], payload: 1})
    assert json.loads(text) == {"title": [payload], payload: 1}
    assert not any(sign in text for sign in ("<", ">", "&", "'", "{{", "{%", "{#"))
    fragments = composed(Canvas(EXTENT), drawings[:1], [Control("Zoom", zoomInTitle=payload)], TILES)
    assert EVALUATED not in fragments.script
    assert text.partition("[")[2].partition("]")[0] in fragments.script


def test_stock_folium_would_evaluate_a_name() -> None:
    """Why `literal` exists: should this ever fail, upstream has mended it."""
    stock = folium.Map(tiles=None)
    folium.Marker((0, 0), tooltip="{{ 7*7191 }}").add_to(stock)
    assert EVALUATED in stock.get_root().render()
