// The whole drawing, small, with a frame around what is seen. A drag or a tap moves the frame.

const minimap = $("minimap");
const glass = drawing("rect", { class: "glass" });
let scale = 1; // of the minimap
let margin = { x: 0, y: 0 }; // around the small drawing

function drawMinimap() {
  const [w, h] = [minimap.clientWidth || 150, minimap.clientHeight || 110];
  scale = Math.min((w - 8) / drawn.w, (h - 8) / drawn.h);
  margin = { x: (w - drawn.w * scale) / 2, y: (h - drawn.h * scale) / 2 };
  const boxes = [...drawn.boxes.values()].map((box) =>
    drawing("rect", {
      x: margin.x + box.x * scale, y: margin.y + box.y * scale, width: Math.max(box.w * scale, 1), height: Math.max(box.h * scale, 1),
      class: box.open ? "frame" : `box ${box.item.kind}`, "--tone": box.item.head === null ? null : tone(box.item.head),
    }));
  minimap.replaceChildren(...boxes, glass);
  moveGlass();
}

function moveGlass() {
  const { w, h } = screen();
  const seen = { x: -sight.x / sight.k, y: -sight.y / sight.k, width: w / sight.k, height: h / sight.k };
  for (const [key, value] of Object.entries(seen)) glass.setAttribute(key, value * scale + (margin[key] ?? 0));
  // nothing to find one's way in while all of it is seen
  minimap.parentElement.hidden = seen.x <= 0 && seen.y <= 0 && seen.x + seen.width >= drawn.w && seen.y + seen.height >= drawn.h;
}

function goThere(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const frame = minimap.getBoundingClientRect();
  const { w, h } = screen();
  sight.x = w / 2 - ((event.clientX - frame.left - margin.x) / scale) * sight.k;
  sight.y = h / 2 - ((event.clientY - frame.top - margin.y) / scale) * sight.k;
  fitted = null;
  aim();
  event.stopPropagation();
}

function startMinimap() {
  minimap.addEventListener("pointerdown", goThere);
  minimap.addEventListener("pointermove", goThere);
  on("drawn", drawMinimap);
  on("aimed", moveGlass);
}
