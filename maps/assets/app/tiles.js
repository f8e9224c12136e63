/* Vector tiles on one canvas, for Leaflet 1.9. No dependency but Leaflet; Chromium 90 and up; no WebGL.

   One canvas over the whole view rather than one a tile: hatching runs on across tile edges, symbols and
   labels are never cut, and a phone holds one bitmap instead of a hundred. */
(function () {
  "use strict";

  const TILE = 256;
  // A single path of 26,000 polygons costs 30 s of processor time to fill, batches of 100 cost 2.6 s.
  const BATCH = 100;
  const KEPT = 320; // tiles in memory
  const RETRY = 5000;
  const MARKED = 16; // how things stand is drawn over ground and roads, and under what has this order or a higher
  const FONT = '"PingFang SC","Noto Sans CJK SC","Source Han Sans SC","Microsoft YaHei",system-ui,sans-serif';
  const LINE = 2, POLYGON = 3; // geometry types of the Mapbox Vector Tile format, 1 being points

  class Pbf {
    constructor(bytes) {
      this.bytes = bytes;
      this.at = 0;
    }

    varint() {
      let value = 0, unit = 1, byte;
      do {
        byte = this.bytes[this.at++];
        value += (byte & 127) * unit;
        unit *= 128;
      } while (byte > 127);
      return value;
    }

    // Calls `visit(field, value)`; the value of a length-delimited field is the offset of its end.
    fields(end, visit) {
      while (this.at < end) {
        const tag = this.varint(), wire = tag & 7;
        const value = wire === 0 || wire === 2 ? this.varint() : 0;
        const next = wire === 2 ? this.at + value : this.at + (wire === 1 ? 8 : wire === 5 ? 4 : 0);
        visit(tag >> 3, wire === 2 ? next : value);
        this.at = next;
      }
    }

    text(end) {
      return new TextDecoder().decode(this.bytes.subarray(this.at, end));
    }
  }

  // → {layer name: {extent, features: [{type, properties, parts: [Int32Array x, y, x, y …]}]}}
  function read(bytes) {
    const pbf = new Pbf(bytes), layers = {};
    pbf.fields(bytes.length, (field, end) => {
      if (field === 3) readLayer(pbf, end, layers);
    });
    return layers;
  }

  function readLayer(pbf, end, layers) {
    const layer = { extent: 4096, features: [], batches: null }, keys = [], values = [], raw = [];
    let name = "";
    pbf.fields(end, (field, value) => {
      if (field === 1) name = pbf.text(value);
      else if (field === 2) raw.push([pbf.at, value]);
      else if (field === 3) keys.push(pbf.text(value));
      else if (field === 4) values.push(readValue(pbf, value));
      else if (field === 5) layer.extent = value;
    });
    for (const [start, stop] of raw) {
      pbf.at = start;
      layer.features.push(readFeature(pbf, stop, keys, values));
    }
    layers[name] = layer;
  }

  function readValue(pbf, end) {
    let found = null;
    pbf.fields(end, (field, value) => {
      if (field === 1) found = pbf.text(value);
      else if (field === 4 || field === 5) found = value;
      else if (field === 6) found = value % 2 ? -(value + 1) / 2 : value / 2;
      else if (field === 7) found = value > 0;
    });
    return found;
  }

  function readFeature(pbf, end, keys, values) {
    const feature = { type: 0, properties: {}, parts: [] };
    pbf.fields(end, (field, value) => {
      if (field === 2) {
        while (pbf.at < value) {
          const key = keys[pbf.varint()];
          feature.properties[key] = values[pbf.varint()];
        }
      } else if (field === 3) feature.type = value;
      else if (field === 4) feature.parts = readParts(pbf, value);
    });
    return feature;
  }

  function readParts(pbf, end) {
    const parts = [];
    let part = [], x = 0, y = 0;
    while (pbf.at < end) {
      const command = pbf.varint();
      for (let times = command >> 3; times > 0 && (command & 7) !== 7; times--) {
        const dx = pbf.varint(), dy = pbf.varint();
        x += (dx >> 1) ^ -(dx & 1);
        y += (dy >> 1) ^ -(dy & 1);
        if ((command & 7) === 1 && part.length) {
          parts.push(Int32Array.from(part));
          part = [];
        }
        part.push(x, y);
      }
    }
    if (part.length) parts.push(Int32Array.from(part));
    return parts;
  }

  // → Map of look → paths of at most BATCH features each, made once a tile
  function batched(layer, source) {
    if (layer.batches) return layer.batches;
    layer.batches = new Map();
    for (const feature of layer.features) {
      const look = source.lookOf(feature);
      if (!look || feature.type < LINE) continue;
      let batches = layer.batches.get(look);
      if (!batches) layer.batches.set(look, (batches = [{ path: new Path2D(), count: BATCH }]));
      if (batches[0].count === 0) batches.unshift({ path: new Path2D(), count: BATCH });
      batches[0].count--;
      trace(batches[0].path, feature);
    }
    return layer.batches;
  }

  function trace(path, feature) {
    for (const part of feature.parts) {
      path.moveTo(part[0], part[1]);
      for (let i = 2; i < part.length; i += 2) path.lineTo(part[i], part[i + 1]);
      if (feature.type === POLYGON) path.closePath();
    }
  }

  // → Map of look → paths of the features that are marked so
  function marks(layer, wanted) {
    const found = new Map();
    for (const feature of layer.features) {
      for (const look of wanted.get(feature.properties.id) || []) {
        let batches = found.get(look);
        if (!batches) found.set(look, (batches = [{ path: new Path2D(), count: BATCH }]));
        if (batches[0].count === 0) batches.unshift({ path: new Path2D(), count: BATCH });
        batches[0].count--;
        trace(batches[0].path, feature);
      }
    }
    return found;
  }

  function inside(feature, x, y) {
    let within = false;
    for (const ring of feature.parts) {
      for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
        if (ring[i + 1] > y !== ring[j + 1] > y &&
            x < ((ring[j] - ring[i]) * (y - ring[i + 1])) / (ring[j + 1] - ring[i + 1]) + ring[i]) within = !within;
      }
    }
    return within;
  }

  L.Vectors = L.Renderer.extend({
    options: { padding: 0.15, url: "", symbols: {} },

    initialize: function (options) {
      L.Renderer.prototype.initialize.call(this, options);
      this._sources = [];
      this._tiles = new Map();
      this._widths = new Map();
      this._hatches = new Map();
      this._symbols = {};
      for (const name in this.options.symbols) this._symbols[name] = new Path2D(this.options.symbols[name]);
    },

    // source: {name, order, zooms: [from, to], starts: [zoom], native, by, version, path, query, url (of its own), on, look, looks: {value: look}, hidden: [value],
    //          labels: {from, size, weight, color, rank, below, apart}, points, gathered, ground}
    add: function (source) {
      source.hidden = new Set(source.hidden || []);
      source.lookOf = (feature) => {
        const value = feature.properties[source.by];
        return source.hidden.has(value) ? null : source.looks[value] || source.look;
      };
      this._sources.push(source);
      this._sources.sort((one, other) => one.order - other.order);
      return this.refresh();
    },

    source: function (name) {
      return this._sources.find((source) => source.name === name);
    },

    show: function (name, on) {
      this.source(name).on = on;
      return this.refresh();
    },

    // Looks changed, geometry did not: nothing is fetched again.
    restyle: function (name, value, shown) {
      const source = this.source(name);
      if (shown) source.hidden.delete(value);
      else source.hidden.add(value);
      for (const tile of this._tiles.values()) {
        if (tile.source === source && tile.layers && tile.layers[name]) tile.layers[name].batches = null;
      }
      return this.refresh();
    },

    // Marks a feature by id with an outline, and the spot that was asked about.
    select: function (id, latlng) {
      this._selected = id;
      this._spot = latlng || null;
      return this.refresh();
    },

    // How features stand, beside what they are: id → [{fill, opacity} or {pattern, color}]. Geometry stays; only this is drawn anew.
    mark: function (name, marks) {
      this._marks = { name, marks };
      for (const tile of this._tiles.values()) {
        if (tile.layers && tile.layers[name]) tile.layers[name].marked = null;
      }
      return this.refresh();
    },

    // Numbers at places: [{lat, lng, text, form: circle, square, plate}].
    badge: function (badges) {
      this._badges = badges;
      return this.refresh();
    },

    // Below a zoom a source stands back for the badges.
    hold: function (name, zoom) {
      const source = this.source(name);
      if (!source) return this;
      source.first = source.first || source.zooms[0];
      source.zooms = [Math.max(zoom, source.first), source.zooms[1]];
      return this.refresh();
    },

    refresh: function () {
      if (this._map && this._ctx) {
        this._ask();
        this._soon();
      }
      return this;
    },

    onRemove: function () {
      clearTimeout(this._retry);
      for (const tile of this._tiles.values()) if (tile.abort) tile.abort.abort();
      L.Renderer.prototype.onRemove.call(this);
    },

    getEvents: function () {
      const events = L.Renderer.prototype.getEvents.call(this);
      events.move = this._strayed;
      return events;
    },

    _initContainer: function () {
      this._container = document.createElement("canvas");
      this._container.setAttribute("aria-hidden", "true");
      this._ctx = this._container.getContext("2d");
    },

    _destroyContainer: function () {
      cancelAnimationFrame(this._frame);
      this._container.remove();
      this._container = this._ctx = null;
    },

    // A drag beyond the padding would show bare ground until it ends: draw on the way.
    _strayed: function () {
      if (!this._bounds || this._map._animatingZoom || this._map.getZoom() !== this._zoom) return;
      const min = this._map.containerPointToLayerPoint([0, 0]), size = this._map.getSize();
      if (!this._bounds.contains(L.bounds(min, min.add(size)))) this._update();
    },

    _update: function () {
      if (this._map._animatingZoom && this._bounds) return;
      L.Renderer.prototype._update.call(this);
      const size = this._bounds.getSize(), canvas = this._container;
      this._ratio = Math.min(window.devicePixelRatio || 1, 2);
      if (canvas.width !== size.x * this._ratio || canvas.height !== size.y * this._ratio) {
        canvas.width = size.x * this._ratio;
        canvas.height = size.y * this._ratio;
        canvas.style.width = size.x + "px";
        canvas.style.height = size.y + "px";
      }
      L.DomUtil.setPosition(canvas, this._bounds.min);
      this._ask();
      this._paint();
    },

    _soon: function () {
      cancelAnimationFrame(this._frame);
      this._frame = requestAnimationFrame(() => {
        if (this._ctx && !this._map._animatingZoom) this._paint();
      });
    },

    // Tiles are drawn at twice their size, a zoom above their own: a quarter of the requests for the same picture.
    // Not across a start, below which the server answers with another level or with nothing.
    _tileZoom: function (source, zoom) {
      return Math.min(source.native, Math.max(Math.floor(zoom) - 1, ...source.starts.filter((start) => start <= zoom)));
    },

    // The tiles of a source that cover a stretch of the canvas (all of it when none is given), with their place on
    // it in CSS pixels.
    _wanted: function (source, stretch) {
      const zoom = this._map.getZoom();
      if (!source.on || zoom < source.zooms[0] || zoom > source.zooms[1]) return [];
      const z = this._tileZoom(source, zoom), span = TILE * Math.pow(2, zoom - z), most = Math.pow(2, z) - 1;
      const origin = this._map.getPixelOrigin(), from = origin.add(this._bounds.min);
      const first = origin.add((stretch || this._bounds).min), last = origin.add((stretch || this._bounds).max);
      const wanted = [];
      for (let y = Math.max(0, Math.floor(first.y / span)); y <= Math.min(most, Math.floor(last.y / span)); y++) {
        for (let x = Math.max(0, Math.floor(first.x / span)); x <= Math.min(most, Math.floor(last.x / span)); x++) {
          wanted.push({ source, z, x, y, span, left: x * span - from.x, top: y * span - from.y });
        }
      }
      return wanted;
    },

    _key: function (source, z, x, y) {
      return [source.name, source.version, z, x, y].join("/");
    },

    // What is in view is fetched; the padding is painted with what happens to be there.
    _ask: function () {
      const needed = new Set(), corner = this._map.containerPointToLayerPoint([0, 0]);
      const view = L.bounds(corner, corner.add(this._map.getSize()));
      for (const source of this._sources) {
        for (const tile of this._wanted(source, view)) {
          const key = this._key(source, tile.z, tile.x, tile.y), known = this._tiles.get(key);
          needed.add(key);
          if (known) {
            this._tiles.delete(key); // and to the end: the oldest leave first
            this._tiles.set(key, known);
          } else this._fetch(key, tile);
        }
      }
      for (const [key, tile] of this._tiles) {
        if (needed.has(key)) continue;
        if (tile.abort) tile.abort.abort();
        if (tile.abort || this._tiles.size > KEPT) this._tiles.delete(key);
      }
    },

    _fetch: function (key, { source, z, x, y }) {
      const tile = { source, layers: null, abort: new AbortController() };
      this._tiles.set(key, tile);
      const url = L.Util.template(source.url || this.options.url, { path: source.path, z, x, y, query: source.query });
      fetch(url, { signal: tile.abort.signal, credentials: "same-origin" })
        .then((answer) => {
          if (!answer.ok) throw new Error(answer.status);
          return answer.arrayBuffer();
        })
        .then((bytes) => {
          tile.abort = null;
          tile.layers = read(new Uint8Array(bytes));
          this.fire("tile", { source: source.name });
          if (this._ctx) this._soon();
        })
        .catch((error) => {
          if (error.name === "AbortError") return;
          tile.abort = null;
          this._tiles.delete(key);
          this.fire("trouble", { source: source.name });
          clearTimeout(this._retry);
          this._retry = setTimeout(() => this.refresh(), RETRY);
        });
    },

    // A tile's content, or while it is on its way that of the nearest ancestor at hand.
    _content: function (tile) {
      for (let up = 0; up <= 4 && tile.z >= up; up++) {
        const factor = Math.pow(2, up), x = Math.floor(tile.x / factor), y = Math.floor(tile.y / factor);
        const known = this._tiles.get(this._key(tile.source, tile.z - up, x, y));
        if (known && known.layers) {
          const span = tile.span * factor;
          return {
            layers: known.layers, span,
            left: tile.left - (tile.x - x * factor) * tile.span, top: tile.top - (tile.y - y * factor) * tile.span,
          };
        }
      }
      return null;
    },

    _paint: function () {
      const ctx = this._ctx, size = this._bounds.getSize();
      ctx.setTransform(this._ratio, 0, 0, this._ratio, 0, 0);
      ctx.clearRect(0, 0, size.x, size.y);
      this._occupied = [];
      const labels = [];
      this._paintGround();
      let marked = false;
      for (const source of this._sources) {
        if (!marked && source.order >= MARKED) marked = this._paintMarks();
        const tiles = this._wanted(source);
        for (const tile of tiles) {
          const content = this._content(tile);
          if (content && content.layers[source.name]) this._paintTile(source, tile, content, content.layers[source.name]);
        }
        this._paintPoints(source, tiles);
        this._collectLabels(source, tiles, labels);
      }
      if (this._selected || this._spot) this._paintSelected();
      this._paintBadges();
      this._paintLabels(labels);
      this.fire("painted");
    },

    // What is somebody's is lighter than what is nobody's: a gap between grids shows as a dark spot.
    _paintGround: function () {
      for (const source of this._sources) {
        if (!source.ground) continue;
        const look = { fill: source.ground, opacity: 1, place: 0 };
        for (const tile of this._wanted(source)) {
          const content = this._content(tile), layer = content && content.layers[source.name];
          if (!layer) continue;
          this._within(tile, content, layer, () => {
            for (const batches of batched(layer, source).values()) this._fill(look, batches);
          });
        }
      }
    },

    // Laid over ground and roads as ink is, below the houses: nothing that was drawn is lost under it.
    _paintMarks: function () {
      const source = this._marks && this.source(this._marks.name);
      if (!source || !this._marks.marks.size) return true;
      for (const tile of this._wanted(source)) {
        const content = this._content(tile), layer = content && content.layers[source.name];
        if (!layer) continue;
        const marked = layer.marked || (layer.marked = marks(layer, this._marks.marks));
        this._within(tile, content, layer, () => {
          this._ctx.globalCompositeOperation = "multiply";
          for (const [look, batches] of marked) {
            if (look.fill) this._fill(look, batches);
            else {
              this._ctx.fillStyle = this._pattern(look.pattern, look.color);
              for (const batch of batches) this._ctx.fill(batch.path);
            }
          }
        });
      }
      return true;
    },

    _paintBadges: function () {
      const taken = [], placed = [];
      for (const badge of this._badges || []) {
        const spot = this._map.latLngToLayerPoint([badge.lat, badge.lng]).subtract(this._bounds.min), half = 11 + 3 * badge.text.length;
        const box = [spot.x - half, spot.y - half, spot.x + half, spot.y + half];
        if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
        taken.push(box);
        placed.push([spot, badge]);
      }
      for (const [spot, badge] of placed) {
        if (badge.form !== "circle") this._paintPlate(spot.x, spot.y, badge.text, badge.form === "square" ? "#B3261E" : "#46525F");
        else this._paintBadge(spot.x, spot.y, badge.text, "#0B4F8A");
      }
    },

    _paintPlate: function (x, y, text, color) {
      const ctx = this._ctx, half = Math.max(11, this._measure("700 13px " + FONT, text) / 2 + 6);
      ctx.lineJoin = "round";
      ctx.setLineDash([]);
      ctx.lineWidth = 6;
      ctx.strokeStyle = "#fff";
      ctx.strokeRect(x - half, y - 9, 2 * half, 18);
      ctx.lineWidth = 3;
      ctx.fillStyle = ctx.strokeStyle = color;
      ctx.strokeRect(x - half, y - 9, 2 * half, 18);
      ctx.fillRect(x - half, y - 9, 2 * half, 18);
      this._write(x, y, text, "#fff");
      this._occupied.push([x - half - 3, y - 12, x + half + 3, y + 12]);
    },

    _write: function (x, y, text, color) {
      const ctx = this._ctx;
      ctx.fillStyle = color;
      ctx.font = "700 13px " + FONT;
      ctx.textAlign = "center";
      ctx.textBaseline = "middle";
      ctx.fillText(text, x, y + 0.5);
    },

    // Draws in the steps of a tile. Polygons are cut a little outside it: clipped here, or seams and false borders show.
    _within: function (tile, content, layer, draw) {
      const ctx = this._ctx, scale = content.span / layer.extent;
      // To whole pixels, or at half zooms two clips would both leave the pixel between them half painted.
      const left = Math.round(tile.left), top = Math.round(tile.top);
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, Math.round(tile.left + tile.span) - left, Math.round(tile.top + tile.span) - top);
      ctx.clip();
      ctx.translate(content.left, content.top);
      ctx.scale(scale, scale);
      ctx.lineJoin = "round";
      draw(scale);
      ctx.restore();
    },

    _paintTile: function (source, tile, content, layer) {
      const batches = batched(layer, source);
      const looks = Array.from(batches.keys()).sort((one, other) => other.place - one.place);
      if (!looks.length) return;
      this._within(tile, content, layer, (scale) => {
        for (const look of looks) this._fill(look, batches.get(look));
        for (const look of looks) {
          if (look.casing) this._stroke(look.casing, this._width(look) + 2 * look.rim, null, batches.get(look), scale);
        }
        for (const look of looks) {
          if (look.stroke) this._stroke(look.stroke, this._width(look), look.dash, batches.get(look), scale);
        }
      });
    },

    _fill: function (look, batches) {
      const ctx = this._ctx;
      if (look.fill) {
        ctx.globalAlpha = look.opacity;
        ctx.fillStyle = look.fill;
        for (const batch of batches) ctx.fill(batch.path);
      }
      ctx.globalAlpha = 1;
      if (look.hatch) {
        ctx.fillStyle = this._hatch(look.hatch);
        for (const batch of batches) ctx.fill(batch.path);
      }
    },

    _stroke: function (color, width, dash, batches, scale) {
      const ctx = this._ctx;
      ctx.strokeStyle = color;
      ctx.lineWidth = width / scale;
      ctx.lineCap = dash ? "butt" : "round";
      ctx.setLineDash(dash ? dash.map((length) => length / scale) : []);
      for (const batch of batches) ctx.stroke(batch.path);
    },

    // Roads widen as one comes nearer; borders do not.
    _width: function (look) {
      return look.grows ? Math.max(0.75, look.width * Math.pow(1.55, this._map.getZoom() - 15)) : look.width;
    },

    // Diagonal lines in screen pixels, anchored to the ground so that they do not swim when the map moves.
    _hatch: function (color) {
      return this._pattern("hatch", color);
    },

    // The same of crosses and of dots.
    _pattern: function (kind, color) {
      const step = kind === "hatch" ? 8 : 12, ratio = this._ratio, name = kind + color + ratio;
      if (!this._hatches.has(name)) {
        const swatch = document.createElement("canvas");
        swatch.width = swatch.height = step * ratio;
        const pen = swatch.getContext("2d");
        pen.scale(ratio, ratio);
        pen.strokeStyle = color;
        pen.lineWidth = kind === "hatch" ? 1.5 : 0.9;
        if (kind === "dots") for (const [x, y] of [[3, 3], [9, 9]]) pen.rect(x - 0.7, y - 0.7, 1.4, 1.4);
        else {
          for (const shift of [-step, 0, step]) {
            pen.moveTo(shift - 1, step + 1);
            pen.lineTo(shift + step + 1, -1);
            if (kind !== "cross") continue;
            pen.moveTo(shift - 1, -1);
            pen.lineTo(shift + step + 1, step + 1);
          }
        }
        pen.stroke();
        this._hatches.set(name, this._ctx.createPattern(swatch, "repeat"));
      }
      const pattern = this._hatches.get(name), from = this._map.getPixelOrigin().add(this._bounds.min);
      const shift = (value) => -(((value % step) + step) % step) * ratio;
      pattern.setTransform(this._ctx.getTransform().inverse().multiply(new DOMMatrix([1, 0, 0, 1, shift(from.x), shift(from.y)])));
      return pattern;
    },

    // Calls `visit(feature, x, y)` for every point feature of a tile layer, in CSS pixels of the canvas, each once.
    _eachPoint: function (tiles, name, visit) {
      for (const tile of tiles) {
        const content = this._content(tile), layer = content && content.layers[name];
        if (!layer) continue;
        const scale = content.span / layer.extent;
        for (const feature of layer.features) {
          if (feature.type !== 1) continue;
          for (const part of feature.parts) {
            for (let i = 0; i < part.length; i += 2) {
              const x = content.left + part[i] * scale, y = content.top + part[i + 1] * scale;
              const within = x >= tile.left && y >= tile.top && x < tile.left + tile.span && y < tile.top + tile.span;
              if (within) visit(feature, x, y);
            }
          }
        }
      }
    },

    // What stands at one spot, or too near to tell apart, is drawn as one badge with a number.
    _groups: function (source, tiles) {
      const zoom = this._map.getZoom(), groups = new Map(), cell = zoom < 15 ? 60 : zoom < 17 ? 36 : 3;
      const from = this._map.getPixelOrigin().add(this._bounds.min);
      this._eachPoint(tiles, source.name, (feature, x, y) => {
        const look = source.lookOf(feature);
        if (!look) return;
        const key = source.gathered ? Math.floor((x + from.x) / cell) + ":" + Math.floor((y + from.y) / cell) : groups.size;
        const group = groups.get(key);
        // Where there are many, the server has counted them already, each value for itself.
        const count = feature.properties.count || 1;
        if (!group) groups.set(key, { x, y, look, count, features: [feature] });
        else {
          group.features.push(feature);
          group.count += count;
          group.x += ((x - group.x) * count) / group.count;
          group.y += ((y - group.y) * count) / group.count;
        }
      });
      return groups;
    },

    _paintPoints: function (source, tiles) {
      if (!source.points) return;
      for (const group of this._groups(source, tiles).values()) {
        if (source.gathered && group.count > 1) this._paintBadge(group.x, group.y, String(group.count), source.look.fill);
        else this._paintSymbol(group.x, group.y, group.look, source.gathered);
      }
    },

    // Signs that stand for themselves grow as one comes nearer; those with a meaning keep their size.
    _paintSymbol: function (x, y, look, gathered) {
      const ctx = this._ctx, size = look.size * (gathered ? 1 : Math.min(1, 0.55 + 0.2 * Math.max(0, this._map.getZoom() - 14)));
      const scale = size / 10;
      ctx.save();
      ctx.translate(x, y);
      ctx.scale(scale, scale);
      ctx.lineJoin = "round";
      ctx.strokeStyle = "#fff";
      ctx.lineWidth = 4 / scale;
      ctx.stroke(this._symbols[look.symbol]);
      ctx.fillStyle = look.fill;
      ctx.fill(this._symbols[look.symbol]);
      ctx.restore();
      this._occupied.push([x - size, y - size, x + size, y + size]);
    },

    _paintBadge: function (x, y, text, color) {
      const ctx = this._ctx, radius = 9 + 3 * text.length;
      ctx.beginPath();
      ctx.arc(x, y, radius, 0, 2 * Math.PI);
      ctx.fillStyle = "#fff";
      ctx.fill();
      ctx.lineWidth = 2;
      ctx.setLineDash([]);
      ctx.strokeStyle = color;
      ctx.stroke();
      this._write(x, y, text, color);
      this._occupied.push([x - radius, y - radius, x + radius, y + radius]);
    },

    _paintSelected: function () {
      for (const source of this._sources) {
        for (const tile of this._wanted(source)) {
          const content = this._content(tile), layer = content && content.layers[source.name];
          if (!layer) continue;
          const path = new Path2D();
          let found = false;
          for (const feature of layer.features) {
            if (feature.type < LINE || feature.properties.id !== this._selected) continue;
            trace(path, feature);
            found = true;
          }
          if (!found) continue;
          this._within(tile, content, layer, (scale) => {
            this._stroke("#fff", 7, null, [{ path }], scale);
            this._stroke("#0B4F8A", 3.5, null, [{ path }], scale);
          });
        }
      }
      if (!this._spot) return;
      const spot = this._map.latLngToLayerPoint(this._spot).subtract(this._bounds.min);
      this._stroke("#fff", 5, null, [{ path: ring(spot) }], 1);
      this._stroke("#0B4F8A", 2, null, [{ path: ring(spot) }], 1);
    },

    _collectLabels: function (source, tiles, labels) {
      if (!source.labels || this._map.getZoom() < source.labels.from) return;
      const seen = new Set();
      this._eachPoint(tiles, source.name + "_labels", (feature, x, y) => {
        const { id, label } = feature.properties;
        if (!label || seen.has(id)) return;
        seen.add(id);
        labels.push({ text: String(label).slice(0, 18), x, y: y + source.labels.below, look: source.labels });
      });
    },

    // First come, first drawn, the most important kinds first; what would touch another label is left out.
    _paintLabels: function (labels) {
      const ctx = this._ctx, taken = this._occupied, said = [];
      labels.sort((one, other) => one.look.rank - other.look.rank || (one.text < other.text ? -1 : 1));
      ctx.textAlign = "center";
      ctx.textBaseline = "middle";
      ctx.lineJoin = "round";
      ctx.setLineDash([]);
      for (const { text, x, y, look } of labels) {
        const font = look.weight + " " + look.size + "px " + FONT, half = this._measure(font, text) / 2 + 3, tall = look.size / 2 + 3;
        // A name that stands for a whole area may make way for the signs in it.
        const free = (look.rank > 1 ? [0] : [0, -20, 20]).find((shift) => {
          const [left, top, right, bottom] = [x - half, y + shift - tall, x + half, y + shift + tall];
          return !taken.some((other) => left < other[2] && right > other[0] && top < other[3] && bottom > other[1]);
        });
        if (free === undefined) continue;
        // A street's name belongs to each of its pieces, and is read once.
        if (look.apart) {
          if (said.some((other) => other.text === text && Math.hypot(other.x - x, other.y - y) < look.apart)) continue;
          said.push({ text, x, y });
        }
        taken.push([x - half, y + free - tall, x + half, y + free + tall]);
        ctx.font = font;
        ctx.lineWidth = 3.5;
        ctx.strokeStyle = "rgba(255,255,255,.92)";
        ctx.strokeText(text, x, y + free);
        ctx.fillStyle = look.color;
        ctx.fillText(text, x, y + free);
      }
    },

    _measure: function (font, text) {
      const key = font + text;
      if (!this._widths.has(key)) {
        if (this._widths.size > 5000) this._widths.clear();
        this._ctx.font = font;
        this._widths.set(key, this._ctx.measureText(text).width);
      }
      return this._widths.get(key);
    },

    // → what is drawn at a place, topmost first: [{layer, properties, count}]
    query: function (latlng) {
      const spot = this._map.latLngToLayerPoint(latlng).subtract(this._bounds.min), found = [];
      for (const source of this._sources.slice().reverse()) {
        const tiles = this._wanted(source);
        if (source.points) {
          for (const group of this._groups(source, tiles).values()) {
            if (Math.hypot(group.x - spot.x, group.y - spot.y) > 16) continue;
            found.push({ layer: source.name, properties: group.features[0].properties, count: group.count });
          }
          continue;
        }
        for (const tile of tiles) {
          const content = this._content(tile), layer = content && content.layers[source.name];
          const within = spot.x >= tile.left && spot.y >= tile.top && spot.x < tile.left + tile.span && spot.y < tile.top + tile.span;
          if (!layer || !within) continue;
          const scale = layer.extent / content.span, x = (spot.x - content.left) * scale, y = (spot.y - content.top) * scale;
          for (const feature of layer.features) {
            if (feature.type === POLYGON && source.lookOf(feature) && inside(feature, x, y)) {
              found.push({ layer: source.name, properties: feature.properties, count: 1 });
            }
          }
        }
      }
      return found;
    },
  });

  function ring(point) {
    const path = new Path2D();
    path.arc(point.x, point.y, 9, 0, 2 * Math.PI);
    return path;
  }

  L.vectors = function (options) {
    return new L.Vectors(options);
  };
  L.Vectors.read = read;
})();
