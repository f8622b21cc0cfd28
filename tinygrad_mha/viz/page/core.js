// Shared ground: the trace, the page's state, and small helpers; more of these are in common.js.
//
// The page draws the trace and nothing else: tinygrad_mha/viz/data.py documents its fields.
// Every text goes in as a text node, so a name is never markup. All files of the page are
// put into one function, in the order that html.py gives: what they declare stays in there.

const $ = (id) => document.getElementById(id);
const both = $("ran").textContent !== ""; // whether something was fused, so that what ran is another graph
const asRan = both && document.documentElement.dataset.heads === "fused";
const untouched = both ? document.body.cloneNode(true) : null; // to begin anew with the other graph
const leaving = new AbortController(); // then what listens beyond the body is let go
const [trace] = unpackRecord(JSON.parse($(asRan ? "ran" : "trace").textContent));
$("trace").remove(); // they may be large, and are not needed twice
$("ran").remove();

const state = {
  chosen: null, // {vertex, key}: a vertex of the trace, the key of what stands for it; or only one of them
  open: new Set(), // keys of the groups that are open, the oldest first
  lanes: trace.attentions.length > 0, // heads one by one, or as they ran
  leaves: trace.vertices.length <= 60 && !trace.attentions.length, // whether parameters and constants are drawn
  gradients: false, // edges coloured by the gradient that flows back
  attention: 0,
  head: 0,
  lines: false, // tokens to tokens as lines, or as a map
  hidden: new Set(), // "attention:head", switched off by the reader
  sort: null, // {column, sign}
  step: -1, // of the backward pass; -1: before the first
  tab: "", // which of the views at the side is open
};

// ---- who wants to know what ----------------------------------------------------------------

const listeners = {};

/** Call `act` whenever one of `events` (words) is told. */
function on(events, act) {
  for (const event of events.split(" ")) (listeners[event] ??= []).push(act);
}

function tell(event) {
  for (const act of listeners[event] ?? []) act();
}

// ---- elements ------------------------------------------------------------------------------

const hint = (words) => element("p", { class: "hint" }, words);
const fold = (summary, ...content) => element("details", {}, element("summary", {}, summary), ...content);

// ---- words ---------------------------------------------------------------------------------

const NOT_COMPUTED = "gradient: not computed";

const shape = (sizes) => (sizes.length ? sizes.join("×") : "scalar");
const count = (sizes) => sizes.reduce((a, b) => a * b, 1);
const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const many = (n, word, plural = word + "s") => `${grouped(n)} ${n === 1 ? word : plural}`;

function size(bytes) {
  if (bytes < 1000) return many(bytes, "byte");
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), 4);
  return `${number(bytes / 1000 ** power)} ${["", "kB", "MB", "GB", "TB"][power]}`;
}

function duration(seconds) {
  if (seconds < 1e-3) return `${number(seconds * 1e6)} µs`;
  return seconds < 1 ? `${number(seconds * 1e3)} ms` : `${number(seconds)} s`;
}

/** What module a number stands for: its path in the model, or its class. */
const modulePath = (id) => (id === null ? "" : trace.modules[id].path || trace.modules[id].kind);
const attentionName = (attention) => visible(modulePath(attention.module) || `attention ${attention.id + 1}`);
const vertexName = (v) => visible(v.kind === "op" && v.symbol ? v.symbol : v.name, 40);

// ---- what is connected with what -----------------------------------------------------------

const inputs = trace.vertices.map(() => []);
const users = trace.vertices.map(() => []);
for (const edge of trace.edges) {
  inputs[edge.target].push(edge);
  users[edge.source].push(edge);
}

/** Modules around a vertex, from the outside in. */
function around(module) {
  const chain = [];
  for (let m = module; m !== null; m = trace.modules[m].parent) chain.push(m);
  return chain.reverse();
}

// ---- what the reader wants to keep ---------------------------------------------------------

/** Frames of notebooks may forbid storage: then the page forgets, and works. */
const memory = {
  get(key) {
    try {
      return localStorage.getItem("tinygrad-mha." + key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem("tinygrad-mha." + key, value);
    } catch {
      // nothing depends on it
    }
  },
};
