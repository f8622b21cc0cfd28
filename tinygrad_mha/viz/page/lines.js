// Tokens to tokens as lines: queries at the left, keys at the right, a line as strong as the weight.

const LEAST = 52; // room for "queries" beside the lines
const BEAMS = 600; // lines drawn at once, the strongest
const FAINTEST = 0.04; // of the largest weight: fainter lines are not seen

/** The lines of some heads of an attention, the strongest last, so that they lie above. */
function beamsOf(lanes, top) {
  const found = [];
  for (const lane of lanes) {
    lane.weights.forEach((row, i) => row.forEach((x, j) => {
      if (lane.visible[i][j] && x >= FAINTEST * top) found.push({ lane, i, j, share: x / top });
    }));
  }
  found.sort((a, b) => a.share - b.share);
  return { beams: found.slice(-BEAMS), left: Math.max(0, found.length - BEAMS) };
}

/** Heads whose lines are drawn: one, or all of its layer that the reader did not hide. */
function lanesInLines(attention, lane) {
  return $("all-lines").checked ? attention.lanes.filter((l) => l.weights.length && !state.hidden.has(laneKey(attention, l.head))) : [lane];
}

/** What a line's strength means, and what is not drawn. */
function scaleOfLines(attention, lane) {
  const lanes = lanesInLines(attention, lane), top = Math.max(...lanes.map(topOf));
  const { left } = beamsOf(lanes, top);
  if (top <= NONE) return "there is nothing to draw";
  return `the strongest line: ${number(top)}; below ${number(FAINTEST * top)} none is drawn` + (left ? `, nor are ${many(left, "more faint line")}` : "");
}

function drawLines(attention, lane) {
  const lanes = lanesInLines(attention, lane);
  const high = lane.rows.length, wide = lane.columns.length;
  const pitch = Math.max(10, Math.min(24, Math.floor(560 / Math.max(high, wide))));
  const letters = Math.min(12, pitch - 1); // labels of neighbours do not touch
  const room = (names) => Math.max(LEAST, 14 + 0.6 * letters * Math.max(...names.map((t) => token(t).length)));
  const margin = room(lane.rows), far = margin + 210;
  const w = far + room(lane.columns), h = 26 + pitch * Math.max(high, wide);
  const spoken = lanes.length > 1 ? many(lanes.length, "head") : `head ${lane.head + 1}`;
  const svg = drawing("svg", { class: "lines", width: w, height: h, viewBox: `0 0 ${w} ${h}`, role: "group", "aria-label": `attention of ${spoken} as lines from queries to keys`, "--letters": letters + "px" });
  svg.append(drawing("text", { class: "axis", x: margin, y: 11, "text-anchor": "end" }, "queries"), drawing("text", { class: "axis", x: far, y: 11 }, "keys"));
  const y = (i) => 26 + pitch * i + pitch / 2;
  for (const { lane: l, i, j, share } of beamsOf(lanes, Math.max(...lanes.map(topOf))).beams) {
    svg.append(drawing("line", { class: `beam q${i} k${j}`, x1: margin + 4, y1: y(i), x2: far - 4, y2: y(j), stroke: tone(l.head), "stroke-opacity": share.toFixed(3), "stroke-width": (0.6 + 2.4 * share).toFixed(2) },
      drawing("title", {}, (lanes.length > 1 ? `head ${l.head + 1}: ` : "") + cellWords(l, i, j))));
  }
  const names = [...lane.rows.map((t, i) => nameBeside(t, i, "q", margin, y)), ...lane.columns.map((t, j) => nameBeside(t, j, "k", far, y))];
  for (const { text, i, kind } of names) {
    const single = () => {
      for (const beam of svg.querySelectorAll(".beam")) beam.classList.toggle("dim", !beam.classList.contains(kind + i));
      $("cell").textContent = strongest(lane, i, kind);
    };
    const all = () => svg.querySelectorAll(".beam").forEach((beam) => beam.classList.remove("dim"));
    for (const event of ["pointerenter", "focus"]) text.addEventListener(event, single);
    for (const event of ["pointerleave", "blur"]) text.addEventListener(event, all);
    text.addEventListener("keydown", (event) => walkNames(event, names.map((n) => n.text), high));
    svg.append(text);
  }
  return svg;
}

/** A token's name; one name of all is reached by the tab key, the others from there by arrows. */
function nameBeside(t, i, kind, x, y) {
  const text = drawing("text", {
    class: "token", x, y: y(i) + 4, "text-anchor": kind === "q" ? "end" : "start", tabindex: kind === "q" && i === 0 ? 0 : -1,
    role: "button", "aria-label": `${kind === "q" ? "query" : "key"} ${wholeToken(t)}`,
  }, ...label(t));
  return { text, i, kind };
}

function walkNames(event, names, high) {
  const arrow = ARROWS[event.key];
  if (!arrow) return;
  const at = names.indexOf(event.currentTarget), key = at >= high;
  const [first, last] = key ? [high, names.length - 1] : [0, high - 1];
  const across = key ? Math.min(at - high, high - 1) : Math.min(at + high, names.length - 1);
  const next = names[arrow[1] ? Math.max(first, Math.min(last, at + arrow[1])) : arrow[0] > 0 === key ? at : across];
  for (const name of names) name.setAttribute("tabindex", name === next ? 0 : -1);
  next.focus();
  event.preventDefault();
  event.stopPropagation();
}

/** The largest weights of one token. */
function strongest(lane, i, kind) {
  const own = kind === "q" ? lane.weights[i].map((x, j) => [x, lane.columns[j]]) : lane.weights.map((row, k) => [row[i], lane.rows[k]]);
  own.sort((a, b) => b[0] - a[0]);
  const words = own.slice(0, 4).map(([x, t]) => `${wholeToken(t)} ${number(x)}`).join(",  ");
  return kind === "q" ? `query ${wholeToken(lane.rows[i])} looks at  ${words}` : `key ${wholeToken(lane.columns[i])} is looked at by  ${words}`;
}
