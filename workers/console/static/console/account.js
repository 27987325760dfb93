/** Ask before the key of a link replaces the key in use: a link may come from anybody. */

import { findAccount } from "./api.js";
import { button, h, note } from "./dom.js";

const nameOf = (account) => account?.tenant?.name ?? "an account that did not answer";

/** Return whether to switch to the account of the offered key. */
export async function askToSwitch(current, offered) {
  const other = await findAccount(offered);
  if (!other) {
    note("The key of this link is not valid. You are still signed in as before.");
    return false;
  }
  document.querySelector("dialog.switch")?.close();
  return new Promise((resolve) => {
    const keep = button("Stay signed in", { kind: "primary", on: { click: () => dialog.close() } });
    const change = button("Switch account", { on: { click: () => dialog.close("switch") } });
    const row = (label, account) => [
      h("dt", {}, label),
      h("dd", {}, h("strong", {}, nameOf(account)), h("span", { class: "faint" }, account?.api_key?.name ?? "")),
    ];
    const dialog = h(
      "dialog",
      { class: "switch", "aria-labelledby": "switch-title", "aria-describedby": "switch-why" },
      h("h2", { id: "switch-title" }, "Switch to another account?"),
      h("p", { id: "switch-why" }, "The link you opened signs you in with another key. What you record or upload afterwards goes to the account of that key."),
      h("dl", {}, row("Signed in", current), row("Link", other)),
      h("div", { class: "row" }, keep, change),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "switch");
    });
    document.body.append(dialog);
    dialog.showModal();
    keep.focus();
  });
}
