/* The leader's map: what the layers, the card and the address bar do together. The map itself (`map_main`, `vectors_main`)
   is written into the page by its composer; every text comes with the page. */
(function () {
  "use strict";
  const map = window.map_main, vectors = window.vectors_main, extent = map.getBounds();
  const $ = (selector) => document.querySelector(selector), all = (selector) => Array.from(document.querySelectorAll(selector));
  const container = map.getContainer(), card = $("#card"), overview = $("#overview"), note = $("#note");
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
    const boxes = all("[data-layer]"), changed = boxes.some((box) => box.checked !== box.defaultChecked) || query.has("layers");
    if (changed) query.set("layers", boxes.filter((box) => box.checked).map((box) => box.dataset.layer).join(","));
    if (shown) query.set("card", shown.lng.toFixed(5) + "," + shown.lat.toFixed(5));
    else query.delete("card");
    return query;
  }

  function remember() {
    const query = address();
    history.replaceState(null, "", "?" + query);
    const other = $(".language");
    query.set("lang", other.dataset.language);
    other.href = "?" + query;
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
    $("#far").hidden = !far;
  }

  document.addEventListener("change", (event) => {
    const { layer, value, of } = event.target.dataset;
    if (layer) vectors.show(layer, event.target.checked);
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
    overview.hidden = true;
    $("#right").scrollTop = 0;
    vectors.select(article.dataset.area || null, at);
    shown = at;
    remember();
    article.insertBefore($("#closing").content.cloneNode(true), article.firstChild);
    if (phone.matches) {
      sheet("right");
      map.panTo(at, { animate: false });
    }
    const heading = article.querySelector("h2");
    if (heading) heading.focus({ preventScroll: true });
  }

  function close() {
    asked++;
    shown = null;
    card.hidden = true;
    card.textContent = "";
    overview.hidden = false;
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
    if (event.key === "Escape" && !card.hidden) close();
  });

  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[data-sheet]"), go = event.target.closest("a[data-lng]");
    if (tab) sheet(opened() === tab.dataset.sheet ? null : tab.dataset.sheet);
    else if (event.target.closest(".close")) close();
    else if (event.target.closest("#whole")) map.fitBounds(whole);
    else if (go && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      if (phone.matches) sheet(null);
      map.setView([Number(go.dataset.lat), Number(go.dataset.lng)], Number(go.dataset.z));
    }
  });

  document.body.addEventListener("htmx:sendError", trouble);
  document.body.addEventListener("htmx:responseError", trouble);
  vectors.on("trouble", trouble);
  vectors.on("tile", () => {
    note.textContent = "";
  });

  function trouble() {
    card.removeAttribute("aria-busy");
    note.textContent = $("#trouble-text").textContent;
  }

  map.on("moveend", () => {
    legend();
    remember();
  });
  map.on("mousemove", L.Util.throttle((event) => {
    const on = vectors.query(event.latlng).some((found) => found.layer === "areas");
    container.style.cursor = on ? "pointer" : "";
  }, 120));

  const bounds = container.dataset.extent;
  const whole = bounds ? JSON.parse(bounds) : extent;
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(container);
  const wanted = (new URLSearchParams(location.search).get("card") || "").split(",").map(Number);
  legend();
  if (wanted.length === 2 && wanted.every(Number.isFinite)) identify([wanted[1], wanted[0]]);
  else if (location.search) remember();
})();
