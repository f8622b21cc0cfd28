// In a notebook's frame: "system" means the notebook's colours, which frame.js tells.
addEventListener("message", ({ source, data }) => {
  if (source !== parent || parent === window || !["light", "dark"].includes(data?.around)) return;
  const root = document.documentElement;
  if (root.dataset.around === data.around) return;
  root.dataset.around = data.around;
  document.dispatchEvent(new Event("around"));
});
