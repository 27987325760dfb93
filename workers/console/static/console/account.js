/** Asks for confirmation before the key of a link replaces the current key. */

import { findAccount } from "./api.js";
import { button, h, notify } from "./dom.js";

const nameOf = (account) => account?.tenant?.name ?? "unknown account";

/** Returns whether to switch to the account of the new key. */
export async function confirmSwitch(current, newKey) {
  const other = await findAccount(newKey);
  if (!other) {
    notify("The key of this link is not valid. You are still signed in with your previous key.");
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
      h("p", { id: "switch-why" }, "The link you opened signs you in with another key. Further recordings and uploads belong to the account of that key."),
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
