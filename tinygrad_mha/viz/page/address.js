// What is shown, as the end of the page's address: a bookmark, or a link on a slide, leads back to it.
//
//     #node=blocks.0.attention&head=blocks.0.attention/3&tab=backward&step=12
//
// Names are those of the model where they are clear, so that a link outlives the page it was made
// from; what cannot be named has its key. Heads and steps count from 1, as the page shows them.

const SWITCHES = { lanes: "lanes", parameters: "leaves", gradients: "gradients" }; // in the address, of the page

const OPENING = ["node", "head", "step"]; // what by itself opens a tab

let firstOpen = ""; // keys of the groups that are open at the start
let written = location.hash.slice(1); // what the address says now

/** Keys of the open groups that are there. */
const openKeys = () => [...state.open].filter((key) => model.items.has(key)).join(",");

/** {vertex, key} of what has a key, or else of what is called so: a module's path, a value's name. */
function placed(name) {
  const item = model.items.get(name);
  if (item) return { vertex: item.vertex, key: name };
  const called = trace.modules.find((m) => m.path === name && model.items.has("m" + m.id));
  if (called) return { vertex: null, key: "m" + called.id };
  const v = trace.vertices.find((one) => (one.kind !== "op" && one.name === name) || "v" + one.id === name);
  return v ? { vertex: v.id, key: model.homes[v.id][0]?.key ?? null } : null;
}

/** The name that leads back to what is chosen, or else its key. */
function nameOf({ vertex, key }) {
  const item = model.items.get(key);
  const name = item?.module !== undefined ? trace.modules[item.module].path : vertex !== null && trace.vertices[vertex].kind !== "op" ? trace.vertices[vertex].name : "";
  const back = name && placed(name);
  return back && back.vertex === vertex && (key === null || back.key === key) ? name : key ?? "v" + vertex;
}

/** What is shown now, as an address. */
function address() {
  const said = new URLSearchParams();
  if (state.chosen) said.set("node", nameOf(state.chosen));
  const attention = trace.attentions[state.attention];
  if (attention && (state.attention || state.head)) said.set("head", `${modulePath(attention.module) || attention.id + 1}/${state.head + 1}`);
  if (state.lines) said.set("attention", "lines");
  if (state.hidden.size) said.set("hidden", [...state.hidden].join(","));
  if (state.step >= 0) said.set("step", state.step + 1);
  if (state.tab !== state.firstTab || [...said.keys()].some((name) => OPENING.includes(name))) said.set("tab", state.tab);
  if (!$("outline").hidden) said.set("view", "outline");
  if ($("search").value) said.set("search", $("search").value);
  for (const [name, id] of Object.entries(SWITCHES)) if ($(id).checked !== $(id).defaultChecked) said.set(name, $(id).checked ? "on" : "off");
  if (openKeys() !== firstOpen) said.set("open", openKeys());
  if (!fitted) said.set("look", lookedAt());
  return said.toString().replaceAll("%2F", "/").replaceAll("%2C", ",").replaceAll("%3A", ":");
}

/** The middle of what is seen, and how large it is: the same in a window of another size. */
function lookedAt() {
  const { w, h } = screen();
  return [(w / 2 - sight.x) / sight.k, (h / 2 - sight.y) / sight.k].map(Math.round).join() + "," + sight.k.toFixed(2);
}

function lookAgain([x, y, k]) {
  const { w, h } = screen();
  sight.k = Math.min(NEAR, Math.max(FAR, k));
  [sight.x, sight.y, fitted] = [w / 2 - x * sight.k, h / 2 - y * sight.k, null];
  aim();
}

let waiting = 0;

/** Soon, and once for many changes: browsers allow few. */
function writeAddress() {
  clearTimeout(waiting);
  if (leaving.signal.aborted) return;
  waiting = setTimeout(() => {
    const now = address();
    if (now === written) return;
    written = now;
    try {
      history.replaceState(null, "", now ? "#" + now : location.pathname + location.search);
    } catch {
      // the frame of a notebook has no address of its own
    }
  }, 250);
}

/** Show what an address says; of what is not there, say so. */
function followAddress(text) {
  const said = new URLSearchParams(text), missing = [];
  const given = (name, act) => said.has(name) && act(said.get(name)) === false && missing.push(`${name}=${visible(said.get(name), 40)}`);
  let changed = false;
  for (const [name, id] of Object.entries(SWITCHES)) {
    given(name, (value) => {
      if ($(id).disabled || $(id).checked === (value === "on")) return;
      $(id).checked = value === "on";
      $(id).dispatchEvent(new Event("change"));
    });
  }
  given("hidden", (keys) => {
    const all = new Set(allLanes.map(([a, l]) => laneKey(a, l.head)));
    state.hidden = new Set(keys.split(",").filter((key) => all.has(key)));
    tell("heads");
  });
  given("open", (keys) => {
    state.open = new Set(keys.split(",").filter((key) => model.items.has(key)));
    openGroups([]);
    changed = true;
  });
  if (changed) {
    restructure();
    fit(false);
  }
  given("search", (question) => {
    $("search").value = question;
    search();
  });
  given("attention", (value) => $(value === "lines" ? "as-lines" : "as-map").click());
  // a node in a lane makes its head the large one, and what is said of the head comes after
  given("node", (name) => goToNode(name, !said.has("open")));
  given("head", goToHead);
  given("step", (value) => (trace.steps[value - 1] ? stepBy(value - 1 - state.step) : false));
  given("tab", (name) => (TABS.includes(name) ? openTab(name) : false));
  given("view", (name) => (VIEWS.includes(name) ? openView(name) : false));
  given("look", (place) => {
    const numbers = place.split(",").map(Number);
    return numbers.length === 3 && numbers.every(Number.isFinite) ? lookAgain(numbers) : false;
  });
  if (missing.length) announce(`Not in this page: ${missing.join(", ")}`);
}

// ---- from the lanes to what ran, and back ----------------------------------------------------

const OF_ONE_GRAPH = ["node", "head", "step", "hidden", "open", "look", "lanes"]; // in the address: keys and numbers

/** For each call of a module and each vertex what it is called in both graphs: what it is, where, and the how manieth. */
function namesInBoth() {
  const seen = new Map();
  const turn = (...words) => {
    const name = words.join("\n");
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return `${name}\n${seen.get(name)}`;
  };
  const modules = trace.modules.map((m) => turn("module", m.path));
  return { modules, vertices: trace.vertices.map((v) => turn(v.kind, v.name, v.shape, modules[v.module] ?? "")) };
}

/** The module call that a group stands for, or the first of several like ones. */
const callOf = (item) => item?.module ?? (item?.kind === "repeat" ? item.children[0].module : undefined);

/** What is shown, in words that the other graph knows too. */
function carried() {
  const { modules, vertices } = namesInBoth();
  const said = new URLSearchParams(address());
  for (const name of OF_ONE_GRAPH) said.delete(name);
  const open = [...state.open].map((key) => model.items.get(key)).filter(Boolean);
  const heads = asRan ? JSON.parse(document.documentElement.dataset.carried ?? "{}").heads : {
    lanes: $("lanes").checked, large: [state.attention, state.head], hidden: [...state.hidden], open: open.filter((item) => item.kind === "lane").map((item) => item.key),
  };
  const { vertex, key } = state.chosen ?? { vertex: null, key: null };
  return {
    said: said.toString(), tab: state.tab, heads, // which what ran has not: they wait for the way back
    open: open.filter((item) => callOf(item) !== undefined).map((item) => [item.kind, modules[callOf(item)]]),
    chosen: vertex !== null ? vertices[vertex] : modules[callOf(model.items.get(key))] ?? null,
    step: trace.steps[state.step] ? vertices[trace.steps[state.step].vertex] : null,
  };
}

/** Show what was shown of the other graph, where it is here too. */
function carryOver({ said, tab, heads, open, chosen, step }) {
  const { modules, vertices } = namesInBoth();
  followAddress(said);
  if (!asRan && heads) {
    if ($("lanes").checked !== heads.lanes) $("lanes").click();
    state.hidden = new Set(heads.hidden);
    tell("heads");
    if (trace.attentions.length) lookAtHead(...heads.large);
  }
  const wanted = new Set(open.map(([kind, name]) => kind + modules.indexOf(name)));
  const keys = [...model.items.values()].filter((item) => callOf(item) !== undefined && wanted.has(item.kind + callOf(item))).map((item) => item.key);
  state.open = new Set([...keys, ...(asRan || !heads ? [] : heads.open)].filter((key) => model.items.has(key)));
  openGroups([]);
  restructure();
  fit(false);
  const turn = step === null ? undefined : stepOf.get(vertices.indexOf(step));
  if (turn !== undefined) goTo(turn);
  const vertex = vertices.indexOf(chosen), module = modules.indexOf(chosen);
  if (vertex >= 0) choose({ vertex, key: model.homes[vertex][0]?.key ?? null });
  else if (module >= 0 && model.items.has("m" + module)) choose({ vertex: null, key: "m" + module });
  openTab(tab);
}

function goToNode(name, opening) {
  const place = placed(name);
  if (!place) return false;
  const item = model.items.get(place.key);
  if (item && opening) reveal(item);
  if (item) lookAt(shownAs(item).key, true);
  choose(place);
}

/** "blocks.0.attention/3", "2/3", or of the first attention "3". */
function goToHead(text) {
  const [, where, head] = text.match(/^(?:(.*)\/)?(\d+)$/) ?? [];
  const attention = trace.attentions.find((a) => where === undefined || modulePath(a.module) === where || String(a.id + 1) === where);
  if (!attention?.lanes[head - 1]) return false;
  lookAtHead(attention.id, head - 1);
  openTab("heads");
}

function startAddress() {
  state.firstTab = state.tab;
  firstOpen = openKeys();
  for (const id of Object.values(SWITCHES)) $(id).defaultChecked = $(id).checked;
  const root = document.documentElement;
  if (root.dataset.carried) carryOver(JSON.parse(root.dataset.carried));
  else if (written) followAddress(written);
  on("chosen heads head stepped structure searched aimed shown", writeAddress);
  addEventListener("hashchange", () => {
    written = location.hash.slice(1);
    followAddress(written);
  }, { signal: leaving.signal });
}
