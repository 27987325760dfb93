/* Applies the stored theme before the first paint. */
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("console.theme");
  } catch {
    // Storage is disabled: use the system theme.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
