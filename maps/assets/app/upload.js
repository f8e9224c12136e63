/* Sending files and looking at what is in them. Without it every step still works: forms, links and tables are the server's. */
(function () {
  "use strict";
  const $ = (selector) => document.querySelector(selector);

  // ---- sending
  const PARTS = /\.(shp|dbf|shx|prj|cpg|sbn|sbx|qpj)$/i;

  function sending() {
    const form = $("#send"), drop = $("#drop"), input = $("#file"), words = $("#words").dataset;
    const said = $("#sending-said"), trouble = $("#sending-trouble");
    let running = null;

    const filled = (text, facts) => text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);

    // The parts of one shapefile are one upload; whatever else comes is an upload of its own.
    function grouped(files) {
      const groups = new Map();
      for (const file of files) {
        const key = PARTS.test(file.name) ? file.name.replace(PARTS, "").toLowerCase() + "/" : file.name + "//" + groups.size;
        if (!groups.has(key)) groups.set(key, []);
        groups.get(key).push(file);
      }
      return Array.from(groups.values());
    }

    function failed(text) {
      $("#sending").hidden = true;
      drop.hidden = false;
      trouble.hidden = false;
      trouble.textContent = text;
      said.textContent = "";
      input.value = "";
    }

    // → the address of the upload
    function sent(files) {
      return new Promise((resolve, reject) => {
        const body = new FormData(), request = new XMLHttpRequest(), noun = $("#noun").value;
        if (noun) body.append("noun", noun);
        for (const file of files) body.append("file", file);
        running = request;
        request.open("POST", form.action);
        request.setRequestHeader("Accept", "application/json");
        request.setRequestHeader("Accept-Language", document.documentElement.lang);
        request.upload.onprogress = (event) => {
          if (!event.lengthComputable) return;
          $("#sending-bar").value = (100 * event.loaded) / event.total;
          $("#sending-far").textContent = (event.loaded / 1e6).toFixed(1) + " / " + (event.total / 1e6).toFixed(1) + " MB";
        };
        request.onload = () => {
          if (request.status === 202) resolve(request.getResponseHeader("Location"));
          else if (request.status === 401) location.reload();
          else reject(new Error(reason(request.responseText) || words.refused));
        };
        request.onerror = () => reject(new Error(words.lost));
        request.onabort = () => reject(null);
        request.send(body);
      });
    }

    function reason(text) {
      try {
        return JSON.parse(text).detail;
      } catch (_) {
        return "";
      }
    }

    async function send(files) {
      if (running || !files.length) return;
      const groups = grouped(files);
      trouble.hidden = true;
      let last = "";
      try {
        for (const group of groups) {
          $("#sending").hidden = false;
          drop.hidden = true;
          $("#sending-bar").value = 0;
          $("#sending-far").textContent = "";
          $("#sending-name").textContent = group[0].name;
          said.textContent = filled(words.sending, { name: group[0].name });
          last = await sent(group);
        }
        said.textContent = words.kept;
        location.assign(groups.length === 1 ? last : "/uploads");
      } catch (error) {
        failed(error ? error.message : "");
        trouble.hidden = !error;
      } finally {
        running = null;
      }
    }

    input.addEventListener("change", () => send(Array.from(input.files)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(Array.from(input.files));
    });
    $("#sending-stop").addEventListener("click", () => running && running.abort());

    // A file that misses the place would make the browser leave the page.
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
      document.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragenter" || name === "dragover");
        if (name === "drop") send(Array.from(event.dataTransfer.files));
      });
    }

    $("#paste").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = $("#text").value.trim();
      if (text) send([new File([text], words.pasted + ".txt", { type: "text/plain" })]);
    });
    document.addEventListener("paste", (event) => {
      const files = Array.from(event.clipboardData.files);
      if (files.length) send(files);
    });
  }

  // ---- a form that was changed offers to read again before going on
  function watched(form) {
    const state = () => new URLSearchParams(new FormData(form)).toString(), before = state(), again = form.querySelector(".rereads");
    if (!again) return;
    const shown = () => {
      const changed = state() !== before;
      again.hidden = !changed;
      again.classList.toggle("primary", changed);
      const on = form.querySelector("a.button.primary, a.button.aside");
      if (on) {
        on.classList.toggle("primary", !changed);
        on.classList.toggle("aside", changed);
      }
    };
    form.addEventListener("change", shown);
    form.addEventListener("input", shown);
    shown();
  }

  // ---- the map: what is staged over what is known
  function drawn() {
    const stage = $("#map"), map = window.map_main, around = window.vectors_main, container = map.getContainer();
    const looks = JSON.parse(stage.dataset.looks), note = $("#note");
    const staged = L.vectors({ url: stage.dataset.tiles, symbols: around.options.symbols, padding: 0.15 });
    container.setAttribute("aria-label", stage.getAttribute("aria-label"));
    container.setAttribute("aria-describedby", "map-help");
    around.addTo(map);
    staged.addTo(map);
    staged.add({
      name: "staged", order: 1, zooms: [0, 22], starts: [0], native: 16, by: "fate", version: "0", path: "", query: "", on: true,
      points: true, gathered: false, ground: null, hidden: [], look: looks.new, looks, labels: null,
    });
    const trouble = () => (note.textContent = $("#trouble-text").textContent), fine = () => (note.textContent = "");
    for (const layer of [around, staged]) layer.on("trouble", trouble).on("tile", fine);
    new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(container);

    function go(row) {
      const at = L.latLng(Number(row.dataset.lat), Number(row.dataset.lng));
      map.setView(at, Math.max(map.getZoom(), 17), { animate: false });
      staged.select(Number(row.dataset.row), at);
      for (const other of document.querySelectorAll("[data-row].here")) other.classList.remove("here");
      row.classList.add("here");
      stage.scrollIntoView({ block: "nearest" });
    }

    document.addEventListener("click", (event) => {
      const row = event.target.closest("[data-row]"), link = event.target.closest("a.goes");
      if (!row || (event.target.closest("a, button, input, label") && !link)) return;
      event.preventDefault();
      go(row);
    });
  }

  if ($("#send")) sending();
  for (const form of document.querySelectorAll("[data-watched]")) watched(form);
  if ($("#map") && window.map_main) drawn();
})();
