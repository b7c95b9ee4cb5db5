// Draws the charts of a page: each element with data-chart holds one, as tournant.web.pages.charts.Chart writes it.
"use strict";
(() => {
  if (!window.uPlot) return;
  const drawn = new Map();
  const probe = document.body.appendChild(document.createElement("i"));
  probe.hidden = true;
  const context = document.createElement("canvas").getContext("2d");
  function css(name) {
    probe.style.color = `var(${name})`; // computed, for the tokens are light-dark() pairs
    context.fillStyle = getComputedStyle(probe).color;
    return context.fillStyle;
  }
  const alpha = (color, share) => color + Math.round(share * 255).toString(16).padStart(2, "0");
  const looks = {
    stable: () => ({ stroke: css("--s-stable"), width: 1.5 }),
    canary: () => ({ stroke: css("--s-canary"), width: 2 }),
    shadow: () => ({ stroke: css("--s-shadow"), width: 1.5, dash: [5, 4] }),
    past: () => ({ stroke: css("--line-2"), width: 1 }),
  };

  function range(chart) {
    const known = chart.series.flatMap((s) => s.values).filter((v) => v !== null);
    if (chart.limit !== null) known.push(chart.limit);
    if (chart.zero) known.push(0);
    const low = Math.min(...known), high = Math.max(...known), pad = 0.1 * (high - low || Math.abs(high) || 1);
    return [chart.zero ? 0 : low >= 0 && low - pad < 0 ? 0 : low - pad, high + pad];
  }

  function marks(chart) {
    return (u) => {
      const c = u.ctx, r = devicePixelRatio, box = u.bbox;
      c.save();
      c.font = `500 ${11 * r}px Inter, system-ui, sans-serif`;
      if (chart.limit !== null) {
        const y = u.valToPos(chart.limit, "y", true), above = chart.worse === "above";
        c.fillStyle = alpha(css("--strip-crit"), 0.07);
        c.fillRect(box.left, above ? box.top : y, box.width, above ? Math.max(0, y - box.top) : box.top + box.height - y);
        c.strokeStyle = css("--strip-crit");
        c.setLineDash([5 * r, 4 * r]);
        c.lineWidth = r;
        line(c, box.left, y, box.left + box.width, y);
      }
      if (chart.pending !== null && chart.times.length && chart.pending < u.scales.x.max) hatch(u, c, Math.max(box.left, u.valToPos(chart.pending, "x", true)));
      c.setLineDash([]);
      let free = 0;
      for (const flag of chart.flags) {
        if (flag.time < u.scales.x.min || flag.time > u.scales.x.max) continue;
        const x = Math.round(u.valToPos(flag.time, "x", true)) + 0.5, width = c.measureText(flag.text).width + 10 * r;
        c.strokeStyle = css("--line-2");
        c.lineWidth = r;
        line(c, x, box.top, x, box.top + box.height);
        if (x < free) continue; // no room for the word; the line says enough
        const left = Math.min(x + 4 * r, box.left + box.width - width);
        free = left + width;
        c.fillStyle = css("--surface");
        c.beginPath();
        c.roundRect(left, box.top + 2 * r, width, 16 * r, 3 * r);
        c.fill();
        c.stroke();
        c.fillStyle = css("--text-2");
        c.textBaseline = "middle";
        c.textAlign = "left";
        c.fillText(flag.text, left + 5 * r, box.top + 10.5 * r);
      }
      c.restore();
    };
  }
  function line(c, x1, y1, x2, y2) {
    c.beginPath();
    c.moveTo(x1, y1);
    c.lineTo(x2, y2);
    c.stroke();
  }
  function hatch(u, c, from) {
    const { left, top, width, height } = u.bbox;
    c.save();
    c.beginPath();
    c.rect(from, top, left + width - from, height);
    c.clip();
    c.strokeStyle = alpha(css("--line-2"), 0.25);
    c.lineWidth = devicePixelRatio;
    c.setLineDash([]);
    for (let x = from - height; x < left + width; x += 8 * devicePixelRatio) line(c, x, top + height, x + height, top);
    c.restore();
  }

  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  function ticks(chart) {
    if (chart.unit === "step") return (u, values) => values.map((v) => (Number.isInteger(v) ? String(v) : ""));
    return (u, values) => {
      const long = u.scales.x.max - u.scales.x.min > 6 * 86400;
      return values.map((v) => (long || v % 86400 === 0 ? day.format(new Date(v * 1e3)) : new Date(v * 1e3).toISOString().slice(11, 16)));
    };
  }

  function draw(element) {
    const chart = JSON.parse(element.dataset.chart);
    drawn.get(element)?.destroy();
    const axis = { stroke: css("--text-3"), font: "11px Inter, system-ui, sans-serif", ticks: { show: false } };
    const bounds = range(chart), few = chart.times.length < 40;
    const plot = new uPlot(
      {
        width: element.clientWidth - 16,
        height: 200,
        padding: [6, 24, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: "page" }, points: { size: 6 } },
        tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), "UTC"),
        scales: { x: { time: chart.unit !== "step" }, y: { range: () => bounds } },
        axes: [
          { ...axis, grid: { show: false }, space: 90, size: 26, gap: 6, values: ticks(chart) },
          { ...axis, grid: { stroke: css("--line"), width: 1 }, size: 46, space: 36, values: (u, vs) => vs.map((v) => (+v.toPrecision(6)).toLocaleString("en-GB", { maximumFractionDigits: 6 }).replace("-", "−")) },
        ],
        series: [{}, ...chart.series.map((s) => ({ label: s.label, spanGaps: false, points: { show: few && lonely(s.values), size: 4 }, ...(looks[s.role] || looks.past)() }))],
        hooks: { draw: [marks(chart)] },
      },
      [chart.times, ...chart.series.map((s) => s.values)],
      element,
    );
    drawn.set(element, plot);
    element.dataset.drawn = element.dataset.chart.length;
  }
  // A value between two gaps has no line to be seen by.
  const lonely = (values) => values.some((v, i) => v !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null);

  const watcher = new MutationObserver((records) => new Set(records.map((r) => r.target)).forEach(draw));
  function find() {
    for (const [element, plot] of drawn) {
      if (element.isConnected) continue;
      plot.destroy();
      drawn.delete(element);
    }
    for (const element of document.querySelectorAll("[data-chart]")) {
      if (drawn.has(element) && element.firstChild) continue;
      draw(element);
      watcher.observe(element, { attributeFilter: ["data-chart"] });
    }
  }
  find();
  document.fonts?.ready.then(() => drawn.forEach((_, element) => draw(element)));
  document.addEventListener("tournant:swap", find);
  document.addEventListener("tournant:theme", () => drawn.forEach((_, element) => draw(element)));
  let wait = 0;
  addEventListener("resize", () => {
    clearTimeout(wait);
    wait = setTimeout(() => drawn.forEach((plot, element) => plot.setSize({ width: element.clientWidth - 16, height: 200 })), 100);
  });
})();
