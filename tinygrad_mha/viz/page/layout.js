// Where everything lies: each open group is laid out by itself by dagre, the inner ones first,
// and then is one box in the group around it. What crosses a group's border does so at a port,
// so a value's way can be followed from its operation to every use.

const LAYOUT_BUDGET = 1500; // milliseconds; after that, groups are filled row by row
const HEADER = 24; // height of an open group's title
const MARGIN = 12;
const BEND = 12; // between the title's line and the boxes, for paths from the title's right

const arranged = new Map(); // key of a group → {print, made}: its last layout, while nothing in it changed
const ruler = document.createElement("canvas").getContext("2d");
const family = getComputedStyle(document.body).fontFamily;

const FONTS = { title: "600 12px", note: "10.5px", norm: "9.5px" }; // as page.css sets them

/** Width of words in the drawing. */
function widthOf(text, style) {
  ruler.font = `${FONTS[style]} ${family}`;
  return ruler.measureText(text).width;
}

/** Where the words on an open group end. */
const titleWidth = (item) => 23 + widthOf(titleOf(item), "title") * 1.06 + 8 + widthOf(noteOf(item), "note") * 1.06 + 8;

/** Size of a closed item's box. */
function boxOf(item) {
  const title = titleOf(item), note = noteOf(item);
  const wrong = item.vertex === null ? "" : marksOf(item);
  const wide = Math.max(widthOf(title, "title"), widthOf(note + wrong, "note")) * 1.06 + (isGroup(item) || item.sum ? 36 : 24);
  if (hasMap(item)) return { w: Math.max(104, wide), h: 132, title, note };
  return { w: Math.max(58, Math.ceil(wide)), h: note ? 38 : 26, title, note };
}

/** All boxes and all paths, in the drawing's coordinates. */
function layout() {
  const segments = route();
  const until = performance.now() + LAYOUT_BUDGET;
  const made = arrange(model.root, segments, until);
  const boxes = new Map();
  const paths = [];
  const place = (group, x, y, depth) => {
    const { nodes, edges } = made.get(group.key);
    for (const edge of edges) {
      paths.push({ ...edge.segment, points: edge.points.map((p) => ({ x: p.x + x, y: p.y + y })) });
    }
    for (const node of nodes) {
      boxes.set(node.item.key, { ...node, x: node.x + x, y: node.y + y, depth });
      if (node.open) place(node.item, node.x + x, node.y + y, depth + 1);
    }
  };
  place(model.root, 0, 0, 0);
  const { w, h } = made.get("root");
  return { boxes, paths, w, h, simple: [...made.values()].some((m) => m.simple) };
}

/** Cut each link into segments, one for each group that it passes through. */
function route() {
  const levels = new Map(); // key of a group → segments in it
  const add = (group, from, to, link, value) => {
    if (!levels.has(group.key)) levels.set(group.key, new Map());
    const level = levels.get(group.key);
    const single = !isGroup(from) && !isGroup(to); // x · x has two lines
    const apart = typeof from === "string" || typeof to === "string" || isGroup(from) && isOpen(from) || isGroup(to) && isOpen(to);
    const key = `${from.key ?? from}>${to.key ?? to}>${apart ? value : single ? link.edge.slot : ""}`;
    if (!level.has(key)) level.set(key, { key, from, to, value, links: [] });
    level.get(key).links.push(link);
  };
  for (const link of model.links) {
    const from = shownAs(link.from), to = shownAs(link.to);
    if (from === to) continue;
    const out = pathOf(from), into = pathOf(to);
    let same = 0;
    while (out[same] === into[same]) same++;
    const value = `${link.edge.source}@${link.from.head ?? ""}`;
    for (let i = out.length - 1; i > same; i--) add(out[i - 1], out[i], "out:" + value, link, value);
    add(same ? out[same - 1] : model.root, out[same], into[same], link, value);
    for (let i = same + 1; i < into.length; i++) add(into[i - 1], "in:" + value, into[i], link, value);
  }
  return levels;
}

/** Lay out an open group and all open groups in it; a Map from their keys. */
function arrange(group, levels, until, made = new Map()) {
  const nodes = group.children.map((item) => {
    const open = isGroup(item) && isOpen(item);
    if (open) arrange(item, levels, until, made);
    const { w, h, title, note } = open ? { ...boxOf(item), ...made.get(item.key) } : boxOf(item);
    return { item, open, w: open ? Math.max(w, widthOf(title, "title") + widthOf(note, "note") + 60) : w, h, title, note };
  });
  const segments = [...(levels.get(group.key)?.values() ?? [])];
  const print = nodes.map((n) => `${n.item.key} ${n.title} ${n.note} ${n.w} ${n.h}`).join() + segments.map((s) => s.key + s.links.length).join();
  const kept = arranged.get(group.key);
  if (kept && kept.print === print) {
    made.set(group.key, kept.made);
    return made;
  }
  const late = performance.now() > until;
  const found = late ? inRows(nodes, segments) : byDagre(nodes, segments);
  const result = frame(group, nodes, segments, found, made, late);
  made.set(group.key, result);
  if (!late) arranged.set(group.key, { print, made: result });
  return made;
}

const endKey = (end) => end.key ?? end;
const pair = (segment) => `${endKey(segment.from)}>${endKey(segment.to)}`;

/** Layers by dagre. A top and a bottom hold the ports at the borders. */
function byDagre(nodes, segments) {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 18, ranksep: 26, edgesep: 12, marginx: 0, marginy: 0 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { item, w, h } of nodes) graph.setNode(item.key, { width: w, height: h });
  const ports = new Set(segments.flatMap((s) => [s.from, s.to]).filter((end) => typeof end === "string"));
  for (const port of ports) graph.setNode(port, { width: 6, height: 1 });
  for (const { from, to, key } of segments) graph.setEdge(endKey(from), endKey(to), {}, key);
  const begins = new Set([...ports].filter((p) => p.startsWith("in:")));
  const ends = [...ports].filter((p) => p.startsWith("out:"));
  if (begins.size) {
    graph.setNode("top", { width: 1, height: 1 });
    for (const port of begins) graph.setEdge("top", port, { weight: 9 }, "top");
    const fed = new Set(segments.map((s) => endKey(s.to)));
    for (const { item } of nodes) if (!fed.has(item.key)) graph.setEdge("top", item.key, { weight: 0 }, "top");
  }
  if (ends.length) {
    graph.setNode("bottom", { width: 1, height: 1 });
    for (const port of ends) graph.setEdge(port, "bottom", { weight: 9 }, "bottom");
    const used = new Set(segments.map((s) => endKey(s.from)));
    for (const { item } of nodes) if (!used.has(item.key)) graph.setEdge(item.key, "bottom", { weight: 0 }, "bottom");
  }
  const heads = nodes.filter((n) => n.item.kind === "lane");
  const constraints = heads.slice(1).map((n, k) => ({ left: heads[k].item.key, right: n.item.key }));
  const last = heads[heads.length - 1]; // values that join the heads' sum do not stand between heads
  if (last) for (const { item } of nodes) if (item.kind === "leaf") constraints.push({ left: last.item.key, right: item.key });
  dagre.layout(graph, { constraints });
  const tall = new Map(); // height of the layer at each y
  for (const { item, h } of nodes) {
    const y = Math.round(graph.node(item.key).y);
    tall.set(y, Math.max(tall.get(y) ?? 0, h));
  }
  // a path that passes a layer goes straight down beside its boxes; between layers it is free
  const straight = ({ x, y }) => {
    const half = tall.get(Math.round(y)) / 2;
    return half ? [{ x, y: y - half }, { x, y: y + half }] : [];
  };
  return {
    at: (key) => graph.node(key),
    reach: (key) => tall.get(Math.round(graph.node(key).y)) / 2,
    between: (s) => graph.edge(endKey(s.from), endKey(s.to), s.key).points.slice(1, -1).flatMap(straight),
  };
}

/** Without dagre: in the order in which they ran, from left to right, row under row. */
function inRows(nodes, segments) {
  const places = new Map();
  const across = Math.ceil(Math.sqrt(nodes.length));
  let y = 0;
  for (let i = 0; i < nodes.length; i += across) {
    const row = nodes.slice(i, i + across);
    const high = Math.max(...row.map((n) => n.h));
    let x = 0;
    for (const n of row) {
      places.set(n.item.key, { x: x + n.w / 2, y: y + high / 2 });
      x += n.w + 24;
    }
    y += high + 36;
  }
  const wide = Math.max(...nodes.map((n) => places.get(n.item.key).x));
  for (const s of segments) {
    if (typeof s.from === "string") places.set(s.from, { x: wide / 2, y: 0 });
    if (typeof s.to === "string") places.set(s.to, { x: wide / 2, y });
  }
  return {
    at: (key) => places.get(key),
    reach: () => 0,
    between: () => [],
  };
}

/** From centres to corners, with room for the title; paths end where the ports of inner groups are. */
function frame(group, nodes, segments, found, made, simple) {
  const outer = group.kind === "root";
  const lanes = nodes.map((n) => ({ ...n, x: found.at(n.item.key).x - n.w / 2, y: found.at(n.item.key).y - n.h / 2 }));
  const left = Math.min(0, ...lanes.map((n) => n.x)), top = Math.min(...lanes.map((n) => n.y));
  const begins = new Set(segments.map((s) => s.from).filter((end) => typeof end === "string"));
  const dx = MARGIN - left, dy = MARGIN - top + (outer ? 0 : HEADER + (begins.size ? BEND : 0));
  for (const n of lanes) {
    n.x += dx;
    n.y += dy;
  }
  const ends = segments.flatMap((s) => [s.from, s.to]).filter((end) => typeof end === "string");
  const ports = new Map(ends.map((e) => [e, found.at(e).x + dx]));
  let free = outer ? 0 : titleWidth(group); // what comes in from above passes the title at its right
  for (const end of [...begins].sort((a, b) => ports.get(a) - ports.get(b))) {
    ports.set(end, Math.max(ports.get(end), free));
    free = ports.get(end) + 8;
  }
  const w = Math.max(...lanes.map((n) => n.x + n.w), ...ports.values()) + MARGIN;
  const h = Math.max(...lanes.map((n) => n.y + n.h)) + MARGIN + (ends.some((e) => e.startsWith("out:")) ? 8 : 0);
  const boxes = new Map(lanes.map((n) => [n.item.key, n]));
  // straight through the border, and through the title's line
  const port = (end) => (typeof end === "string" ? [{ x: ports.get(end), y: begins.has(end) ? HEADER : found.at(end).y + dy }] : []);
  const twins = Map.groupBy(segments, pair); // x · x: side by side
  const edges = segments.map((segment) => {
    const between = found.between(segment).map((p) => ({ x: p.x + dx, y: p.y + dy }));
    const inner = [...port(segment.from), ...between, ...port(segment.to)];
    const beside = twins.get(pair(segment));
    const aside = 14 * (beside.indexOf(segment) - (beside.length - 1) / 2);
    const start = anchor(segment.from, "out:" + segment.value, true, aside, inner[0] ?? { x: found.at(endKey(segment.to)).x + dx });
    const end = anchor(segment.to, "in:" + segment.value, false, aside, inner[inner.length - 1] ?? { x: found.at(endKey(segment.from)).x + dx });
    return { segment: { ...segment, aside }, points: [start, ...clear(segment.from, start, 1), ...inner, ...clear(segment.to, end, -1), end] };
  });
  return { nodes: lanes, edges, ports, w, h, simple };

  /** Beside a higher box, a path bends only where that has ended. */
  function clear(end, { x, y }, down) {
    if (typeof end === "string") return [];
    const edge = found.at(end.key).y + dy + down * found.reach(end.key);
    return down * (edge - y) > 1 ? [{ x, y: edge }] : [];
  }

  function anchor(end, port, below, aside, towards) {
    if (typeof end === "string") return { x: ports.get(end), y: end.startsWith("in:") ? 0 : h };
    const box = boxes.get(end.key);
    const y = below ? box.y + box.h : box.y;
    if (box.open) return { x: box.x + (made.get(end.key).ports.get(port) ?? box.w / 2), y };
    const reach = box.w / 2 - 10; // lean towards the neighbour, as far as the box goes
    const lean = Math.max(-reach, Math.min(reach, (towards.x - box.x - box.w / 2) / 4 + aside));
    return { x: box.x + box.w / 2 + lean, y };
  }
}
