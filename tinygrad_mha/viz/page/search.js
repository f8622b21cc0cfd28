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

/** A test of records; null where nothing is asked for. */
function matcher(question) {
  const parts = question.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (!parts.length) return null;
  const tests = parts.map((part) => {
    const [, key, value] = part.match(/^(op|layer|head|module):(.*)$/) ?? [null, "", part];
    if (key === "op") return (r) => r.op !== null && r.op.toLowerCase().includes(value);
    if (key === "module") return (r) => r.path.toLowerCase().includes(value);
    if (key === "layer") return (r) => r.path.split(".").includes(value);
    if (key === "head") return (r) => (r.head === null ? Number(value) > 0 && Number(value) <= r.heads : r.head + 1 === Number(value));
    return (r) => r.text.toLowerCase().includes(value);
  });
  return (r) => tests.every((test) => test(r));
}

function search() {
  const question = $("search").value;
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
  const attention = trace.attentions.find((a) => a.lanes[at] && (!layer || modulePath(a.module).split(".").includes(layer[1])));
  if (attention) lookAtHead(attention.id, at);
}

function tellFound() {
  const { test, items, at } = found;
  $("found").textContent = !test ? "" : !items.length ? "nothing" : at < 0 ? `${items.length} found` : `${at + 1} / ${items.length}`;
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
