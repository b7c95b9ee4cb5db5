// Draws metric curves: each element with data-curves names runs and a metric; they are fetched when they come into view and
// again when their mark changes. One bar sets smoothing and axes for all; it is kept in the address.
"use strict";
(() => {
  const bar = document.querySelector("#curvebar");
  if (!window.uPlot || !document.querySelector("[data-curves],[data-line],#curvebar")) return;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const charts = new Map(); // element -> {mark, curves, plot}
  const context = document.createElement("canvas").getContext("2d");
  const probe = document.body.appendChild(document.createElement("i"));
  probe.hidden = true;
  function css(name) {
    probe.style.color = `var(${name})`;
    context.fillStyle = getComputedStyle(probe).color;
    return context.fillStyle;
  }
  const dark = () => parseInt(css("--bg").slice(1, 3), 16) < 128;

  // One look for each run, the same in every chart: colours far apart, then dashes too.
  const order = [...new Set(all("[data-lines]").flatMap((e) => e.dataset.lines.split(",")))];
  const hues = [222, 28, 150, 330, 190, 0, 285, 52];
  const dashes = [undefined, [6, 3], [2, 3], [10, 3, 2, 3]];
  function look(run) {
    const i = order.indexOf(run);
    if (i < 0) return { stroke: css("--s-canary"), dash: undefined };
    const hue = hues[i] ?? (i * 137.5) % 360;
    context.fillStyle = `hsl(${hue} ${dark() ? "75% 68%" : "70% 40%"})`;
    return { stroke: context.fillStyle, dash: dashes[Math.floor(i / 8) % 4] };
  }
  function swatches() {
    for (const mark of all("[data-line]")) {
      const { stroke, dash } = look(order[+mark.dataset.line]);
      mark.firstChild.setAttribute("stroke", stroke);
      mark.firstChild.setAttribute("stroke-dasharray", (dash || []).join(" "));
    }
  }

  // What the bar says, from and to the address.
  const how = { smooth: 0, x: "step", logx: false, logy: false };
  if (bar) {
    const asked = new URLSearchParams(location.search);
    bar.hidden = !document.querySelector("[data-curves]");
    if (asked.has("smooth")) bar.smooth.value = asked.get("smooth");
    if (asked.get("x") === "time") bar.x.value = "time";
    for (const name of ["logx", "logy"]) bar[name].checked = asked.get(name) === "1";
    bar.addEventListener("submit", (event) => event.preventDefault());
    bar.addEventListener("input", () => {
      settle();
      const address = new URL(location.href);
      for (const [name, value] of Object.entries(how)) {
        if (!value || value === "step") address.searchParams.delete(name);
        else address.searchParams.set(name, value === true ? "1" : value);
      }
      history.replaceState(history.state, "", address.href.replaceAll("%2C", ","));
      redraw();
    });
    settle();
  }
  function settle() {
    Object.assign(how, { smooth: +bar.smooth.value, x: bar.x.value, logx: bar.logx.checked, logy: bar.logy.checked });
    bar.querySelector("output").textContent = how.smooth.toFixed(2);
  }

  // Fetching: what is asked for in one turn goes in one request.
  const wanted = new Set();
  function want(element) {
    wanted.add(element);
    if (wanted.size === 1) setTimeout(fetchAll, 0);
  }
  async function fetchAll() {
    const elements = [...wanted].filter((e) => e.isConnected);
    wanted.clear();
    const byRuns = Map.groupBy ? Map.groupBy(elements, (e) => e.dataset.curves) : new Map(elements.map((e) => [e.dataset.curves, elements.filter((o) => o.dataset.curves === e.dataset.curves)]));
    for (const [runs, group] of byRuns) {
      const size = runs.length > 700 ? 2 : 6; // of 20 runs and more a chart is much to read
      for (let i = 0; i < group.length; i += size) load(runs, group.slice(i, i + size));
    }
  }
  // A chart that changes is asked for again, but waiting for it takes at most a tenth of the time.
  function renew(element) {
    const chart = state(element);
    if (!chart.near || chart.busy || chart.mark === element.dataset.mark) return;
    clearTimeout(chart.timer);
    chart.timer = setTimeout(() => want(element), Math.max(0, (chart.next || 0) - performance.now()));
  }
  async function load(runs, group) {
    const marks = group.map((e) => e.dataset.mark), began = performance.now();
    group.forEach((element) => (state(element).busy = true));
    try {
      const query = new URLSearchParams([["ids", runs], ...group.map((e) => ["key", e.dataset.key])]);
      const answer = await fetch(`/runs/curves.json?${query}`);
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      const { curves } = await answer.json();
      group.forEach((element, i) => {
        Object.assign(state(element), { mark: marks[i], curves: curves[element.dataset.key], failed: false });
        draw(element);
      });
    } catch (error) {
      group.forEach((element) => fail(element, error));
    }
    const now = performance.now(), next = now + 9 * (now - began);
    for (const element of group) {
      Object.assign(state(element), { busy: false, next });
      if (!state(element).failed) renew(element);
    }
  }
  function fail(element, error) {
    const chart = state(element);
    if (chart.plot) return (chart.mark = element.dataset.mark); // what is shown stays; the next change asks again
    chart.failed = true;
    const note = document.createElement("p"), again = document.createElement("button");
    note.className = "none";
    note.textContent = `This curve could not be loaded: ${error.message}. `;
    Object.assign(again, { type: "button", className: "btn", textContent: "Retry" });
    again.addEventListener("click", () => want(element));
    note.append(again);
    element.replaceChildren(note);
  }
  function state(element) {
    if (!charts.has(element)) charts.set(element, {});
    return charts.get(element);
  }

  // Exponential smoothing that does not lean to its first value, as TensorBoard has it.
  function smoothed(values) {
    let sum = 0, weight = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = how.smooth * sum + (1 - how.smooth) * value;
      weight = how.smooth * weight + (1 - how.smooth);
      return sum / weight;
    });
  }
  // What was logged without steps has them all at 0, and only times tell its points apart.
  const stepless = (curves) => curves.every((c) => c.steps.every((step) => step === 0)) && curves.some((c) => c.steps.length > 1);
  function table(curve, timed) {
    const at = timed ? curve.times : curve.steps, last = new Map();
    at.forEach((x, i) => (!how.logx || x > 0) && last.set(x, curve.values[i])); // of one place the last counts
    const xs = [...last.keys()].sort((a, b) => a - b);
    return [xs, xs.map((x) => last.get(x))];
  }
  const positive = (values) => values.map((value) => (value !== null && value > 0 ? value : null));

  const number = (v) => (v === 0 || (Math.abs(v) >= 1e-4 && Math.abs(v) < 1e7) ? (+v.toPrecision(6)).toLocaleString("en-GB", { maximumFractionDigits: 6 }) : v.toExponential(1)).replaceAll("-", "−");
  const long = (s) => (s >= 86400 ? `${+(s / 86400).toFixed(1)} d` : s >= 3600 ? `${+(s / 3600).toFixed(1)} h` : s >= 60 ? `${+(s / 60).toFixed(1)} m` : `${+s.toFixed(1)} s`);

  function draw(element) {
    const chart = charts.get(element), { curves } = chart;
    if (!curves || !element.clientWidth) return;
    chart.plot?.destroy();
    chart.plot = null;
    element.replaceChildren();
    const timed = (chart.timed = how.x === "time" || stepless(curves)), place = timed ? long : number;
    const tables = curves.map((curve) => table(curve, timed)), lines = [];
    const faint = how.smooth > 0 && curves.length <= 12;
    if (faint) curves.forEach((curve, i) => lines.push({ curve, table: tables[i], raw: true }));
    curves.forEach((curve, i) => lines.push({ curve, table: how.smooth > 0 ? [tables[i][0], smoothed(tables[i][1])] : tables[i] }));
    if (how.logy) for (const line of lines) line.table = [line.table[0], positive(line.table[1])];
    const kept = lines.filter((line) => line.table[1].some((value) => value !== null));
    if (!kept.length) {
      const note = document.createElement("p");
      note.className = "none";
      note.textContent = how.logx || how.logy ? "Nothing above zero to draw on a log axis." : "Nothing to draw yet.";
      return element.replaceChildren(note);
    }
    const data = uPlot.join(kept.map((line) => line.table));
    const axis = { stroke: css("--text-3"), font: "11px Inter, system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: css("--line"), width: 1 };
    const short = data[0].length < 3;
    chart.plot = new uPlot(
      {
        width: element.clientWidth - 16,
        height: 200,
        padding: [8, 24, 0, 0],
        legend: { show: false },
        focus: { alpha: 0.25 },
        cursor: { focus: { prox: 1e4 }, points: { size: 6 }, drag: { x: true, y: false }, dataIdx: (u, s, i) => nearest(u.data[s], i) },
        scales: { x: { time: false, distr: how.logx ? 3 : 1, ...(how.logx ? { range: (u, low, high) => [low, high] } : {}) }, y: { distr: how.logy ? 3 : 1, range: how.logy ? (u, low, high) => (low === null ? [0.1, 1] : [low / 1.15, high * 1.15]) : range } },
        axes: [
          { ...axis, grid: { show: false }, ...(how.logx ? { filter: decades } : {}), space: 70, size: 26, gap: 6, values: (u, vs) => vs.map((v) => (v === null ? "" : place(v))) },
          { ...axis, ...(how.logy ? { filter: decades, grid: { ...grid, filter: decades } } : { grid }), size: 56, space: 36, values: (u, vs) => vs.map((v) => (v === null ? "" : number(v))) },
        ],
        series: [{}, ...kept.map((line) => {
          const { stroke, dash } = look(line.curve.run);
          return { label: line.curve.name, stroke: line.raw ? `${stroke}40` : stroke, dash: line.raw ? undefined : dash, width: line.raw ? 1 : curves.length > 20 ? 1.25 : 1.75, points: { show: short || line.table[0].length < 3, size: 5 } };
        })],
        hooks: { setCursor: [(u) => read(element, u, timed)], setSeries: [(u) => read(element, u, timed)] },
      },
      data,
      element,
    );
    const details = element.parentNode.querySelector("details");
    if (details?.open) tabulate(details, chart);
  }
  function range(u, low, high) {
    if (low === null) return [0, 1];
    const pad = 0.06 * (high - low || Math.abs(high) || 1);
    return [low >= 0 && low - pad < 0 ? 0 : low - pad, high + pad];
  }
  // On a log axis a line for each power of ten, and for 2 and 5 where there are few.
  function decades(u, splits) {
    const tens = splits.filter((v) => Number.isInteger(+Math.log10(v).toFixed(6))).length;
    return splits.map((v) => ((tens > 2 ? [1] : [1, 2, 5]).includes(+(v / 10 ** Math.floor(Math.log10(v) + 1e-9)).toFixed(6)) ? v : null));
  }
  function nearest(values, i) {
    for (let by = 0; by < values.length; by++) {
      if (values[i - by] != null) return i - by;
      if (values[i + by] != null) return i + by;
    }
    return i;
  }
  function read(element, u, timed) {
    const out = element.parentNode.querySelector(".readout");
    const focused = u.series.findIndex((s, i) => i && s._focus), s = focused > 0 ? focused : u.series.length === 2 ? 1 : 0;
    const i = s && u.cursor.idxs?.[s];
    const value = s && i != null && u.cursor.left >= 0 ? u.data[s][i] : null;
    out.textContent = value == null ? "" : `${u.series.length > 2 ? `${u.series[s].label} · ` : ""}${timed ? long(u.data[0][i]) : `step ${number(u.data[0][i])}`}: ${number(value)}`;
  }
  function tabulate(details, chart) {
    const curves = (chart.curves || []).slice(0, 12), tables = curves.map((curve) => table(curve, chart.timed));
    const xs = [...new Set(tables.flatMap(([at]) => at))].sort((a, b) => a - b).slice(-60);
    const found = tables.map(([at, values]) => new Map(at.map((x, i) => [x, values[i]])));
    const grid = document.createElement("table"), head = grid.createTHead().insertRow(), body = grid.createTBody();
    const cell = (row, tag, text, number) => Object.assign(row.appendChild(document.createElement(tag)), { textContent: text, className: number ? "num" : "nw", ...(tag === "th" ? { scope: "col" } : {}) });
    cell(head, "th", chart.timed ? "Time" : "Step");
    for (const curve of curves) cell(head, "th", curve.name, true);
    for (const x of xs) {
      const row = body.insertRow();
      cell(row, "td", chart.timed ? `${number(x)} s` : number(x));
      for (const values of found) cell(row, "td", values.get(x) == null ? "–" : number(values.get(x)), true);
    }
    details.querySelector(".scroll").replaceChildren(grid);
  }
  document.addEventListener("toggle", (event) => {
    const element = event.target.open && event.target.parentNode?.querySelector?.("[data-curves]");
    if (element) tabulate(event.target, state(element));
  }, true);

  const redraw = () => charts.forEach((chart, element) => chart.curves && draw(element));
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      state(target).near = isIntersecting;
      renew(target);
    }
  }, { rootMargin: "200px" });
  const changed = new MutationObserver((records) => {
    for (const element of new Set(records.map((r) => r.target))) if (charts.has(element)) renew(element);
  });
  function find() {
    for (const [element, chart] of charts) {
      if (element.isConnected) continue;
      chart.plot?.destroy();
      charts.delete(element);
    }
    for (const element of all("[data-curves]")) {
      if (charts.has(element)) continue;
      state(element);
      seen.observe(element);
      changed.observe(element, { attributeFilter: ["data-mark", "data-curves"] });
    }
    if (bar) bar.hidden = !charts.size;
    swatches();
  }
  find();
  document.addEventListener("tournant:swap", find);
  document.addEventListener("tournant:theme", () => (swatches(), redraw()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (swatches(), redraw()));
  let wait = 0;
  addEventListener("resize", () => {
    clearTimeout(wait);
    wait = setTimeout(redraw, 100);
  });
})();
