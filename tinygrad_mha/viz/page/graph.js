// The drawing: what is drawn, what of it is chosen and marked, what is opened and folded.

const canvas = $("canvas");
const world = $("world");
const sight = { x: 0, y: 0, k: 1 }; // where the drawing's origin is seen, and how large
let drawn = { boxes: new Map(), paths: [], w: 0, h: 0, simple: false };
let figures = new Map(); // key of an item → its <g>

// ---- drawing -------------------------------------------------------------------------------

/** Lay out anew and draw; the thing `still` keeps its place on the screen. */
function drawGraph(still = null) {
  const before = still && drawn.boxes.get(still);
  drawn = layout();
  const after = still && drawn.boxes.get(still);
  if (before && after) {
    sight.x += (before.x - after.x) * sight.k;
    sight.y += (before.y - after.y) * sight.k;
    fitted = null;
  }
  const frames = [], closed = [];
  figures = new Map();
  for (const box of drawn.boxes.values()) {
    const figure = box.open ? drawFrame(box) : drawBox(box);
    figures.set(box.item.key, figure);
    (box.open ? frames : closed).push(figure);
  }
  const lines = drawn.paths.map(drawPath);
  const titles = [...drawn.boxes.values()].filter((box) => box.open).map(drawTitle);
  const norms = state.gradients ? drawNorms() : [];
  world.replaceChildren(...frames, ...lines, ...titles, ...closed, ...norms);
  const folded = [...drawn.boxes.values()].some((box) => !box.open && isGroup(box.item));
  $("graph-status").textContent =
    (drawn.simple ? "Layout took too long: part of this is simply in rows. " : "") +
    `${drawn.boxes.size} of ${many(model.items.size, "thing")} drawn` + (folded ? "; ▸ opens a group" : "");
  aim();
  tell("drawn");
}

// ---- marks that need no new layout ----------------------------------------------------------

/** Boxes and paths that say: chosen, found, now in backward. */
function markGraph() {
  const chosen = state.chosen ? new Set(chosenItems().map((item) => shownAs(item).key)) : new Set();
  const hits = hitKeys();
  const looked = trace.attentions.length ? laneItem(trace.attentions[state.attention], state.head) : null;
  const { now, done, freed, flowing } = backwardMarks();
  for (const [key, figure] of figures) {
    const classes = { chosen: chosen.has(key), hit: hits && hits.has(key), miss: hits && !hits.has(key) && !figure.classList.contains("frame"),
      now: now.has(key), done: done.has(key), freed: freed.has(key), looked: key === looked };
    for (const [name, yes] of Object.entries(classes)) figure.classList.toggle(name, Boolean(yes));
    figure.setAttribute("tabindex", key === cursorKey() ? 0 : -1);
  }
  for (const group of world.querySelectorAll(":scope > .link")) {
    const { links } = group.path;
    group.classList.toggle("out", chosen.size > 0 && links.some((l) => chosen.has(shownAs(l.from).key)));
    group.classList.toggle("in", chosen.size > 0 && links.some((l) => chosen.has(shownAs(l.to).key)));
    group.classList.toggle("flowing", flowing !== null && links.some((l) => flowing(l.edge)));
  }
}

/** The items that stand for what is chosen. */
function chosenItems() {
  if (!state.chosen) return [];
  const own = model.items.get(state.chosen.key);
  return own ? [own] : model.homes[state.chosen.vertex] ?? [];
}

let cursor = null; // key of what the arrow keys stand on

/** The figure that the tab key reaches: where the arrows were last, or the first. */
const cursorKey = () => (figures.has(cursor) ? cursor : figures.keys().next().value);

// ---- choosing and opening -------------------------------------------------------------------

function choose(chosen, { show = true, look = true } = {}) {
  state.chosen = chosen;
  const [item] = chosenItems();
  if (item) cursor = shownAs(item).key;
  if (item && item.head !== null) lookAtHead(item.attention.id, item.head); // large at the side, too
  tell("chosen");
  if (show) openTab("details");
  if (look && item) lookAt(shownAs(item).key);
}

/** Open or close a group. */
function toggle(item) {
  if (isOpen(item)) state.open.delete(item.key);
  else {
    const closed = openGroups([item]);
    if (closed) announce(`${many(closed, "other group")} folded, so that the picture stays readable`);
  }
  restructure(item.key);
}

/** Make an item visible: open what is around it. */
function reveal(item) {
  const closed = pathOf(item).filter((at) => at !== item && !isOpen(at));
  if (!closed.length) return;
  openGroups(closed);
  restructure(closed[0].key);
}

/** After a change of what is open. */
function restructure(still = null) {
  drawGraph(still);
  tell("structure");
}

/** After a change of what there is. */
function rebuild() {
  build();
  arranged.clear();
  restructure();
  if (fitted) refit();
}

// ---- start ----------------------------------------------------------------------------------

function startGraph() {
  $("expand").addEventListener("click", () => {
    const whole = openLevels(LIMIT);
    if (!whole) announce(`Not everything fits: up to ${LIMIT} things are drawn at once. Open by hand what you want to see.`);
    restructure();
    fit(false);
  });
  $("collapse").addEventListener("click", () => {
    state.open.clear();
    openLevels(12);
    restructure();
    fit(false);
  });
  const lanesBox = $("lanes");
  lanesBox.disabled = !trace.attentions.length;
  lanesBox.checked = state.lanes;
  lanesBox.addEventListener("change", () => {
    state.lanes = lanesBox.checked;
    rebuild();
    drawLegend();
  });
  $("leaves").checked = state.leaves;
  $("leaves").addEventListener("change", () => {
    state.leaves = $("leaves").checked;
    rebuild();
  });
  $("gradients").addEventListener("change", () => {
    state.gradients = $("gradients").checked;
    drawGraph();
    drawLegend();
  });
  on("chosen head searched stepped drawn", markGraph);
  on("heads", () => {
    if (dealAnew()) restructure();
    else rebuild();
  });
  on("theme", () => drawGraph());
  startHands();
  build();
  openFirst();
  drawGraph();
  fit(false);
  drawLegend();
}

/** What colours and widths mean. */
function drawLegend() {
  const kinds = [["product", "product"], ["function", "function"], ["normal", "normalization, reduction"], ["shape", "shape, index"], ["loss", "loss"], ["input", "input"], ["parameter", "parameter"]];
  const found = new Set(trace.vertices.map(kindOf));
  const chips = kinds.filter(([kind]) => found.has(kind)).map(([kind, words]) => element("span", { class: "sample" }, element("i", { class: "chip kind-" + kind }), words));
  const parts = [...chips, element("span", { class: "sample" }, element("i", { class: "chip is-output" }), "output"), element("span", { class: "sample" }, "● saved for backward"), element("span", { class: "sample" }, "a wider line: a larger tensor")];
  $("legend").replaceChildren(...parts, ...(state.gradients ? flowLegend() : []));
}
