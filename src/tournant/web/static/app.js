// What pages do beyond links and forms: live state, keyboard, dialogs, copying, theme. No page needs it to be read.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Theme: the visitor's choice wins over the system's; the cookie lets the server draw the next page in it at once.
  const root = document.documentElement;
  const keep = (theme) => {
    root.dataset.theme = theme;
    document.cookie = `tournant_theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  };
  const stored = localStorage.getItem("tournant.theme");
  if (stored && stored !== root.dataset.theme) keep(stored);
  $("#theme")?.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const theme = dark ? "light" : "dark";
    localStorage.setItem("tournant.theme", theme);
    keep(theme);
    document.dispatchEvent(new Event("tournant:theme"));
  });

  // Dialogs and copying work by delegation, for rows come and go.
  document.addEventListener("click", (event) => {
    const target = event.target.closest?.("[data-dialog],[data-close],[data-copy]");
    if (!target) return;
    if (target.dataset.dialog) document.getElementById(target.dataset.dialog)?.showModal();
    else if (target.dataset.copy) copy(target);
    else target.closest("dialog")?.close();
  });
  async function copy(button) {
    await navigator.clipboard?.writeText(button.dataset.copy).catch(() => {});
    const said = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = said), 1200);
  }

  // Keyboard. There is no single key for anything that changes something.
  const places = { o: "/", m: "/models", r: "/runs", d: "/deployments", a: "/alerts" };
  let goes = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
    if (event.target.matches("input:not([type=checkbox]),textarea,select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const going = Date.now() - goes < 1500;
    goes = 0;
    if (going && places[event.key]) location.href = places[event.key];
    else if (event.key === "g") goes = Date.now();
    else if (event.key === "/") {
      event.preventDefault();
      $("#q")?.focus();
    } else if (event.key === "?") $("#help")?.showModal();
    else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  });
  function step(by) {
    const rows = all("tbody tr").filter((row) => $("a", row));
    const at = rows.findIndex((row) => row.classList.contains("at"));
    rows[at]?.classList.remove("at");
    const row = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
    row?.classList.add("at");
    if (row) $("a", row).focus();
  }
  $(".search")?.addEventListener("submit", (event) => {
    event.preventDefault();
    const first = $("#hits a");
    if (first) location.href = first.href;
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".search") && $("#hits")) $("#hits").replaceChildren();
  });

  // Live: one stream a page. Sections arrive whole and are morphed in by id; rows under the pointer or focus, and open
  // dialogs, are not moved: their newest state waits until they are left, or until "new" is pressed.
  const live = $("#live");
  if (!live) return;
  const say = $(".say", live), hold = $(".hold", live);
  const held = new Map();
  const clock = () => new Date().toISOString().slice(11, 19);
  function state(name, text) {
    live.dataset.state = name;
    say.textContent = text;
  }
  const busy = (section) =>
    Boolean(section && ($("dialog[open]", section) || (section.matches("[data-rows]") && section.matches(":hover,:focus-within"))));
  function sections(text) {
    const page = new DOMParser().parseFromString(text.replaceAll("hx-partial", "section"), "text/html");
    return all("body > section[hx-target]", page).map((part) => [part.getAttribute("hx-target"), part.innerHTML]);
  }
  const write = (entries) =>
    entries.map(([id, html]) => `<hx-partial hx-target="${id}" hx-swap="outerMorph">${html}</hx-partial>`).join("");
  function release(force) {
    const free = [...held].filter(([id]) => force || !busy($(id)));
    free.forEach(([id]) => held.delete(id));
    hold.hidden = !held.size;
    if (free.length) htmx.swap({ sourceElement: $("#stream"), text: write(free), swap: "none" });
  }
  hold.addEventListener("click", () => release(true));
  setInterval(() => held.size && release(false), 500);
  document.addEventListener("htmx:sse:before:message", (event) => {
    state("live", `Live · updated ${clock()} UTC`);
    const message = event.detail.message;
    if (message.event) return;
    const parts = sections(message.data);
    const waiting = parts.filter(([id]) => busy($(id)));
    parts.forEach(([id]) => held.delete(id));
    waiting.forEach(([id, html]) => held.set(id, html));
    hold.hidden = !held.size;
    hold.textContent = `${held.size} new`;
    if (waiting.length) message.data = write(parts.filter(([id]) => !busy($(id)))) || "<!-- held -->";
  });
  document.addEventListener("htmx:sse:after:connection", () => state("live", `Live · updated ${clock()} UTC`));
  document.addEventListener("htmx:sse:before:connection", () => state("wait", "Reconnecting"));
  document.addEventListener("htmx:sse:error", () => state(navigator.onLine ? "wait" : "off", navigator.onLine ? "Reconnecting" : "Offline"));
  document.addEventListener("htmx:sse:close", () => state("off", "Offline"));
  addEventListener("offline", () => state("off", "Offline"));
  document.addEventListener("htmx:after:swap", () => document.dispatchEvent(new Event("tournant:swap")));
})();
