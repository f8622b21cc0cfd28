// Shared ground: the trace, the page's state, and small helpers.
//
// The page draws the trace and nothing else: tinygrad_mha/viz/data.py documents its fields.
// Every text goes in as a text node, so a name is never markup. All files of the page are
// put into one function, in the order that html.py gives: what they declare stays in there.

const $ = (id) => document.getElementById(id);
const [trace] = unpackRecord(JSON.parse($("trace").textContent));
$("trace").remove(); // it may be large, and is not needed twice

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

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) made.style.setProperty(key, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

const element = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const drawing = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const hint = (words) => element("p", { class: "hint" }, words);
const fold = (summary, ...content) => element("details", {}, element("summary", {}, summary), ...content);

// ---- words ---------------------------------------------------------------------------------

const NOT_COMPUTED = "gradient: not computed";

/** Names from outside, with what cannot be seen shown by its code point. */
function visible(text, longest = 60) {
  const characters = text.length > longest ? [...text.slice(0, 2 * longest)] : [...text];
  const kept = characters.length > longest ? characters.slice(0, longest - 1).join("") + "…" : characters.join("");
  return kept.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu, (c) => "⟨" + c.codePointAt(0).toString(16) + "⟩");
}

const SHOWN = { " ": "␣", "\n": "⏎", "\t": "⇥" };
const wholeToken = (text) => visible(text.replace(/[ \n\t]/g, (c) => SHOWN[c]) || "∅", 200);

/** A label's length: what is left out is in the middle, for both ends tell tokens apart. */
function token(text) {
  const letters = [...wholeToken(text)];
  return letters.length > 9 ? [...letters.slice(0, 4), "…", ...letters.slice(-4)].join("") : letters.join("");
}
const shape = (sizes) => (sizes.length ? sizes.join("×") : "scalar");
const count = (sizes) => sizes.reduce((a, b) => a * b, 1);
const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const many = (n, word, plural = word + "s") => `${grouped(n)} ${n === 1 ? word : plural}`;

/** Three digits; nan and inf come as text; a dash for what was not computed. */
function number(x) {
  if (x === null || x === undefined) return "–";
  return typeof x === "number" ? String(Number(x.toPrecision(3))).replaceAll("-", "−") : String(x);
}

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

// ---- colours -------------------------------------------------------------------------------

/** Heads have the Okabe-Ito palette, and always their number beside it. */
const tone = (head) => `var(--head-${head % 8})`;

const VIRIDIS = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140],
  [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]];

function viridis(share) {
  const at = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1) || 0;
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((c, k) => Math.round(c + (VIRIDIS[low + 1][k] - c) * (at - low)));
}

const css = (rgb) => `rgb(${rgb.join(",")})`;

const paints = new Map(); // colours in numbers, until they change

/** What a colour of page.css is now, in numbers: canvases know no variables. */
function painted(variable) {
  if (!paints.has(variable)) {
    const probe = element("i", { hidden: "" });
    probe.style.color = `var(${variable})`;
    document.body.append(probe);
    paints.set(variable, getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number));
    probe.remove();
  }
  return paints.get(variable);
}

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
