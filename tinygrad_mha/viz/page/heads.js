// The table of heads: what each does in numbers, to sort, to hide, to see alone.

const share = (x) => (typeof x === "number" ? `${number(Number((100 * x).toPrecision(2)))} %` : number(x)); // of attention

/** Why a head lacks a number. */
const lacking = (lane) => (lane.entropy === null ? "no softmax here" : "not self-attention");

/** A number of a head, or a dash that says on pointing why there is none. */
function measured(lane, name, words = number) {
  return lane[name] === null ? element("span", { title: lacking(lane) }, "–") : words(lane[name]);
}

const namesOfAttentions = shortNames(trace.attentions.map(attentionName));

/** Names without the parts at their end that all have, and never long: "blocks.0". */
function shortNames(names) {
  const parts = names.map((name) => name.split("."));
  while (names.length > 1 && parts.every((p) => p.length > 1 && p[p.length - 1] === parts[0][parts[0].length - 1])) for (const p of parts) p.pop();
  return parts.map((p) => p.join(".")).map((name) => (name.length > 16 ? name.slice(0, 6) + "…" + name.slice(-9) : name));
}

/** A head's name in a table, short where there is one attention only. */
const headName = (a, l) => (trace.attentions.length > 1 ? `${namesOfAttentions[a.id]} · ` : "") + `head ${l.head + 1}`;
const COLUMNS = [
  ["head", (a, l) => a.id * 10000 + l.head, headName],
  ["entropy", (a, l) => l.entropy, (a, l) => measured(l, "entropy")],
  ["peak", (a, l) => l.peak, (a, l) => measured(l, "peak")],
  ["on itself", (a, l) => l.to_self, (a, l) => measured(l, "to_self", share)],
  ["on the previous", (a, l) => l.to_previous, (a, l) => measured(l, "to_previous", share)],
  ["on the first", (a, l) => l.to_first, (a, l) => measured(l, "to_first", share)],
  ["contri\u00adbution", (a, l) => l.contribution],
  ["gradient", (a, l) => l.gradient, (a, l) => (l.gradient === null ? element("span", { title: NOT_COMPUTED }, "–") : number(l.gradient))],
];

/** What the columns mean, on pointing at their names. */
const MEANINGS = {
  entropy: "of a query's weights, in bits: 0 where it looks at one token, log₂ of their number where at all alike; mean over the queries",
  peak: "largest weight of a query, mean over the queries",
  "on itself": "share of attention on the query's own position",
  "on the previous": "share of attention on the position before the query's own",
  "on the first": "share of attention on the first position",
  "contri\u00adbution": "norm of what the head adds to the output",
  gradient: "norm of the loss's gradient at the head's output",
  "to its input": "norm of the gradient that the head sends back to what it reads",
  "Δ loss if ablated": "by how much the loss rises without the head",
};

/** Norm of what a head sends back to all that it reads; what is not finite stays so. */
function sentBack(lane) {
  const norms = lane.sourced.filter((x) => x !== null);
  return norms.length ? norms.find((x) => typeof x === "string") ?? Math.hypot(...norms) : null;
}

const allLanes = trace.attentions.flatMap((a) => a.lanes.map((l) => [a, l]));
if (allLanes.some(([, l]) => sentBack(l) !== null)) COLUMNS.push(["to its input", (a, l) => sentBack(l), (a, l) => element("span", { title: "norm of the gradient that this head sends back to what it reads" }, number(sentBack(l)))]);
if (allLanes.some(([, l]) => typeof l.ablation === "number")) COLUMNS.push(["Δ loss if ablated", (a, l) => l.ablation]);

function drawTable() {
  const table = $("head-table");
  table.hidden = !allLanes.length;
  const rows = [...allLanes];
  if (state.sort) {
    const value = COLUMNS[state.sort.column][1];
    const key = (pair) => (typeof value(...pair) === "number" ? value(...pair) : -Infinity);
    rows.sort((p, q) => state.sort.sign * (key(p) - key(q)) || p[0].id - q[0].id || p[1].head - q[1].head);
  }
  const names = COLUMNS.map(([name], k) => {
    const sorted = state.sort?.column === k ? state.sort.sign : 0;
    return element("th", { scope: "col", "aria-sort": sorted ? (sorted > 0 ? "ascending" : "descending") : null },
      element("button", { type: "button", title: MEANINGS[name], onclick: () => sortBy(k) }, name, element("span", { class: "arrow", "aria-hidden": "true" }, sorted > 0 ? " ▲" : sorted < 0 ? " ▼" : "")));
  });
  const head = element("tr", {}, names[0], element("th", { scope: "col" }, element("span", { class: "unseen" }, "shown")), element("th", { scope: "col" }, element("span", { class: "unseen" }, "solo")), ...names.slice(1));
  const largest = COLUMNS.map(([, value]) => Math.max(...allLanes.map((pair) => (typeof value(...pair) === "number" ? Math.abs(value(...pair)) : 0)), 1e-30));
  const body = rows.map(([a, l]) => {
    const key = laneKey(a, l.head);
    const cells = COLUMNS.map(([, value, words], k) => {
      const x = value(a, l);
      if (k === 0) return element("th", { scope: "row", "--tone": tone(l.head) }, element("button", { type: "button", class: "toned", title: `${attentionName(a)}, head ${l.head + 1}`, onclick: () => lookAtHead(a.id, l.head) }, words(a, l)));
      return element("td", { "--share": typeof x === "number" ? ((100 * Math.abs(x)) / largest[k]).toFixed(0) + "%" : "0%" }, words ? words(a, l) : number(x));
    });
    const box = element("input", { type: "checkbox", "aria-label": `show head ${l.head + 1} of ${attentionName(a)}`, "data-lane": key, onchange: () => flip(key) });
    const alone = element("button", { type: "button", "data-solo": key, "aria-label": `head ${l.head + 1} of ${attentionName(a)} alone`, onclick: () => solo(a, l) }, "solo");
    return element("tr", { "data-row": key }, cells[0], element("td", {}, box), element("td", {}, alone), ...cells.slice(1));
  });
  table.replaceChildren(element("caption", { class: "unseen" }, "Heads in numbers"), element("thead", {}, head), element("tbody", {}, ...body));
  markTable();
}

/** Which heads are hidden. */
function markTable() {
  for (const row of $("head-table").tBodies[0].rows) {
    const off = state.hidden.has(row.dataset.row);
    row.classList.toggle("off", off);
    row.querySelector("input").checked = !off;
  }
  $("show-all").hidden = !state.hidden.size;
}

function sortBy(column) {
  state.sort = { column, sign: state.sort?.column === column ? -state.sort.sign : column === 0 ? 1 : -1 };
  drawTable();
  $("head-table").querySelectorAll("thead button")[column].focus();
}

function flip(key) {
  if (!state.hidden.delete(key)) state.hidden.add(key);
  tell("heads");
}

/** Show one head alone; a second time, all again. */
function solo(attention, lane) {
  const key = laneKey(attention, lane.head);
  const others = allLanes.map(([a, l]) => laneKey(a, l.head)).filter((k) => k !== key);
  const already = !state.hidden.has(key) && others.every((k) => state.hidden.has(k));
  state.hidden = new Set(already ? [] : others);
  [state.attention, state.head] = [attention.id, lane.head];
  tell("heads");
}

function startHeads() {
  $("show-all").addEventListener("click", () => {
    state.hidden.clear();
    tell("heads");
  });
  on("heads", markTable);
  drawTable();
}
