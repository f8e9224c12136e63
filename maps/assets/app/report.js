/* Telling of something where the network is bad: what is typed stays on the phone until it has arrived, and arrives once.

   The server's form does all of this but that; without scripts it is sent as any form. What is kept is one report, for a day; a
   telephone number only once it is to be sent, and nothing when it has been. */
(function () {
  "use strict";
  const $ = (selector) => document.querySelector(selector);
  const KEPT = "jingwei.report", DAY = 86400000, LONGEST = 1600, MOST = 4, AGAIN = 30000;
  const words = $("#report-texts").dataset, status = $("#status"), form = $("#report"), done = $("#done");
  const filled = (text, facts) => text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);

  document.documentElement.classList.add("scripted");

  function say(text, extra) {
    status.textContent = text;
    status.hidden = !text;
    if (extra) status.append(" ", extra);
  }

  // ---- ticket and code
  function receipt() {
    const copy = $("#copy"), print = $("#print");
    print.hidden = false;
    print.addEventListener("click", () => window.print());
    if (navigator.clipboard) {
      copy.hidden = false;
      copy.addEventListener("click", () => {
        const lines = Array.from(document.querySelectorAll(".receipt > div"), (one) => one.querySelector("dt").textContent + " " + one.querySelector("dd").textContent);
        navigator.clipboard.writeText(lines.concat($("#done-follow").href).join("\n")).then(() => say(words.copied));
      });
    }
  }
  receipt();
  if (!form) {
    forget();
    return;
  }

  // ---- what is kept on the phone
  function read() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEPT));
      if (kept && Date.now() - kept.at < (kept.queued ? 7 : 1) * DAY) return kept;
    } catch (_) { /* what cannot be read is nothing */ }
    forget();
    return null;
  }

  function forget() {
    try {
      localStorage.removeItem(KEPT);
    } catch (_) { /* storage may be forbidden */ }
  }

  function keep() {
    try {
      localStorage.setItem(KEPT, JSON.stringify(draft));
      return true;
    } catch (_) {
      return false;
    }
  }

  const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const fresh = () => ({ at: Date.now(), device: random(), key: random(), shots: [], sent: 0, queued: false, fields: {} });
  const FIELDS = ["kind", "lon", "lat", "datum", "building", "unit", "address", "words"];
  const field = (name) => form.elements[name];
  const preset = () => Boolean(field("building").value || field("unit").value);
  let draft = read(), sending = false;

  function gather() {
    draft.at = Date.now();
    for (const name of FIELDS) draft.fields[name] = field(name).value;
    const matter = form.querySelector("[name=matter]:checked");
    draft.fields.matter = matter ? matter.value : "";
  }

  function restore() {
    // A code on a wall says where: what was begun elsewhere is another report.
    if (preset() && draft.fields.building + draft.fields.unit !== field("building").value + field("unit").value) return false;
    if (!preset() && (draft.fields.building || draft.fields.unit)) return false;
    for (const name of FIELDS) if (!field(name).value) field(name).value = draft.fields[name] || "";
    for (const one of form.querySelectorAll("[name=matter]")) if (one.value === draft.fields.matter) one.checked = true;
    if (field("lon").value && !preset()) spotted(draft.fields.datum === "wgs84" ? filled(words.here, { m: draft.metres }) : words.map);
    shots();
    return Boolean(draft.fields.matter || draft.fields.kind || draft.fields.words || draft.fields.address || draft.shots.length);
  }

  let slow = 0;
  form.addEventListener("input", () => {
    clearTimeout(slow);
    slow = setTimeout(() => {
      if (draft.queued) return;
      gather();
      keep();
    }, 300);
  });

  // ---- the two ways to say what it is exclude each other
  form.addEventListener("change", (event) => {
    if (event.target.name === "matter") field("kind").value = "";
    if (event.target.name === "kind" && event.target.value) for (const one of form.querySelectorAll("[name=matter]")) one.checked = false;
    if (event.target.name === "spot") {
      const at = event.target.value.split(",");
      placed(at[0], at[1], "cgcs2000", event.target.closest("label").firstChild.nextSibling.textContent.trim());
    }
    if (["matter", "kind"].includes(event.target.name)) near();
    if (event.target.id === "report-notice") phone();
  });

  function phone() {
    $("#phone-box").hidden = !$("#report-notice").checked;
    if (!$("#report-notice").checked) field("phone").value = "";
  }
  phone();

  // ---- where
  $("#ways").hidden = preset();
  $("#here").hidden = !navigator.geolocation;
  if (!preset()) $("#spot-off").hidden = false;

  function spotted(text) {
    $("#spot").hidden = false;
    $("#spot-said").textContent = text;
  }

  function placed(lon, lat, datum, text) {
    field("lon").value = lon;
    field("lat").value = lat;
    field("datum").value = datum;
    spotted(text);
    gather();
    keep();
    near();
  }

  $("#spot-off").addEventListener("click", () => {
    for (const name of ["lon", "lat", "datum"]) field(name).value = "";
    $("#spot").hidden = true;
    $("#near").hidden = true;
    gather();
    keep();
  });

  $("#here").addEventListener("click", () => {
    navigator.geolocation.getCurrentPosition((at) => {
      // By its own standard a browser gives WGS 84.
      draft.metres = Math.round(at.coords.accuracy);
      placed(at.coords.longitude.toFixed(6), at.coords.latitude.toFixed(6), "wgs84", filled(words.here, { m: draft.metres }));
    }, () => say(words.nowhere), { enableHighAccuracy: true, timeout: 15000, maximumAge: 60000 });
  });

  let middle = null;
  $("#pick").addEventListener("click", () => {
    const picker = $("#picker"), frame = picker.querySelector("iframe");
    picker.hidden = !picker.hidden;
    $("#pick").setAttribute("aria-expanded", String(!picker.hidden));
    if (!frame) {
      const made = document.createElement("iframe"), at = field("lon").value ? "?lon=" + field("lon").value + "&lat=" + field("lat").value : "";
      made.title = picker.dataset.title;
      made.src = picker.dataset.src + at;
      picker.querySelector(".frame").append(made);
    }
  });
  window.addEventListener("message", (event) => {
    const frame = $("#picker iframe");
    if (event.origin !== location.origin || !frame || event.source !== frame.contentWindow) return;
    middle = event.data;
    $("#chosen").disabled = false;
  });
  $("#chosen").addEventListener("click", () => {
    placed(middle.lon.toFixed(6), middle.lat.toFixed(6), "cgcs2000", words.map);
    $("#picker").hidden = true;
    $("#pick").setAttribute("aria-expanded", "false");
    $("#pick").focus();
  });

  // ---- whether it is known already
  const kind = () => field("kind").value || (form.querySelector("[name=matter]:checked") || {}).value || "";
  let turn = 0;
  function near() {
    const at = spot(), mine = ++turn;
    if (!kind() || !at) return;
    fetch("/reports/near?" + new URLSearchParams({ matter: kind(), lon: at.lon, lat: at.lat, datum: at.datum }), { headers: spoken })
      .then((answer) => (answer.ok ? answer.json() : { reports: [] }))
      .then((told) => {
        if (mine !== turn) return;
        $("#near").hidden = !told.reports.length;
        $("#near-list").replaceChildren(...told.reports.map(known));
      })
      .catch(() => {});
  }

  function known(one) {
    const item = document.createElement("li"), what = document.createElement("span"), bold = document.createElement("b"), when = document.createElement("span");
    bold.textContent = one.title;
    what.append(bold, one.area ? " · " + one.area : "");
    when.className = "meta";
    when.textContent = filled(words.day, { day: one.reported_on, stage: one.stage_title });
    const join = Object.assign(document.createElement("button"), { className: "button small", textContent: words.join, name: "incident", value: one.incident });
    join.setAttribute("form", "join");
    item.append(what, when, join);
    return item;
  }

  function spot() {
    const said = $("#spot").dataset;
    if (preset()) return { lon: Number(said.lon), lat: Number(said.lat), datum: "cgcs2000" };
    return field("lon").value ? { lon: Number(field("lon").value), lat: Number(field("lat").value), datum: field("datum").value || "cgcs2000" } : null;
  }

  // ---- photos: shrunk here, so that they go through a thin line and fit on the phone
  const input = field("photo");
  input.addEventListener("change", async () => {
    for (const file of Array.from(input.files)) {
      if (draft.shots.length >= MOST) {
        say(words.many);
        break;
      }
      draft.shots.push(await shrunk(file));
    }
    input.value = "";
    gather();
    keep();
    shots();
  });

  function shrunk(file) {
    return new Promise((ready) => {
      const whole = () => {
        const reader = new FileReader();
        reader.onload = () => ready(reader.result);
        reader.readAsDataURL(file);
      };
      createImageBitmap(file, { imageOrientation: "from-image" }).then((bitmap) => {
        const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height)), canvas = document.createElement("canvas");
        canvas.width = Math.round(bitmap.width * scale);
        canvas.height = Math.round(bitmap.height * scale);
        canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
        ready(canvas.toDataURL("image/jpeg", 0.8));
      }, whole);
    });
  }

  function shots() {
    const list = $("#shots");
    list.hidden = !draft.shots.length;
    list.replaceChildren(...draft.shots.map((shot, at) => {
      const item = document.createElement("li"), image = document.createElement("img"), off = document.createElement("button");
      image.src = shot;
      image.alt = "";
      off.type = "button";
      off.textContent = "×";
      off.setAttribute("aria-label", filled(words.remove, { n: at + 1 }));
      off.addEventListener("click", () => {
        draft.shots.splice(at, 1);
        keep();
        shots();
      });
      item.append(image, off);
      return item;
    }));
  }

  // ---- sending, once
  const spoken = { "Accept-Language": document.documentElement.lang };

  function told() {
    const chosen = form.querySelector("[name=matter]:checked"), listed = field("kind").selectedOptions[0];
    const title = field("kind").value ? listed.textContent.trim() : chosen ? chosen.nextElementSibling.textContent : "";
    const said = field("words").value.trim(), at = spot();
    const address = [preset() ? $("#spot-said").textContent : "", field("address").value.trim()].filter(Boolean).join(" ");
    const body = { title: said.slice(0, 200) || title, matter: kind() || null, description: said.slice(200) || null, address: address || null };
    if (at) Object.assign(body, at);
    if (field("phone").value.trim()) Object.assign(body, { phone: field("phone").value.trim(), notice: true });
    return body;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = told();
    if (!body.matter && body.title.length < 2) return missing(words.what, form.querySelector("[name=matter]"));
    if (body.lon === undefined && !body.address) return missing(words.where, field("address"));
    draft.body = body;
    draft.queued = true;
    gather();
    // Where there is no room for the photos it is sent from the page as it stands, for as long as that is open.
    keep();
    waiting();
    send();
  });

  function missing(text, where) {
    say(text);
    where.focus();
    status.scrollIntoView({ block: "nearest" });
  }

  function waiting() {
    form.hidden = true;
    say(navigator.onLine === false ? words.offline : words.sending);
    window.scrollTo(0, 0);
  }

  function back(text) {
    draft.queued = false;
    delete draft.body;
    keep();
    form.hidden = false;
    restore();
    say(text);
  }

  async function send() {
    if (sending || !draft || !draft.queued) return;
    sending = true;
    let wait = AGAIN;
    try {
      if (!draft.ticket) {
        say(words.sending);
        const headers = { "Content-Type": "application/json", "Device-Key": draft.device, "Idempotency-Key": draft.key, ...spoken };
        const answer = await fetch("/reports", { method: "POST", headers: headers, body: JSON.stringify(draft.body) });
        if (busy(answer)) {
          wait = 1000 * Number(answer.headers.get("Retry-After") || 30);
          throw new Error("busy");
        }
        const made = await answer.json();
        if (!answer.ok) return back(made.detail);
        Object.assign(draft, { ticket: made.ticket, code: made.code, out: Object.values(made.left_out).flat(), lost: [] });
        // It has arrived: what it said, and the number, need not be on this phone any more.
        delete draft.body;
        keep();
      }
      while (draft.sent < draft.shots.length) {
        say(filled(words.photos, { n: draft.sent + 1, all: draft.shots.length }));
        const body = new FormData();
        body.append("photo", blob(draft.shots[draft.sent]), "photo.jpg");
        const answer = await fetch("/reports/" + draft.ticket + "/photos", { method: "POST", headers: { "Report-Code": draft.code, ...spoken }, body: body });
        if (busy(answer)) {
          wait = 1000 * Number(answer.headers.get("Retry-After") || 30);
          throw new Error("busy");
        }
        if (!answer.ok) draft.lost.push(filled(words.lost, { n: draft.sent + 1, why: (await answer.json()).detail }));
        draft.sent += 1;
        keep();
      }
      arrived();
    } catch (error) {
      say(error.message === "busy" ? words.busy : words.offline);
      setTimeout(send, wait);
    } finally {
      sending = false;
    }
  }

  const busy = (answer) => answer.status === 429 || answer.status >= 500;
  window.addEventListener("online", send);

  // A data address is read here: the policy of the page lets nothing be fetched from one.
  function blob(address) {
    const comma = address.indexOf(","), kind = address.slice(5, address.indexOf(";"));
    return new Blob([Uint8Array.from(atob(address.slice(comma + 1)), (c) => c.charCodeAt(0))], { type: kind });
  }

  function arrived() {
    $("#done-ticket").textContent = draft.ticket;
    $("#done-code").textContent = draft.code.replace(/(.{4})(?=.)/g, "$1 ");
    $("#done-qr").src = "/qr/reports/" + draft.ticket + ".svg";
    $("#done-follow").href = "/report/follow?ticket=" + encodeURIComponent(draft.ticket);
    if (draft.out.length) $("#done-extra").textContent = words.out + Array.from(new Set(draft.out)).join("、");
    for (const hidden of document.querySelectorAll("main > h1, main > .lead, main > .alarm")) hidden.hidden = true;
    say(draft.lost.join(" "));
    done.hidden = false;
    done.focus();
    window.scrollTo(0, 0);
    forget();
    draft = null;
  }

  $("#join").addEventListener("submit", forget);
  if (draft && draft.queued) {
    waiting();
    send();
  } else if (draft && restore()) {
    const drop = Object.assign(document.createElement("button"), { type: "button", className: "button small", textContent: words.drop });
    drop.addEventListener("click", () => {
      forget();
      location.assign(location.pathname + location.search);
    });
    say(words.kept, drop);
  } else draft = fresh();
  if (draft && !draft.queued) near();
})();
