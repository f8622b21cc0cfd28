// The drawing: boxes, paths, and what a hand does with them (drag, pinch, wheel, keys).

const NEAR = 3, FAR = 0.05; // how much one can zoom
const canvas = $("canvas");
const world = $("world");
const sight = { x: 0, y: 0, k: 1 }; // where the drawing's origin is seen, and how large
let drawn = { boxes: new Map(), paths: [], w: 0, h: 0, simple: false };
let figures = new Map(); // key of an item → its <g>

// ---- drawing -------------------------------------------------------------------------------

/** Lay out anew and draw; the thing `still` keeps its place on the screen. */
function drawGraph(still = null) {
  const before = still && drawn.boxes.get(still);
  drawn = layout();
  const after = still && drawn.boxes.get(still);
  if (before && after) {
    sight.x += (before.x - after.x) * sight.k;
    sight.y += (before.y - after.y) * sight.k;
  }
  const frames = [], closed = [];
  figures = new Map();
  for (const box of drawn.boxes.values()) {
    const figure = box.open ? drawFrame(box) : drawBox(box);
    figures.set(box.item.key, figure);
    (box.open ? frames : closed).push(figure);
  }
  const lines = drawn.paths.map(drawPath);
  const titles = [...drawn.boxes.values()].filter((box) => box.open).map(drawTitle);
  const norms = state.gradients ? drawn.paths.map(drawNorm).filter(Boolean) : [];
  world.replaceChildren(...frames, ...lines, ...titles, ...closed, ...norms);
  const folded = [...drawn.boxes.values()].some((box) => !box.open && isGroup(box.item));
  $("graph-status").textContent =
    (drawn.simple ? "Layout took too long: part of this is simply in rows. " : "") +
    `${drawn.boxes.size} of ${many(model.items.size, "thing")} drawn` + (folded ? "; ▸ opens a group" : "");
  aim();
  tell("drawn");
}

/** A path through points from above to below: upright at each of them. */
function curve([first, ...rest]) {
  const show = (x) => x.toFixed(1);
  let { x, y } = first;
  let d = `M${show(x)} ${show(y)}`;
  for (const next of rest) {
    const bend = (next.y - y) / 2;
    d += next.x === x ? ` V${show(next.y)}` : ` C${show(x)} ${show(y + bend)} ${show(next.x)} ${show(next.y - bend)} ${show(next.x)} ${show(next.y)}`;
    ({ x, y } = next);
  }
  return d;
}

/** Norm of what flows back along links: of the largest, where several are drawn as one. */
function normOfLinks(links) {
  const whole = new Map(); // edge without parts for the heads → its links: all heads' together are the edge
  let norm = null;
  for (const link of links) {
    const lane = laneOf(link), parts = link.edge.head_gradients;
    if (!lane) norm = largerNorm(norm, link.edge.gradient);
    else if (parts && parts.length === lane.attention.lanes.length) norm = largerNorm(norm, parts[lane.head]);
    else whole.set(link.edge, (whole.get(link.edge) ?? new Set()).add(lane.head)); // keys may be shared by heads
  }
  for (const [edge, heads] of whole) if (heads.size === laneOf(links.find((l) => l.edge === edge)).attention.lanes.length) norm = largerNorm(norm, edge.gradient);
  return norm;
}

/** The end of a link that lies in a lane. */
const laneOf = ({ from, to }) => (from.head !== null ? from : to.head !== null ? to : null);

/** What was computed for all heads together only, among links of one head. */
const normOfAll = (links) => links.reduce((norm, link) => largerNorm(norm, link.edge.gradient), null);

function drawPath(path) {
  const { links, points } = path;
  const elements = Math.max(...links.map((l) => count(trace.vertices[l.edge.source].shape)));
  const width = 1 + Math.min(4, 0.7 * Math.log10(Math.max(elements, 1)));
  const norm = normOfLinks(links);
  const verdict = state.gradients ? judge(norm) : null;
  const together = norm === null ? normOfAll(links) : null;
  const word = verdict && together !== null ? "together" : verdict?.word ?? "";
  const line = drawing("path", { d: curve(points), class: "edge " + word, "stroke-width": width.toFixed(1) });
  if (verdict && verdict.share !== null) line.style.stroke = flowColour(verdict.share);
  const group = drawing("g", { class: "link" }, line);
  group.path = path;
  const last = points[points.length - 1], up = last.y < points[points.length - 2].y ? -1 : 1;
  if (typeof path.to !== "string" && !(isGroup(path.to) && isOpen(path.to))) {
    const head = drawing("path", { class: "tip", d: `M0 0 L-3.5 ${-7 * up} L3.5 ${-7 * up} Z`, transform: `translate(${last.x.toFixed(1)} ${last.y.toFixed(1)})` });
    if (line.style.stroke) head.style.fill = line.style.stroke;
    group.append(head);
  }
  const slots = [...new Set(links.map((l) => `${vertexName(trace.vertices[l.edge.source])} → ${visible(l.edge.slot)}`))].slice(0, 4);
  const known = together === null ? NOT_COMPUTED : `gradient: not known per head; norm for all heads ${number(together)}`;
  const flows = norm === null ? known : `norm of the gradient ${number(norm)}`;
  group.append(drawing("title", {}, `${slots.join(", ")}\n${shape(trace.vertices[links[0].edge.source].shape)}\n${flows}`));
  return group;
}

/** The norm beside a path, where it leaves a closed box. */
function drawNorm({ from, links, points, aside }) {
  const norm = normOfLinks(links);
  if (norm === null || typeof from === "string" || (isGroup(from) && isOpen(from))) return null;
  const { mark, word } = judge(norm);
  const words = ["NaN", "∞", "0"].includes(mark) ? mark : `${mark} ${number(norm)}`.trim();
  const [first, next] = points;
  // nearer to where it leaves: lines of different boxes cross in the middle
  const at = points.length > 2 ? next : { x: first.x + 0.3 * (next.x - first.x), y: (first.y + next.y) / 2 };
  const left = aside < 0; // of twins, the left one
  return drawing("text", { class: "norm " + word, x: at.x + (left ? -5 : 5), y: at.y + 3, "text-anchor": left ? "end" : "start" }, words);
}

/** What an item is said to be by a screen reader. */
function spoken(item, { title, note }) {
  const kind = { module: "module", lane: "attention", strip: "heads", repeat: "repeated modules", run: "run of operations", op: "operation", leaf: "value" }[item.kind];
  const bad = item.vertex !== null && marksOf(item);
  return [title, kind, note, bad].filter(Boolean).join(", ");
}

const marksOf = (item) => {
  const v = trace.vertices[item.vertex];
  return v.value && v.value.nans ? "NaN" : v.value && v.value.infinities ? "∞" : "";
};

/** Files of operations, as kinds that are told apart at a glance. */
const KINDS = {
  linalg: "product", products: "product", einsum: "product", attention: "product",
  activation: "function", arithmetic: "function", choice: "function", compare: "function", elementwise: "function", functions: "function",
  cumulative: "normal", normalize: "normal", norms: "normal", reduce: "normal", reduction: "normal", statistics: "normal",
  cross_entropy: "loss", distance: "loss", loss: "loss",
};

function kindOf(v) {
  if (v.kind !== "op") return v.kind;
  const file = v.written ? v.written[0].split(/[\\/]/).pop().replace(/\.py$/, "") : "";
  return KINDS[file] ?? "shape";
}

function figureOf(box, name, ...content) {
  const { item } = box;
  const expandable = isGroup(item);
  const figure = drawing("g", {
    class: name, transform: `translate(${box.x.toFixed(1)} ${box.y.toFixed(1)})`, role: "button", tabindex: -1,
    "aria-label": spoken(item, box), "aria-expanded": expandable ? String(box.open) : null, "data-key": item.key,
  }, ...content);
  if (item.head !== null) figure.style.setProperty("--tone", tone(item.head));
  return figure;
}

function foldSign(box, y) {
  const sign = drawing("g", { class: "fold" }, drawing("rect", { x: 0, y: y - 13, width: 26, height: 26 }),
    drawing("text", { x: 9, y: y + 4 }, box.open ? "▾" : "▸"));
  return sign;
}

function drawFrame(box) {
  const { item, w, h, depth } = box;
  return figureOf(box, `frame ${item.kind} depth-${depth % 6}`, drawing("rect", { width: w, height: h, rx: 7 }), foldSign(box, 12));
}

/** The words on a frame: over the paths that cross its border. */
function drawTitle({ item, x, y, title, note, depth }) {
  const words = drawing("text", { class: `title on-${depth % 6}`, x: x + 23, y: y + 17 }, title, drawing("tspan", { class: "note", dx: 8 }, note));
  if (item.head !== null) words.style.fill = tone(item.head);
  return words;
}

function drawBox(box) {
  const { item, w, h, title, note } = box;
  const v = item.vertex === null ? null : trace.vertices[item.vertex];
  if (hasMap(item)) return drawMapBox(box, v);
  const names = ["box", item.kind, v ? "kind-" + kindOf(v) : "", v && isOutput(v.id) ? "is-output" : ""];
  const parts = [];
  if (item.kind === "repeat" || item.kind === "strip" || item.kind === "run") {
    for (const shift of [6, 3]) parts.push(drawing("rect", { class: "behind", x: shift, y: shift, width: w, height: h, rx: 6 }));
  }
  parts.push(drawing("rect", { class: "body", width: w, height: h, rx: v && v.kind !== "op" ? h / 2 : 6 }));
  if (v && v.kind === "op") parts.push(drawing("rect", { class: "kind", width: 4, height: h - 8, x: 3, y: 4, rx: 2 }));
  const middle = (isGroup(item) ? w + 14 : w + (v && v.kind === "op" ? 4 : 0)) / 2;
  parts.push(drawing("text", { class: "title", x: middle, y: note ? 16 : 17 }, title));
  const wrong = v ? marksOf(item) : "";
  if (note) parts.push(drawing("text", { class: "note", x: middle, y: 30 }, note, wrong ? drawing("tspan", { class: "wrong", dx: 5 }, wrong) : null));
  if (isGroup(item)) parts.push(foldSign(box, h / 2));
  if (v && savedOf(v).length) parts.push(drawing("circle", { class: "saved", cx: w - 2, cy: 2, r: 3.5 }, drawing("title", {}, `saved for backward: ${savedOf(v).map((s) => visible(s.name)).join(", ")}`)));
  return figureOf(box, names.join(" "), ...parts);
}

/** A closed head shows its map, and an open one shows it at its softmax. */
function drawMapBox(box, v) {
  const { item, w, h, title, note } = box;
  const lane = item.attention.lanes[item.head];
  const middle = (isGroup(item) ? w + 14 : w) / 2;
  const parts = [drawing("rect", { class: "body", width: w, height: h, rx: 6 }), drawing("text", { class: "title", x: middle, y: 17 }, title)];
  if (lane.weights.length) parts.push(drawing("image", { href: mapPicture(lane), x: (w - 80) / 2, y: 25, width: 80, height: 80, preserveAspectRatio: "none" }));
  else parts.push(drawing("text", { class: "note", x: w / 2, y: 68 }, "no weights"));
  parts.push(drawing("text", { class: "note", x: w / 2, y: 122 }, note));
  if (v) parts.push(drawing("rect", { class: "kind", width: 4, height: h - 8, x: 3, y: 4, rx: 2 }));
  else parts.push(foldSign(box, 12));
  return figureOf(box, v ? `box op lane kind-${kindOf(v)}` : "box lane", ...parts);
}

const outputs = new Set(trace.outputs);
const isOutput = (id) => outputs.has(id);

// ---- marks that need no new layout ----------------------------------------------------------

/** Boxes and paths that say: chosen, found, now in backward. */
function markGraph() {
  const chosen = state.chosen ? new Set(chosenItems().map((item) => shownAs(item).key)) : new Set();
  const hits = hitKeys();
  const { now, done, freed, flowing } = backwardMarks();
  for (const [key, figure] of figures) {
    const classes = { chosen: chosen.has(key), hit: hits && hits.has(key), miss: hits && !hits.has(key) && !figure.classList.contains("frame"),
      now: now.has(key), done: done.has(key), freed: freed.has(key) };
    for (const [name, yes] of Object.entries(classes)) figure.classList.toggle(name, Boolean(yes));
    figure.setAttribute("tabindex", key === cursorKey() ? 0 : -1);
  }
  for (const group of world.querySelectorAll(":scope > .link")) {
    const { links } = group.path;
    group.classList.toggle("out", chosen.size > 0 && links.some((l) => chosen.has(shownAs(l.from).key)));
    group.classList.toggle("in", chosen.size > 0 && links.some((l) => chosen.has(shownAs(l.to).key)));
    group.classList.toggle("flowing", flowing !== null && links.some((l) => flowing(l.edge)));
  }
}

/** The items that stand for what is chosen. */
function chosenItems() {
  if (!state.chosen) return [];
  const own = model.items.get(state.chosen.key);
  return own ? [own] : model.homes[state.chosen.vertex] ?? [];
}

let cursor = null; // key of what the arrow keys stand on

/** The figure that the tab key reaches: where the arrows were last, or the first. */
const cursorKey = () => (figures.has(cursor) ? cursor : figures.keys().next().value);

// ---- choosing and opening -------------------------------------------------------------------

function choose(chosen, { show = true, look = true } = {}) {
  state.chosen = chosen;
  const [item] = chosenItems();
  if (item) cursor = shownAs(item).key;
  tell("chosen");
  if (show) openTab("details");
  if (look && item) lookAt(shownAs(item).key);
}

/** Open or close a group. */
function toggle(item) {
  if (isOpen(item)) state.open.delete(item.key);
  else {
    const closed = openGroups([item]);
    if (closed) announce(`${many(closed, "other group")} folded, so that the picture stays readable`);
  }
  restructure(item.key);
}

/** Make an item visible: open what is around it. */
function reveal(item) {
  const closed = pathOf(item).filter((at) => at !== item && !isOpen(at));
  if (!closed.length) return;
  openGroups(closed);
  restructure(closed[0].key);
}

/** After a change of what is open. */
function restructure(still = null) {
  drawGraph(still);
  tell("structure");
}

/** After a change of what there is. */
function rebuild() {
  build();
  arranged.clear();
  restructure();
}

// ---- looking --------------------------------------------------------------------------------

function aim() {
  world.setAttribute("transform", `translate(${sight.x.toFixed(1)} ${sight.y.toFixed(1)}) scale(${sight.k.toFixed(4)})`);
  canvas.classList.toggle("far", sight.k < 0.45);
  tell("aimed");
}

const screen = () => ({ w: canvas.clientWidth || 600, h: canvas.clientHeight || 400 });

/** The whole drawing, if it can be read so; else its beginning, as large as it must be. */
function fit(whole = true) {
  const { w, h } = screen();
  const all = Math.min(w / (drawn.w + 8), h / (drawn.h + 8), 1.3);
  sight.k = Math.max(whole ? FAR : 0.55, all);
  sight.x = (w - drawn.w * sight.k) / 2;
  sight.y = Math.max(4, (h - drawn.h * sight.k) / 2);
  aim();
}

function zoom(by, x = screen().w / 2, y = screen().h / 2) {
  const k = Math.min(NEAR, Math.max(FAR, sight.k * by));
  sight.x = x - ((x - sight.x) * k) / sight.k;
  sight.y = y - ((y - sight.y) * k) / sight.k;
  sight.k = k;
  aim();
}

function pan(dx, dy) {
  sight.x += dx;
  sight.y += dy;
  aim();
}

/** Move so that a box is seen, if it is not. */
function lookAt(key, large = false) {
  const box = drawn.boxes.get(key);
  if (!box) return;
  const { w, h } = screen();
  if (large && sight.k < 0.6) sight.k = 0.8;
  const [x, y] = [box.x * sight.k + sight.x, box.y * sight.k + sight.y];
  const [wide, high] = [Math.min(box.w * sight.k, w - 40), Math.min(box.h * sight.k, h - 40)];
  if (x < 10 || x + wide > w - 10) sight.x += w / 2 - x - wide / 2;
  if (y < 10 || y + high > h - 10) sight.y += h / 2 - y - high / 2;
  aim();
}

// ---- hands ----------------------------------------------------------------------------------

const fingers = new Map(); // pointer id → where it is
let moved = 0; // since it went down: more than a tremble is no click

function touchDown(event) {
  if (event.button > 0) return;
  if (!fingers.size) moved = 0;
  fingers.set(event.pointerId, placeOf(event));
}

function placeOf(event) {
  const frame = canvas.getBoundingClientRect();
  return { x: event.clientX - frame.left, y: event.clientY - frame.top };
}

function touchMove(event) {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const now = placeOf(event);
  const others = [...fingers.entries()].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  fingers.set(event.pointerId, now);
  moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
  if (moved > 4 && !canvas.hasPointerCapture(event.pointerId)) canvas.setPointerCapture(event.pointerId);
  if (others.length === 1) { // two fingers: what lies between them stays between them
    const gap = (p, q) => Math.hypot(p.x - q.x, p.y - q.y) || 1;
    zoom(gap(now, others[0]) / gap(before, others[0]), (now.x + others[0].x) / 2, (now.y + others[0].y) / 2);
    pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  } else if (!others.length) pan(now.x - before.x, now.y - before.y);
}

function touchUp(event) {
  fingers.delete(event.pointerId);
}

function itemAt(event) {
  const figure = event.target.closest?.("[data-key]");
  return figure ? model.items.get(figure.dataset.key) : null;
}

function click(event) {
  if (moved > 4) return;
  const item = itemAt(event);
  if (!item) return;
  cursor = item.key;
  const pressed = event.target.closest(".fold") || event.detail !== 1; // twice, or by a screen reader
  if (isGroup(item) && pressed) toggle(item);
  else choose({ vertex: item.vertex, key: item.key }, { look: false });
  figures.get(item.key)?.focus({ preventScroll: true });
}

/** From a box to the nearest one in a direction. */
function step(dx, dy) {
  const from = drawn.boxes.get(cursorKey());
  if (!from) return;
  const centre = (box) => ({ x: box.x + (box.open ? 40 : box.w / 2), y: box.y + (box.open ? 12 : box.h / 2) });
  const start = centre(from);
  let best = null, least = Infinity;
  for (const box of drawn.boxes.values()) {
    if (box === from) continue;
    const at = centre(box);
    const along = (at.x - start.x) * dx + (at.y - start.y) * dy, aside = Math.abs((at.x - start.x) * dy) + Math.abs((at.y - start.y) * dx);
    if (along > 2 && along + 2 * aside < least) [best, least] = [box, along + 2 * aside];
  }
  if (!best) return;
  const { item } = best;
  choose({ vertex: item.vertex, key: item.key }, { show: state.tab === "details" });
  figures.get(item.key)?.focus({ preventScroll: true });
}

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** Keys in the drawing; true where one was meant for it. */
function graphKey(event) {
  const arrow = ARROWS[event.key];
  const item = model.items.get(cursorKey());
  if (arrow && event.shiftKey) pan(-60 * arrow[0], -60 * arrow[1]);
  else if (arrow) step(...arrow);
  else if ((event.key === "Enter" || event.key === " ") && item) {
    if (isGroup(item)) toggle(item);
    else choose({ vertex: item.vertex, key: item.key });
    figures.get(cursorKey())?.focus({ preventScroll: true });
  } else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") fit();
  else return false;
  return true;
}

function startGraph() {
  canvas.addEventListener("pointerdown", touchDown);
  canvas.addEventListener("pointermove", touchMove);
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, touchUp);
  canvas.addEventListener("click", click);
  canvas.addEventListener("focusin", (event) => (cursor = itemAt(event)?.key ?? cursor));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y } = placeOf(event);
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
  }, { passive: false });
  $("zoom-in").addEventListener("click", () => zoom(1.25));
  $("zoom-out").addEventListener("click", () => zoom(0.8));
  $("fit").addEventListener("click", () => fit());
  $("expand").addEventListener("click", () => {
    const whole = openLevels(LIMIT);
    if (!whole) announce(`Not everything fits: up to ${LIMIT} things are drawn at once. Open by hand what you want to see.`);
    restructure();
    fit(false);
  });
  $("collapse").addEventListener("click", () => {
    state.open.clear();
    openLevels(12);
    restructure();
    fit(false);
  });
  const lanesBox = $("lanes");
  lanesBox.disabled = !trace.attentions.length;
  lanesBox.checked = state.lanes;
  lanesBox.addEventListener("change", () => {
    state.lanes = lanesBox.checked;
    rebuild();
    drawLegend();
  });
  $("leaves").checked = state.leaves;
  $("leaves").addEventListener("change", () => {
    state.leaves = $("leaves").checked;
    rebuild();
  });
  $("gradients").addEventListener("change", () => {
    state.gradients = $("gradients").checked;
    drawGraph();
    drawLegend();
  });
  on("chosen searched stepped drawn", markGraph);
  on("heads", () => {
    if (dealAnew()) restructure();
    else rebuild();
  });
  on("theme", () => drawGraph());
  build();
  openFirst();
  drawGraph();
  fit(false);
  drawLegend();
}

/** What colours and widths mean. */
function drawLegend() {
  const kinds = [["product", "product"], ["function", "function"], ["normal", "normalization, reduction"], ["shape", "shape, index"], ["loss", "loss"], ["input", "input"], ["parameter", "parameter"]];
  const found = new Set(trace.vertices.map(kindOf));
  const chips = kinds.filter(([kind]) => found.has(kind)).map(([kind, words]) => element("span", { class: "sample" }, element("i", { class: "chip kind-" + kind }), words));
  const parts = [...chips, element("span", { class: "sample" }, element("i", { class: "chip is-output" }), "output"), element("span", { class: "sample" }, "● saved for backward"), element("span", { class: "sample" }, "a wider line: a larger tensor")];
  $("legend").replaceChildren(...parts, ...(state.gradients ? flowLegend() : []));
}
