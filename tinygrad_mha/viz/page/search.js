// Finding things: op:softmax head:3 layer:1 module:attention, and plain words. All parts must fit.

const found = { test: null, items: [], at: -1 };

/** What the parts of a question are held against. */
function record(item) {
  if (item.kind === "module" || item.kind === "lane") {
    const module = item.kind === "lane" ? item.attention.module : item.module;
    const own = item.kind === "lane" ? titleOf(item) : `${modulePath(module)} ${trace.modules[module].kind}`;
    return { op: null, path: modulePath(module), text: own, head: item.head };
  }
  if (item.vertex === null) return null;
  const v = trace.vertices[item.vertex];
  const first = users[v.id][0];
  const path = modulePath(v.kind === "op" ? v.module : first ? trace.vertices[first.target].module : null);
  const heads = !state.lanes && v.heads ? v.heads[1] : 0;
  return { op: v.kind === "op" ? `${v.name} ${v.symbol}` : null, path, text: [v.name, v.symbol, path, ...parametersOf(v.id)].join(" "), head: item.head, heads };
}

/** The parts of a question: {key, value, text}; a word without a known key has none. */
function partsOf(question) {
  return question.trim().toLowerCase().split(/\s+/).filter(Boolean).map((text) => {
    const [, key, value] = text.match(/^(op|layer|head|module):(.*)$/) ?? [null, "", text];
    return { key, value, text };
  });
}

/** A layer's number: the first in a path, so that "blocks.0.mlp.1" is of layer 0. */
const layerOf = (path) => path.split(".").find((part) => /^\d+$/.test(part));

/** Whether a record fits one part. */
function fits(r, { key, value }) {
  if (key === "op") return r.op !== null && r.op.toLowerCase().includes(value);
  if (key === "module") return r.path.toLowerCase().includes(value);
  if (key === "layer") return layerOf(r.path) === value;
  if (key === "head") return r.head === null ? Number(value) > 0 && Number(value) <= r.heads : r.head + 1 === Number(value);
  return r.text.toLowerCase().includes(value);
}

/** A test of records; null where nothing is asked for. */
function matcher(question) {
  const parts = partsOf(question);
  return parts.length ? (r) => parts.every((part) => fits(r, part)) : null;
}

// ---- what can be asked for, and why nothing was found ----------------------------------------

const different = (values) => [...new Set(values)];

/** What there is of each kind. */
const known = {
  op: different(trace.vertices.filter((v) => v.kind === "op").map((v) => v.name)).sort(),
  layer: different(trace.modules.map((m) => layerOf(m.path)).filter(Boolean)).sort((a, b) => a - b),
  head: Array.from({ length: Math.max(0, ...trace.attentions.map((a) => a.lanes.length)) }, (_, k) => String(k + 1)),
  module: different(trace.modules.map((m) => m.path.split(".").pop()).filter((part) => part && !/^\d+$/.test(part))).sort(),
};

/** How many letters must change to make one word of the other (Levenshtein 1966). */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, k) => k);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let k = 1; k <= b.length; k++) next.push(Math.min(row[k] + 1, next[k - 1] + 1, row[k - 1] + (a[i - 1] !== b[k - 1])));
    row = next;
  }
  return row[b.length];
}

/** Some of what there is; of few numbers, all. */
const inWords = (values) => (values.length > 8 ? [...values.slice(0, 3), "…", values[values.length - 1]] : values).map((v) => visible(v, 24)).join(", ");

/** Why nothing was found, in words. */
function whyNothing(question) {
  const records = [...model.items.values()].map(record).filter(Boolean);
  const names = { op: "operation", layer: "layer", head: "head", module: "module" };
  for (const part of partsOf(question)) {
    const { key, value, text } = part;
    if (records.some((r) => fits(r, part))) continue;
    const unknown = text.match(/^([a-z]+):/);
    if (!key) return unknown ? `${unknown[1]}: is no key; there are op:, head:, layer: and module:` : `nothing is called “${visible(value, 24)}”`;
    if (!known[key].length) return `there is no ${names[key]} here`;
    const like = (word) => value.length > 2 && distance(value, word) <= 2;
    const near = known[key].find((name) => [name, ...name.split("_")].some((word) => like(word.toLowerCase())));
    return `there is no ${names[key]} “${visible(value, 24)}”` + (near ? `; ${key}:${visible(near)}?` : `, but ${inWords(known[key])}`);
  }
  return "nothing fits all of it";
}

/** What the last word may become, for the browser to offer. */
function suggest() {
  const [, before, last] = $("search").value.match(/^(.*?)(\S*)$/s);
  const all = Object.entries(known).flatMap(([key, values]) => values.map((value) => `${key}:${value}`));
  const begun = last ? all.filter((one) => one.startsWith(last.toLowerCase()) && one !== last) : [];
  $("suggestions").replaceChildren(...begun.slice(0, 12).map((one) => element("option", { value: before + visible(one) })));
}

// ---- searching -----------------------------------------------------------------------------

function search() {
  const question = $("search").value;
  suggest();
  found.test = matcher(question);
  collect();
  found.at = -1;
  const wanted = question.match(/\bhead:(\d+)/i);
  const layer = question.match(/\blayer:(\w+)/i);
  const [first] = found.items;
  if (first && (wanted || layer)) showHeadOf(wanted, layer);
  if (first) lookAt(shownAs(first).key);
  tellFound();
}

/** The items that fit, in the order in which they ran. */
function collect() {
  found.items = [];
  if (!found.test) return;
  for (const item of model.items.values()) {
    const r = record(item);
    if (r && found.test(r)) found.items.push(item);
  }
  found.items.sort((a, b) => a.first - b.first || (a.head ?? 0) - (b.head ?? 0));
}

function showHeadOf(head, layer) {
  const at = head ? Number(head[1]) - 1 : 0;
  const attention = trace.attentions.find((a) => a.lanes[at] && (!layer || layerOf(modulePath(a.module)) === layer[1]));
  if (attention) lookAtHead(attention.id, at);
}

function tellFound() {
  const { test, items, at } = found;
  const nothing = test !== null && !items.length;
  $("found").textContent = !test ? "" : nothing ? whyNothing($("search").value) : at < 0 ? `${items.length} found` : `${at + 1} / ${items.length}`;
  $("found").classList.toggle("alarm", nothing);
  $("search").setAttribute("aria-invalid", String(nothing));
  for (const id of ["previous", "next"]) $(id).disabled = !items.length;
  tell("searched");
}

/** To the next or the previous thing found, opening what is around it. */
function goFound(by) {
  const { items } = found;
  if (!items.length) return;
  found.at = found.at < 0 ? (by > 0 ? 0 : items.length - 1) : (found.at + by + items.length) % items.length;
  const item = items[found.at];
  reveal(item);
  choose({ vertex: item.vertex, key: item.key }, { show: false });
  lookAt(item.key, true);
  tellFound();
}

/** Keys of what is drawn for things found; null: nothing is asked for. */
function hitKeys() {
  return found.test ? new Set(found.items.map((item) => shownAs(item).key)) : null;
}

function startSearch() {
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    goFound(event.shiftKey ? -1 : 1);
  });
  $("next").addEventListener("click", () => goFound(1));
  $("previous").addEventListener("click", () => goFound(-1));
  on("heads", collect);
  $("lanes").addEventListener("change", search);
  $("leaves").addEventListener("change", search);
  tellFound();
}
