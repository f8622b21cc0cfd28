"use strict";
// The page draws the trace and nothing else: see tinygrad_mha/viz/data.py for its fields.
// Every text goes in through textContent, so a name is never markup.

const trace = JSON.parse(document.getElementById("trace").textContent);
const $ = (id) => document.getElementById(id);
const HEADS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8a5cb8", "#666666"];
const VIRIDIS = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140],
  [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]];

const state = {
  chosen: null, // vertex id
  open: new Set(), // modules whose rows are shown
  tab: null,
  attention: 0,
  head: 0,
  hidden: new Set(), // "attention:head" that the reader switched off
  sort: null,
  step: -1, // -1: before the first step of backward
  playing: 0,
};

// ---- small helpers ------------------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

function drawing(name, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

/** Names from outside, with what cannot be seen shown by its code point. */
function visible(text, longest = 60) {
  const kept = text.length > longest ? text.slice(0, longest - 1) + "…" : text;
  return kept.replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, (c) => "⟨" + c.codePointAt(0).toString(16) + "⟩");
}

const token = (text) => visible({ " ": "␣", "\n": "⏎", "\t": "⇥", "": "∅" }[text] || text, 9);
const shape = (sizes) => (sizes.length ? sizes.join("×") : "scalar");
const number = (x) => (x === null || x === undefined ? "–" : typeof x === "number" ? Number(x.toPrecision(3)).toString() : x);
const modulePath = (id) => (id === null ? "" : trace.modules[id].path || trace.modules[id].kind);
const tone = (head) => HEADS[head % HEADS.length];
const NOT_COMPUTED = "gradient: not computed";

function viridis(share) {
  const at = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((c, k) => Math.round(c + (VIRIDIS[low + 1][k] - c) * (at - low)));
}

const css = (rgb) => `rgb(${rgb.join(",")})`;

// ---- what is connected with what -------------------------------------------------------------

const inputs = trace.vertices.map(() => []);
const outputs = trace.vertices.map(() => []);
for (const edge of trace.edges) {
  inputs[edge.target].push(edge);
  outputs[edge.source].push(edge);
}

/** Modules around a vertex, from the outside in. */
function around(module) {
  const chain = [];
  for (let m = module; m !== null; m = trace.modules[m].parent) chain.unshift(m);
  return chain;
}

const norms = trace.vertices.map((v) => (v.gradient ? v.gradient.norm : null)).filter((n) => typeof n === "number" && n > 0);
const largest = Math.log10(Math.max(...norms, 1e-30));
const smallest = Math.log10(Math.min(...norms, 1e30));

/** A gradient's size as a bar on a logarithmic scale, and words where something is wrong. */
function flow(summary) {
  if (!summary) return null;
  const bad = summary.nans ? "NaN" : summary.infinities ? "∞" : null;
  const norm = summary.norm;
  const wrong = bad || (norm === 0 ? "vanished" : norm < 1e-7 ? "vanishing" : norm > 1e4 ? "exploding" : null);
  const made = element("span", { class: "flow" + (wrong ? " alarm" : ""), title: "norm of the gradient" });
  made.append((wrong ? wrong + " " : "") + "∇ " + number(norm));
  if (!bad && norm > 0) {
    const part = largest > smallest ? 8 + (92 * (Math.log10(norm) - smallest)) / (largest - smallest) : 100;
    const bar = element("i");
    bar.style.setProperty("--part", part.toFixed(0) + "%");
    made.append(bar);
  }
  return made;
}

// ---- the computation, a row an operation -----------------------------------------------------

let rows = []; // {key, vertex?, module?, depth, members}
let rowOf = new Map(); // vertex id -> index of the row that stands for it

function shownVertices() {
  // parameters and constants are told in the panel of the operation that uses them
  return trace.vertices.filter((v) => v.kind === "op" || v.kind === "input");
}

function layout() {
  rows = [];
  rowOf = new Map();
  const headers = new Map();
  for (const vertex of shownVertices()) {
    const first = vertex.kind === "input" ? [] : around(vertex.module);
    let folded = null;
    first.forEach((module, depth) => {
      if (folded !== null) return;
      if (!headers.has(module)) {
        headers.set(module, rows.length);
        rows.push({ key: "m" + module, module, depth, members: [] });
      }
      rows[headers.get(module)].members.push(vertex.id);
      if (!state.open.has(module)) folded = module;
    });
    if (folded !== null) rowOf.set(vertex.id, headers.get(folded));
    else {
      rowOf.set(vertex.id, rows.length);
      rows.push({ key: "v" + vertex.id, vertex, depth: first.length, members: [vertex.id] });
    }
  }
}

const MOST_ROWS = 4000; // beyond it a browser stops being quick; folding shows the rest

function drawGraph() {
  layout();
  const holder = $("graph");
  const wanted = matcher($("search").value);
  const list = rows.slice(0, MOST_ROWS).map((row, i) => drawRow(row, i, wanted));
  $("graph-hint").textContent =
    (trace.steps.length ? "" : NOT_COMPUTED + ". ") +
    (rows.length > MOST_ROWS ? `${rows.length - MOST_ROWS} more rows; fold modules to see them. ` : "") +
    "Click a row; ↑ ↓ move, Enter folds.";
  const arcs = drawing("svg", { id: "arcs", height: 24 * list.length, "aria-hidden": "true" });
  holder.replaceChildren(arcs, ...list);
  drawArcs();
}

function drawRow(row, index, wanted) {
  const line = element("div", { class: "row", role: "treeitem", id: "row-" + row.key, "aria-level": row.depth + 1 });
  line.style.paddingLeft = 66 + 14 * row.depth + "px";
  if (row.vertex) {
    const v = row.vertex;
    const name = v.kind === "input" ? visible(v.name) : v.symbol && v.symbol !== v.name ? visible(v.symbol) : visible(v.name);
    line.classList.add("kind-" + v.kind);
    if (trace.outputs.includes(v.id)) line.classList.add("is-output");
    line.append(element("span", { class: "fold" }, v.kind === "input" ? "○" : "·"), element("span", { class: "what" }, name));
    const heads = v.heads ? `  ${v.heads[1]} heads` : "";
    line.append(element("span", { class: "note" }, shape(v.shape) + heads));
    if (v.value && (v.value.nans || v.value.infinities)) line.append(element("span", { class: "alarm" }, v.value.nans ? "NaN" : "∞"));
    const size = flow(v.gradient);
    if (size) line.append(size);
    if (v.id === state.chosen) line.classList.add("chosen");
  } else {
    const module = trace.modules[row.module];
    const open = state.open.has(row.module);
    line.setAttribute("aria-expanded", String(open));
    line.append(element("span", { class: "fold" }, open ? "▾" : "▸"), element("span", { class: "module" }, visible(module.path || module.kind)));
    line.append(element("span", { class: "note" }, (module.path ? visible(module.kind) : "") + (open ? "" : `  ${row.members.length} operations`)));
    const last = trace.vertices[row.members[row.members.length - 1]];
    const size = open ? null : flow(last.gradient);
    if (size) line.append(size);
  }
  if (wanted && !row.members.some((id) => wanted(trace.vertices[id]))) line.classList.add("miss");
  if (state.step >= 0) markBackward(line, row);
  line.addEventListener("click", () => press(row));
  line.addEventListener("mouseenter", () => drawArcs(index));
  line.addEventListener("mouseleave", () => drawArcs());
  return line;
}

function press(row) {
  if (row.vertex) choose(row.vertex.id, true);
  else {
    if (state.open.has(row.module)) state.open.delete(row.module);
    else state.open.add(row.module);
    drawGraph();
    $("row-" + row.key).scrollIntoView({ block: "nearest" });
  }
}

/** Curves from the rows of the inputs; those of one row stand out. */
function drawArcs(over = null) {
  const lit = over !== null ? over : state.chosen !== null ? rowOf.get(state.chosen) : null;
  const seen = new Map();
  for (const edge of trace.edges) {
    const from = rowOf.get(edge.source), to = rowOf.get(edge.target);
    if (from === undefined || to === undefined || from === to || from >= MOST_ROWS || to >= MOST_ROWS) continue;
    seen.set(from + ":" + to, [from, to]);
  }
  const paths = [...seen.values()].map(([from, to]) => {
    const y0 = 24 * from + 12, y1 = 24 * to + 12, reach = 62 - Math.min(56, 8 + 3 * Math.abs(to - from));
    const path = drawing("path", { d: `M62 ${y0} C${reach} ${y0} ${reach} ${y1} 62 ${y1}` });
    if (to === lit) path.setAttribute("class", "in");
    else if (from === lit) path.setAttribute("class", "out");
    return path;
  });
  const arcs = $("arcs");
  if (arcs) arcs.replaceChildren(...paths);
}

function reveal(id) {
  for (const module of around(trace.vertices[id].module)) state.open.add(module);
}

function choose(id, show) {
  state.chosen = id;
  if (!rowOf.has(id) || rows[rowOf.get(id)].vertex === undefined) reveal(id);
  drawGraph();
  drawDetails();
  if (show) openTab("details");
  const row = rowOf.get(id);
  if (row !== undefined) $("row-" + rows[row].key)?.scrollIntoView({ block: "nearest" });
}

// ---- search ---------------------------------------------------------------------------------

/** `op:softmax head:3 layer:1 words`: every part must fit. null: nothing is asked for. */
function matcher(query) {
  const parts = query.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (!parts.length) return null;
  const tests = parts.map((part) => {
    const [, key, value] = part.match(/^(op|layer|head|module):(.*)$/) || [null, "", part];
    if (key === "op") return (v) => v.name.toLowerCase().includes(value);
    if (key === "module") return (v) => modulePath(v.module).toLowerCase().includes(value);
    if (key === "layer") return (v) => modulePath(v.module).split(".").includes(value);
    if (key === "head") return (v) => v.heads !== null && Number(value) <= v.heads[1];
    return (v) => (v.name + " " + v.symbol + " " + modulePath(v.module)).toLowerCase().includes(value);
  });
  return (v) => tests.every((test) => test(v));
}

function search() {
  const query = $("search").value;
  const wanted = matcher(query);
  if (wanted) for (const v of shownVertices()) if (wanted(v)) reveal(v.id);
  const head = query.match(/\bhead:(\d+)/), layer = query.match(/\blayer:(\d+)/);
  if (head || layer) {
    const found = trace.attentions.findIndex((a) => !layer || modulePath(a.module).split(".").includes(layer[1]));
    if (found >= 0) {
      const last = trace.attentions[found].lanes.length - 1;
      look(found, head ? Math.min(Math.max(Number(head[1]) - 1, 0), last) : 0);
    }
  }
  drawGraph();
  const first = wanted && rows.findIndex((row) => row.vertex && wanted(row.vertex));
  if (wanted && first >= 0) $("row-" + rows[first].key)?.scrollIntoView({ block: "nearest" });
}

// ---- one operation ----------------------------------------------------------------------------

function summaryWords(summary, elements) {
  if (!summary) return null;
  const words = [`norm ${number(summary.norm)}`, `mean ${number(summary.mean)}`, `std ${number(summary.std)}`,
    `from ${number(summary.low)} to ${number(summary.high)}`];
  if (summary.nans) words.push(`${summary.nans} nan`);
  if (summary.infinities) words.push(`${summary.infinities} infinite`);
  return words.join("   ") + (elements && elements.length <= 16 ? `   [${elements.map(number).join(", ")}]` : "");
}

function link(id) {
  const v = trace.vertices[id];
  const words = `${visible(v.name)} ${v.kind === "constant" ? "" : shape(v.shape)}`;
  if (v.kind !== "op" && v.kind !== "input") return element("span", {}, words);
  return element("button", { class: "link", type: "button", onclick: () => choose(id, true) }, words);
}

function drawDetails() {
  const panel = $("view-details");
  if (state.chosen === null) {
    panel.replaceChildren(element("p", { class: "hint" }, "Choose an operation on the left to see its formula, its values and its gradient."));
    return;
  }
  const v = trace.vertices[state.chosen];
  const facts = element("dl");
  const fact = (name, ...content) => facts.append(element("dt", {}, name), element("dd", {}, ...content));
  fact("module", visible(modulePath(v.module) || "–"));
  fact("shape", `${shape(v.shape)}   ${v.dtype}` + (v.heads ? `   axis ${v.heads[0]} is the heads'` : ""));
  for (const [name, value] of Object.entries(v.options)) fact(visible(name), visible(value));
  fact("value", summaryWords(v.value, v.elements) || "not computed");
  fact("gradient", v.gradient ? summaryWords(v.gradient, v.gradient_elements) : "not computed");
  if (v.written) fact("written in", element("code", {}, `${visible(v.written[0], 200)}:${v.written[1]}`));
  if (v.made) fact("ran at", element("code", {}, `${visible(v.made[0], 200)}:${v.made[1]}`));
  const parts = [element("h2", {}, visible(v.name))];
  if (v.formula) parts.push(element("div", { class: "formula" }, v.formula));
  parts.push(facts);
  if (inputs[v.id].length) {
    parts.push(element("h3", {}, "Inputs, and what flows back to them"));
    for (const edge of inputs[v.id]) {
      const line = element("div", {}, `${edge.slot}: `, link(edge.source));
      parts.push(line);
      if (edge.rule && edge.gradient !== null) parts.push(element("div", { class: "formula" }, `${edge.rule}`, element("span", { class: "hint" }, `     norm ${number(edge.gradient)}`)));
      else if (edge.rule) parts.push(element("div", { class: "formula" }, edge.rule));
    }
  }
  if (outputs[v.id].length) {
    parts.push(element("h3", {}, outputs[v.id].length > 1 ? "Used by: gradients from all of them add up" : "Used by"));
    for (const edge of outputs[v.id]) parts.push(element("div", {}, link(edge.target), ` as ${edge.slot}`));
  }
  panel.replaceChildren(...parts);
}

// ---- heads ------------------------------------------------------------------------------------

const COLUMNS = [
  ["head", (a, l) => a.id * 1000 + l.head, (a, l) => `${visible(modulePath(a.module))}  head ${l.head + 1}`],
  ["entropy", (a, l) => l.entropy], ["peak", (a, l) => l.peak], ["to self", (a, l) => l.to_self],
  ["previous", (a, l) => l.to_previous], ["first", (a, l) => l.to_first],
  ["‖contribution‖", (a, l) => l.contribution], ["‖gradient‖", (a, l) => l.gradient],
];

function paintMap(canvas, lane) {
  const high = lane.weights.length, wide = high ? lane.weights[0].length : 0;
  canvas.width = Math.max(wide, 1);
  canvas.height = Math.max(high, 1);
  const context = canvas.getContext("2d");
  const top = Math.max(...lane.weights.flat(), 1e-12);
  lane.weights.forEach((row, i) => row.forEach((w, j) => {
    context.fillStyle = lane.visible[i][j] ? css(viridis(w / top)) : getComputedStyle(document.body).getPropertyValue("--masked");
    context.fillRect(j, i, 1, 1);
  }));
}

function drawGrid() {
  const grid = $("grid");
  const parts = [];
  for (const attention of trace.attentions) {
    parts.push(element("h3", {}, visible(modulePath(attention.module) || "attention")));
    for (const lane of attention.lanes) {
      if (state.hidden.has(attention.id + ":" + lane.head)) continue;
      const pressed = attention.id === state.attention && lane.head === state.head;
      const button = element("button", { class: "head", type: "button", "aria-pressed": String(pressed), onclick: () => look(attention.id, lane.head) });
      button.style.setProperty("--tone", tone(lane.head));
      const canvas = element("canvas", { role: "img", "aria-label": `attention map of head ${lane.head + 1}` });
      paintMap(canvas, lane);
      button.append(element("b", {}, `head ${lane.head + 1}`), canvas, element("span", {}, `entropy ${number(lane.entropy)}  peak ${number(lane.peak)}`));
      parts.push(button);
    }
  }
  if (!trace.attentions.length) parts.push(element("p", { class: "hint" }, "There is no multi-head attention in this computation."));
  grid.replaceChildren(...parts);
}

function look(attention, head) {
  state.attention = attention;
  state.head = head;
  drawGrid();
  drawLarge();
}

function drawLarge() {
  const attention = trace.attentions[state.attention];
  const holder = $("large");
  if (!attention) return holder.replaceChildren();
  const lane = attention.lanes[state.head];
  const high = lane.rows.length, wide = lane.columns.length;
  const reading = element("div", { id: "reading" });
  const title = element("p", {}, element("b", {}, `${visible(modulePath(attention.module) || "attention")}, head ${lane.head + 1}`));
  title.firstChild.style.color = tone(lane.head);
  if (!high) return holder.replaceChildren(title);
  const side = Math.max(5, Math.min(26, Math.floor(440 / Math.max(high, wide))));
  const named = side >= 9;
  const left = named ? 10 + 7 * Math.max(...lane.rows.map((t) => token(t).length)) : 4;
  const above = named ? (Math.max(...lane.columns.map((t) => token(t).length)) > 2 ? 52 : 16) : 4;
  const svg = drawing("svg", { width: left + side * wide + 2, height: above + side * high + 2, viewBox: `0 0 ${left + side * wide + 2} ${above + side * high + 2}`, role: "img", "aria-label": `attention of head ${lane.head + 1}, queries down, keys across` });
  const defs = drawing("defs");
  const pattern = drawing("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(drawing("rect", { width: 5, height: 5, fill: "var(--masked)" }), drawing("line", { x1: 0, y1: 0, x2: 0, y2: 5, stroke: "var(--line)" }));
  defs.append(pattern);
  svg.append(defs);
  const top = Math.max(...lane.weights.flat(), 1e-12);
  const rowNames = [], columnNames = [];
  if (named) {
    lane.rows.forEach((t, i) => svg.append((rowNames[i] = drawing("text", { x: left - 5, y: above + side * i + side / 2 + 4, "text-anchor": "end" }, token(t)))));
    lane.columns.forEach((t, j) => {
      const x = left + side * j + side / 2;
      const turned = above > 20 ? { transform: `rotate(-50 ${x} ${above - 5})`, "text-anchor": "start" } : { "text-anchor": "middle" };
      svg.append((columnNames[j] = drawing("text", { x, y: above - 5, ...turned }, token(t))));
    });
  }
  const say = (i, j) => {
    svg.querySelectorAll(".lit").forEach((e) => e.classList.remove("lit"));
    rowNames[i]?.classList.add("lit");
    columnNames[j]?.classList.add("lit");
    cells[i][j].classList.add("lit");
    const seen = lane.visible[i][j];
    const words = seen ? `weight ${lane.weights[i][j].toFixed(4)}` : "masked: not to be seen";
    $("cell").textContent = `query ${token(lane.rows[i])} (${i})  →  key ${token(lane.columns[j])} (${j}):  ${words}`;
  };
  const cells = lane.weights.map((row, i) => row.map((w, j) => {
    const fill = lane.visible[i][j] ? css(viridis(w / top)) : "url(#hatch)";
    const cell = drawing("rect", { class: "cell", x: left + side * j, y: above + side * i, width: side - 1, height: side - 1, fill });
    cell.addEventListener("mouseenter", () => say(i, j));
    cell.addEventListener("click", () => say(i, j));
    svg.append(cell);
    return cell;
  }));
  const scale = element("div", { class: "scale" });
  scale.style.background = `linear-gradient(to right, ${VIRIDIS.map(css).join(",")})`;
  const line = (words) => element("p", {}, words);
  reading.append(title, element("p", { id: "cell" }, "Point at a cell."), scale, element("p", { class: "hint" }, `0 to ${number(top)}; hatched: masked` + (attention.pooled > 1 ? `; each cell is the mean of ${attention.pooled}×${attention.pooled}` : "")),
    line(`entropy ${number(lane.entropy)} bits, peak ${number(lane.peak)}`),
    line(`on itself ${number(lane.to_self)}, on the previous ${number(lane.to_previous)}, on the first ${number(lane.to_first)}`),
    line(`‖contribution‖ ${number(lane.contribution)}`),
    line(lane.gradient === null ? NOT_COMPUTED : `‖gradient‖ ${number(lane.gradient)}`));
  holder.replaceChildren(svg, reading);
}

function drawTable() {
  const all = trace.attentions.flatMap((a) => a.lanes.map((l) => [a, l]));
  if (state.sort) {
    const value = COLUMNS[state.sort.column][1];
    all.sort((p, q) => state.sort.sign * ((value(...p) ?? -Infinity) - (value(...q) ?? -Infinity)));
  }
  const head = element("tr");
  COLUMNS.forEach(([name], k) => {
    const cell = element("th", { scope: "col" }, element("button", { type: "button", onclick: () => sortBy(k) }, name));
    if (state.sort && state.sort.column === k) cell.setAttribute("aria-sort", state.sort.sign > 0 ? "ascending" : "descending");
    head.append(cell);
  });
  head.append(element("th", { scope: "col" }, "shown"), element("th", { scope: "col" }, ""));
  const body = all.map(([a, l]) => {
    const key = a.id + ":" + l.head;
    const row = element("tr", { class: state.hidden.has(key) ? "off" : "" });
    COLUMNS.forEach(([, value, words]) => row.append(element("td", {}, words ? words(a, l) : number(value(a, l)))));
    const box = element("input", { type: "checkbox", "aria-label": `show head ${l.head + 1} of ${visible(modulePath(a.module))}`, onchange: () => toggle(key) });
    box.checked = !state.hidden.has(key);
    row.append(element("td", {}, box), element("td", {}, element("button", { type: "button", onclick: () => solo(a, l) }, "solo")));
    return row;
  });
  $("head-table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
  $("head-table").hidden = !all.length;
}

function sortBy(column) {
  const again = state.sort && state.sort.column === column;
  state.sort = { column, sign: again ? -state.sort.sign : column === 0 ? 1 : -1 };
  drawTable();
}

function toggle(key) {
  if (state.hidden.has(key)) state.hidden.delete(key);
  else state.hidden.add(key);
  drawGrid();
  drawTable();
}

/** Show one head alone; a second time, all again. */
function solo(attention, lane) {
  const key = attention.id + ":" + lane.head;
  const others = trace.attentions.flatMap((a) => a.lanes.map((l) => a.id + ":" + l.head)).filter((k) => k !== key);
  const already = others.every((k) => state.hidden.has(k)) && !state.hidden.has(key);
  state.hidden = new Set(already ? [] : others);
  drawTable();
  look(attention.id, lane.head);
}

// ---- backward, step by step ---------------------------------------------------------------------

function markBackward(line, row) {
  const done = trace.steps.slice(0, state.step);
  if (row.members.includes(trace.steps[state.step]?.vertex)) line.classList.add("now");
  if (row.vertex && done.some((s) => s.vertex === row.vertex.id && s.freed.length)) line.classList.add("freed");
}

function goTo(step) {
  if (!trace.steps.length) return;
  state.step = Math.max(0, Math.min(trace.steps.length - 1, step));
  reveal(trace.steps[state.step].vertex);
  drawGraph();
  drawStep();
  const row = rowOf.get(trace.steps[state.step].vertex);
  if (row !== undefined) $("row-" + rows[row].key)?.scrollIntoView({ block: "center" });
}

function drawStep() {
  const panel = $("step");
  for (const id of ["first", "back", "forth", "play", "slider"]) $(id).disabled = !trace.steps.length;
  if (!trace.steps.length) {
    $("position").textContent = "";
    panel.replaceChildren(element("p", {}, NOT_COMPUTED + ". Trace a loss, or pass gradient=, to walk through its backward pass."));
    return;
  }
  $("slider").max = trace.steps.length - 1;
  $("slider").value = Math.max(state.step, 0);
  $("position").textContent = `${state.step + 1} / ${trace.steps.length}`;
  if (state.step < 0) {
    panel.replaceChildren(element("p", { class: "hint" }, "→ begins at the output, with gradient 1, and goes through the operations in the engine's own order."));
    return;
  }
  const step = trace.steps[state.step];
  const v = trace.vertices[step.vertex];
  const list = element("ul");
  for (const [target, slot, rule, norm, met] of step.flows) {
    list.append(element("li", {}, `to ${slot}: `, link(target), element("div", { class: "formula" }, rule || "–"),
      element("span", { class: norm === 0 || typeof norm !== "number" ? "alarm" : "hint" }, `norm ${number(norm)}` + (met ? "   += another path had arrived there before" : ""))));
  }
  panel.replaceChildren(
    element("h2", {}, `${visible(v.name)} ${shape(v.shape)}`),
    element("p", { class: "hint" }, visible(modulePath(v.module))),
    element("div", { class: "formula" }, v.formula),
    element("p", {}, `Incoming gradient: norm ${number(step.incoming)}. It sends`),
    list,
    element("p", { class: "hint" }, step.freed.length ? `used and freed: ${step.freed.join(", ")}` : "nothing was saved for it"),
  );
}

function play() {
  const button = $("play");
  if (state.playing) {
    clearInterval(state.playing);
    state.playing = 0;
  } else {
    state.playing = setInterval(() => {
      if (state.step >= trace.steps.length - 1) play();
      else goTo(state.step + 1);
    }, 700);
  }
  button.setAttribute("aria-pressed", String(Boolean(state.playing)));
  button.textContent = state.playing ? "Pause" : "Play";
}

// ---- tabs, keys, start ----------------------------------------------------------------------------

const TABS = ["heads", "details", "backward"];

function openTab(name) {
  state.tab = name;
  for (const tab of TABS) {
    $("view-" + tab).hidden = tab !== name;
    $("tab-" + tab).setAttribute("aria-selected", String(tab === name));
    $("tab-" + tab).tabIndex = tab === name ? 0 : -1;
  }
}

function keys(event) {
  if (event.target.matches("input[type=search], input[type=range]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const tab = event.target.closest('[role="tab"]');
  if (tab && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
    const next = TABS[(TABS.indexOf(state.tab) + (event.key === "ArrowRight" ? 1 : TABS.length - 1)) % TABS.length];
    openTab(next);
    $("tab-" + next).focus();
  } else if (event.key === "/") {
    $("search").focus();
  } else if (state.tab === "backward" && event.key === "ArrowRight") goTo(state.step + 1);
  else if (state.tab === "backward" && event.key === "ArrowLeft") goTo(state.step - 1);
  else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && $("graph").contains(event.target)) move(event.key === "ArrowDown" ? 1 : -1);
  else if (event.key === "Enter" && event.target === $("graph")) {
    const row = rows[cursor];
    if (row) press(row);
    if (row && row.vertex) return;
    drawCursor();
  } else return;
  event.preventDefault();
}

let cursor = -1;

function move(by) {
  cursor = Math.max(0, Math.min(rows.length - 1, cursor + by));
  const row = rows[cursor];
  if (row.vertex) {
    state.chosen = row.vertex.id;
    drawDetails();
  }
  drawGraph();
  drawCursor();
}

function drawCursor() {
  const line = rows[cursor] && $("row-" + rows[cursor].key);
  if (!line) return;
  line.classList.add("chosen");
  $("graph").setAttribute("aria-activedescendant", line.id);
  line.scrollIntoView({ block: "nearest" });
}

function start() {
  $("title").textContent = visible(trace.title, 120);
  const operations = trace.vertices.filter((v) => v.kind === "op").length;
  const parameters = trace.vertices.filter((v) => v.kind === "parameter").reduce((sum, v) => sum + v.shape.reduce((a, b) => a * b, 1), 0);
  $("facts").textContent = `${operations} operations, ${parameters.toLocaleString("en")} parameters, ` + (trace.steps.length ? "gradient: computed" : NOT_COMPUTED);
  for (const a of trace.attentions) {
    const { output, gradient, tolerance } = a.proof;
    const holds = output <= tolerance && (gradient === null || gradient <= tolerance);
    const words = `${visible(modulePath(a.module) || "attention")}: ` + (holds ? "✓ lanes add up" : "✗ THE LANES DO NOT ADD UP");
    const item = element("li", { class: holds ? "" : "broken", title: `largest difference of the output ${number(output)}, of the gradients ${gradient === null ? "not computed" : number(gradient)}` }, words);
    $("proofs").append(item);
  }
  // the outermost modules open, and those around attention, as in the picture
  for (const module of trace.modules) if (module.parent === null || operations <= 60) state.open.add(module.id);
  for (const tab of TABS) $("tab-" + tab).addEventListener("click", () => openTab(tab));
  // on the tabs themselves ← → change tabs; in the player they step
  $("tab-backward").addEventListener("click", () => $("forth").focus());
  $("search").addEventListener("input", search);
  $("expand").addEventListener("click", () => { trace.modules.forEach((m) => state.open.add(m.id)); drawGraph(); });
  $("collapse").addEventListener("click", () => { state.open = new Set(trace.modules.filter((m) => m.parent === null).map((m) => m.id)); drawGraph(); });
  $("first").addEventListener("click", () => goTo(0));
  $("back").addEventListener("click", () => goTo(state.step - 1));
  $("forth").addEventListener("click", () => goTo(state.step + 1));
  $("play").addEventListener("click", play);
  $("slider").addEventListener("input", (event) => goTo(Number(event.target.value)));
  document.addEventListener("keydown", keys);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawGrid);
  openTab(trace.attentions.length ? "heads" : "details");
  drawGraph();
  drawDetails();
  drawGrid();
  drawLarge();
  drawTable();
  drawStep();
}

start();
