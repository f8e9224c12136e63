/* The leader's map: what the layers, the card and the address bar do together. The map itself (`map_main`, `vectors_main`)
   is written into the page by its composer; every text comes with the page. */
(function () {
  "use strict";
  const map = window.map_main, vectors = window.vectors_main, extent = map.getBounds();
  const $ = (selector) => document.querySelector(selector), all = (selector) => Array.from(document.querySelectorAll(selector));
  const container = map.getContainer(), card = $("#card"), note = $("#note"), app = document.body;
  const looks = JSON.parse($(".stage").dataset.looks);
  const phone = window.matchMedia("(max-width: 899px)");

  container.setAttribute("aria-label", $(".stage").getAttribute("aria-label"));
  container.setAttribute("aria-describedby", "map-help");

  let asked = 0; // the number of the last question, so that a late answer to an earlier one is dropped
  let shown = null; // where the open card was asked for

  // ---- the address bar holds the whole state, so that a view can be sent as a link
  function address() {
    const query = new URLSearchParams(location.search), centre = map.getCenter();
    query.set("z", map.getZoom());
    query.set("lat", centre.lat.toFixed(5));
    query.set("lng", centre.lng.toFixed(5));
    query.delete("done");
    const boxes = all("[data-layer], [data-overlay]"), changed = boxes.some((box) => box.checked !== box.defaultChecked) || query.has("layers");
    if (changed) query.set("layers", boxes.filter((box) => box.checked).map((box) => box.dataset.layer || box.dataset.overlay).join(","));
    if (shown) query.set("card", shown.lng.toFixed(5) + "," + shown.lat.toFixed(5));
    else query.delete("card");
    return query;
  }

  // Where the address says that a card is open: longitude and latitude.
  function cardOf(search) {
    const at = (new URLSearchParams(search).get("card") || "").split(",").map(Number);
    return at.length === 2 && at.every(Number.isFinite) ? at : null;
  }

  function remember() {
    const query = address();
    // A card is a step that "back" takes back; to move the map is none.
    const before = cardOf(location.search), opens = String(shown && [shown.lng.toFixed(5), shown.lat.toFixed(5)]) !== String(before && before.map((side) => side.toFixed(5)));
    history[opens ? "pushState" : "replaceState"](null, "", "?" + query);
    const other = $(".language");
    query.set("lang", other.dataset.language);
    other.href = "?" + query;
    query.delete("lang");
    // Another sheet of the same place. It has layers of its own.
    query.delete("layers");
    for (const link of all("[data-to]")) {
      query.set("sheet", link.dataset.to);
      link.href = "?" + query;
    }
  }

  // ---- how areas stand: asked for the level that is drawn and what is in view, drawn without fetching any ground again
  let stood = null; // {level, box, areas}
  const over = (code) => all("[data-overlay]").some((box) => box.dataset.overlay === code && box.checked);
  const levelOf = (zoom) => (zoom < 12 ? "street" : zoom < 14 ? "community" : "grid");

  function stand(again) {
    const level = levelOf(map.getZoom());
    if (!again && stood && stood.level === level && stood.box.contains(map.getBounds())) return;
    const box = map.getBounds().pad(1), asking = (stood = { level, box, areas: stood && stood.level === level ? stood.areas : [] });
    const query = new URLSearchParams({ level, bbox: [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()].map((side) => side.toFixed(4)).join(",") });
    fetch("/areas/standing?" + query).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status))).then((told) => {
      if (asking !== stood) return;
      asking.areas = told.areas;
      asking.apart = told.apart;
      drawn();
    }).catch(trouble);
  }

  function drawn() {
    const marks = new Map(), badges = [];
    for (const [id, lng, lat, open, overdue, grade, flags] of stood ? stood.areas : []) {
      const mine = [];
      if (grade && over("attention")) mine.push(looks.grades[grade]);
      if (flags & 1 && over("unowned")) mine.push(looks.unowned);
      if (flags & 2 && over("far")) mine.push(looks.far);
      if (mine.length) marks.set(id, mine);
      if (open && over("counts")) badges.push({ lat, lng, text: String(open), form: overdue > 0 ? "square" : "circle", rank: overdue * 1e6 + open });
    }
    if (over("unowned")) {
      for (const [lng, lat, homes] of (stood && stood.apart) || []) badges.push({ lat, lng, text: homes + " " + $(".key").dataset.homes, form: "plate", rank: 1e9 });
    }
    vectors.hold("incidents", over("counts") ? 17 : 0);
    vectors.mark("areas", marks);
    // Where there is no room for all, those with something late come first.
    vectors.badge(map.getZoom() < 17 || over("unowned") ? badges.sort((one, other) => other.rank - one.rank) : []);
  }

  // ---- layers and legend
  function legend() {
    let far = false;
    for (const box of all("[data-layer]")) {
      const away = box.checked && map.getZoom() < Number(box.dataset.from);
      box.closest("label").classList.toggle("far", away);
      far = far || away;
      const lines = $('[data-legend="' + box.dataset.layer + '"]');
      if (lines) lines.hidden = !box.checked;
    }
    for (const line of all("[data-key]")) line.hidden = !over(line.dataset.key);
    $(".key").hidden = !all("[data-key]").some((line) => !line.hidden);
    $("#far").hidden = !far;
  }

  document.addEventListener("change", (event) => {
    const { layer, value, of, overlay } = event.target.dataset;
    if (overlay) drawn();
    else if (layer) vectors.show(layer, event.target.checked);
    else if (of) vectors.restyle(of, value, event.target.checked);
    else return;
    legend();
    remember();
  });

  // ---- sheets on a phone
  function sheet(name) {
    for (const panel of all(".sheet")) panel.classList.toggle("open", panel.id === name);
    for (const tab of all("[data-sheet]")) tab.setAttribute("aria-expanded", String(tab.dataset.sheet === name));
    document.body.classList.toggle("with-sheet", Boolean(name));
    map.invalidateSize({ animate: false });
  }

  function opened() {
    const panel = $(".sheet.open");
    return panel && panel.id;
  }

  // A phone's own bars come and go, and 100vh counts them in.
  function tall() {
    document.documentElement.style.setProperty("--tall", window.innerHeight / 100 + "px");
  }
  window.addEventListener("resize", tall);
  tall();

  // ---- the card: what is here, asked of the server
  function identify(latlng) {
    const at = L.latLng(latlng).wrap(), turn = ++asked;
    const query = new URLSearchParams({ lon: at.lng.toFixed(6), lat: at.lat.toFixed(6), z: map.getZoom() });
    const lang = new URLSearchParams(location.search).get("lang");
    if (lang) query.set("lang", lang);
    const own = all("[data-own]").filter((box) => box.checked).map((box) => box.dataset.layer);
    if (own.length) query.set("own", own.join(","));
    vectors.select(null, at);
    card.setAttribute("aria-busy", "true");
    window.htmx.ajax("GET", "/identify?" + query, { target: card, swap: "innerHTML" }).then(() => {
      if (turn === asked) arrived(at);
    });
  }

  function arrived(at) {
    const article = card.querySelector("article");
    card.removeAttribute("aria-busy");
    if (!article) return;
    card.hidden = false;
    app.classList.add("with-card");
    $("#right").scrollTop = 0;
    vectors.select(article.dataset.area || null, at);
    shown = at;
    remember();
    article.insertBefore($("#closing").content.cloneNode(true), article.firstChild);
    window.htmx.process(article);
    if (phone.matches) {
      sheet("right");
      map.panTo(at, { animate: false });
    } else {
      // The card takes ground from the map; the spot stays in what is left.
      map.invalidateSize({ animate: false });
      if (!map.getBounds().pad(-0.05).contains(at)) map.panTo(at, { animate: false });
    }
    const heading = article.querySelector("h2");
    if (heading) heading.focus({ preventScroll: true });
  }

  function close() {
    asked++;
    note.textContent = "";
    shown = null;
    card.hidden = true;
    card.textContent = "";
    app.classList.remove("with-card");
    vectors.select(null, null);
    if (phone.matches) sheet(null);
    remember();
    container.focus({ preventScroll: true });
  }

  map.on("click", (event) => identify(event.latlng));
  container.addEventListener("keydown", (event) => {
    if (event.target === container && event.key === "Enter") {
      event.preventDefault();
      identify(map.getCenter());
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (opened() === "layers") {
      sheet(null);
      $(".layers-button").focus();
    } else if (!card.hidden) close();
  });

  // What is done from the card leads back to this very view.
  document.addEventListener("submit", (event) => {
    const back = event.target.querySelector('[name="back"]');
    if (back) back.value = location.pathname + "?" + address();
  });

  window.addEventListener("popstate", () => {
    const query = new URLSearchParams(location.search), at = cardOf(location.search);
    shown = at && L.latLng(at[1], at[0]);
    if (query.has("z")) map.setView([Number(query.get("lat")), Number(query.get("lng"))], Number(query.get("z")), { animate: false });
    if (at) identify([at[1], at[0]]);
    else if (!card.hidden) close();
  });

  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[data-sheet]"), go = event.target.closest("a[data-lng]");
    if (tab) sheet(opened() === tab.dataset.sheet ? null : tab.dataset.sheet);
    else if (event.target.closest(".close")) close();
    else if (event.target.closest(".print")) window.print();
    else if (event.target.closest("#whole")) map.fitBounds(whole);
    else if (go && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      if (phone.matches) sheet(null);
      const at = [Number(go.dataset.lat), Number(go.dataset.lng)];
      map.setView(at, Number(go.dataset.z), { animate: !("card" in go.dataset) });
      if ("card" in go.dataset) identify(at);
    }
  });

  document.body.addEventListener("htmx:sendError", trouble);
  document.body.addEventListener("htmx:responseError", trouble);
  vectors.on("trouble", trouble);
  vectors.on("tile", () => {
    if (note.dataset.trouble) note.textContent = note.dataset.trouble = "";
  });

  function trouble() {
    card.removeAttribute("aria-busy");
    note.dataset.trouble = "1";
    note.textContent = $("#trouble-text").textContent;
  }

  map.on("moveend", () => {
    legend();
    stand();
    drawn();
    remember();
  });
  map.on("mousemove", L.Util.throttle((event) => {
    const on = vectors.query(event.latlng).some((found) => found.layer === "areas");
    container.style.cursor = on ? "pointer" : "";
  }, 120));

  const bounds = container.dataset.extent;
  const whole = bounds ? JSON.parse(bounds) : extent;
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(container);
  const wanted = cardOf(location.search);
  // Until the card has come the address keeps it.
  shown = wanted && L.latLng(wanted[1], wanted[0]);
  // The page fetches its numbers anew when a case moves; how areas stand goes with them.
  new MutationObserver(() => stand(true)).observe($(".left"), { childList: true });
  legend();
  stand();
  if (wanted) identify([wanted[1], wanted[0]]);
  else if (location.search) remember();
})();
