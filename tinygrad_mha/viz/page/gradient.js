// How gradients look: a logarithmic scale over the whole trace, and a word, a dash pattern and a
// sign for what is wrong. Colour is never alone.

const VANISHING = 1e-7; // norms below are marked
const EXPLODING = 1e4; // and above

/** Why some gradients are zero by nature (Vertex.unseen): what is found of them is rounding. */
const UNSEEN = "0 but for rounding: it raises all scores of a query alike, and softmax does not see that";

const isBad = (x) => typeof x === "string"; // nan and inf are written as text
const largerNorm = (a, b) => (isBad(a) || b === null || b === undefined ? a : isBad(b) || a === null || b > a ? b : a);

/** The range of all norms that are neither vanishing nor exploding, as powers of ten. */
const range = (() => {
  const fine = trace.edges.filter((e) => !trace.vertices[e.source].unseen).map((e) => e.gradient).filter((x) => x >= VANISHING && x <= EXPLODING);
  if (!fine.length) return [0, 0];
  const [low, high] = fine.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, 0]);
  return [Math.log10(low), Math.log10(high)];
})();

/** What a norm means: {word, mark, share}. `share` is its place on the scale, 0 to 1. */
function judge(norm, unseen = false) {
  if (norm === null || norm === undefined) return { word: "none", mark: "", share: null };
  if (unseen && !isBad(norm)) return { word: "shift", mark: "≈ 0", share: null };
  if (isBad(norm)) return { word: "bad", mark: norm.includes("nan") ? "NaN" : "∞", share: null };
  const share = range[1] > range[0] && norm > 0 ? (Math.log10(norm) - range[0]) / (range[1] - range[0]) : norm > 0 ? 0.5 : 0;
  const word = norm < VANISHING ? "vanishing" : norm > EXPLODING ? "exploding" : "fine";
  const mark = norm === 0 ? "0" : { vanishing: "▽", exploding: "▲", fine: "" }[word];
  return { word, mark, share: Math.min(Math.max(share, 0), 1) };
}

/** From pale blue to deep red, passing through purple: more ink, more gradient. */
function flowColour(share) {
  return `color-mix(in oklch, var(--flow-low), var(--flow-high) ${(100 * share).toFixed(0)}%)`;
}

/** The norm of an array's summary, or what spoils it. */
function normOf(summary) {
  if (!summary) return null;
  return summary.nans ? "nan" : summary.infinities ? "inf" : summary.norm;
}

const WORDS = { vanishing: "vanishing", exploding: "exploding", bad: "" };

/** Whether a norm is nothing to worry about. */
const harmless = (word) => ["fine", "none", "shift"].includes(word);

/** The gradient of a vertex in words with a bar; nothing where none was computed. */
function flowBadge(v) {
  const norm = normOf(v.gradient);
  if (norm === null || norm === undefined) return null;
  const { word, mark, share } = judge(norm, v.unseen);
  if (word === "shift") return element("span", { class: "flow", title: UNSEEN }, `∇ ${mark}`);
  const wrong = word !== "fine";
  const words = (norm === 0 ? "vanished " : WORDS[word] ? WORDS[word] + " " : "") + "∇ " + (mark.length > 1 || mark === "∞" ? mark : number(norm));
  const bar = share === null ? null : element("i", { "--part": (6 + 94 * share).toFixed(0) + "%" });
  return element("span", { class: wrong ? "flow alarm" : "flow", title: "norm of the gradient" }, words, bar);
}

/** Whether there is a gradient of all heads whose parts are not known: of what others use too. */
function someTogether() {
  return trace.attentions.some((a) => {
    const ends = endsOf(a), inside = new Set(a.vertices.filter((id) => !ends.has(id)));
    return trace.edges.some((e) => e.gradient !== null && !e.head_gradients && (inside.has(e.source) || inside.has(e.target)));
  });
}

/** The legend of the coloured edges. */
function flowLegend() {
  if (!trace.steps.length) return [element("p", { class: "alarm" }, NOT_COMPUTED)];
  const stops = [0, 0.25, 0.5, 0.75, 1].map(flowColour).join(",");
  const line = (name, attributes, words, title = null) => {
    const sample = drawing("svg", { width: 44, height: 10, "aria-hidden": "true" });
    sample.append(drawing("path", { d: "M2 5 H42", class: "edge " + name, ...attributes }));
    return element("span", { class: "sample", title }, sample, words);
  };
  return [
    element("span", { class: "sample" }, `‖∇‖ ${number(10 ** range[0])}`, element("i", { class: "ramp", "--ramp": `linear-gradient(to right, ${stops})` }), number(10 ** range[1])),
    line("vanishing", {}, `▽ vanishing, below ${number(VANISHING)}`),
    line("exploding", {}, `▲ exploding, above ${grouped(EXPLODING)}`),
    line("bad", {}, "NaN or ∞"),
    trace.vertices.some((v) => v.unseen) ? line("shift", {}, "≈ 0: softmax does not see it", `≈ ${UNSEEN}`) : null,
    state.lanes && someTogether() ? line("together", {}, "not known per head") : null,
    line("none", {}, "not computed"),
  ].filter(Boolean);
}
