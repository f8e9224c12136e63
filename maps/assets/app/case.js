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
