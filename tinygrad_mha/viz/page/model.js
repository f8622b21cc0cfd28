// What can be drawn: modules, heads, repeated layers and long runs as groups in groups,
// operations and values as their leaves. Built anew when lanes or parameters are switched.

const CROWD = 60; // children above which a group is divided into runs
const RUN = 30; // children of a run
const REPEATED = 3; // equal neighbours that fold into one
const LANES = 8; // heads that are drawn each for itself; the others share a strip

/** Made of parameters only: vertices that say nothing beyond the parameters' names. */
const ofParameters = new Set();
for (const v of trace.vertices) {
  const all = inputs[v.id].length > 0 && inputs[v.id].every((e) => ofParameters.has(e.source));
  if (v.kind === "parameter" || (v.kind === "op" && all)) ofParameters.add(v.id);
}
const bare = trace.vertices.every((v) => v.kind !== "op" || ofParameters.has(v.id)); // no data at all

/** Whether a vertex is told in the panel of its user only, and not drawn. */
function untold(v) {
  if (v.kind === "op") return !bare && v.module !== null && ofParameters.has(v.id) && users[v.id].length > 0;
  return !state.leaves && v.kind !== "input";
}

/** Names of the parameters behind an operation's inputs that are not drawn. */
function parametersOf(id) {
  const found = [];
  const stack = inputs[id].map((e) => e.source).reverse();
  while (stack.length && found.length < 6) {
    const v = trace.vertices[stack.pop()];
    if (v.kind === "parameter") found.push(v.name.split(".").pop());
    else if (ofParameters.has(v.id)) stack.push(...inputs[v.id].map((e) => e.source));
  }
  return [...new Set(found)];
}

let model = { root: null, items: new Map(), homes: [], links: [] };

/** Build `model`: the tree of items, for each vertex its items, and the links between items. */
function build() {
  const items = new Map();
  const homes = trace.vertices.map(() => []);
  const make = (kind, key, parent, more) => {
    const item = { kind, key, parent, children: [], vertex: null, head: null, first: Infinity, ...more };
    items.set(key, item);
    if (parent) parent.children.push(item);
    return item;
  };
  const root = make("root", "root", null);
  const modules = [];
  for (const m of trace.modules) {
    modules.push(make("module", "m" + m.id, m.parent === null ? root : modules[m.parent], { module: m.id }));
  }
  const within = (module) => (module === null || module === undefined ? root : modules[module]);

  const region = new Map(); // vertex → the attention whose lanes stand for it
  if (state.lanes) for (const a of trace.attentions) for (const id of a.vertices) region.set(id, a);
  for (const v of trace.vertices) {
    if (region.has(v.id)) continue;
    if (untold(v)) { // a reshaped weight is drawn as the weight
      if (v.kind === "op") homes[v.id].push(...inputs[v.id].flatMap((e) => homes[e.source]));
      continue;
    }
    const kind = v.kind === "op" ? "op" : "leaf";
    const parent = within(v.kind === "op" ? v.module : meeting(users[v.id].map((e) => trace.vertices[e.target].module)));
    homes[v.id].push(make(kind, "v" + v.id, parent, { vertex: v.id, first: v.id }));
  }
  if (state.lanes) for (const a of trace.attentions) lanes(a, within(a.module), make, homes);

  tidy(root, items);
  if (state.lanes && state.leaves) for (const a of trace.attentions) weights(a, within(a.module), make, homes);
  repeats(root, make, new Map());
  runs(root, make);
  model = { root, items, homes, links: links(homes, region) };
}

/** The innermost module around all of `modules`. */
function meeting(modules) {
  let chain = null;
  for (const module of modules) {
    const other = around(module);
    if (chain === null) chain = other;
    let same = 0;
    while (same < chain.length && chain[same] === other[same]) same++;
    chain = chain.slice(0, same);
  }
  return chain && chain.length ? chain[chain.length - 1] : null;
}

// ---- lanes ---------------------------------------------------------------------------------

const laneKey = (attention, head) => attention.id + ":" + head;

/** The heads drawn each for itself: those not hidden, the largest contributors first. */
function leading(attention) {
  const shown = attention.lanes.filter((l) => !state.hidden.has(laneKey(attention, l.head)));
  const rank = (l) => (typeof l.contribution === "number" ? l.contribution : -1);
  const first = [...shown].sort((p, q) => rank(q) - rank(p)).slice(0, LANES);
  return new Set(first.map((l) => l.head));
}

/** Whether each head was computed by itself, not all of them as one with an axis of heads. */
const oneByOne = (attention) => attention.lanes.some((l) => l.vertices.length > 0);

/** The operations behind the lanes: where all heads are merged, or added up. */
function endsOf(attention) {
  const own = new Set(attention.lanes.flatMap((l) => l.vertices));
  return new Set(attention.vertices.filter((id) => id === attention.output
    || (oneByOne(attention) ? !own.has(id) : trace.vertices[id].name === "merge_heads")));
}

/** A group for each head with its operations, or copies of those of all, and the sum of them all. */
function lanes(attention, parent, make, homes) {
  const ends = endsOf(attention);
  dealt.set(attention, hiddenOf(attention));
  const alone = leading(attention);
  const others = attention.lanes.length - alone.size;
  const strip = others ? make("strip", `a${attention.id}more`, parent, { attention, count: others }) : null;
  for (const lane of attention.lanes) {
    const group = make("lane", laneItem(attention, lane.head), alone.has(lane.head) ? parent : strip, { attention, head: lane.head });
    for (const id of oneByOne(attention) ? lane.vertices : attention.vertices) {
      if (ends.has(id)) continue;
      homes[id].push(make("op", `${group.key}v${id}`, group, { vertex: id, head: lane.head, attention, first: id }));
    }
  }
  const sum = make("op", "v" + attention.output, parent, { vertex: attention.output, sum: attention, first: attention.output });
  for (const id of ends) homes[id].push(sum);
}

/** One group for the parameters that all lanes share: each to each would be a thicket. */
function weights(attention, parent, make, homes) {
  const region = new Set(attention.vertices);
  const ends = new Set(homes[attention.output]);
  const shared = parent.children.filter((c) => c.kind === "leaf" && trace.vertices[c.vertex].kind === "parameter"
    && lanesOf(c.vertex).size > 1);
  if (shared.length < 2) return;
  const at = parent.children.indexOf(shared[0]);
  parent.children = parent.children.filter((c) => !shared.includes(c));
  parent.children.splice(at, 0, enclose("weights", parent, shared, make));

  function lanesOf(id) {
    const heads = new Set();
    const stack = [id];
    while (stack.length) {
      for (const { target } of users[stack.pop()]) {
        if (ofParameters.has(target)) stack.push(target);
        if (region.has(target)) for (const home of homes[target]) if (!ends.has(home) && home.head !== null) heads.add(home.head);
      }
    }
    return heads;
  }
}

const laneItem = (attention, head) => `a${attention.id}h${head}`;

/** Which heads of an attention the reader switched off, as a text to compare. */
const hiddenOf = (attention) => attention.lanes.filter((l) => state.hidden.has(laneKey(attention, l.head))).map((l) => l.head).join();

const dealt = new Map(); // attention → hiddenOf it, when its lanes were last put beside each other

/** After heads were hidden or shown: lanes change places in the model as it is; false: it must be built anew. */
function dealAnew() {
  if (!state.lanes) return true;
  for (const attention of trace.attentions) {
    if (dealt.get(attention) === hiddenOf(attention)) continue;
    const key = `a${attention.id}more`;
    const groups = attention.lanes.map((l) => model.items.get(laneItem(attention, l.head)));
    const old = model.items.get(key);
    const tops = new Set([old, ...groups.filter((g) => g.parent !== old)].filter(Boolean));
    const [parent, ...more] = new Set([...tops].map((item) => item.parent));
    if (more.length) return false; // they were divided into runs
    const alone = leading(attention);
    const others = groups.filter((g) => !alone.has(g.head));
    const strip = others.length ? { ...groups[0], kind: "strip", key, parent, head: null, children: others, count: others.length } : null;
    for (const group of groups) group.parent = alone.has(group.head) ? parent : strip;
    const lanes = [strip, ...groups.filter((g) => alone.has(g.head))].filter(Boolean);
    const at = parent.children.findIndex((c) => tops.has(c));
    parent.children = parent.children.filter((c) => !tops.has(c));
    parent.children.splice(at, 0, ...lanes);
    model.items.delete(key);
    if (strip) model.items.set(key, strip);
    dealt.set(attention, hiddenOf(attention));
  }
  return true;
}

/** How many heads of a strip the reader switched off. */
const switchedOff = (strip) => strip.children.filter((c) => state.hidden.has(laneKey(strip.attention, c.head))).length;

/** A value's shape with one head only: without its axis, or, before heads are split, with its columns. */
function ofOneHead(v) {
  if (v.heads) return v.shape.filter((_, axis) => axis !== v.heads[0]);
  const split = users[v.id].map((e) => trace.vertices[e.target]).find((user) => user.heads);
  return split ? [...v.shape.slice(0, -1), v.shape[v.shape.length - 1] / split.heads[1]] : v.shape;
}

/** Whether an item is drawn with the map of its head. */
function hasMap(item) {
  if (item.kind === "lane") return true;
  return item.head !== null && trace.vertices[item.vertex].name.includes("softmax") && item.attention.lanes[item.head].weights.length > 0;
}

/** Links between items, one for each head where the edge lies in a lane. */
function links(homes, region) {
  const found = [];
  for (const edge of trace.edges) {
    const from = homes[edge.source], to = homes[edge.target];
    const together = region.has(edge.source) && region.get(edge.source) === region.get(edge.target);
    for (const a of from) {
      for (const b of to) {
        if (a === b || (together && a.head !== null && b.head !== null && a.head !== b.head)) continue;
        found.push({ from: a, to: b, edge });
      }
    }
  }
  return found;
}

// ---- folding -------------------------------------------------------------------------------

/** Groups without an operation give what they hold to the group around; children in the order in which they ran. */
function tidy(item, items) {
  for (const child of item.children) if (child.vertex === null) tidy(child, items);
  item.children = item.children.flatMap((child) => {
    if (child.kind !== "module" || child.children.some((c) => c.kind !== "leaf")) return [child];
    items.delete(child.key);
    for (const leaf of child.children) leaf.parent = item;
    return child.children;
  });
  for (const child of item.children) item.first = Math.min(item.first, child.first);
  item.children.sort((a, b) => a.first - b.first);
}

/** Put equal neighbours into one group, "× 12". Returns the number of the item's form. */
function repeats(item, make, forms) {
  const marks = item.children.map((child) => repeats(child, make, forms));
  const v = item.vertex === null ? null : trace.vertices[item.vertex];
  const kind = item.module === undefined ? item.kind : trace.modules[item.module].kind;
  const form = v ? `${v.name} ${v.shape} ${Object.values(v.options)}` : `${kind}(${marks})`;
  const kept = [];
  for (let i = 0, j; i < item.children.length; i = j) {
    for (j = i + 1; j < item.children.length && marks[j] === marks[i]; j++);
    const first = item.children[i];
    if (j - i < REPEATED || first.kind !== "module") kept.push(...item.children.slice(i, j));
    else kept.push(enclose("repeat", item, item.children.slice(i, j), make));
  }
  item.children = kept;
  if (!forms.has(form)) forms.set(form, forms.size);
  return forms.get(form);
}

/** Divide crowded groups into runs of neighbours, and these again while they are crowded. */
function runs(item, make) {
  while (item.children.length > CROWD) {
    const parts = Math.ceil(item.children.length / RUN);
    const each = Math.ceil(item.children.length / parts);
    const kept = [];
    for (let i = 0; i < item.children.length; i += each) {
      kept.push(enclose("run", item, item.children.slice(i, i + each), make));
    }
    item.children = kept;
  }
  for (const child of item.children) if (child.vertex === null) runs(child, make);
}

function enclose(kind, parent, children, make) {
  const [head, tail] = [children[0], children[children.length - 1]];
  const group = make(kind, `${kind}-${head.key}-${tail.key}`, null, { parent, first: head.first, count: children.length });
  for (const child of children) child.parent = group;
  group.children = children;
  return group;
}

// ---- what is open --------------------------------------------------------------------------

const isGroup = (item) => item.vertex === null;
const isOpen = (item) => item.kind === "root" || state.open.has(item.key);
const LIMIT = 400; // things drawn at once

/** Items from the outermost one inside the root to this one. */
function pathOf(item) {
  const path = [];
  for (let at = item; at && at.kind !== "root"; at = at.parent) path.push(at);
  return path.reverse();
}

/** What stands for an item now: the outermost closed group around it, or itself. */
function shownAs(item) {
  let shown = item;
  for (let at = item.parent; at && at.kind !== "root"; at = at.parent) if (!state.open.has(at.key)) shown = at;
  return shown;
}

/** All items that are drawn now, open groups before what is in them. */
function shownItems() {
  const found = [];
  const stack = [...model.root.children].reverse();
  while (stack.length) {
    const item = stack.pop();
    found.push(item);
    if (isGroup(item) && isOpen(item)) for (let i = item.children.length - 1; i >= 0; i--) stack.push(item.children[i]);
  }
  return found;
}

/** Vertices below an item, each once. */
function verticesOf(item) {
  const found = new Set();
  const stack = [item];
  while (stack.length) {
    const at = stack.pop();
    if (at.vertex === null) stack.push(...at.children);
    else found.add(at.vertex);
  }
  return [...found].sort((a, b) => a - b);
}

/** Open `wanted`, and close others, the longest open first, where too much would be drawn. */
function openGroups(wanted) {
  const keep = new Set();
  for (const item of wanted) {
    for (const at of pathOf(item)) if (isGroup(at)) keep.add(at.key);
    state.open.delete(item.key); // so that it becomes the latest
    state.open.add(item.key);
  }
  let closed = 0;
  let drawn = shownItems().length;
  for (const key of [...state.open]) {
    if (drawn <= LIMIT) break;
    if (keep.has(key)) continue;
    state.open.delete(key);
    if (!model.items.has(key)) continue;
    closed++;
    drawn = shownItems().length;
  }
  return closed;
}

/** Open level after level while everything still fits into `room`; false: something stayed folded. */
function openLevels(room) {
  let level = model.root.children.filter(isGroup);
  let drawn = model.root.children.length;
  while (level.length) {
    const more = level.reduce((sum, item) => sum + item.children.length, 0);
    if (drawn + more > room) return false;
    for (const item of level) state.open.add(item.key);
    drawn += more;
    level = level.flatMap((item) => item.children.filter(isGroup));
  }
  return true;
}

/** What a newcomer sees: as many levels as fit a screen, and the way to the first attention. */
function openFirst() {
  state.open.clear();
  openLevels(operations() <= 45 && !trace.attentions.length && !asRan ? LIMIT : 24);
  const first = trace.attentions[0];
  const last = first ? first.output : asRan ? trace.vertices.find((v) => v.heads)?.id : undefined;
  const sum = last === undefined ? null : model.homes[last][0];
  if (!sum) return;
  openGroups(pathOf(sum).filter(isGroup));
  if (first && state.lanes) for (const lane of first.lanes) state.open.delete(`a${first.id}h${lane.head}`);
}

const operations = () => trace.vertices.reduce((n, v) => n + (v.kind === "op"), 0);

// ---- what an item is called ----------------------------------------------------------------

function titleOf(item) {
  if (item.kind === "module") {
    const m = trace.modules[item.module];
    const outer = m.parent === null ? "" : trace.modules[m.parent].path;
    const path = outer && m.path.startsWith(outer + ".") ? m.path.slice(outer.length + 1) : m.path;
    return visible(path || m.kind, 32);
  }
  if (item.kind === "lane") return `head ${item.head + 1}`;
  if (item.kind === "strip") return many(item.count, switchedOff(item) === item.count ? "hidden head" : "more head");
  if (item.kind === "repeat") return `${titleOf(item.children[0])} … × ${item.count}`;
  if (item.kind === "run") return `${many(verticesOf(item).length, "operation")}`;
  if (item.kind === "weights") return many(item.count, "parameter");
  if (item.sum) return item.sum.combined ? "Σᵢ W_o[:, i] hᵢ" : "[h₁, …, hₕ]";
  const v = trace.vertices[item.vertex];
  if (v.kind === "parameter" && v.name.includes(".")) return visible(v.name.split(".").pop(), 28);
  return visible(vertexName(v), 28);
}

function noteOf(item) {
  if (item.kind === "module") {
    const m = trace.modules[item.module];
    return m.path ? visible(m.kind, 32) : "";
  }
  if (item.kind === "lane") {
    const lane = item.attention.lanes[item.head];
    return `‖out‖ ${number(lane.contribution)}`;
  }
  if (item.kind === "strip") {
    const off = switchedOff(item);
    return off === item.count ? "switched off in the table" : (off ? `${off} hidden, and ` : "") + "the smaller contributions";
  }
  if (item.kind === "repeat") return visible(trace.modules[item.children[0].module].kind, 32) + ", all alike";
  if (item.kind === "weights") return visible(item.children.map(titleOf).join(", "), 32);
  if (item.kind === "run") {
    const names = verticesOf(item).slice(0, 60).map((id) => visible(vertexName(trace.vertices[id]), 14));
    return [...new Set(names)].slice(0, 3).join(", ") + " …";
  }
  const v = trace.vertices[item.vertex];
  const parameters = state.leaves || item.sum ? [] : parametersOf(v.id);
  return shape(item.head === null ? v.shape : ofOneHead(v)) + (parameters.length ? `   ${visible(parameters.join(", "), 24)}` : "");
}
