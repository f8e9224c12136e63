"""The legend: for every value a swatch that is drawn as the map draws it, and its word."""

from dataclasses import dataclass

from markupsafe import Markup

from maps.layer import SYMBOLS, Drawing, Look

WIDE, TALL = 28, 18


@dataclass(frozen=True)
class Entry:
    """One line of the legend."""

    value: str
    title: str
    swatch: Markup
    shown: bool


def entries(drawing: Drawing) -> tuple[Entry, ...]:
    """A line for every value of the field by which the layer is styled; none where all look alike."""
    if not drawing.resource.style.by:
        return ()
    return tuple(
        Entry(value, drawing.titles.get(value, value), swatch(drawing, look), value not in drawing.hidden)
        for value, look in drawing.looks.items()
    )


def swatch(drawing: Drawing, look: Look | None = None) -> Markup:
    """An inline SVG of one look, decoration to those who cannot see it: the word stands beside it."""
    look = look or drawing.look
    if look.symbol:
        inner = _symbol(look)
    elif drawing.resource.geometry == "MULTILINESTRING":
        inner = _line(look)
    else:
        inner = _ground(look)
    return Markup(
        '<svg class="swatch" width="{0}" height="{1}" viewBox="0 0 {0} {1}" aria-hidden="true">{2}</svg>'
    ).format(WIDE, TALL, inner)


def _symbol(look: Look) -> Markup:
    return Markup('<path d="{}" fill="{}" transform="translate({} {}) scale({})"/>').format(
        SYMBOLS[look.symbol or "circle"], look.fill, WIDE // 2, TALL // 2, max(look.size, 5.0) / 11
    )


def _line(look: Look) -> Markup:
    width = min(look.width, 5.0)
    casing = (
        _stroke(f"M1 {TALL / 2:g}H{WIDE - 1}", look.casing, width + 2 * look.rim) if look.casing else Markup()
    )
    return casing + _stroke(f"M1 {TALL / 2:g}H{WIDE - 1}", look.stroke, width, (5, 5) if look.dash else None)


def _ground(look: Look) -> Markup:
    box = f"M2 2H{WIDE - 2}V{TALL - 2}H2Z"
    fill = (
        Markup('<path d="{}" fill="{}" fill-opacity="{}"/>').format(box, look.fill, f"{look.opacity:g}")
        if look.fill
        else Markup()
    )
    # Three strokes inside the box instead of a <pattern>, which would need an id of its own for every swatch.
    hatch = _stroke("M3 11L10 3M7 15L19 3M16 15L25 5", look.hatch, 1.4) if look.hatch else Markup()
    return fill + hatch + _stroke(box, look.stroke, min(look.width, 2.5), (5, 3) if look.dash else None)


def _stroke(path: str, color: str | None, width: float, dash: tuple[int, int] | None = None) -> Markup:
    dashes = Markup(' stroke-dasharray="{} {}"').format(*dash) if dash else Markup()
    return Markup('<path d="{}" fill="none" stroke="{}" stroke-width="{}"{}/>').format(
        path, color or "none", f"{width:g}", dashes
    )
