// Who looks at whom: maps of all heads of all layers, and one of them large, as a map or as lines.

/** A head's map as pixels: several for each cell, so that masked cells can be hatched. */
function mapPixels(lane) {
  const high = lane.weights.length, wide = high ? lane.weights[0].length : 0;
  const s = Math.max(1, Math.min(8, Math.floor(100 / Math.max(high, wide, 1))));
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [Math.max(wide * s, 1), Math.max(high * s, 1)];
  const context = picture.getContext("2d");
  const image = context.createImageData(picture.width, picture.height);
  const masked = painted("--masked"), stripe = painted("--line"), alarm = painted("--alarm");
  const top = topOf(lane);
  lane.weights.forEach((row, i) => row.forEach((w, j) => {
    const colour = !lane.visible[i][j] ? null : isBad(w) ? alarm : viridis(w / top);
    for (let y = s * i; y < s * (i + 1); y++) {
      for (let x = s * j; x < s * (j + 1); x++) {
        const rgb = colour ?? (striped(x, y) ? stripe : masked);
        const at = 4 * (y * wide * s + x);
        for (let k = 0; k < 3; k++) image.data[at + k] = rgb[k];
        image.data[at + 3] = 255;
      }
    }
  }));
  context.putImageData(image, 0, 0);
  return picture;
}

const MANY = 24; // heads above which their maps are small at first

const pictures = new Map(); // lane → its picture, until the colours change
function mapPicture(lane) {
  if (!pictures.has(lane)) pictures.set(lane, mapPixels(lane).toDataURL());
  return pictures.get(lane);
}

const NONE = 1e-12; // in place of the largest weight, where none is more than 0

/** The largest weight that is a number. */
function topOf(lane) {
  let top = NONE;
  for (const row of lane.weights) for (const w of row) if (w > top) top = w;
  return top;
}

// ---- all of them ---------------------------------------------------------------------------

/** Pictures are painted when they come near the window: there may be hundreds. */
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) paint(entry.target);
}, { rootMargin: "300px" });

function paint(image) {
  near.unobserve(image);
  image.src = mapPicture(image.lane);
}

function mapImage(attention, lane) {
  const image = element("img", { alt: `attention map of head ${lane.head + 1} of ${attentionName(attention)}` });
  image.lane = lane;
  near.observe(image);
  return image;
}

const sections = new Map(); // attention → {print, parts}: its heading and its maps, while no head of it is hidden or shown

function drawGrid() {
  const parts = trace.attentions.flatMap((attention) => {
    const print = hiddenOf(attention);
    if (sections.get(attention)?.print !== print) sections.set(attention, { print, parts: drawSection(attention) });
    return sections.get(attention).parts;
  });
  if (!parts.length) parts.push(hint("There is no multi-head attention in this computation."));
  $("grid").replaceChildren(...parts);
  markHead();
}

function drawSection(attention) {
  const cells = [];
  for (const lane of attention.lanes) {
    if (state.hidden.has(laneKey(attention, lane.head))) continue;
    cells.push(element("button", {
      class: "head", type: "button", "--tone": tone(lane.head), "data-lane": laneKey(attention, lane.head),
      onclick: () => lookAtHead(attention.id, lane.head),
    }, element("b", {}, element("span", { class: "word" }, "head "), String(lane.head + 1)), lane.weights.length
      ? mapImage(attention, lane)
      : element("span", {}, noMap(lane)), element("span", {}, "entropy ", measured(lane, "entropy"))));
  }
  const gone = attention.lanes.length - cells.length;
  return [element("h3", {}, attentionName(attention), gone ? element("span", { class: "hint" }, `   ${gone} hidden`) : null), element("div", { class: "heads", "--across": attention.lanes.length }, ...cells)];
}

const noMap = (lane) => (lane.entropy === null ? "no softmax here" : "its weights were not kept");

/** Show one head large. */
function lookAtHead(attention, head) {
  [state.attention, state.head] = [attention, head];
  markHead();
  drawLarge();
  tell("head");
}

/** The next head that is not hidden, or the one before. */
function nextHead(by) {
  const shown = allLanes.filter(([a, l]) => !state.hidden.has(laneKey(a, l.head)));
  if (!shown.length) return;
  const at = shown.findIndex(([a, l]) => a.id === state.attention && l.head === state.head);
  const [attention, lane] = shown[at < 0 ? 0 : (at + by + shown.length) % shown.length];
  openTab("heads");
  lookAtHead(attention.id, lane.head);
  announce(`${attentionName(attention)}, head ${lane.head + 1}`);
}

function markHead() {
  for (const button of $("grid").querySelectorAll(".head")) {
    button.setAttribute("aria-pressed", String(button.dataset.lane === state.attention + ":" + state.head));
  }
}

/** What the weights are made by: "q·kᵀ/√p → mask, softmax". */
function weightsInWords({ stages, weighted, pooling }) {
  const steps = stages.slice(0, weighted === null ? undefined : weighted + 1);
  if (steps.length <= 4) return steps.join(" → ");
  return `${pooling ? visible(pooling) + ": " : ""}${steps.length - 1} steps → ${steps[steps.length - 1]}`;
}

// ---- one, large ----------------------------------------------------------------------------

function drawLarge() {
  const attention = trace.attentions[state.attention];
  const holder = $("large");
  $("large-bar").hidden = !attention;
  if (!attention) return holder.replaceChildren();
  const lane = attention.lanes[state.head];
  $("as-map").setAttribute("aria-pressed", String(!state.lines));
  $("as-lines").setAttribute("aria-pressed", String(state.lines));
  $("all-lines-label").hidden = !state.lines;
  const title = element("p", { "--tone": tone(lane.head) }, element("b", { class: "toned" }, `${attentionName(attention)}, head ${lane.head + 1}`));
  if (!lane.weights.length) return holder.replaceChildren(element("div", {}, title, hint(lane.entropy === null ? "There is no softmax here, and so no map." : "The weights of this attention were not kept.")));
  const picture = state.lines ? drawLines(attention, lane) : drawMap(lane);
  const words = [title, element("p", { id: "cell", "aria-live": "polite" }, state.lines ? "Point at a token." : "Point at a cell, or walk with the arrow keys.")];
  words.push(...scaleParts(attention, lane), hint(`weights = ${weightsInWords(attention)}`));
  const hintOf = (...content) => element("p", { class: "hint" }, ...content);
  words.push(hintOf("entropy ", measured(lane, "entropy"), " bits, peak ", measured(lane, "peak")),
    hintOf("on itself ", measured(lane, "to_self"), ", on the previous ", measured(lane, "to_previous"), ", on the first ", measured(lane, "to_first")),
    hint(`‖contribution‖ ${number(lane.contribution)}`),
    hint(lane.gradient === null ? NOT_COMPUTED : `‖gradient‖ ${number(lane.gradient)}`));
  const { sign, words: proof, holds } = verdict(attention.proof);
  words.push(element("p", { id: "lanes-proof", class: holds ? "hint" : "alarm" }, `${sign} ${proof}`));
  holder.replaceChildren(picture, element("div", { id: "reading" }, ...words));
}

/** What the colours or the lines mean, and of what they are. */
function scaleParts(attention, lane) {
  const parts = [];
  const wrong = lane.weights.some((row) => row.some(isBad)), hatched = lane.visible.some((row) => !row.every(Boolean));
  if (state.lines) parts.push(hint(scaleOfLines(attention, lane)));
  else if (topOf(lane) > NONE) {
    parts.push(element("div", { class: "scale", "--ramp": RAMP }),
      hint(`attention weight, 0 to the map's largest, ${number(topOf(lane))}` + (hatched ? "; hatched: masked" : "")));
  }
  if (wrong) parts.push(element("p", { class: "alarm" }, "Some weights are not finite" + (state.lines ? ": they have no line." : ": their cells have this colour.")));
  if (attention.pooled > 1) parts.push(element("p", { class: "alarm", id: "pooled" }, `Pooled: each cell is the mean of ${attention.pooled}×${attention.pooled} weights.`));
  if (attention.items > 1) parts.push(element("p", { class: "hint", id: "items" }, `Weights of item ${attention.item} of the batch of ${attention.items}, counted from 0; entropy, peak and shares are means of all.`));
  return parts;
}

function hatch() {
  const pattern = drawing("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    drawing("rect", { class: "ground", width: 5, height: 5 }), drawing("line", { x1: 0, y1: 0, x2: 0, y2: 5 }));
  return drawing("defs", {}, pattern);
}

function drawMap(lane) {
  const high = lane.rows.length, wide = lane.columns.length;
  const room = Math.max(300, Math.min(460, $("large").clientWidth - 290));
  const side = Math.max(6, Math.min(28, Math.floor(room / Math.max(high, wide))));
  const named = side >= 9, gap = named ? 1 : 0;
  const longest = (names) => Math.max(...names.map((t) => token(t).length));
  const left = named ? 12 + 7 * longest(lane.rows) : 20;
  const turned = longest(lane.columns) > 2;
  const above = (named ? (turned ? 12 + 5.5 * longest(lane.columns) : 20) : 6) + 16;
  const [w, h] = [left + side * wide + (turned && named ? 24 : 4), above + side * high + 4];
  const svg = drawing("svg", { class: "map", width: w, height: h, viewBox: `0 0 ${w} ${h}`, role: "grid", tabindex: 0, "aria-label": `attention of head ${lane.head + 1}: queries down, keys across`, "aria-rowcount": high, "aria-colcount": wide }, hatch());
  svg.append(drawing("text", { class: "axis", x: left + (side * wide) / 2, y: 11, "text-anchor": "middle" }, "keys →"));
  if (!named) svg.append(drawing("text", { class: "axis", x: 12, y: above + (side * high) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${above + (side * high) / 2})` }, "queries"));
  const top = topOf(lane);
  const rowNames = [], columnNames = [];
  if (named) {
    lane.rows.forEach((t, i) => svg.append((rowNames[i] = drawing("text", { x: left - 5, y: above + side * i + side / 2 + 4, "text-anchor": "end" }, ...label(t)))));
    lane.columns.forEach((t, j) => {
      const x = left + side * j + side / 2;
      const how = turned ? { transform: `rotate(-50 ${x} ${above - 5})`, "text-anchor": "start" } : { "text-anchor": "middle" };
      svg.append((columnNames[j] = drawing("text", { x, y: above - 5, ...how }, ...label(t))));
    });
  }
  const cells = lane.weights.map((row, i) => {
    const made = row.map((x, j) => drawing("rect", {
      class: "cell", role: "gridcell", id: `cell-${i}-${j}`, x: left + side * j, y: above + side * i, width: side - gap, height: side - gap,
      fill: !lane.visible[i][j] ? "url(#hatch)" : isBad(x) ? "var(--alarm)" : css(viridis(x / top)), "aria-label": cellWords(lane, i, j),
    }));
    svg.append(drawing("g", { role: "row" }, ...made));
    return made;
  });
  let at = [0, -1];
  const say = (i, j) => {
    at = [i, j];
    for (const lit of svg.querySelectorAll(".lit")) lit.classList.remove("lit");
    for (const lit of [rowNames[i], columnNames[j], cells[i][j]]) lit?.classList.add("lit");
    svg.setAttribute("aria-activedescendant", `cell-${i}-${j}`);
    $("cell").textContent = cellWords(lane, i, j);
  };
  const point = (event) => {
    const place = event.target.id.match(/^cell-(\d+)-(\d+)$/);
    if (place) say(Number(place[1]), Number(place[2]));
  };
  svg.addEventListener("pointerover", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    say(Math.max(0, Math.min(high - 1, at[0] + arrow[1])), Math.max(0, Math.min(wide - 1, at[1] + arrow[0])));
    event.preventDefault();
    event.stopPropagation();
  });
  return svg;
}

function cellWords(lane, i, j) {
  const x = lane.weights[i][j];
  const words = !lane.visible[i][j] ? "masked: not to be seen" : `weight ${isBad(x) ? x : x.toFixed(4)}`;
  return `query ${wholeToken(lane.rows[i])} (${i})  →  key ${wholeToken(lane.columns[j])} (${j}):  ${words}`;
}

/** A token's label, and all of the token on pointing where it was shortened. */
const label = (text) => (token(text) === wholeToken(text) ? [token(text)] : [token(text), drawing("title", {}, wholeToken(text))]);

function startAttention() {
  const as = (lines) => () => {
    state.lines = lines;
    drawLarge();
    tell("head");
  };
  $("as-map").addEventListener("click", as(false));
  $("as-lines").addEventListener("click", as(true));
  $("all-lines").addEventListener("change", drawLarge);
  const small = $("small"), heads = allLanes.length;
  small.checked = heads > MANY;
  $("grid-bar").hidden = heads <= LANES;
  const resize = () => $("grid").classList.toggle("small", small.checked);
  small.addEventListener("change", resize);
  resize();
  on("theme", () => {
    near.disconnect();
    sections.clear();
  });
  on("heads theme", () => {
    drawGrid();
    drawLarge();
  });
  drawGrid();
  drawLarge();
}
