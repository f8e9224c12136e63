/* The map in a frame: whoever embeds it is told where its middle is. */
(function () {
  "use strict";
  const map = window.map_main, container = map.getContainer();
  container.setAttribute("aria-label", document.currentScript.dataset.said);

  function tell() {
    const at = map.getCenter().wrap();
    parent.postMessage({ lon: at.lng, lat: at.lat }, location.origin);
  }
  map.on("moveend", tell);
  tell();
})();
