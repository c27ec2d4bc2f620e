"use strict";
(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // Room for the labels beside the panels, and below which no panel becomes narrower.
  const ROOM = 150, NARROWEST = 200;
  const views = {};
  // Of what the library warns of, nothing is wrong: a panel without data has no extent.
  const logger = {
    level: () => logger, warn: () => logger, info: () => logger, debug: () => logger,
    error: (...said) => { console.error(...said); return logger; },
  };

  function rowsOf({ columns, rows }) {
    return rows.map((row) => Object.fromEntries(columns.map((name, place) => [name, row[place]])));
  }

  // Every colour of the chart has one for a dark page.
  function coloured(value) {
    if (typeof value === "string") return page.dark[value] ?? value;
    if (Array.isArray(value)) return value.map(coloured);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, coloured(each)]));
  }

  async function draw(host) {
    const chart = page.charts[host.dataset.chart];
    const spec = dark.matches ? coloured(chart.spec) : structuredClone(chart.spec);
    const width = Math.max(NARROWEST, host.clientWidth - ROOM);
    for (const panel of spec.vconcat) panel.width = width;
    spec.datasets = Object.fromEntries(Object.entries(chart.datasets).map(([name, each]) => [name, rowsOf(each)]));
    const before = views[host.id];
    const domain = before?.signal("zoom_ms");
    const theme = dark.matches ? "dark" : "light";
    const options = { actions: false, renderer: "canvas", logger, tooltip: { theme } };
    const made = await vegaEmbed(host, spec, options);
    before?.finalize();
    views[host.id] = made.view;
    if (domain) await made.view.signal("zoom_ms", domain).runAsync();
    host.dataset.drawn = "yes";
  }

  function zoom(host, factor) {
    const view = views[host.id];
    const whole = page.charts[host.dataset.chart].domain;
    if (factor === 0) return view.signal("zoom_ms", whole).runAsync();
    const [from, to] = view.signal("zoom_ms") ?? whole;
    const middle = (Number(from) + Number(to)) / 2, half = ((to - from) / 2) * factor;
    return view.signal("zoom_ms", [middle - half, middle + half]).runAsync();
  }

  const hosts = [...document.querySelectorAll(".chart")];
  const shown = (host) => host.clientWidth > 0;
  for (const button of document.querySelectorAll("button[data-zoom]")) {
    button.addEventListener("click", () => zoom(document.getElementById(button.dataset.of), Number(button.dataset.zoom)));
  }
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => {
      for (const host of details.querySelectorAll(".chart")) if (shown(host) && !host.dataset.drawn) draw(host);
    });
  }
  const drawAll = () => Promise.all(hosts.filter(shown).map(draw));
  let later = 0, last = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === last) return;
    last = innerWidth;
    clearTimeout(later);
    later = setTimeout(drawAll, 150);
  });
  dark.addEventListener("change", drawAll);
  drawAll().then(() => { document.body.dataset.drawn = "yes"; });
  // For who looks closer, and for tests.
  window.report = { page, views };
})();
