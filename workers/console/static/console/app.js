/** The application shell: sign-in, navigation and routing. */

import { confirmSwitch } from "./account.js";
import { get, hasKey, isCurrentKey, setKey, takeKeyFromUrl, onKeyRejected } from "./api.js";
import { append, button, fill, h, icon } from "./dom.js";
import { showProblem } from "./problem.js";
import { batchesView } from "./views/batches.js";
import { jobView } from "./views/job.js";
import { jobsView } from "./views/jobs.js";
import { liveView } from "./views/live.js";
import { uploadView } from "./views/upload.js";

const PLACES = [
  { path: "live", label: "Live", glyph: "mic", view: liveView },
  { path: "upload", label: "Upload", glyph: "up", view: uploadView },
  { path: "jobs", label: "Jobs", glyph: "list", view: jobsView },
  { path: "batches", label: "Batches", glyph: "stack", view: batchesView },
];
const THEMES = [["", "auto", "System"], ["light", "sun", "Light"], ["dark", "moon", "Dark"]];
const app = document.getElementById("app");
let viewAbort = new AbortController();
// The account of the current key: the response of /v1/me.
let account = null;

/** Shows the view of the URL fragment. */
function route({ focus = true } = {}) {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const [path, query = ""] = location.hash.slice(2).split("?");
  const [name = "", id] = path.split("/");
  const place = PLACES.find((candidate) => candidate.path === name) ?? PLACES[0];
  const view = place.path === "jobs" && id ? jobView : place.view;
  viewAbort.abort();
  viewAbort = new AbortController();
  const main = document.getElementById("main");
  document.title = `${place.label} · Console`;
  for (const link of document.querySelectorAll(".places a")) {
    if (link.dataset.path === place.path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(main, view({ id, query: new URLSearchParams(query), signal: viewAbort.signal, go }));
  if (!focus) return;
  scrollTo({ top: 0 });
  (main.querySelector("h1") ?? main).focus({ preventScroll: true });
}

function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

function showSignIn(problem = null) {
  viewAbort.abort();
  const input = h("input", {
    type: "password",
    id: "key",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "tp_live_…",
    required: true,
    "aria-describedby": "key-hint",
  });
  const submit = button("Open the console", { kind: "primary", type: "submit" });
  const form = h(
    "form",
    {
      class: "gate-form",
      on: {
        submit: (event) => {
          event.preventDefault();
          setKey(input.value.trim());
          submit.disabled = true;
          enter();
        },
      },
    },
    h("label", { for: "key" }, "API key"),
    input,
    h("p", { class: "hint", id: "key-hint" }, "Stored in this tab until you close it, and sent to this server only."),
    submit,
  );
  fill(
    app,
    h(
      "main",
      { class: "gate", id: "main", tabindex: "-1" },
      h("div", { class: "brand big" }, icon("wave"), h("h1", {}, "Transcription")),
      h("p", { class: "lead" }, "Transcribe live audio and files."),
      problem && showProblem(problem),
      form,
      h("p", { class: "faint" }, h("code", {}, "make up"), " prints a link that signs you in. ", h("a", { href: "/docs" }, "API documentation")),
    ),
  );
  app.className = "app at-gate";
  input.focus();
}

async function enter() {
  let me;
  try {
    me = await get("/v1/me");
  } catch (problem) {
    if (problem.status !== 401) showSignIn(problem);
    return;
  }
  account = me;
  showShell(me);
  route({ focus: false });
}

/** Uses the key of a link; asks for confirmation if it replaces another key. */
async function useLinkedKey(newKey) {
  if (hasKey() && !isCurrentKey(newKey) && !(await confirmSwitch(account, newKey))) return;
  setKey(newKey);
  enter();
}

function showShell(me) {
  const links = PLACES.map((place) =>
    h("a", { href: `#/${place.path}`, data: { path: place.path } }, icon(place.glyph), h("span", {}, place.label)),
  );
  app.className = "app";
  fill(
    app,
    h(
      "header",
      { class: "side" },
      h("a", { class: "brand", href: "#/live" }, icon("wave"), h("span", {}, "Transcription")),
      h("nav", { class: "places", "aria-label": "Console" }, links),
      h(
        "div",
        { class: "who" },
        h("p", { class: "tenant-label faint" }, "Signed in as"),
        h("p", { class: "tenant" }, me.tenant?.name ?? me.api_key?.name ?? ""),
        h("div", { class: "who-row" }, themeButton(), iconButton("out", "Sign out", signOut), h("a", { class: "docs-link", href: "/docs" }, "API")),
      ),
    ),
    h("main", { id: "main", class: "main", tabindex: "-1" }),
  );
}

function signOut() {
  setKey("");
  history.replaceState(null, "", location.pathname);
  showSignIn();
}

function iconButton(glyph, label, onClick) {
  return h("button", { type: "button", class: "icon-button", title: label, "aria-label": label, on: { click: onClick } }, icon(glyph));
}

function themeButton() {
  const root = document.documentElement;
  const element = iconButton("auto", "", () => {
    const now = THEMES.findIndex(([theme]) => theme === (root.dataset.theme ?? ""));
    const [next] = THEMES[(now + 1) % THEMES.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("console.theme", next);
    } catch {
      // Storage is disabled: the choice lasts until the page closes.
    }
    show();
  });
  const show = () => {
    const [, glyph, label] = THEMES.find(([theme]) => theme === (root.dataset.theme ?? ""));
    element.title = `Colors: ${label}`;
    element.setAttribute("aria-label", `Colors: ${label}. Change`);
    fill(element, icon(glyph));
  };
  show();
  return element;
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
onKeyRejected((problem) => {
  setKey("");
  showSignIn(problem);
});
addEventListener("hashchange", (event) => {
  const newKey = takeKeyFromUrl();
  if (newKey) {
    // Restore the URL of the current view.
    history.replaceState(null, "", new URL(event.oldURL).hash || location.pathname);
    useLinkedKey(newKey);
  } else if (hasKey() && document.querySelector(".main")) route();
  else if (hasKey()) enter();
});
append(app, [h("p", { class: "sr", role: "status" }, "Loading…")]);
const linkedKey = takeKeyFromUrl();
if (hasKey()) await enter();
if (linkedKey) useLinkedKey(linkedKey);
else if (!hasKey() && !document.getElementById("key")) showSignIn();
