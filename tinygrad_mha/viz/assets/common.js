// What the page of a graph and the page of a film share. Every text goes in as a text node, so a
// name is never markup.

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

// ---- words ---------------------------------------------------------------------------------

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

/** Three digits; nan and inf come as text; a dash for what was not computed. */
function number(x) {
  if (x === null || x === undefined) return "–";
  return typeof x === "number" ? String(Number(x.toPrecision(3))).replaceAll("-", "−") : String(x);
}

// ---- colours -------------------------------------------------------------------------------

/** Heads have the Okabe-Ito palette, and always their number beside it. */
const tone = (head) => `var(--head-${head % 8})`;

const paints = new Map(); // colours in numbers, until they change

/** What a colour of the page's style is now, in numbers: canvases know no variables. */
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

const VIRIDIS = "{{viridis}}"; // eleven points, from theme.py

function viridis(share) {
  const at = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1) || 0;
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((c, k) => Math.round(c + (VIRIDIS[low + 1][k] - c) * (at - low)));
}

const css = (rgb) => `rgb(${rgb.join(",")})`;
const RAMP = `linear-gradient(to right, ${VIRIDIS.map(css).join(",")})`;

/** Whether a pixel of a masked cell is on a stripe. */
const striped = (x, y) => (x + y) % 6 < 2;
