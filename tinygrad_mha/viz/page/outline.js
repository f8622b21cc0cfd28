// The same computation as a tree of lines, in the order in which it ran: what a screen reader
// reads, and what many prefer for a long graph.

let line = null; // key of the line that has the focus

function drawOutline() {
  const tree = $("outline");
  if (tree.hidden) return;
  const focused = tree.contains(document.activeElement);
  const hits = hitKeys();
  const { now, freed } = backwardMarks();
  const chosen = new Set(chosenItems().map((item) => shownAs(item).key));
  const items = shownItems();
  const told = items.find((item) => chosen.has(item.key));
  const led = told && told.key !== line; // chosen elsewhere: seen here, too
  if (led) line = told.key;
  if (!items.some((item) => item.key === line)) line = items[0]?.key ?? null;
  tree.replaceChildren(...items.map((item) => {
    const row = drawRow(item);
    row.classList.toggle("chosen", chosen.has(item.key));
    row.classList.toggle("miss", Boolean(hits) && !hits.has(item.key));
    row.classList.toggle("now", now.has(item.key));
    row.classList.toggle("freed", freed.has(item.key));
    return row;
  }));
  if (focused) lineOf(line)?.focus();
  else if (led) lineOf(line).scrollIntoView({ block: "nearest" });
}

const lineOf = (key) => document.getElementById("line-" + key);

function drawRow(item) {
  const group = isGroup(item), open = group && isOpen(item);
  const row = element("div", {
    class: `row ${item.kind}`, role: "treeitem", id: "line-" + item.key, tabindex: item.key === line ? 0 : -1,
    "aria-level": pathOf(item).length, "aria-expanded": group ? String(open) : null, "aria-selected": String(state.chosen?.key === item.key),
    "--depth": pathOf(item).length - 1, "--tone": item.head === null ? null : tone(item.head),
  });
  const v = group ? null : trace.vertices[item.vertex];
  const sign = group ? (open ? "▾" : "▸") : v.kind === "op" ? "·" : "○";
  row.append(element("span", { class: "sign" }, sign), element("span", { class: "what" }, titleOf(item)), element("span", { class: "note" }, noteOf(item)));
  if (v && marksOf(item)) row.append(element("span", { class: "alarm" }, marksOf(item)));
  const last = group && !open ? trace.vertices[verticesOf(item).pop()] : v;
  const badge = last && item.head === null ? flowBadge(last) : null;
  if (badge) row.append(badge);
  row.addEventListener("click", () => pressLine(item));
  return row;
}

function pressLine(item) {
  line = item.key;
  if (isGroup(item)) toggle(item);
  choose({ vertex: item.vertex, key: item.key }, { show: !isGroup(item) });
  if (!isGroup(item)) showPanel();
  lineOf(item.key)?.focus();
}

/** Keys as in every tree; true where one was meant for it. */
function outlineKey(event) {
  const items = shownItems();
  const at = items.findIndex((item) => item.key === line);
  const item = items[at];
  if (!item) return false;
  const go = (other) => {
    if (!other) return;
    line = other.key;
    choose({ vertex: other.vertex, key: other.key }, { show: state.tab === "details" });
    lineOf(line)?.focus();
  };
  if (event.key === "ArrowDown") go(items[at + 1]);
  else if (event.key === "ArrowUp") go(items[at - 1]);
  else if (event.key === "Home") go(items[0]);
  else if (event.key === "End") go(items[items.length - 1]);
  else if (event.key === "ArrowRight" && isGroup(item)) isOpen(item) ? go(item.children[0]) : toggle(item);
  else if (event.key === "ArrowLeft") isGroup(item) && isOpen(item) ? toggle(item) : item.parent.kind !== "root" && go(item.parent);
  else if (event.key === "Enter" || event.key === " ") pressLine(item);
  else return event.key === "ArrowRight";
  return true;
}

function startOutline() {
  on("structure chosen searched stepped", drawOutline);
}
