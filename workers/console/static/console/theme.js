/* Before the first paint: light, dark, or as the system has it. */
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("console.theme");
  } catch {
    // Storage is shut off: as the system has it.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
