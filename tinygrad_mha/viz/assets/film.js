// The page shows a film of a training and nothing else: see tinygrad_mha/viz/film.py for its fields.
// Every text goes in through textContent, so a name is never markup.

const film = JSON.parse(document.getElementById("film").textContent);
const $ = (id) => document.getElementById(id);
const DASHES = ["", "7 3", "2 3", "9 3 2 3"]; // by layer, so that colour alone says nothing
const MOST_LINES = 12; // of a chart; with more heads, those of the chosen layer
const MOST_LABELS = 48; // on a side of the large map

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const state = { frame: film.steps.length - 1, layer: 0, head: 0, timer: 0 };

// ---- small helpers ------------------------------------------------------------------------

/** A shape of a chart, with what is written in it. */
function added(parent, name, attributes, ...words) {
  const made = drawing(name, attributes, ...words);
  parent.append(made);
  return made;
}

const fixed = (x) => (typeof x === "number" ? x.toFixed(2) : number(x));
const called = (layer, head) => `${layer + 1}.${head + 1}`;
const words = (name) => ({ to_self: "on itself", to_previous: "on the previous token", to_first: "on the first token",
  entropy: "entropy, in bits", peak: "largest weight" }[name] || visible(name));

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

const PALETTE = Array.from({ length: 256 }, (_, k) => viridis(k / 255));
const MOST_PIXELS = 128; // on a side of a small map

// ---- where a map lies in the data -----------------------------------------------------------

const maps = bytes(film.maps);
const seen = bytes(film.visible);
const starts = []; // of each layer, within a frame
let frameSize = 0;
for (const layer of film.layers) {
  starts.push(frameSize);
  frameSize += layer.heads * layer.rows.length * layer.columns.length;
}

function place(layer, head) {
  const { rows, columns } = film.layers[layer];
  return starts[layer] + head * rows.length * columns.length;
}

/** A weight; the data hold its root in 255ths. */
function weight(frame, layer, head, row, column) {
  const at = place(layer, head) + row * film.layers[layer].columns.length + column;
  return { value: (maps[frame * frameSize + at] / 255) ** 2, visible: seen[at] === 1 };
}

/** The largest root of a head's map over all frames, in 255ths: one scale for the whole film. */
const tops = new Map();
function topOf(layer, head) {
  const start = place(layer, head);
  if (!tops.has(start)) {
    const { rows, columns } = film.layers[layer];
    let top = 1;
    for (let frame = 0; frame < film.steps.length; frame++) {
      const at = frame * frameSize + start;
      for (let k = at; k < at + rows.length * columns.length; k++) if (maps[k] > top) top = maps[k];
    }
    tops.set(start, top);
  }
  return tops.get(start);
}

/** Pixels on a side of a cell: several, so that masked cells can be hatched. */
const cellSide = ({ rows, columns }, most) => Math.max(1, Math.floor(most / Math.max(rows.length, columns.length)));

function mapCanvas(layer, most, attributes) {
  const { rows, columns } = layer;
  const side = cellSide(layer, most);
  const canvas = element("canvas", { width: columns.length * side, height: rows.length * side, ...attributes });
  canvas.style.aspectRatio = `${columns.length} / ${rows.length}`;
  return canvas;
}

function paint(canvas, frame, layer, head) {
  const { rows, columns } = film.layers[layer];
  const side = canvas.width / columns.length;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const opaque = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  const masked = opaque(painted("--masked")), stripe = opaque(painted("--line"));
  const start = place(layer, head), top = topOf(layer, head);
  const shade = PALETTE.map((_, root) => opaque(PALETTE[Math.min(255, Math.round(255 * (root / top) ** 2))]));
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      const cell = start + Math.floor(y / side) * columns.length + Math.floor(x / side);
      pixels[y * canvas.width + x] = seen[cell] ? shade[maps[frame * frameSize + cell]] : striped(x, y) ? stripe : masked;
    }
  }
  context.putImageData(image, 0, 0);
}

// ---- heads -----------------------------------------------------------------------------------

const tiles = []; // {layer, head, button, canvas, note}

function buildGrid() {
  film.layers.forEach((layer, l) => {
    $("grid").append(element("h3", {}, `Layer ${l + 1}  ${visible(layer.path)}`));
    const row = element("div", { class: "row" });
    for (let h = 0; h < layer.heads; h++) {
      const canvas = mapCanvas(layer, MOST_PIXELS, { "aria-hidden": "true" });
      const note = element("span");
      const button = element("button", { class: "head", type: "button", onclick: () => choose(l, h) },
        element("b", {}, `head ${called(l, h)}`), canvas, note);
      button.style.setProperty("--tone", tone(h));
      row.append(button);
      tiles.push({ layer: l, head: h, button, canvas, note });
    }
    $("grid").append(row);
  });
}

function showGrid() {
  for (const { layer, head, button, canvas, note } of tiles) {
    paint(canvas, state.frame, layer, head);
    const at = (name) => film.measures[name][state.frame][layer][head];
    const extra = Object.keys(film.measures).slice(5);
    const shown = extra.length ? `${visible(extra[0], 14)} ${fixed(at(extra[0]))}` : `prev. ${fixed(at("to_previous"))}`;
    note.textContent = `H ${fixed(at("entropy"))} · ${shown}`;
    button.setAttribute("aria-pressed", layer === state.layer && head === state.head);
    button.setAttribute("aria-label", `Layer ${layer + 1}, head ${head + 1}: entropy ${fixed(at("entropy"))} bits` +
      (finite(at("to_previous")) ? `, ${Math.round(100 * at("to_previous"))} % on the previous token` : ""));
  }
}

function choose(layer, head) {
  state.layer = layer;
  state.head = head;
  buildLarge();
  buildCurves();
  show();
}

let large = null;

function buildLarge() {
  const layer = film.layers[state.layer];
  $("large-title").textContent = `Head ${called(state.layer, state.head)}, ${visible(layer.path) || "attention"}`;
  large = mapCanvas(layer, 3 * MOST_PIXELS, { role: "img", onpointermove: (event) => read(event), onpointerleave: () => readAll() });
  const top = (topOf(state.layer, state.head) / 255) ** 2;
  $("largest").textContent = number(Number(top.toPrecision(2)));
  const side = (names, kind) => {
    const box = element("div", { class: kind, "aria-hidden": "true" });
    const each = Math.ceil(names.length / MOST_LABELS);
    box.style.fontSize = `${Math.min(10.5, (330 * each) / names.length).toFixed(1)}px`;
    box.append(...names.map((name, k) => element("span", {}, k % each ? "" : token(name))));
    return box;
  };
  const short = layer.columns.every((name) => token(name).length <= 1);
  $("large").replaceChildren(side(layer.columns, short ? "keys short" : "keys"), side(layer.rows, "queries"), large);
}

function readAll() {
  const at = (name) => number(film.measures[name][state.frame][state.layer][state.head]);
  const pooled = film.layers[state.layer].pooled;
  $("reading").textContent = Object.keys(film.measures).map((name) => `${words(name)} ${at(name)}`).join(" · ") +
    (pooled > 1 ? ` · each cell is the mean over ${pooled} × ${pooled} positions` : "");
}

function read(event) {
  const { rows, columns } = film.layers[state.layer];
  const box = large.getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * rows.length);
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns.length);
  if (row < 0 || column < 0 || row >= rows.length || column >= columns.length) return;
  const { value, visible: there } = weight(state.frame, state.layer, state.head, row, column);
  const what = `${token(rows[row])} (${row}) → ${token(columns[column])} (${column}): `;
  $("reading").textContent = what + (there ? `weight ${value.toFixed(3)}` : "masked");
}

// ---- curves ----------------------------------------------------------------------------------

const lastStep = Math.max(film.steps[film.steps.length - 1], 1);
const cursors = []; // what moves with the frame: {line, x}

/** Axes of a chart, its scales, and a cursor; pointing at it moves the film. */
function chart(svg, width, height, left, right, low, high) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (step) => left + (step / lastStep) * (width - left - right);
  const y = (value) => 6 + (1 - (value - low) / (high - low || 1)) * (height - 24);
  for (const value of [low, high]) {
    added(svg, "line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) });
    added(svg, "text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, number(value));
  }
  added(svg, "text", { x: left, y: height - 4 }, "0");
  added(svg, "text", { x: width - right, y: height - 4, "text-anchor": "end" }, `step ${lastStep}`);
  const line = added(svg, "line", { class: "cursor", y1: 2, y2: height - 16 });
  cursors.push({ svg, line, x });
  const move = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = svg.getBoundingClientRect();
    const step = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right) * lastStep;
    go(nearest(step));
  };
  svg.onpointerdown = move;
  svg.onpointermove = move;
  return { x, y };
}

function nearest(step) {
  let best = 0;
  film.steps.forEach((s, k) => { if (Math.abs(s - step) < Math.abs(film.steps[best] - step)) best = k; });
  return best;
}

const path = (points) => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
const finite = (value) => typeof value === "number";

function buildLoss() {
  const svg = $("loss");
  const known = film.losses.filter(([, loss]) => finite(loss));
  if (!known.length) { svg.remove(); return; }
  const values = known.map(([, loss]) => loss);
  const width = Math.max(svg.clientWidth, 300), height = svg.clientHeight || 76;
  const { x, y } = chart(svg, width, height, 44, 8, Math.min(...values, 0), Math.max(...values));
  added(svg, "path", { class: "loss", d: path(known.map(([s, v]) => [x(s), y(v)])) });
  svg.setAttribute("aria-label", `Loss over the training, from ${number(values[0])} to ${number(values[values.length - 1])}`);
}

/** The loss at a step: of the nearest point. */
function lossAt(step) {
  let best = null;
  for (const [s, loss] of film.losses) if (best === null || Math.abs(s - step) < Math.abs(best[0] - step)) best = [s, loss];
  return best && best[1];
}

function shownHeads() {
  const every = tiles.map(({ layer, head }) => ({ layer, head }));
  return every.length <= MOST_LINES ? every : every.filter(({ layer }) => layer === state.layer);
}

function buildCurves() {
  cursors.length = 0;
  buildLoss();
  $("curves").replaceChildren();
  const heads = shownHeads();
  const charts = [];
  for (const name of Object.keys(film.measures)) {
    if (name === "peak") continue; // entropy tells as much
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${words(name)} of ${heads.length} heads over the training`);
    $("curves").append(element("div", {}, element("h2", {}, words(name)), svg));
    charts.push([svg, name, film.measures[name]]);
  }
  for (const [svg, name, frames] of charts) { // now that all are there, their widths are known
    const of = ({ layer, head }) => frames.map((frame) => frame[layer][head]);
    const values = heads.flatMap(of).filter(finite);
    const high = name === "entropy" ? Math.max(...values, 0.1) : Math.max(...values, 1);
    const { x, y } = chart(svg, svg.clientWidth || 300, svg.clientHeight || 150, 34, 30, Math.min(...values, 0), high);
    const ends = [];
    for (const one of heads) {
      const chosen = one.layer === state.layer && one.head === state.head;
      const points = of(one).map((value, k) => [x(film.steps[k]), value]).filter(([, v]) => finite(v)).map(([a, v]) => [a, y(v)]);
      if (!points.length) continue;
      const line = added(svg, "path", { class: chosen ? "line chosen" : "line", d: path(points), "stroke-dasharray": DASHES[one.layer % DASHES.length] });
      line.style.stroke = tone(one.head);
      ends.push({ ...one, chosen, x: points[points.length - 1][0], y: points[points.length - 1][1] });
    }
    label(svg, ends);
  }
}

/** Names at the lines' ends, pushed apart until each can be read; the chosen one always. */
function label(svg, ends) {
  ends.sort((a, b) => a.y - b.y);
  const room = 11;
  const kept = ends.length * room <= 150 ? ends : ends.filter((end) => end.chosen);
  let last = -Infinity;
  for (const end of kept) { end.at = Math.max(end.y, last + room); last = end.at; }
  let below = 150 - 16;
  for (const end of [...kept].reverse()) { end.at = Math.min(end.at, below); below = end.at - room; }
  for (const end of kept) {
    const made = added(svg, "text", { x: end.x + 5, y: end.at + 4 }, called(end.layer, end.head));
    made.style.fill = tone(end.head);
    if (end.chosen) made.setAttribute("class", "chosen");
  }
}

// ---- the film --------------------------------------------------------------------------------

function go(frame) {
  state.frame = Math.min(Math.max(frame, 0), film.steps.length - 1);
  show();
}

function show() {
  const step = film.steps[state.frame];
  const loss = lossAt(step);
  const said = `step ${step}` + (finite(loss) ? `, loss ${number(loss)}` : "");
  $("slider").value = state.frame;
  $("slider").setAttribute("aria-valuetext", said);
  $("position").textContent = said;
  showGrid();
  paint(large, state.frame, state.layer, state.head);
  large.setAttribute("aria-label", `Attention of head ${called(state.layer, state.head)} at step ${step}`);
  readAll();
  for (const { svg, line, x } of cursors) {
    line.setAttribute("x1", x(step));
    line.setAttribute("x2", x(step));
    svg.append(line); // over the curves
  }
}

function play(on) {
  clearInterval(state.timer);
  state.timer = 0;
  if (on) {
    if (state.frame === film.steps.length - 1) go(0);
    // who asks for little motion gets a slide show
    state.timer = setInterval(() => {
      go(state.frame + 1);
      if (state.frame === film.steps.length - 1) play(false);
    }, calm.matches ? 1000 : 125);
  }
  $("play").setAttribute("aria-pressed", String(on));
  $("play").textContent = on ? "❚❚ Pause" : "▶ Play";
}

function start() {
  const heads = tiles.length;
  $("title").textContent = visible(film.title, 120);
  $("facts").textContent = `${heads} head${heads === 1 ? "" : "s"}, ${film.steps.length} frames over ${film.steps[film.steps.length - 1]} steps of training. ` +
    "Keys: ← → frame, Home End, space plays.";
  $("slider").max = film.steps.length - 1;
  $("slider").addEventListener("input", () => { play(false); go(Number($("slider").value)); });
  $("back").addEventListener("click", () => { play(false); go(state.frame - 1); });
  $("forth").addEventListener("click", () => { play(false); go(state.frame + 1); });
  $("play").addEventListener("click", () => play(!state.timer));
  for (const scale of document.querySelectorAll(".scale")) scale.style.background = RAMP;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === $("slider")) return;
    const to = { ArrowLeft: state.frame - 1, ArrowRight: state.frame + 1, Home: 0, End: film.steps.length - 1 }[event.key];
    if (to !== undefined) { play(false); go(to); event.preventDefault(); }
    if (event.key === " " && event.target.tagName !== "BUTTON") { play(!state.timer); event.preventDefault(); }
  });
  const repaint = () => { paints.clear(); show(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  document.addEventListener("around", repaint);
  let wide = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; buildCurves(); show(); } });
  choose(state.layer, state.head);
}

buildGrid();
start();
