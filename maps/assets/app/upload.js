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

    function far(done, all) {
      $("#sending-bar").value = (100 * done) / all;
      $("#sending-far").textContent = (done / 1e6).toFixed(1) + " / " + (all / 1e6).toFixed(1) + " MB";
    }

    // → the finished request, whatever it was answered; nothing when the network broke
    function asked(method, address, body, kind, done) {
      return new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();
        running = request;
        request.open(method, address);
        request.setRequestHeader("Accept", "application/json");
        request.setRequestHeader("Accept-Language", document.documentElement.lang);
        if (kind) request.setRequestHeader("Content-Type", kind);
        if (done) request.upload.onprogress = (event) => event.lengthComputable && done(event.loaded, event.total);
        request.onload = () => {
          if (request.status === 401) location.reload();
          else resolve(request);
        };
        request.onerror = () => resolve(null);
        request.onabort = () => reject(null);
        request.send(body);
      });
    }

    // → the address of the upload
    async function sent(files) {
      if (files.length === 1 && files[0].size > Number(words.large)) return continued(files[0]);
      const body = new FormData();
      if ($("#noun").value) body.append("noun", $("#noun").value);
      for (const file of files) body.append("file", file);
      const answer = await asked("POST", form.action, body, null, far);
      if (!answer) throw new Error(words.lost);
      if (answer.status !== 202) throw new Error(reason(answer.responseText) || words.refused);
      return answer.getResponseHeader("Location");
    }

    // A large file goes part by part, and on from where the network broke: now, or when the same file is chosen again.
    async function continued(file) {
      const key = "upload:" + [file.name, file.size, file.lastModified].join("/"), part = Number(words.part);
      let known = remembered(key), place = known && (await placed(known)), lost = 0;
      if (!place) {
        const begun = await asked("POST", "/partial_uploads", JSON.stringify({ name: file.name, size: file.size }), "application/json");
        if (!begun) throw new Error(words.lost);
        if (begun.status !== 201) throw new Error(reason(begun.responseText) || words.refused);
        place = JSON.parse(begun.responseText);
        known = place.id;
        remember(key, known);
      }
      while (place !== "whole" && place.taken < file.size) {
        const from = place.taken, query = new URLSearchParams({ at: from });
        if ($("#noun").value) query.set("noun", $("#noun").value);
        const bytes = file.slice(from, from + part);
        const answer = await asked("PUT", "/partial_uploads/" + known + "?" + query, bytes, "application/octet-stream", (done) => far(from + done, file.size));
        if (answer && answer.status === 202) break;
        if (answer && answer.status === 200) {
          place = JSON.parse(answer.responseText);
          lost = 0;
          said.textContent = "";
          continue;
        }
        if (answer && answer.status !== 409 && answer.status < 500) throw new Error(reason(answer.responseText) || words.refused);
        if (++lost > 8) throw new Error(words.again);
        said.textContent = $("#sending-far").textContent = words.waiting;
        await new Promise((resolve) => setTimeout(resolve, Math.min(500 * Math.pow(2, lost), 15000)));
        place = (await placed(known)) || place;
      }
      remember(key, null);
      return "/uploads/" + known;
    }

    // → how much of a file the server has, "whole" when it is an upload already, nothing when it knows of none or cannot be asked
    async function placed(id) {
      const answer = await asked("GET", "/partial_uploads/" + id);
      if (answer && answer.status === 200) return JSON.parse(answer.responseText);
      if (!answer || answer.status !== 404) return null;
      const whole = await asked("GET", "/uploads/" + id);
      return whole && whole.status === 200 ? "whole" : null;
    }

    function remembered(key) {
      try {
        return localStorage.getItem(key);
      } catch (_) {
        return null;
      }
    }

    function remember(key, id) {
      try {
        if (id) localStorage.setItem(key, id);
        else localStorage.removeItem(key);
      } catch (_) {
        // Somewhere storage is forbidden: then a broken upload begins anew.
      }
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
          far(0, group.reduce((sum, file) => sum + file.size, 0));
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
