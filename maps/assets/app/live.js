/* What is on the page stays true: parts marked `data-live` are fetched anew when a case changed, unless somebody is writing in them. */
(function () {
  "use strict";
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const first = document.querySelector("[data-live][data-after]"), badge = document.getElementById("badge");
  let after = first && first.dataset.after, source = null, timer = 0;

  function count() {
    fetch("/inbox/count").then((answer) => (answer.ok ? answer.json() : 0)).then((waiting) => {
      badge.hidden = !waiting;
      badge.firstChild.textContent = waiting > 99 ? "99+" : waiting;
    }, () => {});
  }

  async function refresh() {
    const answer = await fetch(first.dataset.at || location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.url.includes("/sign-in")) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of all("[data-live]")) {
      const fresh = page.getElementById(part.id), focused = part.contains(document.activeElement) && document.activeElement;
      if (!fresh || fresh.innerHTML === part.innerHTML) continue;
      if (part.dataset.touched || (focused && focused.matches("input, select, textarea"))) {
        for (const told of all("[data-stale]")) told.hidden = false;
        continue;
      }
      for (const open of all("details[open][id]", part)) {
        const same = fresh.querySelector("#" + open.id);
        if (same) same.open = true;
      }
      part.replaceWith(document.importNode(fresh, true));
      const again = focused && focused.id && document.getElementById(focused.id);
      if (again) again.focus({ preventScroll: true });
    }
  }

  function heard(event) {
    after = event.lastEventId;
    const change = JSON.parse(event.data), of = first.dataset.of;
    if (change.noun !== "incidents" || (of && change.feature && change.feature !== of)) return;
    timer = timer || setTimeout(() => {
      timer = 0;
      refresh().catch(() => {});
      count();
    }, 200);
  }

  // A browser has six connections to one server: a page nobody looks at gives its own back, and catches up later.
  function listen() {
    if (source) source.close();
    source = null;
    if (!first || document.hidden) return;
    source = new EventSource("/changes?after=" + after);
    source.addEventListener("change", heard);
  }

  document.addEventListener("input", (event) => {
    const part = event.target.closest("[data-live]");
    if (part) part.dataset.touched = "1";
  });
  document.addEventListener("visibilitychange", listen);
  count();
  listen();
})();
