// Pictures to take away: what is drawn, whole, as SVG or as PNG, in the colours that are shown now.
// The page's styles do not go along, so each element gets what they make of it, as attributes.

const LOOKS = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "stroke-opacity",
  "opacity", "paint-order", "font-size", "font-weight", "font-style", "text-anchor"];
const USUAL = { "fill-opacity": "1", stroke: "none", "stroke-width": "1px", "stroke-dasharray": "none", "stroke-linecap": "butt", "stroke-linejoin": "miter",
  "stroke-opacity": "1", opacity: "1", "paint-order": "normal", "font-weight": "400", "font-style": "normal", "text-anchor": "start" };
const SHARP = 2; // pixels of a PNG for each of the drawing's
const PIXELS = 30e6; // more, and browsers refuse

const mixer = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });

/** A colour as every program knows it: what mixes other colours is computed. */
function plainColour(colour) {
  if (!/^(color|oklch|oklab|lab|lch)/.test(colour)) return colour;
  mixer.clearRect(0, 0, 1, 1);
  mixer.fillStyle = colour;
  mixer.fillRect(0, 0, 1, 1);
  const [r, g, b] = mixer.getImageData(0, 0, 1, 1).data;
  return `rgb(${r}, ${g}, ${b})`;
}

/** A copy that looks the same without the page's styles; null for what is not seen. */
function standalone(shown) {
  const style = getComputedStyle(shown);
  if (style.display === "none") return null;
  const copy = shown.cloneNode(false);
  for (const { name } of [...copy.attributes]) if (/^(class|style|role|tabindex|id|aria-|data-)/.test(name) && !(name === "id" && shown.localName === "pattern")) copy.removeAttribute(name);
  if (!["title", "image", "defs", "pattern"].includes(shown.localName)) {
    // a group hands nothing down but its opacity; words in words would inherit from those around
    for (const look of copy.localName === "g" ? ["opacity"] : LOOKS) {
      const value = style.getPropertyValue(look);
      if (value === USUAL[look] && copy.localName !== "tspan") copy.removeAttribute(look);
      else copy.setAttribute(look, look === "fill" || look === "stroke" ? plainColour(value) : value);
    }
  }
  for (const child of shown.childNodes) {
    const inner = child.nodeType === Node.ELEMENT_NODE ? standalone(child) : child.cloneNode();
    if (inner) copy.append(inner);
  }
  return copy;
}

/** An SVG of its own: on the page's ground, with a title over it and the legend below. */
function pictureOf(parts, { w, h }, words, samples) {
  const style = getComputedStyle(document.body);
  const rows = legendRows(samples, w);
  const all = { w: Math.ceil(w), h: Math.ceil(h + 30 + 18 * rows.length + 8) };
  const ink = plainColour(style.color), ground = plainColour(style.backgroundColor);
  const svg = drawing("svg", { viewBox: `0 0 ${all.w} ${all.h}`, width: all.w, height: all.h, "font-family": style.fontFamily },
    drawing("title", {}, words), drawing("rect", { width: all.w, height: all.h, fill: ground }),
    drawing("text", { x: 10, y: 20, fill: ink, "font-size": 13, "font-weight": 600 }, words),
    drawing("g", { transform: "translate(0 30)" }, ...parts));
  rows.forEach((row, k) => svg.append(drawing("g", { transform: `translate(10 ${h + 44 + 18 * k})` }, ...row)));
  return { svg, ...all };
}

/** Samples of the legend beside each other, and under each other where they must. */
function legendRows(samples, w) {
  const rows = [];
  let x = Infinity;
  for (const sample of samples) {
    const parts = [];
    let wide = 0;
    for (const child of sample.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) {
        parts.push(drawing("text", { x: wide, y: 4, "font-size": 11.5, fill: plainColour(getComputedStyle(sample).color) }, child.data));
        wide += widthOf(child.data, "norm") * (11.5 / 9.5) + 6;
      } else {
        const { width } = child.getBoundingClientRect();
        parts.push(...chipParts(child, wide, width));
        wide += width + 6;
      }
    }
    if (x + wide > w - 20) [x] = [0, rows.push([])];
    rows[rows.length - 1].push(drawing("g", { transform: `translate(${x.toFixed(1)} 0)` }, ...parts));
    x += wide + 10;
  }
  return rows;
}

/** A sample of the legend as it is seen: a line, a row of colours, or a chip. */
function chipParts(chip, x, width) {
  if (chip.localName === "svg") {
    const line = standalone(chip.firstElementChild);
    line.setAttribute("transform", `translate(${x} -5)`);
    return [line];
  }
  if (chip.classList.contains("ramp")) {
    const steps = 14;
    return Array.from({ length: steps }, (_, k) => drawing("rect", { x: x + (k * width) / steps, y: -4, width: width / steps + 0.3, height: 8, fill: shade(k / (steps - 1)) }));
  }
  const style = getComputedStyle(chip), border = parseFloat(style.borderTopWidth);
  return [drawing("rect", { x: x + border / 2, y: -5 + border / 2, width: width - border, height: width - border, rx: parseFloat(style.borderRadius), fill: plainColour(style.backgroundColor),
    stroke: border ? plainColour(style.borderTopColor) : "none", "stroke-width": border })];
}

/** A colour of the gradients' scale, in numbers. */
function shade(share) {
  const probe = element("i", { hidden: "" });
  probe.style.color = flowColour(share);
  document.body.append(probe);
  const colour = plainColour(getComputedStyle(probe).color);
  probe.remove();
  return colour;
}

// ---- what can be saved -----------------------------------------------------------------------

/** The graph as it is opened now, all of it, at its own size. */
function graphPicture() {
  const far = canvas.classList.contains("far"), fold = $("legend-fold"), { open } = fold;
  canvas.classList.remove("far"); // small on the screen, but not in the file
  fold.open = true; // what is folded has no size
  const parts = [...world.children].map(standalone).filter(Boolean);
  const picture = pictureOf(parts, drawn, visible(trace.title, 120), document.querySelectorAll("#legend .sample"));
  canvas.classList.toggle("far", far);
  fold.open = open;
  return picture;
}

/** The large map, or the lines. */
function attentionPicture() {
  const shown = $("large").querySelector("svg");
  const { width: w, height: h } = shown.viewBox.baseVal;
  const attention = trace.attentions[state.attention];
  const whose = state.lines && $("all-lines").checked ? "all heads" : `head ${state.head + 1}`;
  return pictureOf([...shown.children].map(standalone).filter(Boolean), { w, h }, `${attentionName(attention)}, ${whose}`, []);
}

const asText = (svg) => new XMLSerializer().serializeToString(svg);

/** An SVG as pixels; of what is too large, fewer for each. */
async function asPixels({ svg, w, h }) {
  const sharp = Math.min(SHARP, Math.sqrt(PIXELS / (w * h)), 16000 / Math.max(w, h));
  const image = new Image();
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(asText(svg));
  await image.decode();
  const picture = Object.assign(document.createElement("canvas"), { width: Math.round(w * sharp), height: Math.round(h * sharp) });
  picture.getContext("2d").drawImage(image, 0, 0, picture.width, picture.height);
  return new Promise((done) => picture.toBlob(done, "image/png"));
}

/** A name that every system takes for a file. */
const fileName = (words, ending) => (words.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60).toLowerCase() || "picture") + ending;

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const anchor = element("a", { href: url, download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  announce(`${name} saved`);
}

async function savePicture(make, ending) {
  $("save-menu").hidePopover();
  const picture = make();
  const name = fileName(`${trace.title} ${make === graphPicture ? "graph" : "attention"}`, ending);
  download(ending === ".svg" ? new Blob([asText(picture.svg)], { type: "image/svg+xml" }) : await asPixels(picture), name);
}

function startSave() {
  const rows = [["The graph", graphPicture, "svg"], ["The graph", graphPicture, "png"]];
  if (trace.attentions.length) rows.push(["The large map or lines", attentionPicture, "svg"], ["The large map or lines", attentionPicture, "png"]);
  const buttons = rows.map(([what, make, kind]) => element("button", { type: "button", "data-save": `${make === graphPicture ? "graph" : "attention"}.${kind}`,
    onclick: () => savePicture(make, "." + kind) }, `${what} as ${kind.toUpperCase()}`));
  $("save-menu").replaceChildren(...buttons, hint("All of it that is unfolded, in the colours of now."));
  $("save-menu").addEventListener("toggle", () => {
    for (const button of $("save-menu").querySelectorAll('[data-save^="attention"]')) button.disabled = !$("large").querySelector("svg");
  });
}
