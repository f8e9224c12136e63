/* The case's page: the mark on its map, and the field that the address names, in a form that stands open. */
(function () {
  "use strict";
  const spot = document.querySelector(".spot"), map = window.map_main;
  if (spot && map) {
    const container = map.getContainer();
    container.setAttribute("aria-label", document.getElementById("where-title").textContent);
    container.setAttribute("aria-describedby", "map-help");
    map.scrollWheelZoom.disable();
    window.vectors_main.select(null, L.latLng(Number(spot.dataset.lat), Number(spot.dataset.lng)));
  }
  // Where somebody is when they report in: the device says it, or they point at it on the map. Nothing is sent before they do.
  const mark = map && L.layerGroup().addTo(map);
  function here(lng, lat) {
    const form = document.getElementById("do-report_in");
    if (!form) return;
    for (const [name, degrees] of [["lon", lng], ["lat", lat]]) {
      const field = form.querySelector(`[name=${name}]`);
      field.value = degrees.toFixed(6);
      // As if it had been typed: what somebody has begun is not renewed under their hands.
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
    if (mark) mark.clearLayers().addLayer(L.circleMarker([lat, lng], { radius: 8 }));
  }
  // Of the page, not of the button: parts of it are renewed while it stands open.
  document.documentElement.classList.toggle("locates", "geolocation" in navigator);
  document.documentElement.classList.toggle("mapped", Boolean(map));
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-here]")) return;
    const said = document.querySelector("[data-here-said]");
    navigator.geolocation.getCurrentPosition(
      (at) => { here(at.coords.longitude, at.coords.latitude); said.textContent = "±" + Math.round(at.coords.accuracy) + " m"; },
      () => { said.textContent = said.dataset.failed; }, { enableHighAccuracy: true, timeout: 15000, maximumAge: 0 });
  });
  if (map && document.getElementById("do-report_in")) map.on("click", (event) => here(event.latlng.lng, event.latlng.lat));

  // Newer browsers unfold by themselves what hides the target of an address.
  function open() {
    const wanted = location.hash.startsWith("#do-") && document.getElementById(location.hash.slice(1));
    if (!wanted) return;
    const folded = wanted.closest("details");
    if (folded) folded.open = true;
    wanted.focus();
  }
  window.addEventListener("hashchange", open);
  open();
})();
