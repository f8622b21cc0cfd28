// The panel of what is chosen: an operation or a value with all that is known of it, or a group.

function summaryWords(summary) {
  const words = [`norm ${number(summary.norm)}`, `mean ${number(summary.mean)}`, `std ${number(summary.std)}`,
    `from ${number(summary.low)} to ${number(summary.high)}`];
  const bad = [summary.nans ? `${summary.nans} NaN` : "", summary.infinities ? `${summary.infinities} infinite` : ""].filter(Boolean);
  return element("span", {}, words.join("   "), bad.length ? element("b", { class: "alarm" }, "   " + bad.join(", ")) : null);
}

/** The numbers themselves, as a matrix where they are one; colours say sign and size. */
function matrix(elements, sizes) {
  if (!elements || !elements.length) return null;
  const across = sizes.length ? sizes[sizes.length - 1] : 1;
  const largest = Math.max(...elements.filter((x) => typeof x === "number").map(Math.abs), 1e-30);
  const rows = [];
  for (let i = 0; i < elements.length; i += across) {
    rows.push(element("tr", {}, ...elements.slice(i, i + across).map((x) => {
      const share = typeof x === "number" ? Math.abs(x) / largest : 0;
      return element("td", { class: isBad(x) ? "alarm" : x < 0 ? "negative" : "positive", "--share": (55 * share).toFixed(0) + "%" }, number(x));
    })));
  }
  return element("div", { class: "scroll" }, element("table", { class: "numbers" }, element("tbody", {}, ...rows)));
}

function link(id, words = null) {
  const v = trace.vertices[id];
  const name = words ?? `${v.kind === "op" ? vertexName(v) : visible(v.name)} ${v.kind === "constant" ? "" : shape(v.shape)}`.trim();
  return element("button", { class: "plain", type: "button", onclick: () => choose({ vertex: id, key: null }) }, name);
}

/** What an operation keeps for backward: {name, shape?, bytes?}. */
function savedOf(v) {
  if (v.saved) return v.saved;
  const step = stepOf.get(v.id);
  return step === undefined ? [] : trace.steps[step].freed.map((name) => ({ name }));
}

const factList = () => {
  const list = element("dl");
  const fact = (name, ...content) => list.append(element("dt", {}, name), element("dd", {}, ...content));
  return { list, fact };
};

/** Where something stands: the end of a long path, all of it on pointing. */
function place([file, row]) {
  const parts = file.split(/[\\/]/);
  const near = parts.length > 4 ? ["…", ...parts.slice(-3)].join("/") : file;
  return element("code", { title: visible(file, 400) }, `${visible(near, 120)}:${row}`);
}

function drawDetails() {
  const panel = $("view-details");
  const { vertex, key } = state.chosen ?? { vertex: null, key: null };
  const item = model.items.get(key);
  const copied = item && item.head !== null && !oneByOne(item.attention); // from the operation of all heads
  if (vertex !== null) panel.replaceChildren(...vertexParts(trace.vertices[vertex], copied ? item.head : null));
  else if (item) panel.replaceChildren(...groupParts(item));
  else panel.replaceChildren(...overviewParts());
}

const sum = (numbers) => numbers.reduce((total, x) => total + (x ?? 0), 0);

/** The whole computation in numbers, while nothing of it is chosen. */
function overviewParts() {
  const { list, fact } = factList();
  const ops = trace.vertices.filter((v) => v.kind === "op"), parameters = trace.vertices.filter((v) => v.kind === "parameter");
  for (const id of trace.outputs) fact("output", link(id), " ", trace.vertices[id].value ? summaryWords(trace.vertices[id].value) : "not computed");
  fact("operations", grouped(ops.length));
  fact("parameters", grouped(sum(parameters.map((v) => count(v.shape)))));
  fact("memory of all values", size(sum(ops.map((v) => v.bytes))));
  fact("saved for backward", size(sum(ops.flatMap((v) => savedOf(v).map((s) => s.bytes)))) + ", what is shared counted more than once");
  const forward = sum(ops.map((v) => v.seconds)), backward = sum(trace.steps.map((s) => s.seconds));
  if (forward) fact("time", `${duration(forward)} forward` + (backward ? `, ${duration(backward)} backward` : ""));
  return [element("h2", {}, "The whole computation"), hint("Choose something in the graph to see its formula, its values and its gradient."), list,
    ...parameterRows(parameters)];
}

/** Parameters with the norms of their gradients. */
function parameterRows(parameters) {
  if (!parameters.length) return [];
  const rows = parameters.slice(0, 200).map((v) => element("div", { class: "parameter" }, link(v.id), flowBadge(v)));
  const known = parameters.some((v) => v.gradient);
  return [element("h3", {}, "Parameters" + (known ? ", and the norms of their gradients" : "")), known ? null : hint(NOT_COMPUTED), ...rows,
    parameters.length > rows.length ? hint(`and ${parameters.length - rows.length} more`) : null,
    parameters.some((v) => v.unseen) ? hint(`≈ ${UNSEEN}.`) : null].filter(Boolean);
}

function vertexParts(v, head) {
  const { list, fact } = factList();
  const path = modulePath(v.module);
  if (path) fact("module", visible(path));
  fact("shape", `${shape(v.shape)}   ${v.dtype}` + (v.heads ? `   axis ${v.heads[0]} is the heads'` : ""));
  if (v.bytes) fact("memory", size(v.bytes));
  if (v.seconds !== null && v.seconds !== undefined) fact("time", duration(v.seconds));
  for (const [name, value] of Object.entries(v.options)) fact(visible(name), element("code", {}, visible(value)));
  fact("value", v.value ? summaryWords(v.value) : "not computed", matrix(v.elements, v.shape));
  fact("gradient", v.gradient ? summaryWords(v.gradient) : NOT_COMPUTED, v.unseen ? hint(`${UNSEEN}.`) : null, matrix(v.gradient_elements, v.shape));
  const saved = savedOf(v);
  if (saved.length) {
    const chips = saved.map((s) => element("span", { class: v.freed ? "tag freed" : "tag" }, [visible(s.name), s.shape ? shape(s.shape) : "", s.bytes ? size(s.bytes) : ""].filter(Boolean).join(" ")));
    fact("saved for backward", ...chips, v.freed ? element("span", { class: "hint" }, " freed") : null);
  }
  if (v.written) fact("written in", place(v.written));
  if (v.made) fact("ran at", place(v.made));
  const kind = { parameter: "a parameter", input: "an input", constant: "a constant" }[v.kind];
  const parts = [element("h2", {}, visible(v.name)), kind ? hint(kind) : null];
  if (v.formula) parts.push(element("div", { class: "formula" }, v.formula));
  if (head !== null) parts.push(hint(`Drawn for head ${head + 1} alone; the numbers here are those of all ${v.heads?.[1] ?? ""} heads together, as they ran.`));
  parts.push(list);
  if (inputs[v.id].length) {
    parts.push(element("h3", {}, "Inputs, and what flows back to them"));
    for (const edge of inputs[v.id]) {
      parts.push(element("div", { class: "input" }, `${visible(edge.slot)}: `, link(edge.source), ruleLine(edge)));
    }
  }
  if (users[v.id].length) {
    parts.push(element("h3", {}, users[v.id].length > 1 ? `Used ${users[v.id].length} times: the gradients add up` : "Used by"));
    for (const edge of users[v.id].slice(0, 40)) parts.push(element("div", {}, link(edge.target), ` as ${visible(edge.slot)}`));
    if (users[v.id].length > 40) parts.push(hint(`and ${users[v.id].length - 40} more`));
  }
  return parts.filter(Boolean);
}

/** A gradient rule with the norm of what it gave. */
function ruleLine({ rule, gradient: norm, source }) {
  if (!rule) return null;
  const verdict = judge(norm, trace.vertices[source].unseen);
  const words = verdict.word === "shift" ? UNSEEN : norm === null || norm === undefined ? "not computed" : `norm ${number(norm)} ${WORDS[verdict.word] ?? ""}`.trim();
  return element("div", { class: "formula" }, rule, element("span", { class: harmless(verdict.word) ? "hint" : "alarm" }, "     " + words));
}

function groupParts(item) {
  const { list, fact } = factList();
  const all = verticesOf(item).map((id) => trace.vertices[id]);
  const ops = all.filter((v) => v.kind === "op");
  const parameters = new Set(all.filter((v) => v.kind === "parameter").map((v) => v.id));
  for (const v of ops) {
    const stack = [v.id];
    while (stack.length) {
      for (const e of inputs[stack.pop()]) {
        if (trace.vertices[e.source].kind === "parameter") parameters.add(e.source);
        else if (ofParameters.has(e.source)) stack.push(e.source);
      }
    }
  }
  if (item.module !== undefined) {
    fact("module", visible(modulePath(item.module)));
    fact("class", visible(trace.modules[item.module].kind));
  }
  if (ops.length) fact("operations", grouped(ops.length));
  if (parameters.size) fact("parameters", grouped([...parameters].reduce((sum, id) => sum + count(trace.vertices[id].shape), 0)));
  const bytes = ops.reduce((sum, v) => sum + (v.bytes ?? 0), 0);
  if (bytes) fact("memory of its values", size(bytes));
  const seconds = ops.reduce((sum, v) => (v.seconds === null || v.seconds === undefined ? sum : sum + v.seconds), 0);
  if (seconds) fact("time", duration(seconds));
  const last = ops[ops.length - 1];
  if (last && item.head === null) fact("gradient at its end", last.gradient ? summaryWords(last.gradient) : NOT_COMPUTED);
  const parts = [element("h2", {}, titleOf(item)), hint(noteOf(item)), list];
  const buttons = [element("button", { type: "button", onclick: () => toggle(item) }, isOpen(item) ? "Fold it" : "Open it")];
  if (item.kind === "lane") {
    const lane = item.attention.lanes[item.head];
    for (const [name, value, words] of COLUMNS.slice(1)) fact(name, words ? words(item.attention, lane) : number(value(item.attention, lane)));
    buttons.push(element("button", { type: "button", onclick: () => openTab("heads") }, "Show its map"));
  }
  parts.push(element("div", { class: "bar" }, ...buttons), ...parameterRows([...parameters].map((id) => trace.vertices[id])));
  return parts;
}

function startDetails() {
  on("chosen structure", drawDetails);
  drawDetails();
}
