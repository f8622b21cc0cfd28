// The boxes, frames and paths of the drawing, as elements.

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
  const sent = sentToSource(links);
  if (sent !== null) return sent;
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

/** Norm of what one head sends back to a value by all projections that read it, where `links` are all these ways. */
function sentToSource([first, ...others]) {
  const { head, attention } = first.to, { source } = first.edge;
  if (head === null || others.some((l) => l.to.head !== head || l.to.attention !== attention || l.edge.source !== source)) return null;
  const at = [...new Set(attention.sources)].indexOf(source);
  const inside = new Set(attention.vertices), drawnHere = new Set([first, ...others].map((l) => l.edge));
  const all = at >= 0 && users[source].filter((e) => inside.has(e.target)).every((e) => drawnHere.has(e));
  return all ? attention.lanes[head].sourced[at] : null;
}

/** The end of a link that lies in a lane. */
const laneOf = ({ from, to }) => (from.head !== null ? from : to.head !== null ? to : null);

/** Whether what flows back along links is zero by nature. */
const unseenBy = (links) => links.every((link) => trace.vertices[link.edge.source].unseen);

/** What was computed for all heads together only, among links of one head. */
const normOfAll = (links) => links.reduce((norm, link) => largerNorm(norm, link.edge.gradient), null);

function drawPath(path) {
  const { links, points } = path;
  const elements = Math.max(...links.map((l) => count(trace.vertices[l.edge.source].shape)));
  const width = 1 + Math.min(4, 0.7 * Math.log10(Math.max(elements, 1)));
  const norm = normOfLinks(links);
  const verdict = state.gradients ? judge(norm, unseenBy(links)) : null;
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
  const flows = norm === null ? known : `norm of the gradient ${number(norm)}` + (unseenBy(links) ? `: ${UNSEEN}` : "");
  group.append(drawing("title", {}, `${slots.join(", ")}\n${shape(trace.vertices[links[0].edge.source].shape)}\n${flows}`));
  return group;
}

/** The norms beside the paths: what is wrong first; where there is no free place, the line keeps its colour and its title. */
function drawNorms() {
  const taken = [...drawn.boxes.values()].filter((box) => !box.open).map(({ x, y, w, h }) => ({ x, y, w, h }));
  const wanted = drawn.paths.map(normWords).filter(Boolean).sort((a, b) => b.wrong - a.wrong);
  return wanted.flatMap((one) => {
    const places = placesAlong(one);
    const place = places.find((p) => !taken.some((t) => overlap(p, t))) ?? (one.wrong ? places[0] : null);
    if (!place) return [];
    taken.push(place);
    return [drawing("text", { class: "norm " + one.word, x: place.x.toFixed(1), y: (place.y + place.h - 2).toFixed(1) }, one.words)];
  });
}

/** What is written beside a path that leaves a closed box. */
function normWords({ from, links, points, aside }) {
  const norm = normOfLinks(links);
  if (norm === null || typeof from === "string" || (isGroup(from) && isOpen(from))) return null;
  const { mark, word } = judge(norm, unseenBy(links));
  const words = ["NaN", "∞", "0", "≈ 0"].includes(mark) ? mark : `${mark} ${number(norm)}`.trim();
  return { words, word, wrong: Number(!harmless(word)), points, left: aside < 0 };
}

const overlap = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

/** Places for words beside a path, the best first: near where it leaves, for lines of different boxes cross further on. */
function placesAlong({ words, points, left }) {
  const w = widthOf(words, "norm"), h = 11;
  const found = [];
  for (let k = 1; k < points.length; k++) {
    const [a, b] = [points[k - 1], points[k]];
    for (const t of [0.5, 0.35, 0.65, 0.2, 0.8]) {
      const x = a.x + (b.x - a.x) * (3 * t * t - 2 * t * t * t), y = a.y + (b.y - a.y) * t - h / 2; // as curve() bends
      for (const side of left ? [-1, 1] : [1, -1]) found.push({ x: side > 0 ? x + 5 : x - 5 - w, y, w, h });
    }
  }
  return found;
}

/** What an item is said to be by a screen reader. */
function spoken(item, { title, note }) {
  const kind = { module: "module", lane: "attention", strip: "heads", repeat: "repeated modules", run: "run of operations", weights: "of all heads", op: "operation", leaf: "value" }[item.kind];
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
  if (item.kind === "repeat" || item.kind === "strip" || item.kind === "run" || item.kind === "weights") {
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
