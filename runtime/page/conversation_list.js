/** Shows the list of conversations. */

import { conversations, titleOf } from "./conversations.js";
import { button, element, make } from "./dom.js";
import { state } from "./state.js";

/** `actions`: open (an id), exportCurrent, deleteCurrent. */
export function showList(actions) {
  const all = conversations();
  const focused = document.activeElement?.dataset?.id;
  element("conversations").replaceChildren(...all.map((conversation) => itemOf(conversation, actions)));
  if (focused) element("conversations").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  element("nothing-kept").hidden = all.length > 0;
  element("export").disabled = !all.length;
}

function itemOf(conversation, actions) {
  const isCurrent = conversation.id === state.current.id;
  const item = make("li", isCurrent ? "current" : "");
  const title = make("span", "", titleOf(conversation));
  const open = button("open", "", null, () => actions.open(conversation.id));
  open.append(title);
  open.dataset.id = conversation.id;
  item.append(open);
  if (isCurrent) {
    open.setAttribute("aria-current", "true");
    item.append(
      button("icon", "Export this conversation", "save", actions.exportCurrent),
      button("icon", "Delete this conversation", "bin", actions.deleteCurrent),
    );
  }
  return item;
}
