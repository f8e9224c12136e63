"""Folium as composer: it orders the layers and writes their scripts, and our own page embeds the fragments.

What stock Folium does and this must not: fetch ten files from four public hosts, give every element a random
id, forbid zooming, put names into `innerHTML`. Worst, branca compiles every *rendered* fragment as a Jinja
template again, so that a layer named `{{ 7*7191 }}` is evaluated on the server (tried: name, tooltip, popup
and property, folium 0.20 with branca 0.8); `literal` leaves it nothing to evaluate.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import folium
import jinja2
from branca.element import CssLink, Element, Figure, JavascriptLink, MacroElement
from folium.template import Environment

from maps.layer import SYMBOLS, Drawing
from maps.links import link

_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')


def literal(value: Any) -> str:
    """`value` as a JavaScript literal that neither HTML nor a second pass of Jinja reads as anything else."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
    for character in "<>&'\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Outside a string a brace is followed by a quote or its closing brace: only strings can open a template.
    return _STRINGS.sub(lambda found: found[0].replace("{", "\\u007b").replace("}", "\\u007d"), text)


_environment: jinja2.Environment = Environment()  # type: ignore[no-untyped-call]
_environment.filters["literal"] = literal


def _macros(source: str) -> jinja2.Template:
    return _environment.from_string(source)


class Canvas(folium.Map):
    """The map itself: no tiles of anybody else's, no controls but those put on it, local assets only."""

    _template = _macros(
        """
        {% macro html(this, kwargs) %}
        <div id="{{ this.get_name() }}" class="map" role="application" tabindex="0"
          data-extent="{{ this.extent }}"></div>
        {% endmacro %}
        {% macro script(this, kwargs) %}
        var motion = !matchMedia("(prefers-reduced-motion: reduce)").matches;
        var {{ this.get_name() }} = L.map({{ this.get_name()|literal }}, Object.assign(
            {{ this.view|literal }}, {zoomAnimation: motion, fadeAnimation: motion, inertia: motion}));
        {{ this.get_name() }}.attributionControl.setPrefix(false);
        {%- if this.place %}
        {{ this.get_name() }}.setView({{ this.place|literal }}, {{ this.zoom|literal }});
        {%- else %}
        {{ this.get_name() }}.fitBounds({{ this.extent|literal }});
        {%- endif %}
        {% endmacro %}
        """
    )

    def __init__(
        self,
        extent: tuple[float, float, float, float],
        place: tuple[float, float] | None = None,
        zoom: float | None = None,
    ) -> None:
        """`extent` is west, south, east, north in degrees; `place` is latitude, longitude."""
        super().__init__(location=(0.0, 0.0), tiles=None, zoom_control=False)
        # On the instance: Folium's lists belong to the class, and a change there reaches every map there is.
        self.default_js = [("leaflet", link("vendor/leaflet/leaflet.js")), ("vectors", link("app/tiles.js"))]
        self.default_css = [("leaflet_css", link("vendor/leaflet/leaflet.css"))]
        west, south, east, north = extent
        self.extent = [[south, west], [north, east]]
        self.place = None if place is None else list(place)
        self.zoom = 15 if zoom is None else zoom
        # Half zooms, so that a town fills the first view. A town of one pixel is of no use to anybody.
        self.view = {
            "zoomControl": False,
            "minZoom": 6,
            "maxZoom": 20,
            "worldCopyJump": False,
            "zoomSnap": 0.5,
        }

    def get_name(self) -> str:
        """The id of the element and the name of the script's variable."""
        return "map_main"


class Vectors(folium.map.Layer):
    """The canvas on which every layer of tiles is drawn."""

    _template = _macros(
        """
        {% macro script(this, kwargs) %}
        var {{ this.get_name() }} = L.vectors({{ this.told|literal }});
        {% endmacro %}
        """
    )

    def __init__(self, tiles: str) -> None:
        """`tiles` is the address of a tile with `{path} {z} {x} {y} {query}` to fill in."""
        super().__init__(name=None, overlay=True, control=False)
        self.told = {"url": tiles, "symbols": SYMBOLS}

    def get_name(self) -> str:
        """The name of the script's variable."""
        return "vectors_main"


class ResourceLayer(MacroElement):
    """One resource, drawn from its tiles."""

    _template = _macros(
        """
        {% macro script(this, kwargs) %}
        {{ this._parent.get_name() }}.add({{ this.drawing.told()|literal }});
        {% endmacro %}
        """
    )

    def __init__(self, drawing: Drawing) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drawing = drawing

    def get_name(self) -> str:
        """A name that does not change from one rendering to the next."""
        return f"layer_{self.drawing.name}"


class Control(folium.features.Control):
    """A Leaflet control whose texts are given in the reader's language."""

    _template = _macros(
        """
        {% macro script(this, kwargs) %}
        new L.Control.{{ this._name }}({{ this.told|literal }}).addTo({{ this._parent.get_name() }});
        {% endmacro %}
        """
    )

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__(kind)
        self.told = options

    def get_name(self) -> str:
        """A name that does not change from one rendering to the next."""
        return f"control_{self._name.lower()}"


# What a page may be composed of. Popup, Tooltip, LayerControl and DivIcon write their text as markup.
ALLOWED: tuple[type[Element], ...] = (Canvas, Vectors, ResourceLayer, Control)


@dataclass(frozen=True)
class Fragments:
    """What a page embeds: addresses of style sheets and scripts, an element, and the script that fills it."""

    styles: tuple[str, ...]
    scripts: tuple[str, ...]
    body: str
    script: str


def composed(
    canvas: Canvas, drawings: Sequence[Drawing], controls: Sequence[Control], tiles: str
) -> Fragments:
    """The layers in the order in which they are drawn, on `canvas`. The same arguments give the same text."""
    vectors = Vectors(tiles).add_to(canvas)
    for drawn in sorted(drawings, key=lambda drawn: drawn.resource.style.order):
        ResourceLayer(drawn).add_to(vectors)
    for control in controls:
        control.add_to(canvas)
    figure = canvas.get_root()
    assert isinstance(figure, Figure)
    figure.render()
    links = figure.header._children.values()
    return Fragments(
        styles=tuple(element.url for element in links if isinstance(element, CssLink)),
        scripts=tuple(element.url for element in links if isinstance(element, JavascriptLink)),
        body=figure.html.render().strip(),
        script=figure.script.render().strip(),
    )
