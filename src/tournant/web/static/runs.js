// Ticked runs are remembered while the browser's tab lives, over pages and live updates; columns, in a cookie.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const most = 100;
  const read = (form) => new Set(JSON.parse(sessionStorage.getItem(form.dataset.pick) || "[]"));
  const boxes = (form) => all("tbody input[type=checkbox]", form);

  function show(form) {
    const picked = read(form), said = form.querySelector("[data-picked]"), n = picked.size;
    for (const box of boxes(form)) {
      box.checked = picked.has(box.value);
      box.closest("tr").classList.toggle("picked", box.checked);
    }
    said.dataset.said ??= said.textContent;
    said.textContent = n ? `${n} ticked` + (n > most ? `: at most ${most} can be compared` : "") : said.dataset.said;
    form.querySelector("[data-unpick]").hidden = !n;
    form.querySelector("button:not([type])").disabled = n < 2 || n > most;
  }
  function keep(form, picked) {
    sessionStorage.setItem(form.dataset.pick, JSON.stringify([...picked]));
    show(form);
  }
  const forms = () => all("form[data-pick]");
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-pick]");
    if (!form || event.target.type !== "checkbox") return;
    const picked = read(form);
    picked[event.target.checked ? "add" : "delete"](event.target.value);
    keep(form, picked);
  });
  document.addEventListener("click", (event) => {
    const form = event.target.closest?.("[data-unpick]")?.closest("form");
    if (form) keep(form, []);
    if (event.target.closest?.("[data-forget]")) document.cookie = "tournant_columns=; path=/; max-age=0; samesite=lax";
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-pick]")) {
      event.preventDefault();
      const picked = [...read(form)];
      if (picked.length > 1 && picked.length <= most) location.href = `${form.getAttribute("action")}?${boxes(form)[0]?.name || "ids"}=${picked.map(encodeURIComponent)}`;
    } else if (form.matches("[data-columns]")) {
      const columns = new URLSearchParams(all("input[name=col]:checked,input[name=col]:not([type])", form).filter((box) => box.value).map((box) => ["col", box.value]));
      const cookie = `tournant_columns=${encodeURIComponent(columns)}; path=/; max-age=31536000; samesite=lax`;
      if (cookie.length < 4000) document.cookie = cookie;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]),textarea,select") || document.querySelector("dialog[open]")) return;
    const [form] = forms();
    if (!form) return;
    if (event.key === "x") form.querySelector("tr.at input[type=checkbox]")?.click();
    else if (event.key === "c") form.querySelector("button:not([type])").click();
  });
  // A menu closes when something else is clicked, and by Escape.
  document.addEventListener("click", (event) => all("details.menu[open]").forEach((menu) => menu.contains(event.target) || (menu.open = false)));
  document.addEventListener("keydown", (event) => event.key === "Escape" && all("details.menu[open]").forEach((menu) => (menu.open = false)));
  const again = () => forms().forEach(show);
  again();
  document.addEventListener("tournant:swap", again);
  addEventListener("pageshow", again);
})();
