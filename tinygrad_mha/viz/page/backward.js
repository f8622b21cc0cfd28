// The backward pass, step by step, in the engine's own order.

const stepOf = new Map(trace.steps.map((step, k) => [step.vertex, k])); // vertex → its turn

/** For each vertex what came to it, and when: [{step, from, slot, rule, norm, met}]. */
const arrivals = new Map();
trace.steps.forEach((step, k) => {
  for (const [target, slot, rule, norm, met] of step.flows) {
    if (!arrivals.has(target)) arrivals.set(target, []);
    arrivals.get(target).push({ step: k, from: step.vertex, slot, rule, norm, met });
  }
});

let timer = 0;
const PACES = [2000, 1200, 700, 350, 120]; // milliseconds for a step

/** Keys of what is drawn: at work, done, its saved values freed; and a test for edges that carry now. */
function backwardMarks() {
  const marks = { now: new Set(), done: new Set(), freed: new Set(), flowing: null };
  const step = trace.steps[state.step];
  if (!step) return marks;
  const waiting = new Set(), keeping = new Set();
  trace.steps.forEach(({ vertex, freed }, k) => {
    for (const item of model.homes[vertex]) {
      const { key } = shownAs(item);
      (k < state.step ? marks.done : waiting).add(key);
      if (freed.length) (k < state.step ? marks.freed : keeping).add(key);
      if (k === state.step) marks.now.add(key);
    }
  });
  for (const key of waiting) marks.done.delete(key);
  for (const key of keeping) marks.freed.delete(key);
  const targets = new Set(step.flows.map(([target]) => target));
  marks.flowing = (edge) => edge.target === step.vertex && targets.has(edge.source);
  return marks;
}

function goTo(step) {
  if (!trace.steps.length) return;
  state.step = Math.max(0, Math.min(trace.steps.length - 1, step));
  const [item] = model.homes[trace.steps[state.step].vertex];
  if (item && $("follow").checked) lookAt(shownAs(item).key);
  drawStep();
  tell("stepped");
}

function drawStep() {
  const none = !trace.steps.length;
  for (const id of ["first", "back", "forth", "play", "slider", "pace", "follow"]) $(id).disabled = none;
  $("position").textContent = none ? "" : `${state.step + 1} / ${trace.steps.length}`;
  if (none) {
    $("step").replaceChildren(element("p", {}, NOT_COMPUTED + ". Trace a loss, or pass gradient=, to walk through its backward pass."));
    return;
  }
  $("slider").max = trace.steps.length - 1;
  $("slider").value = Math.max(state.step, 0);
  $("slider").setAttribute("aria-valuetext", state.step < 0 ? "before the first step" : `step ${state.step + 1} of ${trace.steps.length}`);
  if (state.step < 0) {
    $("step").replaceChildren(hint("→ begins at the output, and goes through the operations in the engine's own order."), savedMeter());
    return;
  }
  $("step").replaceChildren(...stepParts(trace.steps[state.step]));
}

function stepParts(step) {
  const v = trace.vertices[step.vertex];
  const came = arrivals.get(v.id) ?? [];
  const normWord = (norm, target) => {
    const { word } = judge(norm, trace.vertices[target].unseen);
    return element("span", { class: harmless(word) ? "hint" : "alarm" }, word === "shift" ? UNSEEN : `norm ${number(norm)}`);
  };
  const incoming = came.map((a, k) => element("li", {}, k ? element("b", {}, "+= ") : "", link(a.from), ` by ${visible(a.slot)}, `, normWord(a.norm, v.id)));
  const outgoing = step.flows.map(([target, slot, rule, norm, met]) => element("li", {}, `to ${visible(slot)}: `, link(target),
    element("div", { class: "formula" }, met ? element("b", { title: "another path had arrived there before" }, "+=  ") : null, rule || "–"),
    normWord(norm, target), met ? element("span", { class: "hint" }, "   += another path had arrived there before") : null));
  const saved = savedOf(v).map((s) => element("span", { class: "tag lit" }, [visible(s.name), s.shape ? shape(s.shape) : "", s.bytes ? size(s.bytes) : ""].filter(Boolean).join(" ")));
  const parts = [
    element("h2", {}, visible(v.name), element("span", { class: "hint" }, `   ${shape(v.shape)}`)),
    hint(visible(modulePath(v.module))),
    element("div", { class: "formula" }, v.formula),
    element("h3", {}, came.length > 1 ? `Came in: ${came.length} gradients, added up` : came.length ? "Came in" : "Came in: the beginning of all gradients"),
    element("p", {}, `norm ${number(step.incoming)}`),
    came.length ? element("ul", {}, ...incoming) : null,
    v.gradient_elements ? fold("its numbers", matrix(v.gradient_elements, v.shape)) : null,
    element("h3", {}, "Goes out"),
    element("ul", {}, ...outgoing),
    element("h3", {}, "Saved values"),
    saved.length ? element("p", {}, ...saved, element("span", { class: "hint" }, step.freed.length ? "  used now, then freed" : "  used now, and kept")) : hint("nothing was saved for it"),
    step.seconds ? hint(`its rules took ${duration(step.seconds)}`) : null,
    savedMeter(),
  ];
  return parts.filter(Boolean);
}

/** How much of what forward saved is still held. */
function savedMeter() {
  const all = trace.steps.filter((s) => s.freed.length);
  const gone = all.filter((s) => stepOf.get(s.vertex) < state.step);
  const bytes = (steps) => steps.reduce((sum, s) => sum + savedOf(trace.vertices[s.vertex]).reduce((t, x) => t + (x.bytes ?? 0), 0), 0);
  const [total, freed] = [bytes(all), bytes(gone)];
  if (!all.length) return hint("No step freed anything: the graph was kept.");
  const part = total ? freed / total : gone.length / all.length;
  const words = total ? `${size(total - freed)} of ${size(total)} saved values are still held` : `${all.length - gone.length} of ${many(all.length, "operation")} still hold their saved values`;
  return element("div", { class: "held" }, element("div", { class: "meter", role: "img", "aria-label": words, "--part": (100 * (1 - part)).toFixed(1) + "%" }), hint(words));
}

function play() {
  if (timer) {
    clearTimeout(timer);
    timer = 0;
  } else {
    if (state.step >= trace.steps.length - 1) goTo(0);
    tick();
  }
  $("play").setAttribute("aria-pressed", String(Boolean(timer)));
  $("play").textContent = timer ? "❚❚ Pause" : "▶ Play";
}

function tick() {
  timer = setTimeout(() => {
    if (state.step >= trace.steps.length - 1) return play();
    goTo(state.step + 1);
    tick();
  }, PACES[Number($("pace").value)]);
}

function startBackward() {
  $("first").addEventListener("click", () => goTo(0));
  $("back").addEventListener("click", () => goTo(state.step - 1));
  $("forth").addEventListener("click", () => goTo(state.step + 1));
  $("play").addEventListener("click", play);
  $("slider").addEventListener("input", (event) => goTo(Number(event.target.value)));
  drawStep();
}
