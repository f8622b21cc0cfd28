// Moving in the drawing: what drag, pinch, wheel, buttons and keys do.

const NEAR = 3, FAR = 0.05; // how much one can zoom
const READABLE = 0.72, LEGIBLE = 0.55; // at which words are well read, and just so
let fitted = null; // how the drawing was fitted, until the reader moves it

// ---- looking --------------------------------------------------------------------------------

function aim() {
  world.setAttribute("transform", `translate(${sight.x.toFixed(1)} ${sight.y.toFixed(1)}) scale(${sight.k.toFixed(4)})`);
  canvas.classList.toggle("far", sight.k < 0.45);
  tell("aimed");
}

const screen = () => ({ w: canvas.clientWidth || 600, h: canvas.clientHeight || 400 });

/** The whole drawing, if it can be read so; else its beginning, as wide as it is where that can be read. */
function fit(whole = true) {
  const { w, h } = screen();
  const across = w / (drawn.w + 8), all = Math.min(across, h / (drawn.h + 8), 1.3);
  sight.k = Math.max(all, whole ? FAR : Math.max(LEGIBLE, Math.min(READABLE, across)));
  sight.x = within(w / 2 - firstMiddle() * sight.k, w, drawn.w);
  sight.y = Math.max(4, (h - drawn.h * sight.k) / 2);
  fitted = whole ? "whole" : "beginning";
  aim();
}

/** The middle of the uppermost box: where one begins to read what is wider than the window. */
function firstMiddle() {
  let first = null;
  for (const box of drawn.boxes.values()) if (!box.open && (!first || box.y < first.y)) first = box;
  return first ? first.x + first.w / 2 : 0;
}

/** The window has another size: what was fitted is fitted again. */
function refit() {
  if (matchMedia("print").matches) return; // all of it is seen there
  if (fitted) fit(fitted === "whole");
  else tell("aimed");
}

function zoom(by, x = screen().w / 2, y = screen().h / 2) {
  const k = Math.min(NEAR, Math.max(FAR, sight.k * by));
  sight.x = x - ((x - sight.x) * k) / sight.k;
  sight.y = y - ((y - sight.y) * k) / sight.k;
  sight.k = k;
  fitted = null;
  aim();
}

function pan(dx, dy) {
  fitted = null;
  sight.x += dx;
  sight.y += dy;
  aim();
}

/** Where the drawing begins, so that no room is left empty at its ends. */
function within(at, room, length) {
  const long = length * sight.k, edge = 4;
  return long + 2 * edge <= room ? (room - long) / 2 : Math.min(edge, Math.max(room - long - edge, at));
}

/** Move so that a box is seen, if it is not. */
function lookAt(key, large = false) {
  const box = drawn.boxes.get(key);
  if (!box) return;
  const { w, h } = screen();
  if (large && sight.k < LEGIBLE) [sight.k, fitted] = [0.8, null];
  const [x, y] = [box.x * sight.k + sight.x, box.y * sight.k + sight.y];
  const [wide, high] = [Math.min(box.w * sight.k, w - 40), Math.min(box.h * sight.k, h - 40)];
  const before = { ...sight };
  if (x < 10 || x + wide > w - 10) sight.x = within(sight.x + w / 2 - x - wide / 2, w, drawn.w);
  if (y < 10 || y + high > h - 10) sight.y = within(sight.y + h / 2 - y - high / 2, h, drawn.h);
  if (sight.x !== before.x || sight.y !== before.y) fitted = null;
  aim();
}

// ---- hands ----------------------------------------------------------------------------------

const fingers = new Map(); // pointer id → where it is
let moved = 0; // since it went down: more than a tremble is no click

function touchDown(event) {
  if (event.button > 0) return;
  if (!fingers.size) moved = 0;
  fingers.set(event.pointerId, placeOf(event));
}

function placeOf(event) {
  const frame = canvas.getBoundingClientRect();
  return { x: event.clientX - frame.left, y: event.clientY - frame.top };
}

function touchMove(event) {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const now = placeOf(event);
  const others = [...fingers.entries()].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  fingers.set(event.pointerId, now);
  moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
  if (moved > 4 && !canvas.hasPointerCapture(event.pointerId)) canvas.setPointerCapture(event.pointerId);
  if (others.length === 1) { // two fingers: what lies between them stays between them
    const gap = (p, q) => Math.hypot(p.x - q.x, p.y - q.y) || 1;
    zoom(gap(now, others[0]) / gap(before, others[0]), (now.x + others[0].x) / 2, (now.y + others[0].y) / 2);
    pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  } else if (!others.length) pan(now.x - before.x, now.y - before.y);
}

function touchUp(event) {
  fingers.delete(event.pointerId);
}

function itemAt(event) {
  const figure = event.target.closest?.("[data-key]");
  return figure ? model.items.get(figure.dataset.key) : null;
}

function click(event) {
  if (moved > 4) return;
  const item = itemAt(event);
  if (!item) return;
  cursor = item.key;
  const pressed = event.target.closest(".fold") || event.detail !== 1; // twice, or by a screen reader
  if (isGroup(item) && pressed) toggle(item);
  else {
    choose({ vertex: item.vertex, key: item.key }, { look: false });
    showPanel();
  }
  figures.get(item.key)?.focus({ preventScroll: true });
}

/** From a box to the nearest one in a direction. */
function step(dx, dy) {
  const from = drawn.boxes.get(cursorKey());
  if (!from) return;
  const centre = (box) => ({ x: box.x + (box.open ? 40 : box.w / 2), y: box.y + (box.open ? 12 : box.h / 2) });
  const start = centre(from);
  let best = null, least = Infinity;
  for (const box of drawn.boxes.values()) {
    if (box === from) continue;
    const at = centre(box);
    const along = (at.x - start.x) * dx + (at.y - start.y) * dy, aside = Math.abs((at.x - start.x) * dy) + Math.abs((at.y - start.y) * dx);
    if (along > 2 && along + 2 * aside < least) [best, least] = [box, along + 2 * aside];
  }
  if (!best) return;
  const { item } = best;
  choose({ vertex: item.vertex, key: item.key }, { show: state.tab === "details" });
  figures.get(item.key)?.focus({ preventScroll: true });
}

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** Keys in the drawing; true where one was meant for it. */
function graphKey(event) {
  const arrow = ARROWS[event.key];
  const item = model.items.get(cursorKey());
  if (arrow && event.shiftKey) pan(-60 * arrow[0], -60 * arrow[1]);
  else if (arrow) step(...arrow);
  else if ((event.key === "Enter" || event.key === " ") && item) {
    if (isGroup(item)) toggle(item);
    else choose({ vertex: item.vertex, key: item.key });
    figures.get(cursorKey())?.focus({ preventScroll: true });
  } else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") fit();
  else return false;
  return true;
}

function startHands() {
  canvas.addEventListener("pointerdown", touchDown);
  canvas.addEventListener("pointermove", touchMove);
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, touchUp);
  canvas.addEventListener("click", click);
  canvas.addEventListener("focusin", (event) => (cursor = itemAt(event)?.key ?? cursor));
  canvas.addEventListener("wheel", (event) => {
    if (parent !== window && !document.hasFocus() && !event.ctrlKey) return; // it scrolls the notebook, until a click comes in here
    event.preventDefault();
    const { x, y } = placeOf(event);
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
  }, { passive: false });
  $("zoom-in").addEventListener("click", () => zoom(1.25));
  $("zoom-out").addEventListener("click", () => zoom(0.8));
  $("fit").addEventListener("click", () => fit());
  const size = new ResizeObserver(refit);
  size.observe(canvas);
  leaving.signal.addEventListener("abort", () => size.disconnect());
}
