// Tabs, keys, colours, help; and the start of everything.

const TABS = ["heads", "details", "backward"];
const VIEWS = ["graph", "outline"];

function openTab(name) {
  state.tab = name;
  selectTab(TABS, name, "view-");
  tell("shown");
}

function openView(name) {
  selectTab(VIEWS, name, "");
  if (name === "graph") aim();
  else drawOutline();
  tell("shown");
}

function selectTab(names, chosen, prefix) {
  for (const name of names) {
    $(prefix + name).hidden = name !== chosen;
    $("tab-" + name).setAttribute("aria-selected", String(name === chosen));
    $("tab-" + name).tabIndex = name === chosen ? 0 : -1;
  }
}

/** Whether the panels lie under the graph, for want of width. */
const stacked = () => getComputedStyle($("computation")).display === "contents";

/** Where the panels lie under the graph: scroll so far that both are seen. */
function showPanel() {
  if (stacked()) ($("graph").hidden ? $("outline") : $("graph")).scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

/** Say something once, to eyes and to screen readers. */
function announce(words) {
  $("announce").textContent = words;
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => ($("announce").textContent = ""), 6000);
}

// ---- light and dark ------------------------------------------------------------------------

const THEMES = ["system", "light", "dark"];

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = { system: "◐", light: "○", dark: "●" }[name];
  $("theme").title = `Colours: ${name === "system" ? "the system's" : name} (t)`;
}

function nextTheme() {
  const name = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  memory.set("theme", name);
  setTheme(name);
  repaint();
}

/** What holds colours as numbers is made anew. */
function repaint() {
  pictures.clear();
  paints.clear();
  tell("theme");
}

/** On paper everything is light, and all of the graph is seen. */
function onPaper(printing) {
  const root = document.documentElement;
  if (printing === ("screen" in root.dataset)) return; // said twice: by the event and by the medium
  if (printing) {
    $("legend-fold").open = true;
    root.dataset.screen = root.dataset.theme;
    setTheme("light");
    repaint();
    canvas.setAttribute("viewBox", `0 0 ${drawn.w} ${drawn.h}`);
    world.removeAttribute("transform");
    canvas.classList.remove("far");
    $("grid").querySelectorAll("img").forEach(paint);
  } else {
    setTheme(root.dataset.screen);
    delete root.dataset.screen;
    canvas.removeAttribute("viewBox");
    repaint();
    aim();
  }
}

// ---- keys ----------------------------------------------------------------------------------

function tabKey(tab, event) {
  const names = TABS.includes(tab.id.slice(4)) ? TABS : VIEWS;
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return false;
  const next = names[(names.indexOf(tab.id.slice(4)) + by + names.length) % names.length];
  (names === TABS ? openTab : openView)(next);
  $("tab-" + next).focus();
  return true;
}

function key(event) {
  const target = event.target instanceof Element ? event.target : document.body;
  if ($("help").open) return;
  if (event.altKey || event.metaKey || (event.ctrlKey && event.key !== "Enter")) return;
  if (target.matches("input:not([type=checkbox])")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const tab = target.closest('[role="tab"]');
  const used =
    (tab && tabKey(tab, event)) || (canvas.contains(target) && graphKey(event)) || ($("outline").contains(target) && outlineKey(event)) || pageKey(event);
  if (used) event.preventDefault();
}

/** Keys that hold everywhere. */
function pageKey(event) {
  const backward = state.tab === "backward" && trace.steps.length;
  if (event.key === "/") $("search").focus();
  else if (event.key === "?") $("help").showModal();
  else if (event.key === "n") goFound(1);
  else if (event.key === "N") goFound(-1);
  else if (event.key === "g") figures.get(cursorKey())?.focus({ preventScroll: true });
  else if (event.key === "j") nextHead(1);
  else if (event.key === "k") nextHead(-1);
  else if (event.key === "s") $("save").click();
  else if (event.key === "t") nextTheme();
  else if (event.key === "c") $("gradients").click();
  else if (event.key === "." || (backward && event.key === "ArrowRight")) stepBy(1);
  else if (event.key === "," || (backward && event.key === "ArrowLeft")) stepBy(-1);
  else if (event.key === "p" && trace.steps.length) play();
  else if ("123".includes(event.key)) openTab(TABS[Number(event.key) - 1]);
  else return false;
  return true;
}

function stepBy(by) {
  openTab("backward");
  goTo(state.step + by);
}

// ---- what ran, beside the lanes -------------------------------------------------------------

/** Begin anew with the graph that ran, or with its steps: all scripts, on the body as it came. */
function startForms() {
  $("fused-label").hidden = !both;
  $("fused").checked = asRan;
  $("fused").addEventListener("change", () => {
    document.documentElement.dataset.heads = asRan ? "lanes" : "fused";
    document.documentElement.dataset.carried = JSON.stringify(carried()); // a notebook's frame has no address of its own
    leaving.abort();
    clearTimeout(timer);
    clearTimeout(waiting);
    document.body.replaceWith(untouched); // its scripts have run, and do not run again
    page();
    $("fused").focus();
  });
}

// ---- start ---------------------------------------------------------------------------------

function start() {
  startHeader();
  const given = document.documentElement.dataset.theme; // as it was saved; else what was last chosen
  setTheme(given === "system" && THEMES.includes(memory.get("theme")) ? memory.get("theme") : given);
  for (const name of TABS) $("tab-" + name).addEventListener("click", () => openTab(name));
  for (const name of VIEWS) $("tab-" + name).addEventListener("click", () => openView(name));
  $("legend-fold").open = !stacked();
  openTab(trace.attentions.length ? "heads" : "details");
  openView("graph");
  startMinimap();
  startGraph();
  startOutline();
  startSearch();
  startDetails();
  startAttention();
  startHeads();
  startBackward();
  startSave();
  startForms();
  startAddress();
  $("theme").addEventListener("click", nextTheme);
  $("help-button").addEventListener("click", () => $("help").showModal());
  $("help-close").addEventListener("click", () => $("help").close());
  const { signal } = leaving;
  document.addEventListener("keydown", key, { signal });
  addEventListener("beforeprint", () => onPaper(true), { signal });
  addEventListener("afterprint", () => onPaper(false), { signal });
  matchMedia("print").addEventListener("change", (event) => onPaper(event.matches), { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint, { signal });
  document.addEventListener("around", repaint, { signal });
}

start();
