// The page's first line: what this is, how large, and whether the lanes were found to add up.

/** What a proof says, as Proof.words in data.py: {sign, brief, words, holds}. nan and inf come as text. */
function verdict({ output, gradient, tolerance }) {
  const both = [output, gradient ?? 0];
  const wrong = both.some((x) => typeof x === "number" && x > tolerance);
  if (!wrong && both.some(isBad)) return { sign: "?", brief: "lanes cannot be checked", words: "Σ lanes = output cannot be checked: not finite", holds: false };
  const differences = `largest difference ${number(output)}, of the gradients ${gradient === null ? "not computed" : number(gradient)}`;
  if (wrong) return { sign: "✗", brief: "THE LANES DO NOT ADD UP", words: `THE LANES DO NOT ADD UP (${differences})`, holds: false };
  return { sign: "✓", brief: "lanes add up", words: `Σ lanes = output (${differences})`, holds: true };
}

/** One line for all proofs: the worst of them, and of how many. */
function inBrief(verdicts) {
  const worst = ["✗", "?", "✓"].map((sign) => verdicts.filter((v) => v.sign === sign)).find((some) => some.length);
  const { sign, brief } = worst[0];
  if (verdicts.length === 1) return `${sign} ${brief}`;
  if (sign === "✓") return `✓ the lanes of all ${verdicts.length} attentions add up`;
  return `${sign} ${brief} (${worst.length} of ${verdicts.length})`;
}

function drawHeader() {
  $("title").textContent = visible(trace.title, 120);
  const parameters = trace.vertices.filter((v) => v.kind === "parameter").reduce((sum, v) => sum + count(v.shape), 0);
  $("facts").textContent = `${many(operations(), "operation")}, ${many(parameters, "parameter")}, ` + (trace.steps.length ? "gradient: computed" : NOT_COMPUTED);
  if (!trace.attentions.length) return;
  const verdicts = trace.attentions.map((a) => verdict(a.proof));
  $("proof").hidden = false;
  $("proof").textContent = inBrief(verdicts);
  $("proof").classList.toggle("broken", !verdicts.every((v) => v.holds));
  $("proofs").replaceChildren(...trace.attentions.map((attention, k) => {
    const { sign, words, holds } = verdicts[k];
    return element("li", { class: holds ? null : "alarm" }, `${sign} ${attentionName(attention)}: ${words}`);
  }));
}

/** Popovers open under the button that opens them, inside the window. */
function placePopover(event) {
  if (event.newState !== "open") return;
  const popover = event.target;
  const button = document.querySelector(`[popovertarget="${popover.id}"]`).getBoundingClientRect();
  popover.style.top = `${button.bottom + 6}px`;
  popover.style.left = `${Math.max(8, Math.min(button.left, innerWidth - popover.offsetWidth - 8))}px`;
}

function startHeader() {
  drawHeader();
  for (const popover of document.querySelectorAll("[popover]")) popover.addEventListener("toggle", placePopover);
}
